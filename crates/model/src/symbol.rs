use std::sync::Arc;

/// A function's name and extent in its DSO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Demangled, without parameter list or hash: what reports print.
    pub name: Arc<str>,
    /// As the symbol table has it.
    pub raw: Arc<str>,
    /// Its first address, numbered as [`crate::DsoAddr`].
    pub start: u64,
    /// Its length in bytes, up to the next symbol where the table has none.
    pub size: u64,
    /// Where the name came from.
    pub source: SymbolSource,
}

/// Where a name came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolSource {
    /// `.symtab`, of the file or of its separate debug file.
    Symtab,
    /// `.dynsym`.
    Dynsym,
    /// A PLT stub, named after the function it jumps to.
    Plt,
    /// `.gnu_debugdata`.
    MiniDebugInfo,
    /// A subprogram in DWARF.
    Dwarf,
    /// Go's `.gopclntab`.
    GoPclntab,
    /// `/proc/kallsyms`, or a KSYMBOL record.
    Kallsyms,
    /// `/tmp/perf-PID.map`.
    PerfMap,
    /// `jit-PID.dump`.
    Jitdump,
    /// The names that `prof record` stored in the file.
    Stored,
    /// The tables of the runtime that generated the code.
    Runtime,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLine {
    /// The path as the debug info has it.
    pub file: Arc<str>,
    /// From 1; 0 where the debug info has no line.
    pub line: u32,
}

/// A function whose body the compiler copied into its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFrame {
    /// Demangled name.
    pub name: Arc<str>,
    /// Where in its source the address lies.
    pub location: Option<SourceLine>,
}

/// What is known about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It has a name.
    Named {
        /// The physical function.
        symbol: Symbol,
        /// The functions inlined there, innermost first; often empty.
        inlined: Vec<InlineFrame>,
        /// Where in the physical function's own source the address (or the outermost inlined call)
        /// lies.
        location: Option<SourceLine>,
    },
    /// It has none.
    Unresolved(Reason),
}

/// Why an address has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No mapping covers it.
    NoMapping = 0,
    /// The mapped file could not be found or read.
    FileMissing = 1,
    /// A file lies at its path, but it is not the one that was mapped.
    FileReplaced = 2,
    /// The file has no symbol table and no separate debug file was found.
    NoSymbolTable = 3,
    /// The tables have no symbol around this address.
    NoSymbol = 4,
    /// Memory without a file, and no perf map that covers it.
    NoPerfMap = 5,
    /// `kernel.kptr_restrict` hides the kernel's addresses.
    KernelRestricted = 6,
    /// The recording comes from another kernel than the one that runs here.
    OtherKernel = 7,
    /// The file is there, and cannot be opened or mapped.
    FileUnreadable = 8,
    /// The file has no symbol table, and what is packed in it or in its debug file would unpack to more
    /// than debug info does.
    TooLarge = 9,
    /// What lies at its path is no regular file: a device, a FIFO, or one that the kernel makes up.
    NotRegular = 10,
    /// The file is longer than any program.
    FileTooLarge = 11,
    /// There is a perf map or a jitdump, and somebody else than the process may have written it.
    NotBelieved = 12,
    /// It was not looked up, or not to the end: that would have taken too long, or too much memory.
    LeftOut = 13,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 14] = [
        Self::NoMapping,
        Self::FileMissing,
        Self::FileReplaced,
        Self::NoSymbolTable,
        Self::NoSymbol,
        Self::NoPerfMap,
        Self::KernelRestricted,
        Self::OtherKernel,
        Self::FileUnreadable,
        Self::TooLarge,
        Self::NotRegular,
        Self::FileTooLarge,
        Self::NotBelieved,
        Self::LeftOut,
    ];

    /// A few words for a summary line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoMapping => "no mapping covers the address",
            Self::FileMissing => "the mapped file was not found",
            Self::FileReplaced => "the file on disk is not the one that ran",
            Self::NoSymbolTable => "stripped, and no debug file was found",
            Self::NoSymbol => "no symbol covers the address",
            Self::NoPerfMap => "generated code without a perf map",
            Self::KernelRestricted => "kernel.kptr_restrict hides kernel addresses",
            Self::OtherKernel => "recorded on another kernel",
            Self::FileUnreadable => "the mapped file could not be read",
            Self::TooLarge => "its packed debug info is larger than any can be",
            Self::NotRegular => "what lies at its path is no regular file",
            Self::FileTooLarge => "the file is longer than any program",
            Self::NotBelieved => "generated code whose perf map another user may have written",
            Self::LeftOut => "left out: to look it up takes too long, or too much memory",
        }
    }
}
