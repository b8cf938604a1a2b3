use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use prof_model::{BuildId, Reason};
use rustc_hash::FxHashSet;

use crate::caches;
use crate::mapped_file::MappedFile;

/// Where the running kernel's own text lies: what perf writes as the kernel's MMAP record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelText {
    /// First address: that of [`KernelText::reference`].
    pub start: u64,
    /// First address behind it: `_etext`.
    pub end: u64,
    /// The symbol at `start`, `_text` or `_stext`. A reader that knows where the kernel's file has it
    /// can tell by how much the kernel was moved.
    pub reference: String,
}

/// A BPF program, or other code that the kernel has generated, and lists in `[bpf]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelProgram {
    /// `bpf_prog_TAG_NAME`.
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// How far it reaches at most.
    pub len: u32,
}

/// The running kernel's symbols, read once for all who hold a clone. The kernel takes its time to print
/// them, so a thread of their own reads them.
#[derive(Clone, Debug, Default)]
pub struct RunningKernel(Arc<OnceLock<Read>>);

#[derive(Debug)]
struct Read {
    symbols: Result<Arc<KernelSymbols>, Reason>,
    at: Instant,
}

impl Read {
    fn now(symbols: Result<KernelSymbols, Reason>) -> Self {
        Self {
            symbols: symbols.map(Arc::new),
            at: Instant::now(),
        }
    }
}

impl RunningKernel {
    /// Begins to read.
    pub fn read() -> Self {
        let kernel = Self::default();
        let other = kernel.clone();
        std::thread::spawn(move || {
            other.wait();
        });
        kernel
    }

    /// Begins to read for a recording: the copy that perf made since the last boot is read faster, and
    /// names the kernel's text. What else is asked for is then read from the kernel.
    pub fn read_copy() -> Self {
        let kernel = Self::default();
        let other = kernel.clone();
        std::thread::spawn(move || {
            let symbols = || KernelSymbols::copied().map_or_else(KernelSymbols::running, Ok);
            other.0.get_or_init(|| Read::now(symbols()));
        });
        kernel
    }

    /// Where the kernel's text lies. Waits until it is known.
    ///
    /// # Errors
    /// [`Reason::KernelRestricted`] if addresses are hidden from this process,
    /// [`Reason::NoSymbolTable`] if the kernel has no table.
    pub fn text(&self) -> Result<KernelText, Reason> {
        self.symbols()?.text().ok_or(Reason::NoSymbolTable)
    }

    /// The BPF programs that were loaded when it was read. Waits until they are known.
    pub fn programs(&self) -> Vec<KernelProgram> {
        self.symbols()
            .map_or(Vec::new(), |symbols| symbols.programs())
    }

    pub(crate) fn symbols(&self) -> Result<Arc<KernelSymbols>, Reason> {
        self.wait().symbols.clone()
    }

    /// How long ago they were read: modules may have been loaded since.
    pub(crate) fn age(&self) -> Duration {
        self.wait().at.elapsed()
    }

    #[cfg(test)]
    pub(crate) fn of_old(table: &[u8], age: Duration) -> Self {
        let read = Read {
            symbols: KernelSymbols::parse(table).map(Arc::new),
            at: Instant::now() - age,
        };
        Self(Arc::new(OnceLock::from(read)))
    }

    fn wait(&self) -> &Read {
        self.0.get_or_init(|| Read::now(KernelSymbols::running()))
    }
}

/// The build-id of the running kernel, from `/sys/kernel/notes`.
pub fn running_kernel_build_id() -> Option<BuildId> {
    let notes = fs::read("/sys/kernel/notes").ok()?;
    build_id_in_notes(&notes)
}

/// The functions of a kernel and its modules by address.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    names: String,
    entries: Vec<Entry>, // by address, in the order of the table where several have one
    programs: Vec<u64>,  // addresses of those in `[bpf]`
    text_only: Option<Range<u64>>, // other addresses are not looked up
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    addr: u64,
    name: u32, // offset in `names`
    len: u16,
    kind: u8, // the type letter of nm
}

const _: () = assert!(size_of::<Entry>() == 16); // a kernel has some 100,000

/// One function of the kernel: its size reaches to the next symbol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernelSymbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl KernelSymbols {
    /// Those of the running kernel.
    pub(crate) fn running() -> Result<Self, Reason> {
        Self::read(Path::new(KALLSYMS))
    }

    /// Those of the running kernel's text in perf's copy, if the kernel still lies where it lay then.
    fn copied() -> Option<Self> {
        let copy = caches::kallsyms(running_kernel_build_id()?)?;
        Self::copied_from(File::open(copy).ok()?, File::open(KALLSYMS).ok()?)
    }

    /// Modules come and go while a kernel runs, but its own text never changes its symbols, and has
    /// one place from boot to boot: the same first lines, `_text` among them, tell the same boot.
    fn copied_from(mut copy: impl io::Read, mut running: impl io::Read) -> Option<Self> {
        let mut start = Vec::new();
        while memchr::memmem::find(&start, b" T _text\n").is_none() {
            let known = start.len();
            start.resize(known + FIRST_LINES, 0);
            let count = running.read(&mut start[known..]).ok()?;
            start.truncate(known + count);
            if count == 0 || known > MOST_IN_FRONT {
                return None;
            }
        }
        let mut same = vec![0; start.len()];
        copy.read_exact(&mut same).ok()?;
        if same != start {
            return None;
        }
        let mut symbols = Self::parse(io::Read::chain(&same[..], copy)).ok()?;
        let KernelText { start, end, .. } = symbols.text()?;
        // Code of the boot lies behind it: CPUs that idle have called from there and not returned.
        let boot_end = symbols.address("_einittext").filter(|&it| it > end);
        symbols.text_only = Some(start..boot_end.unwrap_or(end));
        Some(symbols)
    }

    /// Whether it is a kernel's own file, not a table.
    pub(crate) fn is_kernel_file(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| is_elf(&file))
    }

    /// Those in a copy of `/proc/kallsyms`, or in a kernel's own file, `vmlinux`.
    pub(crate) fn read(path: &Path) -> Result<Self, Reason> {
        let table = File::open(path).map_err(|error| unreadable(&error))?;
        if is_elf(&table) {
            let image = MappedFile::open(&table).map_err(|error| unreadable(&error))?;
            return Self::of_file(image.as_ref());
        }
        Self::parse(table)
    }

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

    /// Reads the table piece by piece: most of it are not functions.
    fn parse(mut table: impl io::Read) -> Result<Self, Reason> {
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

    /// The function that covers `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<KernelSymbol<'_>> {
        if self
            .text_only
            .as_ref()
            .is_some_and(|it| !it.contains(&addr))
        {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.addr <= addr);
        let last = self.entries.get(after.checked_sub(1)?)?;
        let first = self.entries.partition_point(|entry| entry.addr < last.addr);
        let end = match self.entries.get(after) {
            Some(next) => next.addr,
            None => (last.addr | 0xfff).saturating_add(1 + 0x1000),
        };
        let aliases = self.entries[first..after].iter();
        let best = aliases.min_by_key(|entry| self.preference(entry))?;
        (addr < end).then(|| KernelSymbol {
            name: self.name(best),
            start: last.addr,
            size: end - last.addr,
        })
    }

    /// Of several names for one address the one with the least is printed.
    fn preference(&self, entry: &Entry) -> impl Ord + use<> {
        let name = self.name(entry);
        let underscores = name.bytes().take_while(|&byte| byte == b'_').count();
        (
            entry.kind.eq_ignore_ascii_case(&b'w'),
            entry.kind.is_ascii_lowercase(),
            is_second_name(name),
            underscores,
            Reverse(name.len()),
        )
    }

    /// The address of the symbol with this name.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| self.name(entry) == name)?;
        let is_known = |addr: &u64| match &self.text_only {
            Some(text) => (text.start..=text.end).contains(addr),
            None => true,
        };
        Some(entry.addr).filter(is_known)
    }

    /// Whether only the kernel's text has names.
    pub(crate) fn is_text_only(&self) -> bool {
        self.text_only.is_some()
    }

    fn text(&self) -> Option<KernelText> {
        let (reference, start) = ["_text", "_stext"]
            .into_iter()
            .find_map(|name| Some((name, self.address(name)?)))?;
        let end = self.address("_etext").filter(|&end| end > start)?;
        let reference = reference.to_owned();
        Some(KernelText {
            start,
            end,
            reference,
        })
    }

    fn programs(&self) -> Vec<KernelProgram> {
        let symbols = self.programs.iter().filter_map(|&addr| self.find(addr));
        let program = |symbol: KernelSymbol<'_>| KernelProgram {
            name: symbol.name.to_owned(),
            start: symbol.start,
            len: u32::try_from(symbol.size).map_or(MOST_OF_PROGRAM, |it| it.min(MOST_OF_PROGRAM)),
        };
        symbols.map(program).collect()
    }

    fn name(&self, entry: &Entry) -> &str {
        let start = entry.name as usize;
        &self.names[start..start + usize::from(entry.len)]
    }
}

/// What a program takes at most if nothing follows it soon.
const MOST_OF_PROGRAM: u32 = 1 << 16;
/// What the kernel prints of its symbols.
const KALLSYMS: &str = "/proc/kallsyms";
/// So much of it is read at once for a comparison.
const FIRST_LINES: usize = 4096;
/// Variables of CPUs may stand in front of the text, but not more of them than this.
const MOST_IN_FRONT: usize = 1 << 18;

fn is_elf(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_at(&mut magic, 0).is_ok_and(|count| count == 4) && magic == elf::ELFMAG
}

fn unreadable(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::KernelRestricted,
        _ => Reason::NoSymbolTable,
    }
}

/// Whether it is what the same code is called in 32-bit programs' calls, or in code that runs before the
/// kernel is at its place.
fn is_second_name(name: &str) -> bool {
    name.contains("__ia32_") || name.starts_with("__pi_")
}

/// What the kernel prints of each address.
const ADDRESS_DIGITS: usize = 16;

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
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines).chain([lines.len()]) {
            self.take_line(&lines[start..end]);
            start = end + 1;
        }
    }

    /// `ffffffff81000000 T name\t[module]`
    fn take_line(&mut self, line: &[u8]) -> Option<()> {
        let digits = match line.get(ADDRESS_DIGITS) {
            Some(b' ') => ADDRESS_DIGITS,
            _ => memchr::memchr(b' ', line)?,
        };
        let [b' ', kind @ (b'T' | b't' | b'W' | b'w'), b' ', name @ ..] = &line[digits..] else {
            return None;
        };
        let addr = address(&line[..digits])?;
        if addr == 0 {
            self.hides = true;
            return None;
        }
        let end = memchr::memchr3(b'\t', b' ', b'\r', name).unwrap_or(name.len());
        if name[end..].ends_with(b"[bpf]") {
            self.programs.push(addr);
        }
        self.push(addr, *kind, &name[..end])
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

    fn finish(mut self) -> Result<KernelSymbols, Reason> {
        if self.entries.is_empty() {
            return Err(match self.hides {
                true => Reason::KernelRestricted,
                false => Reason::NoSymbolTable,
            });
        }
        if self.unsorted {
            self.entries.sort_by_key(|entry| entry.addr); // stable
        }
        // Names have their places: a byte that is no character is replaced by one. Halves of a
        // character, at the end of a name and at the start of the next, are none either.
        let entries = &self.entries;
        let is_whole = |names: &str| {
            let mut starts = entries.iter().map(|entry| entry.name as usize);
            starts.all(|start| names.is_char_boundary(start))
        };
        let names = match String::from_utf8(self.names) {
            Ok(names) if is_whole(&names) => names,
            other => {
                let bytes = other.map_or_else(|error| error.into_bytes(), String::into_bytes);
                let ascii = bytes.into_iter();
                let ascii = ascii.map(|byte| if byte.is_ascii() { byte } else { b'?' });
                ascii.map(char::from).collect()
            }
        };
        Ok(KernelSymbols {
            names,
            entries: self.entries,
            programs: self.programs,
            text_only: None,
        })
    }
}

/// A number of up to 16 hexadecimal digits.
fn address(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Notes are {name size, descriptor size, type} as three 32-bit words, then name and descriptor, each
/// padded to four bytes.
fn build_id_in_notes(mut notes: &[u8]) -> Option<BuildId> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let mut word = || {
            let (word, rest) = notes.split_first_chunk::<4>()?;
            notes = rest;
            Some(u32::from_ne_bytes(*word))
        };
        let (name_len, desc_len, kind) = (word()? as usize, word()? as usize, word()?);
        let name = notes.get(..name_len)?;
        notes = notes.get(name_len.next_multiple_of(4)..)?;
        let desc = notes.get(..desc_len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return BuildId::new(desc);
        }
        notes = notes.get(desc_len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 t __do_work
ffffffff81000040 T do_work
ffffffff81000040 W do_work_weak
ffffffff81000080 T __pi_copy
ffffffff81000080 T copy
ffffffff81000100 T _etext
ffffffff81200000 D some_data
ffffffffc0200000 t mod_fn\t[mymod]
";

    fn parse(text: &str) -> KernelSymbols {
        KernelSymbols::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn bpf_programs_reach_to_the_next_symbol_and_not_too_far() {
        let table = b"ffffffffc0000000 t bpf_prog_0011223344556677_a\t[bpf]\n\
            ffffffffc0000100 t bpf_prog_8899aabbccddeeff_b\t[bpf]\n\
            ffffffffc1000000 t f\t[module]\n";
        let programs = RunningKernel::of_old(table, Duration::ZERO).programs();
        let programs = programs.iter().map(|it| (&it.name[..], it.start, it.len));
        assert_eq!(
            programs.collect::<Vec<_>>(),
            [
                ("bpf_prog_0011223344556677_a", 0xffff_ffff_c000_0000, 0x100),
                (
                    "bpf_prog_8899aabbccddeeff_b",
                    0xffff_ffff_c000_0100,
                    0x1_0000
                ),
            ]
        );
    }

    #[test]
    fn a_function_reaches_to_the_next_and_modules_are_part_of_the_table() {
        let symbols = parse(TABLE);
        let name = |addr| symbols.find(addr).map(|symbol| symbol.name);
        assert_eq!(name(0xffff_ffff_8100_0040), Some("do_work"));
        assert_eq!(name(0xffff_ffff_8100_007f), Some("do_work"));
        assert_eq!(name(0xffff_ffff_8100_00ff), Some("copy"));
        assert_eq!(name(0xffff_ffff_80ff_ffff), None);
        assert_eq!(name(0xffff_ffff_c020_1fff), Some("mod_fn"));
        assert_eq!(name(0xffff_ffff_c020_2000), None);
        let symbol = symbols.find(0xffff_ffff_8100_0041).unwrap();
        assert_eq!((symbol.start, symbol.size), (0xffff_ffff_8100_0040, 0x40));
    }

    #[test]
    fn kernel_text_starts_at_text_and_ends_at_etext() {
        let text = parse(TABLE).text().unwrap();
        assert_eq!(text.reference, "_text");
        assert_eq!(text.start, 0xffff_ffff_8100_0000);
        assert_eq!(text.end, 0xffff_ffff_8100_0100);
    }

    #[test]
    fn a_copy_names_the_text_of_the_kernel_that_lies_where_it_lay() {
        let later = TABLE.replace("mod_fn", "another_fn");
        let (first, rest) = later.split_at(later.find("ffffffff81000100").unwrap());
        let running = io::Read::chain(first.as_bytes(), rest.as_bytes());
        let symbols = KernelSymbols::copied_from(TABLE.as_bytes(), running).unwrap();
        let name = |addr| symbols.find(addr).map(|symbol| symbol.name);
        assert_eq!(name(0xffff_ffff_8100_0000), Some("_stext"));
        assert_eq!(name(0xffff_ffff_8100_00ff), Some("copy"));
        assert_eq!(name(0xffff_ffff_8100_0100), None);
        assert_eq!(name(0xffff_ffff_c020_0000), None);
        assert_eq!(symbols.address("mod_fn"), None);
        assert_eq!(symbols.text(), parse(TABLE).text());
    }

    #[test]
    fn a_copy_names_the_code_of_the_boot_too() {
        let boot = "ffffffff81300000 T start_kernel\nffffffff81300040 T _einittext\nffffffffc0";
        let table = TABLE.replace("ffffffffc0", boot);
        let symbols = KernelSymbols::copied_from(table.as_bytes(), table.as_bytes()).unwrap();
        let name = |addr| symbols.find(addr).map(|symbol| symbol.name);
        assert_eq!(name(0xffff_ffff_8130_003f), Some("start_kernel"));
        assert_eq!(name(0xffff_ffff_8130_0040), None);
        assert_eq!(symbols.text(), parse(TABLE).text());
    }

    #[test]
    fn a_copy_of_another_boot_or_a_torn_one_is_not_used() {
        let moved = TABLE.replace("ffffffff81", "ffffffff92");
        let torn = &TABLE[..TABLE.find("_etext").unwrap()];
        for copy in [&*moved, torn, &TABLE[..60], ""] {
            assert!(KernelSymbols::copied_from(copy.as_bytes(), TABLE.as_bytes()).is_none());
        }
        let hidden = TABLE.replace("ffffffff81", "0000000000");
        assert!(KernelSymbols::copied_from(hidden.as_bytes(), hidden.as_bytes()).is_none());
        assert!(KernelSymbols::copied_from(TABLE.as_bytes(), &b""[..]).is_none());
    }

    #[test]
    fn a_table_of_zeros_is_a_restricted_kernel() {
        let zeros = "0000000000000000 T _text\n0000000000000000 T do_work\n";
        assert_eq!(
            KernelSymbols::parse(zeros.as_bytes()).unwrap_err(),
            Reason::KernelRestricted
        );
        assert_eq!(
            KernelSymbols::parse(&b""[..]).unwrap_err(),
            Reason::NoSymbolTable
        );
    }

    #[test]
    fn a_build_id_is_found_behind_another_note_and_cut_notes_have_none() {
        let mut notes = Vec::new();
        for (name, desc, kind) in [("Xen\0", &b"12345"[..], 6_u32), ("GNU\0", b"abcd", 3)] {
            notes.extend((name.len() as u32).to_ne_bytes());
            notes.extend((desc.len() as u32).to_ne_bytes());
            notes.extend(kind.to_ne_bytes());
            notes.extend(name.as_bytes());
            notes.extend(desc);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id_in_notes(&notes), BuildId::new(b"abcd"));
        for len in 0..notes.len() {
            assert_eq!(build_id_in_notes(&notes[..len]), None);
        }
    }

    #[test]
    fn halves_of_a_character_in_two_names_do_not_become_one() {
        let table = b"10 T Z\xca\n20 T \xb6\n30 T plain\n";
        let symbols = KernelSymbols::parse(&table[..]).unwrap();
        let names = symbols.entries.iter().map(|entry| symbols.name(entry));
        assert_eq!(names.collect::<Vec<_>>(), ["Z?", "?", "plain"]);
    }
}
