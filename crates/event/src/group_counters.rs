//! A sample of a group tells the counters of all its events: a sample of each.

use prof_model::Tid;
use rustc_hash::FxHashMap;

use crate::abi::flag;
use crate::events::EventSet;
use crate::sample::{ReadValues, Sample};

/// The counters as of the last sample.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// By event id.
    last: FxHashMap<u64, u64>,
    /// An inherited event counts for each thread apart, under one id.
    last_of_threads: FxHashMap<Tid, FxHashMap<u64, u64>>,
    /// What all threads of an event counted, by event id.
    sums: FxHashMap<u64, u64>,
    members: Vec<(usize, u64)>,
    summed: Vec<u8>, // the last sample's counters
}

/// What a sample of a group counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The events that the sample stands for, by index, each with what it counted since the sample
    /// before. Those that counted nothing are left out, as are those that nobody knows.
    pub members: &'a [(usize, u64)],
    /// The counters as they would be if the events were not inherited: each with what all threads have
    /// counted. Readers that know one counter for an id understand that.
    pub sums: Option<ReadValues<'a>>,
}

impl GroupCounters {
    /// What a sample with counters counted since the one before it.
    pub fn advance<'a>(&'a mut self, events: &EventSet, sample: &Sample<'a>) -> Counted<'a> {
        self.take(events, sample, true);
        let Self {
            members,
            sums,
            summed,
            ..
        } = self;
        let sum = |id: Option<u64>| id.or(sample.id).and_then(|id| sums.get(&id).copied());
        let read = sample.read;
        Counted {
            members,
            sums: read.map(|read| read.with_values(|id| sum(id).unwrap_or(0), summed)),
        }
    }

    /// As [`Self::advance`], of a sample from before the recording: what was counted until then is
    /// nobody's.
    pub fn skip(&mut self, events: &EventSet, sample: &Sample<'_>) {
        self.take(events, sample, false);
    }

    fn take(&mut self, events: &EventSet, sample: &Sample<'_>, is_kept: bool) {
        self.members.clear();
        let read = sample.read.iter();
        for (value, id) in read.flat_map(|read| read.iter()) {
            let Some(id) = id.or(sample.id) else { continue };
            let Some(event) = events.by_id(id) else {
                continue;
            };
            let last = match events.events()[event].attr.has(flag::INHERIT) {
                true => self.last_of_threads.entry(sample.tid).or_default(),
                false => &mut self.last,
            };
            let counted = value.saturating_sub(last.insert(id, value).unwrap_or(0));
            if counted != 0 && is_kept {
                let sum = self.sums.entry(id).or_default();
                *sum = sum.saturating_add(counted);
                self.members.push((event, counted));
            }
        }
    }

    /// A thread begins or has ended: its number may have been that of another one before.
    pub fn forget(&mut self, tid: Tid) {
        self.last_of_threads.remove(&tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{read_format, record, sample};
    use crate::attr::EventAttr;
    use crate::encode::RecordBuilder;
    use crate::events::Event;
    use crate::record::{RawRecord, Record};

    /// Two events of one group, with the ids 1 and 2.
    fn group(flags: u64) -> EventSet {
        let mut events = EventSet::default();
        for id in [1, 2] {
            events.push(Event {
                attr: EventAttr {
                    sample_type: sample::ID | sample::TID | sample::READ,
                    read_format: read_format::GROUP | read_format::ID,
                    flags,
                    ..EventAttr::default()
                },
                name: id.to_string(),
                ids: vec![id],
            });
        }
        events
    }

    /// Shows a sample with these counters.
    fn with_sample<T>(
        events: &EventSet,
        tid: u32,
        values: [u64; 2],
        show: impl FnOnce(&Sample<'_>) -> T,
    ) -> T {
        let mut bytes = Vec::new();
        RecordBuilder::new(&mut bytes, record::SAMPLE, 2)
            .u32(5)
            .u32(tid)
            .u64(1)
            .u64(2)
            .u64(values[0])
            .u64(1)
            .u64(values[1])
            .u64(2)
            .finish()
            .unwrap();
        let decoded = events.decode(RawRecord::parse(&bytes).unwrap()).unwrap();
        let Record::Sample(sample) = &decoded.record else {
            panic!("a sample");
        };
        show(sample)
    }

    /// What each event counted, and the sums so far.
    fn advance(
        counters: &mut GroupCounters,
        events: &EventSet,
        tid: u32,
        values: [u64; 2],
    ) -> (Vec<(usize, u64)>, Vec<u64>) {
        with_sample(events, tid, values, |sample| {
            let counted = counters.advance(events, sample);
            let sums = counted.sums.unwrap().iter();
            let sums = sums.map(|(value, _)| value).collect();
            (counted.members.to_vec(), sums)
        })
    }

    #[test]
    fn a_member_has_what_it_counted_since_the_last_sample_of_its_thread() {
        let (events, mut counters) = (group(flag::INHERIT), GroupCounters::default());
        let take = |counters: &mut _, tid, values| advance(counters, &events, tid, values);
        let counters = &mut counters;
        let first = take(counters, 5, [100, 7]);
        assert_eq!(first, (vec![(0, 100), (1, 7)], vec![100, 7]));
        // another thread counts from 0
        let other = take(counters, 6, [40, 0]);
        assert_eq!(other, (vec![(0, 40)], vec![140, 7]));
        // the second event did not count on
        let again = take(counters, 5, [250, 7]);
        assert_eq!(again, (vec![(0, 150)], vec![290, 7]));
        // a new thread with an old number
        counters.forget(Tid(5));
        let new = take(counters, 5, [10, 1]);
        assert_eq!(new, (vec![(0, 10), (1, 1)], vec![300, 8]));
    }

    #[test]
    fn what_was_counted_before_the_recording_belongs_to_no_sample() {
        let (events, mut counters) = (group(0), GroupCounters::default());
        with_sample(&events, 5, [1000, 70], |sample| {
            counters.skip(&events, sample);
        });
        let first = advance(&mut counters, &events, 5, [1100, 71]);
        assert_eq!(first, (vec![(0, 100), (1, 1)], vec![100, 1]));
    }

    #[test]
    fn the_counter_of_a_cpu_goes_on_from_thread_to_thread() {
        let (events, mut counters) = (group(0), GroupCounters::default());
        let mut take = |tid, values| advance(&mut counters, &events, tid, values);
        assert_eq!(take(5, [100, 7]), (vec![(0, 100), (1, 7)], vec![100, 7]));
        assert_eq!(take(6, [140, 7]), (vec![(0, 40)], vec![140, 7]));
        assert_eq!(take(5, [190, 8]), (vec![(0, 50), (1, 1)], vec![190, 8]));
    }
}
