//! The kernel's parts of callchains, each placed once: a few thousand serve all samples.

use prof_profile::{FrameKey, PartId};
use rustc_hash::FxHashMap;

/// More are not kept: a recording of weeks must not fill the memory.
const MOST: usize = 1 << 16;

/// Frames of the kernel by what was recorded.
#[derive(Default)]
pub(crate) struct KernelParts {
    numbers: FxHashMap<Box<[u64]>, u32>,
    frames: Vec<FrameKey>,
    ends: Vec<usize>, // in `frames`
}

impl KernelParts {
    /// The part of these entries, if it has been kept.
    pub(crate) fn find(&self, entries: &[u64]) -> Option<PartId> {
        self.numbers.get(entries).copied().map(PartId)
    }

    /// The frames of a part, innermost first.
    pub(crate) fn frames(&self, PartId(part): PartId) -> &[FrameKey] {
        let part = part as usize;
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.frames[start..self.ends[part]]
    }

    /// Keeps a part: one frame for each entry. `None` if there are too many.
    pub(crate) fn keep(&mut self, entries: &[u64], frames: &[FrameKey]) -> Option<PartId> {
        if self.ends.len() == MOST {
            return None;
        }
        let number = self.ends.len() as u32;
        self.frames.extend_from_slice(frames);
        self.ends.push(self.frames.len());
        self.numbers.insert(entries.into(), number);
        Some(PartId(number))
    }

    /// The kernel has other code now: its addresses are to be placed anew. Numbers do not come again.
    pub(crate) fn forget(&mut self) {
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(addresses: &[u64]) -> Vec<FrameKey> {
        let frame = |&shown| FrameKey {
            shown,
            ..FrameKey::default()
        };
        addresses.iter().map(frame).collect()
    }

    #[test]
    fn a_part_has_the_frames_that_were_kept_for_it() {
        let mut parts = KernelParts::default();
        assert_eq!(parts.find(&[1, 2]), None);
        let first = parts.keep(&[1, 2], &frames(&[11, 12])).unwrap();
        let second = parts.keep(&[1], &frames(&[11])).unwrap();
        assert_eq!(parts.find(&[1, 2]), Some(first));
        assert_eq!(parts.find(&[1]), Some(second));
        assert_eq!(parts.frames(first), frames(&[11, 12]));
        assert_eq!(parts.frames(second), frames(&[11]));
    }

    #[test]
    fn what_was_forgotten_gets_another_number() {
        let mut parts = KernelParts::default();
        let old = parts.keep(&[1], &frames(&[11])).unwrap();
        parts.forget();
        assert_eq!(parts.find(&[1]), None);
        let new = parts.keep(&[1], &frames(&[21])).unwrap();
        assert_eq!(parts.find(&[1]), Some(new));
        assert_eq!(parts.frames(old), frames(&[11]));
        assert_eq!(parts.frames(new), frames(&[21]));
    }
}
