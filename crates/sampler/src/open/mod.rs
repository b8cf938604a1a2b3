//! Opening events: what is asked for is settled with the kernel, and opened on every thread and CPU.

mod attrs; // what is asked for
mod error; // why the kernel said no
mod instances; // on one thread and each CPU
mod rings; // where they write
mod settle; // what the kernel grants

use prof_event::{Event, EventSet};
use prof_model::{Cpu, Pid, Tid};

pub use error::OpenError;
pub(crate) use instances::Instance;
pub(crate) use rings::CpuRing;

use crate::host;
use crate::options::{Note, Options, Target};
use crate::proc;
use attrs::{PlannedEvent, add_small_copies, groups, plan_events};
use instances::open_task;
use rings::open_rings;
use settle::settle;

/// Files that the program needs besides events.
const SPARE_FILES: u64 = 128;

/// What was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) rings: Vec<CpuRing>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) events: EventSet,
    pub(crate) notes: Vec<Note>,
    /// Set where whole CPUs are sampled and only these processes and their children are kept.
    pub(crate) keep: Option<Vec<Pid>>,
}

pub(crate) fn open(options: &Options) -> Result<Opened, OpenError> {
    let mut notes = Vec::new();
    let mut planned = plan_events(options, &mut notes)?;
    let cpus = cpus_of(options)?;
    let tasks = tasks_of(&options.target)?;
    let probe = tasks.first().copied().unwrap_or(-1);
    for event in &mut planned {
        settle(event, probe, cpus[0], &mut notes)?;
    }

    let limit = host::raise_file_limit().saturating_sub(SPARE_FILES);
    let needed = (tasks.len().max(1) * cpus.len() * planned.len()) as u64;
    let mut keep = None;
    let mut tasks = tasks;
    if needed > limit {
        let Target::Processes(pids) = &options.target else {
            return Err(too_many(&tasks, &cpus, needed, limit));
        };
        if planned.iter().any(PlannedEvent::counts_for_group) {
            return Err(too_many(&tasks, &cpus, needed, limit)); // a CPU counts for others, too
        }
        settle(&mut planned[0], -1, cpus[0], &mut Vec::new())
            .map_err(|_| too_many(&tasks, &cpus, needed, limit))?;
        notes.push(Note::FilteredCpus { needed, limit });
        keep = Some(pids.clone());
        tasks = vec![-1];
    } else if matches!(options.target, Target::System) {
        tasks = vec![-1];
    }

    add_small_copies(options, &mut planned, tasks.len() * cpus.len(), limit);
    let rings = open_rings(options, &planned, &cpus, &mut notes)?;
    let mut opened = Opened {
        rings,
        instances: Vec::new(),
        events: EventSet::default(),
        notes,
        keep,
    };
    let mut ids = vec![Vec::new(); planned.len()];
    let mut done = Vec::new();
    loop {
        // Threads that start meanwhile may have missed some CPUs' events: look again until no new
        // one is there.
        for &task in &tasks {
            open_task(&mut opened, &planned, task, &mut ids)?;
        }
        done.extend_from_slice(&tasks);
        if !matches!(options.target, Target::Processes(_)) || opened.keep.is_some() {
            break;
        }
        tasks = tasks_of(&options.target)?;
        tasks.retain(|task| !done.contains(task));
        if tasks.is_empty() {
            break;
        }
    }
    if opened.instances.is_empty() {
        return Err(OpenError::NoSuchTask(probe)); // it exited meanwhile
    }
    opened.events.set_groups(groups(&options.events));
    for (planned, ids) in planned.into_iter().zip(ids) {
        opened.events.push(Event {
            attr: planned.attr,
            name: planned.name,
            ids,
        });
    }
    Ok(opened)
}

fn too_many(tasks: &[i32], cpus: &[Cpu], needed: u64, limit: u64) -> OpenError {
    OpenError::TooManyFiles {
        tasks: tasks.len(),
        cpus: cpus.len(),
        needed,
        limit,
    }
}

fn cpus_of(options: &Options) -> Result<Vec<Cpu>, OpenError> {
    let online = host::online_cpus();
    let Some(asked) = &options.cpus else {
        return Ok(online);
    };
    match asked.iter().find(|cpu| !online.contains(cpu)) {
        Some(&missing) => Err(OpenError::NoSuchCpu(missing)),
        None if asked.is_empty() => Ok(online),
        None => Ok(asked.clone()),
    }
}

/// The threads to open events on; none for the whole system.
fn tasks_of(target: &Target) -> Result<Vec<i32>, OpenError> {
    match target {
        Target::System => Ok(Vec::new()),
        Target::Command(pid) => Ok(vec![pid.0]),
        Target::Threads(tids) => Ok(tids.iter().map(|tid| tid.0).collect()),
        Target::Processes(pids) => {
            let mut tasks = Vec::new();
            for &pid in pids {
                let threads = proc::threads(pid).map_err(|_| OpenError::NoSuchTask(pid.0))?;
                tasks.extend(threads.into_iter().map(|Tid(tid)| tid));
            }
            Ok(tasks)
        }
    }
}
