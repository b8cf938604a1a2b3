//! Opens files that others made: programs, debug info, perf maps, parts of recordings.
//!
//! Whoever made such a file, or the name that leads to it, may wish us ill, and we may be root. So nothing
//! but regular files of real file systems is opened, without a side effect on what else lies there; a path
//! of another root stays inside it, whatever links are there; and no file is larger than its purpose needs.
//!
//! In: a [`ForeignPath`] and a [`Purpose`]. Out: an open file, or why there is none; whether it tells of a process
//! what only that process can know ([`Writer`]). Elsewhere: whether it is the
//! right file (`prof-symbolizer`), and what the kernel itself shows below `/proc` and `/sys`.
#![forbid(unsafe_code)]

mod file_systems; // those of the kernel
mod foreign_path;
mod inside; // paths that stay inside a root
mod open;
mod owner; // whose files are believed
mod refused;
mod way; // to directories that are written to

pub use foreign_path::ForeignPath;
pub use open::{ForeignFile, Purpose};
pub use owner::{Doubt, Writer};
pub use refused::Refused;
pub use way::{Planted, directory, entry, refuse_planted};
