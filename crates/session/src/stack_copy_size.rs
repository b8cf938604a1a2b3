//! Whether small copies of the stack are enough, or even large ones are not.

use prof_model::ChainEnd;
use prof_sampler::StackCopies;

/// So many stacks in a row have to fit before copies become small.
const FIRST_ROW: u64 = 500;
/// How many times as many after each time that small ones turned out too small.
const PATIENCE: u64 = 4;

/// Watches how much of each stack was needed. Copying a stack is most of what a sample costs the
/// target, and most stacks are small. But a copy that is too small cuts a callchain, so that it must be
/// rare: copies are small only after a row of stacks that would all have fitted, become large with the
/// first one that does not, and stay so for longer each time. Where a stack does not fit into a large one
/// either, what lies behind is read as well, until a row of stacks needed none of it.
#[derive(Clone, Copy, Debug)]
pub struct StackCopySize {
    small: Option<u32>, // bytes; `None`: there are none
    has_deep: bool,
    copies: StackCopies,
    row: u64,
    wanted_row: u64,
    flat_row: u64, // of stacks that large copies are enough for
    wanted_flat_row: u64,
    taken: u64,
    too_small: u64,
}

impl Default for StackCopySize {
    fn default() -> Self {
        Self::new(None, false)
    }
}

impl StackCopySize {
    /// For a sampler whose small copies have so many bytes, if it has any, and that can read what lies behind
    /// copies or not.
    pub fn new(small: Option<u32>, has_deep: bool) -> Self {
        Self {
            small,
            has_deep,
            copies: StackCopies::Large,
            row: 0,
            wanted_row: FIRST_ROW,
            flat_row: 0,
            wanted_flat_row: FIRST_ROW,
            taken: 0,
            too_small: 0,
        }
    }

    /// Takes note of a sample with a copy of the stack. `size` is how many bytes were asked for, `reach`
    /// how many the callchain needed, if they were enough with what lay behind, and `is_cut` whether it
    /// needed more than there was.
    pub fn note(&mut self, size: usize, reach: Option<u64>, is_cut: bool, end: ChainEnd) {
        if end == ChainEnd::NoUserState {
            return;
        }
        let is_small = self.is_small(size);
        let is_deep = !is_small && (is_cut || reach.is_some_and(|reach| reach > size as u64));
        if self.has_deep && is_deep {
            self.copies = StackCopies::Deep;
            self.row = 0;
            self.flat_row = 0;
        } else if self.copies == StackCopies::Deep {
            self.flat_row += 1;
            if self.flat_row >= self.wanted_flat_row {
                self.copies = StackCopies::Large;
                self.wanted_flat_row = self.wanted_flat_row.saturating_mul(PATIENCE);
            }
        } else if let Some(small) = self.small {
            self.note_small(small, size, reach);
        }
    }

    /// Whether a copy for which so many bytes were asked is a small one.
    pub(crate) fn is_small(&self, size: usize) -> bool {
        self.small.is_some_and(|small| size <= small as usize)
    }

    /// Whether what lies behind copies can be read.
    pub(crate) fn has_deep(&self) -> bool {
        self.has_deep
    }

    /// Whether there are small copies to choose.
    pub(crate) fn has_small(&self) -> bool {
        self.small.is_some()
    }

    /// The same where a choice is between small and large.
    fn note_small(&mut self, small: u32, size: usize, reach: Option<u64>) {
        let is_small = size <= small as usize;
        self.taken += u64::from(is_small);
        let fits = match reach {
            None => false,
            Some(_) if is_small => true,
            // some of the outermost frame is read as well
            Some(reach) => reach <= u64::from(small) / 4 * 3,
        };
        match (fits, self.copies == StackCopies::Small) {
            (true, true) => {}
            (true, false) => {
                self.row += 1;
                if self.row >= self.wanted_row {
                    self.copies = StackCopies::Small;
                }
            }
            (false, was_small) => {
                self.too_small += u64::from(is_small);
                self.row = 0;
                self.copies = StackCopies::Large;
                if was_small {
                    self.wanted_row = self.wanted_row.saturating_mul(PATIENCE);
                }
            }
        }
    }

    /// Which copies the next samples should have.
    pub fn copies(&self) -> StackCopies {
        self.copies
    }

    /// Whether the next samples should have small copies.
    pub fn are_small(&self) -> bool {
        self.copies == StackCopies::Small
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
            copies.note(size, reach, false, ChainEnd::Root);
        }
        copies.are_small()
    }

    #[test]
    fn copies_are_small_while_all_stacks_fit() {
        let mut copies = StackCopySize::new(Some(SMALL as u32), false);
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(3000)));
        assert!(noted(&mut copies, 1, LARGE, Some(3000)));
        assert!(noted(&mut copies, 10, SMALL, Some(8000)));
        assert_eq!(copies.taken_small(), (10, 0));
    }

    #[test]
    fn one_large_stack_is_enough_for_large_copies_and_for_more_patience() {
        for (size, reach) in [(SMALL, None), (LARGE, None), (LARGE, Some(7000))] {
            let mut copies = StackCopySize::new(Some(SMALL as u32), false);
            assert!(noted(&mut copies, FIRST_ROW, LARGE, Some(0)));
            assert!(!noted(&mut copies, 1, size, reach));
            assert!(!noted(&mut copies, 3 * FIRST_ROW, LARGE, Some(0)));
            assert!(noted(&mut copies, FIRST_ROW, LARGE, Some(0)));
            assert_eq!(copies.taken_small().1, u64::from(size == SMALL));
        }
    }

    #[test]
    fn a_row_of_stacks_that_fit_has_no_other_in_it() {
        let mut copies = StackCopySize::new(Some(SMALL as u32), false);
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0)));
        assert!(!noted(&mut copies, 1, LARGE, Some(9000)));
        assert!(!noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0)));
    }

    #[test]
    fn samples_without_user_state_say_nothing() {
        let mut copies = StackCopySize::new(Some(SMALL as u32), false);
        for _ in 0..2 * FIRST_ROW {
            copies.note(LARGE, Some(0), false, ChainEnd::NoUserState);
        }
        assert!(!copies.are_small());
        noted(&mut copies, FIRST_ROW, LARGE, Some(0));
        copies.note(SMALL, None, true, ChainEnd::NoUserState);
        assert!(copies.are_small());
    }

    #[test]
    fn without_small_copies_all_are_large() {
        let mut copies = StackCopySize::default();
        assert!(!noted(&mut copies, 2 * FIRST_ROW, LARGE, Some(0)));
    }

    #[test]
    fn a_stack_that_is_larger_than_a_large_copy_has_what_lies_behind_read() {
        for (reach, is_cut) in [(None, true), (Some(LARGE as u64 + 8), false)] {
            let mut copies = StackCopySize::new(Some(SMALL as u32), true);
            copies.note(LARGE, reach, is_cut, ChainEnd::Root);
            assert_eq!(copies.copies(), StackCopies::Deep);
            noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0));
            copies.note(LARGE, reach, is_cut, ChainEnd::Root);
            noted(&mut copies, FIRST_ROW - 1, LARGE, Some(0));
            assert_eq!(copies.copies(), StackCopies::Deep);
            noted(&mut copies, 1, LARGE, Some(0));
            assert_eq!(copies.copies(), StackCopies::Large);
            assert!(noted(&mut copies, FIRST_ROW, LARGE, Some(0)));
            copies.note(SMALL, None, true, ChainEnd::TruncatedCopy); // a large one may be enough
            assert_eq!(copies.copies(), StackCopies::Large);
        }
        let mut copies = StackCopySize::default();
        copies.note(LARGE, None, true, ChainEnd::TruncatedCopy);
        assert_eq!(copies.copies(), StackCopies::Large);
    }
}
