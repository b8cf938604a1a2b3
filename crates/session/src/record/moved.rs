//! Looks whether executable memory without a file is a program's own text, and tells so in records.
//!
//! In: records on their way through a recorder. Out: records that map the file where its text was moved to.
//! Elsewhere: what is believed ([`crate::moved_text`]).

use std::ops::Range;
use std::time::{Duration, Instant};

use prof_event::abi::{misc, record};
use prof_event::{Decoded, Mmap, Record, RecordBuilder, SampleId, Tracker};
use prof_model::{CpuMode, DsoKind, Pid};
use prof_sampler::proc::{self, MapLine};
use prof_symbolizer::FileFinder;

use crate::moved_text::{self, Found};

const PROT_EXEC: u32 = 4;
const MAP_PRIVATE: u32 = 2;
/// Text of hundreds of megabytes is copied in less than a second.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Memory that may have a program's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pid: Pid,
    range: Range<u64>,
    time: u64,
}

/// The memory whose text has not been found yet.
#[derive(Debug, Default)]
pub(super) struct MovedText {
    finder: FileFinder,
    present: Option<(Pid, Vec<MapLine>)>, // mappings of a process that is being told of
    waiting: Vec<(Suspect, u32)>,         // with how often they were looked at
    next: Option<Instant>,
}

impl MovedText {
    /// What a record that is not taken in yet tells of memory where a program's text may be: it lies over a
    /// program, or was there before the recording.
    pub(super) fn suspect(decoded: &Decoded<'_>, tracker: &Tracker) -> Option<Suspect> {
        let Record::Mmap(mmap) = &decoded.record else {
            return None;
        };
        if !is_anonymous_code(mmap) {
            return None;
        }
        let time = decoded.id.time.unwrap_or(0);
        let range = mmap.addr..mmap.addr.checked_add(mmap.len)?;
        let processes = &tracker.processes;
        let is_program = || {
            let mut mapped = processes.space(mmap.pid)?.iter();
            let covered = mapped.find(|it| it.start < range.end && range.start < it.end)?;
            Some(processes.dsos.get(covered.dso).kind == DsoKind::File)
        };
        let is_suspect = time == 0 || is_program() == Some(true);
        is_suspect.then_some(Suspect {
            pid: mmap.pid,
            range,
            time,
        })
    }

    /// Looks at memory now; later once more if it may be too early. Appends the records of what lies there to
    /// `out`.
    pub(super) fn look(&mut self, suspect: Suspect, sample_type: u64, out: &mut Vec<u8>) {
        self.look_again(suspect, 1, sample_type, out);
    }

    fn look_again(&mut self, suspect: Suspect, looks: u32, sample_type: u64, out: &mut Vec<u8>) {
        let pid = suspect.pid;
        let is_current = suspect.time == 0 && matches!(self.present, Some((of, _)) if of == pid);
        if !is_current {
            self.present = Some((pid, proc::maps(pid).unwrap_or_default()));
        }
        let lines = self.present.as_ref().map_or(&[][..], |(_, lines)| lines);
        match moved_text::find(pid, &suspect.range, lines, &self.finder) {
            Found::Moved(parts) => {
                let parts = parts.iter();
                parts.for_each(|part| put_mapping(out, (pid, part), suspect.time, sample_type));
            }
            Found::NotYet if looks < LOOKS => {
                let is_other =
                    |(it, _): &(Suspect, u32)| it.pid != pid || it.range != suspect.range;
                self.waiting.retain(is_other);
                self.waiting.push((suspect, looks));
            }
            Found::NotYet | Found::Nothing => {}
        }
    }

    /// A round is over, with records up to `time`: looks at what waits, if it is time for that.
    pub(super) fn finish_round(&mut self, time: u64, sample_type: u64, out: &mut Vec<u8>) {
        self.present = None;
        let now = Instant::now();
        if self.waiting.is_empty() || self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + PAUSE);
        for (suspect, looks) in std::mem::take(&mut self.waiting) {
            let suspect = Suspect { time, ..suspect };
            self.look_again(suspect, looks + 1, sample_type, out);
        }
    }
}

fn is_anonymous_code(mmap: &Mmap<'_>) -> bool {
    let has_file = mmap.file.is_some_and(|file| file.inode != 0);
    mmap.mode == CpuMode::User
        && mmap.prot & PROT_EXEC != 0
        && !has_file
        && (mmap.name.is_empty() || mmap.name.starts_with(b"//anon"))
}

/// A record of a mapping, as the kernel would have written it.
fn put_mapping(out: &mut Vec<u8>, (pid, map): (Pid, &MapLine), time: u64, sample_type: u64) {
    let mut record = RecordBuilder::new(out, record::MMAP2, misc::USER);
    record.u32(pid.0 as u32).u32(pid.0 as u32);
    record
        .u64(map.start)
        .u64(map.end - map.start)
        .u64(map.offset);
    record.u32(map.file.major).u32(map.file.minor);
    record.u64(map.file.inode).u64(map.file.generation);
    record.u32(map.prot).u32(MAP_PRIVATE).c_string(&map.name);
    let id = SampleId {
        time: Some(time),
        ..SampleId::default()
    };
    record.sample_id(sample_type, &id);
    let _ = record.finish(); // a path of /proc is shorter than a record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{NOBODY, Records, TEXT, attr, live, one_event, take_all};

    #[test]
    fn memory_is_suspect_that_was_there_before_or_covers_a_program() {
        let is_suspect = |time, start, name: &str| {
            let mut records = Records::of_nobody(one_event(attr(0)));
            let mut pipeline = live(&records.events);
            take_all(&mut pipeline, &records);
            let told = records.bytes.len();
            records.map(time, NOBODY, start..start + 0x1000, 0, name);
            let raw = prof_event::RawRecord::parse(&records.bytes[told..]).unwrap();
            let decoded = records.events.decode(raw).unwrap();
            MovedText::suspect(&decoded, &pipeline.tracker).map(|it| (it.range.start, it.time))
        };
        let (text, elsewhere) = (TEXT.start, TEXT.end + 0x10_0000);
        assert_eq!(is_suspect(5, text, "//anon"), Some((text, 5)));
        assert_eq!(is_suspect(5, elsewhere, "//anon"), None);
        assert_eq!(is_suspect(0, elsewhere, "//anon"), Some((elsewhere, 0)));
        assert_eq!(is_suspect(5, text, "/bin/b"), None);
    }
}
