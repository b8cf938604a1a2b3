//! When stacks are taken of threads that stop running, where that happens often.
//!
//! In: how many such samples have come. Out: whether more are wanted now. A switch costs the target about as much as
//! its sample does: where threads switch ten thousands of times in a second, samples are taken for a part of each
//! tenth of a second alone.

/// In nanoseconds.
const INTERVAL: u64 = 100_000_000;
/// In an interval, for each CPU: 2,000 in a second.
const ENOUGH: u64 = 200;

/// Says when to take samples.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    cpus: u64,
    taken: u64, // in this interval
    began: u64,
    are_used: bool,
}

impl Bursts {
    /// For so many CPUs.
    pub(crate) fn new(cpus: usize) -> Self {
        Self {
            cpus: cpus.max(1) as u64,
            ..Self::default()
        }
    }

    /// A sample has come.
    pub(crate) fn taken(&mut self) {
        self.taken += 1;
    }

    /// Whether further samples are wanted at a time, in nanoseconds of any clock.
    pub(crate) fn are_wanted(&mut self, now: u64) -> bool {
        if now.saturating_sub(self.began) >= INTERVAL {
            self.began = now;
            self.taken = 0;
        }
        let is_enough = self.taken >= ENOUGH * self.cpus;
        self.are_used |= is_enough;
        !is_enough
    }

    /// Whether there was ever a time without samples.
    pub(crate) fn are_used(&self) -> bool {
        self.are_used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_enough_samples_there_are_none_until_the_next_tenth_of_a_second() {
        let mut bursts = Bursts::new(2);
        assert!(bursts.are_wanted(INTERVAL + 1));
        for _ in 0..2 * ENOUGH - 1 {
            bursts.taken();
            assert!(bursts.are_wanted(INTERVAL + 1));
        }
        assert!(!bursts.are_used());
        bursts.taken();
        assert!(!bursts.are_wanted(INTERVAL + 2));
        assert!(!bursts.are_wanted(2 * INTERVAL));
        assert!(bursts.are_wanted(2 * INTERVAL + 1));
        assert!(bursts.are_used());
    }
}
