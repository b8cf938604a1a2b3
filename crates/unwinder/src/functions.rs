//! Where functions start and end, as far as the symbol tables of a file tell: for code that no unwind
//! table describes.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{FileHeader64, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_NOTYPE};
use object::read::elf::{FileHeader as _, Sym as _};

use crate::image::Image;

/// The functions of a file that have symbols.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    list: Vec<Extent>, // by start, one for each
    /// Where the kernel starts the program: what runs there has no caller.
    pub(crate) entry: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    size: u64, // 0 if the table does not say
    /// A piece of another function, put elsewhere because it hardly ever runs: it is jumped into, with
    /// a frame that is set up already.
    is_cold_part: bool,
}

/// Where to look for the function around an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// It has this extent.
    Function(Range<u64>),
    /// A function starts where this begins; others without a symbol may follow in it.
    Unlisted(Range<u64>),
}

impl Functions {
    pub(crate) fn read(image: &Image) -> Self {
        let (entry, mut list) = Self::extents(image).unwrap_or_default();
        list.sort_unstable_by_key(|extent| (extent.start, std::cmp::Reverse(extent.size)));
        list.dedup_by_key(|extent| extent.start);
        Self { list, entry }
    }

    /// The symbols of functions, and the program's entry.
    fn extents(image: &Image) -> Option<(u64, Vec<Extent>)> {
        let data = image.bytes();
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        let sections = header.sections(LittleEndian, data).ok()?;
        let entry = header.e_entry(LittleEndian);
        let mut list = vec![Extent {
            start: entry,
            size: 0,
            is_cold_part: false,
        }];
        for kind in [SHT_SYMTAB, SHT_DYNSYM] {
            let Ok(table) = sections.symbols(LittleEndian, data, kind) else {
                continue;
            };
            for symbol in table.iter() {
                let start = symbol.st_value(LittleEndian);
                let is_code = matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE)
                    && symbol.st_shndx(LittleEndian) != SHN_UNDEF
                    && image.is_code(start);
                if !is_code {
                    continue;
                }
                let name = symbol
                    .name(LittleEndian, table.strings())
                    .unwrap_or_default();
                list.push(Extent {
                    start,
                    size: symbol.st_size(LittleEndian),
                    is_cold_part: name.windows(5).any(|part| part == b".cold"),
                });
            }
        }
        Some((entry, list))
    }

    /// What is known about the function around a virtual address of the file.
    pub(crate) fn around(&self, vaddr: u64) -> Option<Around> {
        let after = self.list.partition_point(|extent| extent.start <= vaddr);
        let next = self.list.get(after).map_or(u64::MAX, |next| next.start);
        let last = self.list[..after].last()?;
        let end = last.start.saturating_add(last.size);
        if last.size == 0 {
            // A label of hand-written code, or the start of a function in it.
            return Some(Around::Unlisted(last.start..next));
        }
        if vaddr >= end {
            return Some(Around::Unlisted(end..next));
        }
        (!last.is_cold_part).then_some(Around::Function(last.start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, size: u64) -> Extent {
        Extent {
            start,
            size,
            is_cold_part: false,
        }
    }

    #[test]
    fn a_function_has_its_extent_and_a_gap_reaches_to_the_next_one() {
        let mut functions = Functions {
            list: vec![extent(0x10, 0x10), extent(0x40, 0), extent(0x60, 8)],
            entry: 0x40,
        };
        let around = |functions: &Functions, vaddr| functions.around(vaddr);
        assert_eq!(around(&functions, 0xf), None);
        assert_eq!(around(&functions, 0x1f), Some(Around::Function(0x10..0x20)));
        assert_eq!(around(&functions, 0x20), Some(Around::Unlisted(0x20..0x40)));
        assert_eq!(around(&functions, 0x5f), Some(Around::Unlisted(0x40..0x60)));
        assert_eq!(
            around(&functions, 0x68),
            Some(Around::Unlisted(0x68..u64::MAX))
        );
        functions.list[0].is_cold_part = true;
        assert_eq!(around(&functions, 0x10), None);
    }
}
