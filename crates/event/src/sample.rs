//! The SAMPLE record.

use prof_model::{Cpu, CpuMode, Pid, Tid, VirtAddr};

use crate::abi::{branch, callchain, read_format, sample};
use crate::attr::EventAttr;
use crate::bytes::{Reader, Short, Words};
use crate::record::RawRecord;

/// What the kernel saw when the event fired. Fields that the attr did not ask for are empty.
///
/// The fields behind the stack copy (weights, data source, physical addresses) are not decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// In which mode the CPU was.
    pub mode: CpuMode,
    /// The instruction.
    pub ip: VirtAddr,
    /// The process; -1 where the attr did not ask.
    pub pid: Pid,
    /// The thread; -1 where the attr did not ask.
    pub tid: Tid,
    /// Nanoseconds of the event's clock.
    pub time: Option<u64>,
    /// The data address of the event, if it has one.
    pub addr: Option<u64>,
    /// The event's id, from IDENTIFIER or ID.
    pub id: Option<u64>,
    /// The CPU.
    pub cpu: Option<Cpu>,
    /// How many events it stands for.
    pub period: u64,
    /// Addresses from the innermost out, with the markers of [`crate::abi::callchain`] between.
    pub callchain: Option<Words<'a>>,
    /// A tracepoint's fields.
    pub raw: Option<&'a [u8]>,
    /// Registers of the user code.
    pub user_regs: Option<UserRegs<'a>>,
    /// The top of the user stack.
    pub user_stack: Option<UserStack<'a>>,
}

/// Registers of the user code when the event fired, or when it entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRegs<'a> {
    /// 1: a 32-bit program, 2: a 64-bit program.
    pub abi: u64,
    /// Which registers, in the kernel's numbering.
    pub mask: u64,
    /// Their values, by ascending number.
    pub values: Words<'a>,
}

/// Bytes from the user's stack pointer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserStack<'a> {
    /// What the kernel could copy.
    pub bytes: &'a [u8],
    /// How much there was room for. As many bytes as that: the stack goes on behind them.
    pub capacity: usize,
}

impl<'a> Sample<'a> {
    /// Decodes a sample of the event that `attr` opened.
    ///
    /// # Errors
    /// [`Short`] where a field is missing.
    #[inline]
    pub fn decode(raw: RawRecord<'a>, attr: &EventAttr) -> Result<Self, Short> {
        let has = |bit: u64| attr.sample_type & bit != 0;
        let mut reader = Reader::new(raw.body());
        let mut this = Self {
            mode: raw.cpu_mode(),
            ip: VirtAddr(0),
            pid: Pid(-1),
            tid: Tid(-1),
            time: None,
            addr: None,
            id: None,
            cpu: None,
            period: if attr.frequency().is_some() {
                1
            } else {
                attr.sample_period_or_freq
            },
            callchain: None,
            raw: None,
            user_regs: None,
            user_stack: None,
        };
        if has(sample::IDENTIFIER) {
            this.id = Some(reader.u64()?);
        }
        if has(sample::IP) {
            this.ip = VirtAddr(reader.u64()?);
        }
        if has(sample::TID) {
            this.pid = Pid(reader.u32()? as i32);
            this.tid = Tid(reader.u32()? as i32);
        }
        if has(sample::TIME) {
            this.time = Some(reader.u64()?);
        }
        if has(sample::ADDR) {
            this.addr = Some(reader.u64()?);
        }
        if has(sample::ID) {
            this.id = Some(reader.u64()?);
        }
        if has(sample::STREAM_ID) {
            reader.u64()?;
        }
        if has(sample::CPU) {
            this.cpu = Some(Cpu(reader.u32()?));
            reader.u32()?;
        }
        if has(sample::PERIOD) {
            this.period = reader.u64()?;
        }
        if has(sample::READ) {
            skip_read(&mut reader, attr.read_format)?;
        }
        if has(sample::CALLCHAIN) {
            let count = reader.u64()?;
            this.callchain = Some(reader.words(count)?);
        }
        if has(sample::RAW) {
            let len = reader.u32()? as usize;
            this.raw = Some(reader.bytes(len)?);
        }
        if has(sample::BRANCH_STACK) {
            let count = reader.u64()?;
            if attr.branch_sample_type & branch::HW_INDEX != 0 {
                reader.u64()?;
            }
            reader.words(count.checked_mul(3).ok_or(Short)?)?;
        }
        if has(sample::REGS_USER) {
            let abi = reader.u64()?;
            if abi != 0 {
                this.user_regs = Some(UserRegs {
                    abi,
                    mask: attr.sample_regs_user,
                    values: reader.words(u64::from(attr.sample_regs_user.count_ones()))?,
                });
            }
        }
        if has(sample::STACK_USER) {
            let capacity = usize::try_from(reader.u64()?).map_err(|_| Short)?;
            if capacity != 0 {
                let bytes = reader.bytes(capacity)?;
                let used = usize::try_from(reader.u64()?).map_err(|_| Short)?;
                this.user_stack = Some(UserStack {
                    bytes: &bytes[..used.min(capacity)],
                    capacity,
                });
            }
        }
        Ok(this)
    }

    /// The callchain's addresses with the mode in which each ran, markers removed. Without a
    /// callchain: the instruction alone.
    pub fn frames(&self) -> impl Iterator<Item = (CpuMode, u64)> + 'a {
        let alone = self
            .callchain
            .is_none_or(|chain| chain.is_empty())
            .then_some((self.mode, self.ip.0));
        // Where no marker precedes the first address, perf takes it for user code.
        with_modes(self.callchain.unwrap_or_default().iter(), CpuMode::User).chain(alone)
    }
}

/// Takes the markers out of a callchain: each address with the mode that the last marker named.
pub fn with_modes(
    chain: impl Iterator<Item = u64>,
    first: CpuMode,
) -> impl Iterator<Item = (CpuMode, u64)> {
    let mut mode = first;
    chain.filter_map(move |entry| {
        if entry < callchain::FIRST {
            return Some((mode, entry));
        }
        mode = match entry {
            callchain::KERNEL => CpuMode::Kernel,
            callchain::USER | callchain::USER_DEFERRED => CpuMode::User,
            callchain::HYPERVISOR => CpuMode::Hypervisor,
            callchain::GUEST_KERNEL => CpuMode::GuestKernel,
            callchain::GUEST_USER | callchain::GUEST => CpuMode::GuestUser,
            _ => CpuMode::Unknown,
        };
        None
    })
}

fn skip_read(reader: &mut Reader<'_>, format: u64) -> Result<(), Short> {
    let has = |bit: u64| u64::from(format & bit != 0);
    let times = has(read_format::TOTAL_TIME_ENABLED) + has(read_format::TOTAL_TIME_RUNNING);
    let value = 1 + has(read_format::ID) + has(read_format::LOST);
    let words = if format & read_format::GROUP == 0 {
        times + value
    } else {
        let members = reader.u64()?;
        members
            .checked_mul(value)
            .and_then(|words| words.checked_add(times))
            .ok_or(Short)?
    };
    reader.words(words).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{X86_USER_REGS, flag, misc, record};
    use crate::encode::RecordBuilder;

    #[test]
    fn kernel_and_user_parts_of_a_callchain_keep_their_modes() {
        let chain = [callchain::KERNEL, 1, 2, callchain::USER, 3];
        let frames: Vec<_> = with_modes(chain.into_iter(), CpuMode::User).collect();
        assert_eq!(
            frames,
            [
                (CpuMode::Kernel, 1),
                (CpuMode::Kernel, 2),
                (CpuMode::User, 3)
            ]
        );
    }

    #[test]
    fn a_full_sample_is_decoded_field_by_field_and_every_cut_is_an_error() {
        let attr = EventAttr {
            sample_type: sample::IDENTIFIER
                | sample::IP
                | sample::TID
                | sample::TIME
                | sample::CPU
                | sample::PERIOD
                | sample::READ
                | sample::CALLCHAIN
                | sample::RAW
                | sample::REGS_USER
                | sample::STACK_USER,
            sample_regs_user: X86_USER_REGS,
            read_format: read_format::ID | read_format::LOST,
            flags: flag::FREQ | flag::SAMPLE_ID_ALL,
            ..EventAttr::default()
        };
        let mut bytes = Vec::new();
        let mut record = RecordBuilder::new(&mut bytes, record::SAMPLE, misc::USER);
        record
            .u64(7)
            .u64(0x401000)
            .u32(10)
            .u32(11)
            .u64(123)
            .u32(1)
            .u32(0)
            .u64(1000);
        record.u64(5).u64(7).u64(0); // read
        record.u64(2).u64(callchain::USER).u64(0x401000);
        record.u32(4).bytes(b"rawx");
        record.u64(2);
        (0..20).for_each(|reg| {
            record.u64(reg);
        });
        record.u64(16).bytes(b"stack bytes here").u64(11);
        record.finish().unwrap();

        let raw = RawRecord::parse(&bytes).unwrap();
        let sample = Sample::decode(raw, &attr).unwrap();
        assert_eq!(sample.id, Some(7));
        assert_eq!(sample.ip, VirtAddr(0x401000));
        assert_eq!((sample.pid, sample.tid), (Pid(10), Tid(11)));
        assert_eq!(
            (sample.time, sample.cpu, sample.period),
            (Some(123), Some(Cpu(1)), 1000)
        );
        assert_eq!(
            sample.frames().collect::<Vec<_>>(),
            [(CpuMode::User, 0x401000)]
        );
        assert_eq!(sample.raw, Some(&b"rawx"[..]));
        assert_eq!(sample.user_regs.unwrap().values.iter().last(), Some(19));
        let stack = sample.user_stack.unwrap();
        assert_eq!((stack.bytes, stack.capacity), (&b"stack bytes"[..], 16));

        for cut in HEADER..bytes.len() {
            let cut = RawRecord {
                bytes: &bytes[..cut],
                ..raw
            };
            assert_eq!(Sample::decode(cut, &attr), Err(Short));
        }
        const HEADER: usize = crate::record::HEADER_SIZE;
    }
}
