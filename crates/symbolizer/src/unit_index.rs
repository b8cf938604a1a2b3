//! Which units of a file's debug info have code where, told from the first entry of each.
//!
//! `addr2line` reads the abbreviations and the line program's header of every unit before it answers
//! its first question: most of the time and memory that a large program's debug info takes. Here only
//! the few attributes that say where a unit's code lies are read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use gimli::constants;
use gimli::{
    Abbreviations, AbbreviationsCache, DebugAbbrev, DebugAbbrevOffset, DebugInfoOffset, DwAt,
    EndianSlice, LittleEndian, Reader as _, Section as _, UnitHeader, UnitType,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::elf::Reader;

/// The units of one `.debug_info`. A unit is known by its index.
#[derive(Debug)]
pub(crate) struct UnitIndex {
    units: Vec<UnitHead>,   // by offset
    ranges: Vec<UnitRange>, // by begin
    always: Vec<u32>,       // where their code lies is not known without reading more
}

#[derive(Debug)]
struct UnitHead {
    offset: usize,
    abbreviations: usize,
    root_code: u64, // of the abbreviation of its first entry
}

#[derive(Debug)]
struct UnitRange {
    begin: u64,
    end: u64,
    furthest: u64, // end of all up to this one
    unit: u32,
}

/// Attributes that tell where a unit's code lies.
const PLACE: [DwAt; 8] = [
    constants::DW_AT_low_pc,
    constants::DW_AT_high_pc,
    constants::DW_AT_ranges,
    constants::DW_AT_addr_base,
    constants::DW_AT_GNU_addr_base,
    constants::DW_AT_rnglists_base,
    constants::DW_AT_GNU_ranges_base,
    constants::DW_AT_GNU_dwo_id,
];

impl UnitIndex {
    /// Reads the first entry of each unit.
    ///
    /// # Errors
    /// The headers of units or of `.debug_aranges` are damaged.
    pub(crate) fn new(dwarf: &gimli::Dwarf<Reader>) -> gimli::Result<Self> {
        let mut index = Self {
            units: Vec::new(),
            ranges: Vec::new(),
            always: Vec::new(),
        };
        let mut roots = Roots::default();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let Some(DebugInfoOffset(offset)) = header.debug_info_offset() else {
                continue;
            };
            let unit = index.units.len() as u32;
            let root_code = header
                .range_from(header.root_offset()..)
                .and_then(|mut entries| entries.read_uleb128())
                .unwrap_or(0);
            index.units.push(UnitHead {
                offset,
                abbreviations: header.debug_abbrev_offset().0,
                root_code,
            });
            let has_code = !matches!(
                header.type_(),
                UnitType::Type { .. } | UnitType::SplitType { .. } | UnitType::Partial
            );
            if has_code
                && index
                    .add_ranges(unit, dwarf, header, root_code, &mut roots)
                    .is_none()
            {
                index.always.push(unit);
            }
        }
        index.add_aranges(dwarf)?;
        index.sort();
        Ok(index)
    }

    /// `None`: only the unit's other parts can tell.
    fn add_ranges(
        &mut self,
        unit: u32,
        dwarf: &gimli::Dwarf<Reader>,
        header: UnitHeader<Reader>,
        root_code: u64,
        roots: &mut Roots,
    ) -> Option<()> {
        let root = roots.get(dwarf, header.debug_abbrev_offset().0, root_code)?;
        let parsed = gimli::Unit::new_with_abbreviations(dwarf, header, root).ok()?;
        let mut entries = parsed.entries();
        entries.next_dfs().ok()?;
        let root = entries.current()?;
        let mut has_code = false;
        for range in ranges(dwarf, &parsed, root).ok()? {
            has_code |= self.add(range.start, range.end, unit);
        }
        if has_code || lacks_lines(dwarf, root)? {
            return Some(());
        }
        None
    }

    fn add_aranges(&mut self, dwarf: &gimli::Dwarf<Reader>) -> gimli::Result<()> {
        let mut headers = dwarf.debug_aranges.headers();
        while let Some(header) = headers.next()? {
            let offset = header.debug_info_offset().0;
            let Ok(unit) = self.units.binary_search_by_key(&offset, |unit| unit.offset) else {
                continue;
            };
            let mut entries = header.entries();
            while let Some(entry) = entries.next().transpose() {
                if let Ok(entry) = entry {
                    let range = entry.range();
                    self.add(range.begin, range.end, unit as u32);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, begin: u64, end: u64, unit: u32) -> bool {
        let has_code = begin < end;
        if has_code {
            self.ranges.push(UnitRange {
                begin,
                end,
                furthest: 0,
                unit,
            });
        }
        has_code
    }

    fn sort(&mut self) {
        self.ranges
            .sort_unstable_by_key(|range| (range.begin, range.end, range.unit));
        self.ranges
            .dedup_by_key(|range| (range.begin, range.end, range.unit));
        self.ranges.shrink_to_fit();
        let mut furthest = 0;
        for range in &mut self.ranges {
            furthest = range.end.max(furthest);
            range.furthest = furthest;
        }
    }

    /// The units that may have code at an address, besides those of which that is not known.
    pub(crate) fn at(&self, address: u64) -> impl Iterator<Item = u32> {
        let after = self.ranges.partition_point(|range| range.begin <= address);
        self.ranges[..after]
            .iter()
            .rev()
            .take_while(move |range| range.furthest > address)
            .filter(move |range| address < range.end)
            .map(|range| range.unit)
    }

    /// Whether every unit says where its code lies: otherwise it may be anywhere.
    pub(crate) fn is_complete(&self) -> bool {
        self.always.is_empty()
    }

    /// The units that may have code anywhere.
    pub(crate) fn anywhere(&self) -> &[u32] {
        &self.always
    }

    /// Where a unit starts in `.debug_info`.
    pub(crate) fn start(&self, unit: u32) -> usize {
        self.units[unit as usize].offset
    }

    /// Lets the units that are not `wanted` seem empty to whoever parses all of them: what it looks up
    /// in this cache are abbreviations that know nothing but the first entry, without attributes. A
    /// reference from another unit into such a unit is an error, never a wrong name.
    pub(crate) fn hide_others(&self, wanted: &BTreeSet<u32>, cache: &mut AbbreviationsCache) {
        let wanted = wanted.iter().chain(&self.always);
        let in_use: FxHashSet<usize> = wanted
            .map(|&unit| self.units[unit as usize].abbreviations)
            .collect();
        let mut roots: FxHashMap<usize, BTreeSet<u64>> = FxHashMap::default();
        for unit in &self.units {
            if !in_use.contains(&unit.abbreviations) {
                let codes = roots.entry(unit.abbreviations).or_default();
                codes.insert(unit.root_code);
            }
        }
        let mut empty: FxHashMap<BTreeSet<u64>, Arc<Abbreviations>> = FxHashMap::default();
        for (offset, codes) in roots {
            let abbreviations = empty.entry(codes).or_insert_with_key(without_attributes);
            let abbreviations = Arc::clone(abbreviations);
            cache.set::<Reader>(DebugAbbrevOffset(offset), abbreviations);
        }
    }

    /// The unit that the byte at an offset of `.debug_info` belongs to.
    fn around(&self, offset: usize) -> Option<u32> {
        let after = self.units.partition_point(|unit| unit.offset <= offset);
        Some(after.checked_sub(1)? as u32)
    }

    /// Where the unit starts that the byte at an offset of `.debug_info` belongs to.
    pub(crate) fn start_around(&self, offset: usize) -> Option<usize> {
        Some(self.start(self.around(offset)?))
    }

    /// The units with the entries that functions of these units refer to for their names, and these
    /// units themselves.
    ///
    /// # Errors
    /// The debug info is damaged.
    pub(crate) fn with_referenced(
        &self,
        units: &BTreeSet<u32>,
        dwarf: &gimli::Dwarf<Reader>,
    ) -> gimli::Result<BTreeSet<u32>> {
        let mut references = References::new(self, dwarf);
        for &unit in units {
            references.follow_all_of(unit)?;
        }
        let mut needed: BTreeSet<u32> = references.read.into_keys().collect();
        needed.extend(units);
        Ok(needed)
    }
}

/// Entries that others refer to.
struct References<'a> {
    index: &'a UnitIndex,
    dwarf: &'a gimli::Dwarf<Reader>,
    read: FxHashMap<u32, (UnitHeader<Reader>, Arc<Abbreviations>)>,
    seen: FxHashSet<usize>, // offsets of entries
}

impl<'a> References<'a> {
    fn new(index: &'a UnitIndex, dwarf: &'a gimli::Dwarf<Reader>) -> Self {
        Self {
            index,
            dwarf,
            read: FxHashMap::default(),
            seen: FxHashSet::default(),
        }
    }

    fn unit(&mut self, unit: u32) -> gimli::Result<(UnitHeader<Reader>, Arc<Abbreviations>)> {
        if let Some((header, abbreviations)) = self.read.get(&unit) {
            return Ok((header.clone(), Arc::clone(abbreviations)));
        }
        let offset = DebugInfoOffset(self.index.units[unit as usize].offset);
        let header = self.dwarf.debug_info.header_from_offset(offset)?;
        let abbreviations = self.dwarf.abbreviations(&header)?;
        let parsed = (header, abbreviations);
        self.read.insert(unit, parsed.clone());
        Ok(parsed)
    }

    fn follow_all_of(&mut self, unit: u32) -> gimli::Result<()> {
        let (header, abbreviations) = self.unit(unit)?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        let mut found = Vec::new();
        while !entries.is_empty() {
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let specs = abbreviation.attributes();
            let is_far = |spec: &gimli::AttributeSpecification| {
                names_another(spec.name()) && spec.form() == constants::DW_FORM_ref_addr
            };
            if !specs.iter().any(is_far) {
                entries.skip_attributes(specs)?;
                continue;
            }
            for spec in specs {
                let value = entries.read_attribute(*spec)?.value();
                if is_far(spec)
                    && let gimli::AttributeValue::DebugInfoRef(target) = value
                {
                    found.push(target.0);
                }
            }
        }
        found.into_iter().try_for_each(|entry| self.follow(entry))
    }

    /// From an entry to the one that it has its name from, and so on.
    fn follow(&mut self, entry: usize) -> gimli::Result<()> {
        let mut next = Some(entry);
        while let Some(entry) = next.take().filter(|&entry| self.seen.insert(entry)) {
            let Some(unit) = self.index.around(entry) else {
                return Ok(());
            };
            let (header, abbreviations) = self.unit(unit)?;
            let start = self.index.units[unit as usize].offset;
            let offset = gimli::UnitOffset(entry - start);
            let mut entries = header.entries_raw(&abbreviations, Some(offset))?;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                return Ok(());
            };
            for spec in abbreviation.attributes() {
                let value = entries.read_attribute(*spec)?.value();
                next = match value {
                    _ if !names_another(spec.name()) => next,
                    gimli::AttributeValue::DebugInfoRef(target) => Some(target.0),
                    gimli::AttributeValue::UnitRef(target) => start.checked_add(target.0),
                    _ => next,
                };
            }
        }
        Ok(())
    }
}

fn names_another(attribute: DwAt) -> bool {
    matches!(
        attribute,
        constants::DW_AT_abstract_origin | constants::DW_AT_specification
    )
}

/// Abbreviations for the first entry of a unit only, without what is not needed.
#[derive(Default)]
struct Roots {
    by_place: FxHashMap<(usize, u64), Arc<Abbreviations>>, // units of one object share a table
    by_declaration: FxHashMap<Vec<u8>, Arc<Abbreviations>>, // the same few come again and again
}

impl Roots {
    fn get(
        &mut self,
        dwarf: &gimli::Dwarf<Reader>,
        offset: usize,
        code: u64,
    ) -> Option<Arc<Abbreviations>> {
        if let Some(root) = self.by_place.get(&(offset, code)) {
            return Some(Arc::clone(root));
        }
        let section = dwarf.debug_abbrev.reader().to_slice().ok()?;
        let mut declarations = EndianSlice::new(section.get(offset..)?, LittleEndian);
        let mut wanted = declarations;
        while skip_declaration(&mut declarations)? != code {
            wanted = declarations;
        }
        let bytes = place_only(wanted)?;
        let known = self.by_declaration.entry(bytes);
        let root = known.or_insert_with_key(|bytes| parsed(bytes));
        self.by_place.insert((offset, code), Arc::clone(root));
        Some(Arc::clone(root))
    }
}

/// Attributes that no producer writes and no reader knows: this one stands for `DW_AT_stmt_list`,
/// which a reader would follow.
const LINES: DwAt = DwAt(constants::DW_AT_hi_user.0 - 1);
/// This one for all that is not needed.
const UNKNOWN: DwAt = constants::DW_AT_hi_user;

/// Leaves one declaration of `.debug_abbrev` behind. Returns its code; `None` at the end.
fn skip_declaration(input: &mut EndianSlice<'_, LittleEndian>) -> Option<u64> {
    let code = input.read_uleb128().ok().filter(|&code| code != 0)?;
    input.read_uleb128().ok()?; // the tag
    input.read_u8().ok()?;
    loop {
        let (name, form) = (input.read_uleb128().ok()?, input.read_uleb128().ok()?);
        if name == 0 && form == 0 {
            return Some(code);
        }
        if form == u64::from(constants::DW_FORM_implicit_const.0) {
            input.skip_leb128().ok()?;
        }
    }
}

/// The first declaration with all attributes but [`PLACE`] made unknown ones.
fn place_only(mut input: EndianSlice<'_, LittleEndian>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    push(&mut bytes, input.read_uleb128().ok()?);
    push(&mut bytes, input.read_uleb128().ok()?);
    bytes.push(input.read_u8().ok()?);
    loop {
        let name = input.read_uleb128().ok()?;
        let form = input.read_uleb128().ok()?;
        let is_end = name == 0 && form == 0;
        let is_place = PLACE.iter().any(|place| u64::from(place.0) == name);
        let name = match name {
            name if is_place || is_end => name,
            name if name == u64::from(constants::DW_AT_stmt_list.0) => u64::from(LINES.0),
            _ => u64::from(UNKNOWN.0),
        };
        push(&mut bytes, name);
        push(&mut bytes, form);
        if is_end {
            bytes.push(0); // no other declaration
            return Some(bytes);
        }
        if form == u64::from(constants::DW_FORM_implicit_const.0) {
            copy_leb128(&mut input, &mut bytes)?;
        }
    }
}

/// Where the code of a unit or a function lies, as its entry says.
///
/// # Errors
/// The entry or its list of ranges is damaged.
pub(crate) fn ranges(
    dwarf: &gimli::Dwarf<Reader>,
    unit: &gimli::Unit<Reader>,
    entry: &gimli::DebuggingInformationEntry<Reader>,
) -> gimli::Result<Vec<Range<u64>>> {
    let (mut low, mut high) = (None, None);
    for attribute in entry.attrs() {
        match (attribute.name(), attribute.value()) {
            (constants::DW_AT_low_pc, value) => low = dwarf.attr_address(unit, value)?,
            (constants::DW_AT_high_pc, value) => high = Some(value),
            (constants::DW_AT_ranges, value) => {
                if let Some(mut list) = dwarf.attr_ranges(unit, value)? {
                    let mut found = Vec::new();
                    while let Some(range) = list.next()? {
                        found.push(range.begin..range.end);
                    }
                    return Ok(found);
                }
            }
            _ => {}
        }
    }
    let high = match (low, high) {
        (Some(low), Some(gimli::AttributeValue::Udata(size))) => low.checked_add(size),
        (_, Some(value)) => dwarf.attr_address(unit, value)?,
        _ => None,
    };
    let range = low.zip(high).map(|(low, high)| low..high);
    Ok(range.into_iter().collect())
}

/// Whether a unit has no line program, or one without instructions: compilers that optimise across
/// units write such for what they took from others. `None` if that cannot be told.
fn lacks_lines(
    dwarf: &gimli::Dwarf<Reader>,
    root: &gimli::DebuggingInformationEntry<Reader>,
) -> Option<bool> {
    let offset = match root.attr_value(LINES) {
        None => return Some(true),
        Some(gimli::AttributeValue::SecOffset(offset)) => offset,
        Some(_) => return None,
    };
    let mut program = dwarf.debug_line.reader().clone();
    program.skip(offset).ok()?;
    let (length, format) = program.read_initial_length().ok()?;
    program.truncate(length).ok()?;
    let version = program.read_u16().ok()?;
    if version >= 5 {
        program.skip(2).ok()?; // sizes of addresses and of segments
    }
    let header = program.read_length(format).ok()?;
    program.skip(header).ok()?;
    Some(program.is_empty())
}

/// Abbreviations with just these codes, for entries without attributes.
fn without_attributes(codes: &BTreeSet<u64>) -> Arc<Abbreviations> {
    let mut bytes = Vec::new();
    for &code in codes.iter().filter(|&&code| code != 0) {
        push(&mut bytes, code);
        push(&mut bytes, u64::from(constants::DW_TAG_compile_unit.0));
        bytes.extend([0; 3]); // no children; no attributes
    }
    bytes.push(0);
    parsed(&bytes)
}

fn parsed(declarations: &[u8]) -> Arc<Abbreviations> {
    let table = DebugAbbrev::new(declarations, LittleEndian);
    let parsed = table.abbreviations(DebugAbbrevOffset(0));
    Arc::new(parsed.unwrap_or_default())
}

/// Appends a number as unsigned LEB128.
fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn copy_leb128(input: &mut EndianSlice<'_, LittleEndian>, bytes: &mut Vec<u8>) -> Option<()> {
    loop {
        let byte = input.read_u8().ok()?;
        bytes.push(byte);
        if byte < 0x80 {
            return Some(());
        }
    }
}
