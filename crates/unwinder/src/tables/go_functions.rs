//! Go's own table of functions (`.gopclntab`), which its runtime needs and `strip` leaves alone: how deep
//! the stack is at each instruction, and where stacks begin. It says what `.debug_frame` would say.
//!
//! In: the table's bytes. Out: for an address, the function around it with its rules. Names, lines and
//! inlined calls are in the same table, but not for this crate.
//!
//! Source: `src/runtime/symtab.go`, `src/internal/abi/symtab.go` and `src/debug/gosym/pclntab.go` of the
//! Go project, releases 1.2 to 1.27.

use std::ops::Range;

use crate::arch::Cpu;
use crate::image::{Image, Section};
use crate::regs::{FP_INDEX, SAVED, SP};
use crate::tables::compile::Function;
use crate::tables::go_text_start::text_start;
use crate::tables::rule::{Cfa, Rule, RuleStore, Saved};

/// The table of one module.
pub(crate) struct GoFunctions {
    section: Section,
    layout: Layout,
    /// What the entries of functions count from; 0 where they are whole addresses.
    text_start: u64,
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
#[derive(Clone, Copy, Debug)]
struct Layout {
    version: Version,
    quantum: u32, // what the steps of the pc tables are multiplied with
    functions: usize,
    names: usize,
    pc_tables: usize,
    /// Pairs of a function's entry and the offset of its record.
    list: usize,
    /// What the offsets of records count from.
    records: usize,
}

/// How many rows one function may have: its code has an instruction for each.
const MOST_ROWS: usize = 1 << 16;

/// The numbers with which the tables of the four layouts start.
const MAGICS: [(u32, Version); 4] = [
    (0xffff_fffb, Version::Go1_2),
    (0xffff_fffa, Version::Go1_16),
    (0xffff_fff0, Version::Go1_18),
    (0xffff_fff1, Version::Go1_20),
];

// Numbers of 32-bit fields in a function record, counted behind the entry.
const NAME_FIELD: usize = 0;
const DEPTHS_FIELD: usize = 3;
const KIND_FIELD: usize = 8; // of releases since 1.17, where 1.20 did not put another before it

/// The bit of [`KIND_FIELD`]'s second byte that says that a function has no caller.
const IS_OUTERMOST: u8 = 1;

/// Functions without a caller, for releases whose tables do not mark them.
const OUTERMOST: [&[u8]; 3] = [b"runtime.goexit", b"runtime.mstart", b"runtime.rt0_go"];

/// Whether the bytes begin as such a table of a 64-bit program does.
pub(crate) fn is_table(bytes: &[u8]) -> bool {
    Layout::read(bytes).is_some()
}

impl GoFunctions {
    /// The table of a module; `None` if Go did not build it, or a release that is not known did.
    pub(crate) fn find(image: &Image) -> Option<Self> {
        let section = image.go_functions.clone()?;
        let table = image.section(&section);
        let layout = Layout::read(table)?;
        let text_start = match layout.version {
            Version::Go1_2 | Version::Go1_16 => 0,
            Version::Go1_18 | Version::Go1_20 => text_start(image, &section)?,
        };
        let found = Self {
            section,
            layout,
            text_start,
        };
        let table = image.section(&found.section);
        let first = found.entry(table, 0)?;
        let end = found.entry(table, layout.functions)?;
        (image.is_code(first) && image.is_code(end.checked_sub(1)?)).then_some(found)
    }

    /// The function around a virtual address, with the rules that its depths make.
    pub(crate) fn function<C: Cpu>(
        &self,
        image: &Image,
        vaddr: u64,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let table = image.section(&self.section);
        let (extent, record) = self.record(table, vaddr)?;
        let depths = field(table, record, DEPTHS_FIELD)?;
        let is_outermost = self.is_outermost(table, record);
        let rows = self.depths(table, depths, &extent)?;
        let rows = rows.into_iter().map(|(start, depth)| {
            let rule = depth.and_then(rule::<C>).map(|rule| match is_outermost {
                true => outermost(rule),
                false => rule,
            });
            (start, rule)
        });
        Some(Function::new(extent, rows.collect(), rules))
    }

    /// The function around an address: where it is, and where its record is, behind the entry.
    fn record(&self, table: &[u8], vaddr: u64) -> Option<(Range<u64>, usize)> {
        let (mut low, mut high) = (0, self.layout.functions); // below low they start before, from high on behind
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(table, middle)? <= vaddr {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        let extent = self.entry(table, index)?..self.entry(table, low)?;
        let size = self.layout.entry_size();
        let at = self.layout.list + (2 * index + 1) * size;
        let offset = usize::try_from(uint(table, at, size)?).ok()?;
        let record = self.layout.records.checked_add(offset)?;
        extent
            .contains(&vaddr)
            .then_some((extent, record.checked_add(size)?))
    }

    /// The first address of a function by its number; of one past the last, the end of the text.
    fn entry(&self, table: &[u8], index: usize) -> Option<u64> {
        let size = self.layout.entry_size();
        let at = self.layout.list + 2 * index * size;
        self.text_start.checked_add(uint(table, at, size)?)
    }

    /// How many bytes the stack pointer is below where it was at the entry, by offsets in the function. A
    /// step of the depth, coded so that small ones are short whatever their sign, is followed by how far
    /// the new depth reaches; it begins with -1. Behind the last one there is padding.
    fn depths(
        &self,
        table: &[u8],
        at: u32,
        extent: &Range<u64>,
    ) -> Option<Vec<(u32, Option<i32>)>> {
        if at == 0 {
            return None; // of C code in the program, nothing is known
        }
        let start = self.layout.pc_tables.checked_add(at as usize)?;
        let mut bytes = table.get(start..)?;
        let size = extent.end - extent.start;
        let mut rows: Vec<(u32, Option<i32>)> = Vec::new();
        let (mut depth, mut offset) = (-1_i32, 0_u32);
        while u64::from(offset) < size && rows.len() < MOST_ROWS {
            let step = uleb(&mut bytes)?;
            if step == 0 && !rows.is_empty() {
                break;
            }
            depth = depth.checked_add((step >> 1).cast_signed() ^ -((step & 1).cast_signed()))?;
            rows.push((offset, Some(depth)));
            let distance = uleb(&mut bytes)?.checked_mul(self.layout.quantum)?;
            if distance == 0 {
                return None;
            }
            offset = offset.checked_add(distance)?;
        }
        rows.push((offset, None)); // padding
        Some(rows)
    }

    /// Whether nothing calls a function.
    fn is_outermost(&self, table: &[u8], record: usize) -> bool {
        let kind = match self.layout.version {
            Version::Go1_2 => None,
            Version::Go1_16 | Version::Go1_18 => Some(KIND_FIELD),
            Version::Go1_20 => Some(KIND_FIELD + 1),
        };
        let flags = kind.and_then(|kind| field(table, record, kind));
        if flags.is_some_and(|flags| flags.to_le_bytes()[1] & IS_OUTERMOST != 0) {
            return true;
        }
        let name = field(table, record, NAME_FIELD)
            .and_then(|name| self.layout.names.checked_add(name as usize))
            .and_then(|at| table.get(at..));
        name.is_some_and(|name| {
            let is = |known: &&[u8]| name.starts_with(known) && name.get(known.len()) == Some(&0);
            OUTERMOST.iter().any(is)
        })
    }
}

/// How to leave a frame of Go code at this depth.
fn rule<C: Cpu>(depth: i32) -> Option<Rule> {
    let (offset, return_address) = C::go_frame(depth)?;
    let mut callee_saved = [Saved::Same; SAVED];
    callee_saved[FP_INDEX] = Saved::GoFramePointer;
    Some(Rule {
        cfa: Cfa::Offset {
            register: SP,
            offset,
        },
        return_address,
        callee_saved,
        others: Box::default(),
        is_signal_frame: false,
    })
}

fn outermost(rule: Rule) -> Rule {
    Rule {
        return_address: Saved::Undefined,
        ..rule
    }
}

impl Layout {
    fn read(table: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(*table.first_chunk()?);
        let version = MAGICS.iter().find(|known| known.0 == magic)?.1;
        let &[0, 0, quantum @ (1 | 2 | 4), 8] = table.get(4..8)? else {
            return None;
        };
        let header = |index: usize| usize::try_from(uint(table, 8 + 8 * index, 8)?).ok();
        let functions = header(0)?;
        let [names, pc_tables, list] = match version {
            Version::Go1_2 => [0, 0, 16], // all counts from the start of the table
            Version::Go1_16 => [header(2)?, header(5)?, header(6)?],
            Version::Go1_18 | Version::Go1_20 => [header(3)?, header(6)?, header(7)?],
        };
        let records = match version {
            Version::Go1_2 => 0,
            _ => list,
        };
        let layout = Self {
            version,
            quantum: quantum.into(),
            functions,
            names,
            pc_tables,
            list,
            records,
        };
        let room = table.len().checked_sub(list)? / layout.entry_size();
        let is_inside = functions > 0 && functions < room / 2 && names.max(pc_tables) < table.len();
        is_inside.then_some(layout)
    }

    /// Bytes of an entry address, in the list and at the start of a record.
    fn entry_size(&self) -> usize {
        if self.version >= Version::Go1_18 {
            4
        } else {
            8
        }
    }
}

/// A field of the record whose fields begin at `record`.
fn field(table: &[u8], record: usize, number: usize) -> Option<u32> {
    let at = record.checked_add(4 * number)?;
    Some(u32::from_le_bytes(*table.get(at..)?.first_chunk()?))
}

/// An unsigned number of 4 or 8 bytes.
fn uint(table: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = table.get(at..)?;
    Some(match size {
        4 => u32::from_le_bytes(*bytes.first_chunk()?).into(),
        _ => u64::from_le_bytes(*bytes.first_chunk()?),
    })
}

/// Takes a number off the front, seven bits a byte.
fn uleb(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::arch::with_cpu;
    use crate::image::made_up::{Kind, image};

    const TEXT: u64 = 0x40_1000;
    const TABLE: u64 = 0x50_0000;
    const DATA: u64 = 0x60_0000;

    /// A table of two functions, of 0x20 and 0x30 bytes. The first one has 0, 24 and again 0 bytes of stack
    /// from the offsets 0, 4 and 0x1c on, the second one is `runtime.mstart`, with none.
    fn table(version: Version, text_field: u64, marks_outermost: bool) -> Vec<u8> {
        let is_relative = version >= Version::Go1_18;
        let size = if is_relative { 4 } else { 8 };
        let magic = MAGICS.iter().find(|known| known.1 == version).unwrap().0;
        let names: &[u8] = match marks_outermost {
            true => b"\0main.f\0runtime.other\0",
            false => b"\0main.f\0runtime.mstart\0",
        };
        // from -1: +1 for 4 bytes, +24 for 0x18, -24 for 4; +1 for 0x30
        let depths = [0, 2, 4, 48, 0x18, 47, 4, 0, 2, 0x30, 0];
        let (names_at, depths_at) = (128, 192);
        let list_at = if version == Version::Go1_2 { 16 } else { 256 };
        let base = if version == Version::Go1_2 {
            0
        } else {
            list_at
        };
        let mut bytes = magic.to_le_bytes().to_vec();
        bytes.extend([0, 0, 1, 8]);
        let header: &[u64] = match version {
            Version::Go1_2 => &[2],
            Version::Go1_16 => &[2, 0, names_at, 0, 0, depths_at, list_at],
            _ => &[2, 0, text_field, names_at, 0, 0, depths_at, list_at],
        };
        for word in header {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(names_at as usize, 0);
        bytes.extend(names);
        bytes.resize(depths_at as usize, 0);
        bytes.extend(depths);
        bytes.resize(512, 0);
        let mut put = |at: u64, value: u64, size: usize| {
            let at = at as usize;
            bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        let text = if is_relative { 0 } else { TEXT };
        let parts = if version == Version::Go1_2 {
            (names_at, depths_at)
        } else {
            (0, 0)
        };
        for (index, offset, name, depths) in [(0, 0, 1, 1), (1, 0x20, 8, 8)] {
            let record = 320 + index * 64;
            let at = list_at + index * 2 * size;
            put(at, text + offset, size as usize);
            put(at + size, record - base, size as usize);
            put(record, text + offset, size as usize);
            put(record + size, parts.0 + name, 4);
            put(record + size + 12, parts.1 + depths, 4);
            let kind = if version == Version::Go1_20 { 36 } else { 32 };
            if marks_outermost && index == 1 {
                put(record + size + kind, 0x100, 4);
            }
        }
        put(list_at + 4 * size, text + 0x50, size as usize);
        bytes
    }

    fn module(arch: Arch, table: &[u8], more: &[(Kind, u64, &[u8])]) -> Image {
        let code = [0x90; 0x50];
        let mut segments = vec![
            (Kind::Code, TEXT, &code[..]),
            (Kind::Constants, TABLE, table),
        ];
        segments.extend(more);
        image(arch, TEXT, &segments)
    }

    fn function(image: &Image, vaddr: u64, rules: &mut RuleStore) -> Option<Function> {
        let functions = GoFunctions::find(image)?;
        with_cpu!(image.arch, C => functions.function::<C>(image, vaddr, rules))
    }

    /// The offset of the CFA from the stack pointer and where from there the return address is, at each of
    /// these addresses.
    fn rules(image: &Image, at: &[u64]) -> Vec<Option<(Cfa, Saved)>> {
        let mut rules = RuleStore::default();
        let rule = |&vaddr: &u64| {
            let function = function(image, vaddr, &mut rules)?;
            let rule = rules.rule(function.rule(vaddr)?);
            Some((rule.cfa, rule.return_address))
        };
        at.iter().map(rule).collect()
    }

    const AT: [u64; 8] = [
        TEXT - 1,
        TEXT,
        TEXT + 3,
        TEXT + 4,
        TEXT + 0x1b,
        TEXT + 0x1c,
        TEXT + 0x20,
        TEXT + 0x50,
    ];

    fn expected() -> Vec<Option<(Cfa, Saved)>> {
        let above_sp = |offset, saved| {
            let register = SP;
            Some((Cfa::Offset { register, offset }, saved))
        };
        let (level, deep) = (above_sp(8, Saved::At(-8)), above_sp(32, Saved::At(-8)));
        let outermost = above_sp(8, Saved::Undefined);
        vec![None, level, level, deep, deep, level, outermost, None]
    }

    #[test]
    fn each_release_says_how_deep_the_stack_is_and_where_it_begins() {
        for (_, version) in MAGICS {
            for marks_outermost in [false, true] {
                if marks_outermost && version == Version::Go1_2 {
                    continue;
                }
                let image = module(Arch::ALL[0], &table(version, TEXT, marks_outermost), &[]);
                assert!(image.is_go);
                assert_eq!(rules(&image, &AT), expected(), "{version:?}");
            }
        }
    }

    #[test]
    fn a_frame_whose_call_left_the_return_address_in_a_register_begins_with_it() {
        let mut bytes = table(Version::Go1_20, TEXT, false);
        bytes[192 + 3] = 64; // 32 bytes deep
        bytes[192 + 5] = 63;
        let image = module(Arch::ALL[1], &bytes, &[]);
        let places = [TEXT, TEXT + 4].map(|at| rules(&image, &[at])[0].unwrap());
        let offset = |offset| Cfa::Offset {
            register: SP,
            offset,
        };
        let link = with_cpu!(Arch::ALL[1], C => C::RETURN_ADDRESS);
        assert_eq!(places, [(offset(0), link), (offset(32), Saved::At(-32))]);
    }

    #[test]
    fn where_the_code_begins_is_told_by_module_data_or_by_relocations() {
        let table = table(Version::Go1_20, 0, true);
        let words = |words: &[u64]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let mut data = vec![7, TABLE, 1, TABLE, TABLE + 128]; // what looks like it, and it
        data.resize(3 + 22, 0);
        data.push(TEXT);
        let in_data = words(&data);
        let image = module(Arch::ALL[0], &table, &[(Kind::Data, DATA, &in_data)]);
        assert_eq!(rules(&image, &AT), expected());

        let dynamic = words(&[7, DATA, 8, 72, 0, 0]);
        let relocated = |words_at: [(u64, u64); 3]| {
            let entries = words_at.map(|(at, value)| words(&[at, 8, value]));
            let entries = entries.concat();
            let more = [
                (Kind::Data, DATA, &entries[..]),
                (Kind::Data, DATA + 0x1000, &[0; 0x100]),
                (Kind::Dynamic, DATA + 0x2000, &dynamic),
            ];
            module(Arch::ALL[0], &table, &more)
        };
        let at = DATA + 0x1000;
        let by_header = relocated([(TABLE + 24, TEXT), (at, 1), (at + 8, 2)]);
        assert_eq!(rules(&by_header, &AT), expected());
        let by_data = relocated([(at, TABLE), (at + 8, TABLE + 128), (at + 22 * 8, TEXT)]);
        assert_eq!(rules(&by_data, &AT), expected());
        let nowhere = relocated([(at, TABLE), (at + 8, TABLE + 128), (at + 8, TEXT)]);
        assert!(GoFunctions::find(&nowhere).is_none());
    }

    #[test]
    fn a_table_that_is_cut_or_damaged_has_no_rules_and_no_panics() {
        let whole = table(Version::Go1_20, TEXT, true);
        for len in 0..whole.len() {
            assert!(len > 300 || Layout::read(&whole[..len]).is_none_or(|it| it.list < len));
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let image = module(Arch::ALL[0], &damaged, &[]);
                for vaddr in AT {
                    function(&image, vaddr, &mut RuleStore::default());
                }
            }
        }
    }
}
