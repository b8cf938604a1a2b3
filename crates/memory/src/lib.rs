//! What the memory of a process is made of, read from outside while it runs.
//!
//! In: a process id. Out: plain values: resident memory by kind ([`Kinds`]), how fast it grows ([`Growth`]), and of
//! the C library's heap what is in use and what is freed and kept ([`Malloc`]). What cannot be read or does not agree
//! with itself is an error with its reason, never a number. Elsewhere: who touched new pages (`prof-session`), what is
//! said about it (`prof-cli`). The target is neither stopped nor changed: pages that are not resident are not read.
#![forbid(unsafe_code)]

mod allocator; // whose heap it is
mod glibc; // malloc of the GNU C library
mod growth; // resident memory over time
mod kinds; // resident memory by kind
mod pages; // which pages are resident
mod remote; // words of the process
mod smaps; // mappings and what is resident of them
mod stacks; // where threads have their stacks

pub use allocator::{Allocator, allocators};
pub use glibc::{Malloc, Unknown, read_malloc};
pub use growth::{Growth, resident_now};
pub use kinds::Kinds;
pub use pages::{PageState, Pages};
pub use smaps::{Mapping, mappings};
pub use stacks::stack_pointers;
