use prof_event::{Reader, Short};

use crate::fields::Put;

/// The same moment on the recording's clock and on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockData {
    /// `clockid_t`, as in the attrs.
    pub clockid: u32,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// Nanoseconds of the recording's clock.
    pub clock_ns: u64,
}

/// The only version there is.
const VERSION: u32 = 1;

impl ClockData {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.put_u32(VERSION);
        payload.put_u32(self.clockid);
        payload.put_u64(self.wall_ns);
        payload.put_u64(self.clock_ns);
        payload
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Short> {
        let _version = reader.u32()?;
        Ok(Self {
            clockid: reader.u32()?,
            wall_ns: reader.u64()?,
            clock_ns: reader.u64()?,
        })
    }
}

/// The clock's resolution in nanoseconds: 1 wherever the kernel has high-resolution timers.
pub(super) fn resolution() -> Vec<u8> {
    1u64.to_le_bytes().to_vec()
}
