//! What is particular to aarch64: the signal frame, and the instructions that tell where a return
//! address is when no table does. Each has four bytes.

pub(crate) mod instructions; // what single instructions do
pub(crate) mod prologue_epilogue; // what the code at a function's ends says
mod without_rule; // leaves a frame that no rule describes

use crate::arch::{FP, LR, REGISTERS, SignalFrame};
use crate::cache::Action;

/// At the trampoline a `siginfo` is at the stack pointer, and a `ucontext` above. Source: `struct
/// rt_sigframe` in `arch/arm64/kernel/signal.c`, `struct sigcontext` in `asm/sigcontext.h`.
pub(crate) const SIGNAL_FRAME: SignalFrame = SignalFrame {
    registers_at: 128 + 176 + 8, // the first word of a `sigcontext` is the address of a fault
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
pub(crate) const SIGNAL_RECORD_AT: std::ops::Range<u64> = 128 + 176 + 288..1 << 20;

/// Where in a signal frame x29 and x30 are, from the stack pointer.
pub(crate) const SIGNAL_FP_AND_LR_AT: [u64; 2] = [
    SIGNAL_FRAME.registers_at + 8 * FP as u64,
    SIGNAL_FRAME.registers_at + 8 * LR as u64,
];

/// `mov x8, #139; svc #0` (rt_sigreturn): the vDSO's, of which nothing else is known to libraries.
const SIGNAL_RETURN: [u32; 2] = [0xd280_1168, 0xd400_0001];

/// An instruction of those that end with `before`, counted back from the last one.
fn last(before: &[u8], back: usize) -> Option<u32> {
    let end = before.len().checked_sub(4 * back)?;
    let bytes = before.get(..end)?.last_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// An instruction of those that begin with `from`.
pub(crate) fn at(from: &[u8], index: usize) -> Option<u32> {
    let bytes = from.get(4 * index..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// What the instructions alone say, whatever the tables do.
pub(crate) fn special_action(
    is_return: bool,
    is_go: bool,
    before: &[u8],
    from: &[u8],
) -> Option<Action> {
    let next = [at(from, 0), at(from, 1)];
    let is_signal_return = next == SIGNAL_RETURN.map(Some);
    if !is_return {
        let [mov, svc] = SIGNAL_RETURN.map(Some);
        let is_at_call = last(before, 0) == mov && next[0] == svc;
        let is_in_call = last(before, 1) == mov && last(before, 0) == svc;
        return (is_signal_return || is_at_call || is_in_call).then_some(Action::SignalReturn);
    }
    if is_signal_return {
        Some(Action::SignalReturn)
    } else if is_context_start(from) || is_go && is_stack_start_of_go(before, from) {
        Some(Action::StackStart)
    } else if is_go && is_after_stack_switch(before) {
        Some(Action::StackSwitch)
    } else {
        None
    }
}

/// Whether a return to here is one to glibc's `__startcontext`, where a function on a stack of
/// `makecontext` returns to: `nop; mov x0, x19; cbnz x0, setcontext; b exit`.
fn is_context_start(from: &[u8]) -> bool {
    let from = match at(from, 0) {
        Some(NOP) => from.get(4..).unwrap_or_default(),
        _ => from,
    };
    at(from, 0) == Some(0xaa13_03e0)
        && at(from, 1).is_some_and(|code| code & 0xff00_001f == 0xb500_0000)
        && at(from, 2).is_some_and(|code| code >> 26 == 0b00_0101)
}

/// Whether a return to here is one where Go has nothing below: `runtime.goexit`, behind its `mov x0,
/// x0` or `nop`; `runtime.mcall`, behind `ldr x4, [x26]; blr x4`, which has left a goroutine to find
/// another; the end of a thread in `runtime.clone`: `mov w0, #111; mov x8, #93` (exit).
fn is_stack_start_of_go(before: &[u8], from: &[u8]) -> bool {
    let is_goexit = matches!(last(before, 0), Some(0xaa00_03e0 | NOP))
        && at(from, 0).is_some_and(|code| code >> 26 == 0b10_0101);
    let is_mcall = last(before, 1) == Some(0xf940_0344) && last(before, 0) == Some(0xd63f_0080);
    let is_thread_end = [at(from, 0), at(from, 1)] == [Some(0x5280_0de0), Some(0xd280_0ba8)];
    is_goexit || is_mcall || is_thread_end
}

/// Whether the call before a return address is one with which Go goes on, on the thread's own stack,
/// with work for the goroutine whose stack it has left.
fn is_after_stack_switch(before: &[u8]) -> bool {
    match [last(before, 1), last(before, 0)] {
        // systemstack: ldr x3, [x26]; blr x3
        [Some(0xf940_0343), Some(0xd63f_0060)] => true,
        // asmcgocall: str x4, [sp, #8]; blr x1
        [Some(0xf900_07e4), Some(0xd63f_0020)] => true,
        // morestack: str xzr, [sp, #-16]!; bl newstack
        [Some(0xf81f_0fff), Some(bl)] => bl >> 26 == 0b10_0101,
        _ => false,
    }
}

const NOP: u32 = 0xd503_201f;

/// A call instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// To this many bytes from its return address.
    Direct(i32),
    /// Through a register.
    Indirect,
}

/// The call instruction that `before` ends with: what a return address must follow.
pub(crate) fn call_before(before: &[u8]) -> Option<Call> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(code: &[u32]) -> Vec<u8> {
        code.iter().flat_map(|code| code.to_le_bytes()).collect()
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

    #[test]
    fn the_signal_trampoline_is_known_at_each_of_its_instructions() {
        let code = bytes(&[NOP, SIGNAL_RETURN[0], SIGNAL_RETURN[1], NOP]);
        let interrupted: Vec<_> = (0..=code.len())
            .filter(|&done| {
                let (before, from) = code.split_at(done);
                special_action(false, false, before, from) == Some(Action::SignalReturn)
            })
            .collect();
        assert_eq!(interrupted, [4, 8, 12]);
        let returned_to = |done: usize| {
            let (before, from) = code.split_at(done);
            special_action(true, false, before, from)
        };
        assert_eq!(returned_to(4), Some(Action::SignalReturn));
        assert_eq!([0, 8, 12, 16].map(returned_to), [None; 4]);
    }

    #[test]
    fn where_gos_and_glibcs_stacks_begin_is_known_by_the_code() {
        let action = |is_go, before: &[u32], from: &[u32]| {
            special_action(true, is_go, &bytes(before), &bytes(from))
        };
        let bl = 0x9400_0627;
        assert_eq!(
            action(true, &[0xaa00_03e0], &[bl]),
            Some(Action::StackStart)
        );
        assert_eq!(action(false, &[0xaa00_03e0], &[bl]), None);
        let mcall = [0xf940_0344, 0xd63f_0080];
        assert_eq!(action(true, &mcall, &[]), Some(Action::StackStart));
        let thread_end = [0x5280_0de0, 0xd280_0ba8];
        assert_eq!(action(true, &[], &thread_end), Some(Action::StackStart));
        let systemstack = [0xf940_0343, 0xd63f_0060];
        assert_eq!(action(true, &systemstack, &[]), Some(Action::StackSwitch));
        let context = [0xaa13_03e0, 0xb5ff_f380, 0x17ff_0000];
        assert_eq!(action(false, &[], &context), Some(Action::StackStart));
        let behind_nop = [&[NOP], &context[..]].concat();
        assert_eq!(action(false, &[], &behind_nop), Some(Action::StackStart));
        assert_eq!(action(false, &[], &context[..2]), None);
    }
}
