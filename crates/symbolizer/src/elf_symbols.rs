//! The symbols of an ELF file, numbered by file offset.

use std::collections::BTreeMap;
use std::sync::Arc;

use object::read::elf::{self as read_elf, ElfFile, FileHeader, Sym};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolIndex, elf};
use prof_model::SymbolSource;

use crate::code_bounds::CodeBounds;
use crate::elf::AddressMap;
use crate::mapped_file::MappedFile;
use crate::packed;
use crate::plt;
use crate::symbol_table::{Binding, Entry, NameRef, SymbolTable};

/// Reads every table of `image`, and `.symtab` of `debug`, its separate debug file. Addresses are
/// converted with `map`, that of `image`: a debug file's own offsets say nothing about `image`.
pub(crate) fn load(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
    map: &AddressMap,
) -> SymbolTable {
    let images = images(image, debug);
    let mut table = SymbolTable::default();
    let sources = Sources::new(&images, map, &mut table);
    sources.add_symbols(&mut table, |_, _| true);
    sources.add_stubs(&mut table, |_, _| true);
    let bounds = CodeBounds::new(image, map);
    table.finish(|start, next| bounds.end(start).into_iter().chain(next).min());
    table
}

/// As [`load`], but only what names some offsets of `image`, which ascend. Large programs have a
/// hundred times the symbols that samples hit.
pub(crate) fn load_around(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
    map: &AddressMap,
    offsets: &[u64],
) -> SymbolTable {
    let images = images(image, debug);
    let mut table = SymbolTable::default();
    let sources = Sources::new(&images, map, &mut table);
    let mut neighbours = Neighbours::new(offsets);
    sources.add_symbols(&mut table, |start, size| neighbours.see(start, size));
    // An offset that no size covers may belong to a symbol without one: to the last before it, if
    // that one is not just a label in another, and as far as the next symbol, a stub perhaps, or the
    // next place that something else knows.
    let mut labels = neighbours.labels();
    if !labels.is_empty() || sources.have_stubs_at(offsets) {
        sources.add_stubs(&mut table, |start, size| neighbours.see(start, size));
        labels = neighbours.labels();
    }
    if !labels.is_empty() {
        let bounds = CodeBounds::new(image, map);
        for (&start, end) in &mut labels {
            *end = bounds.end(start).into_iter().chain(*end).min();
        }
        let starts: Vec<u64> = labels.keys().copied().collect();
        let covers_label = |start, size| {
            let first = starts.partition_point(|&label| label < start);
            let label = starts.get(first);
            label.is_some_and(|&label| label == start || label - start < size)
        };
        sources.add_symbols(&mut table, covers_label);
        sources.add_stubs(&mut table, covers_label);
    }
    table.finish(|start, next| labels.get(&start).copied().unwrap_or(next));
    table
}

/// Which symbols lie next to some ascending offsets.
struct Neighbours<'a> {
    offsets: &'a [u64],
    covered: Vec<bool>,     // by a symbol with a size
    gaps: Vec<Option<Gap>>, // of symbols up to each offset, from the one before
}

/// The symbols that start in a gap between offsets.
#[derive(Clone, Copy)]
struct Gap {
    least: u64,
    last: u64,
    last_is_label: bool, // there is none with a size
}

impl<'a> Neighbours<'a> {
    fn new(offsets: &'a [u64]) -> Self {
        Self {
            offsets,
            covered: vec![false; offsets.len()],
            gaps: vec![None; offsets.len() + 1],
        }
    }

    /// Notes a symbol; returns whether it covers an offset.
    fn see(&mut self, start: u64, size: u64) -> bool {
        let first = self.offsets.partition_point(|&offset| offset < start);
        let gap = self.gaps[first].get_or_insert(Gap {
            least: start,
            last: start,
            last_is_label: true,
        });
        gap.least = gap.least.min(start);
        if start >= gap.last {
            let is_first = start > gap.last;
            gap.last_is_label = size == 0 && (is_first || gap.last_is_label);
            gap.last = start;
        }
        let from_start = self.offsets[first..].iter();
        let count = from_start
            .take_while(|&&offset| offset - start < size)
            .count();
        self.covered[first..first + count].fill(true);
        count > 0
    }

    /// The starts of the last symbols before offsets that none covers, if they have no size, and of
    /// those behind them.
    fn labels(&self) -> BTreeMap<u64, Option<u64>> {
        let mut labels = BTreeMap::new();
        let mut before = None;
        for (index, covered) in self.covered.iter().enumerate() {
            before = self.gaps[index].or(before);
            if let (Some(before), false) = (before, covered)
                && before.last_is_label
            {
                let behind = self.gaps[index + 1..].iter().flatten().next();
                labels.insert(before.last, behind.map(|behind| behind.least));
            }
        }
        labels
    }
}

/// The images that have symbol tables, and how to call what is found in their `.symtab`. The first one
/// is the program.
fn images(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
) -> Vec<(Arc<MappedFile>, SymbolSource)> {
    let mut images = vec![(Arc::clone(image), SymbolSource::Symtab)];
    let object = object::File::parse((**image).as_ref()).ok();
    if let Some(Ok(mini)) = object.and_then(|object| packed::mini_debug_info(&object)) {
        let mini = Arc::new(MappedFile::from_bytes(mini));
        images.push((mini, SymbolSource::MiniDebugInfo));
    }
    if let Some(debug) = debug {
        images.push((Arc::clone(debug), SymbolSource::Symtab));
    }
    images
}

/// Whether the file has the full table rather than only what dynamic linking needs.
pub(crate) fn has_symtab(image: &MappedFile) -> bool {
    let bytes: &[u8] = image.as_ref();
    object::File::parse(bytes).is_ok_and(|object| object.symbols().next().is_some())
}

/// Whether the full table still has the functions that only their own file calls, which `strip -x`
/// leaves out: debug info then names nothing that the table does not.
pub(crate) fn has_local_functions(image: &MappedFile) -> bool {
    let bytes: &[u8] = image.as_ref();
    let is_local = |symbol: object::Symbol<'_, '_>| {
        symbol.is_local() && symbol.kind() == object::SymbolKind::Text
    };
    object::File::parse(bytes).is_ok_and(|object| object.symbols().any(is_local))
}

/// What symbols are read from.
struct Sources<'a> {
    all: Vec<Source<'a>>,
    map: &'a AddressMap,
}

/// One image of them.
struct Source<'a> {
    image: &'a MappedFile,
    number: u16, // of the image
    object: object::File<'a>,
    kind: SymbolSource, // of its `.symtab`
    is_program: bool,   // whose other tables count, too
    sections: Vec<Section>,
    has_mapping_symbols: bool,
}

impl<'a> Sources<'a> {
    fn new(
        images: &'a [(Arc<MappedFile>, SymbolSource)],
        map: &'a AddressMap,
        table: &mut SymbolTable,
    ) -> Self {
        let all = images
            .iter()
            .enumerate()
            .filter_map(|(index, (image, kind))| {
                let object = object::File::parse((**image).as_ref()).ok()?;
                Some(Source {
                    image,
                    number: table.add_image(image)?,
                    kind: *kind,
                    is_program: index == 0,
                    sections: sections(&object),
                    has_mapping_symbols: has_mapping_symbols(&object),
                    object,
                })
            });
        Self {
            all: all.collect(),
            map,
        }
    }

    /// Adds the symbols that `keep` wants, by their start and size.
    fn add_symbols(&self, table: &mut SymbolTable, mut keep: impl FnMut(u64, u64) -> bool) {
        for source in &self.all {
            match &source.object {
                object::File::Elf32(file) => source.add_tables(file, table, self.map, &mut keep),
                object::File::Elf64(file) => source.add_tables(file, table, self.map, &mut keep),
                _ => {}
            }
        }
    }

    /// Whether one of some ascending offsets is in a section of stubs.
    fn have_stubs_at(&self, offsets: &[u64]) -> bool {
        let mut sections = self
            .programs()
            .flat_map(|source| plt::sections(&source.object));
        sections.any(|section| {
            let start = self.map.offset_in_memory(section.address());
            start.is_some_and(|start| {
                let first = offsets.partition_point(|&offset| offset < start);
                let mut from_start = offsets[first..].iter();
                from_start
                    .next()
                    .is_some_and(|&offset| offset - start < section.size())
            })
        })
    }

    /// Adds the stubs through which a program calls into shared libraries, named after the function
    /// behind, that `keep` wants.
    fn add_stubs(&self, table: &mut SymbolTable, mut keep: impl FnMut(u64, u64) -> bool) {
        for source in self.programs() {
            for stub in plt::stubs(&source.object) {
                let (address, size) = (stub.address, stub.size);
                let start = self.map.offset_in_memory(address);
                if let Some(start) = start.filter(|&start| keep(start, size)) {
                    let (binding, kind) = (Binding::Local, SymbolSource::Plt);
                    source.add(table, (start, size), stub.target, binding, kind);
                }
            }
        }
    }

    fn programs(&self) -> impl Iterator<Item = &Source<'a>> {
        self.all.iter().filter(|source| source.is_program)
    }
}

impl<'a> Source<'a> {
    fn add_tables<Elf: FileHeader>(
        &self,
        file: &ElfFile<'a, Elf>,
        table: &mut SymbolTable,
        map: &AddressMap,
        keep: &mut impl FnMut(u64, u64) -> bool,
    ) {
        let mut tables = vec![(file.elf_symbol_table(), self.kind)];
        if self.is_program {
            tables.push((file.elf_dynamic_symbol_table(), SymbolSource::Dynsym));
        }
        let endian = file.endian();
        for (symbols, kind) in tables {
            for (index, symbol) in symbols.enumerate() {
                if !self.is_wanted(symbol, index, symbols, endian) {
                    continue;
                }
                let (address, size) = (
                    symbol.st_value(endian).into(),
                    symbol.st_size(endian).into(),
                );
                let start = map.offset_in_memory(address);
                if let Some(start) = start.filter(|&start| keep(start, size)) {
                    let name = symbols.symbol_name(endian, symbol).unwrap_or_default();
                    self.add(table, (start, size), name, binding(symbol), kind);
                }
            }
        }
    }

    /// Functions, data, and labels in hand-written code, in what is loaded into memory.
    fn is_wanted<Elf: FileHeader>(
        &self,
        symbol: &Elf::Sym,
        index: SymbolIndex,
        symbols: &read_elf::SymbolTable<'a, Elf>,
        endian: Elf::Endian,
    ) -> bool {
        // Others are undefined, absolute or common.
        let Ok(Some(section)) = symbols.symbol_section(endian, symbol, index) else {
            return false;
        };
        let Some(section) = self.sections.get(section.0) else {
            return false;
        };
        let kind = match symbol.st_type() {
            elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_OBJECT => true,
            elf::STT_NOTYPE => {
                let visibility = symbol.st_visibility();
                let hidden = visibility == elf::STV_HIDDEN || visibility == elf::STV_INTERNAL;
                !hidden && section.named_text_or_data
            }
            _ => false,
        };
        let is_mapping_symbol = || {
            let name = symbols.symbol_name(endian, symbol);
            self.has_mapping_symbols && name.is_ok_and(is_mapping_symbol)
        };
        let has_name = symbol.st_name(endian) != 0;
        kind && section.loaded && has_name && !is_mapping_symbol()
    }

    /// Adds what lies at a start with a size.
    fn add(
        &self,
        table: &mut SymbolTable,
        (start, size): (u64, u64),
        name: &[u8],
        binding: Binding,
        source: SymbolSource,
    ) {
        if let Some(name) = name_ref(self.image, self.number, name) {
            table.add(Entry {
                start,
                size,
                name,
                binding,
                source,
            });
        }
    }
}

/// Whether symbols mark where code and data alternate.
fn has_mapping_symbols(object: &object::File<'_>) -> bool {
    use object::Architecture::{Aarch64, Arm, Riscv32, Riscv64};
    matches!(object.architecture(), Aarch64 | Arm | Riscv32 | Riscv64)
}

/// `$x`, `$d.12` and the like, which name nothing.
fn is_mapping_symbol(name: &[u8]) -> bool {
    let is_mark = |mark| matches!(mark, b'a' | b'd' | b't' | b'x');
    match name {
        [b'$', mark] | [b'$', mark, b'.', ..] => is_mark(*mark),
        _ => false,
    }
}

fn binding(symbol: &impl Sym) -> Binding {
    match symbol.st_bind() {
        elf::STB_WEAK => Binding::Weak,
        elf::STB_LOCAL => Binding::Local,
        _ => Binding::Global,
    }
}

/// What matters of a section.
#[derive(Clone, Copy, Default)]
struct Section {
    loaded: bool,
    named_text_or_data: bool,
}

/// By their index.
fn sections(object: &object::File<'_>) -> Vec<Section> {
    let mut all = Vec::new();
    for section in object.sections() {
        let index = section.index().0;
        if all.len() <= index {
            all.resize(index + 1, Section::default());
        }
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let name = section.name_bytes().unwrap_or_default();
        let contains = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
        all[index] = Section {
            loaded: sh_flags.contains(elf::SHF_ALLOC),
            named_text_or_data: contains(b"text") || contains(b"data"),
        };
    }
    all
}

/// Where `name`, which lies in `image` unless it is empty, lies there.
fn name_ref(image: &MappedFile, number: u16, name: &[u8]) -> Option<NameRef> {
    let base = image.as_ref().as_ptr() as usize;
    let offset = match name {
        [] => 0,
        _ => (name.as_ptr() as usize).checked_sub(base)?,
    };
    Some(NameRef {
        offset: offset as u64,
        len: u32::try_from(name.len()).ok()?,
        image: number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_symbol_without_size_reaches_to_an_offset_that_none_covers() {
        let labels = |symbols: &[(u64, u64)]| {
            let mut neighbours = Neighbours::new(&[10, 30, 50]);
            let covers = symbols
                .iter()
                .map(|&(start, size)| neighbours.see(start, size));
            let covers: Vec<bool> = covers.collect();
            (covers, neighbours.labels().into_iter().collect::<Vec<_>>())
        };
        assert_eq!(labels(&[]), (vec![], vec![]));
        assert_eq!(
            labels(&[(20, 0), (25, 6), (5, 0), (3, 0)]),
            (vec![false, true, false, false], vec![(5, Some(20))])
        );
        assert_eq!(labels(&[(20, 4), (60, 1)]), (vec![false; 2], vec![]));
        let with_size = [(20, 0), (20, 4), (5, 4), (5, 0)];
        assert_eq!(labels(&with_size), (vec![false; 4], vec![]));
        assert_eq!(
            labels(&[(30, 0), (40, 0)]),
            (vec![false; 2], vec![(30, Some(40)), (40, None)])
        );
    }
}
