use std::ops::Range;

use crate::DsoAddr;

/// Generated code that came to lie at an address, as a JIT compiler announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitLoad {
    /// When, by the announcer's clock.
    pub time: u64,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Where the code is in the file that announced it: this stands for it, whatever lies at its
    /// address later.
    pub offset: u64,
}

impl JitLoad {
    /// Its addresses.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.size)
    }

    /// The place in the file of an address that it covers.
    pub fn place(&self, addr: u64) -> DsoAddr {
        DsoAddr(self.offset.wrapping_add(addr.wrapping_sub(self.start)))
    }

    /// The address of a place in the file, if that is part of this code.
    pub fn address(&self, place: DsoAddr) -> Option<u64> {
        let inside = place.0.checked_sub(self.offset)?;
        (inside < self.size).then(|| self.start.wrapping_add(inside))
    }
}
