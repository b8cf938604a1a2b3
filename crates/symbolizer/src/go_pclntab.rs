//! Go's own function table, which survives `strip`: names, lines and inlined calls by address.
//!
//! Source: `src/internal/abi/symtab.go`, `src/runtime/symtab.go` and `src/debug/gosym/pclntab.go` of
//! the Go project, releases 1.2 to 1.27.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use gimli::Reader as _;
use object::{Object, ObjectSection, RelocationTarget};
use prof_model::SourceLine;
use rustc_hash::FxHashMap;

use crate::code_place::{PlaceFrame, PlaceFunction};
use crate::elf::{self, Reader};
use crate::mapped_file::MappedFile;
use crate::names::Names;

/// More calls than any compiler inlines into each other: the parents of damaged entries may form a
/// ring.
const DEEPEST_INLINING: usize = 256;

/// `.gopclntab` of one program.
#[derive(Debug)]
pub(crate) struct GoTable {
    table: Reader,
    layout: Layout,
    text_start: u64,
    functions: u64,               // how many
    inline_trees: Option<Reader>, // what `FUNCDATA_InlTree` offsets count from: `go:func.*`
}

/// Which release's layout, by the number that the table starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Go1_2,
    Go1_16,
    Go1_18,
    Go1_20,
}

/// Where the parts of the table lie, as offsets in it.
#[derive(Debug)]
struct Layout {
    version: Version,
    quantum: u64, // what the steps of the pc tables are multiplied with
    word: u64,    // bytes of a pointer
    names: u64,
    units: u64, // per compilation unit and file: offset in `files`
    files: u64,
    pc_tables: u64,
    list: u64,    // pairs of a function's entry and the offset of its record
    records: u64, // what the offsets of records count from
}

/// One function's record.
#[derive(Clone, Copy, Debug)]
struct Function {
    record: u64, // offset in the table
    entry: u64,
    end: u64,
}

impl GoTable {
    /// The table of `image`; `None` if it was not made by Go, or by a release that is not known.
    pub(crate) fn load(image: &Arc<MappedFile>) -> Option<Self> {
        let object = object::File::parse((**image).as_ref()).ok()?;
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let name = names
            .into_iter()
            .find(|name| object.section_by_name(name).is_some())?;
        let table = elf::section(image, &object, name)?;
        let address = object.section_by_name(name)?.address();
        let range = address..address.checked_add(table.len() as u64)?;
        let (layout, functions, text_field) = Layout::read(&table)?;
        let module = ModuleData::find(image, &object, range, layout.word);
        // The field is filled by the dynamic linker in position-independent programs, and unused in
        // the newest releases.
        let text_start = match (text_field, &module) {
            (None, _) => 0, // entries are whole addresses
            (Some(text), _) if text != 0 => text,
            (_, Some(module)) => module.word(TEXT)?,
            _ => object.section_by_name(".text")?.address(),
        };
        let mut found = Self {
            table,
            layout,
            text_start,
            functions,
            inline_trees: None,
        };
        // The newest releases have a section for them, the others only the pointer. Which word of
        // the module data it is differs by release, more often than the version of the table.
        let section = object
            .section_by_name(".go.func")
            .map(|section| section.address());
        let words = module
            .iter()
            .flat_map(|module| GO_FUNC.filter_map(|word| module.word(word)));
        if found.layout.version >= Version::Go1_18 {
            for address in section.into_iter().chain(words) {
                found.inline_trees = bytes_at(image, &object, address);
                if found.inline_trees_fit() {
                    return Some(found);
                }
            }
        }
        found.inline_trees = None;
        Some(found)
    }

    /// Whether the first functions' inline trees, read from where they are taken to be, make sense.
    fn inline_trees_fit(&self) -> bool {
        const ENOUGH: usize = 16;
        let indices = 0..self.functions.min(10_000);
        let functions = indices.filter_map(|index| self.function_at(index));
        let trees = functions.filter_map(|function| Some((function, self.inline_tree(&function)?)));
        let mut seen = 0;
        for (function, (_, tree)) in trees.take(ENOUGH) {
            let fits = self.inlined_call(tree, 0).is_some_and(|call| {
                call.parent_pc < function.end - function.entry && self.is_name_start(call.name)
            });
            if !fits {
                return false;
            }
            seen += 1;
        }
        seen > 0
    }

    /// Whether another name ends just before this one.
    fn is_name_start(&self, offset: i32) -> bool {
        let before = u64::try_from(offset).ok().and_then(|offset| {
            let at = self.layout.names.checked_add(offset)?.checked_sub(1)?;
            self.uint(at, 1)
        });
        before == Some(0) && self.name(offset).is_some()
    }

    /// The function around `address`.
    pub(crate) fn function(&self, address: u64, names: &mut Names) -> Option<PlaceFunction> {
        let function = self.find(address)?;
        Some(PlaceFunction {
            name: names.plain(&self.function_name(&function)?),
            address: function.entry,
            size: function.end - function.entry,
        })
    }

    /// Where the function around `address` ends; before the first one, where that starts.
    pub(crate) fn end(&self, address: u64) -> Option<u64> {
        match self.find(address) {
            Some(function) => Some(function.end),
            None => self.entry(0).filter(|&first| first > address),
        }
    }

    /// The functions around `address`, innermost first; the last one is the physical function.
    pub(crate) fn frames(&self, address: u64, names: &mut Names) -> Vec<PlaceFrame> {
        self.try_frames(address, names).unwrap_or_default()
    }

    fn try_frames(&self, address: u64, names: &mut Names) -> Option<Vec<PlaceFrame>> {
        let function = self.find(address)?;
        let tree = self.inline_tree(&function);
        let mut frames = Vec::new();
        let mut pc = address;
        while let Some((table, tree)) = tree
            && frames.len() < DEEPEST_INLINING
            && let Some(index) = self.pc_value(table, &function, pc)
            && let Ok(index) = u64::try_from(index)
        {
            let Some(call) = self.inlined_call(tree, index) else {
                break;
            };
            frames.push(PlaceFrame {
                name: self.name(call.name).map(|name| names.plain(&name)),
                location: self.line(&function, pc, names),
            });
            pc = function.entry.checked_add(call.parent_pc)?;
        }
        frames.push(PlaceFrame {
            name: self.function_name(&function).map(|name| names.plain(&name)),
            location: self.line(&function, pc, names),
        });
        Some(frames)
    }

    /// Searches the sorted list of (entry, record) pairs.
    fn find(&self, address: u64) -> Option<Function> {
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.function_at(low.checked_sub(1)?)
            .filter(|function| address < function.end)
    }

    fn function_at(&self, index: u64) -> Option<Function> {
        let (entry, end) = (self.entry(index)?, self.entry(index + 1)?);
        let size = self.layout.entry_size();
        let at = self.layout.list.checked_add((index * 2 + 1) * size)?;
        let record = self.layout.records.checked_add(self.uint(at, size)?)?;
        (entry < end).then_some(Function { record, entry, end })
    }

    /// The first address of a function by its index; one past the last is the end of the text.
    fn entry(&self, index: u64) -> Option<u64> {
        let size = self.layout.entry_size();
        let at = self.layout.list.checked_add(index.checked_mul(2 * size)?)?;
        self.text_start.checked_add(self.uint(at, size)?)
    }

    fn line(&self, function: &Function, pc: u64, names: &mut Names) -> Option<SourceLine> {
        let file = self.pc_value(self.u32(function.record, FILE_FIELD)?, function, pc)?;
        let line = self.pc_value(self.u32(function.record, LINE_FIELD)?, function, pc)?;
        let file = u64::try_from(file).ok()?;
        let offset = if self.layout.version == Version::Go1_2 {
            // The list of files holds offsets in the table itself.
            self.uint(self.layout.files.checked_add(file.checked_mul(4)?)?, 4)?
        } else {
            let unit = u64::from(self.u32(function.record, UNIT_FIELD)?);
            let at = unit.checked_add(file)?.checked_mul(4)?;
            let offset = self.uint(self.layout.units.checked_add(at)?, 4)?;
            self.layout.files.checked_add(offset)?
        };
        Some(SourceLine {
            file: names.plain(&self.string(offset)?),
            line: u32::try_from(line).ok()?,
        })
    }

    /// The value that a pc table has at `pc`: pairs of a zigzag-coded step of the value and a step of
    /// the pc, from -1 and the function's entry on.
    fn pc_value(&self, table: u32, function: &Function, pc: u64) -> Option<i64> {
        if table == 0 {
            return None; // the table's first byte stands for "no table"
        }
        let at = self.layout.pc_tables.checked_add(u64::from(table))?;
        let mut steps = self.table.clone();
        steps.skip(usize::try_from(at).ok()?).ok()?;
        let (mut value, mut position) = (-1_i64, function.entry);
        let mut first = true;
        loop {
            let step = steps.read_uleb128().ok()?;
            if step == 0 && !first {
                return None;
            }
            first = false;
            let step = (step >> 1).cast_signed() ^ -((step & 1).cast_signed());
            value = value.checked_add(step)?;
            let distance = steps
                .read_uleb128()
                .ok()?
                .checked_mul(self.layout.quantum)?;
            position = position.checked_add(distance)?;
            if pc < position {
                return Some(value);
            }
        }
    }

    /// The pc table of indices into the function's inline tree, and the tree's offset.
    fn inline_tree(&self, function: &Function) -> Option<(u32, u64)> {
        const INLINE_INDEX: u64 = 2; // PCDATA_InlTreeIndex
        const INLINE_TREE: u64 = 3; // FUNCDATA_InlTree
        let tables = u64::from(self.u32(function.record, TABLES_FIELD)?);
        let fixed = if self.layout.version == Version::Go1_20 {
            44
        } else {
            40
        };
        let count = self.uint(function.record.checked_add(fixed - 1)?, 1)?;
        if tables <= INLINE_INDEX || count <= INLINE_TREE {
            return None;
        }
        let after = function.record.checked_add(fixed)?;
        let table = self.uint(after.checked_add(INLINE_INDEX * 4)?, 4)?;
        let tree = self.uint(after.checked_add((tables + INLINE_TREE) * 4)?, 4)?;
        const NONE: u64 = u32::MAX as u64;
        (tree != NONE).then_some((u32::try_from(table).ok()?, tree))
    }

    fn inlined_call(&self, tree: u64, index: u64) -> Option<InlinedCall> {
        let trees = self.inline_trees.as_ref()?;
        let (size, name, parent) = match self.layout.version {
            Version::Go1_20 => (16, 4, 8),
            _ => (20, 12, 16),
        };
        let at = tree.checked_add(index.checked_mul(size)?)?;
        let field = |offset: u64| {
            let mut data = trees.clone();
            data.skip(usize::try_from(at.checked_add(offset)?).ok()?)
                .ok()?;
            data.read_i32().ok()
        };
        Some(InlinedCall {
            name: field(name)?,
            parent_pc: u64::try_from(field(parent)?).ok()?,
        })
    }

    fn function_name(&self, function: &Function) -> Option<String> {
        self.name(self.u32(function.record, NAME_FIELD)?.cast_signed())
    }

    fn name(&self, offset: i32) -> Option<String> {
        let offset = u64::try_from(offset).ok()?;
        let name = self.string(self.layout.names.checked_add(offset)?)?;
        (!name.is_empty()).then_some(name)
    }

    fn string(&self, offset: u64) -> Option<String> {
        let mut text = self.table.clone();
        text.skip(usize::try_from(offset).ok()?).ok()?;
        let text = text.read_null_terminated_slice().ok()?;
        Some(text.to_string_lossy().ok()?.into_owned())
    }

    /// A 32-bit field of a function record, by its number behind the entry.
    fn u32(&self, record: u64, field: u64) -> Option<u32> {
        let entry = self.layout.entry_size();
        let at = record.checked_add(entry + field * 4)?;
        u32::try_from(self.uint(at, 4)?).ok()
    }

    fn uint(&self, offset: u64, size: u64) -> Option<u64> {
        uint(&self.table, offset, size)
    }
}

/// A call that was inlined.
struct InlinedCall {
    name: i32,
    /// Offset in the function of an instruction at the call in the caller's source.
    parent_pc: u64,
}

// Numbers of 32-bit fields in a function record, counted behind the entry.
const NAME_FIELD: u64 = 0;
const FILE_FIELD: u64 = 4;
const LINE_FIELD: u64 = 5;
const TABLES_FIELD: u64 = 6;
const UNIT_FIELD: u64 = 7;

impl Layout {
    /// The layout, how many functions there are, and, where entries are relative to it, the start of
    /// the text as the header has it.
    fn read(table: &Reader) -> Option<(Self, u64, Option<u64>)> {
        let version = match uint(table, 0, 4)? {
            0xffff_fffb => Version::Go1_2,
            0xffff_fffa => Version::Go1_16,
            0xffff_fff0 => Version::Go1_18,
            0xffff_fff1 => Version::Go1_20,
            _ => return None,
        };
        let (quantum, word) = (uint(table, 6, 1)?, uint(table, 7, 1)?);
        if !matches!(quantum, 1 | 2 | 4) || !matches!(word, 4 | 8) {
            return None;
        }
        let header = |index: u64| uint(table, 8 + index * word, word);
        let count = header(0)?;
        if version == Version::Go1_2 {
            // The list of functions follows the header, after it the end of the text and the place of
            // the list of files. All offsets count from the start of the table.
            let list = 8 + word;
            let after = count.checked_mul(2 * word)?.checked_add(list + word)?;
            let layout = Self {
                version,
                quantum,
                word,
                names: 0,
                units: 0,
                files: uint(table, after, 4)?,
                pc_tables: 0,
                list,
                records: 0,
            };
            return Some((layout, count, None));
        }
        let (text, parts) = match version {
            Version::Go1_16 => (None, 2),
            _ => (Some(header(2)?), 3),
        };
        let functions = header(parts + 4)?;
        let layout = Self {
            version,
            quantum,
            word,
            names: header(parts)?,
            units: header(parts + 1)?,
            files: header(parts + 2)?,
            pc_tables: header(parts + 3)?,
            list: functions,
            records: functions,
        };
        Some((layout, count, text))
    }

    /// Bytes of an entry address, in the list and at the start of a record.
    fn entry_size(&self) -> u64 {
        if self.version >= Version::Go1_18 {
            4
        } else {
            self.word
        }
    }
}

// Numbers of words in the runtime's module data.
const TEXT: u64 = 22;
const GO_FUNC: RangeInclusive<u64> = 38..=44; // 38 in release 1.18, 40 in 1.20, 43 in 1.27

/// `runtime.firstmoduledata`, found by its first word: the address of the function table.
struct ModuleData {
    data: Reader,
    address: u64,
    word: u64,
    relocated: FxHashMap<u64, u64>, // what the dynamic linker will write, by address
}

impl ModuleData {
    fn find(
        image: &Arc<MappedFile>,
        object: &object::File<'_>,
        table: Range<u64>,
        word: u64,
    ) -> Option<Self> {
        let mut relocated = FxHashMap::default();
        if object.kind() == object::ObjectKind::Dynamic {
            let relative = object.dynamic_relocations().into_iter().flatten();
            relocated.extend(relative.filter_map(|(address, relocation)| {
                let absolute = relocation.target() == RelocationTarget::Absolute;
                absolute.then_some((address, relocation.addend().cast_unsigned()))
            }));
        }
        let sections = object.sections().filter(|section| {
            let name = section.name_bytes().unwrap_or_default();
            name.starts_with(b".data") || name == b".noptrdata" || name == b".go.module"
        });
        for section in sections {
            let Some(data) = section
                .name()
                .ok()
                .and_then(|name| elf::section(image, object, name))
            else {
                continue;
            };
            let mut candidate = Self {
                data,
                address: section.address(),
                word,
                relocated,
            };
            if candidate.advance(&table) {
                return Some(candidate);
            }
            relocated = candidate.relocated;
        }
        None
    }

    /// Moves to the first place that looks like module data: a pointer to the table, then one to the
    /// names inside it.
    fn advance(&mut self, table: &Range<u64>) -> bool {
        while !self.data.is_empty() {
            if self.word(0) == Some(table.start)
                && self.word(1).is_some_and(|names| table.contains(&names))
            {
                return true;
            }
            if self.data.skip(self.word as usize).is_err() {
                return false;
            }
            self.address = self.address.wrapping_add(self.word);
        }
        false
    }

    fn word(&self, index: u64) -> Option<u64> {
        match uint(&self.data, index * self.word, self.word)? {
            0 => {
                let address = self.address.checked_add(index * self.word)?;
                Some(self.relocated.get(&address).copied().unwrap_or(0))
            }
            value => Some(value),
        }
    }
}

/// From `address` to the end of its section.
fn bytes_at(image: &Arc<MappedFile>, object: &object::File<'_>, address: u64) -> Option<Reader> {
    object.sections().find_map(|section| {
        let distance = address.checked_sub(section.address())?;
        if section.address() == 0 || distance >= section.size() {
            return None;
        }
        let mut data = elf::section(image, object, section.name().ok()?)?;
        data.skip(usize::try_from(distance).ok()?).ok()?;
        Some(data)
    })
}

/// An unsigned number of 1, 4 or 8 bytes.
fn uint(table: &Reader, offset: u64, size: u64) -> Option<u64> {
    let mut bytes = table.clone();
    bytes.skip(usize::try_from(offset).ok()?).ok()?;
    match size {
        1 => bytes.read_u8().ok().map(u64::from),
        4 => bytes.read_u32().ok().map(u64::from),
        _ => bytes.read_u64().ok(),
    }
}
