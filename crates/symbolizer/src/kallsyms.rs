use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use object::elf;
use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};
use prof_model::{BuildId, KernelLayout, KernelProgram, KernelText, Reason};

use crate::caches;
use crate::kallsyms_copy::CopiedLines;
use crate::kallsyms_table::{Around, KernelTable, unreadable};
use crate::mapped_file::MappedFile;

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

/// Does some work beside the caller's; nothing if there can be no further thread, for whoever needs what
/// it finds does it then.
fn beside(work: impl FnOnce() + Send + 'static) {
    let _ = Builder::new().spawn(work);
}

impl RunningKernel {
    /// Begins to read.
    pub fn read() -> Self {
        let kernel = Self::default();
        let other = kernel.clone();
        beside(move || {
            other.wait();
        });
        kernel
    }

    /// Begins to read for a recording: the copy that perf made since the last boot is read faster, and
    /// names the kernel's text. What else is asked for is then read from the kernel.
    pub fn read_copy() -> Self {
        let kernel = Self::default();
        let other = kernel.clone();
        beside(move || {
            let symbols = || KernelSymbols::copied().map_or_else(KernelSymbols::running, Ok);
            other.0.get_or_init(|| Read::now(symbols()));
        });
        kernel
    }

    /// Where the kernel's code lies. Waits until it is known.
    ///
    /// # Errors
    /// [`Reason::KernelRestricted`] if addresses are hidden from this process,
    /// [`Reason::NoSymbolTable`] if the kernel has no table.
    pub fn layout(&self) -> Result<KernelLayout, Reason> {
        let symbols = self.symbols()?;
        Ok(KernelLayout {
            text: symbols.text().ok_or(Reason::NoSymbolTable)?,
            programs: symbols.programs(),
        })
    }

    /// Where the code of a function lies, if the kernel's symbols may be read and one has this name.
    pub fn function(&self, name: &str) -> Option<Range<u64>> {
        let symbols = self.symbols().ok()?;
        let symbol = symbols.find(symbols.address(name)?)?;
        Some(symbol.start..symbol.start + symbol.size)
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
#[derive(Debug)]
pub(crate) enum KernelSymbols {
    /// All of them.
    Table(KernelTable),
    /// Those of the running kernel's own text.
    Text(CopiedLines),
}

/// One function of the kernel: its size reaches to the next symbol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernelSymbol<'a> {
    pub(crate) name: Cow<'a, str>,
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
        let copy = MappedFile::open(&open_copy(running_kernel_build_id()?)?).ok()?;
        let lines = CopiedLines::new(copy, File::open(KALLSYMS).ok()?)?;
        Some(Self::Text(lines))
    }

    /// Those in perf's copy of the table of another kernel, if there is one.
    pub(crate) fn of_other(build_id: BuildId) -> Result<Self, Reason> {
        Self::parse(open_copy(build_id).ok_or(Reason::OtherKernel)?)
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
        KernelTable::of_file(image).map(Self::Table)
    }

    fn parse(table: impl io::Read) -> Result<Self, Reason> {
        KernelTable::parse(table).map(Self::Table)
    }

    /// The function that covers `addr`.
    pub(crate) fn find(&self, addr: u64) -> Option<KernelSymbol<'_>> {
        let Around { best, next } = match self {
            Self::Table(table) => table.around(addr),
            Self::Text(lines) => lines.around(addr),
        }?;
        let page_on = || (best.addr | 0xfff).saturating_add(1 + 0x1000);
        let end = next.unwrap_or_else(page_on);
        (addr < end).then(|| KernelSymbol {
            name: best.text(),
            start: best.addr,
            size: end - best.addr,
        })
    }

    /// The address of the symbol with this name.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        match self {
            Self::Table(table) => table.address(name),
            Self::Text(lines) => lines.address(name),
        }
    }

    /// Whether only the kernel's text has names.
    pub(crate) fn is_text_only(&self) -> bool {
        matches!(self, Self::Text(_))
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
        let addresses = match self {
            Self::Table(table) => table.programs(),
            Self::Text(_) => &[],
        };
        let symbols = addresses.iter().filter_map(|&addr| self.find(addr));
        let program = |symbol: KernelSymbol<'_>| KernelProgram {
            name: symbol.name.into_owned(),
            start: symbol.start,
            len: u32::try_from(symbol.size).map_or(MOST_OF_PROGRAM, |it| it.min(MOST_OF_PROGRAM)),
        };
        symbols.map(program).collect()
    }
}

/// What a program takes at most if nothing follows it soon.
const MOST_OF_PROGRAM: u32 = 1 << 16;
/// What the kernel prints of its symbols.
const KALLSYMS: &str = "/proc/kallsyms";

/// perf's copy of the table of a kernel.
fn open_copy(build_id: BuildId) -> Option<File> {
    let copy = ForeignPath::at(&caches::kallsyms(build_id)?);
    Some(ForeignFile::open(&copy, Purpose::KernelTable).ok()?.file)
}

fn is_elf(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_at(&mut magic, 0).is_ok_and(|count| count == 4) && magic == elf::ELFMAG
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

    const COPIED: &str = "\
0000000000000000 A first_of_cpu
0000000000001000 A last_of_cpu
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000010 t a
ffffffff81000010 t b
ffffffff81000010 W weak_name
ffffffff81000020 D variable
ffffffff81000020 D another
ffffffff81000030 T __ia32_call
ffffffff81000030 T call
ffffffff81000038 D third
ffffffff81000040 T _etext
ffffffff81000050 D __start_rodata
ffffffff81000060 T _sinittext
ffffffff81000070 T _einittext
ffffffffc0300000 t later\t[module]
ffffffffc0200000 t earlier\t[module]
";

    fn parse(text: &str) -> KernelSymbols {
        KernelSymbols::parse(text.as_bytes()).unwrap()
    }

    fn copied_from(copy: impl AsRef<[u8]>, running: impl io::Read) -> Option<KernelSymbols> {
        let copy = MappedFile::from_bytes(copy.as_ref().to_vec());
        CopiedLines::new(copy, running).map(KernelSymbols::Text)
    }

    fn name(symbols: &KernelSymbols, addr: u64) -> Option<String> {
        symbols.find(addr).map(|symbol| symbol.name.into_owned())
    }

    #[test]
    fn bpf_programs_reach_to_the_next_symbol_and_not_too_far() {
        let table = b"ffffffffc0000000 t bpf_prog_0011223344556677_a\t[bpf]\n\
            ffffffffc0000100 t bpf_prog_8899aabbccddeeff_b\t[bpf]\n\
            ffffffffc1000000 t f\t[module]\n";
        let programs = KernelSymbols::parse(&table[..]).unwrap().programs();
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
        let name = |addr| name(&symbols, addr);
        assert_eq!(name(0xffff_ffff_8100_0040), Some("do_work".into()));
        assert_eq!(name(0xffff_ffff_8100_007f), Some("do_work".into()));
        assert_eq!(name(0xffff_ffff_8100_00ff), Some("copy".into()));
        assert_eq!(name(0xffff_ffff_80ff_ffff), None);
        assert_eq!(name(0xffff_ffff_c020_1fff), Some("mod_fn".into()));
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
        let symbols = copied_from(TABLE, running).unwrap();
        let name = |addr| name(&symbols, addr);
        assert_eq!(name(0xffff_ffff_8100_0000), Some("_stext".into()));
        assert_eq!(name(0xffff_ffff_8100_00ff), Some("copy".into()));
        assert_eq!(name(0xffff_ffff_8100_0100), None);
        assert_eq!(name(0xffff_ffff_c020_0000), None);
        assert_eq!(symbols.address("mod_fn"), None);
        assert_eq!(symbols.text(), parse(TABLE).text());
    }

    #[test]
    fn a_copy_names_the_code_of_the_boot_too() {
        let boot = "ffffffff81300000 T start_kernel\nffffffff81300040 T _einittext\nffffffffc0";
        let table = TABLE.replace("ffffffffc0", boot);
        let symbols = copied_from(&table, table.as_bytes()).unwrap();
        let name = |addr| name(&symbols, addr);
        assert_eq!(name(0xffff_ffff_8130_003f), Some("start_kernel".into()));
        assert_eq!(name(0xffff_ffff_8130_0040), None);
        assert_eq!(symbols.text(), parse(TABLE).text());
    }

    #[test]
    fn a_copy_of_another_boot_or_a_torn_one_is_not_used() {
        let moved = TABLE.replace("ffffffff81", "ffffffff92");
        let torn = &TABLE[..TABLE.find("_etext").unwrap()];
        for copy in [&*moved, torn, &TABLE[..60], ""] {
            assert!(copied_from(copy, TABLE.as_bytes()).is_none());
        }
        let hidden = TABLE.replace("ffffffff81", "0000000000");
        assert!(copied_from(&hidden, hidden.as_bytes()).is_none());
        assert!(copied_from(TABLE, &b""[..]).is_none());
    }

    #[test]
    fn a_copy_that_somebody_has_edited_gives_no_function_that_lies_elsewhere() {
        let lines = ["1 T a", "", "\r", "no line", "FFFFFFFF81000050 T upper"];
        let further = ["ffffffff810000ff T later", "ffffffff81000010 T before"];
        for edit in lines.iter().chain(&further) {
            for (place, _) in TABLE.match_indices('\n') {
                let (before, behind) = TABLE.split_at(place + 1);
                let copy = format!("{before}{edit}\n{behind}");
                let Some(symbols) = copied_from(&copy, TABLE.as_bytes()) else {
                    continue;
                };
                for addr in 0xffff_ffff_8100_0000_u64..0xffff_ffff_8100_0101 {
                    if let Some(found) = symbols.find(addr) {
                        let is_there = found.start <= addr && addr - found.start < found.size;
                        assert!(is_there, "{edit} at {place}: {found:?} at {addr:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_short_line_in_front_of_a_blank_of_the_next_is_a_line() {
        let symbols = parse("1 T abcdefgh\n123 T x\n");
        assert_eq!(name(&symbols, 1), Some("abcdefgh".into()));
        assert_eq!(name(&symbols, 0x123), Some("x".into()));
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
        let names = [0x10, 0x20, 0x30].map(|addr| name(&symbols, addr).unwrap());
        assert_eq!(names, ["Z?", "?", "plain"]);
    }

    #[test]
    fn a_copy_says_of_every_address_what_a_table_says() {
        let table = COPIED;
        let (copied, parsed) = (copied_from(table, table.as_bytes()).unwrap(), parse(table));
        for addr in 0xffff_ffff_8100_0000..0xffff_ffff_8100_0070 {
            assert_eq!(copied.find(addr), parsed.find(addr), "{addr:#x}");
            assert!(copied.find(addr).is_some());
        }
        for name in ["_text", "a", "b", "call", "_etext", "_einittext"] {
            assert_eq!(copied.address(name), parsed.address(name), "{name}");
        }
        for addr in [0, 0xffff_ffff_80ff_ffff, 0xffff_ffff_8100_0070, u64::MAX] {
            assert_eq!(copied.find(addr), None);
        }
    }

    /// The fuzz targets reach no copy: one is believed only beside the running kernel's table.
    #[test]
    fn of_a_damaged_copy_a_function_lies_around_the_address_that_was_asked_for() {
        const ROUNDS: usize = 20_000;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        };
        let mut believed = 0;
        for _ in 0..ROUNDS {
            let mut table = COPIED.as_bytes().to_vec();
            for _ in 0..1 + below(4) {
                let at = below(table.len());
                match below(4) {
                    0 => table[at] = below(256) as u8,
                    1 => table.insert(at, b"\n 0f"[below(4)]),
                    2 => drop(table.remove(at)),
                    _ => drop(table.drain(at..(at + 30).min(table.len()))),
                }
            }
            let Some(copied) = copied_from(&table, &table[..]) else {
                continue;
            };
            believed += 1;
            for addr in (0xffff_ffff_8100_0000..0xffff_ffff_8100_0070).step_by(7) {
                if let Some(found) = copied.find(addr) {
                    assert!(found.start <= addr && addr - found.start < found.size);
                }
            }
        }
        assert!(believed > ROUNDS / 4, "{believed}");
    }
}
