//! Whether small copies of the stack are enough.

use prof_model::ChainEnd;

/// So many stacks in a row have to fit before copies become small.
const FIRST_ROW: u64 = 500;
/// How many times as many after each time that small ones turned out too small.
const PATIENCE: u64 = 4;

/// Watches how much of each stack was needed. Copying a stack is most of what a sample costs the
/// target, and most stacks are small. But a copy that is too small cuts a callchain, so that it must be
/// rare: copies are small only after a row of stacks that would all have fitted, become large with the
/// first one that does not, and stay so for longer each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackCopySize {
    small: Option<u32>, // bytes; `None`: all are large
    are_small: bool,
    row: u64,
    wanted_row: u64,
    taken: u64,
    too_small: u64,
}

impl StackCopySize {
    /// For a sampler whose small copies have so many bytes.
    pub fn new(small: Option<u32>) -> Self {
        Self {
            small,
            wanted_row: FIRST_ROW,
            ..Self::default()
        }
    }

    /// Takes note of a sample with a copy of the stack. `size` is how many bytes were asked for, `reach`
    /// how many the callchain needed, if they were enough.
    pub fn note(&mut self, size: usize, reach: Option<u64>, end: ChainEnd) {
        let Some(small) = self.small else {
            return;
        };
        if end == ChainEnd::NoUserState {
            return;
        }
        let is_small = size <= small as usize;
        self.taken += u64::from(is_small);
        let fits = match reach {
            None => false,
            Some(_) if is_small => true,
            // some of the outermost frame is read as well
            Some(reach) => reach <= u64::from(small) / 4 * 3,
        };
        match (fits, self.are_small) {
            (true, true) => {}
            (true, false) => {
                self.row += 1;
                self.are_small = self.row >= self.wanted_row;
            }
            (false, was_small) => {
                self.too_small += u64::from(is_small);
                self.row = 0;
                self.are_small = false;
                if was_small {
                    self.wanted_row = self.wanted_row.saturating_mul(PATIENCE);
                }
            }
        }
    }

    /// Whether the next samples should have small copies.
    pub fn are_small(&self) -> bool {
        self.are_small
    }

    /// How many samples had small copies, and for how many of them those were too small.
    pub fn taken_small(&self) -> (u64, u64) {
        (self.taken, self.too_small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 32_768;
    const SMALL: usize = 8192;

    fn noted(copies: &mut StackCopySize, count: u64, size: usize, reach: Option<u64>) -> bool {
        for _ in 0..count {
            copies.note(size, reach, ChainEnd::Root);
        }
        copies.are_small()
    }

    #[test]
    fn copies_are_small_while_all_stacks_fit() {
        let mut copies = StackCopySize::new(Some(SMALL as u32));
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(3000)));
        assert!(noted(&mut copies, 1, LARGE, Some(3000)));
        assert!(noted(&mut copies, 10, SMALL, Some(8000)));
        assert_eq!(copies.taken_small(), (10, 0));
    }

    #[test]
    fn one_large_stack_is_enough_for_large_copies_and_for_more_patience() {
        for (size, reach) in [(SMALL, None), (LARGE, None), (LARGE, Some(7000))] {
            let mut copies = StackCopySize::new(Some(SMALL as u32));
            assert!(noted(&mut copies, FIRST_ROW, LARGE, Some(0)));
            assert!(!noted(&mut copies, 1, size, reach));
            assert!(!noted(&mut copies, 3 * FIRST_ROW, LARGE, Some(0)));
            assert!(noted(&mut copies, FIRST_ROW, LARGE, Some(0)));
            assert_eq!(copies.taken_small().1, u64::from(size == SMALL));
        }
    }

    #[test]
    fn a_row_of_stacks_that_fit_has_no_other_in_it() {
        let mut copies = StackCopySize::new(Some(SMALL as u32));
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0)));
        assert!(!noted(&mut copies, 1, LARGE, Some(9000)));
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0)));
    }

    #[test]
    fn samples_without_user_state_say_nothing() {
        let mut copies = StackCopySize::new(Some(SMALL as u32));
        for _ in 0..2 * FIRST_ROW {
            copies.note(LARGE, Some(0), ChainEnd::NoUserState);
        }
        assert!(!copies.are_small());
        noted(&mut copies, FIRST_ROW, LARGE, Some(0));
        copies.note(SMALL, None, ChainEnd::NoUserState);
        assert!(copies.are_small());
    }

    #[test]
    fn without_small_copies_all_are_large() {
        let mut copies = StackCopySize::default();
        assert!(!noted(&mut copies, 2 * FIRST_ROW, LARGE, Some(0)));
    }
}
