//! A mapped ELF file: its bytes, and where in them code, unwind tables and constants are.
//!
//! In: the bytes of the file, from whoever opened it. Out: sections and pieces of code by virtual address
//! or file offset. What they say is for `tables` and `arch`.

mod contents; // what nothing but its own bytes lead to
#[cfg(test)]
#[allow(dead_code)] // the properties take the rest
#[path = "../../../fuzz/properties/elf.rs"]
pub(crate) mod elf_files;
#[cfg(test)]
pub(crate) mod made_up;

use std::ops::Range;
use std::sync::Arc;

use object::LittleEndian;
use object::elf::{FileHeader64, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use prof_model::DsoId;
use prof_pclntab::{BUILD_SECTION_NAMES, SECTION_NAMES};

use crate::Arch;
pub(crate) use contents::MACHINE;

/// The bytes of a file.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The bytes of mapped files.
pub trait Images {
    /// The file behind `dso`; `None` if it has none, or it cannot be read. Asked at most once for
    /// each DSO.
    fn image(&mut self, dso: DsoId) -> Option<Bytes>;

    /// The separate debug file of `dso`. Asked at most once for each DSO, when code runs about which
    /// its own unwind tables say nothing.
    fn debug_image(&mut self, dso: DsoId) -> Option<Bytes>;

    /// Whether that is the kernel's page for probes, `[uprobes]`: functions with a probe at their return
    /// return to its start.
    fn is_probe_page(&self, _dso: DsoId) -> bool {
        false
    }
}

/// A mapped ELF file: its bytes, and where in them things are.
pub(crate) struct Image {
    bytes: Bytes,
    /// The architecture of its code.
    pub(crate) arch: Arch,
    segments: Vec<Segment>,
    /// `.eh_frame_hdr`, as the program headers tell it.
    pub(crate) eh_frame_hdr: Option<Section>,
    pub(crate) eh_frame: Option<Section>,
    pub(crate) debug_frame: Option<Section>,
    /// Go's own table of functions, `.gopclntab`.
    pub(crate) go_functions: Option<Section>,
    /// What the dynamic linker is told, by the program headers.
    dynamic: Option<Range<usize>>,
    /// Address of `.text`, for pointers relative to it.
    pub(crate) text: Option<u64>,
    /// Address of `.got`, likewise.
    pub(crate) got: Option<u64>,
    /// The Go toolchain built it.
    pub(crate) is_go: bool,
}

/// A part of the file that is loaded into memory.
struct Segment {
    offset: u64,
    size: u64,
    vaddr: u64,
    executable: bool,
    writable: bool,
}

/// A table's bytes.
#[derive(Clone)]
pub(crate) struct Section {
    /// Where the file says that it is loaded; 0 if it is not.
    pub(crate) vaddr: u64,
    bytes: SectionBytes,
}

#[derive(Clone)]
enum SectionBytes {
    InFile(Range<usize>),
    InDebugFile(Bytes, Range<usize>),
    Decompressed(Arc<[u8]>),
}

/// A compressed `.debug_frame` that claims to be larger is not believed.
const MAX_DECOMPRESSED: u64 = 256 << 20;
/// It may always claim this,
const SMALL_DECOMPRESSED: u64 = 16 << 20;
/// and else so many times its size: ten times what is found.
const MAX_COMPRESSION: u64 = 40;

impl Image {
    /// Finds the tables in a file; `None` if it is not an ELF file with code that can be unwound.
    pub(crate) fn parse(bytes: Bytes) -> Option<Self> {
        let data = (*bytes).as_ref();
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        let mut image = Self {
            bytes: Arc::clone(&bytes),
            arch: Arch::of_machine(header.e_machine(LittleEndian))?,
            segments: Vec::new(),
            eh_frame_hdr: None,
            eh_frame: None,
            debug_frame: None,
            go_functions: None,
            dynamic: None,
            text: None,
            got: None,
            is_go: false,
        };
        image.read_segments(header, data);
        image.read_sections(header, data);
        let sections = header.sections(LittleEndian, data);
        if !sections.is_ok_and(|sections| sections.len() > 1) {
            image.is_go = image.is_built_by_go();
        }
        if image.is_go && image.go_functions.is_none() {
            image.go_functions = image.find_go_functions();
        }
        image.is_go |= image.go_functions.is_some();
        Some(image)
    }

    fn read_segments(&mut self, header: &FileHeader64<LittleEndian>, data: &[u8]) {
        for segment in header
            .program_headers(LittleEndian, data)
            .unwrap_or_default()
        {
            let (offset, size) = segment.file_range(LittleEndian);
            let vaddr = segment.p_vaddr(LittleEndian);
            let flags = segment.p_flags(LittleEndian);
            match segment.p_type(LittleEndian) {
                PT_LOAD => self.segments.push(Segment {
                    offset,
                    size,
                    vaddr,
                    executable: flags.contains(PF_X),
                    writable: flags.contains(PF_W),
                }),
                PT_GNU_EH_FRAME => {
                    self.eh_frame_hdr = file_range(data, offset, size).map(|range| Section {
                        vaddr,
                        bytes: SectionBytes::InFile(range),
                    });
                }
                PT_DYNAMIC => self.dynamic = file_range(data, offset, size),
                _ => {}
            }
        }
    }

    fn read_sections(&mut self, header: &FileHeader64<LittleEndian>, data: &[u8]) {
        let Ok(sections) = header.sections(LittleEndian, data) else {
            return;
        };
        for section in sections.iter() {
            let vaddr = section.sh_addr(LittleEndian);
            match sections.section_name(LittleEndian, section) {
                Ok(b".text") => self.text = Some(vaddr),
                Ok(b".got") => self.got = Some(vaddr),
                Ok(name) if is_one_of(name, &SECTION_NAMES) => {
                    self.go_functions = plain_section(section, data);
                }
                Ok(name) if is_one_of(name, &BUILD_SECTION_NAMES) => self.is_go = true,
                Ok(b".eh_frame") => self.eh_frame = plain_section(section, data),
                Ok(b".debug_frame") => {
                    self.debug_frame =
                        decompressed(section, data).or_else(|| plain_section(section, data));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    pub(crate) fn section<'a>(&'a self, section: &'a Section) -> &'a [u8] {
        match &section.bytes {
            SectionBytes::InFile(range) => self.bytes().get(range.clone()).unwrap_or_default(),
            SectionBytes::InDebugFile(file, range) => {
                let bytes = (**file).as_ref();
                bytes.get(range.clone()).unwrap_or_default()
            }
            SectionBytes::Decompressed(bytes) => bytes,
        }
    }

    /// The bytes of its code, a piece for each segment.
    pub(crate) fn all_code(&self) -> impl Iterator<Item = &[u8]> {
        let segments = self.segments.iter().filter(|it| it.executable);
        segments.filter_map(|it| {
            self.bytes()
                .get(file_range(self.bytes(), it.offset, it.size)?)
        })
    }

    /// `.eh_frame` and `.debug_frame`, for use beside the file whose debug file this is.
    pub(crate) fn into_tables(self) -> [Option<Section>; 2] {
        let Self {
            bytes,
            eh_frame,
            debug_frame,
            ..
        } = self;
        [eh_frame, debug_frame].map(|section| {
            let Section { vaddr, bytes: part } = section?;
            let bytes = match part {
                SectionBytes::InFile(range) => SectionBytes::InDebugFile(Arc::clone(&bytes), range),
                other => other,
            };
            Some(Section { vaddr, bytes })
        })
    }

    /// The loaded bytes from a virtual address of the file up to its segment's end, as a section.
    pub(crate) fn loaded_from(&self, vaddr: u64) -> Option<Section> {
        let segment = self
            .segments
            .iter()
            .find(|segment| vaddr.wrapping_sub(segment.vaddr) < segment.size)?;
        let skip = vaddr.wrapping_sub(segment.vaddr);
        let offset = segment.offset.checked_add(skip)?;
        let range = file_range(self.bytes(), offset, segment.size - skip)?;
        Some(Section {
            vaddr,
            bytes: SectionBytes::InFile(range),
        })
    }

    /// The virtual address that the file gives to the byte at a file offset, code first.
    pub(crate) fn vaddr(&self, offset: u64) -> Option<u64> {
        let covers = |segment: &&Segment| offset.wrapping_sub(segment.offset) < segment.size;
        let mut segments = self.segments.iter();
        let segment = segments
            .clone()
            .filter(|segment| segment.executable)
            .find(covers)
            .or_else(|| segments.find(covers))?;
        Some(
            segment
                .vaddr
                .wrapping_add(offset.wrapping_sub(segment.offset)),
        )
    }

    /// Whether a virtual address of the file lies in code.
    pub(crate) fn is_code(&self, vaddr: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.executable && vaddr.wrapping_sub(segment.vaddr) < segment.size)
    }

    /// The code from a virtual address on, up to another or to the end of the segment.
    pub(crate) fn code(&self, range: Range<u64>) -> Option<&[u8]> {
        let section = self.loaded_from(range.start)?;
        if !self.is_code(range.start) {
            return None;
        }
        let SectionBytes::InFile(bytes) = section.bytes else {
            return None;
        };
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let code = self.bytes().get(bytes)?;
        Some(&code[..code.len().min(len)])
    }

    /// The word at a file offset, if the process cannot have changed it.
    pub(crate) fn read_only_word(&self, offset: u64) -> Option<u64> {
        let end = offset.checked_add(8)?;
        let inside = |s: &Segment| offset >= s.offset && end <= s.offset.saturating_add(s.size);
        let mut covering = self.segments.iter().filter(|segment| inside(segment));
        if covering.next()?.writable || covering.any(|segment| segment.writable) {
            return None;
        }
        let bytes = self.bytes().get(usize::try_from(offset).ok()?..)?;
        Some(u64::from_le_bytes(*bytes.first_chunk()?))
    }

    /// Up to `before` bytes that end at a file offset, and up to `from` bytes that start there.
    pub(crate) fn around(&self, offset: u64, before: usize, from: usize) -> (&[u8], &[u8]) {
        let bytes = self.bytes();
        let offset = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let (left, right) = bytes.split_at(offset);
        (
            &left[left.len().saturating_sub(before)..],
            &right[..right.len().min(from)],
        )
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

/// Where a part of a file lies in its bytes; `None` if it has fewer.
pub(crate) fn file_range(data: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    (end <= data.len()).then_some(start..end)
}

fn plain_section(
    section: &object::elf::SectionHeader64<LittleEndian>,
    data: &[u8],
) -> Option<Section> {
    let (offset, size) = section.file_range(LittleEndian)?;
    Some(Section {
        vaddr: section.sh_addr(LittleEndian),
        bytes: SectionBytes::InFile(file_range(data, offset, size)?),
    })
}

fn decompressed(
    section: &object::elf::SectionHeader64<LittleEndian>,
    data: &[u8],
) -> Option<Section> {
    let (header, offset, packed) = section.compression(LittleEndian, data).ok()??;
    let size = header.ch_size.get(LittleEndian);
    let most = packed.saturating_mul(MAX_COMPRESSION);
    if size > most.clamp(SMALL_DECOMPRESSED, MAX_DECOMPRESSED) {
        return None;
    }
    let format = match header.ch_type.get(LittleEndian) {
        object::elf::ELFCOMPRESS_ZLIB => object::CompressionFormat::Zlib,
        object::elf::ELFCOMPRESS_ZSTD => object::CompressionFormat::Zstandard,
        _ => return None,
    };
    let compressed = object::CompressedData {
        format,
        data: data.get(file_range(data, offset, packed)?)?,
        uncompressed_size: size,
    };
    Some(Section {
        vaddr: section.sh_addr(LittleEndian),
        bytes: SectionBytes::Decompressed(compressed.decompress().ok()?.into()),
    })
}
