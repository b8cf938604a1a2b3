use prof_model::{ChainEnd, CommId, CommTable, Cpu, DsoAddr, DsoId, DsoTable, Pid, Tid};
use rustc_hash::FxHashMap;

use crate::detail::DetailTable;
use crate::frame::FrameTable;
use crate::{Detail, DetailId, FrameId, FrameKey, StackId, StackTable};

/// What is known about an event that was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventInfo {
    /// As perf prints it, with modifiers: `cpu-clock:pppH`.
    pub name: String,
    /// Its period counts nanoseconds (cpu-clock, task-clock).
    pub is_time_like: bool,
    /// It is a tracepoint: its samples have a payload and a period that means little.
    pub is_tracepoint: bool,
    /// Samples carry a callchain.
    pub has_callchain: bool,
    /// Samples carry the CPU.
    pub has_cpu: bool,
    /// Samples per second asked for, if a rate was.
    pub sample_freq: Option<u64>,
    /// Events between two samples, if a period was asked for.
    pub sample_period: Option<u64>,
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
    /// Innermost first, as a callchain is recorded. The first one is the interrupted instruction.
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
    /// The frames; never [`StackId::ROOT`].
    pub stack: StackId,
    /// Why there is no further frame.
    pub end: ChainEnd,
}

const _: () = assert!(size_of::<SampleKey>() <= 36); // hashed once per sample

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
    frames: FrameTable,
    stacks: StackTable,
    samples: FxHashMap<SampleKey, Weight>,
    details: DetailTable,
    detailed: FxHashMap<(SampleKey, DetailId), Weight>, // the same samples once more
    ends: [u64; ChainEnd::ALL.len()],
    times: Option<(u64, u64)>,
    last: Vec<(FrameKey, StackId)>, // the last sample's stack, outermost first
}

impl Profile {
    /// A profile of these events, without samples.
    pub fn new(events: Vec<EventInfo>) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    /// Makes room for so many samples, so that tables need not grow step by step. Room that is not
    /// used costs next to nothing.
    pub fn reserve(&mut self, samples: usize) {
        self.samples.reserve(samples);
        self.stacks.reserve(samples);
    }

    /// Adds one sample. One without frames counts as a frame at address 0 outside every mapping.
    pub fn add(&mut self, sample: &Sample<'_>) {
        self.add_to_entry(sample);
    }

    /// Adds one sample with a detail by which reports can tell it from others of its entry.
    pub fn add_detailed(&mut self, sample: &Sample<'_>, detail: Detail) {
        let key = self.add_to_entry(sample);
        let detail = self.details.intern(detail);
        *self.detailed.entry((key, detail)).or_default() += Weight {
            samples: 1,
            period: sample.period,
        };
    }

    fn add_to_entry(&mut self, sample: &Sample<'_>) -> SampleKey {
        const NOWHERE: &[FrameKey] = &[FrameKey {
            mode: prof_model::CpuMode::Unknown,
            dso: None,
            shown: 0,
            lookup: 0,
        }];
        let frames = match sample.frames {
            [] => NOWHERE,
            frames => frames,
        };
        let key = SampleKey {
            event: sample.event,
            pid: sample.pid,
            tid: sample.tid,
            comm: sample.comm,
            cpu: sample.cpu,
            stack: self.intern(frames),
            end: sample.end,
        };
        *self.samples.entry(key).or_default() += Weight {
            samples: 1,
            period: sample.period,
        };
        self.ends[sample.end as usize] += 1;
        if let Some(time) = sample.time {
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
        }
        key
    }

    /// The stack of these frames, which come innermost first.
    ///
    /// Successive samples often differ in their inner frames only: what the last stack has in common
    /// with this one costs a comparison, the rest two hash look-ups per frame.
    pub fn intern(&mut self, frames: &[FrameKey]) -> StackId {
        let outermost_first = frames.iter().rev();
        let common = self
            .last
            .iter()
            .zip(outermost_first.clone())
            .take_while(|((key, _), frame)| key == *frame)
            .count();
        self.last.truncate(common);
        let mut stack = self.last.last().map_or(StackId::ROOT, |&(_, stack)| stack);
        for &key in outermost_first.skip(common) {
            let frame = self.frames.intern(key);
            stack = self.stacks.push(stack, frame);
            self.last.push((key, stack));
        }
        stack
    }

    /// Takes in frames, to be named, of a sample that is not counted.
    pub fn add_frames(&mut self, frames: &[FrameKey]) {
        for &frame in frames {
            self.frames.intern(frame);
        }
    }

    /// Forgets the samples but keeps frames and stacks with their ids: a live view's next interval.
    pub fn clear_samples(&mut self) {
        self.samples.clear();
        self.detailed.clear();
        self.ends = Default::default();
        self.times = None;
    }

    /// The entries, in no order that means anything.
    pub fn samples(&self) -> impl Iterator<Item = (&SampleKey, Weight)> {
        self.samples.iter().map(|(key, &weight)| (key, weight))
    }

    /// The entries of one event in the order of their keys, so that what is made of them does not
    /// depend on the order of a hash table.
    pub fn sorted_samples(&self, event: u16) -> Vec<(SampleKey, Weight)> {
        let mut samples: Vec<_> = self
            .samples
            .iter()
            .filter(|(key, _)| key.event == event)
            .map(|(&key, &weight)| (key, weight))
            .collect();
        samples.sort_unstable_by_key(|&(key, _)| key);
        samples
    }

    /// The entries of one event, apart where their samples have different details; in the order of
    /// their keys. Only samples that came with a detail.
    pub fn detailed_samples(&self, event: u16) -> Vec<(SampleKey, DetailId, Weight)> {
        let mut samples: Vec<_> = self
            .detailed
            .iter()
            .filter(|((key, _), _)| key.event == event)
            .map(|(&(key, detail), &weight)| (key, detail, weight))
            .collect();
        samples.sort_unstable_by_key(|&(key, detail, _)| (key, detail));
        samples
    }

    /// A detail of this profile.
    pub fn detail(&self, id: DetailId) -> &Detail {
        self.details.get(id)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The weight of all samples of an event.
    pub fn total(&self, event: u16) -> Weight {
        self.samples
            .iter()
            .filter(|(key, _)| key.event == event)
            .map(|(_, &weight)| weight)
            .sum()
    }

    /// The stacks.
    pub fn stacks(&self) -> &StackTable {
        &self.stacks
    }

    /// Every frame with its id, by id.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (FrameId, &FrameKey)> {
        self.frames
            .keys()
            .iter()
            .enumerate()
            .map(|(index, key)| (FrameId(index as u32), key))
    }

    /// What a frame of this profile is.
    pub fn frame(&self, id: FrameId) -> &FrameKey {
        &self.frames.keys()[id.index()]
    }

    /// The id of a frame, if a sample had it.
    pub fn frame_id(&self, key: &FrameKey) -> Option<FrameId> {
        self.frames.find(key)
    }

    /// How many samples ended for each reason, by the number of the reason.
    pub fn ends(&self) -> [u64; ChainEnd::ALL.len()] {
        self.ends
    }

    /// The earliest and the latest sample, in nanoseconds; `None` if none had a time.
    pub fn times(&self) -> Option<(u64, u64)> {
        self.times
    }

    /// Where names are wanted: for each DSO that was hit its addresses, ascending, each once.
    pub fn hit_addresses(&self) -> Vec<(DsoId, Vec<DsoAddr>)> {
        hit_addresses(self.frames.keys())
    }
}

/// The look-up addresses of `frames`, by DSO and ascending, each once.
pub(crate) fn hit_addresses(frames: &[FrameKey]) -> Vec<(DsoId, Vec<DsoAddr>)> {
    let mut hits: Vec<(DsoId, DsoAddr)> = frames
        .iter()
        .filter_map(|key| Some((key.dso?, DsoAddr(key.lookup))))
        .collect();
    hits.sort_unstable();
    hits.dedup();
    hits.chunk_by(|left, right| left.0 == right.0)
        .map(|hits| (hits[0].0, hits.iter().map(|&(_, addr)| addr).collect()))
        .collect()
}
