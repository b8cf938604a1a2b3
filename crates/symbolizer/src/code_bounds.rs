//! Where code ends that no symbol gives a size: at the next place that anything else in the file knows.

use std::cell::OnceCell;
use std::sync::Arc;

use gimli::{
    BaseAddresses, EhFrame, EhFrameHdr, ParsedEhFrameHdr, Pointer, Reader as _, UnwindSection,
};
use object::{Object, ObjectSection, SectionFlags, SectionKind, elf};

use crate::elf::{self as elf_file, AddressMap, Reader};
use crate::go_pclntab::GoTable;
use crate::mapped_file::MappedFile;

/// What knows of other code than the symbols do: sections, segments, unwind tables, Go's table. Nothing
/// is read before the first question: most tables have a size for each symbol.
pub(crate) struct CodeBounds<'a> {
    image: &'a Arc<MappedFile>,
    map: &'a AddressMap,
    tables: OnceCell<Tables>,
}

impl<'a> CodeBounds<'a> {
    /// Those of `image`, whose addresses `map` converts.
    pub(crate) fn new(image: &'a Arc<MappedFile>, map: &'a AddressMap) -> Self {
        Self {
            image,
            map,
            tables: OnceCell::new(),
        }
    }

    /// The offset in the file up to which a function without a size that starts at `offset` reaches at
    /// the most; `None` if nothing tells.
    ///
    /// A function reaches to the end of what its unwind table covers in one, for hand-written code has
    /// labels inside of that.
    pub(crate) fn end(&self, offset: u64) -> Option<u64> {
        let tables = self
            .tables
            .get_or_init(|| Tables::load(self.image, self.map));
        let behind = tables.sections.partition_point(|&bound| bound <= offset);
        let section = tables.sections.get(behind).copied();
        let by_address = self.map.address(offset).and_then(|address| {
            let end = tables.end(address)?;
            offset.checked_add(end.checked_sub(address)?)
        });
        let ends = [section, by_address, self.map.end(offset)];
        ends.into_iter().flatten().min()
    }
}

#[derive(Default)]
struct Tables {
    sections: Vec<u64>, // offsets at which one starts or ends, ascending
    frames: Option<Frames>,
    go: Option<GoTable>,
}

impl Tables {
    fn load(image: &Arc<MappedFile>, map: &AddressMap) -> Self {
        let Ok(object) = object::File::parse((**image).as_ref()) else {
            return Self::default();
        };
        Self {
            sections: sections(&object, map),
            frames: Frames::load(image, &object),
            go: GoTable::load(image),
        }
    }

    /// Where the function around an address ends, or the next one starts.
    fn end(&self, address: u64) -> Option<u64> {
        let frames = self.frames.as_ref().and_then(|frames| frames.end(address));
        let go = self.go.as_ref().and_then(|go| go.end(address));
        frames.into_iter().chain(go).min()
    }
}

/// Where the sections of what is loaded start and end.
fn sections(object: &object::File<'_>, map: &AddressMap) -> Vec<u64> {
    let mut bounds = Vec::new();
    for section in object.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let is_template = section.kind() == SectionKind::UninitializedTls; // has no place of its own
        if !sh_flags.contains(elf::SHF_ALLOC) || is_template || section.size() == 0 {
            continue;
        }
        let start = match section.file_range() {
            Some((offset, _)) => Some(offset),
            None => map.offset_in_memory(section.address()),
        };
        if let Some(start) = start {
            bounds.push(start);
            bounds.extend(start.checked_add(section.size()));
        }
    }
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// Two pointers of 2 bytes.
const SMALLEST_ENTRY: usize = 4;

/// The functions that `.eh_frame` describes.
enum Frames {
    /// By the table that is sorted for look-ups.
    Sorted {
        table: Box<ParsedEhFrameHdr<Reader>>,
        most: usize, // entries that its bytes can hold, whatever it says
        frames: EhFrame<Reader>,
        start_of_frames: u64,
        bases: BaseAddresses,
    },
    /// All of them, as starts and ends, ascending.
    Listed(Vec<(u64, u64)>),
}

impl Frames {
    fn load(image: &Arc<MappedFile>, object: &object::File<'_>) -> Option<Self> {
        let address = |name| Some(object.section_by_name(name)?.address());
        let start_of_frames = address(".eh_frame")?;
        let mut bases = BaseAddresses::default().set_eh_frame(start_of_frames);
        for (name, set) in [
            (
                ".eh_frame_hdr",
                BaseAddresses::set_eh_frame_hdr as fn(_, _) -> _,
            ),
            (".text", BaseAddresses::set_text),
            (".got", BaseAddresses::set_got),
        ] {
            if let Some(address) = address(name) {
                bases = set(bases, address);
            }
        }
        let word = if object.is_64() { 8 } else { 4 };
        let mut frames = EhFrame::from(elf_file::section(image, object, ".eh_frame")?);
        frames.set_address_size(word);
        let sorted = elf_file::section(image, object, ".eh_frame_hdr").and_then(|section| {
            let most = section.len() / SMALLEST_ENTRY;
            let table = EhFrameHdr::from(section).parse(&bases, word).ok()?;
            table.table()?;
            Some((Box::new(table), most))
        });
        Some(match sorted {
            Some((table, most)) => Self::Sorted {
                table,
                most,
                frames,
                start_of_frames,
                bases,
            },
            None => Self::Listed(listed(&frames, &bases)),
        })
    }

    /// The end of the function around an address, else the start of the next one.
    fn end(&self, address: u64) -> Option<u64> {
        match self {
            Self::Sorted {
                table,
                most,
                frames,
                start_of_frames,
                bases,
            } => {
                let sorted = table.table()?;
                let entry = |index: usize| Iterator::nth(&mut sorted.iter(bases), index)?.ok();
                let start = |index| Some(direct(entry(index)?.0));
                let count = Iterator::size_hint(&sorted.iter(bases)).0;
                let (mut low, mut high) = (0, count.min(*most));
                while low < high {
                    let middle = low + (high - low) / 2;
                    if start(middle)? <= address {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                let around = low.checked_sub(1).and_then(entry).and_then(|(_, frame)| {
                    let offset =
                        usize::try_from(direct(frame).checked_sub(*start_of_frames)?).ok()?;
                    let cie = EhFrame::cie_from_offset;
                    let frame = frames.fde_from_offset(bases, offset.into(), cie).ok()?;
                    frame
                        .contains(address)
                        .then(|| frame.initial_address().checked_add(frame.len()))?
                });
                around.into_iter().chain(start(low)).min()
            }
            Self::Listed(all) => {
                let behind = all.partition_point(|&(start, _)| start <= address);
                let around = behind.checked_sub(1).map(|index| all[index].1);
                let around = around.filter(|&end| end > address);
                let next = all.get(behind).map(|&(start, _)| start);
                around.into_iter().chain(next).min()
            }
        }
    }
}

fn direct(pointer: Pointer) -> u64 {
    match pointer {
        Pointer::Direct(address) | Pointer::Indirect(address) => address,
    }
}

fn listed(frames: &EhFrame<Reader>, bases: &BaseAddresses) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    let mut entries = frames.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        if let gimli::CieOrFde::Fde(partial) = entry
            && let Ok(frame) = partial.parse(EhFrame::cie_from_offset)
            && let Some(end) = frame.initial_address().checked_add(frame.len())
        {
            all.push((frame.initial_address(), end));
        }
    }
    all.sort_unstable();
    all
}
