//! From the samples that arrive to those that are finished.
//!
//! Most samples are finished when they arrive: they weigh what they say. A sample of a group of events
//! is not: it carries counters, and what they have counted since the sample before makes one finished
//! sample of each event. What becomes complete only with a later record, as a wait does, is made a record of its
//! own by then (`waits`).
//!
//! In: samples in time order, live or from a file. Out: [`FinishedSamples`]. Elsewhere: callchains
//! ([`crate::unwinding`]), the places of their addresses ([`crate::placing`]).

use prof_event::{Counted, EventSet, GroupCounters, ReadValues, Sample};
use prof_model::Tid;

/// What a record completed.
#[derive(Clone, Copy, Debug)]
pub struct FinishedSamples<'a> {
    /// For each finished sample its event, as an index, and its weight in the event's unit.
    pub weights: &'a [(usize, u64)],
    /// What a file has as the counters of the sample that arrived, where it has some.
    pub counters: Option<ReadValues<'a>>,
}

/// Makes finished samples of those that arrive.
#[derive(Debug, Default)]
pub(crate) struct Finishing {
    groups: GroupCounters,
    alone: [(usize, u64); 1], // a sample that is finished when it arrives
}

impl Finishing {
    /// Takes a sample of `event` in.
    pub(crate) fn take<'a>(
        &'a mut self,
        events: &EventSet,
        event: usize,
        sample: &Sample<'a>,
    ) -> FinishedSamples<'a> {
        if sample.read.is_none() {
            self.alone = [(event, sample.period)];
            return FinishedSamples {
                weights: &self.alone,
                counters: None,
            };
        }
        let Counted { members, sums } = self.groups.advance(events, sample);
        FinishedSamples {
            weights: members,
            counters: sums,
        }
    }

    /// Takes note of a sample that is not one of the profile: what its counters stand at belongs to no
    /// later one.
    pub(crate) fn skip(&mut self, events: &EventSet, sample: &Sample<'_>) {
        if sample.read.is_some() {
            self.groups.skip(events, sample);
        }
    }

    /// A thread begins or has ended: its number may have been that of another one before.
    pub(crate) fn forget(&mut self, tid: Tid) {
        self.groups.forget(tid);
    }
}
