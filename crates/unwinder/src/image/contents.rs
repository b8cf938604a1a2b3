//! What is found in a file by its bytes alone: words that point somewhere, what the dynamic linker will
//! write, Go's table of functions where no section header tells.
//!
//! All of it is read once for each file, in one pass.

use super::{Image, Section, SectionBytes, Segment, file_range};
use crate::tables::go_functions::is_table;

/// So much of a file is searched for a table. Those of the largest Go programs begin at some 100 MiB.
const MOST_SEARCHED: u64 = 1 << 30;
/// Where in a file Go's table may begin.
const TABLE_ALIGNMENT: usize = 8;

// Numbers of the ELF specification.
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const RELA_SIZE: usize = 24;

impl Image {
    /// Go's table of functions, by the bytes it begins with.
    pub(super) fn find_go_functions(&self) -> Option<Section> {
        let segments = self.segments.iter().filter(|segment| !segment.executable);
        segments.into_iter().find_map(|segment| {
            let bytes = self.segment_bytes(segment)?;
            let starts = (0..bytes.len()).step_by(TABLE_ALIGNMENT);
            let found = starts.into_iter().find(|&start| {
                let table = &bytes[start..];
                table.get(1..4) == Some(&[0xff; 3]) && is_table(table)
            })?;
            let skip = found as u64;
            let len = bytes.len() as u64 - skip;
            Some(Section {
                vaddr: segment.vaddr.checked_add(skip)?,
                bytes: SectionBytes::InFile(file_range(
                    self.bytes(),
                    segment.offset.checked_add(skip)?,
                    len,
                )?),
            })
        })
    }

    /// The virtual addresses of words of writable data that have this value.
    pub(crate) fn words_like(&self, value: u64) -> impl Iterator<Item = u64> {
        let segments = self.segments.iter().filter(|segment| segment.writable);
        segments.flat_map(move |segment| {
            let words = self.segment_bytes(segment).unwrap_or_default();
            let words = (segment.vaddr..)
                .step_by(8)
                .zip(words.chunks_exact(8))
                .filter(move |(_, word)| *word == value.to_le_bytes());
            words.map(|(at, _)| at)
        })
    }

    /// The words that the dynamic linker will write where the file is loaded as its addresses say, and
    /// where.
    pub(crate) fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        let relative = self.arch.relative_relocation();
        let entries = self.relocations().unwrap_or_default();
        let entries = entries.chunks_exact(RELA_SIZE).map(words);
        entries.filter_map(move |[at, kind, value]| (kind == relative).then_some((at, value)))
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

/// The words of an entry of a table.
fn words<const N: usize>(entry: &[u8]) -> [u64; N] {
    let mut words = entry.chunks_exact(8);
    std::array::from_fn(|_| {
        let word = words.next().and_then(|word| word.first_chunk());
        word.map_or(0, |word| u64::from_le_bytes(*word))
    })
}
