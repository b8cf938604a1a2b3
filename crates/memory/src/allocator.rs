//! Whose heap it is.

use std::fmt;
use std::fs::File;

use object::read::ReadCache;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::smaps::Mapping;

/// An allocator that a process has beside the C library's, or in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allocator {
    /// The GNU C library's.
    Glibc,
    /// Of musl libc.
    Musl,
    /// jemalloc.
    Jemalloc,
    /// Google's, with or without gperftools.
    Tcmalloc,
    /// Microsoft's.
    Mimalloc,
    /// The heap of the Go runtime.
    Go,
    /// The heap of a Java virtual machine.
    Java,
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Jemalloc => "jemalloc",
            Self::Tcmalloc => "tcmalloc",
            Self::Mimalloc => "mimalloc",
            Self::Go => "Go",
            Self::Java => "Java",
        })
    }
}

/// What mapped files with such names tell.
const FILES: [(&str, Allocator); 6] = [
    ("/ld-musl-", Allocator::Musl),
    ("/libjemalloc", Allocator::Jemalloc),
    ("/libtcmalloc", Allocator::Tcmalloc),
    ("/libmimalloc", Allocator::Mimalloc),
    ("/libjvm.so", Allocator::Java),
    ("/libc.so.6", Allocator::Glibc),
];
/// What functions of the program with such names tell.
const FUNCTIONS: [(&str, Allocator); 6] = [
    ("_rjem_malloc", Allocator::Jemalloc),
    ("je_malloc", Allocator::Jemalloc),
    ("mallocx", Allocator::Jemalloc),
    ("tc_malloc", Allocator::Tcmalloc),
    ("mi_malloc", Allocator::Mimalloc),
    ("runtime.mallocgc", Allocator::Go),
];

/// The allocators that a process has by the names of what it has mapped, and by the symbols of its program where it
/// has some. Ascending.
pub fn allocators(pid: i32, mappings: &[Mapping]) -> Vec<Allocator> {
    let mut found = Vec::new();
    for (part, allocator) in FILES {
        if mappings.iter().any(|mapping| mapping.name.contains(part)) {
            found.push(allocator);
        }
    }
    found.extend(of_program(pid).unwrap_or_default());
    found.sort_unstable();
    found.dedup();
    found
}

fn of_program(pid: i32) -> Option<Vec<Allocator>> {
    let file = File::open(format!("/proc/{pid}/exe")).ok()?;
    let cache = ReadCache::new(file);
    let elf: ElfFile64<'_, object::Endianness, _> = ElfFile64::parse(&cache).ok()?;
    let mut found = Vec::new();
    let is_go = |name: &str| name == ".go.buildinfo" || name == ".gopclntab";
    if elf.sections().any(|it| it.name().is_ok_and(is_go)) {
        found.push(Allocator::Go);
    }
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    for symbol in symbols.filter(|it| it.is_definition()) {
        let name = symbol.name().unwrap_or_default();
        found.extend(FUNCTIONS.iter().find(|it| it.0 == name).map(|it| it.1));
    }
    Some(found)
}
