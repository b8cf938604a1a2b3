//! What the pipeline made of records, in a form to compare.

use prof_event::{Decoded, EventSet};
use prof_model::{ChainEnd, CpuMode, DsoId, DsoTable};
use prof_perfdata::Features;
use prof_profile::{FrameKey, Profile, SampleKey, Weight};
use prof_session::load::{open, pipeline};
use prof_session::{DEFAULT_MAX_STACK, Pipeline, ReadOptions, StackCopySize, TakenSample};

use super::Records;

/// Mode, path of the DSO, `shown` and `lookup`.
pub(crate) type Frame = (CpuMode, String, u64, u64);

/// What became of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taken {
    pub(crate) chain: Vec<u64>,
    pub(crate) end: ChainEnd,
    pub(crate) weights: Vec<(usize, u64)>,
    pub(crate) frames: Vec<Frame>,
    /// Of the frames, how many are kept apart as the kernel's part, and as which number.
    pub(crate) inner: Option<(u32, usize)>,
}

impl Taken {
    fn of(taken: &TakenSample<'_>) -> Self {
        let dsos = &taken.tracker.processes.dsos;
        let frames = taken.placed.all_frames();
        Self {
            chain: taken.chain.to_vec(),
            end: taken.end,
            weights: taken.weights.to_vec(),
            frames: frames.map(|(frame, _)| describe(frame, dsos)).collect(),
            inner: taken.placed.inner.map(|(part, it)| (part.0, it.len())),
        }
    }

    /// The DSOs of the frames.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.frames.iter().map(|(_, path, ..)| &path[..]).collect()
    }

    /// `shown` and `lookup` of the frames.
    pub(crate) fn addresses(&self) -> Vec<(u64, u64)> {
        let frames = self.frames.iter();
        frames.map(|&(.., shown, lookup)| (shown, lookup)).collect()
    }
}

fn describe(frame: &FrameKey, dsos: &DsoTable) -> Frame {
    let path = |id: DsoId| dsos.get(id).long_name().into_owned();
    let path = frame.dso.map_or_else(|| "-".to_owned(), path);
    (frame.mode, path, frame.shown, frame.lookup)
}

/// A pipeline as a recording that runs has it.
pub(crate) fn live(events: &EventSet) -> Pipeline {
    Pipeline::live(events, events, DEFAULT_MAX_STACK, StackCopySize::default())
}

/// Hands all records to a pipeline; returns what became of the samples.
pub(crate) fn take_all(pipeline: &mut Pipeline, records: &Records) -> Vec<Taken> {
    let mut all = Vec::new();
    for raw in records.iter() {
        let decoded: Decoded<'_> = records.events.decode(raw).expect("a record");
        let taken = pipeline.take(&records.events, &decoded, None);
        all.extend(taken.as_ref().map(Taken::of));
    }
    all
}

/// What the reader of a recording from a machine of that name makes of its samples.
pub(crate) fn take_from_file(records: &Records, arch: Option<&str>) -> (Vec<Taken>, Pipeline) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("perf.data");
    let features = Features {
        arch: arch.map(str::to_owned),
        ..Features::default()
    };
    records.save(&path, features, None);
    let recording = open(&path).expect("a recording");
    let mut pipeline = pipeline(&recording, &ReadOptions::new(path));
    let taken = take_all(&mut pipeline, records);
    (taken, pipeline)
}

/// What each event of a profile weighs: samples and periods.
pub(crate) fn weights(profile: &Profile) -> Vec<(u64, u64)> {
    let totals = (0..profile.events.len()).map(|event| profile.total(event as u16));
    totals.map(|total| (total.samples, total.period)).collect()
}

/// The entries of a profile, each with its frames, innermost first.
pub(crate) fn entries(profile: &Profile) -> Vec<(SampleKey, Weight, Vec<FrameKey>)> {
    let samples = profile.samples().map(|(key, weight)| {
        let frames = profile.stacks().frames(key.stack);
        let frames = frames.map(|frame| *profile.frame(frame)).collect();
        (key, weight, frames)
    });
    samples.collect()
}
