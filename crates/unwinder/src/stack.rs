//! The stack bytes that a sample carries, and what the unwinder asks of them.

use prof_model::VirtAddr;

/// Stack bytes of the sampled thread. A sample, a core file and a test array all qualify.
pub trait StackMemory {
    /// The word at `addr`, or `None` where nothing was captured.
    fn read_u64(&self, addr: VirtAddr) -> Option<u64>;

    /// The first address behind the captured bytes.
    fn end(&self) -> VirtAddr;

    /// Whether the stack may go on behind [`StackMemory::end`].
    fn is_cut(&self) -> bool;
}

const PAGE: u64 = 4096;

/// The copy of the stack in a sample: `bytes` from the stack pointer upwards.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    start: u64,
    bytes: &'a [u8],
    full: bool,
    behind: &'a [(VirtAddr, &'a [u8])],
    end: u64,
}

impl<'a> StackCopy<'a> {
    /// `bytes` as they lay at `start`; `full` if all bytes that were asked for were copied, so that
    /// more stack may follow.
    pub fn new(start: VirtAddr, bytes: &'a [u8], full: bool) -> Self {
        Self {
            start: start.0,
            bytes,
            full,
            behind: &[],
            end: start.0.saturating_add(bytes.len() as u64),
        }
    }

    /// With what lay behind the copy at that moment: bytes by where they lay, upwards. There may be gaps.
    pub fn with_rest(mut self, parts: &'a [(VirtAddr, &'a [u8])]) -> Self {
        self.behind = parts;
        for (addr, bytes) in parts {
            if addr.0 <= self.end {
                let end = addr.0.saturating_add(bytes.len() as u64);
                self.end = self.end.max(end);
            }
        }
        self
    }

    #[cold]
    fn read_behind(&self, addr: VirtAddr) -> Option<u64> {
        let mut parts = self.behind.iter();
        parts.find_map(|(start, bytes)| word(start.0, bytes, addr))
    }
}

impl StackMemory for StackCopy<'_> {
    #[inline]
    fn read_u64(&self, addr: VirtAddr) -> Option<u64> {
        match word(self.start, self.bytes, addr) {
            None if !self.behind.is_empty() => self.read_behind(addr),
            word => word,
        }
    }

    fn end(&self) -> VirtAddr {
        VirtAddr(self.end)
    }

    /// A copy that ends before its size at the end of a page may have met one that is not in memory,
    /// such as the untouched part of a large frame: the kernel copies only what is there.
    fn is_cut(&self) -> bool {
        self.full || self.end().0.is_multiple_of(PAGE)
    }
}

#[inline]
fn word(start: u64, bytes: &[u8], addr: VirtAddr) -> Option<u64> {
    let offset = usize::try_from(addr.0.checked_sub(start)?).ok()?;
    let word = bytes.get(offset..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_inside_the_copy_are_read() {
        let bytes: Vec<u8> = (0..16).collect();
        let copy = StackCopy::new(VirtAddr(0x1000), &bytes, true);
        let read = |addr| copy.read_u64(VirtAddr(addr));
        assert_eq!(read(0x1000), Some(0x0706_0504_0302_0100));
        assert_eq!(read(0x1008), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!([0xfff, 0x1009, 0x1010, u64::MAX].map(read), [None; 4]);
        assert_eq!(copy.end(), VirtAddr(0x1010));
    }

    #[test]
    fn what_lay_behind_a_copy_makes_it_longer_up_to_the_first_gap() {
        let (bytes, behind, far) = ([1; 12], [2; 16], [3; 8]);
        let parts = [
            (VirtAddr(0x1008), &behind[..]),
            (VirtAddr(0x2000), &far[..]),
        ];
        let copy = StackCopy::new(VirtAddr(0x1000), &bytes, true).with_rest(&parts);
        let read = |addr| copy.read_u64(VirtAddr(addr));
        let words = [1, 2, 3].map(|byte| Some(u64::from_le_bytes([byte; 8])));
        assert_eq!([0x1000, 0x1008, 0x2000].map(read), words);
        assert_eq!([0xfff, 0x1011, 0x2001].map(read), [None; 3]);
        assert_eq!(copy.end(), VirtAddr(0x1018));
    }
}
