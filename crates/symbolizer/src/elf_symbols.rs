//! The symbols of an ELF file, numbered by file offset.

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
    let mut table = load_for(image, debug, map, &Hits(None));
    if let Ok(object) = object::File::parse((**image).as_ref()) {
        add_plt(&mut table, image, &object, map);
    }
    table.finish();
    table
}

/// As [`load`], but only the symbols around some offsets of `image`, which ascend; `None` if that is
/// not enough to name all of them. Large programs have a hundred times the symbols that samples hit.
pub(crate) fn load_around(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
    map: &AddressMap,
    offsets: &[u64],
) -> Option<SymbolTable> {
    let mut table = load_for(image, debug, map, &Hits(Some(offsets)));
    table.finish();
    let all = offsets.iter().all(|&offset| table.find(offset).is_some());
    all.then_some(table)
}

/// The offsets that matter, ascending; `None` for all.
struct Hits<'a>(Option<&'a [u64]>);

impl Hits<'_> {
    /// Whether a symbol can be left out. What one without a size stands for depends on all others, so
    /// that it only counts where all are asked for.
    fn pass_over(&self, start: u64, size: u64) -> bool {
        self.0.is_some_and(|offsets| {
            let first = offsets.partition_point(|&offset| offset < start);
            let hit = offsets.get(first);
            hit.is_none_or(|&offset| offset - start >= size)
        })
    }
}

fn load_for(
    image: &Arc<MappedFile>,
    debug: Option<&Arc<MappedFile>>,
    map: &AddressMap,
    hits: &Hits<'_>,
) -> SymbolTable {
    let mut table = SymbolTable::default();
    let mut add = |image: &Arc<MappedFile>, source| {
        let Ok(object) = object::File::parse((**image).as_ref()) else {
            return;
        };
        let mut tables = Tables {
            table: &mut table,
            image,
            map,
            hits,
        };
        tables.add(&object, object.symbols(), source);
        if source == SymbolSource::Symtab {
            tables.add(&object, object.dynamic_symbols(), SymbolSource::Dynsym);
        }
    };
    add(image, SymbolSource::Symtab);
    let mini = object::File::parse((**image).as_ref()).ok();
    if let Some(mini) = mini.and_then(|object| mini_debug_info(&object)) {
        let mini = Arc::new(MappedFile::from_bytes(mini));
        add(&mini, SymbolSource::MiniDebugInfo);
    }
    if let Some(debug) = debug {
        add(debug, SymbolSource::Symtab);
    }
    table
}

/// Whether the file has the full table rather than only what dynamic linking needs.
pub(crate) fn has_symtab(image: &MappedFile) -> bool {
    let bytes: &[u8] = image.as_ref();
    object::File::parse(bytes).is_ok_and(|object| object.symbols().next().is_some())
}

/// Where the symbols of one image go.
struct Tables<'a> {
    table: &'a mut SymbolTable,
    image: &'a Arc<MappedFile>,
    map: &'a AddressMap,
    hits: &'a Hits<'a>,
}

impl Tables<'_> {
    fn add<'data>(
        &mut self,
        object: &object::File<'data>,
        symbols: impl Iterator<Item = impl ObjectSymbol<'data>>,
        source: SymbolSource,
    ) {
        let Some(number) = self.table.add_image(self.image) else {
            return;
        };
        let sections = Sections::new(object);
        for symbol in symbols {
            let Some(start) = self.map.offset(symbol.address()) else {
                continue;
            };
            if self.hits.pass_over(start, symbol.size()) || !is_wanted(&symbol, object, &sections) {
                continue;
            }
            let name = symbol.name_bytes().ok();
            let Some(name) = name.and_then(|name| name_ref(self.image, number, name)) else {
                continue;
            };
            self.table.add(Entry {
                start,
                size: symbol.size(),
                name,
                binding: binding(&symbol),
                source,
            });
        }
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

/// The stubs through which a program calls into shared libraries, named after the function behind.
fn add_plt(
    table: &mut SymbolTable,
    image: &Arc<MappedFile>,
    object: &object::File<'_>,
    map: &AddressMap,
) {
    let Some(number) = table.add_image(image) else {
        return;
    };
    for stub in plt::stubs(object) {
        let (Some(start), Some(name)) = (
            map.offset(stub.address),
            name_ref(image, number, stub.target),
        ) else {
            continue;
        };
        table.add(Entry {
            start,
            size: stub.size,
            name,
            binding: Binding::Local,
            source: SymbolSource::Plt,
        });
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
