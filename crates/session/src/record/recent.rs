//! The newest records, kept in memory so that a window of time can be written as perf.data.
//!
//! In: the pieces of a live recording. Out: an [`Output`] that has to be finished. Elsewhere: the names for
//! its end.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use prof_event::{EventSet, RawRecord, Record, Tracker};
use prof_model::ChainEnd;
use prof_perfdata::ChainEnds;

use super::output::Output;
use super::pieces::Piece;
use crate::error::OutputError;

/// Bytes of records, compressed. At 99 Hz on two busy CPUs this is 13 minutes.
const MAX_BYTES: usize = 8 << 20;
/// zstd's level: a second's records differ in little, and the thread that finds names has to do it.
const LEVEL: i32 = 1;

/// The newest records, and what was known before the first of them.
pub struct RecentRecords {
    events: EventSet, // as a file has them
    before: Tracker,
    pieces: VecDeque<KeptPiece>,
    bytes: usize,
    max_bytes: usize,
    dropped: bool, // older ones
}

struct KeptPiece {
    span: Range<u64>,
    records: Box<[u8]>, // compressed
    plain: usize,       // bytes when they are not
    ends: Box<[ChainEnd]>,
}

impl KeptPiece {
    fn new(piece: &mut Piece) -> io::Result<Self> {
        let records = std::mem::take(&mut piece.records);
        Ok(Self {
            span: piece.span.clone(),
            plain: records.len(),
            records: zstd::bulk::compress(&records, LEVEL)?.into(), // without its spare room
            ends: std::mem::take(&mut piece.ends).into(),
        })
    }

    fn bytes(&self) -> usize {
        self.records.len() + self.ends.len() * size_of::<ChainEnd>()
    }

    fn records(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.records, self.plain)
    }
}

/// What was written.
pub struct WrittenWindow {
    /// The file, to be finished.
    pub output: Output,
    /// Why the samples' callchains ended.
    pub ends: ChainEnds,
    /// From when on there were records, where the window begins earlier.
    pub cut_at: Option<u64>,
}

impl RecentRecords {
    /// Nothing yet of these events.
    pub fn new(events: EventSet) -> Self {
        Self {
            events,
            before: Tracker::default(),
            pieces: VecDeque::new(),
            bytes: 0,
            max_bytes: MAX_BYTES,
            dropped: false,
        }
    }

    /// The events as a file has them.
    pub fn events(&self) -> &EventSet {
        &self.events
    }

    /// Keeps the records of a piece. The oldest ones go; what they said about processes stays.
    ///
    /// # Errors
    /// There is no memory to compress them.
    pub fn push(&mut self, piece: &mut Piece) -> io::Result<()> {
        let piece = KeptPiece::new(piece)?;
        self.bytes += piece.bytes();
        self.pieces.push_back(piece);
        while self.bytes > self.max_bytes && self.pieces.len() > 1 {
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            self.dropped = true;
            self.bytes -= oldest.bytes();
            self.remember(&oldest.records()?);
        }
        Ok(())
    }

    fn remember(&mut self, records: &[u8]) {
        for raw in records_of(records) {
            let Ok(decoded) = self.events.decode(raw) else {
                continue;
            };
            self.before.apply(&decoded.record);
            if let Record::Exit(task) = decoded.record {
                self.before.processes.forget(task.pid, task.tid);
            }
        }
    }

    /// Writes the samples of a window, and all that is needed to read them, to a file that is not
    /// finished yet.
    ///
    /// # Errors
    /// The file cannot be written, or there is no sample.
    pub fn write(&self, path: &Path, window: &Range<u64>) -> Result<WrittenWindow, OutputError> {
        let failed = |source: io::Error| OutputError::Write {
            name: path.display().to_string(),
            source,
            kept: None,
        };
        let first = self.pieces.front().map_or(0, |piece| piece.span.start);
        let mut output = Output::file(path, &self.events, None, || {
            Ok(prof_perfdata::Features::default())
        })?;
        let mut ends = ChainEnds::default();
        let sample_type = self.events.events()[0].attr.sample_type;
        self.before.restate(sample_type, output.buffer());
        let pieces = self.pieces.iter();
        for piece in pieces.take_while(|piece| piece.span.start < window.end) {
            let mut piece_ends = piece.ends.iter();
            for raw in records_of(&piece.records().map_err(failed)?) {
                let Ok(decoded) = self.events.decode(raw) else {
                    continue;
                };
                if let Record::Sample(sample) = &decoded.record {
                    let end = piece_ends.next().copied().unwrap_or_default();
                    if !sample.time.is_some_and(|time| window.contains(&time)) {
                        continue;
                    }
                    ends.push(end);
                }
                output.buffer().extend_from_slice(raw.bytes);
                output.pass_on().map_err(failed)?;
            }
            output.finish_round().map_err(failed)?;
        }
        if ends.samples() == 0 {
            return Err(OutputError::NoSample);
        }
        Ok(WrittenWindow {
            output,
            ends,
            cut_at: (self.dropped && first > window.start).then_some(first),
        })
    }
}

fn records_of(mut bytes: &[u8]) -> impl Iterator<Item = RawRecord<'_>> {
    std::iter::from_fn(move || {
        let raw = RawRecord::parse(bytes).ok()?;
        bytes = &bytes[raw.bytes.len()..];
        Some(raw)
    })
}

#[cfg(test)]
mod tests {
    use prof_model::{Pid, Tid};

    use super::*;
    use crate::common::{NOBODY, Records, Sampled, TEXT, attr, one_event};

    fn piece(span: Range<u64>, records: &Records) -> Piece {
        Piece {
            span,
            records: records.bytes.clone(),
            ends: vec![ChainEnd::Root],
            ..Piece::default()
        }
    }

    fn sample_at(time: u64) -> Sampled {
        Sampled {
            time,
            ..Sampled::default()
        }
    }

    /// Room for one piece: the first of three has what there is of a process, and of one that ends.
    fn with_room_for_one() -> RecentRecords {
        let events = one_event(attr(0));
        let mut recent = RecentRecords::new(events.clone());
        recent.max_bytes = 1;
        let mut first = Records::of_nobody(events.clone());
        first.comm(110, (7, 7), "ends", false).exit(120, (7, 7));
        first.sample(&sample_at(150));
        let mut second = Records::of(events.clone());
        second
            .map(210, NOBODY, TEXT, 0, "/bin/b")
            .sample(&sample_at(250));
        let mut third = Records::of(events);
        third.sample(&sample_at(350));
        for (start, records) in [(100, first), (200, second), (300, third)] {
            recent
                .push(&mut piece(start..start + 100, &records))
                .unwrap();
        }
        recent
    }

    #[test]
    fn the_oldest_records_go_and_what_they_said_about_processes_stays() {
        let recent = with_room_for_one();
        let starts: Vec<_> = recent.pieces.iter().map(|it| it.span.start).collect();
        assert_eq!(starts, [300]);
        assert_eq!(recent.bytes, recent.pieces[0].bytes());
        let processes = &recent.before.processes;
        let space = processes.space(Pid(NOBODY as i32)).unwrap();
        let mapping = space.find(prof_model::VirtAddr(TEXT.start)).unwrap();
        assert_eq!(processes.dsos.get(mapping.dso).path, b"/bin/b");
        assert!(processes.thread(Tid(NOBODY as i32)).is_some());
        assert!(processes.thread(Tid(7)).is_none());
        assert!(processes.kernel.iter().next().is_some());
    }

    #[test]
    fn a_window_that_begins_before_the_records_that_are_left_says_when_these_begin() {
        let recent = with_room_for_one();
        let dir = tempfile::tempdir().unwrap();
        for (window, cut_at) in [(250..400, Some(300)), (300..400, None), (350..400, None)] {
            let written = recent.write(&dir.path().join("window"), &window).unwrap();
            assert_eq!(written.cut_at, cut_at);
            assert_eq!(written.ends.samples(), 1);
        }
    }

    #[test]
    fn the_newest_piece_is_kept_however_large_it_is() {
        let mut recent = RecentRecords::new(one_event(attr(0)));
        recent.max_bytes = 1;
        let mut records = Records::of_nobody(one_event(attr(0)));
        records.sample(&sample_at(150));
        recent.push(&mut piece(100..200, &records)).unwrap();
        assert_eq!(recent.pieces[0].records().unwrap(), records.bytes);
        assert!(!recent.dropped);
    }
}
