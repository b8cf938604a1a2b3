//! How deep functions are inlined in each other: `addr2line` reads them by recursion.

use gimli::UnitHeader;

use crate::elf::Reader;

/// Deeper than this no compiler inlines, and a stack of 2 MiB has room for three times as many.
const DEEPEST: usize = 1000;

/// Whether inlined functions of a unit lie in each other deeper than can be read. What stands behind
/// damage is not looked at, for nobody else gets there.
pub(crate) fn is_too_deep(dwarf: &gimli::Dwarf<Reader>, header: &UnitHeader<Reader>) -> bool {
    let Ok(abbreviations) = dwarf.abbreviations(header) else {
        return false;
    };
    let mut open: Vec<isize> = Vec::new(); // depths of inlined functions around the next entry
    let mut is_too_deep = || {
        let mut entries = header.entries_raw(&abbreviations, None)?;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            entries.skip_attributes(abbreviation.attributes())?;
            if abbreviation.tag() == gimli::DW_TAG_inlined_subroutine {
                while open.last().is_some_and(|&of_open| of_open >= depth) {
                    open.pop();
                }
                open.push(depth);
                if open.len() > DEEPEST {
                    return Ok(true);
                }
            }
        }
        gimli::Result::Ok(false)
    };
    is_too_deep().unwrap_or(false)
}
