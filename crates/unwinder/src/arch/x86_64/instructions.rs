//! Single instructions of x86-64, known by their bytes.

use crate::arch::Call;

/// The call instruction that `before` ends with: what a return address must follow.
pub(crate) fn call_before(before: &[u8]) -> Option<Call> {
    if let [.., 0xe8, a, b, c, d] = *before {
        return Some(Call::Direct(i32::from_le_bytes([a, b, c, d])));
    }
    // ff /2 with its ModRM, SIB and displacement bytes
    let is_modrm = |byte: u8, mode: u8| byte >> 3 & 7 == 2 && byte >> 6 == mode;
    let rm = |byte: u8| byte & 7;
    let indirect = match *before {
        [.., 0xff, modrm] if is_modrm(modrm, 3) => true,
        [.., 0xff, modrm] if is_modrm(modrm, 0) && rm(modrm) != 4 && rm(modrm) != 5 => true,
        [.., 0xff, modrm, _] if is_modrm(modrm, 1) && rm(modrm) != 4 => true,
        [.., 0xff, modrm, sib] if is_modrm(modrm, 0) && rm(modrm) == 4 && rm(sib) != 5 => true,
        [.., 0xff, modrm, _, _] if is_modrm(modrm, 1) && rm(modrm) == 4 => true,
        [.., 0xff, modrm, _, _, _, _] if is_modrm(modrm, 2) && rm(modrm) != 4 => true,
        [.., 0xff, modrm, _, _, _, _] if is_modrm(modrm, 0) && rm(modrm) == 5 => true,
        [.., 0xff, modrm, _, _, _, _, _] if is_modrm(modrm, 2) && rm(modrm) == 4 => true,
        [.., 0xff, modrm, sib, _, _, _, _] => is_modrm(modrm, 0) && rm(modrm) == 4 && rm(sib) == 5,
        _ => false,
    };
    indirect.then_some(Call::Indirect)
}

/// The target of the jump that `from` begins with is told by a distance.
pub(super) fn is_direct_jump(from: &[u8]) -> bool {
    from.first() == Some(&0xe9)
}

/// What may stand at the entry of a function: a target of indirect calls.
pub(super) const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_call_is_recognised_at_its_end() {
        let calls: [(&[u8], Call); 12] = [
            (&[0xe8, 0x10, 0, 0, 0], Call::Direct(16)),
            (&[0xe8, 0xf0, 0xff, 0xff, 0xff], Call::Direct(-16)),
            (&[0xff, 0xd0], Call::Indirect),             // *%rax
            (&[0x41, 0xff, 0xd4], Call::Indirect),       // *%r12
            (&[0xff, 0x10], Call::Indirect),             // *(%rax)
            (&[0xff, 0x50, 0x18], Call::Indirect),       // *0x18(%rax)
            (&[0xff, 0x14, 0xc3], Call::Indirect),       // *(%rbx,%rax,8)
            (&[0xff, 0x54, 0x24, 0x08], Call::Indirect), // *8(%rsp)
            (&[0xff, 0x15, 0x22, 0x2f, 0, 0], Call::Indirect), // *0x2f22(%rip)
            (&[0xff, 0x90, 0x80, 1, 0, 0], Call::Indirect), // *0x180(%rax)
            (&[0xff, 0x94, 0x24, 0x80, 1, 0, 0], Call::Indirect), // *0x180(%rsp)
            (&[0x41, 0xff, 0x14, 0xc5, 0x40, 0, 0, 0], Call::Indirect), // *0x40(,%rax,8)
        ];
        for (code, call) in calls {
            assert_eq!(call_before(code), Some(call), "{code:x?}");
        }
    }

    #[test]
    fn a_jump_a_push_and_no_code_are_not_calls() {
        let others: [&[u8]; 6] = [
            &[],
            &[0xe9, 1, 0, 0, 0],
            &[0xff, 0xe0],             // jmp *%rax
            &[0xff, 0x25, 1, 0, 0, 0], // jmp *1(%rip)
            &[0xff, 0x35, 1, 0, 0, 0], // push 1(%rip)
            &[0xc3, 0x90],
        ];
        for code in others {
            assert_eq!(call_before(code), None, "{code:x?}");
        }
    }
}
