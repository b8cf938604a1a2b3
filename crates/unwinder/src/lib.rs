//! Unwinds user stacks.
//!
//! In: a sample's user registers and copied stack bytes, the mappings of its process, and the bytes
//! of the mapped files. Out: the callchain, innermost first, and why it ended.
//! Elsewhere: taking samples (`prof-sampler`), opening the right file for a mapping
//! (`prof-symbolizer`), naming the addresses (`prof-symbolizer`).
//!
//! Each frame is left by the rule of its address: unwind tables (`.eh_frame`, `.debug_frame`) where
//! the module has them, the kernel's signal frame behind a signal handler, what the function's own
//! instructions do to its frame, the frame pointer elsewhere. A guess is never a rule: where nothing proves the caller, the callchain ends and says so.
#![forbid(unsafe_code)]

mod aarch64; // signal frame, instructions
mod aarch64_code; // what single instructions do
mod arch; // register numbers, and what differs by architecture
mod c_call; // Go's calls of C: back to the goroutine's stack
mod cache; // address -> how to leave the frame there
mod cfi; // finds the unwind table entry of an address
mod compile; // a function's unwind table entry -> rules, once
mod ends; // what the code at a function's ends says, on aarch64
mod expression; // the few rules that are little programs
mod flow; // without tables: what the function's instructions say
mod frame_pointer; // without either
mod functions; // where functions start, for code without tables
mod image; // a module's file: which bytes are code, tables, read-only data
mod kernel_chain; // goes on where the copy ends, with what the kernel read live
mod link_register; // without either, on aarch64
mod live; // goes on where the copy ends, with what lies there now
mod lookup; // what is known about an address
mod module; // everything known about one mapped file
mod regs; // user registers of a sample
mod rule; // how to get from a frame to its caller
mod stack; // the copied stack bytes
mod stats; // what the caches did
mod step; // applies a rule to a frame's registers
mod unwinder; // the walk
mod x86_64; // register numbers, signal frame, instruction bytes

pub use arch::Arch;
pub use image::{Bytes, Images};
pub use live::{LiveMemory, WATCHED_BYTES, Watched};
pub use regs::Regs;
pub use stack::{StackCopy, StackMemory};
pub use stats::Stats;
pub use unwinder::{Process, Unwinder, UserState};
