//! What this process sees of the system, and what confines it: `/proc`, `/sys`, a seccomp filter, namespaces,
//! capabilities.

use std::fs;
use std::path::Path;

use prof_sampler::perf_is_filtered;

use super::check::{Check, State};
use crate::messages::present::{Capability, Present};

/// What kernels have there, whatever they are built with.
const CPUS: &str = "/sys/devices/system/cpu/online";

/// All of them.
pub fn checks(present: &Present) -> Vec<Check> {
    vec![
        proc_folder(present),
        sys_folder(),
        seccomp(present),
        capabilities(present),
        namespaces(present),
    ]
}

fn proc_folder(present: &Present) -> Check {
    let lost = "mappings, names and threads of all processes";
    let check = Check::new("proc", "/proc", lost);
    if let Some((why, remedy)) = present.blind() {
        return check.fails(State::No, why).remedies([remedy.to_owned()]);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(hidden) = hidepid(&mounts) else {
        return check;
    };
    let is_hidden = fs::read_dir("/proc/1/task").is_err();
    let reason = format!("mounted with hidepid={hidden}");
    match is_hidden {
        false => check.detail(format!("{reason}, which hides nothing from this user")),
        true => {
            let lost = "other users' processes cannot be found by name or port";
            let root = present.as_root().map(str::to_owned);
            Check { lost, ..check }
                .fails(State::Partly, reason)
                .remedies(present.capabilities(&[Capability::SYS_PTRACE]))
                .remedies(root.map(|it| format!("or {it}")))
        }
    }
}

/// The option of the `/proc` that is mounted last, if it hides anything.
fn hidepid(mounts: &str) -> Option<&str> {
    let lines = mounts.lines().filter_map(|line| line.split_once(" - "));
    let mut of_proc = lines.filter(|(mount, source)| {
        mount.split(' ').nth(4) == Some("/proc") && source.starts_with("proc ")
    });
    let (mount, source) = of_proc.next_back()?;
    let options = mount.split([' ', ',']).chain(source.split([' ', ',']));
    let mut values = options.filter_map(|option| option.strip_prefix("hidepid="));
    values.find(|value| !matches!(*value, "0" | "off"))
}

fn sys_folder() -> Check {
    let lost = "events of PMUs and probes; CPUs are counted by /proc";
    let check = Check::new("sys", "/sys", lost);
    match Path::new(CPUS).exists() {
        true => check,
        false => check
            .fails(State::No, "/sys is not mounted here")
            .remedies(["mount it: `mount -t sysfs sysfs /sys`".to_owned()]),
    }
}

fn seccomp(present: &Present) -> Check {
    let check = Check::new("seccomp", "seccomp", "nothing can be recorded");
    match (perf_is_filtered(), present.seccomp) {
        (false, Some(2)) => check.detail("a filter that lets perf_event_open through"),
        (false, _) => check.detail("no filter"),
        (true, _) => filtered(check, present),
    }
}

/// A check that failed since `perf_event_open` itself is forbidden.
pub fn filtered(check: Check, present: &Present) -> Check {
    let (reason, remedies) = present.filter();
    check.fails(State::No, reason).remedies(remedies)
}

fn capabilities(present: &Present) -> Check {
    let check = Check::new("capabilities", "capabilities", "see the rows above");
    let Some(set) = present.capabilities else {
        return Check {
            state: State::Unknown,
            ..check.detail("/proc does not tell")
        };
    };
    let names = Capability::KNOWN.iter();
    let names = names.filter(|(it, _)| set & 1 << it.0 != 0);
    let names: Vec<_> = names.map(|&(_, name)| name).collect();
    let user = present.user;
    let detail = match names.len() {
        0 => format!("none of use; user {user}"),
        all if all == Capability::KNOWN.len() => format!("all of use; user {user}"),
        _ => format!("{}; user {user}", names.join(" ")),
    };
    let check = check.detail(detail);
    match (names.is_empty(), present.own_users) {
        (false, true) => Check {
            state: State::No,
            ..check.detail("of a user namespace: with events only the host's count")
        },
        (false, false) => check,
        (true, _) => Check {
            state: State::No,
            ..check
        },
    }
}

fn namespaces(present: &Present) -> Check {
    let check = Check::new("namespaces", "namespaces", "see the rows above");
    let own = [
        (present.own_users, "users"),
        (present.own_processes, "processes"),
    ];
    let own = own.into_iter().filter(|(is_own, _)| *is_own);
    let own: Vec<_> = own.map(|(_, name)| name).collect();
    let check = Check {
        state: State::Unknown,
        ..check
    };
    match own.as_slice() {
        _ if present.blind().is_some() => check.detail("/proc does not tell"),
        [] => Check {
            state: State::Yes,
            ..check
        }
        .detail("those of the host"),
        own => Check {
            state: State::Partly,
            ..check
        }
        .detail(format!("of their own: {}", own.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_hidden_by_the_last_proc_that_is_mounted() {
        let open = "22 1 0:20 / /proc rw,nosuid - proc proc rw";
        let hidden = "22 1 0:20 / /proc rw,nosuid - proc proc rw,gid=4,hidepid=invisible";
        let elsewhere = "23 1 0:20 / /jail/proc rw - proc proc rw,hidepid=2";
        assert_eq!(hidepid(open), None);
        assert_eq!(
            hidepid(&format!("{hidden}\n{elsewhere}")),
            Some("invisible")
        );
        assert_eq!(hidepid(&format!("{hidden}\n{open}")), None);
        assert_eq!(
            hidepid(&open.replace("proc rw", "proc rw,hidepid=off")),
            None
        );
        assert_eq!(hidepid(elsewhere), None);
    }
}
