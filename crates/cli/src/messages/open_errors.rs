//! Why the kernel said no, and what to do about it, least privilege first.

use std::io;

use prof_event::{EventKind, EventSpec};
use prof_model::{Pid, Tid};
use prof_sampler::{OpenError, Scope, paranoid, perf_is_filtered, proc};

use super::{CliError, event_errors};
use crate::messages::settings;

/// The message for an event that could not be opened.
pub fn open_error(error: &OpenError, system_wide: bool) -> CliError {
    let message = CliError::from_error(error);
    match error {
        OpenError::Event {
            in_group: true,
            source,
            ..
        } if source.raw_os_error() == Some(libc::EINVAL) => message
            .cause("it cannot be counted together with the events in front of it in its group")
            .hint("leave out the braces: `-e cycles,cs`"),
        OpenError::Event {
            event,
            scope,
            source,
            ..
        } => event_refused(message, event, *scope, source, system_wide),
        OpenError::NoSuchTask(tid) => no_such_process(*tid),
        OpenError::Ring { .. } => message.hint("use smaller rings: `-m 64K`").hint(format!(
            "raise the limit: `sysctl kernel.perf_event_mlock_kb={}`, or `ulimit -l`",
            settings::more_locked_kb()
        )),
        OpenError::NoTracepoint { .. }
        | OpenError::TooManyTracepoints { .. }
        | OpenError::Filter { .. }
        | OpenError::NoPmu { .. }
        | OpenError::NoPmuTerm { .. }
        | OpenError::PmuValue { .. } => event_errors::not_there(message, error),
        OpenError::NoSuchCpu(_) => {
            let online = prof_sampler::online_cpus();
            let online: Vec<_> = online.iter().map(ToString::to_string).collect();
            message.hint(format!("online are: {}", online.join(",")))
        }
        OpenError::TooManyFiles { needed, .. } => message
            .hint(format!("raise the limit: `ulimit -n {}`", needed + 1024))
            .hint("sample fewer CPUs: `-C 0-3`"),
        OpenError::EmptyCgroup { .. } => {
            message.hint("record it once there are processes in it, or as root")
        }
        OpenError::Io(_) => message,
    }
}

/// The message for a thread that could not be started.
pub fn no_thread(error: io::Error) -> CliError {
    no_task("could not start a thread", error)
}

/// The message for a thread or process that could not be started.
pub fn no_task(what: &str, error: io::Error) -> CliError {
    let message = CliError::new(what);
    let message = match error.raw_os_error() {
        Some(libc::EAGAIN) => message
            .hint(
                "allow more processes and threads: `ulimit -u`, or pids.max of the container's \
                 cgroup",
            )
            .hint("or more memory for their stacks: `ulimit -v`"),
        Some(libc::EMFILE) => message.hint(more_open_files()),
        Some(libc::ENFILE) => {
            message.hint("raise the limit of all open files together: `sysctl fs.file-max`")
        }
        _ => message,
    };
    message.cause(error)
}

/// The message for a real-time priority that was not granted.
pub fn no_priority(priority: u8, error: io::Error) -> CliError {
    CliError::new(format!("could not get real-time priority {priority}"))
        .cause(error)
        .hint("leave out `-r`: the recorder comes before others as far as it may")
        .hint(format!(
            "permit it: CAP_SYS_NICE, or `ulimit -r {priority}`; docs/permissions.md says how"
        ))
}

fn more_open_files() -> String {
    let files = settings::more_open_files();
    format!("raise the limit of open files: `ulimit -n {files}`")
}

/// How to be allowed what needs `kernel.perf_event_paranoid` to be `level` or lower.
fn allow(level: i32) -> String {
    match settings::lower_level(level, paranoid()) {
        Some(level) => format!(
            "allow it: `sysctl kernel.perf_event_paranoid={level}`, or CAP_PERFMON for prof"
        ),
        None => "allow it: CAP_PERFMON for prof".to_owned(),
    }
}

fn event_refused(
    message: CliError,
    event: &str,
    scope: Scope,
    source: &io::Error,
    system_wide: bool,
) -> CliError {
    match source.raw_os_error() {
        Some(libc::ENOSYS) => in_container(message),
        Some(libc::EPERM | libc::EACCES) if perf_is_filtered() => in_container(message),
        Some(libc::EPERM | libc::EACCES) => no_permission(message, event, scope, system_wide),
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) => message
            .cause(format!(
                "this machine cannot count `{event}` (a virtual machine without a PMU?)"
            ))
            .hint("sample time instead: `-e cpu-clock`"),
        Some(libc::EMFILE) => message.hint(more_open_files()),
        Some(libc::EINVAL) => message.hint("try it without modifiers, or with a lower -F"),
        _ => message,
    }
}

fn in_container(message: CliError) -> CliError {
    message
        .cause("a seccomp filter forbids perf_event_open here, as containers have it by default")
        .hint("start the container with `--cap-add PERFMON`, or a seccomp profile that allows it")
        .hint("or run prof on the host, with the process id that the host shows")
}

/// The highest `kernel.perf_event_paranoid` with which users may sample this event of their own
/// processes.
fn level_for(event: &str) -> i32 {
    match EventSpec::parse(event) {
        Ok(spec) if matches!(spec.kind, EventKind::Tracepoint { .. }) => -1,
        Ok(spec) if spec.exclude_user => 1,
        _ => 2,
    }
}

fn no_permission(message: CliError, event: &str, scope: Scope, system_wide: bool) -> CliError {
    let me = nix::unistd::geteuid().as_raw();
    let message = match paranoid() {
        Some(level) => message.cause(format!("kernel.perf_event_paranoid is {level}")),
        None => message.cause("this kernel was built without perf events"),
    };
    if system_wide {
        return message
            .hint("sample one process of yours: `-p PID`")
            .hint(allow(level_for(event).min(0)))
            .hint("or use sudo; see docs/permissions.md");
    }
    let owner_of = |tid: Tid| proc::status_number(tid.0, "Uid");
    let owner = match scope {
        Scope::Thread(tid) => owner_of(tid).map(|owner| (tid, owner)),
        Scope::Everything | Scope::Cgroup(_) => None,
    };
    match owner {
        Some((tid, owner)) if owner >= 0 && owner as u32 != me => message
            .cause(format!(
                "process {tid} belongs to user {owner}, and you are user {me}"
            ))
            .hint(format!(
                "run prof as that user, `sudo -u '#{owner}' prof ...`, or with sudo"
            ))
            .hint("or give prof CAP_PERFMON and CAP_SYS_PTRACE; see docs/permissions.md"),
        _ => message
            .hint(allow(level_for(event)))
            .hint("or use sudo; see docs/permissions.md"),
    }
}

/// The message for a process id that is nobody's.
pub fn no_such_process(tid: Tid) -> CliError {
    let message = CliError::new(format!("there is no process or thread {tid}"));
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else {
        return message
            .cause("/proc is not mounted here, and nothing is known of processes without it")
            .hint("mount it, `mount -t proc proc /proc`, or run prof on the host");
    };
    if hides_processes(&mounts) {
        return message.hint(
            "/proc is mounted with `hidepid`, which hides the processes of others: run prof as their user, or as root",
        );
    }
    let digits = tid.to_string();
    let near = named(|pid, _| strsim::damerau_levenshtein(&digits, &pid.to_string()) == 1);
    let message = match near.as_slice() {
        [] => message,
        near => message.hint(format!("did you mean {}?", list(near))),
    };
    message
        .hint("it may have exited; in a container, processes have other numbers than on the host")
}

/// Whether, by the lines of `/proc/self/mounts`, `/proc` shows everybody their own processes only.
fn hides_processes(mounts: &str) -> bool {
    let mut of_proc = mounts
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("/proc"));
    let options = of_proc.next_back().and_then(|line| line.split(' ').nth(3));
    let mut hidepid = options
        .unwrap_or_default()
        .split(',')
        .filter_map(|option| option.strip_prefix("hidepid="));
    hidepid.any(|value| !matches!(value, "0" | "off" | "1" | "noaccess"))
}

/// The message for a name where the number of a thread is needed.
pub fn not_a_tid(text: &str) -> CliError {
    let message = CliError::usage(format!("`{text}` is no number of a thread"));
    match prof_target::near(text).as_slice() {
        [] => message.hint("give a number, as `ps -L` shows it: `-t 4121`"),
        near => message
            .hint(format!("did you mean the process {}?", list(near)))
            .hint("`-p` takes names"),
    }
}

fn named(matches: impl Fn(Pid, &str) -> bool) -> Vec<(Pid, String)> {
    let own = std::process::id() as i32;
    let processes = proc::processes().unwrap_or_default().into_iter();
    processes
        .filter(|pid| pid.0 != own)
        .filter_map(|pid| {
            let comm = proc::comm(pid, Tid(pid.0)).ok()?;
            let comm = String::from_utf8_lossy(&comm).into_owned();
            matches(pid, &comm).then_some((pid, comm))
        })
        .take(5)
        .collect()
}

/// Processes as `4121 (nginx), 4122 (nginx)`.
pub fn list(processes: &[(Pid, String)]) -> String {
    let words: Vec<_> = processes
        .iter()
        .map(|(pid, name)| format!("{pid} ({name})"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_limit_that_may_be_the_reason_is_named() {
        for (errno, words) in [
            (libc::EAGAIN, &["ulimit -u", "ulimit -v"][..]),
            (libc::EMFILE, &["ulimit -n"]),
            (libc::ENFILE, &["fs.file-max"]),
            (libc::ENOMEM, &[]),
            (libc::EPERM, &[]),
        ] {
            let hints = no_thread(io::Error::from_raw_os_error(errno)).hints;
            assert_eq!(hints.len(), words.len(), "{hints:?}");
            let mut pairs = hints.iter().zip(words);
            assert!(pairs.all(|(hint, word)| hint.contains(word)), "{hints:?}");
        }
    }

    #[test]
    fn a_kernel_event_and_a_tracepoint_need_a_lower_level_than_user_code() {
        assert_eq!(level_for("cpu-clock:u"), 2);
        assert_eq!(level_for("cpu-clock:k"), 1);
        assert_eq!(level_for("sched:sched_switch"), -1);
    }
}
