//! Why the kernel said no, and what to do about it, least privilege first.

use std::io;

use prof_event::{EventKind, EventSpec};
use prof_model::{Pid, Tid};
use prof_sampler::{OpenError, Scope, perf_is_filtered, proc};

use super::present::{Capability, Present};
use super::{CliError, event_errors};
use crate::messages::settings;

/// The message for an event that could not be opened.
pub fn open_error(error: &OpenError, system_wide: bool) -> CliError {
    open_error_at(error, system_wide, &Present::look())
}

/// The same for who is so, at such settings.
pub fn open_error_at(error: &OpenError, system_wide: bool, present: &Present) -> CliError {
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
        } => event_refused(message, event, *scope, source, system_wide, present),
        OpenError::NoSuchTask(tid) => no_such_process(*tid),
        // even the smallest was tried
        OpenError::Ring { .. } => {
            let setting = format!("kernel.perf_event_mlock_kb={}", settings::more_locked_kb());
            message
                .hint(format!("raise the limit: {}", present.sysctl(&setting)))
                .hints(present.capabilities(&[Capability::IPC_LOCK]))
        }
        OpenError::NoTracepoint { .. }
        | OpenError::TooManyTracepoints { .. }
        | OpenError::Filter { .. }
        | OpenError::NoPmu { .. }
        | OpenError::NoPmuTerm { .. }
        | OpenError::PmuValue { .. } => event_errors::not_there(message, error, present),
        OpenError::NoSuchCpu(_) => {
            let online = prof_sampler::online_cpus();
            let online: Vec<_> = online.iter().map(ToString::to_string).collect();
            message.hint(format!("online are: {}", online.join(",")))
        }
        OpenError::TooManyFiles { needed, .. } => message
            .hint(format!(
                "raise the limit: {}",
                present.open_files(needed + 1024)
            ))
            .hint("sample fewer CPUs: `-C 0-3`")
            .hints(present.allow(0).into_iter().map(|way| {
                format!("or be allowed to sample whole CPUs, which needs one for each: {way}")
            })),
        OpenError::EmptyCgroup { .. } => message
            .hint("record it once there are processes in it")
            .hints(
                present
                    .allow(0)
                    .into_iter()
                    .map(|way| format!("or be allowed to sample it as a whole: {way}")),
            ),
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
            "permit it: CAP_SYS_NICE, or `ulimit -r {priority}` set by root; docs/permissions.md says how"
        ))
}

fn more_open_files() -> String {
    let files = settings::more_open_files();
    let way = Present::look().open_files(files);
    format!("raise the limit of open files: {way}")
}

fn event_refused(
    message: CliError,
    event: &str,
    scope: Scope,
    source: &io::Error,
    system_wide: bool,
    present: &Present,
) -> CliError {
    match source.raw_os_error() {
        Some(libc::ENOSYS) => filtered(message, present),
        Some(libc::EPERM | libc::EACCES) if perf_is_filtered() => filtered(message, present),
        Some(libc::EPERM | libc::EACCES) => {
            no_permission(message, event, scope, system_wide, present)
        }
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

/// The message where `perf_event_open` itself is forbidden.
fn filtered(message: CliError, present: &Present) -> CliError {
    let (why, ways) = present.filter();
    message.cause(why).hints(ways)
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

fn no_permission(
    message: CliError,
    event: &str,
    scope: Scope,
    system_wide: bool,
    present: &Present,
) -> CliError {
    let level = match system_wide {
        true => level_for(event).min(0),
        false => level_for(event),
    };
    let message = match (present.paranoid, present.blind()) {
        (Some(level), _) => message.cause(format!("kernel.perf_event_paranoid is {level}")),
        (None, Some((why, remedy))) => return message.cause(why).hint(remedy),
        (None, None) => message.cause("this kernel was built without perf events"),
    };
    let message = match system_wide {
        true => message.hint("sample one process of yours: `-p PID`"),
        false => message,
    };
    let owner = match scope {
        Scope::Thread(tid) => proc::status_number(tid.0, "Uid").map(|owner| (tid, owner as u32)),
        Scope::Everything | Scope::Cgroup(_) => None,
    };
    let root = present.as_root();
    let message = match owner {
        Some((tid, owner)) if owner != present.user => message
            .cause(format!(
                "process {tid} belongs to user {owner}, and you are user {}",
                present.user
            ))
            .hint(match root {
                Some("use sudo") => {
                    format!("run prof as that user, `sudo -u '#{owner}' prof ...`, or with sudo")
                }
                Some(_) => format!("run prof as user {owner}, or as root"),
                None => format!("run prof as user {owner}"),
            })
            .hints(
                present
                    .capabilities(&[Capability::PERFMON, Capability::SYS_PTRACE])
                    .map(|way| format!("or {way}")),
            ),
        _ => {
            let ways = present.allow(level);
            let is_permitted = present.paranoid.is_some_and(|present| present <= level);
            let message = match is_permitted || ways.is_empty() {
                true => message.cause(
                    "that permits it: the process is closed to its own user (setuid, or with \
                     capabilities of its own), or a security module forbids it",
                ),
                false => message,
            };
            message
                .hints((!ways.is_empty()).then(|| format!("allow it: {}", ways.join(", or "))))
                .hints(root.map(|it| format!("or {it}")))
        }
    };
    match present.own_users {
        true => message.hint("or run prof on the host: in a user namespace nobody has more rights"),
        false => message.hint("docs/permissions.md has all ways"),
    }
}

/// The message for a process id that is nobody's.
pub fn no_such_process(tid: Tid) -> CliError {
    let message = CliError::new(format!("there is no process or thread {tid}"));
    if let Some((why, remedy)) = Present::look().blind() {
        return message.cause(why).hint(remedy);
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
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
