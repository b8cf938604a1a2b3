//! A Go program's bytes by address: of the file, and the words that the dynamic linker writes.

use std::cell::OnceCell;
use std::sync::Arc;

use object::{Object, ObjectSection, ObjectSegment, RelocationTarget};
use prof_pclntab::{
    BUILD_SECTION_NAMES, Layout, Machine, Part, Program, SECTION_NAMES, has_build_info,
};

use crate::elf::{self, Reader};
use crate::mapped_file::MappedFile;

/// The segments of a file, and its relocations.
pub(crate) struct GoProgram<'a> {
    pub(crate) image: &'a Arc<MappedFile>,
    pub(crate) object: &'a object::File<'a>, // parsed from it
    pub(crate) machine: Machine,
    /// Where the dynamic linker will write which value, once that was asked for.
    relocated: OnceCell<Vec<(u64, u64)>>,
}

impl<'a> GoProgram<'a> {
    pub(crate) fn new(image: &'a Arc<MappedFile>, object: &'a object::File<'a>) -> Self {
        Self {
            image,
            object,
            machine: Machine {
                is_big_endian: !object.is_little_endian(),
                address_size: if object.is_64() { 8 } else { 4 },
            },
            relocated: OnceCell::new(),
        }
    }

    /// The virtual address of Go's table of functions, and the table: what a section with its name has; in a
    /// file that Go built and that has no such section, what begins like one.
    pub(crate) fn table(&self) -> Option<(u64, Reader)> {
        for name in SECTION_NAMES {
            if let Some(section) = self.object.section_by_name(name) {
                let table = elf::section(self.image, self.object, name)?;
                return Some((section.address(), table));
            }
        }
        if !self.is_built_by_go() {
            return None;
        }
        let start = Layout::search(self, self.machine)?;
        Some((start, self.loaded_from(start)?))
    }

    fn is_built_by_go(&self) -> bool {
        let has = |name: &&str| self.object.section_by_name(name).is_some();
        let has_sections = self.object.sections().next().is_some();
        match has_sections {
            true => BUILD_SECTION_NAMES.iter().any(has),
            false => has_build_info(self),
        }
    }

    /// What is loaded from a virtual address on, up to the end of the segment.
    pub(crate) fn loaded_from(&self, vaddr: u64) -> Option<Reader> {
        let segment = self.segment(vaddr)?;
        let skip = vaddr - segment.address();
        let (offset, size) = segment.file_range();
        elf::part(
            self.image,
            self.object,
            offset.checked_add(skip)?,
            size - skip,
        )
    }

    /// The segment whose part in the file has a virtual address.
    fn segment(&self, vaddr: u64) -> Option<object::Segment<'_, '_>> {
        let mut segments = self.object.segments();
        segments.find(|segment| {
            let (_, size) = segment.file_range();
            vaddr
                .checked_sub(segment.address())
                .is_some_and(|distance| distance < size)
        })
    }
}

impl Program for GoProgram<'_> {
    fn is_code(&self, vaddr: u64) -> bool {
        let segment = self.segment(vaddr);
        segment.is_some_and(|segment| segment.permissions().executable())
    }

    fn file_word(&self, vaddr: u64) -> Option<u64> {
        let segment = self.segment(vaddr)?;
        let distance = usize::try_from(vaddr - segment.address()).ok()?;
        self.machine.address(segment.data().ok()?, distance)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let segments = self.object.segments();
        let segments = segments.filter(|segment| !segment.permissions().executable());
        segments.filter_map(|segment| {
            Some(Part {
                vaddr: segment.address(),
                bytes: segment.data().ok()?,
                is_writable: segment.permissions().writable(),
            })
        })
    }

    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        let relocated = self.relocated.get_or_init(|| {
            if self.object.kind() != object::ObjectKind::Dynamic {
                return Vec::new();
            }
            let relocations = self.object.dynamic_relocations().into_iter().flatten();
            let words = relocations.filter_map(|(address, relocation)| {
                let absolute = relocation.target() == RelocationTarget::Absolute;
                absolute.then_some((address, relocation.addend().cast_unsigned()))
            });
            words.collect()
        });
        relocated.iter().copied()
    }
}
