use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prof_model::{Dso, InlineFrame, Reason, Resolution, SourceLine, Symbol, SymbolSource};

use crate::code_place::{PlaceFrame, PlaceFunction};
use crate::debug_file;
use crate::dwarf::Dwarf;
use crate::elf::AddressMap;
use crate::elf_symbols;
use crate::files::{FoundFile, without_deleted};
use crate::go_pclntab::GoTable;
use crate::names::Names;
use crate::packed;
use crate::symbol_table::SymbolTable;

/// Everything that names the addresses of one ELF file, each part loaded when it is first needed.
#[derive(Debug)]
pub(crate) struct ElfCode {
    file: FoundFile,
    name: PathBuf, // as the mapping process knows it
    symfs: Option<PathBuf>,
    map: AddressMap,
    symbols: Symbols,
    has_symtab: bool,
    has_locals: bool, // the symbol table lists local functions, too
    debug_file: Option<Option<FoundFile>>,
    dwarf: Option<Option<Dwarf>>,
    wanted: Vec<u64>, // offsets that will be asked for, ascending; debug info is not prepared for them
    go: Option<Option<GoTable>>,
    no_table: Option<Reason>, // why there is none
}

/// How much of the symbol tables is loaded.
#[derive(Debug)]
enum Symbols {
    /// What lies around the addresses asked for last, and how often that was done.
    Around(SymbolTable, u32),
    Whole(SymbolTable),
}

/// Who asks more often than this is told from a table of all symbols.
const PASSES: u32 = 2;

impl ElfCode {
    /// Finds the symbol tables of `file`, or of its separate debug file if it was stripped.
    pub(crate) fn load(file: FoundFile, dso: &Dso, symfs: Option<&Path>) -> Self {
        let mut code = Self {
            map: AddressMap::default(),
            name: PathBuf::from(OsStr::from_bytes(without_deleted(&dso.path))),
            symfs: symfs.map(Path::to_owned),
            file,
            symbols: Symbols::Around(SymbolTable::default(), 0),
            has_symtab: false,
            has_locals: false,
            debug_file: None,
            dwarf: None,
            wanted: Vec::new(),
            go: None,
            no_table: None,
        };
        let image = Arc::clone(&code.file.image);
        code.has_symtab = elf_symbols::has_symtab(&image);
        let table = match code.has_symtab {
            true => Some(Arc::clone(&image)),
            false => code.debug_file().map(|debug| Arc::clone(&debug.image)),
        };
        if let Some(table) = table.filter(|table| elf_symbols::has_symtab(table)) {
            code.has_symtab = true;
            code.has_locals = elf_symbols::has_local_functions(&table);
        }
        if let Ok(object) = object::File::parse((*image).as_ref()) {
            code.map = AddressMap::new(&object);
        }
        code
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &FoundFile {
        &self.file
    }

    /// Where its parts lie in its own numbering.
    pub(crate) fn map(&self) -> &AddressMap {
        &self.map
    }

    /// Loads what [`ElfCode::resolve`] needs for some offsets of the file.
    pub(crate) fn prepare(&mut self, offsets: impl Iterator<Item = u64>) {
        let mut offsets: Vec<u64> = offsets.collect();
        offsets.sort_unstable();
        self.prepare_symbols(&offsets);
        self.wanted = offsets;
    }

    fn prepare_symbols(&mut self, offsets: &[u64]) {
        let Symbols::Around(_, passes) = self.symbols else {
            return;
        };
        let image = Arc::clone(&self.file.image);
        let has_own = elf_symbols::has_symtab(&image);
        let debug = if has_own { None } else { self.debug_file() };
        let debug = debug.map(|debug| Arc::clone(&debug.image));
        let (debug, map) = (debug.as_ref(), &self.map);
        self.symbols = if passes < PASSES {
            let table = elf_symbols::load_around(&image, debug, map, offsets);
            Symbols::Around(table, passes + 1)
        } else {
            Symbols::Whole(elf_symbols::load(&image, debug, map))
        };
    }

    /// What is at `offset` of the file. Inline frames and lines only `with_lines`: they cost the
    /// parsing of debug info.
    pub(crate) fn resolve(
        &mut self,
        offset: u64,
        with_lines: bool,
        names: &mut Names,
    ) -> Resolution {
        let symbol = self.table_symbol(offset, names);
        let address = self.map.address(offset);
        let symbol = symbol.or_else(|| {
            let address = address?;
            let (function, source) = self.unlisted_function(address, names)?;
            // Sections without a segment may all have one address, which leads back to one of them only.
            let inside = address.checked_sub(function.address)?;
            Some(Symbol {
                name: names.demangled(&function.name),
                raw: function.name,
                start: offset.checked_sub(inside)?,
                size: function.size,
                source,
            })
        });
        let Some(symbol) = symbol else {
            return Resolution::Unresolved(match self.has_symtab {
                true => Reason::NoSymbol,
                false => self.why_no_table(),
            });
        };
        let frames = match address {
            Some(address) if with_lines => self.frames(address, names),
            _ => Vec::new(),
        };
        let (inlined, location) = inline_frames(frames, names);
        Resolution::Named {
            symbol,
            inlined,
            location,
        }
    }

    fn why_no_table(&mut self) -> Reason {
        if let Some(reason) = self.no_table {
            return reason;
        }
        let debug = self.debug_file().map(|debug| Arc::clone(&debug.image));
        let mut images = [Some(Arc::clone(&self.file.image)), debug].into_iter();
        let reason = match images.any(|image| image.is_some_and(|it| packed::is_refused(&it))) {
            true => Reason::TooLarge,
            false => Reason::NoSymbolTable,
        };
        self.no_table = Some(reason);
        reason
    }

    /// The symbol around an offset, of those that [`ElfCode::prepare`] was asked for.
    pub(crate) fn table_symbol(&self, offset: u64, names: &mut Names) -> Option<Symbol> {
        let (Symbols::Around(symbols, _) | Symbols::Whole(symbols)) = &self.symbols;
        let entry = symbols.find(offset)?;
        let raw = String::from_utf8_lossy(symbols.name(entry.name));
        if raw.is_empty() {
            return None;
        }
        let raw = match entry.source {
            SymbolSource::Plt => names.plain(&format!("{raw}@plt")),
            _ => names.plain(&raw),
        };
        Some(Symbol {
            name: names.demangled(&raw),
            raw,
            start: entry.start,
            size: entry.size,
            source: entry.source,
        })
    }

    /// A function that no symbol table has but debug info or Go's own table.
    fn unlisted_function(
        &mut self,
        address: u64,
        names: &mut Names,
    ) -> Option<(PlaceFunction, SymbolSource)> {
        let dwarf = match self.has_locals {
            true => None,
            false => self.dwarf(),
        };
        let dwarf = dwarf.and_then(|dwarf| dwarf.function(address, names));
        if let Some(function) = dwarf {
            return Some((function, SymbolSource::Dwarf));
        }
        let function = self.go()?.function(address, names)?;
        Some((function, SymbolSource::GoPclntab))
    }

    /// The functions around an address of the file, innermost first, as debug info tells them.
    pub(crate) fn frames(&mut self, address: u64, names: &mut Names) -> Vec<PlaceFrame> {
        let frames = self.dwarf().map(|dwarf| dwarf.frames(address, names));
        match frames {
            Some(frames) if !frames.is_empty() => frames,
            _ => self
                .go()
                .map(|go| go.frames(address, names))
                .unwrap_or_default(),
        }
    }

    fn debug_file(&mut self) -> Option<&FoundFile> {
        let (file, name, symfs) = (&self.file, &self.name, self.symfs.as_deref());
        self.debug_file
            .get_or_insert_with(|| debug_file::find(file, name, symfs))
            .as_ref()
    }

    fn dwarf(&mut self) -> Option<&mut Dwarf> {
        if self.dwarf.is_none() {
            let symfs = self.symfs.clone();
            let program = debug_file::program_places(&self.file, &self.name, symfs.as_deref());
            let load = |file: &FoundFile| Dwarf::load(file, &program, symfs.as_deref());
            self.dwarf = Some(load(&self.file).or_else(|| load(self.debug_file()?)));
        }
        let dwarf = self.dwarf.as_mut()?.as_mut()?;
        if !self.wanted.is_empty() {
            let wanted = std::mem::take(&mut self.wanted).into_iter();
            dwarf.prepare(wanted.filter_map(|offset| self.map.address(offset)));
        }
        Some(dwarf)
    }

    fn go(&mut self) -> Option<&GoTable> {
        let image = &self.file.image;
        self.go.get_or_insert_with(|| GoTable::load(image)).as_ref()
    }
}

/// Splits off the physical function, whose name the symbol table knows better: there it may be an
/// alias or a copy made by the compiler.
fn inline_frames(
    mut frames: Vec<PlaceFrame>,
    names: &mut Names,
) -> (Vec<InlineFrame>, Option<SourceLine>) {
    let location = frames.pop().and_then(|physical| physical.location);
    let inlined = frames.into_iter().map(|frame| InlineFrame {
        name: match frame.name {
            Some(raw) => names.demangled(&raw),
            None => names.plain("[inlined]"),
        },
        location: frame.location,
    });
    (inlined.collect(), location)
}
