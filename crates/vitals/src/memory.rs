//! How much memory processes have resident.

use std::fs;

/// Memory of processes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Heap and stacks, what no file backs, of all of them together.
    pub anonymous: u64,
    /// Pages of files and shared memory of the one that has most of these: others mostly have the same.
    pub shared: u64,
}

impl Memory {
    /// All of it.
    pub fn resident(&self) -> u64 {
        self.anonymous + self.shared
    }

    /// Of a process; `None` if it is gone, or a thread of the kernel.
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            let kib = line
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()?;
            Some(kib * 1024)
        };
        let anonymous = bytes("RssAnon:")?;
        Some(Self {
            anonymous,
            shared: bytes("VmRSS:")?.saturating_sub(anonymous),
        })
    }

    /// Of all these processes; `None` if none of them tells.
    pub(crate) fn of_all(pids: impl IntoIterator<Item = i32>) -> Option<Self> {
        pids.into_iter()
            .filter_map(Self::of)
            .reduce(|sum, one| Self {
                anonymous: sum.anonymous + one.anonymous,
                shared: sum.shared.max(one.shared),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_memory_is_not_one_with_none() {
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    512 kB\n";
        let expected = Memory {
            anonymous: 512 << 10,
            shared: (2 << 20) - (512 << 10),
        };
        assert_eq!(Memory::parse(status), Some(expected));
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
        assert_eq!(Memory::of_all([]), None);
    }
}
