//! Numbers as the program's machine keeps them.

/// How the machine that a program was built for keeps numbers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whether the highest byte comes first.
    pub is_big_endian: bool,
    /// How many bytes an address has: 4 or 8.
    pub address_size: u8,
}

impl Machine {
    /// An address in some bytes, or a number as wide as one; `None` where they end before it does.
    pub fn address(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.uint(bytes, at, self.address_size.into())
    }

    /// A number of 32 bits.
    pub fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    /// A number of 4 or 8 bytes.
    pub(crate) fn uint(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        if size == 4 {
            return self.u32(bytes, at).map(u64::from);
        }
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.is_big_endian {
            true => u64::from_be_bytes(bytes),
            false => u64::from_le_bytes(bytes),
        })
    }
}
