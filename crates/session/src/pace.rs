//! How soon the rings have to be looked at again, and how much of each stack is worth copying.
//!
//! In: what each sample's stack took. Out: the longest time that samples may wait, and the size of the
//! next copies. Elsewhere: the loop that waits ([`crate::record`]).

use std::time::{Duration, Instant};

use prof_model::ChainEnd;
use prof_sampler::StackCopies;

use crate::crowding::Crowding;
use crate::stack_copy_size::StackCopySize;

/// How long after a read of live memory the next sample is expected to need one, too.
const RACE: Duration = Duration::from_millis(500);
/// How long such samples may wait. A sample is passed on in the second round after it, so that about
/// twice as much goes by until its stack is read.
const RACING_PAUSE: Duration = Duration::from_micros(250);
/// The same while it is not known yet whether there are any, where the first one has what lies behind further copies
/// read in the moment of the sample.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
/// The same where that is not so, and when there are more samples than one
/// round took.
pub(crate) const SHORT_PAUSE: Duration = Duration::from_millis(1);
/// How long samples may wait while copies of the stack are small, in samples of a CPU, and at least; and while
/// what lies behind copies is read. Each time the recorder is woken costs it more than some samples do.
const SMALL_COPIES_WAIT: u64 = 10;
const OTHER_COPIES_WAIT: Duration = Duration::from_millis(5);

/// Sets the pace of a live recording.
pub(crate) struct Pace {
    copies: StackCopySize,
    crowding: Crowding,
    small_copies_wait: Duration,
    live_read: Option<Instant>, // when a stack last went on in live memory
    has_raced: bool,            // whether one ever did
    has_samples: bool,          // in this round of the rings
    had_samples: bool,          // in the last one
}

impl Pace {
    /// With a choice of copies, for so many samples in a second on each CPU.
    pub(crate) fn new(copies: StackCopySize, hz: u64) -> Self {
        let wait =
            Duration::from_secs(SMALL_COPIES_WAIT) / u32::try_from(hz.max(1)).unwrap_or(u32::MAX);
        Self {
            copies,
            crowding: Crowding::default(),
            small_copies_wait: wait.max(OTHER_COPIES_WAIT),
            live_read: Some(Instant::now()), // how large stacks are is not known yet
            has_raced: false,
            has_samples: false,
            had_samples: false,
        }
    }

    /// A sample has come.
    pub(crate) fn sampled(&mut self) {
        self.has_samples = true;
    }

    /// A stack was unwound from a copy, see [`StackCopySize::note`].
    pub(crate) fn copied(&mut self, size: usize, reach: Option<u64>, is_cut: bool, end: ChainEnd) {
        if self.crowding.is_here() && self.copies.is_small(size) {
            if end == ChainEnd::TruncatedCopy {
                self.crowding.cut();
            }
            if self.copies.copies() == StackCopies::Deep {
                return; // it says nothing about what lies behind large copies
            }
        }
        self.copies.note(size, reach, is_cut, end);
    }

    /// The rings were so full, see [`Crowding::look`].
    pub(crate) fn look_at_rings(&mut self, fullness: f64) {
        self.crowding.look(fullness, Instant::now());
    }

    /// How often the rings were about to be full, and what that took.
    pub(crate) fn crowding(&self) -> &Crowding {
        &self.crowding
    }

    /// Which copies the next samples should have: small ones where the rings are about to be full.
    pub(crate) fn next_copies(&self) -> StackCopies {
        match self.crowding.is_here() && self.copies.has_small() {
            true => StackCopies::Small,
            false => self.copies.copies(),
        }
    }

    /// A stack was larger than its copy, and the rest was read from the target's memory.
    pub(crate) fn went_on_in_live_memory(&mut self) {
        self.live_read = Some(Instant::now());
        self.has_raced = true;
    }

    /// Every ring was looked at.
    pub(crate) fn finish_round(&mut self) {
        self.had_samples = std::mem::take(&mut self.has_samples);
    }

    /// How soon the rings should be looked at, if at once: stacks are larger than a copy, and the rest
    /// has to be read before their threads move on.
    pub(crate) fn races(&self) -> Option<Duration> {
        let last = self.live_read.filter(|last| last.elapsed() < RACE);
        last.map(|_| match self.has_raced {
            true => RACING_PAUSE,
            false if self.copies.has_deep() => FIRST_PAUSE,
            false => SHORT_PAUSE,
        })
    }

    /// How long samples may wait, which is `usual` at most. While copies of the stack are small, those of
    /// larger stacks are taken in vain until the first one is seen, two rounds later. While what lies behind
    /// copies is read, the rings fill soon; while they are about to be full, they have to be seen not to be.
    pub(crate) fn longest_wait(&self, usual: Duration) -> Duration {
        match self.next_copies() {
            _ if !self.had_samples => usual,
            _ if self.crowding.is_here() => usual.min(SHORT_PAUSE),
            StackCopies::Large => usual,
            StackCopies::Small => usual.min(self.small_copies_wait),
            StackCopies::Deep => usual.min(OTHER_COPIES_WAIT),
        }
    }

    /// The size of stack copies, as it was chosen so far.
    pub(crate) fn copies(&self) -> &StackCopySize {
        &self.copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(100);
    const SMALL: u32 = 8192;

    /// Takes samples until copies are small.
    fn with_small_copies(hz: u64) -> Pace {
        let mut pace = Pace::new(StackCopySize::new(Some(SMALL), false), hz);
        for _ in 0..1000 {
            pace.sampled();
            pace.copied(64_000, Some(100), false, ChainEnd::Root);
        }
        assert!(pace.copies().are_small());
        pace
    }

    #[test]
    fn samples_wait_less_while_copies_are_small_and_samples_come() {
        let mut pace = with_small_copies(1000);
        pace.finish_round();
        assert_eq!(pace.longest_wait(USUAL), Duration::from_millis(10));
        let mut pace = with_small_copies(10_000);
        pace.finish_round();
        assert_eq!(pace.longest_wait(USUAL), OTHER_COPIES_WAIT);
        assert_eq!(
            pace.longest_wait(Duration::from_millis(2)),
            Duration::from_millis(2)
        );
        pace.finish_round(); // one without samples
        assert_eq!(pace.longest_wait(USUAL), USUAL);
    }

    #[test]
    fn stacks_are_copied_small_while_the_rings_are_about_to_be_full_however_large_they_are() {
        let mut pace = Pace::new(StackCopySize::new(Some(SMALL), true), 1000);
        pace.copied(64_000, Some(100_000), false, ChainEnd::Root);
        assert_eq!(pace.next_copies(), StackCopies::Deep);
        pace.look_at_rings(0.9);
        assert_eq!(pace.next_copies(), StackCopies::Small);
        for _ in 0..1000 {
            pace.copied(SMALL as usize, None, true, ChainEnd::TruncatedCopy);
            pace.copied(SMALL as usize, Some(100), false, ChainEnd::Root);
        }
        assert_eq!(pace.crowding().stacks_cut(), 1000);
        pace.crowding = Crowding::default();
        assert_eq!(pace.next_copies(), StackCopies::Deep);
    }

    #[test]
    fn a_stack_that_went_on_beyond_its_copy_makes_the_next_ones_urgent() {
        let mut pace = Pace::new(StackCopySize::default(), 99);
        assert_eq!(pace.races(), Some(SHORT_PAUSE)); // nothing is known yet
        pace.went_on_in_live_memory();
        assert_eq!(pace.races(), Some(RACING_PAUSE));
        pace.live_read = Instant::now().checked_sub(RACE);
        assert_eq!(pace.races(), None);
        let pace = Pace::new(StackCopySize::new(None, true), 99);
        assert_eq!(pace.races(), Some(FIRST_PAUSE));
    }
}
