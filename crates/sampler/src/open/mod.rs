//! Opening events: what is asked for is settled with the kernel, and opened on every thread and CPU.

mod attrs; // what is asked for
mod births; // which threads start meanwhile
mod concessions; // what it can do without
mod error; // why the kernel said no
mod further; // processes that join
mod instances; // on every CPU
mod patterns; // `sched:*`
mod pmu; // what sysfs tells of an event
mod probe; // whether an event is here
mod rings; // where they write
mod scopes; // which threads
mod settle; // what the kernel grants

use prof_event::abi::flag;
use prof_event::{Event, EventSet};
use prof_model::{Cpu, Pid};

pub use error::OpenError;
pub(crate) use further::{can_join, open_further};
pub(crate) use instances::Instance;
pub use probe::is_here;
pub(crate) use rings::CpuRing;

use crate::deep_stacks::{DeepStacks, NoDeepStacks};
use crate::host;
use crate::options::{Note, Options, Target};
use crate::scope::Scope;
use attrs::{PlannedEvent, add_deep_copies, add_small_copies, groups, plan_events};
use instances::open_scope;
use rings::open_rings;
use scopes::{Scopes, Unopened};
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
    /// What reads stacks behind their copies.
    pub(crate) deep: Result<DeepStacks, NoDeepStacks>,
    planned: Vec<PlannedEvent>, // for processes that join
}

/// Opens the events of a recording, all of them disabled.
pub(crate) fn open(options: &Options) -> Result<Opened, OpenError> {
    let mut notes = Vec::new();
    let options = &Options {
        events: patterns::expand(options.events.clone())?,
        ..options.clone()
    };
    let mut planned = plan_events(options, &mut notes)?;
    let cpus = cpus_of(options)?;
    let mut unknown = Scopes::new(options);
    let mut unopened = unknown.look()?;
    let scopes: Vec<_> = unopened.iter().flat_map(|it| it.scopes.clone()).collect();
    let probe = settle_all(&mut planned, options, &scopes, cpus[0], &mut notes)?;

    if let Target::Processes(named) = &options.target {
        let is_child = |it: &&Unopened| it.process.is_some_and(|pid| !named.contains(&pid));
        let count = unopened.iter().filter(is_child).count();
        notes.extend((count > 0).then_some(Note::WithChildren { count }));
    }

    let limit = host::raise_file_limit().saturating_sub(SPARE_FILES);
    let needed = (scopes.len() * cpus.len() * planned.len()) as u64;
    let mut keep = None;
    if needed > limit || options.whole_cpus {
        let processes = unopened.iter().filter_map(|it| it.process).collect();
        keep = processes_to_keep(processes, &mut planned, cpus[0]);
        match needed > limit {
            true if keep.is_none() => return Err(too_many(&scopes, &cpus, needed, limit)),
            true => notes.push(Note::FilteredCpus { needed, limit }),
            false => {}
        }
    }
    if keep.is_some() {
        unopened = vec![Unopened {
            process: None,
            scopes: vec![Scope::Everything],
        }];
    }
    let places = unopened.iter().map(|it| it.scopes.len()).sum::<usize>() * cpus.len();
    add_small_copies(options, &mut planned, places, limit);
    let deep = add_deep_copies(options, &mut planned, &cpus, places, limit);
    let are_inherited = planned.iter().all(|it| it.attr.has(flag::INHERIT));
    let mut opened = Opened {
        rings: open_rings(options, &planned, &cpus, &mut notes)?,
        instances: Vec::new(),
        events: EventSet::default(),
        notes,
        keep,
        deep,
        planned: Vec::new(),
    };
    if opened.keep.is_none() && are_inherited {
        unknown.watch_births(opened.rings.iter().map(|ring| ring.cpu));
    }
    let mut ids = vec![Vec::new(); planned.len()];
    while !unopened.is_empty() {
        for Unopened { process, scopes } in unopened {
            for scope in scopes {
                open_scope(&mut opened, &planned, scope, &mut ids)?;
                if let Scope::Thread(tid) = scope {
                    unknown.opened_thread(tid);
                }
            }
            unknown.opened(process);
        }
        // What starts meanwhile may have missed some CPUs' events: look again until nothing new is there. Where
        // nothing is inherited what starts later is not sampled at all, and there may always be something new.
        unopened = match &opened.keep {
            None if are_inherited => unknown.look()?,
            _ => Vec::new(),
        };
    }
    if opened.instances.is_empty() {
        return Err(match probe {
            Scope::Thread(tid) => OpenError::NoSuchTask(tid), // it exited meanwhile
            Scope::Everything | Scope::Cgroup(_) => OpenError::NoSuchCpu(cpus[0]), // all went offline meanwhile
        });
    }
    opened.events.set_groups(groups(&options.events));
    for (event, ids) in planned.iter().zip(ids) {
        opened.events.push(Event {
            attr: event.attr.clone(),
            name: event.name.clone(),
            ids,
        });
    }
    opened.planned = planned;
    Ok(opened)
}

/// Settles all events on one scope, and returns that. Of a process the first thread may have ended.
fn settle_all(
    planned: &mut [PlannedEvent],
    options: &Options,
    scopes: &[Scope],
    cpu: Cpu,
    notes: &mut Vec<Note>,
) -> Result<Scope, OpenError> {
    let mut settle_on = |scope| {
        let mut events = planned.iter_mut();
        events.try_for_each(|event| settle(event, scope, cpu, notes))
    };
    let probe = scopes.first().copied().unwrap_or(Scope::Everything);
    let gone = match settle_on(probe) {
        Err(error @ OpenError::NoSuchTask(_)) => error,
        settled => return settled.map(|()| probe),
    };
    if matches!(options.target, Target::Processes(_)) {
        for &scope in &scopes[1..] {
            match settle_on(scope) {
                Err(OpenError::NoSuchTask(_)) => {}
                settled => return settled.map(|()| scope),
            }
        }
    }
    Err(gone)
}

/// The processes whose samples are to be kept of those of whole CPUs. `None` if there are none, or if whole
/// CPUs may not be sampled.
fn processes_to_keep(
    processes: Vec<Pid>,
    planned: &mut [PlannedEvent],
    cpu: Cpu,
) -> Option<Vec<Pid>> {
    if processes.is_empty() || planned.iter().any(PlannedEvent::counts_for_group) {
        return None; // a CPU counts for others, too
    }
    settle(&mut planned[0], Scope::Everything, cpu, &mut Vec::new()).ok()?;
    Some(processes)
}

fn too_many(scopes: &[Scope], cpus: &[Cpu], needed: u64, limit: u64) -> OpenError {
    let is_thread = |scope: &&Scope| matches!(scope, Scope::Thread(_));
    OpenError::TooManyFiles {
        threads: scopes.iter().filter(is_thread).count(),
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
