//! A sample of a group tells the counters of all its events: a sample of each.

use std::collections::HashMap;

use prof_event::{Decoded, EventSet, Record, Sample};
use prof_model::Tid;

/// The counters as of the last sample.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By event id and thread: an inherited event counts for each thread apart, under one id.
    last: HashMap<(u64, Tid), u64>,
    members: Vec<(usize, u64)>,
}

impl Counters {
    /// The events that a sample with counters stands for, by index, each with what it counted since
    /// the sample before. Those that counted nothing are left out, as are those that nobody knows.
    pub(crate) fn advance(&mut self, events: &EventSet, sample: &Sample<'_>) -> &[(usize, u64)] {
        self.members.clear();
        let read = sample.read.iter();
        for (value, id) in read.flat_map(|read| read.iter()) {
            let Some(id) = id.or(sample.id) else { continue };
            let Some(event) = events.by_id(id) else {
                continue;
            };
            let last = self.last.insert((id, sample.tid), value).unwrap_or(0);
            let counted = value.saturating_sub(last);
            if counted != 0 {
                self.members.push((event, counted));
            }
        }
        &self.members
    }
}

/// The sample as one of the event with that index, which counted `period`.
pub(crate) fn as_member<'a>(decoded: &Decoded<'a>, event: usize, period: u64) -> Decoded<'a> {
    let mut decoded = *decoded;
    decoded.event = event;
    if let Record::Sample(sample) = &mut decoded.record {
        sample.period = period;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::abi::{read_format, record, sample};
    use prof_event::{Event, EventAttr, RawRecord, RecordBuilder};

    /// Two events of one group, with the ids 1 and 2.
    fn group() -> EventSet {
        let mut events = EventSet::default();
        for id in [1, 2] {
            events.push(Event {
                attr: EventAttr {
                    sample_type: sample::ID | sample::TID | sample::READ,
                    read_format: read_format::GROUP | read_format::ID,
                    ..EventAttr::default()
                },
                name: id.to_string(),
                ids: vec![id],
            });
        }
        events
    }

    fn advance(
        counters: &mut Counters,
        events: &EventSet,
        tid: u32,
        values: [u64; 2],
    ) -> Vec<(usize, u64)> {
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
        counters.advance(events, sample).to_vec()
    }

    #[test]
    fn a_member_has_what_it_counted_since_the_last_sample_of_its_thread() {
        let (events, mut counters) = (group(), Counters::default());
        let mut take = |tid, values| advance(&mut counters, &events, tid, values);
        assert_eq!(take(5, [100, 7]), [(0, 100), (1, 7)]);
        assert_eq!(take(6, [40, 0]), [(0, 40)]); // another thread counts from 0
        assert_eq!(take(5, [250, 7]), [(0, 150)]); // the second event did not count on
    }
}
