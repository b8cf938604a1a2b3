//! What the kernel puts on the stack for a signal handler, and the code that takes it off again. That
//! code is in the vDSO, which a recording from elsewhere rarely has: then the frame itself must do.

use std::ops::Range;

use prof_model::VirtAddr;

use super::Aarch64;
use super::instructions::{at, last};
use super::registers::LR;
use crate::StackMemory;
use crate::arch::SignalFrame;
use crate::regs::{FP, REGISTERS};
use crate::walk::Walk;
use crate::walk::step::Frame;

/// At the trampoline a `siginfo` is at the stack pointer, and a `ucontext` above. Source: `struct
/// rt_sigframe` in `arch/arm64/kernel/signal.c`, `struct sigcontext` in `asm/sigcontext.h`.
pub(super) const SIGNAL_FRAME: SignalFrame = SignalFrame {
    registers_at: 128 + 176 + 8, // the first word of a `sigcontext` is the address of a fault
    bytes: 128 + 176 + 288,      // the `siginfo`, the `ucontext` up to the vector registers
    registers: &NUMBERS,
};

/// x0 to x30, the stack pointer, the instruction pointer.
const NUMBERS: [u8; REGISTERS] = {
    let mut numbers = [0; REGISTERS];
    let mut register = 0;
    while register < REGISTERS {
        numbers[register] = register as u8;
        register += 1;
    }
    numbers
};

/// So far above the stack pointer the frame record lies that the kernel puts above a signal frame:
/// vector registers are in between.
const SIGNAL_RECORD_AT: Range<u64> = SIGNAL_FRAME.bytes..1 << 20;

/// Where in a signal frame x29 and x30 are, from the stack pointer.
const SIGNAL_FP_AND_LR_AT: [u64; 2] = [
    SIGNAL_FRAME.registers_at + 8 * FP as u64,
    SIGNAL_FRAME.registers_at + 8 * LR as u64,
];

/// `mov x8, #139; svc #0` (rt_sigreturn): the vDSO's, of which nothing else is known to libraries.
const SIGNAL_RETURN: [u32; 2] = [0xd280_1168, 0xd400_0001];

/// Whether a signal handler that returns here ends up in the interrupted code.
pub(super) fn is_signal_return(from: &[u8]) -> bool {
    [at(from, 0), at(from, 1)] == SIGNAL_RETURN.map(Some)
}

/// Whether the instruction here is one of a signal trampoline, or the kernel is executing its system
/// call: `before` ends where `from` starts.
pub(super) fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool {
    let [mov, svc] = SIGNAL_RETURN.map(Some);
    let is_at_call = last(before, 0) == mov && at(from, 0) == svc;
    let is_in_call = last(before, 1) == mov && last(before, 0) == svc;
    is_signal_return(from) || is_at_call || is_in_call
}

impl<S: StackMemory + ?Sized> Walk<'_, Aarch64, S> {
    /// Whether the kernel's signal frame is at the stack pointer although the trampoline's code is
    /// not to be had: it is in the vDSO, of which recordings from elsewhere have no file. The kernel
    /// puts a frame record above, which has what the interrupted code had in its registers.
    pub(super) fn has_signal_frame_without_code(&mut self, frame: &Frame) -> bool {
        if self.code(frame.pc).is_some() {
            return false;
        }
        let (Some(record), Some(sp)) = (frame.regs.fp(), frame.regs.sp()) else {
            return false;
        };
        let word = |addr| self.memory.read_u64(VirtAddr(addr));
        let is_same = |slot: u64, at: u64| {
            let saved = word(sp.wrapping_add(slot));
            saved.is_some() && saved == word(record.wrapping_add(at))
        };
        let [fp, lr] = SIGNAL_FP_AND_LR_AT;
        SIGNAL_RECORD_AT.contains(&record.wrapping_sub(sp)) && is_same(fp, 0) && is_same(lr, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;
    use crate::arch::aarch64::instructions::NOP;

    #[test]
    fn the_signal_trampoline_is_known_at_each_of_its_instructions() {
        let code = bytes(&[NOP, SIGNAL_RETURN[0], SIGNAL_RETURN[1], NOP]);
        let interrupted: Vec<_> = (0..=code.len())
            .filter(|&done| is_in_signal_return(&code[..done], &code[done..]))
            .collect();
        assert_eq!(interrupted, [4, 8, 12]);
        let returned_to = |done: usize| is_signal_return(&code[done..]);
        assert_eq!(
            [0, 4, 8, 12, 16].map(returned_to),
            [false, true, false, false, false]
        );
    }
}
