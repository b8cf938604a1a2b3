//! PLT stubs: short jumps through a slot that the dynamic linker fills.

use object::elf;
use object::{
    Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, RelocationFlags, RelocationTarget,
};
use rustc_hash::FxHashMap;

/// One stub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stub<'data> {
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// The function that it jumps to, as `.dynsym` has it.
    pub(crate) target: &'data [u8],
}

/// Every stub whose target has a name.
///
/// Which slot a stub jumps through is read from its instructions, because linkers order and pad the
/// stubs as they like; the relocation of that slot names the target. x86-64 and AArch64.
pub(crate) fn stubs<'data>(object: &object::File<'data>) -> Vec<Stub<'data>> {
    let decode = match object.architecture() {
        object::Architecture::X86_64 => x86_64_slot,
        object::Architecture::Aarch64 => aarch64_slot,
        _ => return Vec::new(),
    };
    let Targets { by_slot, in_order } = Targets::new(object);
    let mut stubs = Vec::new();
    for section in sections(object) {
        let default_size = match section.name_bytes() {
            Ok(b".plt.got") => 8,
            _ => 16,
        };
        let Ok(code) = section.data() else { continue };
        let mut at = 0;
        while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
            let address = section.address().wrapping_add(at as u64);
            let (target, size) = match decode(rest, address) {
                Some(Jump::ThroughSlot { slot, size }) => (by_slot.get(&slot), size),
                Some(Jump::ToResolver { index, size }) => (in_order.get(index as usize), size),
                None => (None, default_size),
            };
            if let Some(&target) = target {
                let size = size as u64;
                stubs.push(Stub {
                    address,
                    size,
                    target,
                });
            }
            at += size;
        }
    }
    stubs
}

/// The sections that have stubs.
pub(crate) fn sections<'data, 'file>(
    object: &'file object::File<'data>,
) -> impl Iterator<Item = object::Section<'data, 'file>> {
    let names: [&[u8]; 4] = [b".plt", b".plt.sec", b".iplt", b".plt.got"];
    let is_one = move |section: &object::Section<'_, '_>| {
        section.name_bytes().is_ok_and(|name| names.contains(&name))
    };
    object.sections().filter(is_one)
}

/// Names by the slots that the dynamic linker fills with them.
struct Targets<'data> {
    by_slot: FxHashMap<u64, &'data [u8]>,
    in_order: Vec<&'data [u8]>, // of `.rela.plt`, empty where a relocation has no name
}

impl<'data> Targets<'data> {
    fn new(object: &object::File<'data>) -> Self {
        let mut by_slot = FxHashMap::default();
        let mut in_order = Vec::new();
        let symbols = object.dynamic_symbol_table();
        for (slot, relocation) in object.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                continue;
            };
            let is_call = match object.architecture() {
                object::Architecture::X86_64 => {
                    r_type == elf::R_X86_64_JUMP_SLOT || r_type == elf::R_X86_64_IRELATIVE
                }
                _ => r_type == elf::R_AARCH64_JUMP_SLOT || r_type == elf::R_AARCH64_IRELATIVE,
            };
            let name = match relocation.target() {
                RelocationTarget::Symbol(index) => symbols
                    .as_ref()
                    .and_then(|symbols| symbols.symbol_by_index(index).ok())
                    .and_then(|symbol| symbol.name_bytes().ok()),
                _ => None,
            };
            if let Some(name) = name {
                by_slot.insert(slot, name);
            }
            if is_call {
                in_order.push(name.unwrap_or_default());
            }
        }
        Self { by_slot, in_order }
    }
}

enum Jump {
    /// Through the slot at an address.
    ThroughSlot { slot: u64, size: usize },
    /// To the dynamic linker, to fill the slot of this relocation on the first call.
    ToResolver { index: u32, size: usize },
}

/// `[endbr64] [bnd] jmp *slot(%rip)`, or `[endbr64] push index` where a second section has the jumps.
fn x86_64_slot(code: &[u8], address: u64) -> Option<Jump> {
    let endbr = usize::from(code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa])) * 4;
    let body = &code[endbr..];
    let bnd = usize::from(body.starts_with(&[0xf2]));
    match *body[bnd..].first_chunk::<6>()? {
        [0xff, 0x25, a, b, c, d] => {
            let end = endbr + bnd + 6;
            let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
            let slot = address
                .wrapping_add(end as u64)
                .wrapping_add_signed(distance);
            // The short form has no room for the push and jump of lazy binding.
            let lazy = endbr == 0 && bnd == 0 && code.get(6) == Some(&0x68);
            let short = endbr == 0 && bnd == 0 && !lazy && code.get(6..8) == Some(&[0x66, 0x90]);
            let size = if short { 8 } else { 16 };
            Some(Jump::ThroughSlot { slot, size })
        }
        [0x68, a, b, c, d, _] if endbr != 0 => {
            let index = u32::from_le_bytes([a, b, c, d]);
            Some(Jump::ToResolver { index, size: 16 })
        }
        _ => None,
    }
}

/// `[bti c]; adrp x16, page; ldr x17, [x16, #offset]; add x16, ...; br x17`.
fn aarch64_slot(code: &[u8], address: u64) -> Option<Jump> {
    let word = |index: usize| {
        let bytes = code.get(index * 4..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let bti = usize::from(word(0)? == 0xd503_245f);
    let (adrp, ldr) = (word(bti)?, word(bti + 1)?);
    if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let pages = (((adrp >> 5) & 0x7_ffff) << 2) | ((adrp >> 29) & 3);
    let pages = i64::from((pages << 11).cast_signed() >> 11); // 21 bits, signed
    let page = (address.wrapping_add(bti as u64 * 4) & !0xfff).wrapping_add_signed(pages << 12);
    let slot = page.wrapping_add(u64::from((ldr >> 10) & 0xfff) * 8);
    let size = if bti == 0 { 16 } else { 24 };
    Some(Jump::ThroughSlot { slot, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86_64(code: &[u8]) -> Option<(u64, usize)> {
        match x86_64_slot(code, 0x1000)? {
            Jump::ThroughSlot { slot, size } => Some((slot, size)),
            Jump::ToResolver { index, size } => Some((index.into(), size)),
        }
    }

    #[test]
    fn each_form_of_stub_on_x86_64_is_read() {
        let lazy = b"\xff\x25\xfa\x2f\0\0\x68\x01\0\0\0\xe9\0\0\0\0";
        assert_eq!(x86_64(lazy), Some((0x4000, 16)));
        let with_ibt = b"\xf3\x0f\x1e\xfa\xf2\xff\x25\xf5\x2f\0\0\x0f\x1f\x44\0\0";
        assert_eq!(x86_64(with_ibt), Some((0x4000, 16)));
        let short = b"\xff\x25\xfa\x2f\0\0\x66\x90";
        assert_eq!(x86_64(short), Some((0x4000, 8)));
        let resolver = b"\xf3\x0f\x1e\xfa\x68\x05\0\0\0\xf2\xe9\0\0\0\0\x90";
        assert_eq!(x86_64(resolver), Some((5, 16)));
        let first = b"\xff\x35\x02\x2f\0\0\xff\x25\x04\x2f\0\0\x0f\x1f\x40\0";
        assert_eq!(x86_64(first), None);
        assert_eq!(x86_64(b"\xff\x25\xfa"), None);
    }

    #[test]
    fn a_stub_on_aarch64_is_read() {
        // adrp x16, +0x11 pages; ldr x17, [x16, #8]
        let code: Vec<u8> = [0xb000_0090_u32, 0xf940_0611]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        let Some(Jump::ThroughSlot { slot, size }) = aarch64_slot(&code, 0x400) else {
            panic!("not a stub");
        };
        assert_eq!((slot, size), (0x11008, 16));
    }
}
