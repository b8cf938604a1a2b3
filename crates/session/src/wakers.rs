//! Who ended which wait.
//!
//! In: samples of `sched:sched_waking`, which a thread takes when it wakes another one, and samples of
//! `offcpu-time`, as they come in time order. Out: for a wait the stack of the thread that ended it. Waits that go on
//! are told in parts: what ended one is known of its last part.

use std::sync::Arc;

use prof_event::abi::{event_type, sample};
use prof_event::{Event, EventSet, Sample};
use prof_model::Tid;
use prof_profile::FrameKey;
use rustc_hash::FxHashMap;

use crate::placing::PlacedChain;
use crate::waits::OFFCPU_TIME;

/// The event's name.
const WAKINGS: &str = "sched:sched_waking";
/// Where its raw data have the number of the thread that is woken: behind 8 bytes that all tracepoints have and the
/// name of 16. It is so in every kernel that has this tracepoint (since Linux 4.3).
const WOKEN: std::ops::Range<usize> = 24..28;

/// Whether samples of an event tell who wakes whom.
pub(crate) fn is_of_wakings(event: &Event) -> bool {
    event.attr.kind == event_type::TRACEPOINT
        && event.attr.sample_type & sample::RAW != 0
        && event.name == WAKINGS
}

/// The thread that was woken, by a sample of such an event.
pub(crate) fn woken(sample: &Sample<'_>) -> Option<Tid> {
    let bytes = sample.raw?.get(WOKEN)?.try_into().ok()?;
    Some(Tid(i32::from_le_bytes(bytes)))
}

/// The thread that has woken another one.
struct Waking {
    time: u64,
    stack: Arc<[FrameKey]>,
}

/// Who was woken by whom and is not known to have gone on.
#[derive(Default)]
pub(crate) struct Wakers {
    waits: Option<usize>, // events, as indices; none where the recording does not tell both
    wakings: Option<usize>,
    woken: FxHashMap<Tid, Waking>,
}

impl Wakers {
    /// For these events.
    pub(crate) fn of(events: &EventSet) -> Self {
        let position = |is: &dyn Fn(&Event) -> bool| events.events().iter().rposition(is);
        let waits = position(&|event| event.name == OFFCPU_TIME);
        Self {
            wakings: waits.and_then(|_| position(&is_of_wakings)),
            waits,
            woken: FxHashMap::default(),
        }
    }

    /// Takes in a sample of any event. Returns, of a wait, the stack of who ended it, innermost first, where that
    /// is known.
    pub(crate) fn take(
        &mut self,
        event: usize,
        sample: &Sample<'_>,
        placed: &PlacedChain<'_>,
    ) -> Option<Arc<[FrameKey]>> {
        self.wakings?;
        let time = sample.time?;
        if self.wakings == Some(event) {
            let frames = placed.all_frames().map(|(frame, _)| *frame);
            let stack = frames.collect();
            self.woken.insert(woken(sample)?, Waking { time, stack });
            return None;
        }
        if self.waits != Some(event) {
            return None;
        }
        let waking = self.woken.remove(&sample.tid)?;
        let began = time.saturating_sub(sample.period);
        (began <= waking.time && waking.time <= time).then_some(waking.stack)
    }
}
