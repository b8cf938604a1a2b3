//! The words that every crate of `prof` shares: plain values, no I/O.
//!
//! In: nothing. Out: addresses, ids, DSOs, mappings, the process table over time, how callchains
//! end, symbols. Elsewhere: perf's byte layouts (`prof-event`), files (`prof-symbolizer`).
#![forbid(unsafe_code)]

mod addr; // an address in a process, the same place in its DSO
mod address_space; // which DSO lies where in one process
mod branch; // one that was taken, as a CPU records it
mod build_id;
mod callchain; // in which mode code ran, and why a callchain ended
mod code; // a function's instructions and their source
mod dso; // what is mapped: files, kernel, vDSO, JIT memory
mod id; // pid, tid, cpu
mod jit_load; // generated code that came to lie somewhere
mod kernel; // where its code lies
mod mapping; // a DSO at some addresses
mod printable; // text of others, for people
mod process; // threads, names and address spaces, as records change them
mod symbol; // names, inline frames, lines, or why there are none

pub use addr::{DsoAddr, VirtAddr};
pub use address_space::AddressSpace;
pub use branch::{Branch, BranchFlags};
pub use build_id::BuildId;
pub use callchain::{ChainEnd, CpuMode};
pub use code::{CodeLine, CodePlace, FunctionCode, Instruction, NoSource, SourceText};
pub use dso::{Dso, DsoId, DsoKind, DsoTable, FileId};
pub use id::{Cpu, Pid, Tid};
pub use jit_load::JitLoad;
pub use kernel::{KernelLayout, KernelProgram, KernelText};
pub use mapping::Mapping;
pub use printable::{is_printable, printable, printable_bytes, push_printable};
pub use process::{CommId, CommTable, ProcessTable, Thread};
pub use symbol::{InlineFrame, Reason, Resolution, SourceLine, Symbol, SymbolSource};
