//! Where functions start and end, as far as the symbol tables of a file tell: for code that no unwind
//! table describes.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    FileHeader64, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_NOTYPE, SectionType,
};
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

use crate::image::{Image, file_range};

/// The functions of a file that have symbols.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    list: Vec<Extent>, // by start, one for each
    /// Where the kernel starts the program: what runs there has no caller.
    pub(crate) entry: u64,
    /// Where in the file the names of each symbol table are.
    names: [Range<usize>; TABLES.len()],
}

/// Which symbol tables a file may have.
const TABLES: [SectionType; 2] = [SHT_SYMTAB, SHT_DYNSYM];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    size: u64, // 0 if the table does not say
    name: Name,
}

/// A name that was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    table: u8, // in `TABLES`
    offset: u32,
}

const _: () = assert!(size_of::<Extent>() == 24); // large programs have a million symbols

/// So much of a name is looked at.
const LONGEST_NAME: usize = 1 << 16;

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
        let mut functions = Self::default();
        functions.read_symbols(image);
        let list = &mut functions.list;
        list.sort_unstable_by_key(|extent| (extent.start, std::cmp::Reverse(extent.size)));
        list.dedup_by_key(|extent| extent.start);
        functions
    }

    /// The symbols of functions, and the program's entry, in any order.
    fn read_symbols(&mut self, image: &Image) -> Option<()> {
        let data = image.bytes();
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        let sections = header.sections(LittleEndian, data).ok()?;
        self.entry = header.e_entry(LittleEndian);
        self.list.push(Extent {
            start: self.entry,
            size: 0,
            name: Name {
                table: 0,
                offset: 0,
            },
        });
        for (table, kind) in (0..).zip(TABLES) {
            let Ok(symbols) = sections.symbols(LittleEndian, data, kind) else {
                continue;
            };
            let names = sections.section(symbols.string_section());
            let names = names.ok().and_then(|names| names.file_range(LittleEndian));
            let names = names.and_then(|(offset, size)| file_range(data, offset, size));
            self.names[usize::from(table)] = names.unwrap_or_default();
            for symbol in symbols.iter() {
                let start = symbol.st_value(LittleEndian);
                let is_code = matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE)
                    && symbol.st_shndx(LittleEndian) != SHN_UNDEF
                    && image.is_code(start);
                if is_code {
                    let offset = symbol.st_name(LittleEndian);
                    self.list.push(Extent {
                        start,
                        size: symbol.st_size(LittleEndian),
                        name: Name { table, offset },
                    });
                }
            }
        }
        Some(())
    }

    /// Whether it is a piece of another function, put elsewhere because it hardly ever runs: it is jumped
    /// into, with a frame that is set up already.
    fn is_cold_part(&self, image: &Image, name: Name) -> bool {
        let names = self.names.get(usize::from(name.table)).cloned();
        let names = names.and_then(|names| image.bytes().get(names));
        let name = names.and_then(|names| names.get(name.offset as usize..));
        let name = name.unwrap_or_default();
        let len = name
            .iter()
            .take(LONGEST_NAME)
            .take_while(|&&byte| byte != 0);
        name[..len.count()].windows(5).any(|part| part == b".cold")
    }

    /// Where functions start, in ascending order.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u64> {
        self.list.iter().map(|extent| extent.start)
    }

    /// What is known about the function around a virtual address of the file.
    pub(crate) fn around(&self, image: &Image, vaddr: u64) -> Option<Around> {
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
        (!self.is_cold_part(image, last.name)).then_some(Around::Function(last.start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::image::made_up::{Kind, image};

    const NAMES: &[u8] = b"\0main\0main.cold\0";

    fn extent(start: u64, size: u64, name: u32) -> Extent {
        Extent {
            start,
            size,
            name: Name {
                table: 1,
                offset: name,
            },
        }
    }

    #[test]
    fn a_function_has_its_extent_and_a_gap_reaches_to_the_next_one() {
        let image = image(Arch::ALL[0], 0x10, &[(Kind::Constants, 0x1000, NAMES)]);
        let len = image.bytes().len();
        let functions = Functions {
            list: vec![
                extent(0x10, 0x10, 1),
                extent(0x40, 0, 1),
                extent(0x60, 8, 1),
                extent(0x70, 8, 6),
            ],
            entry: 0x40,
            names: [0..0, len - NAMES.len()..len],
        };
        let around = |vaddr| functions.around(&image, vaddr);
        assert_eq!(around(0xf), None);
        assert_eq!(around(0x1f), Some(Around::Function(0x10..0x20)));
        assert_eq!(around(0x20), Some(Around::Unlisted(0x20..0x40)));
        assert_eq!(around(0x5f), Some(Around::Unlisted(0x40..0x60)));
        assert_eq!(around(0x68), Some(Around::Unlisted(0x68..0x70)));
        assert_eq!(around(0x70), None); // a cold part
        assert_eq!(around(0x78), Some(Around::Unlisted(0x78..u64::MAX)));
    }
}
