//! Resident memory by kind.

use std::ops::AddAssign;
use std::ops::Range;

use crate::smaps::{Mapping, bytes, read_text};

/// Resident memory, in bytes, each byte in one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// What the C library's malloc has: its arenas, and blocks that are mappings of their own.
    pub heap: u64,
    /// Other private memory that no file backs.
    pub anonymous: u64,
    /// Stacks of threads.
    pub stacks: u64,
    /// Pages of files, and what was written to private ones.
    pub files: u64,
    /// Shared memory.
    pub shared: u64,
    /// Page tables, no part of the resident memory.
    pub page_tables: u64,
    /// Of the anonymous memory, the heap included, what is in huge pages.
    pub huge: u64,
    /// Pages of hugetlbfs, no part of the resident memory.
    pub hugetlb: u64,
    /// Swapped out.
    pub swapped: u64,
    /// How many threads.
    pub threads: u64,
}

impl Kinds {
    /// All of the resident memory.
    pub fn resident(&self) -> u64 {
        self.heap + self.anonymous + self.stacks + self.files + self.shared
    }

    /// Of these mappings of a process. `arenas` is where its malloc has its own mappings, `mmapped` how many bytes of
    /// blocks that are mappings of their own are resident, `stacks` has addresses in threads' stacks. Of files and
    /// shared memory its part counts where it is one of several processes (`is_one_of_many`).
    pub fn of(
        mappings: &[Mapping],
        arenas: &[Range<u64>],
        mmapped: u64,
        stacks: &[u64],
        is_one_of_many: bool,
    ) -> Self {
        let mut stacks = stacks.to_vec();
        stacks.sort_unstable();
        let mut kinds = Self::default();
        for mapping in mappings {
            let resident = match is_one_of_many {
                true => mapping.proportional,
                false => mapping.resident,
            };
            let range = &mapping.range;
            let next = stacks.partition_point(|&it| it < range.start);
            let has_stack = stacks.get(next).is_some_and(|&it| it < range.end);
            let is_arena = |arena: &Range<u64>| arena.start < range.end && range.start < arena.end;
            let sum = if mapping.is_shared_memory() {
                &mut kinds.shared
            } else if mapping.is_file() {
                &mut kinds.files
            } else if mapping.name == "[heap]" || arenas.iter().any(is_arena) {
                &mut kinds.heap
            } else if mapping.name.starts_with("[stack") || has_stack {
                &mut kinds.stacks
            } else {
                &mut kinds.anonymous
            };
            *sum += resident;
            kinds.huge += mapping.huge;
            kinds.hugetlb += mapping.hugetlb;
            kinds.swapped += mapping.swapped;
        }
        let mmapped = mmapped.min(kinds.anonymous);
        kinds.anonymous -= mmapped;
        kinds.heap += mmapped;
        kinds
    }

    /// Adds what `/proc/PID/status` alone tells: page tables and the number of threads.
    pub fn add_status(&mut self, pid: i32) {
        let text = read_text(&format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        self.page_tables += field("VmPTE:").and_then(bytes).unwrap_or(0);
        let threads = field("Threads:").and_then(|it| it.trim().parse::<u64>().ok());
        self.threads += threads.unwrap_or(0);
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        self.heap += other.heap;
        self.anonymous += other.anonymous;
        self.stacks += other.stacks;
        self.files += other.files;
        self.shared += other.shared;
        self.page_tables += other.page_tables;
        self.huge += other.huge;
        self.hugetlb += other.hugetlb;
        self.swapped += other.swapped;
        self.threads += other.threads;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_of_one_kind() {
        let mapping = |start, name: &str, resident| Mapping {
            range: start..start + 100,
            name: name.to_owned(),
            resident,
            proportional: resident / 2,
            ..Mapping::default()
        };
        let mappings = [
            mapping(0, "[heap]", 10),
            mapping(1000, "", 20),    // an arena
            mapping(2000, "", 30),    // a thread's stack
            mapping(3000, "", 40),    // with blocks of malloc
            mapping(4000, "/lib", 6), // a file
            mapping(5000, "/dev/shm/x", 8),
            mapping(6000, "[stack]", 2),
        ];
        let arenas = vec![1010..1014, 1014..1020];
        let kinds = Kinds::of(&mappings, &arenas, 15, &[2050, 4050], false);
        let expected = Kinds {
            heap: 10 + 20 + 15,
            anonymous: 25,
            stacks: 32,
            files: 6,
            shared: 8,
            ..Kinds::default()
        };
        assert_eq!(kinds, expected);
        let all: u64 = mappings.iter().map(|it| it.resident).sum();
        assert_eq!(kinds.resident(), all);
        let part = Kinds::of(&mappings, &arenas, 0, &[], true);
        assert_eq!(part.resident(), all / 2);
    }
}
