//! What this machine has and permits, from `/sys` and `/proc/sys`.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prof_model::Cpu;

/// The CPUs that are on, whatever this process itself may run on. CPU 0 if the system does not say.
pub fn online_cpus() -> Vec<Cpu> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = parse_cpu_list(list.trim()).unwrap_or_default();
    if cpus.is_empty() { vec![Cpu(0)] } else { cpus }
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
