//! What this machine has and permits, from `/sys` and `/proc/sys`.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prof_model::Cpu;

/// The CPUs that are on, whatever this process itself may run on. Without `/sys` those
/// that `/proc` knows of: a few more, perhaps, but never fewer. CPU 0 if nothing says more.
pub fn online_cpus() -> Vec<Cpu> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let mut cpus = parse_cpu_list(list.trim()).unwrap_or_default();
    if cpus.is_empty() {
        cpus = cpus_of_proc();
    }
    if cpus.is_empty() {
        cpus.push(Cpu(0));
    }
    cpus
}

/// The CPUs with times of their own. Where that file is not the kernel's but one that a container was given,
/// also those that the first process and this one may run on.
fn cpus_of_proc() -> Vec<Cpu> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut cpus = cpus_of_stat(&read("/proc/stat"));
    let mounts = read("/proc/self/mountinfo");
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    if !cpus.is_empty() && places.all(|place| place != "/proc/stat") {
        return cpus;
    }
    for process in ["1", "self"] {
        cpus.extend(allowed_cpus(&read(&format!("/proc/{process}/status"))));
    }
    cpus.sort();
    cpus.dedup();
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
        let of_proc = cpus_of_proc();
        assert!(online_cpus().iter().all(|cpu| of_proc.contains(cpu)));
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
