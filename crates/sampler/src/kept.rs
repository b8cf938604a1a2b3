//! Which records are the target's, where whole CPUs are sampled.

use prof_event::abi::{record, sample};
use prof_event::{EventSet, HEADER_SIZE, RawRecord};
use prof_model::Pid;
use rustc_hash::FxHashSet;

use crate::bytes::i32_at;

/// The processes whose records are passed on.
#[derive(Debug)]
pub(crate) struct KeptProcesses {
    pids: FxHashSet<i32>,
    /// Where samples have their process, in bytes from the start of the record.
    pid_in_sample: usize,
}

impl KeptProcesses {
    /// `events` have the same fields in front of the process: the id and the instruction.
    pub(crate) fn new(pids: &[Pid], events: &EventSet) -> Self {
        let in_front = sample::IDENTIFIER | sample::IP;
        let sample_type = events.events()[0].attr.sample_type;
        Self {
            pids: pids.iter().map(|pid| pid.0).collect(),
            pid_in_sample: HEADER_SIZE + 8 * (sample_type & in_front).count_ones() as usize,
        }
    }

    /// Keeps a further process.
    pub(crate) fn add(&mut self, pid: Pid) {
        self.pids.insert(pid.0);
    }

    /// Whether a record is of these processes, or of none. A process that they start joins them.
    pub(crate) fn include(&mut self, raw: RawRecord<'_>) -> bool {
        match raw.kind {
            record::SAMPLE => self.pids.contains(&i32_at(raw.bytes, self.pid_in_sample)),
            record::FORK => {
                let (pid, parent) = (i32_at(raw.bytes, 8), i32_at(raw.bytes, 12));
                if self.pids.contains(&parent) {
                    self.pids.insert(pid);
                }
                self.pids.contains(&pid)
            }
            record::COMM | record::MMAP | record::MMAP2 | record::EXIT => {
                self.pids.contains(&i32_at(raw.bytes, 8))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::{Event, EventAttr, RecordBuilder};

    fn includes(kept: &mut KeptProcesses, kind: u32, words: &[u64]) -> bool {
        let mut bytes = Vec::new();
        let mut record = RecordBuilder::new(&mut bytes, kind, 0);
        for &word in words {
            record.u64(word);
        }
        record.finish().unwrap();
        kept.include(RawRecord::parse(&bytes).unwrap())
    }

    #[test]
    fn a_child_of_the_target_is_kept_and_no_other_process() {
        let mut events = EventSet::default();
        events.push(Event {
            attr: EventAttr {
                sample_type: sample::IDENTIFIER | sample::IP | sample::TID | sample::TIME,
                ..EventAttr::default()
            },
            name: String::new(),
            ids: Vec::new(),
        });
        let mut kept = KeptProcesses::new(&[Pid(5)], &events);
        let (id, ip) = (5, 5);
        assert!(includes(&mut kept, record::SAMPLE, &[id, ip, 5, 0]));
        assert!(!includes(&mut kept, record::SAMPLE, &[id, ip, 6, 0]));
        assert!(!includes(&mut kept, record::FORK, &[7 | 6 << 32, 0, 0]));
        assert!(!includes(&mut kept, record::COMM, &[7, 0]));
        assert!(includes(&mut kept, record::FORK, &[6 | 5 << 32, 0, 0]));
        assert!(includes(&mut kept, record::SAMPLE, &[id, ip, 6, 0]));
        assert!(includes(&mut kept, record::LOST, &[id, 9]));
    }
}
