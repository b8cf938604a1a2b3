//! The code that HotSpot, the Java virtual machine of OpenJDK, generates while it runs.
//!
//! HotSpot tells debuggers where it keeps what: `libjvm.so` exports a table of the fields of its types,
//! `gHotSpotVMStructs`. By it the code cache is read from outside, without a word to the process: which
//! method an address is of, and how large its frame is. Options such as `-XX:+PreserveFramePointer` or a
//! map of names are not needed.
//!
//! In: the process's memory as it is now, and where `libjvm.so` has its exported variables. Out: the blob
//! of generated code around an address ([`Jvm::blob_at`]). Nothing read is believed: counts and lengths are bounded,
//! and so is the number of reads by the time that passes.
//! Elsewhere: reading memory and files (`prof-session`), what a frame's size means for a CPU
//! (`prof-unwinder`), names in reports (`prof-symbolizer`).
//!
//! Source: `src/hotspot/share/runtime/vmStructs.cpp`, `code/codeBlob.hpp` and `memory/heap.hpp` of
//! OpenJDK; tried with releases 8, 11, 17, 21 and 25.
#![forbid(unsafe_code)]

mod blob; // one piece of generated code
mod code_heap; // where the pieces lie
mod exported; // where the variables are that lead to its tables
mod jvm; // what was read so far
mod layout; // where types have their fields
mod memory; // numbers and texts of another process
mod method_name; // a method's class and name

pub use blob::{Blob, Frame};
pub use exported::exported;
pub use jvm::{Found, Jvm, Told};
pub use layout::EXPORTED;
pub use memory::Memory;
