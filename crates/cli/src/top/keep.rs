//! The newest records, kept so that a window can be written as perf.data.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use prof_event::{EventSet, RawRecord, Record, Tracker};
use prof_model::ChainEnd;
use prof_perfdata::ChainEnds;

use super::collect::Piece;
use crate::error::CliError;
use crate::record::Output;

/// Bytes of records. At 99 Hz on two busy CPUs this is ten minutes.
const MAX_BYTES: usize = 32 << 20;

/// The newest records, and what was known before the first of them.
pub struct Kept {
    events: EventSet, // as a file has them
    before: Tracker,
    pieces: VecDeque<KeptPiece>,
    bytes: usize,
    max_bytes: usize,
    dropped: bool, // older ones
}

struct KeptPiece {
    span: Range<u64>,
    records: Vec<u8>,
    ends: Vec<ChainEnd>,
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

impl Kept {
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
    pub fn push(&mut self, piece: &mut Piece) {
        self.keep(KeptPiece {
            span: piece.span.clone(),
            records: std::mem::take(&mut piece.records),
            ends: std::mem::take(&mut piece.ends),
        });
    }

    fn keep(&mut self, piece: KeptPiece) {
        self.bytes += piece.records.len();
        self.pieces.push_back(piece);
        while self.bytes > self.max_bytes && self.pieces.len() > 1 {
            let Some(oldest) = self.pieces.pop_front() else {
                return;
            };
            self.dropped = true;
            self.bytes -= oldest.records.len();
            self.remember(&oldest.records);
        }
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
    pub fn write(&self, path: &Path, window: &Range<u64>) -> Result<WrittenWindow, CliError> {
        let failed = |error: std::io::Error| {
            CliError::new(format!("could not write `{}`", path.display())).cause(error)
        };
        let first = self.pieces.front().map_or(0, |piece| piece.span.start);
        let mut output = Output::file(path, &self.events, None)?;
        let mut ends = ChainEnds::default();
        let sample_type = self.events.events()[0].attr.sample_type;
        self.before.restate(sample_type, output.buffer());
        let pieces = self.pieces.iter();
        for piece in pieces.take_while(|piece| piece.span.start < window.end) {
            let mut piece_ends = piece.ends.iter();
            for raw in records_of(&piece.records) {
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
            return Err(CliError::new("there is no sample in this window"));
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
