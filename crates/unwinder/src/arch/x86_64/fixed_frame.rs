//! Frames of one size, of which a runtime tells the size, where the code was interrupted while it built one or
//! after it had taken it down. As the compilers of HotSpot do it: `push %rbp; sub $N, %rsp` at the beginning, or
//! `sub $N, %rsp; mov %rbp, N-16(%rsp)`, and `add $N, %rsp; pop %rbp` at the end, with a question in between
//! whether the thread is to stop, and the return.

use crate::cache::AtSp;

const PUSH_FP: u8 = 0x55;
const POP_FP: u8 = 0x5d;
const RETURN: u8 = 0xc3;
/// Between the end of the frame and the return there are fewer bytes.
const LONGEST_END: usize = 32;

const FP_PUSHED: AtSp = AtSp {
    return_address: 8,
    saved_fp: Some(0),
};

/// Where things are from the stack pointer, at the end of `before`. `size` and `complete_from` as in
/// [`crate::RuntimeFrame::Fixed`]. `None` if the frame is too large, or it is not known whether it stands.
pub(super) fn fixed_frame(
    [before, from]: [&[u8]; 2],
    is_return: bool,
    size: u32,
    complete_from: u32,
) -> Option<AtSp> {
    let size = u16::try_from(size).ok().filter(|&size| size >= 16)?;
    let whole = AtSp {
        return_address: size - 8,
        saved_fp: Some(size - 16),
    };
    if is_return {
        return Some(whole);
    }
    if complete_from == u32::MAX {
        return None;
    }
    let size = u32::from(size);
    if before.len() < complete_from as usize {
        return Some(match before {
            [.., PUSH_FP] | [.., PUSH_FP, 0x48, 0x8b, 0xec] | [.., PUSH_FP, 0x48, 0x89, 0xe5] => {
                FP_PUSHED
            }
            _ => match moved_by(before, 0xec) {
                Some(by) if by + 16 == size => whole,
                Some(by) if by + 8 == size => AtSp {
                    saved_fp: None,
                    ..whole
                },
                _ => AtSp::UNTOUCHED,
            },
        });
    }
    if from.first() == Some(&RETURN) || is_behind_frame(before, size) {
        return Some(AtSp::UNTOUCHED);
    }
    let is_taken_down = moved_by(before, 0xc4) == Some(size - 16);
    Some(match is_taken_down && from.first() == Some(&POP_FP) {
        true => FP_PUSHED,
        false => whole,
    })
}

/// By how much the last instruction moved the stack pointer: `sub` (0xec) or `add` (0xc4).
fn moved_by(before: &[u8], operation: u8) -> Option<u32> {
    match *before {
        [.., 0x48, 0x81, op, a, b, c, d] if op == operation => {
            Some(u32::from_le_bytes([a, b, c, d]))
        }
        [.., 0x48, 0x83, op, by @ 0..=0x7f] if op == operation => Some(by.into()),
        _ => None,
    }
}

/// Whether `before` ends with the instructions that take a frame of this size down and some that are between
/// those and the return.
fn is_behind_frame(before: &[u8], size: u32) -> bool {
    let window = before.len().saturating_sub(LONGEST_END)..before.len();
    let ends = window.rev().filter(|&at| before.get(at) == Some(&POP_FP));
    let is_end = |at: usize| {
        moved_by(&before[..at], 0xc4) == Some(size - 16) && is_question(&before[at + 1..])
    };
    ends.into_iter().any(is_end)
}

/// Whether these are all or the first of the instructions that ask whether the thread is to stop, each whole.
fn is_question(mut code: &[u8]) -> bool {
    while !code.is_empty() {
        code = match code {
            [0x49, 0x3b, 0xa7, _, _, _, _, rest @ ..] // cmp disp32(%r15), %rsp
            | [0x4d, 0x8b, 0x97, _, _, _, _, rest @ ..] // mov disp32(%r15), %r10
            | [0x41, 0x85, 0x02, rest @ ..] // test %eax, (%r10)
            | [0x85, 0x05, _, _, _, _, rest @ ..] // test %eax, disp32(%rip)
            | [0x0f, 0x87, _, _, _, _, rest @ ..] // ja
            | [0xc5, 0xf8, 0x77, rest @ ..] => rest, // vzeroupper
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A method of C2: where its instructions begin, and where its return address is then.
    #[test]
    fn the_return_address_is_found_at_every_instruction_of_a_compiled_method() {
        let instructions: [(&[u8], u16, Option<u16>); 10] = [
            (&[0x89, 0x84, 0x24, 0, 0xc0, 0xfe, 0xff], 0, None), // mov %eax, -0x14000(%rsp)
            (&[0x55], 0, None),
            (&[0x48, 0x83, 0xec, 0x20], 8, Some(0)),
            (&[0x8b, 0x46, 0x0c], 0x28, Some(0x20)), // the frame stands
            (&[0xe8, 1, 2, 3, 4], 0x28, Some(0x20)),
            (&[0x48, 0x83, 0xc4, 0x20], 0x28, Some(0x20)),
            (&[0x5d], 8, Some(0)),
            (&[0x49, 0x3b, 0xa7, 0x38, 3, 0, 0], 0, None),
            (&[0x0f, 0x87, 9, 0, 0, 0], 0, None),
            (&[0xc3], 0, None),
        ];
        let code: Vec<u8> = instructions
            .iter()
            .flat_map(|(code, ..)| code.to_vec())
            .collect();
        let mut at = 0;
        for (instruction, return_address, saved_fp) in instructions {
            let found = fixed_frame([&code[..at], &code[at..]], false, 0x30, 12);
            let expected = AtSp {
                return_address,
                saved_fp,
            };
            assert_eq!(found, Some(expected), "{at:#x}");
            at += instruction.len();
        }
        let after_call = fixed_frame([&code[..20], &code[20..]], true, 0x30, 12);
        assert_eq!(after_call.map(|at| at.return_address), Some(0x28));
    }

    #[test]
    fn a_frame_that_saves_the_frame_pointer_last_has_it_in_the_register_until_then() {
        let code = [0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10, 0x90];
        let at = |at: usize| fixed_frame([&code[..at], &code[at..]], false, 0x20, 9);
        assert_eq!(at(0), Some(AtSp::UNTOUCHED));
        let expected = AtSp {
            return_address: 0x18,
            saved_fp: None,
        };
        assert_eq!(at(4), Some(expected));
        assert_eq!(at(9).and_then(|at| at.saved_fp), Some(0x10));
        assert_eq!(fixed_frame([&code, &[]], false, 1 << 20, 9), None);
        assert_eq!(fixed_frame([&code, &[]], false, 0x20, u32::MAX), None);
    }
}
