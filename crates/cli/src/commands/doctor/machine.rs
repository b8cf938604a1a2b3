//! What this machine permits this user: events are opened on ourselves, and on others, as `record` opens them.

use std::io;

use prof_event::EventSpec;
use prof_event::abi::event_type;
use prof_model::Pid;
use prof_sampler::{
    Cgroup, HeldCommand, Note, OpenError, Options, Rate, Sampler, Switches, Target,
    perf_is_filtered, proc,
};
use prof_symbolizer::RunningKernel;
use prof_target::{Wanted, find};

use super::check::{Check, State};
use super::{limits, places};
use crate::messages::event_errors::no_tracefs;
use crate::messages::open_errors::open_error_at;
use crate::messages::present::{Capability, Present};

/// Rings of what is only tried need no room.
const SMALL_RING: usize = 4096;
/// So many processes of others are tried.
const OTHERS: usize = 4;
/// As often as `record` samples.
pub const USUAL_HZ: u64 = 999;

/// The key of the check without which nothing can be recorded.
const EVENTS: &str = "cpu_events";

/// All of them, in the order in which people read them.
pub fn checks(present: &Present) -> Vec<Check> {
    let held = HeldCommand::fork(&["true".into()]); // it never begins
    let kernel = RunningKernel::read();
    let ourselves = Target::Processes(vec![Pid(std::process::id() as i32)]);
    let tried = match &held {
        Ok(held) => Target::Command(held.pid()),
        Err(_) => ourselves.clone(),
    };
    let opened = Sampler::open(Options::new(tried.clone(), Rate::Frequency(USUAL_HZ)));
    let notes = opened.as_ref().map_or(&[][..], |sampler| sampler.notes());
    let mut checks = vec![cpu_events(&opened, present)];
    checks.push(own_processes(&ourselves, present));
    checks.push(kernel_frames(&opened, present));
    checks.push(kernel_names(&kernel, present));
    checks.push(others(present));
    checks.push(whole_machine(present));
    checks.push(cgroups(present));
    checks.push(waits(&tried, present));
    checks.push(tracepoints(&tried, present));
    checks.push(uprobes(&tried, present));
    checks.push(memory(&opened, present));
    checks.extend(places::checks(present));
    checks.extend(limits::checks(notes, present));
    checks
}

/// Whether anything can be recorded.
pub fn can_record(checks: &[Check]) -> bool {
    checks
        .iter()
        .any(|check| check.key == EVENTS && check.state != State::No)
}

/// A check that failed as `record` would fail: with its causes and hints.
pub fn refused(check: Check, error: &OpenError, system_wide: bool, present: &Present) -> Check {
    if perf_is_filtered() {
        return places::filtered(check, present);
    }
    let message = open_error_at(error, system_wide, present);
    // what was tried is said by the table, and the kernel's number says nothing more
    let causes = message.causes.iter().filter(|it| !it.contains("(os error"));
    let causes: Vec<_> = causes.map(String::as_str).collect();
    let reason = match causes.as_slice() {
        [] => message.in_one_line(),
        causes => causes.join("; "),
    };
    let others = ["-p PID", "docs/permissions.md"];
    let hints = message.hints.into_iter();
    let hints = hints.filter(|hint| !others.iter().any(|other| hint.contains(other)));
    check.fails(State::No, reason).remedies(hints)
}

fn small(target: Target) -> Options {
    Options {
        ring_bytes: Some(SMALL_RING),
        ..Options::new(target, Rate::Frequency(USUAL_HZ))
    }
}

fn cpu_events(opened: &Result<Sampler, OpenError>, present: &Present) -> Check {
    let check = Check::new(EVENTS, "commands (-- ./program)", "nothing can be recorded");
    let sampler = match opened {
        Ok(sampler) => sampler,
        Err(error) => return refused(check, error, false, present),
    };
    let events = sampler.events().events().iter();
    let is_counted = events
        .map(|event| event.attr.kind)
        .any(|kind| kind == event_type::HARDWARE);
    match is_counted {
        true => check.detail("cycles, by the PMU"),
        false => check.detail("cpu-clock; no PMU: no cycles, no cache events"),
    }
}

fn own_processes(ourselves: &Target, present: &Present) -> Check {
    let lost = "`-p` finds nobody, or somebody else";
    let check = Check::new("own_processes", "own processes (-p)", lost);
    if let Some((why, remedy)) = present.blind() {
        return check.fails(State::No, why).remedies([remedy.to_owned()]);
    }
    match Sampler::open(small(ourselves.clone())) {
        Ok(_) => check,
        Err(error) => refused(check, &error, false, present),
    }
}

fn kernel_frames(opened: &Result<Sampler, OpenError>, present: &Present) -> Check {
    let lost = "time in the kernel is not counted at all";
    let check = Check::new("kernel_frames", "kernel frames", lost);
    let Ok(sampler) = opened else {
        return check.follows();
    };
    let has = |is_it: fn(&Note) -> bool| sampler.notes().iter().any(is_it);
    if has(|it| matches!(it, Note::UserOnly { .. })) {
        forbidden(check, State::No, 1, present)
    } else if has(|it| matches!(it, Note::NoKernelCallers)) {
        let lost = "the kernel's callers: its innermost function only";
        forbidden(Check { lost, ..check }, State::Partly, 1, present)
    } else {
        check
    }
}

/// A check that failed for want of what a level, or CAP_PERFMON, permits.
fn forbidden(check: Check, state: State, level: i32, present: &Present) -> Check {
    if perf_is_filtered() {
        return places::filtered(check, present);
    }
    let reason = match (present.blind(), present.paranoid) {
        (Some((why, remedy)), None) => {
            return check.fails(state, why).remedies([remedy.to_owned()]);
        }
        (_, Some(level)) => {
            format!("kernel.perf_event_paranoid is {level}, and there is no CAP_PERFMON")
        }
        (_, None) => "the kernel does not permit it".to_owned(),
    };
    check.fails(state, reason).remedies(present.allow(level))
}

fn kernel_names(kernel: &RunningKernel, present: &Present) -> Check {
    let lost = "the kernel is one row, [kernel.kallsyms]";
    let check = Check::new("kernel_names", "kernel names", lost);
    let Err(reason) = kernel.layout() else {
        return check;
    };
    if let Some((why, remedy)) = present.blind() {
        return check.fails(State::No, why).remedies([remedy.to_owned()]);
    }
    let reason = match present.kptr_restrict {
        Some(0) if present.paranoid.is_some_and(|level| level > 1) => format!(
            "kernel.perf_event_paranoid is {}, and there is no CAP_SYSLOG",
            present.paranoid.unwrap_or_default()
        ),
        Some(hidden) if hidden > 0 => format!("kernel.kptr_restrict is {hidden}"),
        _ => reason.describe().to_owned(),
    };
    check
        .fails(State::No, reason)
        .remedies(present.kernel_addresses())
}

fn others(present: &Present) -> Check {
    let lost = "only processes of this user can be sampled";
    let check = Check::new("other_users", "other users' processes", lost);
    let processes = proc::processes().unwrap_or_default().into_iter().rev();
    // what the kernel runs has no mappings
    let others = processes.filter(|pid: &Pid| {
        let owner = proc::status_number(pid.0, "Uid");
        owner.is_some_and(|owner| owner as u32 != present.user)
            && proc::maps(*pid).map_or(true, |maps| !maps.is_empty())
    });
    // Some are closed to nearly everybody: the best that is seen is what can be had.
    let mut best = Check {
        state: State::Unknown,
        ..check.clone().detail("nobody else's is to be seen here")
    };
    for pid in others.take(OTHERS) {
        best = match Sampler::open(small(Target::Processes(vec![pid]))) {
            Ok(_) if proc::maps(pid).is_ok() => return check.detail(format!("tried on {pid}")),
            Ok(_) => Check {
                lost: "names of other users' processes",
                ..check.clone()
            }
            .fails(State::Partly, "their mappings may not be read")
            .remedies(present.capabilities(&[Capability::PERFMON, Capability::SYS_PTRACE])),
            Err(OpenError::NoSuchTask(_)) => continue,
            Err(error) => refused(check.clone(), &error, false, present),
        };
    }
    best
}

fn whole_machine(present: &Present) -> Check {
    let check = Check::new(
        "whole_machine",
        "whole machine (-a)",
        "-a, and `why` without -p",
    );
    match Sampler::open(small(Target::System)) {
        Ok(sampler) => check.detail(match sampler.cpu_count() {
            1 => "1 CPU".to_owned(),
            count => format!("{count} CPUs"),
        }),
        Err(error) => refused(check, &error, true, present),
    }
}

fn cgroups(present: &Present) -> Check {
    let lost = "of a cgroup the processes that are in it when it begins";
    let check = Check::new("cgroups", "cgroups as a whole", lost);
    let root = find(&Wanted::Cgroup("/".to_owned())).ok();
    let folder = root.and_then(|found| found.candidates.into_iter().next()?.cgroup);
    let Some(folder) = folder else {
        return check.fails(State::No, "no hierarchy of cgroups is mounted here");
    };
    let tried = Cgroup::open(&folder).and_then(|cgroup| cgroup.try_as_a_whole());
    match tried.map_err(|error| error.raw_os_error()) {
        Ok(()) => check,
        Err(_) if perf_is_filtered() => places::filtered(check, present),
        Err(Some(libc::EACCES | libc::EPERM)) => forbidden(check, State::Partly, 0, present),
        Err(_) => check.fails(
            State::Partly,
            "events do not know the hierarchies that are mounted: neither version 2 nor perf_event",
        ),
    }
}

fn waits(ourselves: &Target, present: &Present) -> Check {
    let lost = "stacks of waits shorter than 5 ms, and states";
    let check = Check::new("waiting_time", "waiting time (--off-cpu)", lost);
    let options = Options {
        switches: Switches::Alone,
        ..small(ourselves.clone())
    };
    let sampler = match Sampler::open(options) {
        Ok(sampler) => sampler,
        Err(error) => {
            let lost = "where threads wait, and for how long";
            return refused(Check { lost, ..check }, &error, false, present);
        }
    };
    let user_only = |note: &Note| matches!(note, Note::UserOnly { .. });
    match sampler.notes().iter().any(user_only) {
        true => forbidden(check, State::Partly, 1, present),
        false => check,
    }
}

fn tracepoints(ourselves: &Target, present: &Present) -> Check {
    let lost = "`-e sched:sched_switch` and other tracepoints";
    let check = Check::new("tracepoints", "tracepoints", lost);
    let options = with_event(ourselves, "sched:sched_switch");
    match Sampler::open(options) {
        Ok(_) => check,
        Err(OpenError::NoTracepoint { source, .. }) => {
            let is_closed = source.kind() == io::ErrorKind::PermissionDenied;
            let (reason, remedies) = no_tracefs(is_closed, present);
            check.fails(State::No, reason).remedies(remedies)
        }
        Err(error) => refused(check, &error, false, present),
    }
}

fn uprobes(ourselves: &Target, present: &Present) -> Check {
    let lost = "probes of functions, `-e uprobe/.../`";
    let check = Check::new("uprobes", "uprobes", lost);
    // Without the path of a program the kernel says EINVAL, once it has looked at permissions.
    match Sampler::open(with_event(ourselves, "uprobe/config=0/")) {
        Ok(_) => check,
        Err(OpenError::Event { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            check
        }
        Err(OpenError::Event { source, .. })
            if matches!(source.raw_os_error(), Some(libc::EACCES | libc::EPERM))
                && !perf_is_filtered() =>
        {
            check
                .fails(
                    State::No,
                    "only who has CAP_SYS_ADMIN may, whatever the level is",
                )
                .remedies(present.as_root().map(str::to_owned))
        }
        Err(OpenError::NoPmu { .. }) => check.fails(State::No, "the kernel shows no PMU `uprobe`"),
        Err(error) => refused(check, &error, false, present),
    }
}

fn with_event(target: &Target, event: &str) -> Options {
    let spec = EventSpec::parse(event).expect("an event of ours");
    Options {
        events: spec.into(),
        ..small(target.clone())
    }
}

fn memory(opened: &Result<Sampler, OpenError>, present: &Present) -> Check {
    let lost = "the rest of stacks above 64 KiB may be cut";
    let check = Check::new("deep_stacks", "stacks above 64 KiB", lost);
    let Ok(sampler) = opened else {
        return check.follows();
    };
    let scope = present.ptrace_scope.unwrap_or(0);
    match sampler.reads_deep_stacks() {
        Ok(()) => check.detail("read by a BPF program"),
        Err(_) if scope == 0 || present.has(Capability::SYS_PTRACE) => {
            check.detail("read a little later, not by a BPF program")
        }
        Err(_) => {
            let setting = (scope == 1).then(|| present.sysctl("kernel.yama.ptrace_scope=0"));
            let capability = present.capabilities(&[Capability::SYS_PTRACE]);
            check
                .fails(State::No, format!("kernel.yama.ptrace_scope is {scope}"))
                .remedies(setting)
                .remedies(capability.filter(|_| scope < 3))
        }
    }
}
