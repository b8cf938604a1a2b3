//! The SAMPLE record.

use prof_model::{Branch, BranchFlags, Cpu, CpuMode, Pid, Tid, VirtAddr};

use crate::abi::{branch, callchain, read_format, registers_abi, sample};
use crate::attr::EventAttr;
use crate::bytes::{Reader, Short, Words};
use crate::encode::RecordBuilder;
use crate::record::RawRecord;

/// What the kernel saw when the event fired. Fields that the attr did not ask for are empty.
///
/// Few want what comes behind the stack copy: [`Sample::extras`] decodes that when asked.
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
    /// What the counters said.
    pub read: Option<ReadValues<'a>>,
    /// Addresses from the innermost out, with the markers of [`crate::abi::callchain`] between.
    pub callchain: Option<Words<'a>>,
    /// A tracepoint's fields.
    pub raw: Option<&'a [u8]>,
    /// Registers of the user code.
    pub user_regs: Option<UserRegs<'a>>,
    /// The top of the user stack.
    pub user_stack: Option<UserStack<'a>>,
    branch_words: Words<'a>, // three for each branch
    behind: &'a [u8],        // the stack copy
}

/// `struct perf_branch_entry`: from, to and flags.
const WORDS_OF_BRANCH: usize = 3;

/// Fields behind the stack copy.
const BEHIND: u64 = sample::WEIGHT
    | sample::WEIGHT_STRUCT
    | sample::DATA_SRC
    | sample::TRANSACTION
    | sample::REGS_INTR
    | sample::PHYS_ADDR
    | sample::CGROUP
    | sample::DATA_PAGE_SIZE
    | sample::CODE_PAGE_SIZE;

/// What a sample has behind the stack copy. Fields that the attr did not ask for are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras<'a> {
    /// What it cost, in the event's own unit.
    pub weight: Option<u64>,
    /// How long the instruction took, where the weight has parts.
    pub latency: Option<u16>,
    /// `perf_mem_data_src`.
    pub data_src: Option<u64>,
    /// Registers of the code that was interrupted, the kernel's or the user's.
    pub intr_regs: Option<UserRegs<'a>>,
    /// The physical address of the data.
    pub phys_addr: Option<u64>,
    /// Bytes of the page that the data is in.
    pub data_page_size: Option<u64>,
    /// Bytes of the page that the instruction is in.
    pub code_page_size: Option<u64>,
}

/// The counter of the event, or those of all events of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadValues<'a> {
    format: u64,
    words: Words<'a>, // for a group without their number
}

impl<'a> ReadValues<'a> {
    /// Each counter, with the event's id where the format has it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Option<u64>)> + use<'a> {
        let words = self.words;
        self.places().filter_map(move |(value, id)| {
            let id = match id {
                Some(id) => Some(words.get(id)?),
                None => None,
            };
            Some((words.get(value)?, id))
        })
    }

    /// Where each counter is among the words, and its id.
    fn places(&self) -> impl Iterator<Item = (usize, Option<usize>)> + use<> {
        let format = self.format;
        let times = words_of_times(format);
        let width = words_of_counter(format);
        let is_group = self.is_group();
        let count = if is_group {
            self.words.len().saturating_sub(times) / width
        } else {
            1
        };
        (0..count).map(move |index| {
            // A group has its times in front of all counters, one event behind its counter.
            let (value, id) = if is_group {
                let at = times + index * width;
                (at, at + 1)
            } else {
                (0, 1 + times)
            };
            (value, (format & read_format::ID != 0).then_some(id))
        })
    }

    fn is_group(&self) -> bool {
        self.format & read_format::GROUP != 0
    }

    /// The same with other values, each by the event's id, in `bytes`.
    pub(crate) fn with_values<'b>(
        &self,
        mut value_of: impl FnMut(Option<u64>) -> u64,
        bytes: &'b mut Vec<u8>,
    ) -> ReadValues<'b> {
        bytes.clear();
        bytes.extend(self.words.iter().flat_map(u64::to_le_bytes));
        for (value, id) in self.places() {
            let id = id.and_then(|id| self.words.get(id));
            if let Some(word) = bytes.get_mut(value * 8..value * 8 + 8) {
                word.copy_from_slice(&value_of(id).to_le_bytes());
            }
        }
        ReadValues {
            format: self.format,
            words: Words::new(bytes),
        }
    }

    /// Writes them as a sample has them.
    pub(crate) fn encode(&self, record: &mut RecordBuilder<'_>) {
        if self.is_group() {
            record.u64(self.places().count() as u64);
        }
        for word in self.words.iter() {
            record.u64(word);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'a>, format: u64) -> Result<Self, Short> {
        let counters = if format & read_format::GROUP == 0 {
            1
        } else {
            reader.u64()?
        };
        let words = counters
            .checked_mul(words_of_counter(format) as u64)
            .and_then(|words| words.checked_add(words_of_times(format) as u64))
            .ok_or(Short)?;
        let words = reader.words(words)?;
        Ok(Self { format, words })
    }
}

fn words_of_times(format: u64) -> usize {
    let times = read_format::TOTAL_TIME_ENABLED | read_format::TOTAL_TIME_RUNNING;
    (format & times).count_ones() as usize
}

fn words_of_counter(format: u64) -> usize {
    1 + (format & (read_format::ID | read_format::LOST)).count_ones() as usize
}

/// Registers of the user code when the event fired, or when it entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRegs<'a> {
    /// [`crate::abi::registers_abi`]: of a 32-bit or a 64-bit program.
    pub abi: u64,
    /// Which registers, in the kernel's numbering.
    pub mask: u64,
    /// Their values, by ascending number.
    pub values: Words<'a>,
}

impl<'a> UserRegs<'a> {
    /// `None` where there was nothing to record, as of user code in a kernel thread.
    fn decode(reader: &mut Reader<'a>, mask: u64) -> Result<Option<Self>, Short> {
        let abi = reader.u64()?;
        if abi == registers_abi::NONE {
            return Ok(None);
        }
        let values = reader.words(u64::from(mask.count_ones()))?;
        Ok(Some(Self { abi, mask, values }))
    }

    /// The value of a register by the kernel's number for it.
    pub fn get(&self, number: u32) -> Option<u64> {
        let bit = 1u64.checked_shl(number)?;
        let before = self.mask & (bit - 1);
        let is_there = self.mask & bit != 0;
        is_there.then(|| self.values.get(before.count_ones() as usize))?
    }
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
    #[inline(always)] // so that a sample is made in its place: it is larger than what is read of it
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
            read: None,
            callchain: None,
            raw: None,
            user_regs: None,
            user_stack: None,
            branch_words: Words::default(),
            behind: &[],
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
            this.read = Some(ReadValues::decode(&mut reader, attr.read_format)?);
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
            let words = count.checked_mul(WORDS_OF_BRANCH as u64).ok_or(Short)?;
            this.branch_words = reader.words(words)?;
            if attr.branch_sample_type & branch::COUNTERS != 0 {
                reader.words(count)?; // what happened before each of them
            }
        }
        if has(sample::REGS_USER) {
            this.user_regs = UserRegs::decode(&mut reader, attr.sample_regs_user)?;
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
        if has(BEHIND) {
            this.behind = reader.rest();
        }
        Ok(this)
    }

    /// Decodes what comes behind the stack copy.
    ///
    /// # Errors
    /// [`Short`] where a field is missing.
    pub fn extras(&self, attr: &EventAttr) -> Result<Extras<'a>, Short> {
        let has = |bit: u64| attr.sample_type & bit != 0;
        let mut reader = Reader::new(self.behind);
        let mut extras = Extras::default();
        if has(sample::WEIGHT_STRUCT) {
            let word = reader.u64()?;
            extras.weight = Some(word & 0xffff_ffff);
            extras.latency = Some((word >> 32) as u16);
        } else if has(sample::WEIGHT) {
            extras.weight = Some(reader.u64()?);
        }
        if has(sample::DATA_SRC) {
            extras.data_src = Some(reader.u64()?);
        }
        if has(sample::TRANSACTION) {
            reader.u64()?;
        }
        if has(sample::REGS_INTR) {
            extras.intr_regs = UserRegs::decode(&mut reader, attr.sample_regs_intr)?;
        }
        if has(sample::PHYS_ADDR) {
            extras.phys_addr = Some(reader.u64()?);
        }
        if has(sample::CGROUP) {
            reader.u64()?;
        }
        if has(sample::DATA_PAGE_SIZE) {
            extras.data_page_size = Some(reader.u64()?);
        }
        if has(sample::CODE_PAGE_SIZE) {
            extras.code_page_size = Some(reader.u64()?);
        }
        Ok(extras)
    }

    /// The branches that the CPU took last, the newest first; none where the attr did not ask.
    pub fn branches(&self) -> impl ExactSizeIterator<Item = Branch> + use<'a> {
        let words = self.branch_words;
        (0..words.len() / WORDS_OF_BRANCH).map(move |index| {
            let word = |at| words.get(index * WORDS_OF_BRANCH + at).unwrap_or_default();
            Branch {
                from: VirtAddr(word(0)),
                to: VirtAddr(word(1)),
                flags: BranchFlags(word(2)),
            }
        })
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
///
/// The user part is the last one. What looks like a marker in it is a word of the user's stack that
/// the kernel's frame-pointer walk took for a return address, and says nothing.
pub fn with_modes(
    chain: impl Iterator<Item = u64>,
    first: CpuMode,
) -> impl Iterator<Item = (CpuMode, u64)> {
    let mut mode = first;
    let mut user_began = false;
    chain.filter_map(move |entry| {
        if entry < callchain::FIRST {
            return Some((mode, entry));
        }
        if user_began {
            return None;
        }
        user_began = matches!(entry, callchain::USER | callchain::USER_DEFERRED);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{X86_USER_REGS, flag, misc, record};

    #[test]
    fn a_register_is_found_by_its_number_among_those_that_were_recorded() {
        let bytes: Vec<u8> = [10_u64, 20, 30]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let regs = UserRegs {
            abi: 2,
            mask: 1 << 29 | 1 << 31 | 1 << 32,
            values: Words::new(&bytes),
        };
        let values = [29, 30, 31, 32, 64].map(|number| regs.get(number));
        assert_eq!(values, [Some(10), None, Some(20), Some(30), None]);
    }

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
    fn what_looks_like_a_marker_on_the_users_stack_does_not_change_the_mode() {
        let chain = [callchain::USER, 3, callchain::KERNEL, 4];
        let frames: Vec<_> = with_modes(chain.into_iter(), CpuMode::User).collect();
        assert_eq!(frames, [(CpuMode::User, 3), (CpuMode::User, 4)]);
    }

    #[test]
    fn counters_are_found_behind_or_in_front_of_their_times() {
        let bytes: Vec<u8> = (1..=8_u64).flat_map(u64::to_le_bytes).collect();
        let all = |format: u64| {
            let mut reader = Reader::new(&bytes);
            let read = ReadValues::decode(&mut reader, format).unwrap();
            (read.iter().collect::<Vec<_>>(), reader.rest().len() / 8)
        };
        use read_format::{GROUP, ID, LOST, TOTAL_TIME_ENABLED, TOTAL_TIME_RUNNING};
        assert_eq!(all(0), (vec![(1, None)], 7));
        let times = TOTAL_TIME_ENABLED | TOTAL_TIME_RUNNING;
        assert_eq!(all(times | ID | LOST), (vec![(1, Some(4))], 3));
        // one counter: number, two times, value, id
        assert_eq!(all(times | ID | GROUP), (vec![(4, Some(5))], 3));
        let bytes: Vec<u8> = [2_u64, 30, 7, 0, 40, 8, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let mut reader = Reader::new(&bytes);
        let read = ReadValues::decode(&mut reader, GROUP | ID | LOST).unwrap();
        assert_eq!(
            read.iter().collect::<Vec<_>>(),
            [(30, Some(7)), (40, Some(8))]
        );
    }

    /// A sample that says it has `count` branches and has `written`, their words counting up; with counters
    /// if there are `counters`, and a weight behind them.
    fn with_branches(index: Option<u64>, count: u64, written: u64, counters: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut record = RecordBuilder::new(&mut bytes, record::SAMPLE, misc::USER);
        record.u64(0x401000).u64(count);
        if let Some(index) = index {
            record.u64(index);
        }
        let words = written * if counters { 4 } else { 3 };
        (0..words).for_each(|word| {
            record.u64(word);
        });
        record.u64(77).finish().unwrap();
        bytes
    }

    #[test]
    fn branches_are_read_with_and_without_what_else_the_hardware_tells() {
        for (index, count, counters) in [
            (None, 2, false),
            (Some(u64::MAX), 2, false),
            (None, 0, false),
            (Some(5), 0, false),
            (None, 2, true),
            (Some(1), 3, true),
        ] {
            let attr = EventAttr {
                sample_type: sample::IP | sample::BRANCH_STACK | sample::WEIGHT,
                branch_sample_type: index.map_or(0, |_| branch::HW_INDEX)
                    | if counters { branch::COUNTERS } else { 0 },
                ..EventAttr::default()
            };
            let bytes = with_branches(index, count, count, counters);
            let raw = RawRecord::parse(&bytes).unwrap();
            let sample = Sample::decode(raw, &attr).unwrap();
            let branch = |first: u64| Branch {
                from: VirtAddr(first),
                to: VirtAddr(first + 1),
                flags: BranchFlags(first + 2),
            };
            let expected: Vec<_> = (0..count).map(|it| branch(it * 3)).collect();
            assert_eq!(sample.branches().collect::<Vec<_>>(), expected);
            assert_eq!(sample.extras(&attr).unwrap().weight, Some(77));

            let behind_branches = bytes.len() - 8; // the weight is decoded later
            for cut in crate::record::HEADER_SIZE..behind_branches {
                let cut = RawRecord {
                    bytes: &bytes[..cut],
                    ..raw
                };
                assert_eq!(Sample::decode(cut, &attr), Err(Short));
            }
        }
    }

    #[test]
    fn more_branches_than_there_are_bytes_for_are_an_error_and_not_looked_for() {
        let attr = EventAttr {
            sample_type: sample::IP | sample::BRANCH_STACK,
            ..EventAttr::default()
        };
        for count in [2, 3, u64::MAX / 24, u64::MAX / 3 + 1, u64::MAX] {
            let bytes = with_branches(None, count, 1, false);
            let raw = RawRecord::parse(&bytes).unwrap();
            assert_eq!(Sample::decode(raw, &attr), Err(Short), "{count}");
        }
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
