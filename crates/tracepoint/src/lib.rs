//! Formats of tracepoints: the raw data of a sample as text.
//!
//! In: the text of tracefs's `format` files, and the raw data of samples. Out: which fields a
//! tracepoint has, and the line that the kernel would print.
//! Elsewhere: reading tracefs, and the section of a recording that has the texts
//! (`prof-perfdata`); the names of kernel functions, which the caller hands over.
#![forbid(unsafe_code)]

mod expression; // what a format string prints: C expressions over the fields
mod fields; // every field by name, where the format string cannot be followed
mod format; // the fields of a `format` file
mod parser; // from text to expressions
mod print; // `%d` and its kin
mod tokens; // words, numbers and signs of C
mod tracepoints; // all of a recording
mod value; // what an expression comes to, over a sample's bytes

pub use format::{TracepointField, TracepointFormat};
pub use tracepoints::Tracepoints;
