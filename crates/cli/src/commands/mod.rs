//! The subcommands: a module each, with its arguments and a `run` that returns the exit status.

pub mod annotate; // a function's instructions
pub mod buildid_list;
pub mod demo; // a workload with a known answer
pub mod diff; // two recordings
pub mod doctor; // what works here
pub mod evlist;
pub mod list; // the events of this machine
pub mod mem; // whose memory grows
pub mod record;
pub mod report;
pub mod script;
pub mod top;
pub mod why; // the answer in fifteen lines
