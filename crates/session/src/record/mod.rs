//! Recording a running target.
//!
//! In: a sampler that was opened. Out: a profile and names, and records for a file, or for whoever looks
//! on. Elsewhere: opening events and reading rings (`prof-sampler`), what is shown meanwhile.
//!
//! [`drive`] is the loop, [`Recorder`] takes each record through the [`Pipeline`](crate::Pipeline), and a
//! [`Destination`] gets what is left of it: a file ([`FileDestination`]), pieces of a second for a live
//! view ([`Pieces`]), or nothing (`()`).

mod coverage; // whether samples stand for all CPU time
mod drive; // the loop
mod features; // what is known about this host and the events
mod file; // records on their way into a file
mod leftovers; // of recorders that were killed
mod live_names; // what the recorded addresses are called
mod moved; // where a program's text lies that it has moved
mod new_file; // the one way in which files are written
mod new_place; // where they may be made
mod output; // a file or a pipe, written beside the sampling
mod overwritten; // files that were written over while they were recorded
mod pieces; // what each second has brought
mod recent; // the newest records, kept in memory
mod recorder; // what happens to each record
mod started; // processes that started meanwhile

pub use coverage::{Shortfall, cpu_time_of_ended};
pub use drive::{CommandEnd, Control, End, RunFor, drive, end_command};
pub use features::{features, host_features, stored_build_ids};
pub use file::FileDestination;
pub use leftovers::leftovers;
pub use live_names::LiveNames;
pub use new_file::{Unfinished, try_place, write_whole};
pub use output::Output;
pub use pieces::{Piece, Pieces};
pub use recent::{RecentRecords, WrittenWindow};
pub use recorder::{Destination, Recorder, file_events};
pub use started::{Started, StartedProcesses};
