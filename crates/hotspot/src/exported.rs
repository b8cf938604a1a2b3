//! Where a process has the variables that `libjvm.so` exports.

use object::elf::PT_LOAD;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};

use crate::EXPORTED;

/// The addresses of the variables [`EXPORTED`] in a process that has mapped a part of `libjvm.so` at
/// `start`. `image` is the file, `offset` where in it the part begins. `None` if it does not export all of them.
pub fn exported(image: &[u8], start: u64, offset: u64) -> Option<[u64; 11]> {
    let file = ElfFile64::<LittleEndian>::parse(image).ok()?;
    let segments = file.elf_program_headers().iter();
    let mut loaded = segments.filter(|segment| segment.p_type(LittleEndian) == PT_LOAD);
    let vaddr = loaded.find_map(|segment| {
        // a mapping begins with the page that the segment begins in
        let behind = segment.p_offset(LittleEndian) & !0xfff;
        let end = segment.p_offset(LittleEndian) + segment.p_filesz(LittleEndian);
        let is_in = (behind..end).contains(&offset);
        let vaddr = segment.p_vaddr(LittleEndian) & !0xfff;
        is_in.then(|| vaddr.wrapping_add(offset - behind))
    })?;
    let mut addresses = [None; EXPORTED.len()];
    for symbol in file.dynamic_symbols() {
        let Some(name) = symbol
            .name()
            .ok()
            .filter(|name| name.starts_with("gHotSpot"))
        else {
            continue;
        };
        if let Some(index) = EXPORTED.iter().position(|known| *known == name) {
            addresses[index] = Some(start.wrapping_sub(vaddr).wrapping_add(symbol.address()));
        }
    }
    let mut found = [0; EXPORTED.len()];
    for (found, address) in found.iter_mut().zip(addresses) {
        *found = address?;
    }
    Some(found)
}
