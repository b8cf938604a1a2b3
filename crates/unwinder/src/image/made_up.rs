//! Files for tests, with nothing in them but segments.

use std::sync::Arc;

use object::elf::{Machine, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_LOAD};

use super::Image;
use crate::Arch;

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Constants,
    Data,
    Dynamic,
}

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
    let headers = 64 + 56 * segments.len();
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    bytes.resize(16, 0);
    bytes.extend(3_u16.to_le_bytes());
    bytes.extend(machine.0.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for word in [entry, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64, 56, segments.len() as u16, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    let mut offset = headers as u64;
    for &(kind, vaddr, content) in segments {
        let (part, flags) = match kind {
            Kind::Code => (PT_LOAD, PF_R | PF_X),
            Kind::Constants => (PT_LOAD, PF_R),
            Kind::Data => (PT_LOAD, PF_R | PF_W),
            Kind::Dynamic => (PT_DYNAMIC, PF_R | PF_W),
        };
        bytes.extend(part.0.to_le_bytes());
        bytes.extend(flags.0.to_le_bytes());
        let size = content.len() as u64;
        for word in [offset, vaddr, vaddr, size, size, 8] {
            bytes.extend(word.to_le_bytes());
        }
        offset += size;
    }
    for (_, _, content) in segments {
        bytes.extend_from_slice(content);
    }
    bytes
}
