//! Samples of a file on their way into a profile: one thread reads them and finds their places, a second
//! one aggregates.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use prof_profile::{FrameKey, PartId, Profile, Sample};

use crate::stage::Keep;

/// So many samples are handed over at once.
const BATCH: usize = 256;
/// So many batches may wait.
const WAITING: usize = 8;

/// A thread that fills a profile.
pub struct Aggregation {
    batch: Batch,
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
    thread: JoinHandle<Profile>,
    parts: Vec<bool>, // by PartId: whether its frames were handed over
}

/// Samples one after the other.
#[derive(Default)]
struct Batch {
    samples: Vec<Waiting>,
    frames: Vec<FrameKey>,
}

/// A sample whose frames are elsewhere.
struct Waiting {
    sample: Sample<'static>,
    inner: Option<(PartId, usize)>, // with how many frames: 0 if they were handed over before
    callers: usize,
    keep: Keep,
}

impl Aggregation {
    /// Starts the thread; `None` if there can be no further one.
    pub fn start(events: &[prof_profile::EventInfo]) -> Option<Self> {
        let mut profile = Profile::new(events.to_vec());
        let (full, batches) = sync_channel::<Batch>(WAITING);
        let (emptied, empty) = channel();
        let run = move || {
            for mut batch in batches {
                batch.add_to(&mut profile);
                let _ = emptied.send(batch); // at the end nobody takes it
            }
            profile
        };
        let thread = Builder::new().name("aggregation".to_owned()).spawn(run);
        Some(Self {
            batch: Batch::default(),
            full,
            empty,
            thread: thread.ok()?,
            parts: Vec::new(),
        })
    }

    /// Takes in a sample.
    pub fn add(&mut self, sample: &Sample<'_>, keep: Keep) {
        if matches!(keep, Keep::Nothing) {
            return; // it would not make a part known
        }
        let inner = sample.inner.map(|(part, frames)| {
            let frames = if self.is_new(part) { frames } else { &[] };
            self.batch.frames.extend_from_slice(frames);
            (part, frames.len())
        });
        self.batch.frames.extend_from_slice(sample.frames);
        self.batch.samples.push(Waiting {
            inner,
            callers: sample.frames.len(),
            sample: Sample {
                inner: None,
                frames: &[],
                ..*sample
            },
            keep,
        });
        if self.batch.samples.len() == BATCH {
            self.hand_over();
        }
    }

    /// Whether the thread does not know these frames yet; it does from now on.
    fn is_new(&mut self, PartId(part): PartId) -> bool {
        let part = part as usize;
        if self.parts.len() <= part {
            self.parts.resize(part + 1, false);
        }
        !std::mem::replace(&mut self.parts[part], true)
    }

    fn hand_over(&mut self) {
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        let _ = self.full.send(batch); // fails if the thread panicked, which `finish` passes on
    }

    /// The profile with all samples.
    pub fn finish(mut self) -> Profile {
        self.hand_over();
        drop(self.full);
        let profile = self.thread.join();
        profile.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Batch {
    fn add_to(&mut self, profile: &mut Profile) {
        let mut rest = &self.frames[..];
        let mut next = |count| {
            let (frames, others) = rest.split_at(count);
            rest = others;
            frames
        };
        for waiting in self.samples.drain(..) {
            let inner = waiting.inner.map(|(part, count)| (part, next(count)));
            let sample = Sample {
                inner,
                frames: next(waiting.callers),
                ..waiting.sample
            };
            waiting.keep.add(&sample, profile);
        }
        self.frames.clear();
    }
}
