//! jitdump: what a JIT compiler tells about its code in a file `jit-PID.dump`. Unlike a perf map it
//! says when: memory that is used again for other code is no riddle.
//!
//! The file has a header and records, each {id, size, time}, in the byte order of the machine:
//! LOAD (0) with a function's address, name and code, MOVE (1), DEBUG_INFO (2) with the lines of the
//! LOAD that follows, CLOSE (3), UNWINDING_INFO (4). A process maps the file once, executable, so that
//! profilers learn of it.
//!
//! A place in such code is known by its offset in the dump, where the code lies as well: that stays
//! unique when the address does not.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use prof_model::{DsoAddr, JitLoad, Reason, Resolution, SourceLine, Symbol, SymbolSource};
use rustc_hash::FxHashMap;

use crate::code_map::CodeMap;
use crate::files::FoundFile;
use crate::mapped_file::MappedFile;
use crate::names::Names;

const MAGIC: u32 = 0x4a69_5444; // "JiTD"
/// Where the header has the machine.
const MACHINE: usize = 12;
/// In the header's flags: times are those of a CPU's counter.
const ARCH_TIMESTAMP: u64 = 1;

/// So many functions of a dump are taken in: each takes two hundred bytes, and the largest programs have a
/// hundred thousand.
const MOST_LOADS: usize = 1 << 19;

const LOAD: u32 = 0;
const MOVE: u32 = 1;
const DEBUG_INFO: u32 = 2;

/// The code of one process over time, from its dump as that grows, or from a recording that kept it.
#[derive(Debug)]
pub struct JitDump {
    file: Option<File>, // held open: the process and the path into its root may go away
    image: Option<Arc<MappedFile>>,
    table: Table,
    ordered: bool, // whether its times can be compared with those that are asked for
    placed_loads: usize, // so many, by time; those behind wait for theirs
    placed: CodeMap<JitLoad>,
    now: u64,
    late: Vec<JitLoad>,
    lone: FxHashMap<u64, Option<JitLoad>>, // answers of `only`
}

impl JitDump {
    /// Reads `file`, which may still be empty. `monotonic` says whether the times that will be asked
    /// for are of `CLOCK_MONOTONIC`, as those in a dump.
    pub fn new(file: File, monotonic: bool) -> Self {
        let mut dump = Self {
            file: Some(file),
            ..Self::from_loads(Vec::new(), monotonic)
        };
        dump.refresh();
        dump
    }

    /// What a recording kept of a dump.
    pub fn from_loads(mut loads: Vec<JitLoad>, monotonic: bool) -> Self {
        loads.sort_by_key(|load| load.time);
        Self {
            file: None,
            image: None,
            table: Table {
                loads,
                ..Table::default()
            },
            ordered: monotonic,
            placed_loads: 0,
            placed: CodeMap::default(),
            now: 0,
            late: Vec::new(),
            lone: FxHashMap::default(),
        }
    }

    /// Takes in what was written since the last call. Returns whether there was anything.
    pub fn refresh(&mut self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let known = self.image.as_ref().map_or(0, |image| bytes(image).len());
        let grown = file
            .metadata()
            .is_ok_and(|now| now.len() > known as u64 && now.is_file());
        let image = grown.then(|| MappedFile::open(file).ok()).flatten();
        let Some(image) = image.map(Arc::new) else {
            return false;
        };
        let before = self.table.loads.len();
        self.table.read(bytes(&image));
        self.image = Some(image);
        let late = self.table.loads[before..].iter();
        let late = late.filter(|load| load.time < self.now);
        let known = self.late.len();
        self.late.extend(late);
        if self.late.len() > known {
            self.placed = CodeMap::default(); // all anew, in the right order
            self.placed_loads = 0;
        }
        self.table.loads[self.placed_loads..].sort_by_key(|load| load.time); // stable
        self.lone.clear();
        true
    }

    /// The code at `addr` at a time. Times must not fall far.
    pub fn find(&mut self, addr: u64, time: u64) -> Option<JitLoad> {
        if !self.is_ordered() {
            return self.only(addr);
        }
        self.now = self.now.max(time);
        let loads = &self.table.loads[self.placed_loads..];
        for load in loads.iter().take_while(|load| load.time <= self.now) {
            self.placed.insert(load.range(), *load);
            self.placed_loads += 1;
        }
        self.placed.find(addr).copied()
    }

    /// The code at `addr`, if all that ever lay there has one name.
    pub fn only(&mut self, addr: u64) -> Option<JitLoad> {
        if let Some(&known) = self.lone.get(&addr) {
            return known;
        }
        let mut loads = self.loads_at(addr);
        let first = loads.next().copied();
        let answer = first.filter(|first| loads.all(|load| self.same_name(first, load)));
        drop(loads);
        self.lone.insert(addr, answer);
        answer
    }

    /// All code that ever lay at `addr`.
    pub fn loads_at(&self, addr: u64) -> impl Iterator<Item = &JitLoad> {
        let loads = self.table.loads.iter();
        loads.filter(move |load| load.range().contains(&addr))
    }

    /// Whether other code was announced at the same address only after it was asked for: what
    /// [`JitDump::find`] said may have been too early.
    pub fn is_doubtful(&self, place: DsoAddr) -> bool {
        let Some(function) = self.table.function(place.0) else {
            return false;
        };
        let own = self.table.loads.iter();
        let mut own = own.filter(|load| load.offset == function.offset);
        own.any(|own| {
            let addr = own.address(place);
            let mut late = self.late.iter();
            late.any(|late| {
                addr.is_some_and(|at| late.range().contains(&at)) && !self.same_name(own, late)
            })
        })
    }

    /// Whether what lies where can be told by time.
    pub fn is_ordered(&self) -> bool {
        self.ordered && !self.table.other_clock
    }

    /// All that was announced so far, as a file for [`crate::Symbolizer::keep`].
    pub fn found(&self) -> Option<FoundFile> {
        Some(FoundFile {
            image: Arc::clone(self.image.as_ref()?),
            path: PathBuf::new(),
            build_id: None,
        })
    }

    /// What came to lie where so far.
    pub fn loads(&self) -> &[JitLoad] {
        &self.table.loads
    }

    fn same_name(&self, a: &JitLoad, b: &JitLoad) -> bool {
        let name = |load: &JitLoad| {
            let function = self.table.function(load.offset)?;
            bytes(self.image.as_ref()?).get(function.name.clone())
        };
        a.offset == b.offset || name(a).is_some_and(|found| name(b) == Some(found))
    }
}

/// The functions of a dump, by their place in it.
#[derive(Debug)]
pub(crate) struct JitCode {
    image: Arc<MappedFile>,
    table: Table,
}

impl JitCode {
    /// Whether this file is a dump.
    pub(crate) fn is_dump(image: &MappedFile) -> bool {
        u32_at(image.as_ref(), 0) == Some(MAGIC)
    }

    pub(crate) fn load(image: &Arc<MappedFile>) -> Self {
        let mut table = Table::default();
        table.read(bytes(image));
        Self {
            image: Arc::clone(image),
            table,
        }
    }

    /// The code of the function at `offset` of the dump, the address that it had, and the number that
    /// ELF has for its machine.
    pub(crate) fn bytes_of(&self, offset: u64) -> Option<(&[u8], u64, u32)> {
        let function = self.table.function(offset)?;
        let start = usize::try_from(function.offset).ok()?;
        let end = start.checked_add(usize::try_from(function.size).ok()?)?;
        let all = bytes(&self.image);
        Some((
            all.get(start..end)?,
            function.address,
            u32_at(all, MACHINE)?,
        ))
    }

    /// What is at `offset` of the dump.
    pub(crate) fn resolve(&self, offset: u64, names: &mut Names) -> Resolution {
        let Some(function) = self.table.function(offset) else {
            return Resolution::Unresolved(Reason::NoSymbol);
        };
        let text = |range: &Range<usize>| {
            let bytes = bytes(&self.image).get(range.clone()).unwrap_or_default();
            String::from_utf8_lossy(bytes)
        };
        let raw = names.plain(&text(&function.name));
        let address = function.address + (offset - function.offset);
        let line = function.line(bytes(&self.image), address);
        Resolution::Named {
            symbol: Symbol {
                name: names.demangled(&raw),
                raw,
                start: function.offset,
                size: function.size,
                source: SymbolSource::Jitdump,
            },
            inlined: Vec::new(),
            location: line.map(|(file, line)| SourceLine {
                file: names.plain(&text(&file)),
                line,
            }),
        }
    }
}

/// What the records say.
#[derive(Debug, Default)]
struct Table {
    next: usize,              // the record that is to be read next
    functions: Vec<Function>, // by offset
    loads: Vec<JitLoad>,
    lines: Option<(u64, Range<usize>)>, // of the function at this address, whose LOAD follows
    other_clock: bool,
    damaged: bool,
}

#[derive(Debug)]
struct Function {
    offset: u64,
    size: u64,
    address: u64,
    index: u64, // a number that stays the function's own when it moves
    name: Range<usize>,
    lines: Option<Range<usize>>,
}

impl Table {
    /// Reads the records that are whole.
    fn read(&mut self, bytes: &[u8]) {
        if self.next == 0 && !self.read_header(bytes) {
            return;
        }
        while !self.damaged
            && self.loads.len() < MOST_LOADS
            && let Some(size) = u32_at(bytes, self.next + 4)
        {
            let size = size as usize;
            let end = self.next.saturating_add(size);
            if size < 16 {
                self.damaged = true; // no telling where the next one begins
                return;
            }
            if end > bytes.len() {
                return; // not written out yet
            }
            let body = self.next + 16..end;
            let time = u64_at(bytes, self.next + 8).unwrap_or(0);
            match u32_at(bytes, self.next) {
                Some(LOAD) => drop(self.load(bytes, body, time)),
                Some(MOVE) => drop(self.moved(bytes, body, time)),
                Some(DEBUG_INFO) => {
                    let address = u64_at(bytes, body.start).unwrap_or(0);
                    self.lines = Some((address, body.start.saturating_add(16).min(end)..end));
                }
                _ => {}
            }
            self.next = end;
        }
    }

    fn read_header(&mut self, bytes: &[u8]) -> bool {
        let (Some(magic), Some(size)) = (u32_at(bytes, 0), u32_at(bytes, 8)) else {
            return false; // not written yet
        };
        let Some(flags) = u64_at(bytes, 32) else {
            return false;
        };
        self.damaged = magic != MAGIC || size < 40;
        self.other_clock = flags & ARCH_TIMESTAMP != 0;
        self.next = size as usize;
        !self.damaged
    }

    fn load(&mut self, bytes: &[u8], body: Range<usize>, time: u64) -> Option<()> {
        let word = |index: usize| u64_at(bytes.get(..body.end)?, body.start + 8 + index * 8);
        let (address, size, index) = (word(1)?, word(2)?, word(3)?);
        let rest = bytes.get(body.start + 40..body.end)?;
        let name_len = rest.iter().position(|&byte| byte == 0)?;
        let name = body.start + 40..body.start + 40 + name_len;
        let offset = name.end + 1;
        let fits = size <= (body.end - offset) as u64 && address.checked_add(size).is_some();
        let lines = self.lines.take().filter(|&(of, _)| of == address);
        if !fits || size == 0 || name.is_empty() {
            return None;
        }
        let offset = offset as u64;
        self.functions.push(Function {
            offset,
            size,
            address,
            index,
            name,
            lines: lines.map(|(_, lines)| lines),
        });
        self.loads.push(JitLoad {
            time,
            start: address,
            size,
            offset,
        });
        Some(())
    }

    fn moved(&mut self, bytes: &[u8], body: Range<usize>, time: u64) -> Option<()> {
        let word = |index: usize| u64_at(bytes.get(..body.end)?, body.start + 8 + index * 8);
        let (start, index) = (word(2)?, word(4)?);
        let mut functions = self.functions.iter().rev();
        let function = functions.find(|function| function.index == index)?;
        start.checked_add(function.size)?;
        self.loads.push(JitLoad {
            time,
            start,
            size: function.size,
            offset: function.offset,
        });
        Some(())
    }

    /// The function whose code is at `offset` of the dump.
    fn function(&self, offset: u64) -> Option<&Function> {
        let after = self
            .functions
            .partition_point(|function| function.offset <= offset);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (offset - function.offset < function.size).then_some(function)
    }
}

impl Function {
    /// The file and line at an address: that of the last entry at or before it. Entries are
    /// {address, line, discriminator, file name}; the name `\xff` stands for the one before.
    fn line(&self, bytes: &[u8], address: u64) -> Option<(Range<usize>, u32)> {
        let lines = self.lines.clone()?;
        let mut at = lines.start;
        let mut file = None;
        let mut found: Option<(u64, Range<usize>, u32)> = None;
        while let Some(rest) = bytes.get(at + 16..lines.end) {
            let (of, line) = (u64_at(bytes, at)?, u32_at(bytes, at + 8)?);
            let len = rest.iter().position(|&byte| byte == 0)?;
            if rest[..len] != [0xff] {
                file = Some(at + 16..at + 16 + len);
            }
            let is_nearer = found.as_ref().is_none_or(|&(best, ..)| best <= of);
            if of <= address && is_nearer {
                found = Some((of, file.clone()?, line));
            }
            at += 16 + len + 1;
        }
        found.map(|(_, file, line)| (file, line))
    }
}

fn bytes(image: &MappedFile) -> &[u8] {
    image.as_ref()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Writes a dump.
    struct Writer(Vec<u8>);

    impl Writer {
        fn new(flags: u64) -> Self {
            let mut bytes = Vec::new();
            for word in [MAGIC, 1, 40, 62, 0, 7] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(99_u64.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            Self(bytes)
        }

        fn record(&mut self, id: u32, time: u64, words: &[u64], tail: &[u8]) -> usize {
            let size = 16 + words.len() * 8 + tail.len();
            self.0.extend(id.to_ne_bytes());
            self.0.extend((size as u32).to_ne_bytes());
            self.0.extend(time.to_ne_bytes());
            for word in words {
                self.0.extend(word.to_ne_bytes());
            }
            self.0.extend(tail);
            self.0.len()
        }

        fn load(&mut self, time: u64, address: u64, size: usize, name: &str) -> u64 {
            let tail = [name.as_bytes(), &[0], &vec![0x90; size]].concat();
            let words = [7, address, address, size as u64, self.0.len() as u64];
            (self.record(LOAD, time, &words, &tail) - size) as u64
        }

        fn file(&self) -> File {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&self.0).unwrap();
            file
        }

        fn code(&self) -> JitCode {
            JitCode::load(&Arc::new(MappedFile::from_bytes(self.0.clone())))
        }
    }

    fn name(code: &JitCode, place: Option<DsoAddr>) -> String {
        let answer = place.map(|place| code.resolve(place.0, &mut Names::new(true)));
        match answer {
            Some(Resolution::Named { symbol, .. }) => symbol.name.to_string(),
            _ => "-".to_owned(),
        }
    }

    #[test]
    fn the_code_at_an_address_is_what_was_loaded_there_last() {
        let mut writer = Writer::new(0);
        writer.load(100, 0x1000, 0x40, "first");
        writer.load(200, 0x1020, 0x40, "second");
        let code = writer.code();
        let mut dump = JitDump::new(writer.file(), true);
        let mut at = |addr, time| {
            let load = dump.find(addr, time);
            name(&code, load.map(|load| load.place(addr)))
        };
        assert_eq!(at(0x1030, 99), "-");
        assert_eq!(at(0x1030, 100), "first");
        assert_eq!(at(0x1030, 250), "second");
        assert_eq!(at(0x101f, 250), "first");
        assert_eq!(at(0x1060, 250), "-");
        let kept = dump.loads_at(0x1030).copied().collect();
        let mut dump = JitDump::from_loads(kept, true);
        assert_eq!(dump.find(0x1030, 150).map(|load| load.time), Some(100));
        assert_eq!(dump.find(0x1030, 200).map(|load| load.time), Some(200));
    }

    #[test]
    fn the_dump_has_the_instructions_of_its_functions() {
        use crate::AsmSyntax;
        let mut writer = Writer::new(0);
        writer.load(100, 0x1000, 0x40, "first");
        let offset = writer.load(200, 0x2000, 0x20, "second");
        let at = writer.0.len() - 0x20;
        writer.0[at..at + 3].copy_from_slice(&[0x90, 0xeb, 0xfd]); // nop, jmp back to it
        let code = writer.code();
        let Resolution::Named { symbol, .. } = code.resolve(offset, &mut Names::new(true)) else {
            panic!("no name");
        };
        let dso = prof_model::Dso {
            path: b"/tmp/jit-7.dump".to_vec(),
            kind: prof_model::DsoKind::File,
            file: None,
            build_id: None,
        };
        let code = code.function_code(&symbol, AsmSyntax::Att, &dso).unwrap();
        let first = &code.instructions[0];
        assert_eq!((first.offset, first.address), (offset, 0x2000));
        assert_eq!(first.text, "nop");
        assert_eq!(code.instructions[1].text, "jmp    2000 <second>");
        let bytes: usize = code.instructions.iter().map(|it| it.bytes.len()).sum();
        assert_eq!(bytes, 0x20);
    }

    #[test]
    fn with_another_clock_only_an_address_with_one_name_has_it() {
        for (flags, monotonic) in [(0, false), (ARCH_TIMESTAMP, true)] {
            let mut writer = Writer::new(flags);
            writer.load(100, 0x1000, 0x40, "first");
            writer.load(200, 0x1020, 0x40, "second");
            writer.load(300, 0x2000, 0x40, "third");
            writer.load(400, 0x2000, 0x40, "third");
            let code = writer.code();
            let mut dump = JitDump::new(writer.file(), monotonic);
            let names = [0x1010, 0x1030, 0x1050, 0x2000].map(|addr| {
                let load = dump.find(addr, 150);
                name(&code, load.map(|load| load.place(addr)))
            });
            assert_eq!(names, ["first", "-", "second", "third"]);
        }
    }

    #[test]
    fn code_that_is_announced_late_throws_doubt_on_what_was_found_before() {
        let mut writer = Writer::new(0);
        let first = writer.load(100, 0x1000, 0x40, "first");
        let mut file = writer.file();
        let mut dump = JitDump::new(file.try_clone().unwrap(), true);
        assert!(dump.find(0x1000, 500).is_some());
        assert!(!dump.is_doubtful(DsoAddr(first)));
        let known = writer.0.len();
        writer.load(300, 0x1000, 0x10, "second");
        file.write_all(&writer.0[known..]).unwrap();
        assert!(dump.refresh());
        assert!(dump.is_doubtful(DsoAddr(first)));
        assert!(!dump.is_doubtful(DsoAddr(first + 0x10)));
        assert_eq!(dump.only(0x1000), None);
        assert_eq!(dump.loads_at(0x1000).count(), 2);
    }

    #[test]
    fn a_growing_dump_is_read_on_from_the_record_that_was_cut() {
        let mut writer = Writer::new(0);
        writer.load(100, 0x1000, 0x40, "first");
        let mut file = tempfile::tempfile().unwrap();
        let mut dump = JitDump::new(file.try_clone().unwrap(), true);
        assert!(!dump.refresh());
        for part in writer.0.chunks(7) {
            assert_eq!(dump.find(0x1000, 100), None);
            file.write_all(part).unwrap();
            dump.refresh();
        }
        assert!(dump.find(0x1000, 100).is_some());
    }

    #[test]
    fn code_that_moves_keeps_its_name() {
        let mut writer = Writer::new(0);
        let index = writer.0.len() as u64;
        writer.load(100, 0x1000, 0x40, "wanders");
        writer.record(MOVE, 200, &[7, 0x1000, 0x1000, 0x5000, 0x40, index], &[]);
        let code = writer.code();
        let mut dump = JitDump::new(writer.file(), true);
        assert_eq!(dump.find(0x5010, 150), None);
        let load = dump.find(0x5010, 200);
        assert_eq!(name(&code, load.map(|load| load.place(0x5010))), "wanders");
    }

    #[test]
    fn lines_are_those_of_the_last_entry_before_the_address() {
        let mut writer = Writer::new(0);
        let mut tail = Vec::new();
        for (address, line, file) in [
            (0x1000_u64, 7_u32, &b"a.js"[..]),
            (0x1010, 8, b"\xff"),
            (0x1020, 3, b"b.js"),
        ] {
            tail.extend(address.to_ne_bytes());
            tail.extend(line.to_ne_bytes());
            tail.extend(0_u32.to_ne_bytes());
            tail.extend(file);
            tail.push(0);
        }
        writer.record(DEBUG_INFO, 90, &[0x1000, 3], &tail);
        let offset = writer.load(100, 0x1000, 0x40, "f");
        let other = writer.load(100, 0x2000, 0x40, "g");
        let code = writer.code();
        let line = |offset| match code.resolve(offset, &mut Names::new(true)) {
            Resolution::Named { location, .. } => {
                location.map(|place| format!("{}:{}", place.file, place.line))
            }
            Resolution::Unresolved(_) => None,
        };
        assert_eq!(line(offset).as_deref(), Some("a.js:7"));
        assert_eq!(line(offset + 0x11).as_deref(), Some("a.js:8"));
        assert_eq!(line(offset + 0x3f).as_deref(), Some("b.js:3"));
        assert_eq!(line(other), None);
    }

    #[test]
    fn a_damaged_dump_does_no_harm() {
        let mut writer = Writer::new(0);
        writer.record(DEBUG_INFO, 90, &[0x1000, 3], b"\0\0\0");
        writer.load(100, 0x1000, 0x40, "first");
        writer.record(MOVE, 200, &[7, 0, 0, 0x5000], &[]);
        let whole = &writer.0;
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let image = Arc::new(MappedFile::from_bytes(bytes));
                let code = JitCode::load(&image);
                for load in &code.table.loads {
                    let _ = code.resolve(load.offset + load.size / 2, &mut Names::new(true));
                }
            }
            let cut = Arc::new(MappedFile::from_bytes(whole[..at].to_vec()));
            assert!(JitCode::load(&cut).table.functions.len() <= 1);
        }
    }
}
