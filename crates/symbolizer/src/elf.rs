//! What several readers of ELF files need: sections as shared bytes, addresses to offsets and back.

use std::sync::Arc;

use gimli::RunTimeEndian;
use object::read::CompressionFormat;
use object::{Object, ObjectSection, ObjectSegment};
use prof_model::BuildId;

use crate::mapped_file::{MappedFile, SharedBytes};
use crate::packed;

/// Bytes of a section that keep their file mapped.
pub(crate) type Reader = gimli::EndianReader<RunTimeEndian, SharedBytes>;

/// The build-id in the notes of an ELF file; `None` if there is none or the bytes are not ELF.
pub fn read_build_id(bytes: &[u8]) -> Option<BuildId> {
    let object = object::File::parse(bytes).ok()?;
    BuildId::new(object.build_id().ok()??)
}

/// A part of a program that is loaded into memory, by its file's numbering of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first address.
    pub address: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes of the file it has.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The loadable segments of an ELF file; none of other bytes.
pub(crate) fn segments(bytes: &[u8]) -> Vec<Segment> {
    let Ok(object) = object::File::parse(bytes) else {
        return Vec::new();
    };
    let segments = object.segments().map(|segment| {
        let (offset, size) = segment.file_range();
        Segment {
            address: segment.address(),
            offset,
            size,
            executable: segment.permissions().executable(),
        }
    });
    segments.collect()
}

/// Compares as perf does, whose older files pad a shorter id with zeros to 20 bytes.
pub(crate) fn same_build_id(a: BuildId, b: BuildId) -> bool {
    let padded = |id: BuildId| {
        let mut bytes = [0; 20];
        bytes[..id.as_bytes().len()].copy_from_slice(id.as_bytes());
        bytes
    };
    padded(a) == padded(b)
}

fn endian(object: &object::File<'_>) -> RunTimeEndian {
    if object.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    }
}

/// Stands for a section that a file does not have.
pub(crate) fn empty_section(object: &object::File<'_>) -> Reader {
    let bytes = Arc::new(MappedFile::from_bytes(Vec::new()));
    Reader::new(SharedBytes(bytes), endian(object))
}

/// A section of `image`, which `object` was parsed from; unpacked if it is compressed.
pub(crate) fn section(
    image: &Arc<MappedFile>,
    object: &object::File<'_>,
    name: &str,
) -> Option<Reader> {
    let section = object.section_by_name(name)?;
    let data = section.compressed_data().ok()?;
    if data.format != CompressionFormat::None {
        if packed::is_too_large(object, (**image).as_ref().len()) {
            return None;
        }
        let unpacked = data.decompress().ok()?.into_owned();
        let bytes = SharedBytes(Arc::new(MappedFile::from_bytes(unpacked)));
        return Some(Reader::new(bytes, endian(object)));
    }
    let (offset, size) = section.file_range()?;
    part(image, object, offset, size)
}

/// So many bytes of `image` from an offset on; `None` if it has fewer.
pub(crate) fn part(
    image: &Arc<MappedFile>,
    object: &object::File<'_>,
    offset: u64,
    size: u64,
) -> Option<Reader> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    if end > (**image).as_ref().len() {
        return None;
    }
    let bytes = SharedBytes(Arc::clone(image));
    Some(Reader::new(bytes, endian(object)).range(start..end))
}

/// Where a file's loadable parts lie in its own address numbering.
#[derive(Debug, Default)]
pub(crate) struct AddressMap {
    parts: Vec<Part>, // executable ones first
}

#[derive(Clone, Copy, Debug)]
struct Part {
    address: u64,
    offset: u64,
    size: u64,
    in_memory: u64, // as much as `size`, or more: zeros that the file has not
}

/// A part ends in memory where a page ends: what the file has behind it there are zeros, too.
const PAGE: u64 = 4096;

impl AddressMap {
    /// From the loadable segments, or, where there are none, from the sections.
    pub(crate) fn new(object: &object::File<'_>) -> Self {
        let segments = object.segments().map(|segment| {
            let (offset, size) = segment.file_range();
            let executable = segment.permissions().executable();
            let address = segment.address();
            (
                executable,
                Part {
                    address,
                    offset,
                    size,
                    in_memory: segment.size(),
                },
            )
        });
        let mut parts: Vec<_> = segments.collect();
        if parts.is_empty() {
            parts.extend(object.sections().filter_map(|section| {
                let (offset, size) = section.file_range()?;
                let executable = section.kind() == object::SectionKind::Text;
                let address = section.address();
                Some((
                    executable,
                    Part {
                        address,
                        offset,
                        size,
                        in_memory: size,
                    },
                ))
            }));
        }
        parts.sort_by_key(|&(executable, _)| !executable);
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        Self { parts }
    }

    /// The file offset of what is loaded at `address`.
    pub(crate) fn offset(&self, address: u64) -> Option<u64> {
        self.parts.iter().find_map(|part| {
            let distance = address.checked_sub(part.address)?;
            (distance < part.size).then(|| part.offset.checked_add(distance))?
        })
    }

    /// As [`AddressMap::offset`], also of zeros that lie in the last page of what the file has: there
    /// mappings of the file have them.
    pub(crate) fn offset_in_memory(&self, address: u64) -> Option<u64> {
        self.offset(address).or_else(|| {
            let in_part = |part: &Part| {
                let distance = address.checked_sub(part.address)?;
                let end = part.offset.checked_add(part.size)?;
                let end = end.checked_next_multiple_of(PAGE)?;
                let offset = part.offset.checked_add(distance)?;
                (distance < part.in_memory && offset < end).then_some(offset)
            };
            let offset = self.parts.iter().find_map(in_part)?;
            self.address(offset).is_none().then_some(offset)
        })
    }

    /// Where the part ends that `offset` of the file lies in, as [`AddressMap::offset_in_memory`] counts.
    pub(crate) fn end(&self, offset: u64) -> Option<u64> {
        self.parts.iter().find_map(|part| {
            let distance = offset.checked_sub(part.offset)?;
            let size = part.size.max(part.in_memory);
            (distance < size).then(|| part.offset.checked_add(size))?
        })
    }

    /// The address that the byte at `offset` of the file is loaded at.
    pub(crate) fn address(&self, offset: u64) -> Option<u64> {
        self.parts.iter().find_map(|part| {
            let distance = offset.checked_sub(part.offset)?;
            (distance < part.size).then(|| part.address.checked_add(distance))?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_a_place_as_far_as_the_last_page_of_the_file_that_is_mapped() {
        let part = |address, offset, size, in_memory| Part {
            address,
            offset,
            size,
            in_memory,
        };
        let data = part(0x4d00, 0x2d00, 0x200, 0x1000);
        let map = AddressMap { parts: vec![data] };
        let places = [0x4cff, 0x4d00, 0x4eff, 0x4f00, 0x4fff, 0x5000, 0x5d00];
        let places = places.map(|address| map.offset_in_memory(address));
        let expected = [
            None,
            Some(0x2d00),
            Some(0x2eff),
            Some(0x2f00),
            Some(0x2fff),
            None,
            None,
        ];
        assert_eq!(places, expected);
        assert_eq!(map.offset(0x4f00), None);
        // What the file has there is another part's.
        let code = part(0x6f00, 0x2f00, 0x1000, 0x1000);
        let map = AddressMap {
            parts: vec![code, data],
        };
        assert_eq!(map.offset_in_memory(0x4f00), None);
        assert_eq!(map.offset_in_memory(0x6f00), Some(0x2f00));
    }
}
