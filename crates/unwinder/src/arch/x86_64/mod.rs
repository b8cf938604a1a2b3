//! What is particular to x86-64: register numbers, the signal frame, and the instruction bytes that
//! tell where a return address is when no table does.

pub(crate) mod dataflow; // what the instructions of a whole function say

use crate::arch::{FIRST_SAVED, FP, IP, SP, SignalFrame};
use crate::cache::Action;

/// DWARF numbers -> the numbers under which registers are kept. Source: System V ABI, figure 3.36.
/// The last one is the return address column; for a frame's registers, rip.
#[rustfmt::skip]
pub(crate) const FROM_DWARF: [u8; 17] = [
    0, 1, 2, RBX, 4, 5, FP, SP, 8, 9, 10, 11, R12, R13, R14, R15, IP,
];

/// The registers that a function hands back as it got them, besides rbp.
const RBX: u8 = FIRST_SAVED;
const R12: u8 = FIRST_SAVED + 1;
const R13: u8 = FIRST_SAVED + 2;
const R14: u8 = FIRST_SAVED + 3;
const R15: u8 = FIRST_SAVED + 4;

/// perf's register numbers -> the numbers under which registers are kept. Source: `asm/perf_regs.h`.
#[rustfmt::skip]
pub(crate) const FROM_PERF: [Option<u8>; 24] = [
    Some(0), Some(RBX), Some(2), Some(1), Some(4), Some(5), Some(FP), Some(SP), Some(IP),
    None, None, None, None, None, None, None, // flags and segments
    Some(8), Some(9), Some(10), Some(11), Some(R12), Some(R13), Some(R14), Some(R15),
];

/// At the trampoline the stack pointer is that of a `ucontext`. Source: `struct sigcontext` in
/// `asm/sigcontext.h`.
pub(crate) const SIGNAL_FRAME: SignalFrame = SignalFrame {
    registers_at: 40,
    #[rustfmt::skip]
    registers: &[8, 9, 10, 11, R12, R13, R14, R15, 5, 4, FP, RBX, 1, 0, 2, SP, IP],
};

/// What the kernel writes to the stack for a signal handler, but for the floating-point registers: the
/// address of the trampoline, a `ucontext` with all registers, a `siginfo`. Source: `struct
/// rt_sigframe` in `arch/x86/include/asm/sigframe.h`.
pub(crate) const SIGNAL_FRAME_BYTES: u64 = 8 + 304 + 128;

/// `mov $15, %rax; syscall` (rt_sigreturn): glibc and musl, Go before and after it shortened moves.
const SIGNAL_RETURNS: [&[u8]; 2] = [
    &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
    &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
];

/// What the instruction bytes alone say, whatever the tables do.
pub(crate) fn special_action(
    is_return: bool,
    is_go: bool,
    before: &[u8],
    from: &[u8],
) -> Option<Action> {
    if !is_return {
        return is_in_signal_return(before, from).then_some(Action::SignalReturn);
    }
    if is_signal_return(from) {
        Some(Action::SignalReturn)
    } else if is_context_start(from)
        || is_goroutine_start(before, from) && call_before(before).is_none()
        || is_go && (is_after_goroutine_left(before) || is_thread_exit_of_go(from))
    {
        Some(Action::StackStart)
    } else if is_go && is_after_stack_switch(before, from) {
        Some(Action::StackSwitch)
    } else if is_go && is_after_vdso_call(before, from) {
        Some(Action::VdsoCall)
    } else {
        None
    }
}

/// Whether a signal handler that returns here ends up in the interrupted code.
fn is_signal_return(from: &[u8]) -> bool {
    SIGNAL_RETURNS.iter().any(|code| from.starts_with(code))
}

/// Whether the instruction here is one of a signal trampoline, or the kernel is executing its system
/// call: `before` ends where `from` starts.
fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool {
    SIGNAL_RETURNS.iter().any(|code| {
        [0, code.len() - 2, code.len()].iter().any(|&done| {
            let (executed, left) = code.split_at(done);
            before.ends_with(executed) && from.starts_with(left)
        })
    })
}

/// Whether a return to here is one to glibc's `__start_context`, where a function on a stack of
/// `makecontext` returns to: `mov %rbx, %rsp; mov (%rsp), %rdi; test %rdi, %rdi`. Its table describes
/// no caller, and does not say so.
fn is_context_start(from: &[u8]) -> bool {
    from.starts_with(&[0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff])
}

/// Whether a return to here is one to Go's `runtime.goexit`, below which a goroutine has no frame:
/// `nop; call goexit1; nop`, with the return address put behind the first `nop` by hand.
fn is_goroutine_start(before: &[u8], from: &[u8]) -> bool {
    before.ends_with(&[0x90]) && matches!(from, [0xe8, _, _, _, _, 0x90, ..])
}

/// Whether a return to here would end a thread that Go's `runtime.clone` has started, which has no
/// frame below: `mov $111, %edi; mov $60, %eax; syscall` (exit).
fn is_thread_exit_of_go(from: &[u8]) -> bool {
    from.starts_with(&[0xbf, 0x6f, 0, 0, 0, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05])
}

/// Whether the call before a return address is one with which Go goes on, on the thread's own stack,
/// with work for the goroutine whose stack it has left.
fn is_after_stack_switch(before: &[u8], from: &[u8]) -> bool {
    // asmcgocall: mov N(%rsp), %rdi; mov 8(%rdi), %rsi; sub M(%rsp), %rsi
    if let [0x48, 0x8b, 0x7c, 0x24, _, rest @ ..] = from
        && rest.starts_with(&[0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b])
    {
        return true;
    }
    match before {
        // systemstack: mov %rdi, %rdx; mov (%rdi), %rdi; call *%rdi
        [.., 0x48, 0x89, 0xfa, 0x48, 0x8b, 0x3f, 0xff, 0xd7] => true,
        // morestack: mov 0x38(%rbx), %rsp; mov $0, %ebp in current versions; call newstack
        [
            ..,
            0x48,
            0x8b,
            0x63,
            0x38,
            0xbd,
            0,
            0,
            0,
            0,
            0xe8,
            _,
            _,
            _,
            _,
        ] => true,
        [.., 0x48, 0x8b, 0x63, 0x38, 0xe8, _, _, _, _] => true,
        _ => false,
    }
}

/// Whether the call before a return address is one with which Go asks the vDSO for the time, on the
/// thread's own stack, with alignment: the stack pointer to go back to is in `r12`.
fn is_after_vdso_call(before: &[u8], from: &[u8]) -> bool {
    // nanotime1: mov (%rsp), %rax; mov 8(%rsp), %rdx; mov %r12, %rsp
    const FOR_ONE: [u8; 12] = [
        0x48, 0x8b, 0x04, 0x24, 0x48, 0x8b, 0x54, 0x24, 0x08, 0x4c, 0x89, 0xe4,
    ];
    // time.now, between its two calls: mov $1, %edi; lea (%rsp), %rsi; mov vdsoClockgettimeSym, %rax
    const FOR_FIRST: [u8; 12] = [
        0xbf, 0x01, 0, 0, 0, 0x48, 0x8d, 0x34, 0x24, 0x48, 0x8b, 0x05,
    ];
    // and behind them: mov 16(%rsp), %rax; mov 24(%rsp), %rdi; mov (%rsp), %rcx; imul
    const FOR_SECOND: [u8; 16] = [
        0x48, 0x8b, 0x44, 0x24, 0x10, 0x48, 0x8b, 0x7c, 0x24, 0x18, 0x48, 0x8b, 0x0c, 0x24, 0x48,
        0x69,
    ];
    let codes: [&[u8]; 3] = [&FOR_ONE, &FOR_FIRST, &FOR_SECOND];
    before.ends_with(&[0xff, 0xd0]) && codes.iter().any(|code| from.starts_with(code))
}

/// How far around an instruction what [`is_around_vdso_call`] looks for may be.
pub(crate) const AROUND_VDSO_CALL: usize = 128;

/// Whether an instruction of Go's runtime is one of those around its calls of the vDSO: behind
/// `mov 0x38(%rdx), %rsp`, which enters the thread's own stack, and not behind `mov %r12, %rsp`, which
/// leaves it.
pub(crate) fn is_around_vdso_call(before: &[u8], from: &[u8]) -> bool {
    const ENTERS: [u8; 4] = [0x48, 0x8b, 0x62, 0x38];
    const LEAVES: [u8; 3] = [0x4c, 0x89, 0xe4];
    let last = |code: &[u8]| before.windows(code.len()).rposition(|at| at == code);
    let next = |code: &[u8]| from.windows(code.len()).position(|at| at == code);
    let is_between = |first: Option<usize>, second: Option<usize>| {
        first.is_some_and(|first| second.is_none_or(|second| first < second))
    };
    last(&ENTERS).is_some()
        && last(&LEAVES) < last(&ENTERS)
        && is_between(next(&LEAVES), next(&ENTERS))
}

/// Whether the call before a return address is the one with which Go's `runtime.mcall` leaves a
/// goroutine behind, to find another: `push %rax; mov (%rdx), %r12; call *%r12`.
fn is_after_goroutine_left(before: &[u8]) -> bool {
    before.ends_with(&[0x50, 0x4c, 0x8b, 0x22, 0x41, 0xff, 0xd4])
}

/// Whether a return to here is one that Go's `runtime.cgocallback` and its like pretend: into
/// `runtime.systemstack_switch`, behind the first eight bytes, for what left the goroutine's stack. That
/// function begins with `push %rbp; mov %rsp, %rbp; ud2; call abort`, with or without a `nop`.
pub(crate) fn is_in_systemstack_switch(before: &[u8], from: &[u8]) -> bool {
    let Some((prologue, done)) = before.split_at_checked(before.len().wrapping_sub(4)) else {
        return false;
    };
    prologue.ends_with(&[0x55, 0x48, 0x89, 0xe5])
        && match (done, from) {
            ([0x0f, 0x1f, 0x40, 0], from) => from.starts_with(&[0x0f, 0x0b, 0xe8]),
            ([0x0f, 0x0b, 0xe8, _], [_, _, _, after @ ..]) => after.starts_with(&[0x5d, 0xc3]),
            _ => false,
        }
}

/// A call instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// To this many bytes from its return address.
    Direct(i32),
    /// Through a register or memory.
    Indirect,
}

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

/// A frame that is not (or no longer) set up: where things are relative to the stack pointer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtSp {
    pub(crate) return_address: u16,
    /// Where the caller's rbp is, if not in rbp.
    pub(crate) saved_bp: Option<u16>,
}

/// Where the return address is at an interrupted instruction whose bytes show that it belongs to a
/// prologue, an epilogue or a jump stub; `before` ends where `from` starts.
pub(crate) fn frame_at_sp(before: &[u8], from: &[u8]) -> Option<AtSp> {
    let at = |return_address| {
        Some(AtSp {
            return_address,
            saved_bp: None,
        })
    };
    let above_bp = |saved_bp: u16| {
        Some(AtSp {
            return_address: saved_bp + 8,
            saved_bp: Some(saved_bp),
        })
    };
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    if SETS_UP_FRAME.iter().any(|code| entry.starts_with(code)) {
        return at(0);
    }
    if let Some(frame) = frame_before_return(from) {
        return Some(frame);
    }
    match (before, from) {
        // push %rbp | mov %rsp, %rbp
        ([.., 0x55], [0x48, 0x89, 0xe5, ..] | [0x48, 0x8b, 0xec, ..]) => above_bp(0),
        // Go asks for more stack before it builds a frame: cmp 0x10(%r14), %rsp or %r12; jbe
        (_, [0x49 | 0x4d, 0x3b, 0x66, 0x10, ..]) => at(0),
        ([.., 0x49 | 0x4d, 0x3b, 0x66, 0x10], [0x76, ..] | [0x0f, 0x86, ..]) => at(0),
        (_, [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..]) => at(0),
        (
            _,
            [
                0x4c,
                0x8d,
                0xa4,
                0x24,
                _,
                _,
                _,
                _,
                0x4d,
                0x3b,
                0x66,
                0x10,
                ..,
            ],
        ) => at(0),
        _ if jumps_on(from) => at(0),
        // a PLT entry's push $N; jmp, and between the two
        (_, [0x68, _, _, _, _, 0xe9, ..]) => at(0),
        ([.., 0x68, _, _, _, _], [0xe9, ..]) => at(8),
        _ => None,
    }
}

/// The same where the next instructions end the function.
pub(crate) fn frame_before_return(from: &[u8]) -> Option<AtSp> {
    let (below, saves_bp) = match *from {
        [0xc3, ..] | [0xf3 | 0xf2, 0xc3, ..] | [0xc2, ..] => (0, false), // ret
        [0x5d, 0xc3, ..] => (0, true),                                   // pop %rbp; ret
        // add $N, %rsp; ret
        [0x48, 0x83, 0xc4, size @ 0..=0x7f, 0xc3, ..] => (u16::from(size), false),
        // add $N, %rsp; pop %rbp; ret
        [0x48, 0x83, 0xc4, size @ 0..=0x7f, 0x5d, 0xc3, ..] => (u16::from(size), true),
        _ => return None,
    };
    Some(AtSp {
        return_address: below + if saves_bp { 8 } else { 0 },
        saved_bp: saves_bp.then_some(below),
    })
}

const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// push %rbp; mov %rsp, %rbp, as two assemblers encode it
const SETS_UP_FRAME: [&[u8]; 2] = [&[0x55, 0x48, 0x89, 0xe5], &[0x55, 0x48, 0x8b, 0xec]];

/// Whether a function that starts here keeps its frame pointer in rbp, as far as its first
/// instructions tell.
pub(crate) fn begins_with_frame(from: &[u8]) -> bool {
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    let go = matches!(
        from,
        [0x49 | 0x4d, 0x3b, 0x66, 0x10, ..] | [0x4c, 0x8d, 0x64 | 0xa4, 0x24, ..]
    );
    go || SETS_UP_FRAME.iter().any(|code| entry.starts_with(code))
}

/// Whether the code here goes on elsewhere with the stack as it is: a PLT entry, a tail call.
pub(crate) fn jumps_on(from: &[u8]) -> bool {
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    let entry = entry.strip_prefix(&[0xf2]).unwrap_or(entry); // bnd
    entry.starts_with(&[0xff, 0x25])
}

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

    #[test]
    fn the_signal_trampoline_is_known_at_each_of_its_instructions() {
        let code = SIGNAL_RETURNS[0];
        assert!(is_signal_return(code) && !is_signal_return(&code[7..]));
        let at: Vec<_> = (0..=code.len())
            .filter(|&done| is_in_signal_return(&code[..done], &code[done..]))
            .collect();
        assert_eq!(at, [0, 7, 9]);
    }

    #[test]
    fn what_go_pretends_to_return_to_is_behind_the_eighth_byte() {
        let code = [
            0x55, 0x48, 0x89, 0xe5, 0x0f, 0x1f, 0x40, 0, 0x0f, 0x0b, 0xe8, 1, 2, 3, 4, 0x5d, 0xc3,
        ];
        let at = |code: &[u8], at| is_in_systemstack_switch(&code[..at], &code[at..]);
        let without_nop: Vec<u8> = [&code[..4], &code[8..]].concat();
        for place in 0..code.len() {
            assert_eq!(at(&code, place), place == 8);
            assert_eq!(place < 13 && at(&without_nop, place.min(13)), place == 8);
        }
    }

    #[test]
    fn gos_calls_of_the_vdso_are_known_by_both_sides_of_the_call() {
        let call = [0xff, 0xd0];
        let from = [
            0x48, 0x8b, 0x04, 0x24, 0x48, 0x8b, 0x54, 0x24, 0x08, 0x4c, 0x89, 0xe4,
        ];
        let action = |is_go| special_action(true, is_go, &call, &from);
        assert_eq!(
            (action(true), action(false)),
            (Some(Action::VdsoCall), None)
        );
        assert!(!is_after_vdso_call(&[0xff, 0xd1], &from));
        assert!(!is_after_vdso_call(&call, &from[..11]));
    }

    #[test]
    fn what_is_around_gos_calls_of_the_vdso_is_known() {
        // jne; mov 0x38(%rdx), %rsp; sub $16, %rsp; call *%rax; mov %r12, %rsp; ret
        let code = [
            0x75, 0x07, 0x48, 0x8b, 0x62, 0x38, 0x48, 0x83, 0xec, 0x10, 0xff, 0xd0, 0x4c, 0x89,
            0xe4, 0xc3,
        ];
        let around = |at: &usize| is_around_vdso_call(&code[..*at], &code[*at..]);
        let known: Vec<usize> = (0..=code.len()).filter(around).collect();
        assert_eq!(known, (6..=12).collect::<Vec<_>>());
    }

    #[test]
    fn gos_switches_of_stacks_are_known_by_the_call_before() {
        let systemstack = [0x48, 0x89, 0xfa, 0x48, 0x8b, 0x3f, 0xff, 0xd7];
        let morestack = [0x48, 0x8b, 0x63, 0x38, 0xe8, 0x95, 0x45, 0, 0];
        let current_morestack = [
            0x48, 0x8b, 0x63, 0x38, 0xbd, 0, 0, 0, 0, 0xe8, 0xe5, 0x3b, 0, 0,
        ];
        let mcall = [0x50, 0x4c, 0x8b, 0x22, 0x41, 0xff, 0xd4];
        let asmcgocall = [
            0x48, 0x8b, 0x7c, 0x24, 0x08, 0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b, 0x34, 0x24,
        ];
        let is_after_stack_switch = |before: &[u8]| is_after_stack_switch(before, &[]);
        assert!(super::is_after_stack_switch(&[], &asmcgocall));
        assert!(is_after_stack_switch(&systemstack) && is_after_stack_switch(&morestack));
        assert!(is_after_stack_switch(&current_morestack));
        assert!(!is_after_stack_switch(&mcall) && !is_after_stack_switch(&morestack[4..]));
        assert!(is_after_goroutine_left(&mcall) && !is_after_goroutine_left(&systemstack));
        let goexit = [0x90, 0xe8, 1, 2, 3, 4, 0x90];
        assert!(is_goroutine_start(&goexit[..1], &goexit[1..]));
        assert!(!is_goroutine_start(&[0xcc], &goexit[1..]));
        let exit = [0xbf, 0x6f, 0, 0, 0, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05, 0xeb];
        assert!(is_thread_exit_of_go(&exit) && !is_thread_exit_of_go(&exit[5..]));
    }

    #[test]
    fn prologue_and_epilogue_bytes_tell_where_the_return_address_is() {
        let at = |before: &[u8], from: &[u8]| {
            frame_at_sp(before, from).map(|frame| (frame.return_address, frame.saved_bp))
        };
        assert_eq!(at(&[], &[0x55, 0x48, 0x89, 0xe5]), Some((0, None)));
        assert_eq!(at(&[0x55], &[0x48, 0x89, 0xe5]), Some((8, Some(0))));
        assert_eq!(at(&[0x90], &[0x48, 0x89, 0xe5]), None);
        assert_eq!(at(&[], &[0x5d, 0xc3]), Some((8, Some(0))));
        assert_eq!(at(&[], &[0x5d, 0x90]), None);
        assert_eq!(at(&[], &[0xc3]), Some((0, None)));
        assert_eq!(at(&[], &[0x48, 0x83, 0xc4, 0x18, 0xc3]), Some((0x18, None)));
        assert_eq!(at(&[], &[0x49, 0x3b, 0x66, 0x10, 0x76]), Some((0, None)));
        let push = [0x68, 1, 0, 0, 0];
        assert_eq!(at(&push, &[0xe9, 0, 0, 0, 0]), Some((8, None)));
        assert_eq!(at(&[], &[]), None);
    }
}
