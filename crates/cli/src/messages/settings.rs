//! Settings of the system that a hint asks for: never the value that is there already.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit};

/// The `kernel.perf_event_paranoid` to ask for where `wanted` or lower should do; `None` where the present
/// one cannot be lowered.
pub fn lower_level(wanted: i32, present: Option<i32>) -> Option<i32> {
    const LOWEST: i32 = -1;
    let level = present.map_or(wanted, |present| wanted.min(present - 1));
    (level >= LOWEST).then_some(level)
}

/// The size to ask for where `usual` mostly does and `present` did not.
pub fn larger(usual: u64, present: u64) -> u64 {
    if usual > present {
        usual
    } else {
        present.saturating_add(1).next_power_of_two()
    }
}

/// `ulimit -n` to ask for.
pub fn more_open_files() -> u64 {
    let present = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    larger(65_536, present)
}

/// `kernel.perf_event_mlock_kb` to ask for.
pub fn more_locked_kb() -> u64 {
    larger(8192, sysctl("perf_event_mlock_kb").unwrap_or(0))
}

/// What to set so that `/proc/kallsyms` shows addresses to everybody, in front of other ways; nothing
/// where it is set so already.
pub fn open_kernel_addresses() -> String {
    let restrict = sysctl::<i32>("kptr_restrict").filter(|&it| it != 0);
    let level = prof_sampler::paranoid().filter(|&it| it > 1);
    let settings = [
        restrict.map(|_| "kernel.kptr_restrict=0"),
        level.map(|_| "kernel.perf_event_paranoid=1"),
    ];
    let settings: Vec<_> = settings.into_iter().flatten().collect();
    match settings.as_slice() {
        [] => String::new(),
        settings => format!("`sysctl {}`, or ", settings.join(" ")),
    }
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_is_asked_for_that_is_there_already() {
        assert_eq!(lower_level(2, Some(4)), Some(2));
        assert_eq!(lower_level(2, Some(2)), Some(1));
        assert_eq!(lower_level(2, Some(1)), Some(0));
        assert_eq!(lower_level(0, Some(0)), Some(-1));
        assert_eq!(lower_level(-1, Some(-1)), None);
        assert_eq!(lower_level(2, None), Some(2));
    }

    #[test]
    fn no_size_is_asked_for_that_was_too_small() {
        assert_eq!(larger(32, 16), 32);
        assert_eq!(larger(32, 32), 64);
        assert_eq!(larger(32, 64), 128);
        assert_eq!(larger(65_536, 1_048_576), 2_097_152);
    }
}
