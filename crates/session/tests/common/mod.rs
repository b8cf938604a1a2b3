//! What the tests of this crate make by hand: records, recordings, files with code, what a JIT compiler
//! writes. The unit tests use it, too.
#![allow(dead_code, unused_imports)] // each test program uses a part

mod elf; // a file with code and names
mod jitdump; // what a JIT compiler tells
mod process; // one with a perf map
mod program; // one whose stack is unwound
mod recorded; // one whose addresses are to be named
mod records; // records as the kernel writes them
mod saved; // recordings in a folder of their own
mod taken; // what the pipeline made of them

pub(crate) use elf::{BUILD_ID, Elf, stored_build_id};
pub(crate) use jitdump::JitDump;
pub(crate) use process::{CODE, Process};
pub(crate) use program::{Program, STACK, regs};
pub(crate) use recorded::{Recorded, named, names, symbol};
pub(crate) use records::{
    IN_KERNEL, KERNEL, KERNEL_MODE, NOBODY, Records, Sampled, TEXT, attr, event_set, one_event,
    unwound_attr,
};
pub(crate) use saved::{samples_at, saved};
pub(crate) use taken::{Frame, Taken, entries, live, take_all, take_from_file, weights};
