//! What the kernel puts on the stack for a signal handler, and the code that takes it off again.

use super::registers::{R12, R13, R14, R15, RBX};
use crate::arch::SignalFrame;
use crate::regs::{FP, IP, SP};

/// At the trampoline the stack pointer is that of a `ucontext`. Source: `struct sigcontext` in
/// `asm/sigcontext.h`, `struct rt_sigframe` in `arch/x86/include/asm/sigframe.h`.
pub(super) const SIGNAL_FRAME: SignalFrame = SignalFrame {
    registers_at: 40,
    bytes: 8 + 304 + 128, // the address of the trampoline, the `ucontext`, a `siginfo`
    #[rustfmt::skip]
    registers: &[8, 9, 10, 11, R12, R13, R14, R15, 5, 4, FP, RBX, 1, 0, 2, SP, IP],
};

/// `mov $15, %rax; syscall` (rt_sigreturn): glibc and musl, Go before and after it shortened moves.
const SIGNAL_RETURNS: [&[u8]; 2] = [
    &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
    &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
];

/// Whether a signal handler that returns here ends up in the interrupted code.
pub(super) fn is_signal_return(from: &[u8]) -> bool {
    SIGNAL_RETURNS.iter().any(|code| from.starts_with(code))
}

/// Whether the instruction here is one of a signal trampoline, or the kernel is executing its system
/// call: `before` ends where `from` starts.
pub(super) fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool {
    SIGNAL_RETURNS.iter().any(|code| {
        [0, code.len() - 2, code.len()].iter().any(|&done| {
            let (executed, left) = code.split_at(done);
            before.ends_with(executed) && from.starts_with(left)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_trampoline_is_known_at_each_of_its_instructions() {
        let code = SIGNAL_RETURNS[0];
        assert!(is_signal_return(code) && !is_signal_return(&code[7..]));
        let at: Vec<_> = (0..=code.len())
            .filter(|&done| is_in_signal_return(&code[..done], &code[done..]))
            .collect();
        assert_eq!(at, [0, 7, 9]);
    }
}
