//! Go's own table of functions, `.gopclntab`, which its runtime needs and `strip` leaves alone.
//!
//! In: the table's bytes, lent for each look-up, and where the text starts that it counts from. Out: the
//! function around an address, what its record says, and what changes from instruction to instruction in
//! it: the depth of the stack, files, lines. Nothing is copied, and no count is believed that the bytes
//! have no room for.
//! Elsewhere: reading ELF, for which a [`Program`] stands; rules to leave a frame (`prof-unwinder`);
//! inlined calls and text of names (`prof-symbolizer`).
//!
//! Source: `src/internal/abi/symtab.go`, `src/runtime/symtab.go` and `src/debug/gosym/pclntab.go` of the
//! Go project, releases 1.2 to 1.27.
#![forbid(unsafe_code)]

mod function; // a function's record
mod layout; // where the parts of a table lie, by release
mod machine; // numbers as the program's machine keeps them
mod pc_values; // what changes in a function
mod program; // where the table lies and the text starts, as the program tells it
mod table; // the sorted list of functions, names, files

pub use function::Function;
pub use layout::{Layout, Version};
pub use machine::Machine;
pub use pc_values::{PcValue, PcValues};
pub use program::{Part, Program, has_build_info};
pub use table::Table;

/// The sections that have a table: of most programs, and of position-independent ones. Where C code was
/// linked in, the table may be in a section with other things ([`Layout::search`]).
pub const SECTION_NAMES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// The sections that Go's linker leaves in each program: the build's id, as a note, and what it was built from.
pub const BUILD_SECTION_NAMES: [&str; 2] = [".note.go.buildid", ".go.buildinfo"];
