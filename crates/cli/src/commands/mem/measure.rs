//! Looking at a target's memory and sampling its page faults, side by side.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use prof_event::EventSpec;
use prof_memory::{Kinds, Malloc, Pages, Unknown, allocators, mappings, read_malloc};
use prof_model::{Pid, Tid};
use prof_report::{HotPathOptions, hot_paths};
use prof_sampler::{Clock, Rate, Target, proc};
use prof_vitals::{Cgroup, memory_use};

use super::answer::{Answer, NewPages};
use super::args::MemArgs;
use super::faults::{Process, weigh};
use super::looks::{Looked, Looks};
use super::text::PATHS;
use crate::command_line::shared::SamplingArgs;
use crate::commands::record::{LiveRecording, OutputPlan, Plan};
use crate::export::Exports;
use crate::messages::{CliError, Failure, failed};
use crate::sampling::Sampling;

/// About so many page faults are sampled in a second.
const SAMPLES: f64 = 1_000.0;
/// For so long it is seen how many there are. The kernel would find a rate by itself only where they come evenly.
const SEEN: Duration = Duration::from_millis(200);

/// Looks at a target's memory.
///
/// # Errors
/// The target is not there, or has no memory that we may look at; the file cannot be written. That page faults may not
/// be sampled is none.
pub fn measure(args: &MemArgs) -> Result<Answer, Failure> {
    let mut sampling = sampling(args)?;
    let Target::Processes(pids) = &sampling.options.target else {
        return Err(CliError::usage("`prof mem` looks at processes").into());
    };
    let pids: Vec<i32> = pids.iter().map(|pid| pid.0).collect();
    sampling.options.events = EventSpec::parse("page-faults")
        .expect("an event of every kernel")
        .into();
    sampling.options.addresses = true;
    sampling.options.rate = Rate::Period(period(&pids));
    sampling.options.sample_cpu = false;
    sampling.options.inherit = true; // threads that are started later
    for &pid in &pids {
        let readable = mappings(pid).map_err(|error| {
            CliError::new(format!("could not read the mappings of process {pid}"))
                .cause(error)
                .hint(
                    "run it as the process's user, or with CAP_SYS_PTRACE: see docs/permissions.md",
                )
        })?;
        if readable.is_empty() {
            let message =
                format!("process {pid} has no memory: it has ended, or is a kernel thread");
            return Err(CliError::new(message).into());
        }
    }
    let mut answer = describe(args, &pids);
    let plan = Plan {
        sampling,
        delay: Duration::ZERO,
        duration: Some(args.duration),
        output: output(args)?,
        compression: None,
        exports: Exports::new(true),
        draws_idle: false,
        quiet: true,
        progress: true,
        verbose: false,
    };
    let started = Instant::now();
    let opened = LiveRecording::open(plan);
    let looks = Looks::start(pids.clone(), args.duration)?;
    let looked = match opened {
        Ok((mut recording, held)) => {
            recording.keep_pages();
            let mut sampled = recording.sample(held)?;
            let looked = looks.finish();
            answer.elapsed = started.elapsed();
            let processes = look_at_end(&pids, &looked, &mut answer);
            let (names, stored) = recording.find_names(&mut sampled);
            let done = recording.done(&sampled);
            let mut profile = recording.profile().clone();
            let have_pages = !profile.detailed_samples(0).is_empty();
            let bytes = weigh(&mut profile, &processes);
            let options = HotPathOptions {
                count: PATHS,
                process_name: None,
            };
            answer.new = Some(NewPages {
                bytes: bytes.kept,
                gone: bytes.gone,
                all_counted: !have_pages || processes.values().any(|it| it.pages.is_none()),
                lost: done.lost,
                paths: hot_paths(&profile, &names, 0, options),
            });
            answer.file = recording.finish_file(stored, &done)?.map(|file| file.name);
            sampled.end.map_err(failed("the recording ended early"))?;
            looked
        }
        Err(error) => {
            answer.not_sampled = Some(error.in_one_line());
            std::thread::sleep(args.duration);
            let looked = looks.finish();
            answer.elapsed = started.elapsed();
            look_at_end(&pids, &looked, &mut answer);
            looked
        }
    };
    answer.growth = looked.growth.per_second();
    answer.added = looked.growth.bytes();
    Ok(answer)
}

/// One of so many page faults is to be sampled.
fn period(pids: &[i32]) -> u64 {
    let all = || -> u64 { pids.iter().filter_map(|&pid| page_faults(pid)).sum() };
    let (before, began) = (all(), Instant::now());
    std::thread::sleep(SEEN);
    let rate = all().saturating_sub(before) as f64 / began.elapsed().as_secs_f64();
    (rate / SAMPLES).ceil().max(1.0) as u64
}

/// How many pages a process has got so far without reading a disk: the tenth field of `/proc/PID/stat`.
fn page_faults(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(7)?.parse().ok()
}

fn output(args: &MemArgs) -> Result<OutputPlan, CliError> {
    match &args.output {
        Some(path) if path.as_os_str() == "-" => {
            let message = "the answer goes to stdout, so the samples cannot";
            Err(CliError::usage(message).hint("give `-o` a file"))
        }
        Some(path) => Ok(OutputPlan::File(path.clone())),
        None => Ok(OutputPlan::None),
    }
}

fn sampling(args: &MemArgs) -> Result<Sampling, CliError> {
    let args = SamplingArgs {
        pid: args.pid.clone(),
        groups: args.groups.clone(),
        tid: Vec::new(),
        all_cpus: false,
        cpu: None,
        frequency: None,
        count: None,
        events: Default::default(),
        wall: false,
        off_cpu: false,
        waker: false,
        call_graph_flag: false,
        call_graph: "auto".to_owned(),
        max_stack: prof_session::DEFAULT_MAX_STACK,
        mmap_pages: None,
        realtime: None,
        no_inherit: true, // these processes, not a cgroup as a whole
        command: Vec::new(),
    };
    if args.pid.is_empty() && !args.groups.any() {
        return Err(CliError::usage("whose memory?").hint("a process: `prof mem -p PID`"));
    }
    Sampling::new(&args, "mem", 99, Clock::MONOTONIC)
}

fn describe(args: &MemArgs, pids: &[i32]) -> Answer {
    let name = |pid: i32| proc::comm(Pid(pid), Tid(pid)).unwrap_or_default();
    let names: Vec<_> = pids.iter().map(|&pid| name(pid)).collect();
    let first = names.first().cloned().unwrap_or_default();
    let first = String::from_utf8_lossy(&first).into_owned();
    let target = match pids {
        [pid] => format!("{first} {pid}"),
        pids if names.iter().all(|name| Some(name) == names.first()) => {
            format!("{first}, {} processes", pids.len())
        }
        pids => format!("{first} and {} more", pids.len() - 1),
    };
    let groups = &args.groups;
    let named = [
        ("--cgroup", &groups.cgroup),
        ("--container", &groups.container),
        ("--unit", &groups.unit),
    ];
    let typed = match named
        .iter()
        .find_map(|(option, name)| Some((option, name.as_ref()?)))
    {
        Some((option, name)) => format!("{option} {name}"),
        None => format!("-p {}", args.pid.join(",")),
    };
    Answer {
        target,
        typed,
        processes: pids.len(),
        ..Answer::default()
    }
}

/// What the memory is at the end.
fn look_at_end(pids: &[i32], looked: &Looked, answer: &mut Answer) -> HashMap<i32, Process> {
    let mut processes = HashMap::new();
    let (mut all, mut reason) = (Malloc::default(), None);
    for (&pid, stacks) in pids.iter().zip(&looked.stacks) {
        let Ok(mappings) = mappings(pid) else {
            continue; // it has ended
        };
        answer.allocators.extend(allocators(pid, &mappings));
        let malloc = read_malloc(pid, &mappings);
        let (ranges, mmapped) = match &malloc {
            Ok(malloc) => (malloc.ranges.as_slice(), malloc.mmapped_resident),
            Err(_) => (&[][..], None),
        };
        let is_one_of_many = pids.len() > 1;
        let resident = mmapped.unwrap_or(0);
        let mut kinds = Kinds::of(&mappings, ranges, resident, stacks, is_one_of_many);
        kinds.add_status(pid);
        answer.kinds += kinds;
        answer.no_stacks |= stacks.is_empty();
        match malloc {
            Ok(malloc) => all += malloc,
            Err(error) => reason = Some(error),
        }
        let pages = Pages::open(pid).ok();
        processes.insert(pid, Process { mappings, pages });
    }
    answer.allocators.sort_unstable();
    answer.allocators.dedup();
    match reason {
        None => answer.malloc = (all.arenas > 0).then_some(all),
        Some(Unknown::NotFound) => {}
        Some(error) => answer.no_malloc = Some(error.to_string()),
    }
    let cgroup = pids.first().and_then(|&pid| Cgroup::of_memory(pid));
    answer.cgroup = cgroup.as_ref().and_then(memory_use);
    processes
}
