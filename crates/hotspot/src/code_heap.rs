//! The heaps of generated code, and where in them a blob begins.

use crate::layout::{HeapsAre, Layout};
use crate::memory::{Reader, Unread};

/// More heaps than any release has.
const MOST_HEAPS: u64 = 16;
/// From a segment to the first one of its blob it is a few steps.
const MOST_STEPS: usize = 1 << 12;
/// So many bytes of the map are read at once.
const MAP_PART: u64 = 256;
/// Marks a segment that nothing uses.
const FREE: u8 = 0xff;

/// One heap: its memory, and a map with a byte for each segment of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeHeap {
    start: u64,
    end: u64,
    map: u64,
    map_end: u64,
    log2_segment: u32,
}

impl CodeHeap {
    /// The heaps that there are now.
    pub(crate) fn all(layout: &Layout, reader: &mut Reader<'_>) -> Result<Vec<Self>, Unread> {
        let (variable, kind) = layout.heaps;
        let heaps = reader.word(variable)?;
        let HeapsAre::List { length, elements } = kind else {
            return Ok(vec![Self::read(heaps, layout, reader)?]);
        };
        let count = reader.number(heaps.wrapping_add(length), 4)?;
        let elements = reader.word(heaps.wrapping_add(elements))?;
        if count > MOST_HEAPS {
            return Err(Unread::Nothing);
        }
        let heap = |index: u64| {
            let heap = reader.word(elements.wrapping_add(8 * index))?;
            Self::read(heap, layout, reader)
        };
        (0..count).map(heap).collect()
    }

    fn read(heap: u64, layout: &Layout, reader: &mut Reader<'_>) -> Result<Self, Unread> {
        if heap == 0 {
            return Err(Unread::Nothing); // it is not made yet
        }
        let [memory, map, log2_segment] = layout.heap.map(|at| heap.wrapping_add(at));
        let [low, high] = layout.range;
        let mut bound = |range: u64, which: u64| reader.word(range.wrapping_add(which));
        let this = Self {
            start: bound(memory, low)?,
            end: bound(memory, high)?,
            map: bound(map, low)?,
            map_end: bound(map, high)?,
            log2_segment: reader.number(log2_segment, 4)? as u32,
        };
        match this.start <= this.end && (3..=20).contains(&this.log2_segment) {
            true => Ok(this),
            false => Err(Unread::Nothing),
        }
    }

    pub(crate) fn contains(&self, addr: u64) -> bool {
        (self.start..self.end).contains(&addr)
    }

    /// Where the blob begins that has the code at an address of this heap.
    pub(crate) fn blob_of(
        &self,
        addr: u64,
        layout: &Layout,
        reader: &mut Reader<'_>,
    ) -> Result<u64, Unread> {
        let mut segment = addr.wrapping_sub(self.start) >> self.log2_segment;
        if segment >= self.map_end.saturating_sub(self.map) {
            return Err(Unread::Nothing);
        }
        // Each byte says how many segments to go back, the first one of a blob 0.
        let mut part = [0; MAP_PART as usize];
        let mut from = u64::MAX;
        for _ in 0..MOST_STEPS {
            if segment < from {
                from = (segment + 1).saturating_sub(MAP_PART);
                let length = (segment + 1 - from) as usize;
                reader.bytes(self.map.wrapping_add(from), &mut part[..length])?;
            }
            match part[(segment - from) as usize] {
                FREE => return Err(Unread::Nothing),
                0 => return self.begin(segment, layout, reader),
                back => segment = segment.checked_sub(back.into()).ok_or(Unread::Nothing)?,
            }
        }
        Err(Unread::Nothing)
    }

    fn begin(&self, segment: u64, layout: &Layout, reader: &mut Reader<'_>) -> Result<u64, Unread> {
        let block = self.start.wrapping_add(segment << self.log2_segment);
        match reader.number(block.wrapping_add(layout.block_used), 1)? {
            0 => Err(Unread::Nothing),
            _ => Ok(block.wrapping_add(layout.block_size)),
        }
    }
}
