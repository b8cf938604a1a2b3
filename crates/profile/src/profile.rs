use prof_model::{ChainEnd, CommId, CommTable, Cpu, CpuMode, DsoTable, Pid, Tid, VirtAddr};

use crate::interner::Interner;
use crate::sample_log::SampleLog;
use crate::{Detail, DetailId, FrameId, FrameKey, Lifetimes, LogReader, StackId, StackTable, Unit};

/// What is known about an event that was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventInfo {
    /// As perf prints it, with modifiers: `cpu-clock:pppH`.
    pub name: String,
    /// What its periods count.
    pub unit: Unit,
    /// It is a tracepoint: its samples have a payload and a period that means little.
    pub is_tracepoint: bool,
    /// It is a processor's own event whose samples tell of an access to memory.
    pub is_memory: bool,
    /// Samples carry a callchain.
    pub has_callchain: bool,
    /// Samples carry the CPU.
    pub has_cpu: bool,
    /// Samples per second asked for, if a rate was.
    pub sample_freq: Option<u64>,
    /// Events between two samples, if a period was asked for.
    pub sample_period: Option<u64>,
}

impl EventInfo {
    /// Whether pictures weigh samples by their periods rather than count them. Time on a CPU is sampled
    /// evenly, and so is what has a fixed period: people count those. But one wait may be long and another
    /// one short, and a block of memory large or small.
    pub fn weighs_by_period(&self) -> bool {
        match self.unit {
            Unit::CpuTime => false,
            Unit::Count => self.sample_period.is_none(),
            Unit::WaitTime | Unit::Bytes => true,
        }
    }

    /// How often it was sampled, for people: `99 Hz`, `every 1000`.
    pub fn rate(&self) -> String {
        match (self.sample_freq, self.sample_period) {
            (Some(hz), _) => format!("{hz} Hz"),
            (None, period) => format!("every {}", period.unwrap_or(0)),
        }
    }

    /// The word behind what pictures weigh: `samples`, or what periods count.
    pub fn weight_label(&self) -> &str {
        match self.weighs_by_period() {
            true => self.unit.label(&self.name),
            false => "samples",
        }
    }
}

/// What the recorder could not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Losses {
    /// Records of any kind that did not fit into a ring.
    pub lost_records: u64,
    /// Samples among them, where the kernel counts these.
    pub lost_samples: u64,
    /// How often the kernel paused an event because its interrupts took too long.
    pub throttled: u64,
}

impl Losses {
    /// How much was lost: samples where the kernel counts them, else records of any kind.
    pub fn lost(&self) -> u64 {
        self.lost_samples.max(self.lost_records)
    }
}

/// What the caller calls the inner frames of a stack that come again and again: as long as it calls
/// the same frames so, they are looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartId(pub u32);

/// One sample on its way into a profile.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Index in [`Profile::events`].
    pub event: u16,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The thread's name at that time, in [`Profile::comms`].
    pub comm: Option<CommId>,
    /// Where it ran, if recorded.
    pub cpu: Option<Cpu>,
    /// When, in nanoseconds of the recording's clock, if recorded.
    pub time: Option<u64>,
    /// How many events it stands for.
    pub period: u64,
    /// Inner frames that come again and again, and what they are known as. The frames themselves are
    /// looked at where the profile does not know them yet.
    pub inner: Option<(PartId, &'a [FrameKey])>,
    /// The callers of the inner frames, or all, innermost first, as a callchain is recorded. The first
    /// one of the stack is the interrupted instruction.
    pub frames: &'a [FrameKey],
    /// Why there is no further frame.
    pub end: ChainEnd,
}

/// What the samples of one entry have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleKey {
    /// Index in [`Profile::events`].
    pub event: u16,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The thread's name.
    pub comm: Option<CommId>,
    /// Where they ran.
    pub cpu: Option<Cpu>,
    /// Why there is no further frame.
    pub end: ChainEnd,
    /// The frames; never [`StackId::ROOT`].
    pub stack: StackId,
}

/// What entries have in common that differ by nothing but their stacks: a [`SampleKey`] by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(u32);

/// An entry: its context's number and its stack.
type EntryKey = (u32, StackId);

const _: () = assert!(size_of::<EntryKey>() == 8); // hashed once per sample

/// How much an entry weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Weight {
    /// Number of samples.
    pub samples: u64,
    /// Sum of their periods, in events.
    pub period: u64,
}

impl std::ops::AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        // a file may claim any period: a sum beyond 2^64 stays at its limit
        self.samples = self.samples.saturating_add(other.samples);
        self.period = self.period.saturating_add(other.period);
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(weights: I) -> Self {
        weights.fold(Self::default(), |mut sum, weight| {
            sum += weight;
            sum
        })
    }
}

/// Samples, aggregated. Ids of its tables stay valid while it grows.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The events; [`SampleKey::event`] is an index.
    pub events: Vec<EventInfo>,
    /// The DSOs that [`FrameKey::dso`] refers to. The caller fills it, at the latest at the end.
    pub dsos: DsoTable,
    /// The names that [`SampleKey::comm`] refers to. The caller fills it, at the latest at the end.
    pub comms: CommTable,
    /// What is missing from the samples.
    pub losses: Losses,
    /// From when to when threads were there.
    pub lifetimes: Lifetimes,
    frames: Interner<FrameKey>,
    stacks: StackTable,
    contexts: Interner<SampleKey>, // without stacks: a fraction of the entries
    entries: Interner<EntryKey>,
    weights: Vec<Weight>, // by entry
    details: Interner<Detail>,
    detailed: Interner<(u32, DetailId)>, // entries, apart by detail
    detailed_weights: Vec<Weight>,
    ends: [u64; ChainEnd::ALL.len()],
    times: Option<(u64, u64)>,
    parts: Vec<Option<StackId>>, // by PartId
    last_user: LastStack,
    last_kernel: LastStack,
    log: SampleLog,
}

/// A sample's stack, which the next one's often resembles, outermost first.
#[derive(Clone, Debug, Default)]
struct LastStack(Vec<(FrameKey, StackId)>);

impl LastStack {
    /// The stack of these frames, which come innermost first.
    ///
    /// What the last stack has in common with this one costs a comparison, the rest two hash look-ups
    /// per frame.
    fn advance(
        &mut self,
        frames: &[FrameKey],
        (ids, stacks): (&mut Interner<FrameKey>, &mut StackTable),
    ) -> StackId {
        let outermost_first = frames.iter().rev();
        let both = self.0.iter().zip(outermost_first.clone());
        let common = both.take_while(|((key, _), frame)| key == *frame).count();
        self.0.truncate(common);
        let mut stack = self.0.last().map_or(StackId::ROOT, |&(_, stack)| stack);
        for &key in outermost_first.skip(common) {
            stack = stacks.push(stack, FrameId(ids.intern(key)));
            self.0.push((key, stack));
        }
        stack
    }
}

impl Profile {
    /// A profile of these events, without samples.
    pub fn new(events: Vec<EventInfo>) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    /// Adds one sample. One without frames counts as a frame at address 0 outside every mapping.
    pub fn add(&mut self, sample: &Sample<'_>) {
        self.add_to_entry(sample);
    }

    /// Adds one sample with a detail by which reports can tell it from others of its entry.
    pub fn add_detailed(&mut self, sample: &Sample<'_>, detail: Detail) {
        let entry = self.add_to_entry(sample);
        for &frame in &*detail.waker {
            self.frames.intern(frame);
        }
        let detail = DetailId(self.details.intern(detail));
        let at = self.detailed.intern((entry, detail));
        add_to(&mut self.detailed_weights, at, sample.period);
    }

    fn add_to_entry(&mut self, sample: &Sample<'_>) -> u32 {
        const NOWHERE: &[FrameKey] = &[FrameKey {
            mode: CpuMode::Unknown,
            dso: None,
            shown: 0,
            lookup: 0,
        }];
        let frames = match (sample.inner, sample.frames) {
            (None, []) => NOWHERE,
            (_, frames) => frames,
        };
        let context = self.intern_context(sample);
        let stack = self.intern_stack(sample, frames);
        let entry = self.entries.intern((context, stack));
        add_to(&mut self.weights, entry, sample.period);
        self.ends[sample.end as usize] += 1;
        if let Some(time) = sample.time {
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
        }
        entry
    }

    fn intern_context(&mut self, sample: &Sample<'_>) -> u32 {
        self.contexts.intern(SampleKey {
            event: sample.event,
            pid: sample.pid,
            tid: sample.tid,
            comm: sample.comm,
            cpu: sample.cpu,
            end: sample.end,
            stack: StackId::ROOT,
        })
    }

    fn intern_stack(&mut self, sample: &Sample<'_>, frames: &[FrameKey]) -> StackId {
        match sample.inner {
            Some(inner) => {
                let inner = self.intern_part(inner);
                let callers = self.intern_user(frames);
                self.stacks.join(callers, inner)
            }
            None => self.intern(frames),
        }
    }

    /// The stack of these frames, which come innermost first.
    pub fn intern(&mut self, frames: &[FrameKey]) -> StackId {
        let is_kernel = |frame: &&FrameKey| frame.mode == CpuMode::Kernel;
        let (kernel, user) = frames.split_at(frames.iter().take_while(is_kernel).count());
        let kernel = self.intern_kernel(kernel);
        let user = self.intern_user(user);
        self.stacks.join(user, kernel)
    }

    fn intern_part(&mut self, (PartId(part), frames): (PartId, &[FrameKey])) -> StackId {
        let part = part as usize;
        if let Some(&Some(known)) = self.parts.get(part) {
            return known;
        }
        let stack = self.intern_kernel(frames);
        if self.parts.len() <= part {
            self.parts.resize(part + 1, None);
        }
        self.parts[part] = Some(stack);
        stack
    }

    fn intern_kernel(&mut self, frames: &[FrameKey]) -> StackId {
        let tables = (&mut self.frames, &mut self.stacks);
        self.last_kernel.advance(frames, tables)
    }

    fn intern_user(&mut self, frames: &[FrameKey]) -> StackId {
        let tables = (&mut self.frames, &mut self.stacks);
        self.last_user.advance(frames, tables)
    }

    /// Takes in a sample by itself, with addresses that its frames do not tell: it is not counted. Where
    /// that would take too much memory all of them are forgotten again, except for their frames.
    pub fn add_to_log(&mut self, sample: &Sample<'_>, addresses: &[VirtAddr]) {
        if self.log.is_lost() {
            return self.add_frames(sample);
        }
        let context = self.intern_context(sample);
        let stack = self.intern_stack(sample, sample.frames);
        let when = (sample.time, sample.period);
        self.log.push((context, stack), when, addresses);
        if self.log.is_too_large(self.stacks.len()) {
            self.log.give_up();
        }
    }

    /// The samples one by one, if they came for that and were few enough.
    pub fn log(&self) -> Option<LogReader<'_>> {
        (!self.log.is_empty()).then(|| LogReader {
            log: &self.log,
            contexts: self.contexts.values(),
            stacks: &self.stacks,
        })
    }

    /// Takes in the frames, to be named, of a sample that is not counted.
    pub fn add_frames(&mut self, sample: &Sample<'_>) {
        self.intern_context(sample);
        if let Some(inner) = sample.inner {
            self.intern_part(inner);
        }
        for &frame in sample.frames {
            self.frames.intern(frame);
        }
    }

    /// Takes in a place that is to be named, and is no sample's frame.
    pub fn add_place(&mut self, place: FrameKey) {
        self.frames.intern(place);
    }

    /// The key of an entry.
    fn key(&self, (context, stack): EntryKey) -> SampleKey {
        SampleKey {
            stack,
            ..self.contexts.values()[context as usize]
        }
    }

    /// The entries in the order in which they came first.
    pub fn samples(&self) -> impl Iterator<Item = (SampleKey, Weight)> {
        let entries = self.entries.values().iter().zip(&self.weights);
        entries.map(|(&entry, &weight)| (self.key(entry), weight))
    }

    /// The entries of one event: their contexts in the order of their keys, those of one context in
    /// no order that says anything.
    pub fn entries(
        &self,
        event: u16,
    ) -> impl ExactSizeIterator<Item = (ContextId, StackId, Weight)> + '_ {
        self.by_context(event).into_iter().map(|number| {
            let number = number as usize;
            let (context, stack) = self.entries.values()[number];
            (ContextId(context), stack, self.weights[number])
        })
    }

    /// The entries of one event in the order of their keys.
    pub fn sorted_samples(&self, event: u16) -> Vec<(SampleKey, Weight)> {
        let mut numbers = self.by_context(event);
        let entry = |number: u32| self.entries.values()[number as usize];
        let contexts = numbers.chunk_by_mut(|&left, &right| entry(left).0 == entry(right).0);
        for numbers in contexts {
            numbers.sort_unstable_by_key(|&number| entry(number).1);
        }
        let weighed = |number| (self.key(entry(number)), self.weights[number as usize]);
        numbers.into_iter().map(weighed).collect()
    }

    /// The numbers of an event's entries, by the places of their contexts in the order of keys.
    fn by_context(&self, event: u16) -> Vec<u32> {
        let entries = self.entries.values();
        let place = self.order(event);
        let place_of = |&(context, _): &EntryKey| place[context as usize];
        let contexts = self.contexts.values().len();
        let mut ends = vec![0; contexts + 1];
        for place in entries.iter().filter_map(place_of) {
            ends[place as usize + 1] += 1;
        }
        for place in 0..contexts {
            ends[place + 1] += ends[place];
        }
        let mut numbers = vec![0; ends[contexts]];
        for (number, entry) in (0_u32..).zip(entries) {
            if let Some(place) = place_of(entry) {
                let next = &mut ends[place as usize];
                numbers[*next] = number;
                *next += 1;
            }
        }
        numbers
    }

    /// The entries of one event, apart where their samples have different details; in the order of
    /// their keys. Only samples that came with a detail.
    pub fn detailed_entries(&self, event: u16) -> Vec<(ContextId, StackId, DetailId, Weight)> {
        let weighed = self.detailed.values().iter().zip(&self.detailed_weights);
        let entries = weighed.map(|(&(entry, detail), &weight)| {
            let (context, stack) = self.entries.values()[entry as usize];
            (ContextId(context), stack, detail, weight)
        });
        let of_event = |&(context, ..): &(ContextId, _, _, _)| self.context(context).event == event;
        let mut entries: Vec<_> = entries.filter(of_event).collect();
        entries.sort_unstable_by_key(|&(context, stack, detail, _)| {
            (self.sample_key(context, stack), detail)
        });
        entries
    }

    /// As [`Profile::detailed_entries`], by their keys.
    pub fn detailed_samples(&self, event: u16) -> Vec<(SampleKey, DetailId, Weight)> {
        let entries = self.detailed_entries(event).into_iter();
        entries
            .map(|(context, stack, detail, weight)| {
                (self.sample_key(context, stack), detail, weight)
            })
            .collect()
    }

    /// Gives the samples of an event other weights, by their keys and details. Those without details weigh nothing from
    /// then on.
    pub fn weigh_anew(
        &mut self,
        event: u16,
        mut weigh: impl FnMut(&SampleKey, &Detail, Weight) -> Weight,
    ) {
        let contexts = self.contexts.values();
        let is_of_event = |entry: u32| {
            let (context, _) = self.entries.values()[entry as usize];
            contexts[context as usize].event == event
        };
        let mut weights = self.weights.clone();
        for (entry, weight) in (0..).zip(&mut weights) {
            if is_of_event(entry) {
                *weight = Weight::default();
            }
        }
        let mut detailed_weights = self.detailed_weights.clone();
        let detailed = self.detailed.values().iter().zip(&mut detailed_weights);
        for (&(entry, detail), weight) in detailed.filter(|((entry, _), _)| is_of_event(*entry)) {
            let key = self.key(self.entries.values()[entry as usize]);
            *weight = weigh(&key, self.detail(detail), *weight);
            weights[entry as usize] += *weight;
        }
        self.weights = weights;
        self.detailed_weights = detailed_weights;
    }

    /// What entries of a context have in common; its stack is [`StackId::ROOT`].
    pub fn context(&self, id: ContextId) -> &SampleKey {
        &self.contexts.values()[id.0 as usize]
    }

    /// The key of a context's entry.
    pub fn sample_key(&self, context: ContextId, stack: StackId) -> SampleKey {
        self.key((context.0, stack))
    }

    /// The place of each context of an event in the order of keys.
    fn order(&self, event: u16) -> Vec<Option<u32>> {
        let contexts = self.contexts.values();
        let mut sorted: Vec<(SampleKey, usize)> = contexts.iter().copied().zip(0..).collect();
        sorted.retain(|(key, _)| key.event == event);
        sorted.sort_unstable();
        let mut order = vec![None; contexts.len()];
        for (place, (_, context)) in (0..).zip(sorted) {
            order[context] = Some(place);
        }
        order
    }

    /// A detail of this profile.
    pub fn detail(&self, id: DetailId) -> &Detail {
        &self.details.values()[id.0 as usize]
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weight of all samples of an event.
    pub fn total(&self, event: u16) -> Weight {
        let samples = self.samples().filter(|(key, _)| key.event == event);
        samples.map(|(_, weight)| weight).sum()
    }

    /// Whether there are samples of an event, counted or not.
    pub fn has_samples(&self, event: u16) -> bool {
        let mut contexts = self.contexts.values().iter();
        contexts.any(|context| context.event == event)
    }

    /// The stacks.
    pub fn stacks(&self) -> &StackTable {
        &self.stacks
    }

    /// Every frame with its id, by id.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (FrameId, &FrameKey)> {
        self.frames
            .values()
            .iter()
            .enumerate()
            .map(|(index, key)| (FrameId(index as u32), key))
    }

    /// What a frame of this profile is.
    pub fn frame(&self, id: FrameId) -> &FrameKey {
        &self.frames.values()[id.index()]
    }

    /// The id of a frame, if a sample had it.
    pub fn frame_id(&self, key: &FrameKey) -> Option<FrameId> {
        self.frames.find(key).map(FrameId)
    }

    /// How many samples ended for each reason, by the number of the reason.
    pub fn ends(&self) -> [u64; ChainEnd::ALL.len()] {
        self.ends
    }

    /// The earliest and the latest sample, in nanoseconds; `None` if none had a time.
    pub fn times(&self) -> Option<(u64, u64)> {
        self.times
    }
}

/// Counts one sample for the entry with that number, which is at most the next one.
fn add_to(weights: &mut Vec<Weight>, entry: u32, period: u64) {
    let entry = entry as usize;
    if entry == weights.len() {
        weights.push(Weight::default());
    }
    weights[entry] += Weight { samples: 1, period };
}
