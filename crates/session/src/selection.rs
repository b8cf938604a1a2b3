//! Which samples of a recording are read, and what is noted beside them.
//!
//! In: the records of a file. Out: those that are wanted, passed on to a [`Pipeline`] with what is to be
//! kept of each. Elsewhere: filters by name, which need names first (`prof-report`).

use std::collections::BTreeMap;
use std::sync::Arc;

use prof_event::abi::event_type;
use prof_event::{Record, Sample};
use prof_model::{Pid, Tid};
use prof_perfdata::{Item, Recording};
use prof_profile::{Detail, FrameKey};
use prof_tracepoint::Tracepoints;
use rustc_hash::FxHashSet;

use crate::aggregation::Keep;
use crate::branches::BranchUse;
use crate::error::LoadError;
use crate::load;
use crate::pipeline::{Pipeline, event_infos};
use crate::placing::faulted_data;
use crate::read_options::ReadOptions;
use crate::time_slices::{RecordedTimes, TimeRanges, TimeSlices};
use crate::tracepoints;

/// What a report wants to know of each sample beyond its stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// In which interval of so many nanoseconds it was taken.
    pub interval: Option<u64>,
    /// In which of about so many parts of the recording.
    pub slices: Option<u64>,
    /// A tracepoint's fields as text.
    pub text: bool,
    /// Whether waits are told apart by who ended them.
    pub wakers: bool,
    /// The same, if the recording has tracepoints at all.
    pub usual_text: bool,
    /// What each thread counted in all.
    pub counters: bool,
    /// Source lines.
    pub lines: bool,
    /// Names of the data that page faults were about.
    pub data: bool,
    /// What becomes of the branches of samples.
    pub branches: BranchUse,
    /// Names only: the samples are read once more, one by one.
    pub only_frames: bool,
    /// The samples one by one, unless the recording has tracepoints or samples of memory accesses.
    pub log: bool,
}

/// The length of a slice, in nanoseconds, where only the last sample tells how long the recording is.
const UNKNOWN_SLICE: u64 = 10_000_000;

/// What each thread counted, by event: told by READ records.
pub type Counters = BTreeMap<(Pid, Tid), Vec<u64>>;

/// Decides sample by sample.
pub struct Selection {
    ranges: Option<TimeRanges>,
    /// From when to when was recorded, where that had to be known.
    recorded: Option<(u64, u64)>,
    wanted: Wanted,
    tracepoints: Tracepoints,
    /// The places that are to be named and lie in no callchain: those of data and of branches.
    pub places: FxHashSet<FrameKey>,
    /// What each thread counted.
    pub counters: Counters,
}

impl Selection {
    /// Looks into the recording for what the selection needs to know beforehand.
    ///
    /// # Errors
    /// `--time` asks for shares of a recording without times.
    pub fn new(
        recording: &mut Recording,
        options: &ReadOptions,
        wanted: Wanted,
    ) -> Result<Self, LoadError> {
        let mut events = recording.events().events().iter();
        let has_tracepoints = events.any(|event| event.attr.kind == event_type::TRACEPOINT);
        let has_memory = event_infos(recording.events())
            .iter()
            .any(|it| it.is_memory);
        let slice = wanted.slices.map(|slices| {
            let times = recording.features().sample_time;
            let length = times.map(|(first, last)| last.saturating_sub(first) / slices.max(1) + 1);
            length.unwrap_or(UNKNOWN_SLICE)
        });
        let wanted = Wanted {
            text: wanted.text || wanted.usual_text && has_tracepoints,
            log: wanted.log && !has_tracepoints && !has_memory,
            branches: match (wanted.branches, recording.features().branch_stacks) {
                (BranchUse::CountedIfUsual, true) => BranchUse::Counted,
                (BranchUse::CountedIfUsual, false) => BranchUse::Ignored,
                (asked, _) => asked,
            },
            interval: wanted.interval.or(slice),
            ..wanted
        };
        let samples = match &options.time {
            Some(slices) => times(recording, options, slices)?,
            None => None,
        };
        let recorded = samples.and_then(|samples| recorded_span(recording, Some(samples)));
        let ranges = options.time.as_ref().map(|slices| {
            slices.ranges(&RecordedTimes {
                samples: samples.unwrap_or_default(),
                began: recorded.map_or(0, |(began, _)| began),
                clock: recording.features().clock,
            })
        });
        let tracepoints = match wanted.text {
            true => tracepoints::read(recording).unwrap_or_default(),
            false => Tracepoints::default(),
        };
        Ok(Self {
            ranges,
            recorded,
            wanted,
            tracepoints,
            places: FxHashSet::default(),
            counters: Counters::new(),
        })
    }

    /// What becomes of the branches of samples.
    pub fn branches(&self) -> BranchUse {
        self.wanted.branches
    }

    /// From when to when was recorded, where parts of it were asked for and samples have times; and whether
    /// the parts were taken as seconds from its beginning.
    pub fn recorded_times(&self) -> Option<((u64, u64), bool)> {
        let from_start = self.ranges.as_ref()?.from_start;
        Some((self.recorded?, from_start))
    }

    /// Whether a sample of that time is wanted. Without times there is nothing to choose by.
    pub fn has(&self, time: Option<u64>) -> bool {
        match (&self.ranges, time) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(TimeRanges { ranges, .. }), Some(time)) => {
                ranges.iter().any(|range| range.contains(&time))
            }
        }
    }

    /// Hands a record to `pipeline`, unless it is a sample that is not wanted.
    pub fn take(&mut self, pipeline: &mut Pipeline, item: &Item<'_>) {
        let Item {
            events, decoded, ..
        } = *item;
        match &decoded.record {
            Record::Sample(sample) if !self.has(sample.time) => pipeline.skip(events, sample),
            Record::Sample(sample) => self.take_sample(pipeline, item, sample),
            Record::Read { pid, tid, values } if self.wanted.counters => {
                let counters = self.counters.entry((*pid, *tid)).or_default();
                counters.resize(events.events().len(), 0);
                for (value, id) in values.iter() {
                    let event = id.and_then(|id| events.by_id(id));
                    let event = event.unwrap_or(decoded.event);
                    if let Some(counter) = counters.get_mut(event) {
                        *counter = value;
                    }
                }
            }
            _ => {
                pipeline.take(events, decoded, item.chain_end);
            }
        }
    }

    fn take_sample(&mut self, pipeline: &mut Pipeline, item: &Item<'_>, sample: &Sample<'_>) {
        let Item {
            events,
            decoded,
            chain_end: end,
            ..
        } = *item;
        let taken = if self.wanted.interval.is_some() || self.wanted.text || self.wanted.wakers {
            pipeline.take_as(events, decoded, end, |event, _, _| {
                Keep::Detailed(self.detail(item, event, sample))
            })
        } else if self.wanted.log {
            pipeline.take_as(events, decoded, end, |event, placed, tracker| {
                let event = &events.events()[event];
                Keep::Logged(placed.own_addresses(event, &tracker.processes.dsos))
            })
        } else if self.wanted.only_frames {
            pipeline.take_as(events, decoded, end, |_, _, _| Keep::Frames)
        } else {
            pipeline.take(events, decoded, end)
        };
        if self.wanted.branches == BranchUse::Placed {
            let branches = taken.iter().flat_map(|taken| taken.branches);
            let places = branches.flat_map(|branch| [branch.from, branch.to]);
            self.places.extend(places);
        }
        if self.wanted.data {
            let event = &events.events()[decoded.event];
            let data = faulted_data(&pipeline.tracker, event, sample);
            self.places.extend(data.map(|(_, place)| place));
        }
    }

    fn detail(&self, item: &Item<'_>, event: usize, sample: &Sample<'_>) -> Detail {
        let attr = &item.events.events()[event].attr;
        let is_trace = self.wanted.text && attr.kind == event_type::TRACEPOINT;
        let text = match sample.raw.filter(|_| is_trace) {
            Some(raw) => self.tracepoints.print(attr.config, raw, &|_| None),
            None => String::new(),
        };
        let interval = self.wanted.interval.zip(sample.time);
        Detail {
            interval: interval.map_or(0, |(length, time)| time - time % length.max(1)),
            text: Arc::from(text),
            ..Detail::default()
        }
    }
}

/// From when to when was recorded, in nanoseconds of the recording's clock: as the file tells, but no less
/// than from its first sample to its last one.
pub(crate) fn recorded_span(
    recording: &Recording,
    samples: Option<(u64, u64)>,
) -> Option<(u64, u64)> {
    let stored = recording.stored_names().and_then(|names| names.span);
    match (stored, samples) {
        (Some((began, ended)), Some((first, last))) => Some((began.min(first), ended.max(last))),
        (stored, sampled) => stored.or(sampled),
    }
}

/// The times of the first and the last sample; `None` if they have none.
fn times(
    recording: &mut Recording,
    options: &ReadOptions,
    slices: &TimeSlices,
) -> Result<Option<(u64, u64)>, LoadError> {
    let mut times = recording.features().sample_time;
    if times.is_none() {
        load::for_each(recording, &options.name(), |item| {
            if let Record::Sample(Sample {
                time: Some(time), ..
            }) = item.decoded.record
            {
                let (first, last) = times.unwrap_or((time, time));
                times = Some((first.min(time), last.max(time)));
            }
        })?;
    }
    let asked = || slices.text.clone();
    if times.is_none() && slices.need_times() {
        return Err(LoadError::NoTimes {
            name: options.name(),
            asked: asked(),
        });
    }
    if slices.need_clock() && recording.features().clock.is_none() {
        return Err(LoadError::NoClock {
            name: options.name(),
            asked: asked(),
        });
    }
    Ok(times)
}
