//! How much memory processes have resident.

use std::fs;

/// Memory of processes, summed, in bytes. What several of them share counts once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// Of it, heap and stacks: what no file backs.
    pub anonymous: u64,
}

impl Memory {
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
        Some(Self {
            resident: bytes("VmRSS:")?,
            anonymous: bytes("RssAnon:")?,
        })
    }

    /// Of all these processes; `None` if none of them tells.
    pub(crate) fn of_all(pids: impl IntoIterator<Item = i32>) -> Option<Self> {
        pids.into_iter()
            .filter_map(Self::of)
            .reduce(|sum, one| Self {
                resident: sum.resident + one.resident,
                anonymous: sum.anonymous + one.anonymous,
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
            resident: 2 << 20,
            anonymous: 512 << 10,
        };
        assert_eq!(Memory::parse(status), Some(expected));
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
        assert_eq!(Memory::of_all([]), None);
    }
}
