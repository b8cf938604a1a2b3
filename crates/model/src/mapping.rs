use crate::{DsoAddr, DsoId, VirtAddr};

/// A DSO in an address space: `start <= address < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What [`DsoAddr`] the first address has: the file offset for files, `start` for the rest.
    pub dso_start: u64,
    /// What is mapped.
    pub dso: DsoId,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Mapping {
    /// The place of `addr`, which this mapping covers, in the DSO.
    pub fn dso_addr(&self, addr: VirtAddr) -> DsoAddr {
        DsoAddr(addr.0.wrapping_sub(self.start).wrapping_add(self.dso_start))
    }
}
