//! What is found in a file by its bytes alone: Go's table of functions where no section header tells, and
//! the words that lead from it to the text: what they point to, what the dynamic linker will write.
//!
//! Parts of a file are read from one end to the other, once: of what Go built, and of files without sections
//! the data, which tell whether Go did.

use prof_pclntab::{Layout, Machine, Part, Program, has_build_info};

use super::{Image, Section, SectionBytes, Segment, file_range};

/// So much of a file is searched for a table. Those of the largest Go programs begin at some 100 MiB.
const MOST_SEARCHED: u64 = 1 << 30;

/// How machines keep numbers whose programs are unwound.
pub(crate) const MACHINE: Machine = Machine {
    is_big_endian: false,
    address_size: 8,
};

// Numbers of the ELF specification.
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const RELA_SIZE: usize = 24;

impl Image {
    /// Whether Go built it, as its data tell; of files whose sections do not.
    pub(super) fn is_built_by_go(&self) -> bool {
        has_build_info(self)
    }

    /// Go's table of functions, by the bytes it begins with.
    pub(super) fn find_go_functions(&self) -> Option<Section> {
        self.loaded_from(Layout::search(self, MACHINE)?)
    }

    fn relocations(&self) -> Option<&[u8]> {
        let dynamic = self.bytes().get(self.dynamic.clone()?)?;
        let entry = |tag: u64| {
            let entries = dynamic.chunks_exact(16).map(words);
            entries
                .filter(|entry: &[u64; 2]| entry[0] == tag)
                .map(|entry| entry[1])
                .next()
        };
        let len = usize::try_from(entry(DT_RELASZ)?).ok()?;
        let section = self.loaded_from(entry(DT_RELA)?)?;
        let SectionBytes::InFile(range) = section.bytes else {
            return None;
        };
        let bytes = self.bytes().get(range)?;
        Some(&bytes[..len.min(bytes.len())])
    }

    fn segment_bytes(&self, segment: &Segment) -> Option<&[u8]> {
        let size = segment.size.min(MOST_SEARCHED);
        self.bytes()
            .get(file_range(self.bytes(), segment.offset, size)?)
    }
}

impl Program for Image {
    fn is_code(&self, vaddr: u64) -> bool {
        self.is_code(vaddr)
    }

    fn file_word(&self, vaddr: u64) -> Option<u64> {
        let section = self.loaded_from(vaddr)?;
        MACHINE.address(self.section(&section), 0)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let segments = self.segments.iter().filter(|segment| !segment.executable);
        segments.filter_map(|segment| {
            Some(Part {
                vaddr: segment.vaddr,
                bytes: self.segment_bytes(segment)?,
                is_writable: segment.writable,
            })
        })
    }

    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        let relative = self.arch.relative_relocation();
        let entries = self.relocations().unwrap_or_default();
        let entries = entries.chunks_exact(RELA_SIZE).map(words);
        entries.filter_map(move |[at, kind, value]| (kind == relative).then_some((at, value)))
    }
}

/// The words of an entry of a table.
fn words<const N: usize>(entry: &[u8]) -> [u64; N] {
    let mut words = entry.chunks_exact(8);
    std::array::from_fn(|_| {
        let word = words.next().and_then(|word| word.first_chunk());
        word.map_or(0, |word| u64::from_le_bytes(*word))
    })
}
