//! Where the frame is, followed along one straight way: from a function's entry to where it was
//! interrupted, or from there to its return. That is enough where the rest has a table or a frame record.
//!
//! In: the bytes of the way. Out: the rule by which a frame is left there. Which way it is, and whether
//! it is asked, is for `prologue_epilogue`.

use super::instructions::{Op, at, decode};
use super::registers::LR;
use crate::regs::{FIRST_SAVED, FP, FP_INDEX, SAVED, SP};
use crate::tables::rule::{Cfa, Rule, Saved};

/// So many instructions are looked at, to either side.
pub(super) const MOST: usize = 64;

/// The place of a callee-saved register in a rule.
fn index(register: u8) -> Option<usize> {
    let index = usize::from(register.checked_sub(FIRST_SAVED)?);
    (index < SAVED).then_some(index)
}

pub(super) fn rule(cfa: Cfa, return_address: Saved, callee_saved: [Saved; SAVED]) -> Rule {
    Rule {
        cfa,
        return_address,
        callee_saved,
        others: Box::default(),
        is_signal_frame: false,
    }
}

/// The frame at the start of `code` if what follows leads straight back to the caller: from where it
/// takes the caller's registers, there they are. A jump out of the function leaves its frame as well:
/// `is_inside` tells by the distance from the start of `code`. So do jump stubs of linkers, by x16 or
/// x17, where no frame is known to be.
pub(super) fn before_return(
    code: &[u8],
    is_inside: impl Fn(i64) -> bool,
    has_frame: bool,
) -> Option<Rule> {
    let mut base = SP; // from which all is counted
    let mut sp = 0;
    let mut link = None;
    let mut saved = [None; SAVED];
    for number in 0..MOST {
        let op = decode(at(code, number)?);
        match op {
            Op::MoveSp(by) => sp += by,
            Op::SpFromFp(by) => {
                if link.is_some() || saved.iter().any(Option::is_some) {
                    return None;
                }
                (base, sp) = (FP, by);
            }
            Op::Load(words) => {
                for (register, from) in words.each() {
                    match (register, index(register)) {
                        (LR, _) => link = Some(sp + from),
                        (_, Some(index)) => saved[index] = Some(sp + from),
                        _ => {}
                    }
                }
                sp += words.moves_sp;
            }
            // What is saved here may be restored further on: from a word that is not yet written.
            Op::Store(words) if words.each().any(|(register, _)| register >= FIRST_SAVED) => {
                return None;
            }
            Op::Store(words) => sp += words.moves_sp,
            Op::Return => break,
            Op::Jump(by) if !is_inside(4 * number as i64 + by) => break,
            Op::JumpToRegister(_) if link.is_some() => break,
            Op::JumpToRegister(16 | 17) if !has_frame => break,
            Op::Other => {}
            _ => return None,
        }
        if number + 1 == MOST {
            return None;
        }
    }
    if base == SP && sp < 0 {
        return None;
    }
    // below the stack pointer nothing is captured
    let place = |from: i64| match base == SP && from < 0 {
        true => Some(Saved::Undefined),
        false => Some(Saved::At(i32::try_from(from - sp).ok()?)),
    };
    let mut callee_saved = [Saved::Same; SAVED];
    for (to, from) in callee_saved.iter_mut().zip(saved) {
        if let Some(from) = from {
            *to = place(from)?;
        }
    }
    let return_address = match link {
        Some(from) => Saved::At(i32::try_from(from - sp).ok()?),
        None => Saved::Register(LR),
    };
    let cfa = Cfa::Offset {
        register: base,
        offset: i32::try_from(sp).ok()?,
    };
    Some(rule(cfa, return_address, callee_saved))
}

/// The frame behind the instructions of `code`, with which a function begins. Whether they branch is
/// not looked at; nothing has been called yet.
pub(super) fn after_entry(code: &[u8]) -> Option<Rule> {
    let mut sp = Some(0); // from the canonical frame address, as all
    let mut fp = None;
    let mut saved = [None; SAVED];
    if code.len() / 4 > MOST {
        return None;
    }
    for number in 0..code.len() / 4 {
        match decode(at(code, number)?) {
            Op::MoveSp(by) => sp = sp.map(|sp| sp + by),
            Op::FpFromSp(by) => fp = Some(sp? + by),
            Op::LoseSp => sp = None, // a stack of variable size, or realigned
            Op::Store(words) => {
                for (register, to) in words.each() {
                    let holds_callers = register != FP || fp.is_none();
                    if let Some(index) = index(register).filter(|_| holds_callers) {
                        saved[index].get_or_insert(sp? + to);
                    }
                }
                sp = sp.map(|sp| sp + words.moves_sp);
            }
            Op::Branch | Op::Other => {}
            _ => return None,
        }
    }
    let mut callee_saved = [Saved::Same; SAVED];
    for (to, at) in callee_saved.iter_mut().zip(saved) {
        if let Some(at) = at {
            *to = Saved::At(i32::try_from(at).ok()?);
        }
    }
    if fp.is_some() && callee_saved[FP_INDEX] == Saved::Same {
        callee_saved[FP_INDEX] = Saved::Undefined;
    }
    let (register, at): (u8, i64) = match (sp, fp) {
        (Some(sp), _) => (SP, sp),
        (None, fp) => (FP, fp?),
    };
    let cfa = Cfa::Offset {
        register,
        offset: i32::try_from(-at).ok().filter(|&offset| offset >= 0)?,
    };
    Some(rule(cfa, Saved::Register(LR), callee_saved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    fn saved(registers: &[(u8, i32)]) -> [Saved; SAVED] {
        let mut all = [Saved::Same; SAVED];
        for &(register, at) in registers {
            all[index(register).unwrap()] = Saved::At(at);
        }
        all
    }

    fn cfa(register: u8, offset: i32) -> Cfa {
        Cfa::Offset { register, offset }
    }

    const IN_LR: Saved = Saved::Register(LR);

    #[test]
    fn a_prologue_is_followed_from_the_functions_entry() {
        let code = bytes(&[
            0xd503_233f, // paciasp
            0xd101_03ff, // sub sp, sp, #64
            0xa902_7bfd, // stp x29, x30, [sp, #32]
            0x9100_83fd, // add x29, sp, #32
            0xa903_4ff4, // stp x20, x19, [sp, #48]
            0x9400_0004, // bl
        ]);
        let frames: Vec<_> = (0..=code.len() / 4)
            .map(|done| after_entry(&code[..4 * done]))
            .collect();
        let record = (FP, -32);
        assert_eq!(
            frames,
            [
                Some(rule(cfa(SP, 0), IN_LR, saved(&[]))),
                Some(rule(cfa(SP, 0), IN_LR, saved(&[]))),
                Some(rule(cfa(SP, 64), IN_LR, saved(&[]))),
                Some(rule(cfa(SP, 64), IN_LR, saved(&[record]))),
                Some(rule(cfa(SP, 64), IN_LR, saved(&[record]))),
                Some(rule(
                    cfa(SP, 64),
                    IN_LR,
                    saved(&[record, (20, -16), (19, -8)])
                )),
                None,
            ]
        );
    }

    #[test]
    fn behind_a_realignment_the_frame_pointer_leads_on() {
        let code = bytes(&[
            0xa9be_7bfd, // stp x29, x30, [sp, #-32]!
            0x9100_03fd, // mov x29, sp
            0xd101_03e9, // sub x9, sp, #64
            0x927a_e53f, // and sp, x9, #~63
        ]);
        let expected = rule(cfa(FP, 32), IN_LR, saved(&[(FP, -32)]));
        assert_eq!(after_entry(&code), Some(expected));
        assert_eq!(after_entry(&code[8..]), None);
    }

    #[test]
    fn an_epilogue_is_followed_to_the_return() {
        let code = bytes(&[
            0xa943_4ff4, // ldp x20, x19, [sp, #48]
            0xa942_7bfd, // ldp x29, x30, [sp, #32]
            0x9101_03ff, // add sp, sp, #64
            0xd503_23bf, // autiasp
            0xd65f_03c0, // ret
        ]);
        let at_index = |index: usize| before_return(&code[4 * index..], |_| true, true);
        let link = Saved::At(-24);
        let record = (FP, -32);
        assert_eq!(
            [0, 1, 2, 3, 4].map(at_index),
            [
                Some(rule(
                    cfa(SP, 64),
                    link,
                    saved(&[record, (20, -16), (19, -8)])
                )),
                Some(rule(cfa(SP, 64), link, saved(&[record]))),
                Some(rule(cfa(SP, 64), IN_LR, saved(&[]))),
                Some(rule(cfa(SP, 0), IN_LR, saved(&[]))),
                Some(rule(cfa(SP, 0), IN_LR, saved(&[]))),
            ]
        );
        assert_eq!(before_return(&code[..16], |_| true, true), None);
    }

    #[test]
    fn a_stack_of_variable_size_is_left_by_the_frame_pointer() {
        let code = bytes(&[
            0x9100_03bf, // mov sp, x29
            0xa8c2_7bfd, // ldp x29, x30, [sp], #32
            0xd65f_03c0, // ret
        ]);
        let expected = rule(cfa(FP, 32), Saved::At(-24), saved(&[(FP, -32)]));
        assert_eq!(before_return(&code, |_| true, true), Some(expected));
    }

    #[test]
    fn a_jump_ends_a_function_where_it_leaves_it() {
        let code = bytes(&[
            0xa8c1_7bfd, // ldp x29, x30, [sp], #16
            0x1400_0010, // b .+64
        ]);
        let expected = rule(cfa(SP, 16), Saved::At(-8), saved(&[(FP, -16)]));
        assert_eq!(
            before_return(&code, |to| to < 64, true),
            Some(expected.clone())
        );
        assert_eq!(before_return(&code, |to| to <= 68, true), None);
        let through_register = bytes(&[0xa8c1_7bfd, 0xd61f_0220]);
        assert_eq!(
            before_return(&through_register, |_| true, true),
            Some(expected)
        );
        let stub = &through_register[4..];
        assert_eq!(before_return(stub, |_| true, true), None);
        let at_entry = Some(rule(cfa(SP, 0), IN_LR, saved(&[])));
        assert_eq!(before_return(stub, |_| true, false), at_entry);
    }

    #[test]
    fn gos_record_below_the_stack_pointer_is_not_read() {
        let code = bytes(&[
            0xa97f_fbfd, // ldp x29, x30, [sp, #-8]
            0x9100_83ff, // add sp, sp, #32
            0xd65f_03c0, // ret
        ]);
        let mut callee_saved = saved(&[]);
        callee_saved[FP_INDEX] = Saved::Undefined;
        let expected = rule(cfa(SP, 32), Saved::At(-32), callee_saved);
        assert_eq!(before_return(&code, |_| true, true), Some(expected));
    }

    #[test]
    fn what_is_saved_only_later_is_no_way_back() {
        let code = bytes(&[
            0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
            0xa8c1_7bfd, // ldp x29, x30, [sp], #16
            0xd65f_03c0, // ret
        ]);
        assert_eq!(before_return(&code, |_| true, true), None);
    }
}
