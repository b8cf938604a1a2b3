//! A unit of debug info whose entries are read as names: what stands in what.

use std::sync::Arc;

use gimli::{AttributeValue, DebugInfoOffset, DwTag, DwoId, UnitHeader, UnitOffset};
use rustc_hash::FxHashMap;

use crate::elf::Reader;

pub(crate) type Offset = UnitOffset<usize>;
pub(crate) type Entry = gimli::DebuggingInformationEntry<Reader>;

/// What tells the units of a program apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UnitKey {
    /// By its start in `.debug_info`.
    Own(usize),
    /// By the id of the file that it was split off into.
    Split(u64),
}

impl UnitKey {
    /// That of a unit.
    pub(crate) fn of(unit: &gimli::Unit<Reader>) -> Option<Self> {
        match (unit.dwo_id, unit.header.debug_info_offset()) {
            (Some(DwoId(id)), _) => Some(Self::Split(id)),
            (None, Some(DebugInfoOffset(start))) => Some(Self::Own(start)),
            (None, None) => None,
        }
    }
}

/// A unit, and the named entry around each entry that may be one or hold one.
#[derive(Debug)]
pub(crate) struct ScopedUnit {
    /// What it is known by.
    pub(crate) key: UnitKey,
    dwarf: Arc<gimli::Dwarf<Reader>>,
    unit: gimli::Unit<Reader>,
    around: FxHashMap<Offset, Offset>,
    classes: FxHashMap<Offset, Vec<Offset>>, // that stand in a scope, in the order of their entries
}

/// Where a reference leads to.
pub(crate) enum Target {
    /// Within its unit.
    Here(Offset),
    /// An offset in `.debug_info`.
    Elsewhere(usize),
}

impl ScopedUnit {
    /// Reads the tree of a unit's entries.
    ///
    /// # Errors
    /// The unit is damaged.
    pub(crate) fn new(
        key: UnitKey,
        dwarf: Arc<gimli::Dwarf<Reader>>,
        header: UnitHeader<Reader>,
    ) -> gimli::Result<Self> {
        let unit = dwarf.unit(header)?;
        let mut around = FxHashMap::default();
        let mut classes: FxHashMap<Offset, Vec<Offset>> = FxHashMap::default();
        let mut open: Vec<(isize, Offset)> = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let (offset, depth) = (entries.next_offset(), entries.next_depth());
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            entries.skip_attributes(abbreviation.attributes())?;
            while open.last().is_some_and(|&(of_open, _)| of_open >= depth) {
                open.pop();
            }
            let tag = abbreviation.tag();
            if is_named(tag) {
                if let Some(&(_, scope)) = open.last() {
                    around.insert(offset, scope);
                    if is_class(tag) {
                        classes.entry(scope).or_default().push(offset);
                    }
                }
                open.push((depth, offset));
            }
        }
        Ok(Self {
            key,
            dwarf,
            unit,
            around,
            classes,
        })
    }

    /// The named entry around a named one.
    pub(crate) fn around(&self, entry: Offset) -> Option<Offset> {
        self.around.get(&entry).copied()
    }

    /// The classes that stand right in a scope.
    pub(crate) fn classes_in(&self, scope: Offset) -> &[Offset] {
        self.classes.get(&scope).map_or(&[], Vec::as_slice)
    }

    /// An entry with its attributes; `None` if there is none or it is damaged.
    pub(crate) fn entry(&self, offset: Offset) -> Option<Entry> {
        self.unit.entry(offset).ok()
    }

    /// The entries right in another one whose tags are `wanted`, and how much was read for that.
    /// `None` if that is more than `most` or the unit is damaged.
    pub(crate) fn children(
        &self,
        of: Offset,
        wanted: impl Fn(DwTag) -> bool,
        most: u64,
    ) -> (Option<Vec<Offset>>, u64) {
        let mut work = 0;
        let mut read = || {
            let mut children = Vec::new();
            let mut entries = self.unit.entries_raw(Some(of)).ok()?;
            let depth = entries.next_depth();
            while !entries.is_empty() {
                let (offset, at) = (entries.next_offset(), entries.next_depth());
                if at <= depth && offset != of {
                    break;
                }
                work += 1;
                let Some(abbreviation) = entries.read_abbreviation().ok()? else {
                    continue;
                };
                entries.skip_attributes(abbreviation.attributes()).ok()?;
                work += abbreviation.attributes().len() as u64;
                if work > most {
                    return None;
                }
                if at == depth + 1 && wanted(abbreviation.tag()) {
                    children.push(offset);
                }
            }
            Some(children)
        };
        (read(), work)
    }

    /// An attribute that is text.
    pub(crate) fn text(&self, entry: &Entry, attribute: gimli::DwAt) -> Option<Reader> {
        let value = entry.attr_value(attribute)?;
        self.dwarf.attr_string(&self.unit, value).ok()
    }

    /// Where a reference leads to; `None` if that is in no unit of the program.
    pub(crate) fn target(&self, reference: &AttributeValue<Reader>) -> Option<Target> {
        match *reference {
            AttributeValue::UnitRef(offset) => Some(Target::Here(offset)),
            AttributeValue::DebugInfoRef(offset) => {
                let within = match self.key {
                    UnitKey::Own(_) => offset.to_unit_offset(&self.unit.header),
                    UnitKey::Split(_) => return None,
                };
                Some(within.map_or(Target::Elsewhere(offset.0), Target::Here))
            }
            _ => None,
        }
    }

    /// The language that its code was written in.
    pub(crate) fn language(&self) -> Option<gimli::DwLang> {
        let root = self.entry(self.unit.header.root_offset())?;
        match root.attr_value(gimli::DW_AT_language)? {
            AttributeValue::Language(language) => Some(language),
            _ => None,
        }
    }
}

/// Whether entries with a tag stand in the names of others.
pub(crate) fn is_named(tag: DwTag) -> bool {
    let is_scope = matches!(tag, gimli::DW_TAG_namespace | gimli::DW_TAG_subprogram);
    is_scope || is_class(tag) || tag == gimli::DW_TAG_enumeration_type
}

fn is_class(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_class_type | gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type
    )
}
