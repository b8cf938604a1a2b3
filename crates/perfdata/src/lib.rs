//! Reads and writes perf.data.
//!
//! In: records as the kernel wrote them, facts about the host, names. Out: a file or a pipe that
//! perf reads; the same records back, in time order. Files of big-endian machines are read too.
//! Elsewhere: what a record says (`prof-event`), what a tracepoint's format says
//! (`prof-tracepoint`), opening events (`prof-sampler`), finding names (`prof-symbolizer`).
#![forbid(unsafe_code)]

mod attr_section; // events and their ids
mod big_endian; // recordings of other machines, turned
mod chunks; // bytes of records that wait
mod compression; // zstd records
mod error;
mod feature; // facts about the recording: host, command line, event names, build-ids
mod fields; // strings and lists of features
mod header; // magic, where things lie
mod host; // facts about this machine
mod names; // names that the recorder found
mod pass; // records in time order
mod pipe; // the form without offsets
mod recording; // opening a file, a folder or a pipe
mod sink; // what takes records
mod source; // bytes by offset, bytes in a row
mod tracing_data; // texts of the formats of tracepoints
mod trailer; // our bytes behind perf's
mod writer;

pub use error::Error;
pub use feature::{
    ClockData, Compressed, CpuTopology, EventGroup, Features, NumaNode, StoredBuildId,
};
pub use names::{ChainEnds, Counters, StoredNames};
pub use pass::Item;
pub use pipe::PipeWriter;
pub use recording::Recording;
pub use sink::RecordSink;
pub use source::{MapPart, SharedBytes};
pub use tracing_data::{FormatText, TracingData};
pub use writer::{Summary, Writer, WriterOptions};
