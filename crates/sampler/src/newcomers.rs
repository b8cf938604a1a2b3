//! Processes of which records come and nothing was told: where a whole cgroup is sampled, they have moved into it.
//!
//! In: records. Out: processes that are to be told of first. Elsewhere: telling (`synthesize.rs`).

use prof_event::abi::{misc, record, sample};
use prof_event::{EventSet, HEADER_SIZE, RawRecord};
use prof_model::Pid;
use rustc_hash::FxHashSet;

use crate::bytes::i32_at;

/// The processes that were told of, or began before our eyes.
#[derive(Debug)]
pub(crate) struct Newcomers {
    known: FxHashSet<i32>,
    /// Where samples have their process, in bytes from the start of the record.
    pid_in_sample: usize,
}

impl Newcomers {
    /// `events` have the same fields in front of the process: the id and the instruction.
    pub(crate) fn new(events: &EventSet) -> Self {
        let in_front = sample::IDENTIFIER | sample::IP;
        let sample_type = events.events()[0].attr.sample_type;
        Self {
            known: FxHashSet::default(),
            pid_in_sample: HEADER_SIZE + 8 * (sample_type & in_front).count_ones() as usize,
        }
    }

    /// A process was told of.
    pub(crate) fn add(&mut self, pid: Pid) {
        self.known.insert(pid.0);
    }

    /// The process that a record is of, or whose child it tells of, if nothing is known of it. From then on it is.
    pub(crate) fn find(&mut self, raw: RawRecord<'_>) -> Option<Pid> {
        let pid = match raw.kind {
            record::SAMPLE => i32_at(raw.bytes, self.pid_in_sample),
            record::FORK => {
                self.known.insert(i32_at(raw.bytes, 8));
                i32_at(raw.bytes, 12)
            }
            record::COMM if raw.misc & misc::COMM_EXEC != 0 => {
                self.known.insert(i32_at(raw.bytes, 8)); // all that it maps is still to come
                return None;
            }
            record::COMM | record::MMAP | record::MMAP2 => i32_at(raw.bytes, 8),
            record::EXIT => {
                self.known.remove(&i32_at(raw.bytes, 16)); // its number may come again
                return None;
            }
            _ => return None,
        };
        (pid > 0 && self.known.insert(pid)).then_some(Pid(pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::{Event, EventAttr, RecordBuilder};

    #[test]
    fn who_was_not_there_and_was_not_started_is_new_once() {
        let mut events = EventSet::default();
        events.push(Event {
            attr: EventAttr {
                sample_type: sample::IDENTIFIER | sample::IP | sample::TID | sample::TIME,
                ..EventAttr::default()
            },
            name: String::new(),
            ids: Vec::new(),
        });
        let mut newcomers = Newcomers::new(&events);
        let mut found = |kind, misc, words: &[u64]| {
            let mut bytes = Vec::new();
            let mut record = RecordBuilder::new(&mut bytes, kind, misc);
            for &word in words {
                record.u64(word);
            }
            record.finish().unwrap();
            newcomers.find(RawRecord::parse(&bytes).unwrap())
        };
        let (id, ip) = (5, 5);
        let pair = |low: u64, high: u64| low | high << 32;
        assert_eq!(found(record::SAMPLE, 0, &[id, ip, 6, 0]), Some(Pid(6)));
        assert_eq!(found(record::SAMPLE, 0, &[id, ip, 6, 0]), None);
        // 7 starts 8, which is known from its beginning, and 7 is not
        let fork = [pair(8, 7), pair(8, 7), 0];
        assert_eq!(found(record::FORK, 0, &fork), Some(Pid(7)));
        assert_eq!(found(record::SAMPLE, 0, &[id, ip, 8, 0]), None);
        assert_eq!(found(record::COMM, misc::COMM_EXEC, &[9, 0]), None);
        assert_eq!(found(record::MMAP2, 0, &[9, 0]), None);
        assert_eq!(found(record::MMAP2, 0, &[10, 0]), Some(Pid(10)));
        // another process with a number that is used again
        assert_eq!(found(record::EXIT, 0, &[pair(8, 7), pair(8, 7), 0]), None);
        assert_eq!(found(record::SAMPLE, 0, &[id, ip, 8, 0]), Some(Pid(8)));
        // the kernel's own mappings, and what runs when nothing does
        assert_eq!(found(record::MMAP, 0, &[u64::from(u32::MAX), 0]), None);
        assert_eq!(found(record::SAMPLE, 0, &[id, ip, 0, 0]), None);
    }
}
