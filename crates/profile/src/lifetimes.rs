//! From when to when threads were there.

use prof_model::{Pid, Tid};
use rustc_hash::FxHashMap;

/// When threads were started and ended, in nanoseconds of the recording's clock. Nothing is known of those that were
/// there before the recording and after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    started: FxHashMap<(Pid, Tid), u64>,
    ended: FxHashMap<(Pid, Tid), u64>,
}

impl Lifetimes {
    /// A thread was started. One that had its number before has ended.
    pub fn start(&mut self, task: (Pid, Tid), time: u64) {
        self.ended.remove(&task);
        self.started.insert(task, time);
    }

    /// A thread has ended.
    pub fn end(&mut self, task: (Pid, Tid), time: u64) {
        self.ended.insert(task, time);
    }

    /// For how many nanoseconds of this span a thread was there.
    pub fn within(&self, task: (Pid, Tid), (from, to): (u64, u64)) -> u64 {
        let start = self
            .started
            .get(&task)
            .map_or(from, |&start| start.max(from));
        let end = self.ended.get(&task).map_or(to, |&end| end.min(to));
        end.saturating_sub(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_there_from_its_start_to_its_end_as_far_as_was_recorded() {
        let mut lifetimes = Lifetimes::default();
        let task = (Pid(1), Tid(2));
        assert_eq!(lifetimes.within(task, (100, 200)), 100);
        lifetimes.start(task, 50);
        lifetimes.end(task, 150);
        assert_eq!(lifetimes.within(task, (100, 200)), 50);
        assert_eq!(lifetimes.within(task, (10, 40)), 0);
        lifetimes.start(task, 160);
        assert_eq!(lifetimes.within(task, (100, 200)), 40);
    }
}
