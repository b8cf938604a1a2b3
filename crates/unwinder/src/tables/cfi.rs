//! Finds the entry of an address in the unwind tables of a module.
//!
//! In: `.eh_frame`, `.eh_frame_hdr` and `.debug_frame`. Out: the function that covers an address, as
//! `compile` makes it. Where these sections are in the file is for `image`.

use std::cell::OnceCell;

use gimli::{
    BaseAddresses, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, EndianSlice,
    LittleEndian, UnwindSection,
};
use rustc_hash::FxHashMap;

use crate::arch::Cpu;
use crate::image::{Image, Section};
use crate::tables::compile::{Compiler, Function};
use crate::tables::rule::RuleStore;

pub(crate) type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The unwind tables of one module and of one kind.
pub(crate) struct FrameTable {
    kind: Kind,
    section: Section,
    bases: BaseAddresses,
    index: Index,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EhFrame,
    DebugFrame,
}

/// How the entry (FDE) of an address is found.
enum Index {
    /// The linker sorted them.
    Search(SearchTable),
    /// Ours, made when it is first needed: (first address, offset in the section), sorted.
    Listed(OnceCell<Vec<(u64, usize)>>),
}

impl FrameTable {
    /// `.eh_frame`, found by its section or through `.eh_frame_hdr`.
    pub(crate) fn eh_frame(image: &Image) -> Option<Self> {
        let search = image
            .eh_frame_hdr
            .as_ref()
            .and_then(|hdr| Some((hdr, SearchTable::parse(image.section(hdr), hdr.vaddr)?)));
        let section = match (&image.eh_frame, &search) {
            (Some(section), _) => section.clone(),
            (None, Some((_, table))) => image.loaded_from(table.eh_frame?)?,
            (None, None) => return None,
        };
        let hdr_vaddr = image.eh_frame_hdr.as_ref().map_or(0, |hdr| hdr.vaddr);
        Some(Self {
            kind: Kind::EhFrame,
            bases: bases(image)
                .set_eh_frame(section.vaddr)
                .set_eh_frame_hdr(hdr_vaddr),
            index: match search {
                Some((hdr, table)) if table.is_sorted(image.section(hdr)) => Index::Search(table),
                _ => Index::Listed(OnceCell::new()),
            },
            section,
        })
    }

    /// `.debug_frame`, which is not loaded and may be compressed.
    pub(crate) fn debug_frame(image: &Image) -> Option<Self> {
        Some(Self {
            kind: Kind::DebugFrame,
            section: image.debug_frame.clone()?,
            bases: bases(image),
            index: Index::Listed(OnceCell::new()),
        })
    }

    /// Those in the debug file of `image`, which counts addresses as that does.
    pub(crate) fn of_debug_file(image: &Image, debug: Image) -> impl Iterator<Item = Self> {
        let [eh_frame, debug_frame] = debug.into_tables();
        let table = |kind, section: Section| Self {
            kind,
            bases: bases(image).set_eh_frame(section.vaddr),
            index: Index::Listed(OnceCell::new()),
            section,
        };
        let eh_frame = eh_frame.map(|section| table(Kind::EhFrame, section));
        let debug_frame = debug_frame.map(|section| table(Kind::DebugFrame, section));
        eh_frame.into_iter().chain(debug_frame)
    }

    /// Compiles the function that covers `vaddr`.
    pub(crate) fn function<C: Cpu>(
        &self,
        image: &Image,
        vaddr: u64,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let bytes = image.section(&self.section);
        match self.kind {
            Kind::EhFrame => self.function_in::<C, _>(eh_frame::<C>(bytes), image, vaddr, rules),
            Kind::DebugFrame => {
                self.function_in::<C, _>(debug_frame::<C>(bytes), image, vaddr, rules)
            }
        }
    }

    fn function_in<'a, C: Cpu, S: UnwindSection<Reader<'a>>>(
        &self,
        section: S,
        image: &Image,
        vaddr: u64,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let offset = match &self.index {
            Index::Search(table) => {
                let hdr = image.section(image.eh_frame_hdr.as_ref()?);
                let entry = table.entry(hdr, vaddr)?;
                usize::try_from(entry.checked_sub(self.section.vaddr)?).ok()?
            }
            Index::Listed(list) => {
                let list = list.get_or_init(|| list_entries(&section, &self.bases, image));
                let after = list.partition_point(|&(start, _)| start <= vaddr);
                list.get(after.checked_sub(1)?)?.1
            }
        };
        let fde = section
            .fde_from_offset(&self.bases, offset.into(), S::cie_from_offset)
            .ok()?;
        if !fde.contains(vaddr) {
            return None;
        }
        let compiler = Compiler {
            section: &section,
            bases: &self.bases,
            // Go describes where the return address is, but not where it saves the frame pointer
            is_go: image.is_go && self.kind == Kind::DebugFrame,
        };
        compiler.function::<C>(&fde, rules)
    }
}

fn eh_frame<C: Cpu>(bytes: &[u8]) -> EhFrame<Reader<'_>> {
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(C::VENDOR);
    section
}

fn debug_frame<C: Cpu>(bytes: &[u8]) -> DebugFrame<Reader<'_>> {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(C::VENDOR);
    section
}

fn bases(image: &Image) -> BaseAddresses {
    let mut bases = BaseAddresses::default();
    if let Some(text) = image.text {
        bases = bases.set_text(text);
    }
    if let Some(got) = image.got {
        bases = bases.set_got(got);
    }
    bases
}

/// Every entry's first address and offset. Entries for code that the linker dropped point nowhere and
/// are left out; an entry that cannot be read is skipped, and one whose length cannot be read ends
/// the list.
fn list_entries<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    image: &Image,
) -> Vec<(u64, usize)> {
    let mut list = Vec::new();
    let mut cies: FxHashMap<usize, CommonInformationEntry<Reader<'a>>> = FxHashMap::default();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let fde = partial.parse(|section, bases, offset| {
            let key = gimli::UnwindOffset::into(offset);
            if let Some(cie) = cies.get(&key) {
                return Ok(cie.clone());
            }
            let cie = section.cie_from_offset(bases, offset)?;
            cies.insert(key, cie.clone());
            Ok(cie)
        });
        if let Ok(fde) = fde
            && fde.len() > 0
            && image.is_code(fde.initial_address())
        {
            list.push((fde.initial_address(), fde.offset()));
        }
    }
    list.sort_unstable();
    list
}

/// The sorted table in `.eh_frame_hdr`, in the one form that linkers write: pairs of 32-bit offsets
/// from the section's own address, of a function and of its entry.
struct SearchTable {
    hdr_vaddr: u64,
    entries: usize,
    /// Where the header says that `.eh_frame` is.
    eh_frame: Option<u64>,
}

const HEADER: usize = 12;
const ENTRY: usize = 8;
const PCREL_SDATA4: u8 = 0x1b;
const DATAREL_SDATA4: u8 = 0x3b;
const UDATA4: u8 = 0x03;
/// How many entries are looked at to see that the table is sorted: it can have a million of them, on
/// pages that nobody has read yet.
const CHECKED: usize = 64;

impl SearchTable {
    fn parse(hdr: &[u8], hdr_vaddr: u64) -> Option<Self> {
        let &[1, pointer, UDATA4, DATAREL_SDATA4, ref rest @ ..] = hdr else {
            return None;
        };
        let offset = i32::from_le_bytes(*rest.first_chunk()?);
        let count = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
        let base = match pointer {
            PCREL_SDATA4 => Some(hdr_vaddr.wrapping_add(4)),
            DATAREL_SDATA4 => Some(hdr_vaddr),
            _ => None,
        };
        let table = Self {
            hdr_vaddr,
            entries: count.min((hdr.len() - HEADER) / ENTRY),
            eh_frame: base.map(|base| base.wrapping_add_signed(offset.into())),
        };
        (table.entries > 0).then_some(table)
    }

    /// The function's and the entry's offsets from `hdr_vaddr`.
    fn pair(hdr: &[u8], index: usize) -> Option<(i32, i32)> {
        let entry: &[u8; ENTRY] = hdr.get(HEADER + index * ENTRY..)?.first_chunk()?;
        let [a, b, c, d, e, f, g, h] = *entry;
        Some((
            i32::from_le_bytes([a, b, c, d]),
            i32::from_le_bytes([e, f, g, h]),
        ))
    }

    fn is_sorted(&self, hdr: &[u8]) -> bool {
        let step = self.entries.div_ceil(CHECKED).max(1);
        let indices = (0..self.entries).step_by(step).chain([self.entries - 1]);
        indices
            .map(|index| Self::pair(hdr, index).map(|pair| pair.0))
            .is_sorted()
    }

    /// The virtual address of the last entry whose function starts at or before `vaddr`.
    fn entry(&self, hdr: &[u8], vaddr: u64) -> Option<u64> {
        let offset = vaddr.wrapping_sub(self.hdr_vaddr).cast_signed();
        let (mut low, mut high) = (0, self.entries); // entries below low start before, from high on behind
        while low < high {
            let middle = low + (high - low) / 2;
            if i64::from(Self::pair(hdr, middle)?.0) <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (_, entry) = Self::pair(hdr, low.checked_sub(1)?)?;
        Some(self.hdr_vaddr.wrapping_add_signed(entry.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hdr(pairs: &[(i32, i32)]) -> Vec<u8> {
        let mut bytes = vec![1, PCREL_SDATA4, UDATA4, DATAREL_SDATA4];
        bytes.extend((0x100 - 4_i32).to_le_bytes());
        bytes.extend((pairs.len() as u32).to_le_bytes());
        for (function, entry) in pairs {
            bytes.extend(function.to_le_bytes());
            bytes.extend(entry.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_search_table_gives_the_last_entry_that_starts_at_or_before_an_address() {
        let bytes = hdr(&[(-0x100, 0x118), (0, 0x130), (0x40, 0x150)]);
        let table = SearchTable::parse(&bytes, 0x1000).unwrap();
        assert_eq!(table.eh_frame, Some(0x1100));
        assert!(table.is_sorted(&bytes));
        let at = |vaddr| table.entry(&bytes, vaddr);
        assert_eq!(
            [0xeff, 0xf00, 0xfff, 0x1000, 0x103f, 0x1040, 0x9000].map(at),
            [
                None,
                Some(0x1118),
                Some(0x1118),
                Some(0x1130),
                Some(0x1130),
                Some(0x1150),
                Some(0x1150)
            ]
        );
    }

    #[test]
    fn an_unsorted_or_empty_or_cut_search_table_is_not_used() {
        let unsorted = hdr(&[(0x40, 0), (0, 0)]);
        let table = SearchTable::parse(&unsorted, 0).unwrap();
        assert!(!table.is_sorted(&unsorted));
        assert!(SearchTable::parse(&hdr(&[]), 0).is_none());
        let cut = hdr(&[(0, 1), (8, 2)]);
        assert_eq!(SearchTable::parse(&cut[..27], 0).unwrap().entries, 1);
        assert!((0..HEADER).all(|len| SearchTable::parse(&cut[..len], 0).is_none()));
    }
}
