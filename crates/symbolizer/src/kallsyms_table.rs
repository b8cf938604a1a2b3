//! The symbols of a kernel as a table: from what the running one prints, or from a kernel's file.

use std::io;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use prof_model::Reason;
use rustc_hash::FxHashSet;

use crate::kallsyms_line::Line;

/// The functions of a kernel and its modules by address.
#[derive(Debug, Default)]
pub(crate) struct KernelTable {
    names: Vec<u8>,
    entries: Vec<Entry>, // by address, in the order of the table where several have one
    programs: Vec<u64>,  // addresses of those in `[bpf]`
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    addr: u64,
    name: u32, // offset in `names`
    len: u16,
    kind: u8, // the type letter of nm
}

const _: () = assert!(size_of::<Entry>() == 16); // a kernel has some 100,000

/// The symbols of one function.
pub(crate) struct Around<'a> {
    pub(crate) best: Line<'a>,    // of several names for it the one to print
    pub(crate) next: Option<u64>, // address of the next function
}

impl<'a> Around<'a> {
    pub(crate) fn new(
        aliases: impl Iterator<Item = Line<'a>>,
        next: Option<Line<'a>>,
    ) -> Option<Self> {
        Some(Self {
            best: aliases.min_by_key(Line::preference)?,
            next: next.map(|next| next.addr),
        })
    }
}

impl KernelTable {
    /// Those in a kernel's ELF file: all labels in its code, as nm lists them.
    pub(crate) fn of_file(image: &[u8]) -> Result<Self, Reason> {
        let object = object::File::parse(image).map_err(|_| Reason::NoSymbolTable)?;
        let sections = object.sections();
        let code: FxHashSet<_> = sections
            .filter(|section| section.kind() == SectionKind::Text)
            .map(|section| section.index())
            .collect();
        let mut parser = Parser::default();
        for symbol in object.symbols() {
            let is_label = !matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File);
            let is_code = symbol.section_index().is_some_and(|it| code.contains(&it));
            if let Ok(name) = symbol.name_bytes()
                && is_label
                && is_code
            {
                let kind = match (symbol.is_weak(), symbol.is_global()) {
                    (true, _) => b'W',
                    (false, true) => b'T',
                    (false, false) => b't',
                };
                parser.push(symbol.address(), kind, name);
            }
        }
        parser.finish()
    }

    /// Those in a copy of `/proc/kallsyms`, which is read piece by piece.
    pub(crate) fn parse(mut table: impl io::Read) -> Result<Self, Reason> {
        let mut parser = Parser::default();
        let mut buffer = vec![0; 1 << 16];
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                filled = 0; // a line as long as this is no symbol
            }
            match table.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(&error)),
            }
            let lines = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |end| end + 1);
            parser.take_lines(&buffer[..lines]);
            buffer.copy_within(lines..filled, 0);
            filled -= lines;
        }
        parser.take_lines(&buffer[..filled]);
        parser.finish()
    }

    /// The symbols of the function around `addr`.
    pub(crate) fn around(&self, addr: u64) -> Option<Around<'_>> {
        let after = self.entries.partition_point(|entry| entry.addr <= addr);
        let last = self.entries.get(after.checked_sub(1)?)?;
        let first = self.entries.partition_point(|entry| entry.addr < last.addr);
        let aliases = self.entries[first..after].iter();
        let next = self.entries.get(after);
        let line = |entry| self.line(entry);
        Around::new(aliases.map(line), next.map(line))
    }

    /// The address of the first symbol with this name.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        let mut lines = self.entries.iter().map(|entry| self.line(entry));
        Some(lines.find(|line| line.name == name.as_bytes())?.addr)
    }

    /// The addresses of BPF programs.
    pub(crate) fn programs(&self) -> &[u64] {
        &self.programs
    }

    fn line(&self, entry: &Entry) -> Line<'_> {
        let start = entry.name as usize;
        Line {
            addr: entry.addr,
            kind: entry.kind,
            name: &self.names[start..start + usize::from(entry.len)],
            module: &[],
        }
    }
}

/// What was read of a table so far.
#[derive(Default)]
struct Parser {
    names: Vec<u8>,
    entries: Vec<Entry>,
    programs: Vec<u64>,
    hides: bool, // there are functions at address 0
    unsorted: bool,
}

impl Parser {
    fn take_lines(&mut self, lines: &[u8]) {
        for line in Line::all(lines) {
            if line.addr == 0 {
                self.hides = true;
                continue;
            }
            if line.module.ends_with(b"[bpf]") {
                self.programs.push(line.addr);
            }
            self.push(line.addr, line.kind, line.name);
        }
    }

    fn push(&mut self, addr: u64, kind: u8, name: &[u8]) -> Option<()> {
        let last = self.entries.last();
        self.unsorted |= last.is_some_and(|last| addr < last.addr);
        self.entries.push(Entry {
            addr,
            name: u32::try_from(self.names.len()).ok()?, // no kernel has 4 GiB of names
            len: u16::try_from(name.len()).ok()?,
            kind,
        });
        self.names.extend_from_slice(name);
        Some(())
    }

    fn finish(mut self) -> Result<KernelTable, Reason> {
        if self.entries.is_empty() {
            return Err(match self.hides {
                true => Reason::KernelRestricted,
                false => Reason::NoSymbolTable,
            });
        }
        if self.unsorted {
            self.entries.sort_by_key(|entry| entry.addr); // stable
        }
        Ok(KernelTable {
            names: self.names,
            entries: self.entries,
            programs: self.programs,
        })
    }
}

/// Why there are no symbols where there is a table.
pub(crate) fn unreadable(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::KernelRestricted,
        _ => Reason::NoSymbolTable,
    }
}
