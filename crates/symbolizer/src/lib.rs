//! Names addresses: (DSO, address) to symbol, inline frames and source line, or the reason why there
//! is none. And finds the file behind a mapping, which an unwinder needs as well.
//!
//! In: DSOs and addresses in them, a running process or a recording. Out: [`prof_model::Resolution`],
//! [`FoundFile`]. Elsewhere: which mapping an address lies in (`prof-model`), unwinding
//! (`prof-unwinder`), storing names in a file (`prof-perfdata`).
#![deny(unsafe_code)]

mod caches; // where perf and debuginfod keep files by build-id
mod checksum; // CRC-32 and CRC-64
mod code_bounds; // where code without a size ends
mod code_map; // generated code by address
mod code_place; // functions around an address, as DWARF and Go's table tell them
mod debug_file; // separate debug files
mod demangle;
mod disassemble; // machine code as text
mod dwarf; // lines and inline frames
mod elf; // sections, build-id, file offsets and addresses
mod elf_code; // all that one ELF file says about an address
mod elf_symbols; // symbol tables into one
mod files; // the right file for a mapping
mod function_code; // a function's instructions
mod go_inlining; // calls that Go inlined
mod go_pclntab; // Go's own table
mod go_program; // words of a Go program that lead to it
mod jit_dump; // jit-PID.dump
mod kallsyms; // the kernel's symbols
mod kallsyms_copy; // perf's copy of them
mod kallsyms_line;
mod kallsyms_table; // all of them
mod kcore; // the kernel's memory
mod kernel_code; // the instructions of its functions
#[allow(unsafe_code)] // mapped memory, and a signal handler for it
mod mapped_file; // files as bytes: mmap, SIGBUS, the vDSO
mod name_sources; // what a file offers to naming
mod names; // interned names
mod nesting; // how deep functions are inlined
mod ocaml_names; // names as OCaml makes them
mod packed; // how much packed sections may unpack to
mod perf_map; // /tmp/perf-PID.map
mod plt; // stubs for calls into shared libraries
mod scoped_names; // C++ names without a mangled form
mod scoped_unit; // the entries of debug info that they are made of
mod source_text; // source files
mod split_dwarf; // .dwo and .dwp
mod symbol_table; // symbols by address
mod symbolizer;
mod told_code; // what runtimes told about their code
mod type_names; // the types in those names
mod unit_index; // which units of debug info have code where
mod xz;

pub use debug_file::debug_file_path;
pub use disassemble::AsmSyntax;
pub use elf::{Segment, read_build_id};
pub use files::{FileFinder, FoundFile};
pub use function_code::NoCode;
pub use jit_dump::JitDump;
pub use kallsyms::{RunningKernel, running_kernel_build_id};
pub use mapped_file::MappedFile;
pub use name_sources::NameSources;
pub use perf_map::{PerfMap, writer_of};
pub use symbolizer::{Options, Request, Symbolizer};
pub use told_code::ToldName;
