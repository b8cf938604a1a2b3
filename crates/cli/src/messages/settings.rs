//! Settings of the system that a hint asks for: never the value that is there already.

use std::fs;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit};

/// The size to ask for where `usual` mostly does and `present` did not.
pub fn larger(usual: u64, present: u64) -> u64 {
    if usual > present {
        usual
    } else {
        present.saturating_add(1).next_power_of_two()
    }
}

/// How many open files to ask for.
pub fn more_open_files() -> u64 {
    let present = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    larger(65_536, present)
}

/// `kernel.perf_event_mlock_kb` to ask for.
pub fn more_locked_kb() -> u64 {
    larger(8192, sysctl("perf_event_mlock_kb").unwrap_or(0))
}

/// A number of `/proc/sys/kernel`.
pub fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    number(&format!("/proc/sys/kernel/{name}"))
}

/// The number that a file has.
pub fn number<T: FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_size_is_asked_for_that_was_too_small() {
        assert_eq!(larger(32, 16), 32);
        assert_eq!(larger(32, 32), 64);
        assert_eq!(larger(32, 64), 128);
        assert_eq!(larger(65_536, 1_048_576), 2_097_152);
    }
}
