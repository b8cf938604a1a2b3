//! What can be told of a target: whether it can be sampled, at which cost, what runs in it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use prof_model::Pid;
use prof_sampler::{Clock, Note, Options, Sampler, Target, online_cpus, perf_is_filtered, proc};
use prof_symbolizer::{PerfMap, writer_of};
use prof_target::{Facts, container_of};
use serde::Serialize;

use super::DoctorArgs;
use super::check::{Check, State};
use super::limits::{SPARE_FILES, most_files};
use super::machine::{USUAL_HZ, refused};
use super::modules::{self, Modules};
use super::text::{reasons, wrapped};
use crate::messages::CliError;
use crate::messages::missing_names::{JVM, runtime_of};
use crate::messages::present::{Capability, Present};
use crate::sampling::Sampling;
use crate::units::thousands;

/// So many processes are looked into.
const LOOKED_INTO: usize = 8;

/// What is known about a target.
#[derive(Debug, Serialize)]
pub struct TargetFacts {
    title: String,
    /// How it was found, as a line.
    found: Option<String>,
    user: Option<String>,
    container: Option<String>,
    processes: usize,
    threads: usize,
    mappings: Option<usize>,
    /// Whether a seccomp filter holds its first process; nothing that hinders who samples it from outside.
    seccomp: Option<bool>,
    cost: Cost,
    modules: Modules,
    runtimes: Vec<Runtime>,
    /// Whether it can be recorded.
    pub recording: Check,
    /// Whether its mappings can be read, and with them names and stacks.
    maps: Check,
}

/// What sampling it takes.
#[derive(Debug, Serialize)]
struct Cost {
    cpus: usize,
    events: u64,
    files: u64,
    files_allowed: u64,
    ring_bytes: Option<usize>,
    /// `threads`, `cpus` or `cgroup`: what an event is opened on.
    strategy: &'static str,
    at_most_samples_per_second: u64,
}

/// Code that a process generates.
#[derive(Debug, Serialize)]
struct Runtime {
    pid: i32,
    runtime: String,
    named_by: Option<&'static str>,
    remedy: Option<String>,
}

/// Looks at whom the arguments mean; `None` if they mean nobody.
///
/// # Errors
/// Nobody is found, or several may be meant.
pub fn look(args: &DoctorArgs, present: &Present) -> Result<Option<TargetFacts>, CliError> {
    let sampling = &args.sampling;
    if !sampling.command.is_empty() {
        return Err(CliError::usage("`prof doctor` runs no command")
            .hint("look at what runs: `prof doctor -p PID`"));
    }
    let is_asked = !sampling.pid.is_empty() || !sampling.tid.is_empty() || sampling.groups.any();
    if !is_asked && !sampling.all_cpus && sampling.cpu.is_none() {
        return Ok(None);
    }
    if let Some((why, remedy)) = present.blind()
        && is_asked
    {
        return Err(CliError::new("could not look for the target")
            .cause(why)
            .hint(remedy));
    }
    let sampling = Sampling::new(sampling, "doctor", USUAL_HZ, Clock::MONOTONIC)?;
    Ok(Some(facts(&sampling, present)))
}

fn facts(sampling: &Sampling, present: &Present) -> TargetFacts {
    let options = &sampling.options;
    let is_system = matches!(options.target, Target::System);
    let processes = processes(options);
    let first = processes.first().copied();
    let threads = match &options.target {
        Target::Threads(tids) => tids.len(),
        _ => {
            let threads = processes
                .iter()
                .map(|&pid| proc::threads(pid).unwrap_or_default().len());
            threads.sum()
        }
    };
    let opened = Sampler::open(options.clone());
    let recording = Check::new("recording", "recording", "everything");
    let recording = match &opened {
        Ok(_) => recording,
        Err(error) => refused(recording, error, is_system, present),
    };
    let about = first.filter(|_| !is_system).map(Facts::of);
    let status = |pid: Pid| proc::status_number(pid.0, "Seccomp");
    let of_interest = if is_system { &[][..] } else { &processes[..] };
    TargetFacts {
        title: sampling.target_name(),
        found: sampling.found.clone(),
        container: first
            .filter(|_| !is_system)
            .and_then(|pid| container_of(pid.0)),
        user: about.map(|about| about.user),
        processes: processes.len(),
        threads,
        mappings: first
            .filter(|_| !is_system)
            .and_then(|pid| Some(proc::maps(pid).ok()?.len())),
        seccomp: first.and_then(status).map(|mode| mode == 2),
        cost: cost(options, threads, opened.as_ref().ok()),
        modules: modules::look(&of_interest[..of_interest.len().min(LOOKED_INTO)]),
        runtimes: runtimes(&of_interest[..of_interest.len().min(LOOKED_INTO)]),
        maps: maps(of_interest, present),
        recording,
    }
}

/// All processes that will be sampled.
fn processes(options: &Options) -> Vec<Pid> {
    let all: BTreeSet<Pid> = match &options.target {
        Target::Processes(pids) if options.inherit => pids
            .iter()
            .copied()
            .chain(proc::descendants(pids))
            .collect(),
        Target::Processes(pids) => pids.iter().copied().collect(),
        Target::Threads(tids) => tids
            .iter()
            .filter_map(|tid| proc::process_of(tid.0))
            .collect(),
        Target::Cgroup(cgroup) => cgroup.members().into_iter().collect(),
        Target::System => proc::processes().unwrap_or_default().into_iter().collect(),
        Target::Command(pid) => [*pid].into(),
    };
    // those that were named first
    let named: Vec<_> = match &options.target {
        Target::Processes(pids) => pids.clone(),
        _ => Vec::new(),
    };
    let others = all.into_iter().filter(|pid| !named.contains(pid));
    named.iter().copied().chain(others).collect()
}

fn cost(options: &Options, threads: usize, sampler: Option<&Sampler>) -> Cost {
    let cpus = options
        .cpus
        .as_ref()
        .map_or_else(|| online_cpus().len(), Vec::len);
    let has = |is_it: fn(&Note) -> bool| {
        let notes = sampler.map_or(&[][..], |sampler| sampler.notes());
        notes.iter().any(is_it)
    };
    let strategy = match &options.target {
        Target::System => "cpus",
        Target::Cgroup(_) if !has(|it| matches!(it, Note::CgroupByProcesses { .. })) => "cgroup",
        _ if has(|it| matches!(it, Note::FilteredCpus { .. })) => "cpus",
        _ => "threads",
    };
    let places = match strategy {
        "threads" => threads * cpus,
        _ => cpus,
    };
    let kinds = sampler.map_or(1, |sampler| sampler.events().events().len());
    // of one event there is another with small copies of stacks, and one for deep ones
    let small = sampler.is_some_and(|sampler| sampler.small_copy().is_some());
    let deep = sampler.is_some_and(|sampler| sampler.reads_deep_stacks().is_ok());
    let variants = 1 + usize::from(small) + usize::from(deep);
    let events = (places * kinds) as u64;
    Cost {
        cpus,
        events,
        files: events * variants as u64 + cpus as u64,
        files_allowed: most_files().saturating_sub(SPARE_FILES),
        ring_bytes: sampler.map(Sampler::ring_bytes),
        strategy,
        at_most_samples_per_second: match options.rate {
            prof_sampler::Rate::Frequency(hz) => hz * threads.min(cpus).max(1) as u64,
            _ => 0,
        },
    }
}

/// Whether mappings and files can be read.
fn maps(processes: &[Pid], present: &Present) -> Check {
    let check = Check::new("mappings", "mappings", "names, and stacks by tables");
    let unreadable = processes
        .iter()
        .find(|&&pid| proc::is_running(pid) && proc::maps(pid).is_err());
    match unreadable {
        None => check,
        Some(pid) => check
            .fails(State::No, format!("/proc/{pid}/maps may not be read"))
            .remedies(present.capabilities(&[Capability::PERFMON, Capability::SYS_PTRACE]))
            .remedies(present.as_root().map(|it| format!("or {it}"))),
    }
}

fn runtimes(processes: &[Pid]) -> Vec<Runtime> {
    let runtimes = processes.iter().filter_map(|&pid| {
        let maps = proc::maps(pid).ok()?;
        let paths = maps.iter().filter(|map| map.prot & 4 != 0);
        let paths: Vec<_> = paths
            .map(|map| String::from_utf8_lossy(&map.name).into_owned())
            .collect();
        let (runtime, how) = runtime_of(&paths)?;
        let map = writer_of(pid).and_then(|writer| PerfMap::open(pid, writer));
        let named_by = match &map {
            Some(map) if map.doubt().is_none() => Some("perf map"),
            _ if maps.iter().any(|map| is_jitdump(&map.name)) => Some("jitdump"),
            _ if runtime == JVM => Some("memory"),
            _ => None,
        };
        let doubt = map.and_then(|map| map.doubt());
        let remedy = match doubt {
            Some(doubt) => format!("/tmp/perf-{pid}.map is not believed: {doubt}"),
            None => match old_python(&paths) {
                Some(version) => format!("Python {version} cannot tell them, 3.12 can: `-X perf`"),
                None => how.replace("PID", &pid.to_string()),
            },
        };
        Some(Runtime {
            pid: pid.0,
            runtime: runtime.trim_start_matches('/').to_owned(),
            remedy: named_by.is_none().then_some(remedy),
            named_by,
        })
    });
    runtimes.collect()
}

/// The version of a Python, by the name of its file, that does not tell what it runs.
fn old_python(paths: &[String]) -> Option<String> {
    const FIRST: u32 = 12;
    let minors = paths.iter().filter_map(|path| {
        let (_, version) = path.rsplit('/').next()?.split_once("python3.")?;
        let digits = version.split(|it: char| !it.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    let minor = minors.min()?;
    (minor < FIRST).then(|| format!("3.{minor}"))
}

fn is_jitdump(path: &[u8]) -> bool {
    let path = String::from_utf8_lossy(path);
    let name = Path::new(&*path).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    name.starts_with("jit-") && name.ends_with(".dump")
}

impl TargetFacts {
    /// As people read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut head = self.title.clone();
        if let Some(container) = &self.container {
            let _ = write!(head, " in container {container}");
        }
        if let Some(user) = &self.user {
            let _ = write!(head, ", user {user}");
        }
        head += match self.recording.state {
            State::Yes => ": can be recorded",
            _ => ": can NOT be recorded",
        };
        text += &wrapped("", &head, 2);
        if let Some(found) = &self.found {
            text += &wrapped("", found, 2);
        }
        let counted = |count: usize, one: &str, many: &str| {
            let word = if count == 1 { one } else { many };
            format!("{} {word}", thousands(count as u64))
        };
        let mut line = format!(
            "{}, {}",
            counted(self.processes, "process", "processes"),
            counted(self.threads, "thread", "threads")
        );
        if let Some(mappings) = self.mappings {
            let _ = write!(line, ", {}", counted(mappings, "mapping", "mappings"));
        }
        if self.seccomp == Some(true) {
            line += "; a seccomp filter holds it";
            line += match perf_is_filtered() {
                true => ", and us",
                false => ", which does not hinder us",
            };
        }
        text += &wrapped("", &line, 2);
        text += &wrapped("", &self.cost.text(), 2);
        text += &self.modules.text();
        for runtime in &self.runtimes {
            text += &runtime.text();
        }
        text += &reasons([&self.recording, &self.maps].into_iter());
        text
    }
}

impl Cost {
    fn text(&self) -> String {
        let on = match self.strategy {
            "threads" => "one for each thread and CPU",
            "cgroup" => "one for each CPU, for all that is in it",
            _ => "one for each CPU",
        };
        let mut text = format!(
            "takes {} events ({on}), about {} of {} files",
            thousands(self.events),
            thousands(self.files),
            thousands(self.files_allowed)
        );
        if let Some(bytes) = self.ring_bytes {
            let mib = (bytes * self.cpus) as f64 / f64::from(1 << 20);
            let _ = write!(text, ", {mib:.1} MiB of rings");
        }
        text
    }
}

impl Runtime {
    fn text(&self) -> String {
        let start = format!("{} in {}: ", self.runtime, self.pid);
        let words = match (self.named_by, &self.remedy) {
            (Some("memory"), _) => "methods are named from its memory".to_owned(),
            (Some(by), _) => format!("generated code is named by its {by}"),
            (None, Some(remedy)) => format!("generated code has no names: {remedy}"),
            (None, None) => "generated code has no names".to_owned(),
        };
        wrapped("", &format!("{start}{words}"), 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_cannot_tell_is_not_told_to() {
        let version = |path: &str| old_python(&["/lib/libc.so.6".to_owned(), path.to_owned()]);
        assert_eq!(
            version("/usr/lib/libpython3.11.so.1.0").as_deref(),
            Some("3.11")
        );
        assert_eq!(version("/usr/bin/python3.12"), None);
        assert_eq!(version("/usr/bin/python3"), None);
    }

    #[test]
    fn a_jitdump_is_known_by_its_name() {
        assert!(is_jitdump(b"/tmp/.debug/jit/x/jit-4121.dump"));
        assert!(!is_jitdump(b"/usr/lib/jit-4121.so"));
    }
}
