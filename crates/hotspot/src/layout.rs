//! Where HotSpot's types have their fields, from the tables that it exports for debuggers.

use rustc_hash::FxHashMap;

use crate::memory::{Memory, Reader, Unread, number_in};

/// The variables of `libjvm.so` that lead to the tables, to be looked up among its dynamic symbols.
pub const EXPORTED: [&str; 11] = [
    "gHotSpotVMStructs",
    "gHotSpotVMStructEntryArrayStride",
    "gHotSpotVMStructEntryTypeNameOffset",
    "gHotSpotVMStructEntryFieldNameOffset",
    "gHotSpotVMStructEntryTypeStringOffset",
    "gHotSpotVMStructEntryOffsetOffset",
    "gHotSpotVMStructEntryAddressOffset",
    "gHotSpotVMTypes",
    "gHotSpotVMTypeEntryArrayStride",
    "gHotSpotVMTypeEntryTypeNameOffset",
    "gHotSpotVMTypeEntrySizeOffset",
];

/// No release has as many fields or types.
const MOST_ENTRIES: u64 = 1 << 14;
/// No entry of a table is as long.
const LONGEST_ENTRY: u64 = 256;
const PAGE: u64 = 4096;
/// Names of types and fields are shorter.
const LONGEST_NAME: u64 = 64;

/// A field of a type: where it is from the type's beginning, and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) at: u64,
    pub(crate) size: u8,
}

/// What is needed of the tables. Addresses are of the process, sizes in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The variable with the heaps of code, and whether it is a list of them.
    pub(crate) heaps: (u64, HeapsAre),
    /// In a heap: the memory, the map of its segments, and how large one is, as a power of two.
    pub(crate) heap: [u64; 3],
    /// In a range of memory: its first address, and the one behind its last.
    pub(crate) range: [u64; 2],
    /// In what comes before a blob: whether it is used; and how long it is.
    pub(crate) block_used: u64,
    pub(crate) block_size: u64,
    pub(crate) blob: BlobLayout,
    pub(crate) method: MethodLayout,
}

/// What the variable with the heaps is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeapsAre {
    /// The only heap.
    One,
    /// A list: where it has its length and its elements.
    List { length: u64, elements: u64 },
}

/// A blob's fields.
#[derive(Clone, Debug)]
pub(crate) struct BlobLayout {
    pub(crate) name: u64,
    pub(crate) size: Field,
    pub(crate) frame_complete: Field,
    pub(crate) frame_size: Field,
    pub(crate) code: CodeIs,
    /// Where a compiled method has its method.
    pub(crate) method: u64,
    /// So many bytes hold all of these.
    pub(crate) bytes: usize,
}

/// How a blob says where its code begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodeIs {
    /// By address, in a field.
    At(u64),
    /// By its distance from the blob.
    Behind(Field),
}

/// The way from a method to its name.
#[derive(Clone, Debug)]
pub(crate) struct MethodLayout {
    pub(crate) constant_part: u64,
    pub(crate) constants: u64,
    pub(crate) name_index: Field,
    pub(crate) constants_size: u64,
    pub(crate) holder: u64,
    pub(crate) class_name: u64,
    pub(crate) symbol_length: Field,
    pub(crate) symbol_text: u64,
}

/// Fields by type and name, and sizes of types.
struct Tables {
    fields: FxHashMap<(String, String), (Field, u64)>,
    sizes: FxHashMap<String, u64>,
}

impl Layout {
    /// Reads the tables. `exported` has the addresses of the variables [`EXPORTED`] in the process.
    pub(crate) fn read(exported: &[u64; 11], memory: &mut dyn Memory) -> Option<Self> {
        let mut left = 4 * MOST_ENTRIES as u32;
        let mut reader = Reader {
            memory,
            left: &mut left,
        };
        Self::from_tables(&Tables::read(exported, &mut reader).ok()?)
    }

    fn from_tables(tables: &Tables) -> Option<Self> {
        let at = |ty: &str, field: &str| tables.field(ty, field).map(|field| field.at);
        let any = |types: &[&str], field: &str| types.iter().find_map(|ty| at(ty, field));
        let heaps = match tables.variable("CodeCache", "_heaps") {
            Some(list) => {
                let length = any(&["GrowableArrayBase", "GenericGrowableArray"], "_len")?;
                let elements = at("GrowableArray<int>", "_data")?;
                (list, HeapsAre::List { length, elements })
            }
            None => (tables.variable("CodeCache", "_heap")?, HeapsAre::One),
        };
        let number = |field: &str| tables.field("CodeBlob", field);
        let code = match number("_code_begin") {
            Some(field) => CodeIs::At(field.at),
            None => CodeIs::Behind(number("_code_offset")?),
        };
        let mut blob = BlobLayout {
            name: at("CodeBlob", "_name")?,
            size: number("_size")?,
            frame_complete: number("_frame_complete_offset")?,
            frame_size: number("_frame_size")?,
            code,
            method: any(&["nmethod", "CompiledMethod"], "_method")?,
            bytes: 0,
        };
        let code_at = match blob.code {
            CodeIs::At(at) => at,
            CodeIs::Behind(field) => field.at,
        };
        let fields = [blob.size, blob.frame_complete, blob.frame_size].map(|field| field.at);
        let last = fields
            .into_iter()
            .chain([blob.name, code_at, blob.method])
            .max()?;
        blob.bytes = usize::try_from(last).ok().filter(|&last| last < 1024)? + 8;
        Some(Self {
            heaps,
            heap: [
                at("CodeHeap", "_memory")?,
                at("CodeHeap", "_segmap")?,
                at("CodeHeap", "_log2_segment_size")?,
            ],
            range: [at("VirtualSpace", "_low")?, at("VirtualSpace", "_high")?],
            block_used: at("HeapBlock", "_header")? + at("HeapBlock::Header", "_used")?,
            block_size: *tables.sizes.get("HeapBlock")?,
            blob,
            method: MethodLayout {
                constant_part: at("Method", "_constMethod")?,
                constants: at("ConstMethod", "_constants")?,
                name_index: tables.field("ConstMethod", "_name_index")?,
                constants_size: *tables.sizes.get("ConstantPool")?,
                holder: at("ConstantPool", "_pool_holder")?,
                class_name: at("Klass", "_name")?,
                symbol_length: tables.field("Symbol", "_length")?,
                symbol_text: any(&["Symbol"], "_body[0]").or_else(|| at("Symbol", "_body"))?,
            },
        })
    }
}

impl Tables {
    fn read(exported: &[u64; 11], reader: &mut Reader<'_>) -> Result<Self, Unread> {
        let mut values = [0; 11];
        for (value, &addr) in values.iter_mut().zip(exported) {
            *value = reader.word(addr)?;
        }
        let [
            structs,
            stride,
            type_name,
            name,
            is_of,
            offset,
            address,
            rest @ ..,
        ] = values;
        let [types, type_stride, own_name, size] = rest;
        let mut texts = Texts::default();
        let mut tables = Self {
            fields: FxHashMap::default(),
            sizes: FxHashMap::default(),
        };
        each(structs, stride, type_name, reader, |entry, reader| {
            let word = |at| number_in(entry, at, 8).unwrap_or(0);
            let ty = texts.at(word(type_name), reader)?;
            if !TYPES.contains(&ty.as_str()) {
                return Ok(());
            }
            let field = texts.at(word(name), reader)?;
            let kind = texts.at(word(is_of), reader).unwrap_or_default();
            let place = Field {
                at: word(offset),
                size: size_of_type(&kind),
            };
            tables.fields.insert((ty, field), (place, word(address)));
            Ok(())
        })?;
        each(types, type_stride, own_name, reader, |entry, reader| {
            let word = |at| number_in(entry, at, 8).unwrap_or(0);
            let ty = texts.at(word(own_name), reader)?;
            if TYPES.contains(&ty.as_str()) {
                tables.sizes.insert(ty, word(size));
            }
            Ok(())
        })?;
        Ok(tables)
    }

    /// A field of each value of a type. What is farther away than any type is large is not one.
    fn field(&self, ty: &str, name: &str) -> Option<Field> {
        let (field, _) = self.fields.get(&(ty.to_owned(), name.to_owned()))?;
        (field.at < PAGE).then_some(*field)
    }

    /// Where a variable is.
    fn variable(&self, ty: &str, name: &str) -> Option<u64> {
        let (_, address) = self.fields.get(&(ty.to_owned(), name.to_owned()))?;
        (*address != 0).then_some(*address)
    }
}

/// The types whose fields are kept.
const TYPES: [&str; 16] = [
    "CodeCache",
    "CodeHeap",
    "VirtualSpace",
    "HeapBlock",
    "HeapBlock::Header",
    "GrowableArrayBase",
    "GenericGrowableArray",
    "GrowableArray<int>",
    "CodeBlob",
    "CompiledMethod",
    "nmethod",
    "Method",
    "ConstMethod",
    "ConstantPool",
    "Klass",
    "Symbol",
];

/// How many bytes a field of a type of numbers has; pointers have eight.
fn size_of_type(name: &str) -> u8 {
    match name {
        "u1" | "bool" | "CodeBlobKind" | "int8_t" | "uint8_t" => 1,
        "u2" | "unsigned short" | "short" | "int16_t" | "uint16_t" => 2,
        "int" | "unsigned int" | "jint" | "juint" | "int32_t" | "uint32_t" | "u4" => 4,
        _ => 8,
    }
}

/// Calls `take` with each entry of a table, which ends with one that has no name.
fn each(
    table: u64,
    stride: u64,
    name: u64,
    reader: &mut Reader<'_>,
    mut take: impl FnMut(&[u8], &mut Reader<'_>) -> Result<(), Unread>,
) -> Result<(), Unread> {
    if table == 0 || !(8..=LONGEST_ENTRY).contains(&stride) || name > stride - 8 {
        return Err(Unread::Nothing);
    }
    let at_once = PAGE / stride;
    let mut bytes = vec![0; (at_once * stride) as usize];
    for first in (0..MOST_ENTRIES).step_by(at_once as usize) {
        let addr = table.wrapping_add(first * stride);
        let count = reader.some(addr, &mut bytes)?;
        for entry in bytes[..count].chunks_exact(stride as usize) {
            if number_in(entry, name, 8).is_none_or(|name| name == 0) {
                return Ok(());
            }
            take(entry, reader)?;
        }
        if count < bytes.len() {
            break; // the table would have ended before
        }
    }
    Err(Unread::Nothing)
}

/// Texts of the file's constants, read by the page.
#[derive(Default)]
struct Texts(FxHashMap<u64, Vec<u8>>);

impl Texts {
    fn at(&mut self, addr: u64, reader: &mut Reader<'_>) -> Result<String, Unread> {
        let mut text = Vec::new();
        let end = addr.checked_add(LONGEST_NAME).ok_or(Unread::Nothing)?;
        for addr in addr..end {
            let (start, at) = (addr / PAGE * PAGE, (addr % PAGE) as usize);
            let page = match self.0.entry(start) {
                std::collections::hash_map::Entry::Occupied(page) => page.into_mut(),
                std::collections::hash_map::Entry::Vacant(page) => {
                    let mut bytes = vec![0; PAGE as usize];
                    let count = reader.some(start, &mut bytes)?;
                    bytes.truncate(count);
                    page.insert(bytes)
                }
            };
            match page.get(at) {
                None => return Err(Unread::Nothing),
                Some(0) => return Ok(String::from_utf8_lossy(&text).into_owned()),
                Some(&byte) => text.push(byte),
            }
        }
        Ok(String::new()) // longer than any that is looked for
    }
}
