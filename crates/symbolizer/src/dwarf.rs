use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;

use addr2line::{Context, FunctionName, LookupContinuation, LookupResult};
use gimli::{DebugInfoOffset, UnitOffset};
use object::Object as _;
use prof_foreign_files::ForeignPath;
use prof_model::SourceLine;
use rustc_hash::FxHashMap;

use crate::code_place::{PlaceFrame, PlaceFunction};
use crate::debug_file;
use crate::elf::{self, Reader};
use crate::files::FoundFile;
use crate::mapped_file::MappedFile;
use crate::names::Names;
use crate::nesting;
use crate::scoped_names::{ScopedNames, UnitSource, may_be_cpp};
use crate::scoped_unit::UnitKey;
use crate::split_dwarf::SplitDwarf;
use crate::unit_index::{self, UnitIndex};

/// The DWARF of one file. Units are parsed when an address in them is asked for.
pub(crate) struct Dwarf {
    sections: Sections,
    shared: Option<Sections>,
    index: UnitIndex,
    parts: Vec<Part>,
    has_references: bool, // units take names from other ones
    split: SplitDwarf,
    plain: OnceCell<Arc<gimli::Dwarf<Reader>>>, // that hides no unit
    too_deep: RefCell<FxHashMap<u32, bool>>,    // units that were asked for
    scopes: RefCell<ScopedNames>,
}

type Sections = gimli::DwarfSections<Reader>;

/// Some of a file's units, ready to be asked.
struct Part {
    units: Units,
    context: Context<Reader>,
}

enum Units {
    All,
    These(BTreeSet<u32>),
}

impl Units {
    fn have(&self, wanted: &[u32]) -> bool {
        match self {
            Self::All => true,
            Self::These(units) => wanted.iter().all(|unit| units.contains(unit)),
        }
    }
}

/// With more parts than this, all of them become one: each lists all units of its file.
const MOST_PARTS: usize = 3;

impl fmt::Debug for Dwarf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dwarf").finish_non_exhaustive()
    }
}

impl Dwarf {
    /// The DWARF in `file`; `None` if it has none, or what it has cannot be read. `program` tells where
    /// the mapped file lies, which split debug info is named after.
    pub(crate) fn load(
        file: &FoundFile,
        program: &[ForeignPath],
        symfs: Option<&Path>,
    ) -> Option<Self> {
        let sections = sections(&file.image)?;
        let shared = match debug_file::find_shared(file, symfs) {
            Some(shared) => Some(self::sections(&shared.image)?),
            None => None,
        };
        Some(Self {
            index: UnitIndex::new(&sections.borrow(Clone::clone)).ok()?,
            sections,
            shared,
            parts: Vec::new(),
            has_references: false,
            split: SplitDwarf::new(program),
            plain: OnceCell::new(),
            too_deep: RefCell::default(),
            scopes: RefCell::default(),
        })
    }

    /// Makes ready for questions about these addresses.
    pub(crate) fn prepare(&mut self, addresses: impl Iterator<Item = u64>) {
        let mut units = BTreeSet::new();
        for address in addresses {
            let around: Vec<u32> = self.index.at(address).collect();
            if !self.is_ready(&around) {
                units.extend(around);
            }
        }
        let needs_first = self.parts.is_empty() && !self.index.is_complete();
        if !units.is_empty() || needs_first {
            self.add_part(units);
        }
    }

    fn is_ready(&self, units: &[u32]) -> bool {
        self.parts.iter().any(|part| part.units.have(units))
    }

    fn add_part(&mut self, mut units: BTreeSet<u32>) {
        if self.parts.len() == MOST_PARTS {
            for part in self.parts.drain(..) {
                if let Units::These(of_part) = part.units {
                    units.extend(of_part);
                }
            }
        }
        let part = match self.has_references {
            true => self.with_referenced(units),
            false => self.only(units),
        };
        // Debug info that cannot be read in parts cannot be read at all.
        let part = part.or_else(|_| self.whole());
        self.parts.extend(part);
    }

    fn only(&self, units: BTreeSet<u32>) -> gimli::Result<Part> {
        let mut sections = self.all_sections();
        self.index
            .hide_others(&units, &mut sections.abbreviations_cache);
        Ok(Part {
            units: Units::These(units),
            context: Context::from_dwarf(sections)?,
        })
    }

    fn with_referenced(&self, units: BTreeSet<u32>) -> gimli::Result<Part> {
        let all = self.index.with_referenced(&units, &self.all_sections())?;
        let mut part = self.only(all)?;
        part.units = Units::These(units);
        Ok(part)
    }

    fn whole(&self) -> gimli::Result<Part> {
        Ok(Part {
            units: Units::All,
            context: Context::from_dwarf(self.all_sections())?,
        })
    }

    fn all_sections(&self) -> gimli::Dwarf<Reader> {
        let shared = self.shared.as_ref();
        self.sections.borrow_with_sup(shared, Clone::clone)
    }

    /// A damaged unit, whose reader would run out of stack.
    fn is_too_deep(&self, unit: u32) -> bool {
        let mut known = self.too_deep.borrow_mut();
        *known.entry(unit).or_insert_with(|| {
            let dwarf = self.plain();
            let start = DebugInfoOffset(self.index.start(unit));
            let header = dwarf.unit_header(start);
            header.is_ok_and(|header| nesting::is_too_deep(dwarf, &header))
        })
    }

    fn plain(&self) -> &Arc<gimli::Dwarf<Reader>> {
        self.plain.get_or_init(|| Arc::new(self.all_sections()))
    }

    /// Asks the part that has the units around an address. What it cannot tell because a name is in
    /// another unit is asked once more of a part that has that one, too.
    fn ask<T>(&mut self, address: u64, ask: impl Fn(&Asked<'_>) -> gimli::Result<T>) -> Option<T> {
        let around: Vec<u32> = self.index.at(address).collect();
        if around.is_empty() && self.index.is_complete() {
            return None;
        }
        let mut asked = around.iter().chain(self.index.anywhere());
        if asked.any(|&unit| self.is_too_deep(unit)) {
            return None;
        }
        if !self.is_ready(&around) {
            self.add_part(around.iter().copied().collect());
        }
        loop {
            let mut parts = self.parts.iter();
            let at = parts.rposition(|part| part.units.have(&around))?;
            let part = &self.parts[at];
            let asked = Asked {
                dwarf: self,
                context: &part.context,
                address,
            };
            match (ask(&asked), &part.units) {
                (Ok(answer), _) => return Some(answer),
                (Err(gimli::Error::InvalidAbbreviationCode(_)), Units::These(units)) => {
                    let units = units.clone();
                    let more = match self.has_references {
                        true => self.whole(),
                        false => self.with_referenced(units),
                    };
                    self.has_references = true;
                    self.parts[at] = more.or_else(|_| self.whole()).ok()?;
                }
                (Err(_), _) => return None,
            }
        }
    }

    /// The functions around `address`, innermost first; the last one is the physical function. Empty
    /// if the debug info does not cover the address, or is damaged there.
    pub(crate) fn frames(&mut self, address: u64, names: &mut Names) -> Vec<PlaceFrame> {
        let names = RefCell::new(names);
        let places = self.ask(address, |asked| {
            let lookup = asked.context.find_frames(address);
            let mut frames = finish(&asked.dwarf.split, lookup)?;
            let mut places = Vec::new();
            while let Some(frame) = frames.next()? {
                let mut names = names.borrow_mut();
                let function = frame.function.as_ref();
                let name = function.and_then(|function| {
                    let entry = frame.dw_die_offset.filter(|_| !names.keep_mangled());
                    match entry {
                        Some(entry) => asked.in_scopes(function, entry),
                        None => Some(function.raw_name().ok()?.into_owned()),
                    }
                });
                let location = frame.location.and_then(|location| {
                    Some(SourceLine {
                        file: names.plain(location.file?),
                        line: location.line.unwrap_or(0),
                    })
                });
                places.push(PlaceFrame {
                    name: name.map(|name| names.plain(&name)),
                    location,
                });
            }
            Ok(places)
        });
        places.unwrap_or_default()
    }

    /// The physical function around `address`, for files without a symbol table.
    pub(crate) fn function(&mut self, address: u64, names: &mut Names) -> Option<PlaceFunction> {
        let keep_mangled = names.keep_mangled();
        let found = self.ask(address, |asked| physical_function(asked, keep_mangled));
        let (name, range) = found??;
        Some(PlaceFunction {
            name: names.plain(&name),
            address: range.start,
            size: range.end - range.start,
        })
    }
}

/// Units that are ready, and an address in them.
struct Asked<'a> {
    dwarf: &'a Dwarf,
    context: &'a Context<Reader>,
    address: u64,
}

impl Asked<'_> {
    /// A function's name with the scopes around it, if its own is not mangled, which would tell them.
    fn in_scopes(
        &self,
        function: &FunctionName<Reader>,
        entry: UnitOffset<usize>,
    ) -> Option<String> {
        let name = function.raw_name().ok()?;
        let is_mangled = name.starts_with("_Z") || name.starts_with("_R");
        if is_mangled || !may_be_cpp(function.language) {
            return Some(name.into_owned());
        }
        let whole = self.scoped(entry).map(|whole| whole.to_string());
        Some(whole.unwrap_or_else(|| name.into_owned()))
    }

    fn scoped(&self, entry: UnitOffset<usize>) -> Option<Arc<str>> {
        let dwarf = self.dwarf;
        let unit = finish(&dwarf.split, self.context.find_dwarf_and_unit(self.address))?;
        let plain = dwarf.plain();
        let sections = match unit.dwo_id {
            Some(id) => dwarf.split.loaded(id),
            None => Some(Arc::clone(plain)),
        };
        let source = UnitSource {
            dwarf: plain,
            index: &dwarf.index,
        };
        let key = (UnitKey::of(unit.unit)?, &unit.header);
        let mut scopes = dwarf.scopes.borrow_mut();
        scopes.function(&source, &sections?, key, entry)
    }
}

fn physical_function(
    asked: &Asked<'_>,
    keep_mangled: bool,
) -> gimli::Result<Option<(String, Range<u64>)>> {
    let &Asked {
        context, address, ..
    } = asked;
    let split = &asked.dwarf.split;
    let mut frames = finish(split, context.find_frames(address))?;
    let mut outermost = None;
    while let Some(frame) = frames.next()? {
        outermost = Some(frame);
    }
    let Some((entry, function)) = outermost.and_then(|it| Some((it.dw_die_offset?, it.function?)))
    else {
        return Ok(None);
    };
    let name = match keep_mangled {
        true => None,
        false => asked.in_scopes(&function, entry),
    };
    let name = match name {
        Some(name) => name,
        None => function.raw_name()?.into_owned(),
    };
    let Some(unit) = finish(split, context.find_dwarf_and_unit(address)) else {
        return Ok(None);
    };
    let ranges = unit_index::ranges(unit.dwarf, unit.unit, &unit.entry(entry)?)?;
    let range = ranges.into_iter().find(|range| range.contains(&address));
    Ok(range.map(|range| (name, range)))
}

/// Brings a lookup to its end, loading split debug info where it asks for it.
fn finish<L: LookupContinuation<Buf = Reader>>(
    split: &SplitDwarf,
    mut lookup: LookupResult<L>,
) -> L::Output {
    loop {
        match lookup {
            LookupResult::Output(output) => return output,
            LookupResult::Load { load, continuation } => {
                lookup = continuation.resume(split.load(&load));
            }
        }
    }
}

fn sections(image: &Arc<MappedFile>) -> Option<Sections> {
    let object = object::File::parse((**image).as_ref()).ok()?;
    object.section_by_name(gimli::SectionId::DebugInfo.name())?;
    let empty = elf::empty_section(&object);
    let section = |id: gimli::SectionId| elf::section(image, &object, id.name());
    let load = |id| match id {
        // where variables are and what macros say: large, and no function's name is in them
        gimli::SectionId::DebugLoc
        | gimli::SectionId::DebugLocLists
        | gimli::SectionId::DebugMacinfo
        | gimli::SectionId::DebugMacro => empty.clone(),
        id => section(id).unwrap_or_else(|| empty.clone()),
    };
    // Unpacking the largest takes longer than all others together.
    let (info, sections) = std::thread::scope(|scope| {
        let unpack = || section(gimli::SectionId::DebugInfo);
        let info = Builder::new().spawn_scoped(scope, unpack);
        let sections = Sections::load(|id| match id {
            gimli::SectionId::DebugInfo => Ok::<_, gimli::Error>(empty.clone()),
            id => Ok(load(id)),
        });
        let info = match info {
            Ok(thread) => thread.join().ok().flatten(),
            Err(_) => unpack(), // there can be no further thread
        };
        (info, sections)
    });
    let mut sections = sections.ok()?;
    sections.debug_info = info?.into();
    Some(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSymbol, SymbolKind};
    use prof_model::BuildId;
    use std::process::Command;

    /// A unit that takes a function from another one.
    const CALLER: &str = "
        int twice(int);
        volatile int sink;
        int main(int argc, char **argv) {
            for (int i = 0; i < argc * 1000; i++) sink = twice(sink + i);
            return sink;
        }";
    const CALLEE: &str = "
        static inline int square(int n) { return n * n; }
        int twice(int n) { return square(n) + square(n + 1); }
        int alone(int n) { return n ? alone(n - 1) + square(n) : 0; }
        int (*volatile kept)(int) = alone;";

    /// What several units have in common, which dwz puts into a unit of its own.
    const SHARED: &str = "
        struct wide { int of[64]; };
        static inline int sum(struct wide *w) {
            int sum = 0;
            for (int i = 0; i < 64; i++) sum += w->of[i];
            return sum;
        }";
    const USER: &str = "
        struct wide;
        int first(struct wide *), second(struct wide *), third(struct wide *);
        int many[64];
        int main(void) {
            struct wide *w = (void *)many;
            return first(w) + second(w) + third(w);
        }";

    fn image(path: &Path) -> FoundFile {
        FoundFile {
            image: Arc::new(MappedFile::from_bytes(std::fs::read(path).unwrap())),
            path: path.to_owned(),
            build_id: None::<BuildId>,
        }
    }

    fn run(command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// Addresses all over up to `most` functions.
    fn addresses(file: &FoundFile, most: usize) -> Vec<u64> {
        let object = object::File::parse((*file.image).as_ref()).unwrap();
        let functions = object.symbols().filter(|symbol| {
            symbol.kind() == SymbolKind::Text && symbol.is_definition() && symbol.size() > 0
        });
        let mut functions: Vec<_> = functions.map(|it| (it.address(), it.size())).collect();
        functions.sort_unstable();
        functions.dedup();
        let step = functions.len().div_ceil(most);
        let functions = functions.into_iter().step_by(step);
        functions
            .flat_map(|(start, size)| (start..start + size).step_by(size as usize / 40 + 1))
            .collect()
    }

    /// Asks for some addresses after the others, and compares with what a reader of all units says.
    fn compare(path: &Path, most: usize) -> Dwarf {
        let file = image(path);
        let load = || Dwarf::load(&file, &[], None).unwrap();
        let (mut by_parts, mut at_once) = (load(), load());
        at_once.parts.push(at_once.whole().unwrap());
        let mut names = Names::new(false);
        let addresses = addresses(&file, most);
        let mut inlined = 0;
        for batch in addresses.chunks(addresses.len() / 7 + 1) {
            by_parts.prepare(batch.iter().copied());
            for &address in batch {
                let frames = by_parts.frames(address, &mut names);
                assert_eq!(frames, at_once.frames(address, &mut names), "{address:#x}");
                inlined += frames.len().saturating_sub(1);
                let function = by_parts.function(address, &mut names);
                assert_eq!(function, at_once.function(address, &mut names));
            }
        }
        assert!(inlined > 0, "nothing is inlined in {}", path.display());
        assert!(by_parts.parts.len() <= MOST_PARTS);
        by_parts
    }

    fn is_split(dwarf: &Dwarf) -> bool {
        let mut parts = dwarf.parts.iter();
        !dwarf.parts.is_empty() && parts.all(|part| matches!(part.units, Units::These(_)))
    }

    #[test]
    fn a_program_of_many_units_is_told_from_those_that_are_asked_for() {
        let dwarf = compare(&std::env::current_exe().unwrap(), 500);
        assert!(is_split(&dwarf));
        assert!(!dwarf.has_references);
    }

    #[test]
    fn functions_from_other_units_have_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("caller.c"), CALLER).unwrap();
        std::fs::write(path("callee.c"), CALLEE).unwrap();
        for (name, flags) in [
            ("lto", &["-flto"][..]),
            ("lto-dwarf-4", &["-flto", "-gdwarf-4"]),
            ("lto-partitions", &["-flto", "-flto-partition=1to1"]),
        ] {
            run(Command::new("gcc")
                .current_dir(dir.path())
                .args(["-O2", "-g", "caller.c", "callee.c", "-o", name])
                .args(flags));
            let dwarf = compare(&path(name), 100);
            assert!(is_split(&dwarf), "{name}");
            assert!(
                dwarf.has_references,
                "{name} has no reference between units"
            );
            let units = dwarf.scopes.borrow().units();
            assert_eq!(units, 0, "scopes of C are read in {name}");
        }
    }

    #[test]
    fn units_that_dwz_has_merged_are_found() {
        if Command::new("dwz").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "dwz is not installed");
            return println!("skipped: dwz is not installed");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("shared.h"), SHARED).unwrap();
        for name in ["first", "second", "third"] {
            let function = format!("int {name}(struct wide *w) {{ return sum(w) + 1; }}");
            let text = ["#include \"shared.h\"", &function, ""].join("\n");
            std::fs::write(path(&format!("{name}.c")), text).unwrap();
        }
        std::fs::write(path("main.c"), USER).unwrap();
        run(Command::new("gcc").current_dir(dir.path()).args([
            "-O2", "-g", "main.c", "first.c", "second.c", "third.c", "-o", "program",
        ]));
        run(Command::new("dwz").current_dir(dir.path()).arg("program"));
        assert!(is_split(&compare(&path("program"), 100)));
    }
}
