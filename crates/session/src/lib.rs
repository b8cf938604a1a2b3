//! From records to a named profile: everything of the profiler but its command line.
//!
//! In: records, live from a sampler ([`record`]) or from a file ([`load`]). Out: a stream of finished
//! samples, a profile of them, and names for what they hit. Elsewhere: opening events
//! (`prof-sampler`), the file format (`prof-perfdata`), walking stacks (`prof-unwinder`), symbol tables
//! and debug info (`prof-symbolizer`), tables and pictures (`prof-report`), arguments and messages
//! (`prof-cli`). Nothing here prints, exits, or knows an option of the command line.
//!
//! The way of one sample is [`Pipeline::take`]: [`unwinding`], [`finishing`], [`placing`],
//! [`aggregation`].
#![forbid(unsafe_code)]

pub mod aggregation; // what becomes of a finished sample
pub mod branches; // where the branches of samples came from and led
pub mod files; // the files that samples hit
pub mod finishing; // samples that arrive to samples that are finished
pub mod load; // a recording, read and named
pub mod naming; // what addresses are called
pub mod pipeline; // records to a profile
pub mod placing; // a callchain to frames
pub mod record; // a running target
pub mod selection; // which samples of a file are read
pub mod tracepoints; // formats that a recording brings
pub mod unwinding; // a sample to its whole callchain
mod waits; // from threads' switches to samples of their waits

mod build_ids; // which build-id each file of a recording had
mod crowding; // whether the rings are about to be full
mod deep_stacks; // what lay behind the copies of stacks
mod error;
mod facts; // what is known beside the samples
mod file_stamp; // whether a file was written over
mod generated; // what JIT compilers tell about their code
mod kernel_parts; // the kernel's parts of callchains, placed once
mod machine; // of a recording: can its stacks be unwound here
mod moved_text; // programs' text in memory without a file
mod pace; // how soon to look at the rings again
mod polled_memory; // words of a running process at the time of a sample
mod read_options; // which recording, and whence its names
mod runtimes; // what tells about the code that it generates
mod stack_copy_size; // whether small copies of the stack are enough
mod target_access; // what the unwinder asks of a process
mod time_slices; // parts of a recording
mod wakers; // who ended which wait

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common; // what tests make by hand
#[cfg(test)]
extern crate self as prof_session; // as `common` knows it

pub use aggregation::Keep;
pub use branches::{BranchUse, PlacedBranch, offset_in_file};
pub use build_ids::BuildIds;
pub use crowding::Crowding;
pub use deep_stacks::DeepThread;
pub use error::{LoadError, NoTimeSlices, OutputError};
pub use facts::recording_facts;
pub use files::{Files, Origin};
pub use generated::GeneratedCode;
pub use load::{LoadedRecording, Warning};
pub use machine::Machine;
pub use naming::{Namer, wall_time};
pub use pipeline::{DEFAULT_MAX_STACK, Pipeline, TakenSample, event_infos};
pub use placing::{Callers, PlacedChain, faulted_data};
pub use read_options::{InlinedFunctions, ReadOptions};
pub use selection::{Selection, Wanted};
pub use stack_copy_size::StackCopySize;
pub use time_slices::{RecordedTimes, TimeRanges, TimeSlices};
