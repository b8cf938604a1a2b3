//! What this machine has, from `/sys`, `/proc` and the kernel's own answers, and what it permits, from
//! `/proc/sys` and the limits of this process.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, software};
use prof_model::Cpu;

use crate::scope::Scope;
use crate::sys::EventFd;

const ONLINE: &str = "/sys/devices/system/cpu/online";
const STAT: &str = "/proc/stat";

/// The CPUs that are on, whatever this process itself may run on. Where neither `/sys` nor `/proc` is the
/// kernel's own, all that anything says: a few more, perhaps, but never fewer. CPU 0 if nothing says more.
pub fn online_cpus() -> Vec<Cpu> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/self/mountinfo");
    let of_sys = parse_cpu_list(read(ONLINE).trim()).unwrap_or_default();
    if !of_sys.is_empty() && is_kernels_own(ONLINE, "sysfs", &mounts) {
        return of_sys;
    }
    let of_proc = cpus_of_stat(&read(STAT));
    if !of_proc.is_empty() && is_kernels_own(STAT, "proc", &mounts) {
        return of_proc;
    }
    let of_processes = ["1", "self"].map(|it| allowed_cpus(&read(&format!("/proc/{it}/status"))));
    let mut cpus = [of_sys, of_proc, of_processes.concat(), sampled_cpus()].concat();
    cpus.sort();
    cpus.dedup();
    if cpus.is_empty() {
        cpus.push(Cpu(0));
    }
    cpus
}

/// Whether a file is the kernel's and not one that a container was given in its place, as lxcfs does: whether
/// the last of `mounts`, the lines of `/proc/self/mountinfo`, that it is below is of the kernel's file system.
fn is_kernels_own(path: &str, file_system: &str, mounts: &str) -> bool {
    let mut own = false;
    for line in mounts.lines() {
        let Some((mount, source)) = line.split_once(" - ") else {
            continue;
        };
        let place = mount.split(' ').nth(4).unwrap_or_default();
        let below = path.strip_prefix(place.trim_end_matches('/'));
        if below.is_some_and(|it| it.is_empty() || it.starts_with('/')) {
            own = source.split(' ').next() == Some(file_system);
        }
    }
    own
}

/// The CPUs that may be sampled as a whole, and so are on; none without the permission.
fn sampled_cpus() -> Vec<Cpu> {
    let attr = EventAttr {
        kind: event_type::SOFTWARE,
        config: software::DUMMY,
        flags: flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV,
        ..EventAttr::default()
    };
    let mut cpus = Vec::new();
    for cpu in (0..).map(Cpu) {
        match EventFd::open(&attr, Scope::Everything, cpu, None) {
            Ok(_) => cpus.push(cpu),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {} // it is off
            Err(_) => break,                                               // there are no more
        }
    }
    cpus
}

/// `cpu1 4711 0 815 ...`
fn cpus_of_stat(stat: &str) -> Vec<Cpu> {
    let words = stat.lines().filter_map(|line| line.split(' ').next());
    let numbers = words.filter_map(|word| word.strip_prefix("cpu")?.parse().ok());
    numbers.map(Cpu).collect()
}

/// `Cpus_allowed_list: 0-3,8` of `/proc/PID/status`.
fn allowed_cpus(status: &str) -> Vec<Cpu> {
    let mut lists = status
        .lines()
        .filter_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = lists.next().map(str::trim);
    list.and_then(parse_cpu_list).unwrap_or_default()
}

/// Reads `0-3,8`. `None` if it is something else, or names more than a million CPUs.
pub fn parse_cpu_list(text: &str) -> Option<Vec<Cpu>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last - first > 1 << 20 {
            return None;
        }
        cpus.extend((first..=last).map(Cpu));
    }
    cpus.sort();
    cpus.dedup();
    Some(cpus)
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    text.trim().parse().ok()
}

/// `kernel.perf_event_paranoid`; `None` where perf events are not compiled in.
pub fn paranoid() -> Option<i32> {
    sysctl("perf_event_paranoid")
}

/// `kernel.perf_event_max_sample_rate`, in Hz.
pub fn max_sample_rate() -> u64 {
    sysctl("perf_event_max_sample_rate").unwrap_or(100_000)
}

/// Raises the limit of open files to its hard limit; returns what it is then.
pub(crate) fn raise_file_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Raises the limit of locked memory, which rings count for, to its hard limit.
pub(crate) fn raise_locked_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard); // what there is has to do
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_tells_of_cpus_is_what_sys_tells() {
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu5 1 2 3\nintr 5\n";
        assert_eq!(cpus_of_stat(stat), [Cpu(0), Cpu(5)]);
        let status = "Name:\tcat\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1,4\n";
        assert_eq!(allowed_cpus(status), [Cpu(0), Cpu(1), Cpu(4)]);
        assert!(allowed_cpus("").is_empty() && cpus_of_stat("").is_empty());
        let sampled = sampled_cpus();
        assert!(sampled.is_empty() || sampled == online_cpus());
    }

    #[test]
    fn a_file_that_a_container_was_given_is_not_the_kernels() {
        let own = |mounts: &[&str]| is_kernels_own(ONLINE, "sysfs", &mounts.join("\n"));
        let root = "1 0 8:1 / / rw - ext4 /dev/sda1 rw";
        let sys = "2 1 0:20 / /sys rw,nosuid shared:2 - sysfs sysfs rw";
        let cgroups = "3 2 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert!(own(&[root, sys, cgroups]));
        assert!(!own(&[root]) && !own(&[]));
        let given = [
            "4 1 0:22 / /sys ro - tmpfs none rw",
            "4 2 0:22 /sys/cpu /sys/devices/system/cpu rw - fuse.lxcfs lxcfs rw",
            "4 2 0:22 /sys/online /sys/devices/system/cpu/online rw - fuse.lxcfs lxcfs rw",
        ];
        for lxcfs in given {
            assert!(!own(&[root, sys, lxcfs, cgroups]), "{lxcfs}");
        }
        assert!(own(&[root, given[0], sys])); // mounted over it again
        let part = "4 2 0:20 /devices/system/cpu/online /sys/devices/system/cpu/online ro - sysfs sysfs ro";
        assert!(own(&[root, sys, part]));
    }

    #[test]
    fn a_cpu_list_has_numbers_and_ranges() {
        let cpus = |text| {
            let cpus = parse_cpu_list(text)?;
            Some(cpus.into_iter().map(|cpu| cpu.0).collect::<Vec<_>>())
        };
        assert_eq!(cpus("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpus("3"), Some(vec![3]));
        assert_eq!(cpus("1,1"), Some(vec![1]));
        assert_eq!(cpus(""), None);
        assert_eq!(cpus("2-1"), None);
        assert_eq!(cpus("0-4294967295"), None);
    }
}
