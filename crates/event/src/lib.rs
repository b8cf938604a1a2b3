//! The perf ABI as Rust values; in a ring and in a file the bytes are the same.
//!
//! In: bytes. Out: attrs, event names, records, their order, and what they say about processes.
//! Elsewhere: opening events (`prof-sampler`), files around the records (`prof-perfdata`).
//! Little-endian only: `prof-perfdata` turns the records of big-endian machines.
#![forbid(unsafe_code)]

pub mod abi; // the ABI's numbers
mod attr; // what to count
mod attr_text; // an attr for people
mod bytes; // fields out of bytes
mod encode; // records out of fields
mod event_list; // `cycles,{cs,page-faults}:S`
mod event_name; // `cycles:u` to an attr and back
mod event_terms; // `freq=99` between slashes
mod events; // which event a record belongs to
mod group_counters; // one sample of a group as one of each event
mod record; // records out of bytes
mod reorder; // time order
mod sample; // the SAMPLE record
mod track; // records to names and mappings

pub use attr::{EventAttr, MIN_SIZE as MIN_ATTR_SIZE, WRITTEN_SIZE as WRITTEN_ATTR_SIZE};
pub use bytes::{Reader, Short, Words};
pub use encode::{RECORD_ALIGN, RecordBuilder, TooLong, encode_sample};
pub use event_list::{EventList, EventListError, GroupSpec};
pub use event_name::{EventError, EventKind, EventSpec, UnknownEvent, derive_name, known_names};
pub use event_terms::{EventRate, EventStacks, PmuTerm};
pub use events::{DecodeError, Decoded, Event, EventGroup, EventSet};
pub use group_counters::{Counted, GroupCounters};
pub use record::{BpfEvent, HEADER_SIZE, Ksymbol, Mmap, RawRecord, Record, SampleId, Task, decode};
pub use reorder::RoundQueue;
pub use sample::{Extras, ReadValues, Sample, UserRegs, UserStack, with_modes};
pub use track::{KERNEL_NAME, Tracker};
