//! Files for tests, with nothing in them but segments.

use std::sync::Arc;

use object::elf::Machine;

use super::Image;
use super::elf_files as elf;
use crate::Arch;

pub(crate) use elf::Kind;

/// What [`file`] makes, read.
pub(crate) fn image(arch: Arch, entry: u64, segments: &[(Kind, u64, &[u8])]) -> Image {
    Image::parse(Arc::new(file(arch, entry, segments))).unwrap()
}

/// A file with these segments at these virtual addresses, whose first instruction is at `entry`. It has no
/// section headers.
pub(crate) fn file(arch: Arch, entry: u64, segments: &[(Kind, u64, &[u8])]) -> Vec<u8> {
    let machine = (0..u16::MAX)
        .map(Machine)
        .find(|&machine| Arch::of_machine(machine) == Some(arch))
        .unwrap();
    elf::segments(machine.0, entry, segments)
}
