//! Where in records stands what the sampler itself looks at, before anybody decodes them.

use prof_event::abi::{record, sample};
use prof_event::{EventSet, HEADER_SIZE, RawRecord};

use crate::bytes::{i32_at, u64_at};

/// The same for all events: each has the same fields in front of its samples (id, instruction, process
/// and thread, time) and at the end of its other records (process and thread, time, CPU, id).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    sample_pid: usize,
    sample_time: usize,
    time_from_end: usize,
}

impl Fields {
    pub(crate) fn of(events: &EventSet) -> Self {
        let sample_type = events.events()[0].attr.sample_type;
        let size = |fields: u64| 8 * (sample_type & fields).count_ones() as usize;
        let sample_pid = HEADER_SIZE + size(sample::IDENTIFIER | sample::IP);
        Self {
            sample_pid,
            sample_time: sample_pid + size(sample::TID),
            time_from_end: size(sample::TIME | sample::CPU | sample::IDENTIFIER),
        }
    }

    /// When a record was written.
    pub(crate) fn time(self, raw: RawRecord<'_>) -> u64 {
        let at = match raw.kind {
            record::SAMPLE => self.sample_time,
            _ => raw.bytes.len().saturating_sub(self.time_from_end),
        };
        u64_at(raw.bytes, at)
    }

    /// The process of a sample.
    pub(crate) fn pid_of_sample(self, raw: RawRecord<'_>) -> i32 {
        i32_at(raw.bytes, self.sample_pid)
    }
}
