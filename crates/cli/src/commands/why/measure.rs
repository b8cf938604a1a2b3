//! Sampling a target, and looking at it beside that.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prof_model::{Pid, Tid};
use prof_profile::{Profile, Unit};
use prof_report::{HotPathOptions, hot_paths, summarize_waits};
use prof_sampler::{Clock, Switches, Target, proc};
use prof_vitals::{CpuUse, Meter, Subject, Vitals, share_of_ended_children};

use super::answer::Answer;
use super::args::WhyArgs;
use super::next::quoted;
use super::samples::PATHS;
use super::text::start_of;
use crate::commands::record::{LiveRecording, OutputPlan, Plan};
use crate::commands::top::container_of;
use crate::export::Exports;
use crate::messages::{CliError, Failure, failed, open_errors};
use crate::sampling::Sampling;

/// Samples per second and CPU, if not told otherwise: it costs next to nothing.
const USUAL_HZ: u64 = 99;
const USUAL_SECONDS: Duration = Duration::from_secs(10);

/// So much of a command stands in the first line.
const LONGEST_NAME: usize = 40;

/// Samples a target and looks at it.
///
/// # Errors
/// The target is not there; a wrong argument; the file cannot be written. That it may not be sampled is none: counters
/// tell something, too.
pub fn measure(args: &WhyArgs) -> Result<Answer, Failure> {
    let mut sampling_args = args.sampling.clone();
    let names_nobody = sampling_args.pid.is_empty() && sampling_args.tid.is_empty();
    if names_nobody && sampling_args.command.is_empty() {
        sampling_args.all_cpus = true;
    }
    let mut sampling = Sampling::new(&sampling_args, "why", USUAL_HZ, Clock::MONOTONIC)?;
    let is_machine = sampling.options.target == Target::System;
    sampling.options.sample_cpu = is_machine || sampling.options.cpus.is_some();
    let of_command = sampling.samples_command;
    let duration = match (args.duration, of_command) {
        (None, true) => None,
        (duration, _) => Some(duration.unwrap_or(USUAL_SECONDS)),
    };
    let mut answer = Answer {
        is_machine,
        typed: typed(&sampling),
        ..describe(&sampling)
    };
    let subject = sampling.subject();
    if starts_much(&subject) {
        sampling.options.whole_cpus = true;
        answer.typed = "-a".to_owned(); // for `record`, which gives each thread a clock of its own otherwise
    }
    if !is_machine && !sampling.options.whole_cpus && has_few_threads(&subject) {
        sampling.options.switches = Switches::Beside;
    }
    let output = match &args.output {
        Some(path) if path.as_os_str() == "-" => {
            return Err(
                CliError::usage("the answer goes to stdout, so the samples cannot")
                    .hint("give `-o` a file")
                    .into(),
            );
        }
        Some(path) => OutputPlan::File(path.clone()),
        None => OutputPlan::None,
    };
    let plan = Plan {
        sampling,
        delay: Duration::ZERO,
        duration,
        output,
        compression: None,
        exports: Exports::new(true),
        draws_idle: false,
        quiet: true,
        progress: true,
        verbose: false,
    };
    let (mut recording, held) = match LiveRecording::open(plan) {
        Ok(opened) => opened,
        Err(error) if !of_command && args.sampling.command.is_empty() && is_there(&subject) => {
            answer.not_sampled = Some(error.in_one_line());
            answer.vitals = look_only(subject, duration.unwrap_or(USUAL_SECONDS))?;
            return Ok(answer);
        }
        Err(error) => return Err(error.into()),
    };
    let subject = match (&held, of_command) {
        (Some(held), true) => Subject::Processes {
            pids: vec![held.pid().0],
            descendants: true,
        },
        _ => subject,
    };
    let looking = Looking::start(subject)?;
    let mut sampled = recording.sample(held)?;
    let command = sampled.command.take();
    answer.vitals = looking.finish();
    let (names, stored) = recording.find_names(&mut sampled);
    let done = recording.done(&sampled);
    if let Some(time) = done.cpu_time.filter(|_| of_command) {
        // Of a command that has ended looks saw the most; the kernel tells all of it.
        answer.vitals.cpu = answer.vitals.cpu.map(|cpu| scaled(cpu, time));
    }
    let process_name = |pid| recording.process_name(pid);
    let options = HotPathOptions {
        count: PATHS,
        process_name: is_machine.then_some(&process_name),
    };
    answer.hot = Some(hot_paths(recording.profile(), &names, 0, options));
    let profile = recording.profile();
    let counts_time = profile
        .events
        .first()
        .is_some_and(|it| it.unit == Unit::CpuTime);
    let seen = answer
        .hot
        .as_ref()
        .map(|hot| Duration::from_nanos(hot.period));
    answer.sampled = seen.filter(|_| counts_time);
    let mut events = profile.events.iter();
    if let Some(event) = events.position(|event| event.unit == Unit::WaitTime) {
        let waited = summarize_waits(profile, &names, event as u16, done.span, PATHS);
        answer.waited = Some(waited);
    }
    answer.event = event(recording.profile());
    answer.lost = done.lost;
    answer.started = recording.take_started();
    let file = recording.finish_file(stored, &done);
    // Whatever went wrong, it was started for a recording that is over.
    recording.end_command(command)?;
    answer.file = file?.map(|file| file.name);
    sampled.end.map_err(failed("the recording ended early"))?;
    Ok(answer)
}

/// Waits are sampled of so many threads at most: each takes a file for it on each CPU.
const FEW_THREADS: usize = 500;

fn has_few_threads(subject: &Subject) -> bool {
    match subject {
        Subject::Machine => false,
        Subject::Threads(tids) => tids.len() <= FEW_THREADS,
        Subject::Processes { pids, .. } => {
            let threads = pids.iter().map(|&pid| proc::threads(Pid(pid)));
            let threads: usize = threads.map(|it| it.map_or(0, |it| it.len())).sum();
            threads <= FEW_THREADS
        }
    }
}

/// The name of the target.
fn describe(sampling: &Sampling) -> Answer {
    let name = |pid: Pid, tid: Tid| {
        let comm = proc::comm(pid, tid).unwrap_or_default();
        format!("{} {tid}", String::from_utf8_lossy(&comm))
    };
    let target = match &sampling.options.target {
        Target::System => "this machine".to_owned(),
        Target::Processes(pids) if pids.len() > 1 && has_one_name(pids) => {
            let comm = proc::comm(pids[0], Tid(pids[0].0)).unwrap_or_default();
            let comm = String::from_utf8_lossy(&comm);
            format!("{comm}, {} processes", pids.len())
        }
        Target::Processes(pids) => {
            let names: Vec<_> = pids
                .iter()
                .take(3)
                .map(|&pid| name(pid, Tid(pid.0)))
                .collect();
            let more = if pids.len() > 3 { ", ..." } else { "" };
            names.join(", ") + more
        }
        Target::Threads(tids) => {
            let names: Vec<_> = tids
                .iter()
                .take(3)
                .map(|&tid| name(Pid(tid.0), tid))
                .collect();
            format!("threads {}", names.join(", "))
        }
        Target::Command(_) | Target::Cgroup(_) => start_of(&sampling.target_name(), LONGEST_NAME),
    };
    let load = fs::read_to_string("/proc/loadavg").ok();
    let named = match &sampling.options.target {
        Target::Processes(pids) => pids.len(),
        Target::Cgroup(cgroup) => cgroup.members().len(),
        _ => 1,
    };
    Answer {
        target,
        named,
        container: container_of(&sampling.options.target),
        load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        ..Answer::default()
    }
}

/// Whether these processes are called the same.
fn has_one_name(pids: &[Pid]) -> bool {
    let mut names = pids.iter().map(|&pid| proc::comm(pid, Tid(pid.0)).ok());
    let first = names.next().flatten();
    first.is_some() && names.all(|name| name == first)
}

/// How the target is typed for another command.
fn typed(sampling: &Sampling) -> String {
    let list = |numbers: Vec<String>| numbers.join(",");
    match &sampling.options.target {
        Target::System => "-a".to_owned(),
        Target::Processes(pids) => {
            format!(
                "-p {}",
                list(pids.iter().map(ToString::to_string).collect())
            )
        }
        Target::Threads(tids) => {
            format!(
                "-t {}",
                list(tids.iter().map(ToString::to_string).collect())
            )
        }
        Target::Cgroup(cgroup) => format!("-G {}", quoted(&cgroup.path().to_string_lossy())),
        Target::Command(_) => {
            let words = sampling.command.iter();
            let words: Vec<_> = words.map(|word| quoted(&word.to_string_lossy())).collect();
            format!("-- {}", words.join(" "))
        }
    }
}

/// Whether a good part of a target's time is that of children that have ended: most of them may be too short for
/// samples of their own.
fn starts_much(subject: &Subject) -> bool {
    const GOOD_PART: f64 = 0.1;
    match subject {
        Subject::Processes {
            pids,
            descendants: true,
        } => share_of_ended_children(pids).is_some_and(|share| share >= GOOD_PART),
        _ => false,
    }
}

fn is_there(subject: &Subject) -> bool {
    match subject {
        Subject::Machine => true,
        Subject::Processes { pids: tasks, .. } | Subject::Threads(tasks) => {
            tasks.iter().all(|&task| proc::process_of(task).is_some())
        }
    }
}

/// Looks without sampling.
fn look_only(subject: Subject, duration: Duration) -> Result<Vitals, CliError> {
    let looking = Looking::start(subject)?;
    let until = Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
    Ok(looking.finish())
}

/// What samples count, if it is not CPU time.
fn event(profile: &Profile) -> Option<String> {
    let event = profile.events.first()?;
    let is_time = event.unit == Unit::CpuTime || event.name.starts_with("cycles");
    (!is_time).then(|| event.name.clone())
}

/// The same proportion of user and kernel time of another sum.
fn scaled(cpu: CpuUse, total: Duration) -> CpuUse {
    let factor = total.as_secs_f64() / cpu.total().as_secs_f64();
    match factor.is_finite() && factor > 0.0 {
        true => CpuUse {
            user: cpu.user.mul_f64(factor),
            system: cpu.system.mul_f64(factor),
        },
        false => CpuUse {
            user: total,
            system: Duration::ZERO,
        },
    }
}

/// A thread that looks several times a second.
struct Looking {
    stop: Sender<()>,
    thread: JoinHandle<Vitals>,
}

impl Looking {
    fn start(subject: Subject) -> Result<Self, CliError> {
        let (stop, stopped) = channel::<()>();
        let (begin, begun) = channel();
        let look = move || {
            let mut meter = Meter::start(subject);
            let _ = begin.send(());
            while stopped.recv_timeout(meter.pause()) == Err(RecvTimeoutError::Timeout) {
                meter.look();
            }
            meter.finish()
        };
        let thread = std::thread::Builder::new().name("prof-looks".to_owned());
        let thread = thread.spawn(look).map_err(open_errors::no_thread)?;
        let _ = begun.recv(); // the counters were read
        Ok(Self { stop, thread })
    }

    fn finish(self) -> Vitals {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}
