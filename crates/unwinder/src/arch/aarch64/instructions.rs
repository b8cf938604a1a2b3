//! Single instructions of aarch64, of four bytes each, and what they do to the frame. Source: Arm
//! Architecture Reference Manual, C4.1, "A64 instruction set encoding".

use super::registers::LR;
use crate::arch::Call;
use crate::regs::{FP, SP};

/// An instruction of those that end with `before`, counted back from the last one.
pub(super) fn last(before: &[u8], back: usize) -> Option<u32> {
    let end = before.len().checked_sub(4 * back)?;
    let bytes = before.get(..end)?.last_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// An instruction of those that begin with `from`.
pub(super) fn at(from: &[u8], index: usize) -> Option<u32> {
    let bytes = from.get(4 * index..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The call instruction that `before` ends with: what a return address must follow.
pub(super) fn call_before(before: &[u8]) -> Option<Call> {
    let code = last(before, 0)?;
    if code >> 26 == 0b10_0101 {
        let distance = (code << 6).cast_signed() >> 4; // bl: words in 26 bits
        return Some(Call::Direct(distance - 4));
    }
    // blr, blraa, blrab and those with a zero for the modifier
    let is_plain = code & 0xffff_fc1f == 0xd63f_0000;
    let is_signed = code & 0xfeff_f800 == 0xd63f_0800;
    (is_plain || is_signed).then_some(Call::Indirect)
}

pub(super) const NOP: u32 = 0xd503_201f;

/// What an instruction does, as far as it concerns the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// The stack pointer moves by so many bytes.
    MoveSp(i64),
    /// The stack pointer becomes the frame pointer and so many bytes.
    SpFromFp(i64),
    /// The stack pointer becomes something else.
    LoseSp,
    /// The frame pointer becomes the stack pointer and so many bytes.
    FpFromSp(i64),
    /// Words of the stack and registers: the first is `at` so many bytes from the stack pointer, the
    /// second, if there is one, follows. Then the stack pointer moves.
    Store(Words),
    Load(Words),
    /// Back to the caller.
    Return,
    /// On, so many bytes from here.
    Jump(i64),
    /// On, where a register says.
    JumpToRegister(u8),
    /// Perhaps on elsewhere.
    Branch,
    Call,
    /// Nothing that concerns the frame.
    Other,
    /// Something that cannot be followed.
    Unknown,
}

/// What is stored or loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) at: i64,
    /// The registers, if they are whole general ones.
    pub(super) registers: [Option<u8>; 2],
    pub(super) moves_sp: i64,
}

impl Words {
    /// Each register, and where it is from the stack pointer.
    pub(super) fn each(self) -> impl Iterator<Item = (u8, i64)> {
        let places = self.registers.into_iter().zip([self.at, self.at + 8]);
        places.filter_map(|(register, at)| Some((register?, at)))
    }
}

/// A field of an instruction.
fn field(code: u32, low: u32, bits: u32) -> u32 {
    code >> low & ((1 << bits) - 1)
}

/// A field with a sign.
fn signed(code: u32, low: u32, bits: u32) -> i64 {
    let unused = u32::BITS - bits;
    i64::from((field(code, low, bits) << unused).cast_signed() >> unused)
}

fn register(code: u32, low: u32) -> u8 {
    field(code, low, 5) as u8
}

/// The frame pointer or the link register.
fn is_of_record(register: u8) -> bool {
    matches!(register, FP | LR)
}

pub(super) fn decode(code: u32) -> Op {
    match field(code, 25, 4) {
        0b1000 | 0b1001 => immediate(code),
        0b1010 | 0b1011 => branch(code),
        0b0100 | 0b0110 | 0b1100 | 0b1110 => memory(code),
        0b0101 | 0b0111 | 0b1101 | 0b1111 => {
            let is_extended = code & 0x1f20_0000 == 0x0b20_0000;
            let sets_flags = field(code, 29, 1) == 1;
            computed(code, is_extended && !sets_flags)
        }
        0b0010 => computed(code, true), // of vectors whose length is not known
        _ => Op::Unknown,
    }
}

/// An instruction whose result is in the register of the lowest bits; 31 is the stack pointer or the
/// one that is always zero.
fn computed(code: u32, is_31_sp: bool) -> Op {
    match register(code, 0) {
        SP if is_31_sp => Op::LoseSp,
        register if is_of_record(register) => Op::Unknown,
        _ => Op::Other,
    }
}

fn immediate(code: u32) -> Op {
    let (target, from) = (register(code, 0), register(code, 5));
    let is_addition = field(code, 23, 6) == 0b10_0010;
    let is_logical = field(code, 23, 6) == 0b10_0100;
    let sets_flags = match is_addition {
        true => field(code, 29, 1) == 1,
        false => field(code, 29, 2) == 0b11,
    };
    if !is_addition || sets_flags || field(code, 31, 1) == 0 {
        return computed(code, (is_addition || is_logical) && !sets_flags);
    }
    let amount = i64::from(field(code, 10, 12)) << (12 * field(code, 22, 1));
    let amount = match field(code, 30, 1) {
        0 => amount,
        _ => -amount,
    };
    match (target, from) {
        (SP, SP) => Op::MoveSp(amount),
        (SP, FP) => Op::SpFromFp(amount),
        (FP, SP) => Op::FpFromSp(amount),
        _ => computed(code, true),
    }
}

fn branch(code: u32) -> Op {
    const SVC: u32 = 0xd400_0001;
    match code >> 26 {
        0b00_0101 => return Op::Jump(signed(code, 0, 26) * 4),
        _ if call_before(&code.to_le_bytes()).is_some() => return Op::Call,
        _ => {}
    }
    if matches!(code, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff) {
        Op::Return // ret, retaa, retab
    } else if code & 0xfeff_f000 == 0xd61f_0000 {
        Op::JumpToRegister(register(code, 5))
    } else if code & 0x7c00_0000 == 0x3400_0000 || code >> 24 == 0x54 {
        Op::Branch // cbz, tbz and their like; b.eq and its like
    } else if code & 0xffe0_001f == SVC {
        Op::Other
    } else if code >> 24 == 0xd5 {
        let is_hint = code & 0xffff_f01f == 0xd503_201f; // nop, bti, paciasp, autiasp
        match is_hint {
            true => Op::Other,
            false => computed(code, false),
        }
    } else {
        Op::Unknown
    }
}

fn memory(code: u32) -> Op {
    let is_vector = field(code, 26, 1) == 1;
    let base = register(code, 5);
    let (is_load, words, writes_back) = match field(code, 27, 3) {
        0b101 if field(code, 25, 1) == 0 => pair(code, is_vector),
        0b111 if field(code, 25, 1) == 0 => match single(code, is_vector) {
            Some(single) => single,
            None => return computed(code, false),
        },
        // structures of vectors, with or without a write back
        0b001 if is_vector && base == SP && field(code, 23, 1) == 1 => return Op::Unknown,
        _ => return computed(code, false),
    };
    let loaded = words.registers.iter().flatten();
    if base != SP {
        let is_lost = is_load && loaded.copied().any(is_of_record);
        return match is_lost || writes_back && is_of_record(base) {
            true => Op::Unknown,
            false => Op::Other,
        };
    }
    match is_load {
        true => Op::Load(words),
        false => Op::Store(words),
    }
}

/// A pair of registers: whether it is a load, what, and whether the base moves.
fn pair(code: u32, is_vector: bool) -> (bool, Words, bool) {
    let (size, is_load) = (field(code, 30, 2), field(code, 22, 1) == 1);
    let scale = match (is_vector, size) {
        (true, size) => 4 << size,
        (false, 0b10) => 8,
        (false, 0b01) if !is_load => 16, // with tags
        (false, _) => 4,
    };
    let offset = signed(code, 15, 7) * scale;
    let (at, moves_sp, writes_back) = match field(code, 23, 2) {
        0b01 => (0, offset, true),
        0b11 => (offset, offset, true),
        _ => (offset, 0, false),
    };
    let is_whole = !is_vector && size == 0b10;
    let registers = [0, 10].map(|low| Some(register(code, low)).filter(|_| is_whole));
    let words = Words {
        at,
        registers,
        moves_sp,
    };
    (is_load, words, writes_back)
}

/// The same for one register; `None` for those that address otherwise.
fn single(code: u32, is_vector: bool) -> Option<(bool, Words, bool)> {
    let (size, kind) = (field(code, 30, 2), field(code, 22, 2));
    let is_load = match is_vector {
        true => kind & 1 == 1,
        false => kind != 0,
    };
    let (at, moves_sp, writes_back) = if field(code, 24, 1) == 1 {
        let scale = match is_vector && kind >= 2 {
            true => 4,
            false => size,
        };
        (i64::from(field(code, 10, 12)) << scale, 0, false)
    } else if field(code, 21, 1) == 1 {
        return None;
    } else {
        let offset = signed(code, 12, 9);
        match field(code, 10, 2) {
            0b01 => (0, offset, true),
            0b11 => (offset, offset, true),
            _ => (offset, 0, false),
        }
    };
    let is_whole = !is_vector && size == 0b11 && kind < 2;
    let words = Words {
        at,
        registers: [Some(register(code, 0)).filter(|_| is_whole), None],
        moves_sp,
    };
    Some((is_load, words, writes_back))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    fn words(at: i64, registers: [u8; 2], moves_sp: i64) -> Words {
        Words {
            at,
            registers: registers.map(|register| Some(register).filter(|&register| register < 32)),
            moves_sp,
        }
    }

    #[test]
    fn what_moves_the_frame_is_read_as_the_assembler_writes_it() {
        const NONE: u8 = 32;
        let cases = [
            (0xa9be_7bfd, Op::Store(words(-32, [29, 30], -32))), // stp x29, x30, [sp, #-32]!
            (0xa901_53f3, Op::Store(words(16, [19, 20], 0))),    // stp x19, x20, [sp, #16]
            (0xa8c2_7bfd, Op::Load(words(0, [29, 30], 32))),     // ldp x29, x30, [sp], #32
            (0xa97f_fbfd, Op::Load(words(-8, [29, 30], 0))),     // ldp x29, x30, [sp, #-8]
            (0xf81e_0ffe, Op::Store(words(-32, [30, NONE], -32))), // str x30, [sp, #-32]!
            (0xf81f_83fd, Op::Store(words(-8, [29, NONE], 0))),  // stur x29, [sp, #-8]
            (0xf841_07fe, Op::Load(words(0, [30, NONE], 16))),   // ldr x30, [sp], #16
            (0xf940_0bf3, Op::Load(words(16, [19, NONE], 0))),   // ldr x19, [sp, #16]
            (0x6dbc_23e9, Op::Store(words(-64, [NONE; 2], -64))), // stp d9, d8, [sp, #-64]!
            (0x3d80_07e0, Op::Store(words(16, [NONE; 2], 0))),   // str q0, [sp, #16]
            (0xb900_0fe0, Op::Store(words(12, [NONE; 2], 0))),   // str w0, [sp, #12]
            (0xd102_03ff, Op::MoveSp(-128)),                     // sub sp, sp, #128
            (0x9140_07ff, Op::MoveSp(4096)),                     // add sp, sp, #1, lsl #12
            (0x9100_03fd, Op::FpFromSp(0)),                      // mov x29, sp
            (0xd100_23fd, Op::FpFromSp(-8)),                     // sub x29, sp, #8
            (0x9100_03bf, Op::SpFromFp(0)),                      // mov sp, x29
            (0xd100_43bf, Op::SpFromFp(-16)),                    // sub sp, x29, #16
            (0xd65f_03c0, Op::Return),
            (0xd65f_0bff, Op::Return),             // retaa
            (0xd61f_0220, Op::JumpToRegister(17)), // br x17
            (0x17ff_fff2, Op::Jump(-56)),
            (0x9400_0004, Op::Call),
            (0xd63f_0060, Op::Call),   // blr x3
            (0x5400_02e9, Op::Branch), // b.ls
            (0xb400_04bc, Op::Branch), // cbz x28
            (0x3707_ffe0, Op::Branch), // tbnz w0, #0
        ];
        for (code, op) in cases {
            assert_eq!(decode(code), op, "{code:08x}");
        }
    }

    #[test]
    fn what_leaves_the_frame_alone_is_told_from_what_cannot_be_followed() {
        let others = [
            0xd503_233f, // paciasp
            0xd503_23bf, // autiasp
            0xd503_245f, // bti c
            0xd503_201f, // nop
            0xd400_0001, // svc #0
            0xd280_1168, // mov x8, #139
            0xf940_0b90, // ldr x16, [x28, #16]
            0xeb30_63ff, // cmp sp, x16
            0xf100_081f, // cmp x0, #2
            0xaa00_03f3, // mov x19, x0
            0x9100_43e0, // add x0, sp, #16
            0xd53b_d048, // mrs x8, tpidr_el0
            0x4e08_0c00, // dup v0.2d, x0
            0xf800_841e, // str x30, [x0], #8
        ];
        for code in others {
            assert_eq!(decode(code), Op::Other, "{code:08x}");
        }
        let unknown = [
            0xaa1e_03fd, // mov x29, x30
            0xd280_001d, // mov x29, #0
            0xa940_781d, // ldp x29, x30, [x0]
            0xf940_001e, // ldr x30, [x0]
            0x0000_0000, // udf
            0xd420_0000, // brk
        ];
        for code in unknown {
            assert_eq!(decode(code), Op::Unknown, "{code:08x}");
        }
        let sp = [
            0xcb20_63ff, // sub sp, sp, x0
            0x927a_e53f, // and sp, x9, #~63
            0x9100_017f, // mov sp, x11
            0x043f_57ff, // addvl sp, sp, #-1
        ];
        for code in sp {
            assert_eq!(decode(code), Op::LoseSp, "{code:08x}");
        }
    }

    #[test]
    fn every_form_of_call_is_recognised_and_nothing_else() {
        let call = |code| call_before(&bytes(&[NOP, code]));
        assert_eq!(call(0x9400_0004), Some(Call::Direct(12))); // bl .+16
        assert_eq!(call(0x97ff_fff2), Some(Call::Direct(-60))); // bl .-56
        let indirect = [
            0xd63f_0060, // blr x3
            0xd63f_093f, // blraaz x9
            0xd63f_0d3f, // blrabz x9
            0xd73f_0a28, // blraa x17, x8
            0xd73f_0e28, // blrab x17, x8
        ];
        for code in indirect {
            assert_eq!(call(code), Some(Call::Indirect), "{code:x}");
        }
        let others = [
            0x1400_0004,
            0xd61f_0060,
            0xd65f_03c0,
            0xd71f_0a28,
            0xb500_0000,
            NOP,
        ];
        for code in others {
            assert_eq!(call(code), None, "{code:x}");
        }
        assert_eq!(call_before(&bytes(&[0x9400_0004])[..3]), None);
    }
}
