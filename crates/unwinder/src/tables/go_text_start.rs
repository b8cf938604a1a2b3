//! Where the code begins from which Go's table of functions counts: the symbol `runtime.text`. It is not
//! where `.text` begins if C code was linked in.
//!
//! In: the file, and where the table lies. Out: an address that the file itself tells, or none.

use std::ops::Range;

use crate::image::{Image, Section};

/// Where the table's header has it, in releases 1.18 to 1.25.
const IN_HEADER: u64 = 24;
/// Where `runtime.firstmoduledata` has it, which begins with the address of the table; in all releases.
const IN_MODULE_DATA: u64 = 22 * 8;

/// The virtual address of `runtime.text`.
pub(super) fn text_start(image: &Image, table: &Section) -> Option<u64> {
    let len = image.section(table).len() as u64;
    let range = table.vaddr..table.vaddr.checked_add(len)?;
    let in_header = word(image, range.start.checked_add(IN_HEADER)?);
    in_header
        .filter(|&text| image.is_code(text))
        .or_else(|| {
            word(
                image,
                module_data(image, &range)?.checked_add(IN_MODULE_DATA)?,
            )
        })
        .filter(|&text| image.is_code(text))
}

/// Where `runtime.firstmoduledata` lies: a pointer to the table, then one to the names inside it.
fn module_data(image: &Image, table: &Range<u64>) -> Option<u64> {
    let is_followed = |at: &u64| {
        let names = at.checked_add(8).and_then(|at| word(image, at));
        names.is_some_and(|names| table.contains(&names))
    };
    let relocated = image.relocated_words();
    let by_linker = relocated.filter(|&(_, value)| value == table.start);
    by_linker
        .map(|(at, _)| at)
        .find(is_followed)
        .or_else(|| image.words_like(table.start).find(is_followed))
}

/// A word of the program as it is when it runs: of the file, or what the dynamic linker writes there.
fn word(image: &Image, vaddr: u64) -> Option<u64> {
    let section = image.loaded_from(vaddr)?;
    match u64::from_le_bytes(*image.section(&section).first_chunk()?) {
        0 => image
            .relocated_words()
            .find_map(|(at, value)| (at == vaddr).then_some(value)),
        value => Some(value),
    }
}
