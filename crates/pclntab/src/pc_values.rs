//! What changes from instruction to instruction in a function.

use std::ops::Range;

/// A value, and the instructions that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcValue {
    /// Bytes behind the function's entry; not empty. The last one may reach past the end of the function.
    pub pcs: Range<u32>,
    /// The value there.
    pub value: i32,
}

/// The values of a function, by ascending instructions without a gap. There may be none for the last bytes,
/// which are padding. An item is `None`, and the last one, where the table is damaged.
#[derive(Clone, Debug)]
pub struct PcValues<'a> {
    steps: &'a [u8],
    quantum: u32,
    size: u64, // of the function; 0 once there are no more
    value: i32,
    start: u32,
    left: u32,
}

/// More than any function has: its code has an instruction for each.
const MOST: u32 = 1 << 20;

impl<'a> PcValues<'a> {
    pub(crate) fn new(steps: &'a [u8], quantum: u32, size: u64) -> Self {
        Self {
            steps,
            quantum,
            size,
            value: -1,
            start: 0,
            left: MOST,
        }
    }

    /// The value at an offset in the function.
    pub fn at(mut self, offset: u64) -> Option<i32> {
        let reaches = |value: &PcValue| offset < u64::from(value.pcs.end);
        let around = self.find(|value| value.as_ref().is_none_or(reaches))??;
        Some(around.value)
    }

    /// A step of the value, coded so that small ones are short whatever their sign, is followed by how far the
    /// new value reaches.
    fn advance(&mut self, step: u32) -> Option<PcValue> {
        let step = (step >> 1).cast_signed() ^ -((step & 1).cast_signed());
        self.value = self.value.checked_add(step)?;
        let distance = uleb(&mut self.steps)?.checked_mul(self.quantum)?;
        let end = self.start.checked_add(distance)?;
        let pcs = std::mem::replace(&mut self.start, end)..end;
        let value = self.value;
        (!pcs.is_empty()).then_some(PcValue { pcs, value })
    }
}

impl Iterator for PcValues<'_> {
    type Item = Option<PcValue>;

    fn next(&mut self) -> Option<Self::Item> {
        if u64::from(self.start) >= self.size {
            return None;
        }
        let step = uleb(&mut self.steps);
        if step == Some(0) && self.start > 0 {
            self.size = 0; // the end of the table, which may begin with such a step
            return None;
        }
        let next = step.and_then(|step| self.advance(step));
        self.left -= 1;
        if next.is_none() || self.left == 0 {
            self.size = 0;
        }
        Some(next)
    }
}

/// Takes a number off the front, seven bits a byte.
fn uleb(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
