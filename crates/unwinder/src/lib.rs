//! Unwinds user stacks.
//!
//! In: a sample's user registers and copied stack bytes, the mappings of its process, and the bytes
//! of the mapped files. Out: the callchain, innermost first, and why it ended.
//! Elsewhere: taking samples (`prof-sampler`), opening the right file for a mapping
//! (`prof-symbolizer`), naming the addresses (`prof-symbolizer`).
//!
//! Each frame is left by the rule of its address: unwind tables (`.eh_frame`, `.debug_frame`) where
//! the module has them, the kernel's signal frame behind a signal handler, what the function's own
//! instructions do to its frame, the frame pointer elsewhere. A guess is never a rule: where nothing
//! proves the caller, the callchain ends and says so.
#![forbid(unsafe_code)]

mod allowance; // how much code may be looked at for a sample
mod arch; // what differs by CPU
mod cache; // address -> how to leave the frame there
mod functions; // where functions start, for code without tables
mod image; // a module's file: which bytes are code, tables, read-only data
mod inference; // what was found out about code without tables
mod live_memory; // what is asked of the target's memory
mod means; // what a file offers to unwinding
mod module; // everything known about one mapped file
mod regs; // user registers of a sample
mod runtime_code; // what a runtime tells about the code that it generates
mod stack; // the copied stack bytes
mod stats; // what the caches did
mod tables; // unwind tables -> rules
mod unwinder; // what is kept from sample to sample
mod walk; // one sample's walk

pub use arch::Arch;
pub use image::{Bytes, Images};
pub use live_memory::{LiveMemory, WATCHED_BYTES, Watched};
pub use means::{Means, means_of};
pub use regs::Regs;
pub use runtime_code::{RuntimeCode, RuntimeFrame};
pub use stack::{StackCopy, StackMemory};
pub use stats::Stats;
pub use unwinder::{Process, Unwinder, UserState};
