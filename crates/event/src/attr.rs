//! `perf_event_attr`: what to count, and what each sample carries.

use perf_event_open_sys::bindings::{PERF_ATTR_SIZE_VER0, PERF_ATTR_SIZE_VER7};

use crate::abi::{event_type, flag, software};
use crate::bytes::{Reader, Short};

/// Bytes of the attr that we write: the newest layout that perf 6.1 reads.
pub const WRITTEN_SIZE: usize = PERF_ATTR_SIZE_VER7 as usize;
/// Bytes of the first published layout; an attr is never shorter.
pub const MIN_SIZE: usize = PERF_ATTR_SIZE_VER0 as usize;

/// `struct perf_event_attr`, field by field, in the kernel's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventAttr {
    /// [`crate::abi::event_type`], or a PMU's number from sysfs.
    pub kind: u32,
    /// Which event of that kind.
    pub config: u64,
    /// A period in events, or a frequency in Hz with [`flag::FREQ`].
    pub sample_period_or_freq: u64,
    /// Which fields a sample has: [`crate::abi::sample`].
    pub sample_type: u64,
    /// Which fields a read value has: [`crate::abi::read_format`].
    pub read_format: u64,
    /// [`crate::abi::flag`].
    pub flags: u64,
    /// Wake the reader after so many samples, or bytes with [`flag::WATERMARK`].
    pub wakeup: u32,
    /// Kind of breakpoint.
    pub bp_type: u32,
    /// Breakpoint address, or more of the event's configuration.
    pub config1: u64,
    /// Breakpoint length, or more of the event's configuration.
    pub config2: u64,
    /// Which branches a branch stack records.
    pub branch_sample_type: u64,
    /// Mask of user registers in a sample.
    pub sample_regs_user: u64,
    /// Bytes of user stack in a sample.
    pub sample_stack_user: u32,
    /// The clock of all times, with [`flag::USE_CLOCKID`].
    pub clockid: i32,
    /// Mask of registers at the interrupt.
    pub sample_regs_intr: u64,
    /// Wake-up of the AUX area.
    pub aux_watermark: u32,
    /// Limit of frames in a callchain; 0: the system's.
    pub sample_max_stack: u16,
    /// Bytes of AUX data in a sample.
    pub aux_sample_size: u32,
    /// Data for `SIGTRAP`.
    pub sig_data: u64,
}

impl EventAttr {
    /// Reads an attr of any length: what is missing at the end is zero, what is unknown is skipped.
    ///
    /// # Errors
    /// [`Short`] below [`MIN_SIZE`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Short> {
        if bytes.len() < MIN_SIZE {
            return Err(Short);
        }
        let mut padded = [0; WRITTEN_SIZE];
        let known = bytes.len().min(WRITTEN_SIZE);
        padded[..known].copy_from_slice(&bytes[..known]);
        let mut reader = Reader::new(&padded);
        let kind = reader.u32()?;
        let _size = reader.u32()?;
        Ok(Self {
            kind,
            config: reader.u64()?,
            sample_period_or_freq: reader.u64()?,
            sample_type: reader.u64()?,
            read_format: reader.u64()?,
            flags: reader.u64()?,
            wakeup: reader.u32()?,
            bp_type: reader.u32()?,
            config1: reader.u64()?,
            config2: reader.u64()?,
            branch_sample_type: reader.u64()?,
            sample_regs_user: reader.u64()?,
            sample_stack_user: reader.u32()?,
            clockid: reader.u32()? as i32,
            sample_regs_intr: reader.u64()?,
            aux_watermark: reader.u32()?,
            sample_max_stack: reader.u16()?,
            aux_sample_size: {
                reader.u16()?;
                reader.u32()?
            },
            sig_data: {
                reader.u32()?;
                reader.u64()?
            },
        })
    }

    /// The attr as the kernel and perf.data have it.
    pub fn to_bytes(&self) -> [u8; WRITTEN_SIZE] {
        let mut bytes = [0; WRITTEN_SIZE];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.kind.to_le_bytes());
        put(&(WRITTEN_SIZE as u32).to_le_bytes());
        put(&self.config.to_le_bytes());
        put(&self.sample_period_or_freq.to_le_bytes());
        put(&self.sample_type.to_le_bytes());
        put(&self.read_format.to_le_bytes());
        put(&self.flags.to_le_bytes());
        put(&self.wakeup.to_le_bytes());
        put(&self.bp_type.to_le_bytes());
        put(&self.config1.to_le_bytes());
        put(&self.config2.to_le_bytes());
        put(&self.branch_sample_type.to_le_bytes());
        put(&self.sample_regs_user.to_le_bytes());
        put(&self.sample_stack_user.to_le_bytes());
        put(&self.clockid.to_le_bytes());
        put(&self.sample_regs_intr.to_le_bytes());
        put(&self.aux_watermark.to_le_bytes());
        put(&self.sample_max_stack.to_le_bytes());
        put(&[0; 2]);
        put(&self.aux_sample_size.to_le_bytes());
        put(&[0; 4]);
        put(&self.sig_data.to_le_bytes());
        debug_assert_eq!(at, WRITTEN_SIZE);
        bytes
    }

    /// Whether all bits of `flags` are set.
    pub fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// Sets or clears bits of the flag word.
    pub fn set(&mut self, flags: u64, on: bool) {
        if on {
            self.flags |= flags;
        } else {
            self.flags &= !flags;
        }
    }

    /// Samples per second asked for, in frequency mode.
    pub fn frequency(&self) -> Option<u64> {
        self.has(flag::FREQ).then_some(self.sample_period_or_freq)
    }

    /// Whether periods are nanoseconds on a CPU: those of `cpu-clock` and `task-clock`.
    pub fn is_cpu_time(&self) -> bool {
        let is_clock = matches!(self.config, software::CPU_CLOCK | software::TASK_CLOCK);
        self.kind == event_type::SOFTWARE && is_clock
    }

    /// How exact the instruction pointer must be, 0 to 3.
    pub fn precise_ip(&self) -> u8 {
        ((self.flags >> 15) & 3) as u8
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use perf_event_open_sys::bindings::perf_event_attr;

    use super::*;

    fn example() -> EventAttr {
        EventAttr {
            kind: 1,
            config: 2,
            sample_period_or_freq: 999,
            sample_type: 0x10127,
            read_format: 0x14,
            flags: flag::FREQ | flag::INHERIT | flag::SAMPLE_ID_ALL,
            wakeup: 5,
            bp_type: 6,
            config1: 7,
            config2: 8,
            branch_sample_type: 9,
            sample_regs_user: 0xff0fff,
            sample_stack_user: 32768,
            clockid: 1,
            sample_regs_intr: 10,
            aux_watermark: 11,
            sample_max_stack: 127,
            aux_sample_size: 12,
            sig_data: 13,
        }
    }

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        let bytes = example().to_bytes();
        let theirs = perf_event_attr::default();
        macro_rules! check {
            ($($field:ident = $value:expr),* $(,)?) => {
                $(
                    let start = offset_of!(perf_event_attr, $field);
                    let field = &bytes[start..start + size_of_val(&theirs.$field)];
                    let value: u64 = $value;
                    assert_eq!(*field, value.to_le_bytes()[..field.len()], stringify!($field));
                )*
            };
        }
        check! {
            type_ = 1, size = 128, config = 2, __bindgen_anon_1 = 999, sample_type = 0x10127,
            read_format = 0x14, _bitfield_1 = flag::FREQ | flag::INHERIT | flag::SAMPLE_ID_ALL,
            __bindgen_anon_2 = 5, bp_type = 6, __bindgen_anon_3 = 7, __bindgen_anon_4 = 8,
            branch_sample_type = 9, sample_regs_user = 0xff0fff, sample_stack_user = 32768,
            clockid = 1, sample_regs_intr = 10, aux_watermark = 11, sample_max_stack = 127,
            __reserved_2 = 0, aux_sample_size = 12, __bindgen_anon_5 = 0, sig_data = 13,
        }
        let behind = offset_of!(perf_event_attr, sig_data) + size_of_val(&theirs.sig_data);
        assert_eq!(bytes.len(), behind);
    }

    #[test]
    fn an_attr_survives_writing_and_reading_at_any_length() {
        let bytes = example().to_bytes();
        assert_eq!(EventAttr::parse(&bytes), Ok(example()));
        let mut newer = bytes.to_vec();
        newer.extend([0xff; 8]);
        assert_eq!(EventAttr::parse(&newer), Ok(example()));
        let oldest = EventAttr::parse(&bytes[..MIN_SIZE]).unwrap();
        assert_eq!((oldest.config1, oldest.config2), (7, 0));
        assert_eq!(EventAttr::parse(&bytes[..MIN_SIZE - 1]), Err(Short));
    }
}
