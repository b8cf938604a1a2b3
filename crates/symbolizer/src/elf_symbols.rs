//! The symbols of an ELF file, numbered by file offset.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolFlags, SymbolSection};
use prof_model::SymbolSource;

use crate::elf::AddressMap;
use crate::mapped_file::MappedFile;
use crate::plt;
use crate::symbol_table::{Binding, Entry, NameRef, SymbolTable};

/// Far more than any `.gnu_debugdata`, which holds nothing but function names.
const LARGEST_MINI_DEBUG_INFO: usize = 256 << 20;

/// Reads every table of `image`, and `.symtab` of `debug`, its separate debug file. Addresses are
/// converted with `map`, that of `image`: a debug file's own offsets say nothing about `image`.
pub(crate) fn load(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
    map: &AddressMap,
) -> SymbolTable {
    let mut table = SymbolTable::default();
    add_all(&mut table, &sources(image, debug), map, &mut |_, _| true);
    table.finish(None);
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
    let sources = sources(image, debug);
    let mut table = SymbolTable::default();
    let mut neighbours = Neighbours::new(offsets);
    add_all(&mut table, &sources, map, &mut |start, size| {
        neighbours.see(start, size)
    });
    // An offset that no size covers may belong to a symbol without one: to the last before it, if
    // that one is not just a label in another.
    let labels = neighbours.before_uncovered();
    if !labels.is_empty() {
        let starts: Vec<u64> = labels.keys().copied().collect();
        add_all(&mut table, &sources, map, &mut |start, size| {
            let first = starts.partition_point(|&label| label < start);
            let label = starts.get(first);
            label.is_some_and(|&label| label == start || label - start < size)
        });
    }
    table.finish(Some(&labels));
    table
}

/// Which symbols lie next to some ascending offsets.
struct Neighbours<'a> {
    offsets: &'a [u64],
    covered: Vec<bool>,            // by a symbol with a size
    gaps: Vec<Option<(u64, u64)>>, // least and last start of those up to each offset, from the one before
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
        let (least, last) = self.gaps[first].unwrap_or((start, start));
        self.gaps[first] = Some((least.min(start), last.max(start)));
        let from_start = self.offsets[first..].iter();
        let count = from_start
            .take_while(|&&offset| offset - start < size)
            .count();
        self.covered[first..first + count].fill(true);
        count > 0
    }

    /// The starts of the last symbols before offsets that none covers, and of those behind them.
    fn before_uncovered(&self) -> BTreeMap<u64, Option<u64>> {
        let mut labels = BTreeMap::new();
        let mut before = None;
        for (index, covered) in self.covered.iter().enumerate() {
            before = self.gaps[index].map(|(_, last)| last).or(before);
            if let (Some(before), false) = (before, covered) {
                let behind = self.gaps[index + 1..].iter().flatten().next();
                labels.insert(before, behind.map(|&(least, _)| least));
            }
        }
        labels
    }
}

/// The images that have symbol tables, and how to call what is found in their `.symtab`.
fn sources(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
) -> Vec<(Arc<MappedFile>, SymbolSource)> {
    let mut sources = vec![(Arc::clone(image), SymbolSource::Symtab)];
    let object = object::File::parse((**image).as_ref()).ok();
    if let Some(mini) = object.and_then(|object| mini_debug_info(&object)) {
        let mini = Arc::new(MappedFile::from_bytes(mini));
        sources.push((mini, SymbolSource::MiniDebugInfo));
    }
    if let Some(debug) = debug {
        sources.push((Arc::clone(debug), SymbolSource::Symtab));
    }
    sources
}

/// Adds the symbols that `keep` wants, by their start and size. The first source is the program, whose
/// other tables count, too.
fn add_all(
    table: &mut SymbolTable,
    sources: &[(Arc<MappedFile>, SymbolSource)],
    map: &AddressMap,
    keep: &mut dyn FnMut(u64, u64) -> bool,
) {
    for (index, (image, source)) in sources.iter().enumerate() {
        let (Ok(object), Some(number)) = (
            object::File::parse((**image).as_ref()),
            table.add_image(image),
        ) else {
            continue;
        };
        let mut tables = Tables {
            table,
            image,
            number,
            map,
            keep,
        };
        tables.add(&object, object.symbols(), *source);
        if index == 0 {
            tables.add(&object, object.dynamic_symbols(), SymbolSource::Dynsym);
            tables.add_plt(&object);
        }
    }
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

/// Where the symbols of one image go.
struct Tables<'a> {
    table: &'a mut SymbolTable,
    image: &'a Arc<MappedFile>,
    number: u16, // of the image
    map: &'a AddressMap,
    keep: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl Tables<'_> {
    fn add<'data>(
        &mut self,
        object: &object::File<'data>,
        symbols: impl Iterator<Item = impl ObjectSymbol<'data>>,
        source: SymbolSource,
    ) {
        let sections = Sections::new(object);
        for symbol in symbols {
            if !is_wanted(&symbol, object, &sections) {
                continue;
            }
            let (address, size) = (symbol.address(), symbol.size());
            let name = || symbol.name_bytes().ok();
            self.push(address, size, name, binding(&symbol), source);
        }
    }

    /// The stubs through which a program calls into shared libraries, named after the function behind.
    fn add_plt(&mut self, object: &object::File<'_>) {
        for stub in plt::stubs(object) {
            let name = || Some(stub.target);
            let (address, size) = (stub.address, stub.size);
            self.push(address, size, name, Binding::Local, SymbolSource::Plt);
        }
    }

    fn push<'data>(
        &mut self,
        address: u64,
        size: u64,
        name: impl FnOnce() -> Option<&'data [u8]>,
        binding: Binding,
        source: SymbolSource,
    ) {
        let start = self.map.offset_in_memory(address);
        let Some(start) = start.filter(|&start| (self.keep)(start, size)) else {
            return;
        };
        let name = name().and_then(|name| name_ref(self.image, self.number, name));
        let Some(name) = name else {
            return;
        };
        self.table.add(Entry {
            start,
            size,
            name,
            binding,
            source,
        });
    }
}

/// Functions, data, and labels in hand-written code, in what is loaded into memory.
fn is_wanted<'data>(
    symbol: &impl ObjectSymbol<'data>,
    object: &object::File<'data>,
    sections: &Sections,
) -> bool {
    let SymbolSection::Section(section) = symbol.section() else {
        return false; // undefined, absolute or common
    };
    let Some(section) = sections.0.get(section.0) else {
        return false;
    };
    let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else {
        return false;
    };
    let kind = match st_info.st_type() {
        elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_OBJECT => true,
        elf::STT_NOTYPE => {
            let visibility = st_other.visibility();
            let hidden = visibility == elf::STV_HIDDEN || visibility == elf::STV_INTERNAL;
            !hidden && section.named_text_or_data
        }
        _ => false,
    };
    kind && section.loaded && !is_mapping_symbol(symbol, object)
}

/// `$x`, `$d.12` and the like mark where code and data alternate; they name nothing.
fn is_mapping_symbol<'data>(
    symbol: &impl ObjectSymbol<'data>,
    object: &object::File<'data>,
) -> bool {
    use object::Architecture::{Aarch64, Arm, Riscv32, Riscv64};
    matches!(object.architecture(), Aarch64 | Arm | Riscv32 | Riscv64)
        && matches!(
            symbol.name_bytes(),
            Ok([b'$', b'a' | b'd' | b't' | b'x'] | [b'$', b'a' | b'd' | b't' | b'x', b'.', ..])
        )
}

fn binding<'data>(symbol: &impl ObjectSymbol<'data>) -> Binding {
    if symbol.is_weak() {
        Binding::Weak
    } else if symbol.is_global() {
        Binding::Global
    } else {
        Binding::Local
    }
}

/// What matters of each section, by its index.
struct Sections(Vec<Section>);

#[derive(Clone, Copy, Default)]
struct Section {
    loaded: bool,
    named_text_or_data: bool,
}

impl Sections {
    fn new(object: &object::File<'_>) -> Self {
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
        Self(all)
    }
}

/// Where `name`, which lies in `image`, lies there; `None` for an empty name.
fn name_ref(image: &MappedFile, number: u16, name: &[u8]) -> Option<NameRef> {
    let base = image.as_ref().as_ptr() as usize;
    let offset = (name.as_ptr() as usize).checked_sub(base)?;
    let len = u32::try_from(name.len()).ok().filter(|&len| len > 0)?;
    Some(NameRef {
        offset: offset as u64,
        len,
        image: number,
    })
}

/// `.gnu_debugdata`: an xz-compressed ELF file that holds the symbols which `.dynsym` lacks.
fn mini_debug_info(object: &object::File<'_>) -> Option<Vec<u8>> {
    let section = object.section_by_name(".gnu_debugdata")?;
    let mut packed = section.data().ok()?;
    let mut unpacked = Capped(Vec::new());
    lzma_rs::xz_decompress(&mut packed, &mut unpacked).ok()?;
    Some(unpacked.0)
}

/// Refuses to grow without bound, whatever a damaged section unpacks to.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_MINI_DEBUG_INFO {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
