//! Finished samples on their way into a profile, and a thread that aggregates those of a file beside the
//! one that reads them.
//!
//! In: samples with their frames, and what is to become of them ([`Keep`]). Out: a profile. Elsewhere:
//! aggregation itself (`prof_profile::Profile`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use prof_model::VirtAddr;
use prof_profile::{Detail, FrameKey, PartId, Profile, Sample};

/// What becomes of a finished sample.
#[derive(Clone, Debug)]
pub enum Keep {
    /// It is counted in the profile.
    Sample,
    /// It is counted, and reports may tell it from others by a detail.
    Detailed(Detail),
    /// It is kept by itself, with these addresses, see
    /// [`PlacedChain::own_addresses`](crate::placing::PlacedChain::own_addresses).
    Logged(Vec<VirtAddr>),
    /// Its frames become part of the profile, because names are wanted for them.
    Frames,
    /// Only its callchain and frames are looked at.
    Nothing,
}

impl Keep {
    /// The same of a wait that a thread with this stack has ended.
    pub(crate) fn woken_by(self, waker: &Arc<[FrameKey]>) -> Self {
        let detail = match self {
            Self::Sample => Detail::default(),
            Self::Detailed(detail) => detail,
            other => return other,
        };
        Self::Detailed(Detail {
            waker: waker.clone(),
            ..detail
        })
    }

    /// Adds the sample to a profile, or what is kept of it.
    pub(crate) fn add(self, sample: &Sample<'_>, profile: &mut Profile) {
        match self {
            Self::Sample => profile.add(sample),
            Self::Detailed(detail) => profile.add_detailed(sample, detail),
            Self::Logged(addresses) => profile.add_to_log(sample, &addresses),
            Self::Frames => profile.add_frames(sample),
            Self::Nothing => {}
        }
    }
}

/// So many samples are handed over at once.
const BATCH: usize = 256;
/// So many batches may wait.
const WAITING: usize = 8;

/// A thread that fills a profile.
pub(crate) struct Aggregation {
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
    pub(crate) fn start(events: &[prof_profile::EventInfo]) -> Option<Self> {
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
    pub(crate) fn add(&mut self, sample: &Sample<'_>, keep: Keep) {
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
    pub(crate) fn finish(mut self) -> Profile {
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
