//! Processes that join a list of processes while it is sampled.
//!
//! In: processes, from whoever looks for them; the records that are passed on. Out: those that are not sampled yet.
//! Elsewhere: opening events on them (`open/further.rs`).

use prof_event::RawRecord;
use prof_event::abi::record;
use prof_model::Pid;
use rustc_hash::FxHashSet;

use crate::bytes::i32_at;
use crate::open::OpenError;

/// A process that was to be sampled as well.
#[derive(Debug)]
pub struct Joined {
    /// Which one.
    pub pid: Pid,
    /// Whether it is sampled now.
    pub result: Result<(), OpenError>,
}

/// Who has joined and who is to join. One that was started by the target is sampled without our doing; that it was
/// is known once all records are read from before it was seen.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    sampled: FxHashSet<i32>,
    waiting: Vec<(Pid, u64)>, // and when it was seen
    pub(crate) joined: Vec<Joined>,
}

impl Joining {
    /// A process is sampled.
    pub(crate) fn is_sampled(&mut self, pid: Pid) {
        self.sampled.insert(pid.0);
    }

    /// Takes in a record of the target, whose events are inherited or not.
    pub(crate) fn take(&mut self, raw: RawRecord<'_>, inherit: bool) {
        let task = |at| i32_at(raw.bytes, at);
        match raw.kind {
            record::FORK if inherit => {
                self.sampled.insert(task(8));
            }
            // Its number may come again.
            record::EXIT if task(8) == task(16) => {
                self.sampled.remove(&task(8));
            }
            _ => {}
        }
    }

    /// A process was seen at a time of the recording's clock and is to be sampled.
    pub(crate) fn add(&mut self, pid: Pid, seen: u64) {
        if !self.waiting.iter().any(|&(it, _)| it == pid) {
            self.waiting.push((pid, seen));
        }
    }

    /// The next one that is not sampled yet, once all records from before `passed` were taken in. From then on it is.
    pub(crate) fn next_due(&mut self, passed: u64) -> Option<Pid> {
        loop {
            let index = self.waiting.iter().position(|&(_, seen)| seen < passed)?;
            let (pid, _) = self.waiting.remove(index);
            if self.sampled.insert(pid.0) {
                return Some(pid);
            }
        }
    }

    /// Whether a process is sampled.
    pub(crate) fn has(&self, pid: Pid) -> bool {
        self.sampled.contains(&pid.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::RecordBuilder;

    #[test]
    fn who_was_started_by_the_target_does_not_join_it() {
        let mut joining = Joining::default();
        joining.is_sampled(Pid(5));
        for pid in [5, 6, 7] {
            joining.add(Pid(pid), 100);
        }
        joining.add(Pid(7), 150);
        assert_eq!(joining.next_due(100), None);
        let take = |joining: &mut Joining, kind, pid: u64, parent: u64| {
            let mut bytes = Vec::new();
            let mut record = RecordBuilder::new(&mut bytes, kind, 0);
            record
                .u64(pid | parent << 32)
                .u64(pid | parent << 32)
                .u64(0);
            record.finish().unwrap();
            joining.take(RawRecord::parse(&bytes).unwrap(), true);
        };
        take(&mut joining, record::FORK, 6, 5);
        assert_eq!(joining.next_due(101), Some(Pid(7)));
        joining.add(Pid(7), 200);
        assert_eq!(joining.next_due(300), None);
        assert!(joining.has(Pid(6)) && !joining.has(Pid(8)));
        // another process with a number that is used again
        take(&mut joining, record::EXIT, 7, 5);
        joining.add(Pid(7), 400);
        assert_eq!(joining.next_due(500), Some(Pid(7)));
    }
}
