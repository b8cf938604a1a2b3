//! A Go program's words by address: of the file, and those that the dynamic linker writes.

use object::{Object, ObjectSection, RelocationTarget, SectionKind};
use prof_pclntab::{Machine, Program};

/// The sections of a file, and its relocations.
pub(crate) struct GoProgram<'a> {
    pub(crate) object: &'a object::File<'a>,
    pub(crate) machine: Machine,
    /// Where the dynamic linker will write which value.
    relocated: Vec<(u64, u64)>,
}

impl<'a> GoProgram<'a> {
    pub(crate) fn new(object: &'a object::File<'a>) -> Self {
        let mut relocated = Vec::new();
        if object.kind() == object::ObjectKind::Dynamic {
            let relative = object.dynamic_relocations().into_iter().flatten();
            relocated.extend(relative.filter_map(|(address, relocation)| {
                let absolute = relocation.target() == RelocationTarget::Absolute;
                absolute.then_some((address, relocation.addend().cast_unsigned()))
            }));
        }
        Self {
            object,
            machine: Machine {
                is_big_endian: !object.is_little_endian(),
                address_size: if object.is_64() { 8 } else { 4 },
            },
            relocated,
        }
    }
}

impl Program for GoProgram<'_> {
    fn is_code(&self, vaddr: u64) -> bool {
        let mut sections = self.object.sections();
        sections.any(|section| {
            let distance = vaddr.checked_sub(section.address());
            section.kind() == SectionKind::Text && distance.is_some_and(|it| it < section.size())
        })
    }

    fn file_word(&self, vaddr: u64) -> Option<u64> {
        self.object.sections().find_map(|section| {
            let distance = vaddr.checked_sub(section.address())?;
            if section.address() == 0 || distance >= section.size() {
                return None;
            }
            let data = section.data().ok()?;
            self.machine.address(data, usize::try_from(distance).ok()?)
        })
    }

    fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let sections = self.object.sections().filter(|section| {
            let name = section.name_bytes().unwrap_or_default();
            name.starts_with(b".data") || name == b".noptrdata" || name == b".go.module"
        });
        sections.filter_map(|section| Some((section.address(), section.data().ok()?)))
    }

    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.relocated.iter().copied()
    }
}
