//! Recordings of big-endian machines: turned into little-endian bytes on their way in, so that
//! nothing behind needs to know.
//!
//! Only numbers are turned. What has another meaning there stays as it was recorded: copies of
//! stacks, AUX data, branch records.

mod cursor; // numbers, turned where they lie
mod feature; // sections behind the records
mod record; // records, by the layout of their event
mod stream; // one record after the other

use cursor::Cursor;
use prof_event::EventSet;
use prof_tracepoint::TracepointFormat;

use crate::header::{FILE_SIZE, PIPE_SIZE};
use crate::tracing_data::TracingData;

pub(crate) use feature::turn as turn_feature;
pub(crate) use record::turn_attr;
pub(crate) use stream::BigEndianReader;

/// The first bytes of such a file: `PERFILE2`, turned.
const MAGIC: &[u8] = b"2ELIFREP";

/// Whether a file of a big-endian machine starts so.
pub(crate) fn is_big_endian(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Turns the header of a file or a pipe, which consists of 64-bit words.
pub(crate) fn turn_header(start: &mut [u8]) {
    let is_pipe = start
        .get(8..16)
        .is_some_and(|size| size == PIPE_SIZE.to_be_bytes());
    let len = if is_pipe { PIPE_SIZE } else { FILE_SIZE } as usize;
    let len = len.min(start.len());
    turn_words(&mut start[..len]);
}

/// What is needed to know where the numbers in a record are.
#[derive(Clone, Default)]
pub(crate) struct Layouts {
    /// Samples and the ends of other records are laid out as their events say.
    pub(crate) events: EventSet,
    /// The data of tracepoints is laid out as their formats say.
    pub(crate) tracepoints: Vec<TracepointFormat>,
}

/// The formats in a section that is turned already; none where it is damaged.
pub(crate) fn tracepoints(section: &[u8]) -> Vec<TracepointFormat> {
    let data = TracingData::parse(section).unwrap_or_default();
    let formats = data.formats.iter();
    formats
        .map(|format| TracepointFormat::parse(&format.system, &format.text))
        .collect()
}

/// Sections and ids: nothing but 64-bit words.
pub(crate) fn turn_words(bytes: &mut [u8]) {
    let _ = Cursor::new(bytes).words(); // takes what is there
}
