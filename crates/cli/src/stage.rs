//! From a record to a place in the profile: the part of a sample's path that recording and reading
//! share.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prof_event::abi::{callchain, event_type, flag, sample};
use prof_event::{
    Decoded, Event, EventSet, GroupCounters, Mmap, RawRecord, Record, Sample, Tracker,
};
use prof_model::{
    AddressSpace, ChainEnd, CpuMode, DsoId, DsoKind, DsoTable, Mapping, Pid, Tid, VirtAddr,
};
use prof_profile::{Detail, EventInfo, FrameKey, PartId, Profile};
use prof_sampler::read_memory;
use prof_symbolizer::{FileFinder, FoundFile, Symbolizer};
use prof_unwinder::{
    Bytes, Images, LiveMemory, Process, Regs, StackCopy, Unwinder, UserState, Watched,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::aggregation::Aggregation;
use crate::build_ids::BuildIds;
use crate::copies::Copies;
use crate::generated::GeneratedCode;
use crate::kernel_parts::KernelParts;
use crate::machine::Machine;
use crate::watches::Watches;

/// How user callers are written in the callchains of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// As return addresses: the kernel's frame-pointer walk.
    ReturnAddresses,
    /// As the calls themselves, return address - 1: what an unwinder makes of it.
    CallSites,
}

impl Callers {
    /// What `prof record` says about an event in its attr: it has unwound the user part itself, so
    /// the kernel's own walk is excluded.
    pub fn of(event: &Event) -> Self {
        if event.attr.has(flag::EXCLUDE_CALLCHAIN_USER) {
            Self::CallSites
        } else {
            Self::ReturnAddresses
        }
    }
}

/// Which files the mappings are: those of processes that run, or of a recording made earlier.
pub struct Files {
    finder: FileFinder,
    live: bool,
    opened: FxHashMap<DsoId, Opened>,
}

/// A file that is held.
struct Opened {
    file: Option<FoundFile>, // `None`: it could not be opened
    is_used: bool,           // since `Files::take_unused`
}

impl Files {
    /// Files of running processes.
    pub fn live() -> Self {
        Self {
            finder: FileFinder::default(),
            live: true,
            opened: FxHashMap::default(),
        }
    }

    /// Files of a recording.
    pub fn stored(finder: FileFinder) -> Self {
        Self {
            finder,
            live: false,
            opened: FxHashMap::default(),
        }
    }

    /// The file that `pid` has mapped, opened once and then held.
    fn get(
        &mut self,
        pid: Pid,
        space: &AddressSpace,
        dsos: &DsoTable,
        id: DsoId,
    ) -> Option<&FoundFile> {
        let Self {
            finder,
            live,
            opened,
        } = self;
        let open = || {
            let dso = dsos.get(id);
            let mapping = || space.iter().find(|mapping| mapping.dso == id);
            if !*live {
                let stored = finder.open_stored(dso).ok();
                return stored.or_else(|| {
                    let mapping = mapping()?;
                    finder.open_running(pid, mapping.start, mapping.end, dso)
                });
            }
            let mapping = mapping()?;
            finder.open_live(pid, mapping.start, mapping.end, dso).ok()
        };
        let found = opened.entry(id).or_insert_with(|| Opened {
            file: open(),
            is_used: true,
        });
        found.file.as_ref()
    }

    /// The files that were opened.
    pub fn opened(&self) -> impl Iterator<Item = (DsoId, &FoundFile)> {
        let opened = self.opened.iter();
        opened.filter_map(|(&id, opened)| Some((id, opened.file.as_ref()?)))
    }

    /// Closes the files that no sample has hit since the last call; returns which.
    fn take_unused(&mut self) -> Vec<DsoId> {
        let opened = &mut self.opened;
        let unused = opened.extract_if(|_, file| !std::mem::take(&mut file.is_used));
        unused.map(|(id, _)| id).collect()
    }

    /// Hands the open files to a symbolizer, which names addresses from the very files that ran.
    pub fn give_to(&self, symbolizer: &mut Symbolizer) {
        for (id, file) in self.opened() {
            symbolizer.keep(id, file.clone());
        }
    }
}

/// The files of one process, as the unwinder asks for them.
struct ImagesOf<'a> {
    files: &'a mut Files,
    pid: Pid,
    space: &'a AddressSpace,
    dsos: &'a DsoTable,
}

impl Images for ImagesOf<'_> {
    fn image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = self.files.get(self.pid, self.space, self.dsos, dso)?;
        Some(Arc::clone(&file.image) as _)
    }

    fn debug_image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = self
            .files
            .get(self.pid, self.space, self.dsos, dso)?
            .clone();
        let debug = self.files.finder.open_debug(&file, self.dsos.get(dso))?;
        Some(debug.image as _)
    }
}

/// The memory of a process that runs, as a sample needs it.
struct MemoryOf<'a> {
    pid: Pid,
    tid: Tid,
    time: u64,
    watches: &'a mut Watches,
    was_read: bool,
    was_refused: bool,
}

impl LiveMemory for MemoryOf<'_> {
    fn thread(&self) -> u64 {
        self.tid.0 as u64 // none is in two processes at once
    }

    fn sampled_at(&self) -> u64 {
        self.time
    }

    fn now(&self) -> Option<u64> {
        self.watches.now()
    }

    fn read(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        self.was_read = true;
        self.read_code(addr, into)
    }

    fn read_code(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        read_memory(self.pid, addr, into).unwrap_or_else(|error| {
            self.was_refused |= error.kind() == ErrorKind::PermissionDenied;
            0
        })
    }

    fn watch(&mut self, addr: VirtAddr) {
        self.watches.watch((self.pid, self.tid), addr);
    }

    fn watched(&mut self) -> Option<Watched> {
        let pid = self.pid;
        let mut read = |addr, into: &mut [u8]| read_memory(pid, addr, into).unwrap_or(0);
        self.was_read = true;
        self.watches.at((pid, self.tid), self.time, &mut read)
    }
}

/// For so long after a sample whose stack went on in live memory, the next one is expected.
const RACE: Duration = Duration::from_millis(500);
/// How long such samples may wait. A sample is passed on in the second round after it, so that about
/// twice as much goes by until its stack is read.
const RACING_PAUSE: Duration = Duration::from_micros(250);
/// The same while it is not known yet whether there are any, and when there are more samples than one
/// round took.
pub const SHORT_PAUSE: Duration = Duration::from_millis(1);

/// How long samples may wait while copies of the stack are small.
const SMALL_COPIES_WAIT: Duration = Duration::from_millis(5);

/// What becomes of a sample.
#[derive(Clone, Debug)]
pub enum Keep {
    /// It is counted in the profile.
    Sample,
    /// It is counted, and reports may tell it from others by a detail.
    Detailed(Detail),
    /// It is kept by itself, with the addresses that [`Stage::own_addresses`] tells.
    Logged(Vec<VirtAddr>),
    /// Its frames become part of the profile, because names are wanted for them.
    Frames,
    /// Only its callchain and frames are looked at.
    Nothing,
}

impl Keep {
    /// Does so.
    pub fn add(self, sample: &prof_profile::Sample<'_>, profile: &mut Profile) {
        match self {
            Self::Sample => profile.add(sample),
            Self::Detailed(detail) => profile.add_detailed(sample, detail),
            Self::Logged(addresses) => profile.add_to_log(sample, &addresses),
            Self::Frames => profile.add_frames(sample),
            Self::Nothing => {}
        }
    }
}

/// Takes records in time order and aggregates the samples.
pub struct Stage {
    /// Names and mappings as of the last record.
    pub tracker: Tracker,
    /// The files that samples hit.
    pub files: Files,
    /// What JIT compilers tell about their code.
    pub generated: GeneratedCode,
    /// The samples so far; after [`Stage::aggregate_beside`] only once they are all there.
    pub profile: Profile,
    aggregation: Option<Aggregation>,
    unwinder: Unwinder,
    counters: Option<GroupCounters>, // of running processes; of a recording its reader has them
    /// Build-ids of files, where a recording tells them.
    pub build_ids: BuildIds,
    /// Where the samples were taken.
    pub machine: Machine,
    /// The latest time of any record.
    pub last_time: u64,
    /// Samples whose copy of the stack is of a machine that cannot be unwound here.
    pub foreign_stacks: u64,
    /// Stacks that are not whole, where the target's memory may not be read.
    pub refused_stacks: u64,
    /// How much of the stacks has to be copied.
    pub copies: Copies,
    has_samples: bool, // in this round of the rings
    had_samples: bool, // in the last one
    max_stack: usize,
    chain: Vec<u64>,       // of the last sample, markers included
    inner: Option<PartId>, // its kernel's part, where that is kept
    frames: Vec<FrameKey>, // behind that part
    addresses: Vec<u64>,   // of `frames`
    kernel_parts: KernelParts,
    user: Vec<VirtAddr>,
    kernel_walk: Vec<u64>,
    nowhere: AddressSpace,
    starting: FxHashSet<Pid>, // in execve: not yet seen to run their new program
    watches: Watches,         // of running processes
    live_read: Option<Instant>, // when a stack last went on in live memory
    has_raced: bool,          // whether one ever did
}

/// Software events that are page faults: all, minor, major.
const PAGE_FAULTS: [u64; 3] = [2, 5, 6];
/// Of 64-bit machines.
const FIRST_OF_KERNEL: u64 = 1 << 63;

/// The most frames that `prof record` keeps of a stack, if not told otherwise.
pub const DEFAULT_MAX_STACK: usize = 1024;

impl Stage {
    /// A stage for samples of these events.
    pub fn new(events: &EventSet, files: Files, max_stack: usize) -> Self {
        Self {
            tracker: Tracker::default(),
            generated: match files.live {
                true => GeneratedCode::live(),
                false => GeneratedCode::stored(files.finder.clone()),
            },
            live_read: files.live.then(Instant::now), // how large stacks are is not known yet
            counters: files.live.then(GroupCounters::default),
            has_raced: false,
            watches: Watches::new(events),
            files,
            aggregation: None,
            profile: Profile::new(events.events().iter().map(event_info).collect()),
            unwinder: Unwinder::new(),
            build_ids: BuildIds::default(),
            machine: Machine::default(),
            last_time: 0,
            foreign_stacks: 0,
            refused_stacks: 0,
            copies: Copies::default(),
            has_samples: false,
            had_samples: false,
            max_stack,
            chain: Vec::new(),
            inner: None,
            addresses: Vec::new(),
            frames: Vec::new(),
            kernel_parts: KernelParts::default(),
            user: Vec::new(),
            kernel_walk: Vec::new(),
            nowhere: AddressSpace::default(),
            starting: FxHashSet::default(),
        }
    }

    /// Aggregates on a thread of its own from now on, until [`Stage::finish`].
    pub fn aggregate_beside(&mut self) {
        self.aggregation = Aggregation::start(&self.profile.events);
    }

    /// Takes a record in. `end` says why its callchain ended where the recording tells; otherwise
    /// that is found out here. Returns it for a sample.
    pub fn take(
        &mut self,
        events: &EventSet,
        decoded: &Decoded<'_>,
        end: Option<ChainEnd>,
    ) -> Option<ChainEnd> {
        self.take_as(events, decoded, end, Keep::Sample)
    }

    /// As [`Stage::take`]; what becomes of a sample is said.
    pub fn take_as(
        &mut self,
        events: &EventSet,
        decoded: &Decoded<'_>,
        end: Option<ChainEnd>,
        mut keep: Keep,
    ) -> Option<ChainEnd> {
        let time = decoded.id.time.unwrap_or(0);
        self.last_time = self.last_time.max(time);
        match &decoded.record {
            Record::Sample(sample) => {
                self.has_samples = true;
                let event = &events.events()[decoded.event];
                let found = self.build_chain(event, sample);
                let end = end.unwrap_or(found);
                self.place(event, sample);
                if let Keep::Logged(addresses) = &mut keep {
                    *addresses = self.own_addresses(event);
                }
                let mut placed = prof_profile::Sample {
                    event: decoded.event as u16,
                    pid: sample.pid,
                    tid: sample.tid,
                    comm: self.tracker.processes.comm_of(sample.pid, sample.tid),
                    cpu: sample.cpu,
                    time: sample.time,
                    period: sample.period,
                    inner: self
                        .inner
                        .map(|part| (part, self.kernel_parts.frames(part))),
                    frames: &self.frames,
                    end,
                };
                match (&mut self.counters, &mut self.aggregation) {
                    (Some(counters), _) if sample.read.is_some() => {
                        for &(event, period) in counters.advance(events, sample) {
                            placed.event = event as u16;
                            placed.period = period;
                            self.profile.add(&placed);
                        }
                    }
                    (_, Some(aggregation)) => aggregation.add(&placed, keep),
                    (_, None) => keep.add(&placed, &mut self.profile),
                }
                self.open_hit_files(sample.pid);
                return Some(end);
            }
            Record::Lost { lost, .. } => self.profile.losses.lost_records += lost,
            Record::LostSamples { lost } => self.profile.losses.lost_samples += lost,
            Record::Throttle { resumed: false } => self.profile.losses.throttled += 1,
            record => self.apply(events, record),
        }
        None
    }

    fn apply(&mut self, events: &EventSet, record: &Record<'_>) {
        if let Record::Comm {
            pid, exec: true, ..
        } = record
        {
            self.starting.insert(*pid);
            self.generated.executed(*pid);
            self.watches.executed(*pid);
        }
        if let (Some(counters), Record::Fork(task) | Record::Exit(task)) =
            (&mut self.counters, record)
        {
            counters.forget(task.tid);
        }
        if matches!(record, Record::Ksymbol(_))
            || matches!(record, Record::Mmap(mmap) if mmap.mode == CpuMode::Kernel)
        {
            self.kernel_parts.forget();
        }
        let known = self.tracker.processes.dsos.len();
        self.tracker.apply(record);
        let dsos = &mut self.tracker.processes.dsos;
        if dsos.len() > known
            && let Some(doubtful) = self.build_ids.note(DsoId(known as u32), dsos)
        {
            self.files.opened.remove(&doubtful);
        }
        match record {
            Record::Mmap(mmap) => self.note_dump(events, mmap),
            Record::Exit(task) => self.watches.exited((task.pid, task.tid)),
            Record::Fork(task) if task.pid != task.ppid => {
                self.generated.forked(task.ppid, task.pid);
            }
            _ => {}
        }
    }

    fn note_dump(&mut self, events: &EventSet, mmap: &Mmap<'_>) {
        if mmap.mode == CpuMode::Kernel {
            return;
        }
        let processes = &self.tracker.processes;
        let space = processes.space(mmap.pid);
        if let Some(mapping) = space.and_then(|space| space.find(VirtAddr(mmap.addr))) {
            let dso = processes.dsos.get(mapping.dso);
            let monotonic = is_monotonic(events);
            self.generated.mapped(mmap.pid, mapping, dso, monotonic);
        }
    }

    /// Events that a pipe told only while its records were read.
    pub fn set_events(&mut self, events: &EventSet) {
        self.profile.events = events.events().iter().map(event_info).collect();
    }

    /// What a file has of `sample`, the last one, other than the kernel: its callchain, with its
    /// markers, and its counters.
    pub fn written<'a>(&'a mut self, sample: &Sample<'a>) -> (&'a [u64], Sample<'a>) {
        let mut sample = *sample;
        if let Some(counters) = &mut self.counters {
            sample.read = counters.summed(&sample);
        }
        (&self.chain, sample)
    }

    /// Notes the counters of a sample that is not one of the recording.
    pub fn skip(&mut self, events: &EventSet, raw: RawRecord<'_>) {
        if let Some(counters) = &mut self.counters
            && let Ok(decoded) = events.decode(raw)
            && let Record::Sample(sample) = &decoded.record
        {
            counters.skip(events, sample);
        }
    }

    /// The frames of the last sample, innermost first, each with its recorded address.
    pub fn frames(&self) -> impl Iterator<Item = (&FrameKey, VirtAddr)> {
        let kernel = self.inner.map(|part| self.kernel_parts.frames(part));
        let kernel = kernel.into_iter().flatten().zip(kernel_part(&self.chain));
        let others = self.frames.iter().zip(&self.addresses);
        let frames = kernel.chain(others);
        frames.map(|(frame, &addr)| (frame, VirtAddr(addr)))
    }

    /// The recorded addresses of [`Self::frames`]; none if each of a callchain lies in a file or has the
    /// address that its frame has.
    pub fn own_addresses(&self, event: &Event) -> Vec<VirtAddr> {
        let dsos = &self.tracker.processes.dsos;
        let is_in_file = |dso| dsos.get(dso).kind.is_file_relative();
        let is_told = |(frame, addr): (&FrameKey, &u64)| {
            frame.shown == *addr || frame.dso.is_some_and(is_in_file)
        };
        // The kernel's code, whose parts are not among these, is numbered as it was recorded.
        let mut frames = self.frames.iter().zip(&self.addresses);
        let is_chain = event.attr.sample_type & sample::CALLCHAIN != 0;
        if is_chain && frames.all(is_told) {
            return Vec::new();
        }
        self.frames().map(|(_, addr)| addr).collect()
    }

    /// The place of the data that a page fault was about; `None` of other events, where perf does not
    /// name the data either.
    pub fn data(&self, event: &Event, sample: &Sample<'_>) -> Option<(VirtAddr, FrameKey)> {
        let addr = VirtAddr(sample.addr?);
        if event.attr.kind != event_type::SOFTWARE || !PAGE_FAULTS.contains(&event.attr.config) {
            return None;
        }
        // The kernel, too, touches data of the user: the address tells whose it is.
        let (mode, mapping) = match addr.0 >= FIRST_OF_KERNEL {
            true => (CpuMode::Kernel, self.tracker.kernel_mapping(addr)),
            false => {
                let space = self.tracker.processes.space(sample.pid);
                (CpuMode::User, space.and_then(|space| space.find(addr)))
            }
        };
        let place = mapping.map_or(addr.0, |mapping| mapping.dso_addr(addr).0);
        let key = FrameKey {
            mode,
            dso: mapping.map(|mapping| mapping.dso),
            shown: place,
            lookup: place,
        };
        Some((addr, key))
    }

    /// Makes `self.chain` the whole callchain: the kernel's part as recorded, the user's part
    /// unwound where the sample carries what that takes.
    fn build_chain(&mut self, event: &Event, sample: &Sample<'_>) -> ChainEnd {
        self.chain.clear();
        let Some(recorded) = sample.callchain else {
            return ChainEnd::Unknown;
        };
        let unwinds = event.attr.sample_type & sample::STACK_USER != 0;
        let (Some(regs), Some(stack)) = (sample.user_regs, sample.user_stack) else {
            if !unwinds {
                self.chain.extend(recorded.iter());
                return ChainEnd::Unknown;
            }
            self.chain.extend(
                recorded
                    .iter()
                    .take_while(|&entry| entry != callchain::USER),
            );
            return ChainEnd::NoUserState;
        };
        if regs.abi != 2 {
            self.chain.extend(recorded.iter()); // a 32-bit program: the kernel's walk is all we have
            self.copies.note(stack.capacity, None, ChainEnd::Unknown);
            return ChainEnd::Unknown;
        }
        let Some(arch) = self.machine.unwinds(&regs) else {
            self.foreign_stacks += 1;
            self.chain.extend(recorded.iter());
            if !self.chain.contains(&callchain::USER)
                && let Some(instruction) = self.machine.instruction(&regs)
            {
                self.chain.extend([callchain::USER, instruction.0]);
            }
            return ChainEnd::Unknown;
        };
        let mut in_user = false;
        self.kernel_walk.clear();
        for entry in recorded.iter() {
            if entry >= callchain::FIRST {
                in_user = entry == callchain::USER;
            }
            if !in_user {
                self.chain.push(entry);
            } else if entry < callchain::FIRST {
                self.kernel_walk.push(entry);
            }
        }
        let registers = Regs::from_perf(arch, regs.mask, regs.values.iter());
        let start = VirtAddr(registers.sp().unwrap_or(0));
        let copy = StackCopy::new(start, stack.bytes, stack.bytes.len() == stack.capacity);
        let processes = &self.tracker.processes;
        let space = processes.space(sample.pid).unwrap_or(&self.nowhere);
        if sample.mode == CpuMode::User {
            self.starting.remove(&sample.pid);
        } else if self.starting.contains(&sample.pid) {
            let ip = VirtAddr(registers.ip().unwrap_or(0));
            if space.find(ip).is_none() {
                return ChainEnd::NoUserState; // the registers are those of the old program
            }
        }
        let mut images = ImagesOf {
            files: &mut self.files,
            pid: sample.pid,
            space,
            dsos: &processes.dsos,
        };
        self.user.clear();
        let mut memory = MemoryOf {
            pid: sample.pid,
            tid: sample.tid,
            time: sample.time.unwrap_or(0),
            watches: &mut self.watches,
            was_read: false,
            was_refused: false,
        };
        let process = Process {
            space,
            live: images.files.live.then_some(&mut memory as _),
            images: &mut images,
        };
        let state = UserState {
            regs: &registers,
            stack: &copy,
            kernel_chain: &self.kernel_walk,
        };
        let end = self
            .unwinder
            .unwind(process, state, self.max_stack, &mut self.user);
        if memory.was_read {
            self.live_read = Some(Instant::now());
            self.has_raced = true;
        }
        self.refused_stacks += u64::from(memory.was_refused && !end.is_whole());
        self.copies.note(stack.capacity, self.unwinder.reach(), end);
        self.chain.push(callchain::USER);
        self.chain.extend(self.user.iter().map(|addr| addr.0));
        end
    }

    /// Makes `self.inner` and `self.frames` of `self.chain`: each address in its DSO.
    fn place(&mut self, event: &Event, sample: &Sample<'_>) {
        self.frames.clear();
        self.addresses.clear();
        let kernel = kernel_part(&self.chain);
        self.inner = self.kernel_parts.find(kernel);
        let rest = match self.inner {
            Some(_) => &self.chain[1 + kernel.len()..],
            None => &self.chain[..],
        };
        let unwound = event.attr.sample_type & sample::STACK_USER != 0;
        let call_sites = unwound || Callers::of(event) == Callers::CallSites;
        let hidden_kernel = self.tracker.hidden_kernel();
        let processes = &self.tracker.processes;
        let space = processes.space(sample.pid).unwrap_or(&self.nowhere);
        let generated = &mut self.generated;
        let mut last: Option<(CpuMode, &Mapping)> = None; // a caller often lies in the same file
        let mut frame = |mode: CpuMode, addr: u64, lookup: u64| {
            let mapping = match (mode, last) {
                (_, Some((same, mapping)))
                    if same == mode && (mapping.start..mapping.end).contains(&lookup) =>
                {
                    Some(mapping)
                }
                (CpuMode::Kernel, _) => self.tracker.kernel_mapping(VirtAddr(lookup)),
                (CpuMode::User | CpuMode::Unknown, _) => space.find(VirtAddr(lookup)),
                _ => None,
            };
            last = mapping.map(|mapping| (mode, mapping)).or(last);
            // Code of a jitdump lies where no other file is mapped.
            let kind = mapping.map(|mapping| processes.dsos.get(mapping.dso).kind);
            if mode == CpuMode::User
                && matches!(kind, None | Some(DsoKind::Jit(_) | DsoKind::Memory))
                && let Some((dso, place)) = generated.find(sample.pid, lookup, sample.time)
            {
                return FrameKey {
                    mode,
                    dso: Some(dso),
                    shown: place.0.wrapping_add(addr - lookup),
                    lookup: place.0,
                };
            }
            match mapping {
                None => FrameKey {
                    mode,
                    dso: hidden_kernel.filter(|_| mode == CpuMode::Kernel),
                    shown: addr,
                    lookup,
                },
                Some(mapping) => FrameKey {
                    mode,
                    dso: Some(mapping.dso),
                    shown: mapping.dso_addr(VirtAddr(addr)).0,
                    lookup: mapping.dso_addr(VirtAddr(lookup)).0,
                },
            }
        };
        let mut last_mode = None;
        for (mode, addr) in prof_event::with_modes(rest.iter().copied(), CpuMode::User) {
            // The first address of each part is the one that ran; the others called.
            let exact = last_mode != Some(mode) || (mode == CpuMode::User && call_sites);
            last_mode = Some(mode);
            let lookup = if exact { addr } else { addr.saturating_sub(1) };
            self.frames.push(frame(mode, addr, lookup));
            self.addresses.push(addr);
        }
        if self.inner.is_none() && self.frames.is_empty() {
            self.frames
                .push(frame(sample.mode, sample.ip.0, sample.ip.0));
            self.addresses.push(sample.ip.0);
        }
        if self.inner.is_none() && !kernel.is_empty() {
            self.inner = self.kernel_parts.keep(kernel, &self.frames[..kernel.len()]);
            if self.inner.is_some() {
                self.frames.drain(..kernel.len());
                self.addresses.drain(..kernel.len());
            }
        }
    }

    /// Opens the files that the last sample hit and that the unwinder did not need: the target may
    /// be gone when their names are wanted.
    fn open_hit_files(&mut self, pid: Pid) {
        if !self.files.live {
            return;
        }
        let processes = &self.tracker.processes;
        let space = processes.space(pid).unwrap_or(&self.nowhere);
        for dso in self.frames.iter().filter_map(|frame| frame.dso) {
            let kind = processes.dsos.get(dso).kind;
            if let DsoKind::Jit(owner) = kind {
                self.generated.hit(owner);
            } else if let Some(file) = self.files.opened.get_mut(&dso) {
                file.is_used = true;
            } else if kind.is_file_relative() && !self.generated.is_dump(dso) {
                self.files.get(pid, space, &processes.dsos, dso);
            }
        }
    }

    /// A round of the rings is over: what comes from now on is newer.
    pub fn finish_round(&mut self) {
        self.had_samples = std::mem::take(&mut self.has_samples);
        self.generated.refresh();
        let read = |pid, addr, into: &mut [u8]| read_memory(pid, addr, into).unwrap_or(0);
        self.watches.look(read);
    }

    /// Closes the files that no sample has hit since the last call, and forgets what was read of them;
    /// returns which. One that is hit again is opened again. Only for running processes.
    pub fn close_unused_files(&mut self) -> Vec<DsoId> {
        let unused = self.files.take_unused();
        unused.iter().for_each(|&dso| self.unwinder.forget(dso));
        unused
    }

    /// How soon samples should be taken in, if at once: their stacks are larger than a copy, and the
    /// rest has to be read before their threads move on.
    pub fn races(&self) -> Option<Duration> {
        let last = self.live_read.filter(|last| last.elapsed() < RACE);
        last.map(|_| match self.has_raced {
            true => RACING_PAUSE,
            false => SHORT_PAUSE,
        })
    }

    /// How long samples may wait, which is `usual` at most. While copies of the stack are small, those of
    /// larger stacks are taken in vain until the first one is seen, two rounds later.
    pub fn longest_wait(&self, usual: Duration) -> Duration {
        match self.copies.are_small() && self.had_samples {
            true => usual.min(SMALL_COPIES_WAIT),
            false => usual,
        }
    }

    /// What unwinding took.
    pub fn unwinder_stats(&self) -> &prof_unwinder::Stats {
        self.unwinder.stats()
    }

    /// Fills in what the profile's ids refer to.
    pub fn finish(&mut self) {
        if let Some(aggregation) = self.aggregation.take() {
            let here = std::mem::replace(&mut self.profile, aggregation.finish());
            self.profile.events = here.events;
            self.profile.losses = here.losses;
        }
        self.profile.dsos = self.tracker.processes.dsos.clone();
        self.profile.comms = self.tracker.processes.comms.clone();
    }
}

/// What the kernel did for itself before anything else of a callchain, without its marker.
fn kernel_part(chain: &[u64]) -> &[u64] {
    match chain {
        [callchain::KERNEL, rest @ ..] => {
            let is_address = |entry: &&u64| **entry < callchain::FIRST;
            &rest[..rest.iter().take_while(is_address).count()]
        }
        _ => &[],
    }
}

/// Whether the times of the records are of the clock that JIT compilers use.
fn is_monotonic(events: &EventSet) -> bool {
    let mut attrs = events.events().iter().map(|event| &event.attr);
    attrs.all(|attr| attr.has(flag::USE_CLOCKID) && attr.clockid == libc::CLOCK_MONOTONIC)
}

fn event_info(event: &Event) -> EventInfo {
    let attr = &event.attr;
    let has = |bit: u64| attr.sample_type & bit != 0;
    EventInfo {
        name: event.name.clone(),
        is_time_like: attr.kind == event_type::SOFTWARE && attr.config <= 1,
        is_tracepoint: attr.kind == event_type::TRACEPOINT,
        has_callchain: has(sample::CALLCHAIN),
        has_cpu: has(sample::CPU),
        sample_freq: attr.frequency(),
        sample_period: match attr.frequency() {
            Some(_) => None,
            None => Some(attr.sample_period_or_freq),
        },
    }
}
