//! Whether the rings are about to be full, and what samples pay for it.
//!
//! In: how full they were in each round. Out: whether the next samples have to be small. Elsewhere: which
//! copies of the stack that means ([`crate::pace`]).

use std::time::{Duration, Instant};

/// So full a ring is not to become, as a share. One of the usual size is half full when the kernel wakes us in time.
const TOO_FULL: f64 = 0.75;
/// The rings have to be emptier than that for so long, and twice as long each further time.
const CALM: Duration = Duration::from_millis(250);
const MOST_DOUBLED: u64 = 5;

/// Watches how full the rings are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowding {
    last: Option<Instant>, // when a ring was too full; `None`: that is over
    times: u64,
    cut: u64,
}

impl Crowding {
    /// `fullness` is that of the fullest ring, as it would be with large samples, 1 being full.
    pub(crate) fn look(&mut self, fullness: f64, now: Instant) {
        if fullness > TOO_FULL {
            self.times += u64::from(self.last.is_none());
            self.last = Some(now);
        } else if self
            .last
            .is_some_and(|last| now.duration_since(last) >= self.calm())
        {
            self.last = None;
        }
    }

    fn calm(&self) -> Duration {
        let before = self.times.saturating_sub(1);
        CALM * (1 << before.min(MOST_DOUBLED))
    }

    /// A stack was cut because its copy was small while the rings were about to be full.
    pub(crate) fn cut(&mut self) {
        self.cut += 1;
    }

    /// Whether the next samples have to be small.
    pub(crate) fn is_here(&self) -> bool {
        self.last.is_some()
    }

    /// How often the rings were about to be full.
    pub fn times(&self) -> u64 {
        self.times
    }

    /// How many stacks were cut for it.
    pub fn stacks_cut(&self) -> u64 {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_small_from_when_a_ring_is_too_full_until_none_was_for_a_time() {
        let start = Instant::now();
        let mut crowding = Crowding::default();
        let mut look = |fullness, ms| {
            crowding.look(fullness, start + Duration::from_millis(ms));
            crowding.is_here()
        };
        assert!(!look(0.7, 0));
        assert!(look(0.8, 10));
        assert!(look(0.1, 200));
        assert!(look(0.9, 210)); // again, before it was over
        assert!(look(0.1, 459));
        assert!(!look(0.1, 460));
        assert!(look(1.0, 461));
        assert!(look(0.1, 460 + 500));
        assert!(!look(0.1, 461 + 500));
        assert_eq!(crowding.times(), 2);
    }
}
