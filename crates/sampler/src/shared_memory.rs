//! Processes that share their memory, by `clone(CLONE_VM)`: what one of them maps is mapped in all.
//!
//! In: records in time order, processes that are there. Out: what else a record of a mapping is about.
//! Elsewhere: asking the kernel (`sys.rs`).

use prof_event::RawRecord;
use prof_event::abi::{misc, record};
use prof_model::Pid;

use crate::bytes::i32_at;
use crate::proc;
use crate::sys;

/// Which processes share their memory.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    groups: Vec<Vec<Pid>>,
    /// Whether two processes do so now.
    do_share: fn(Pid, Pid) -> bool,
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            // The kernel's threads and what has ended have none, which is equal.
            do_share: |one, other| sys::share_memory(one, other) && proc::has_memory(other),
        }
    }
}

impl SharedMemory {
    /// Takes in a process that is there already. Who has started it is compared with it, and nobody else.
    pub(crate) fn add(&mut self, pid: Pid) {
        if let Some(parent) = proc::parent(pid) {
            self.compare(parent, pid);
        }
    }

    /// Takes in what a record says, and returns it as it would be of each other process that it is about.
    pub(crate) fn take(&mut self, raw: RawRecord<'_>) -> Vec<Vec<u8>> {
        let (pid, second) = (Pid(i32_at(raw.bytes, 8)), i32_at(raw.bytes, 12));
        match raw.kind {
            record::FORK if pid.0 != second => {
                self.remove(pid);
                self.compare(Pid(second), pid);
            }
            record::COMM if raw.misc & misc::COMM_EXEC != 0 => self.remove(pid),
            record::EXIT if self.group_of(pid).is_some() && !proc::is_running(pid) => {
                self.remove(pid);
            }
            record::MMAP | record::MMAP2 => {
                let group = self.group_of(pid).map_or(&[][..], |at| &self.groups[at]);
                let others = group.iter().filter(|&&it| it != pid);
                return others.map(|&it| with_process(raw, it)).collect();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Those of these processes that share their memory with one that is not among them.
    pub(crate) fn with_others(&self, pids: &[Pid]) -> Vec<Pid> {
        let is_known = |it: &Pid| pids.contains(it);
        let groups = self.groups.iter().filter(|it| !it.iter().all(is_known));
        groups.flatten().copied().filter(is_known).collect()
    }

    fn group_of(&self, pid: Pid) -> Option<usize> {
        self.groups.iter().position(|group| group.contains(&pid))
    }

    fn compare(&mut self, parent: Pid, pid: Pid) {
        if pid == parent || !(self.do_share)(parent, pid) {
            return;
        }
        match self.group_of(parent) {
            Some(at) => self.groups[at].push(pid),
            None => self.groups.push(vec![parent, pid]),
        }
    }

    fn remove(&mut self, pid: Pid) {
        if let Some(at) = self.group_of(pid) {
            self.groups[at].retain(|&it| it != pid);
            if self.groups[at].len() < 2 {
                self.groups.swap_remove(at);
            }
        }
    }
}

/// The same record of a process and its first thread.
fn with_process(raw: RawRecord<'_>, pid: Pid) -> Vec<u8> {
    let mut bytes = raw.bytes.to_vec();
    for at in [8, 12] {
        if let Some(number) = bytes.get_mut(at..at + 4) {
            number.copy_from_slice(&pid.0.to_ne_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::RecordBuilder;

    /// A record's process and the number after that.
    fn raw(kind: u32, misc: u16, first: i32, second: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut record = RecordBuilder::new(&mut bytes, kind, misc);
        record.u32(first as u32).u32(second as u32).u64(4711);
        record.finish().unwrap();
        bytes
    }

    #[test]
    fn a_mapping_is_of_all_that_share_memory_until_they_run_another_program() {
        let mut shared = SharedMemory {
            groups: Vec::new(),
            do_share: |parent, pid| parent.0 < 100 && pid.0 < 100,
        };
        let mut take = |kind, misc, first, second| {
            let bytes = raw(kind, misc, first, second);
            let copies = shared.take(RawRecord::parse(&bytes).unwrap());
            let is_copy = |it: &Vec<u8>| it[16..] == bytes[16..] && it[..8] == bytes[..8];
            assert!(copies.iter().all(is_copy));
            let ids = copies.iter().map(|it| (i32_at(it, 8), i32_at(it, 12)));
            ids.collect::<Vec<_>>()
        };
        let (fork, comm, mmap) = (record::FORK, record::COMM, record::MMAP2);
        assert!(take(mmap, 0, 1, 1).is_empty());
        assert!(take(fork, 0, 2, 1).is_empty());
        take(fork, 0, 3, 2);
        take(fork, 0, 100, 1); // with a copy of its own
        take(fork, 0, 1, 1); // a thread
        assert_eq!(take(mmap, 0, 1, 9), [(2, 2), (3, 3)]);
        assert_eq!(take(record::MMAP, 0, 3, 3), [(1, 1), (2, 2)]);
        assert!(take(mmap, 0, 100, 100).is_empty());
        take(comm, 0, 1, 1); // a new name alone
        take(comm, misc::COMM_EXEC, 1, 1);
        assert!(take(mmap, 0, 1, 1).is_empty());
        assert_eq!(take(mmap, 0, 3, 3), [(2, 2)]);
        take(fork, 0, 3, 100); // the number once more
        assert!(take(mmap, 0, 2, 2).is_empty());
    }
}
