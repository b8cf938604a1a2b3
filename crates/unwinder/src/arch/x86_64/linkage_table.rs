//! The entries of a linkage table (PLT): jumps into other modules, or to the dynamic linker, with the
//! stack as the caller left it.

use super::instructions::{ENDBR64, is_direct_jump};
use crate::cache::AtSp;

/// Whether the code here goes on elsewhere with the stack as it is: a PLT entry, a tail call.
pub(super) fn jumps_on(from: &[u8]) -> bool {
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    let entry = entry.strip_prefix(&[0xf2]).unwrap_or(entry); // bnd
    entry.starts_with(&[0xff, 0x25])
}

/// Where the return address is at an instruction of such an entry.
pub(super) fn in_linkage_table(before: &[u8], from: &[u8]) -> Option<AtSp> {
    let return_address = match (before, from) {
        _ if jumps_on(from) => 0,
        // push $N; jmp, and between the two
        (_, [0x68, _, _, _, _, jump @ ..]) if is_direct_jump(jump) => 0,
        ([.., 0x68, _, _, _, _], jump) if is_direct_jump(jump) => 8,
        _ => return None,
    };
    Some(AtSp {
        return_address,
        saved_fp: None,
    })
}

#[cfg(test)]
mod tests {
    use crate::tables::expression::evaluate;
    use crate::{Arch, Regs};

    const BREG7: u8 = 0x77; // rsp
    const BREG16: u8 = 0x80; // rip

    #[test]
    fn an_entrys_expression_tells_whether_the_push_has_happened() {
        // rsp + 8 + ((rip & 15) >= 11) * 8
        let plt = [
            BREG7, 8, BREG16, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22,
        ];
        let cfa = |ip| {
            let mut regs = Regs::new(Arch::X86_64);
            regs.set(7, 0x7000);
            regs.set(16, ip);
            evaluate(&plt, None, &regs, &mut |_| None)
        };
        assert_eq!(cfa(0x401_026), Ok(0x7008));
        assert_eq!(cfa(0x401_02b), Ok(0x7010));
    }
}
