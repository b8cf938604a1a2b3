//! Places in Go's runtime where it changes stacks, known by their instructions.

use crate::walk::cgo::WayBack;

/// Whether the call before a return address is one with which Go goes on, on the thread's own stack,
/// with work for the goroutine whose stack it has left.
pub(super) fn is_after_stack_switch(before: &[u8], from: &[u8]) -> bool {
    // asmcgocall: mov N(%rsp), %rdi; mov 8(%rdi), %rsi; sub M(%rsp), %rsi
    let (from, known) = match behind_thread_offset(from) {
        Some(from) => (from, &[0x48, 0x8b, 0x77, 0x08][..]), // as many bytes as there are
        None => (from, &[0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b][..]),
    };
    if let [0x48, 0x8b, 0x7c, 0x24, _, rest @ ..] = from
        && rest.starts_with(known)
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

/// The code behind an instruction with which a position-independent program gets the place of a thread's
/// goroutine into `rcx`: `mov $-8, %rcx`, or `mov NAME(%rip), %rcx`. `None` if it does not begin with one.
fn behind_thread_offset(code: &[u8]) -> Option<&[u8]> {
    match code {
        [0x48, 0xc7, 0xc1, 0xf8, 0xff, 0xff, 0xff, rest @ ..]
        | [0x48, 0x8b, 0x0d, _, _, _, _, rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Whether the call before a return address is one with which Go asks the vDSO for the time, on the
/// thread's own stack, with alignment: the stack pointer to go back to is in `r12`.
pub(super) fn is_after_vdso_call(before: &[u8], from: &[u8]) -> bool {
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
pub(super) const AROUND_VDSO_CALL: usize = 128;

/// Whether an instruction of Go's runtime is one of those around its calls of the vDSO: behind
/// `mov 0x38(%rdx), %rsp`, which enters the thread's own stack, and not behind `mov %r12, %rsp`, which
/// leaves it.
pub(super) fn is_around_vdso_call(before: &[u8], from: &[u8]) -> bool {
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

/// Whether a return to here is one that Go's `runtime.cgocallback` and its like pretend: into
/// `runtime.systemstack_switch`, behind the first eight bytes, for what left the goroutine's stack. That
/// function begins with `push %rbp; mov %rsp, %rbp; ud2; call abort`, with or without a `nop`.
pub(super) fn is_in_systemstack_switch(before: &[u8], from: &[u8]) -> bool {
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

/// How `asmcgocall` finds back to the goroutine's stack, from the instructions behind its call:
///
/// ```text
/// mov $-8, %rcx            position-independent programs
/// mov 48(%rsp), %rdi       the goroutine
/// mov 8(%rdi), %rsi        the end of its stack
/// sub 40(%rsp), %rsi       or: sub (%rsp), %rsi
/// mov %rdi, %fs:-8         or: mov %rdi, %fs:(%rcx)
/// mov %rsi, %rsp
/// mov %eax, 24(%rsp)
/// pop %rbp                 current versions
/// ret
/// ```
pub(super) fn way_back(from: &[u8]) -> Option<WayBack> {
    const STORES: &[u8] = &[0x64, 0x48, 0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff];
    const STORES_BY_RCX: &[u8] = &[0x64, 0x48, 0x89, 0x39];
    let (from, stores) = match behind_thread_offset(from) {
        Some(from) => (from, STORES_BY_RCX),
        None => (from, STORES),
    };
    let [0x48, 0x8b, 0x7c, 0x24, goroutine_at, rest @ ..] = from else {
        return None;
    };
    let rest = rest.strip_prefix(&[0x48, 0x8b, 0x77, 0x08])?;
    let (depth_at, rest) = match rest {
        [0x48, 0x2b, 0x74, 0x24, depth_at, rest @ ..] => (*depth_at, rest),
        [0x48, 0x2b, 0x34, 0x24, rest @ ..] => (0, rest),
        _ => return None,
    };
    let rest = rest.strip_prefix(stores)?;
    let restores_fp = match rest {
        [0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, _, 0xc3, ..] => false,
        [0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, _, 0x5d, 0xc3, ..] => true,
        _ => return None,
    };
    Some(WayBack {
        goroutine_at: *goroutine_at,
        depth_at,
        restores_fp,
    })
}

/// Where in Go's `m` a thread's calls of C are counted, from the instructions of `runtime.cgocall`
/// around its call of `asmcgocall`: `ncgocall`, all that ever began, in eight bytes, and behind it
/// `ncgo`, those that have not ended, in four.
///
/// ```text
/// incq 0x140(%rax)           ncgocall++
/// movb $1, 0x118(%rax)       incgo = true
/// incl 0x148(%rax)           ncgo++
/// call asmcgocall
/// movb $0, 0x118(%rax)
/// decl 0x148(%rax)
/// ```
pub(super) fn call_counters(before: &[u8], from: &[u8]) -> Option<u32> {
    let (in_c, active) = tails(from).find_map(|code| {
        let in_c = store(code, 0)?;
        Some((in_c, operand(code.get(7..)?, DECREMENT)?))
    })?;
    let all = active.checked_sub(8)?;
    let is_told = tails(before).any(|code| store(code, 1) == Some(in_c))
        && tails(before).any(|code| operand(code, INCREMENT) == Some(active))
        && tails(before).any(|code| {
            let code = code.strip_prefix(&[0x48]); // in eight bytes
            code.and_then(|code| operand(code, INCREMENT)) == Some(all)
        });
    is_told.then_some(all)
}

const INCREMENT: [u8; 2] = [0xff, 0x80];

const DECREMENT: [u8; 2] = [0xff, 0x88];

const STORE_BYTE: [u8; 2] = [0xc6, 0x80];

fn tails(code: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..code.len()).filter_map(|at| code.get(at..))
}

/// How far from a register is what an instruction changes, if it is one of these.
fn operand(code: &[u8], [opcode, mode]: [u8; 2]) -> Option<u32> {
    let [first, second, a, b, c, d, ..] = *code else {
        return None;
    };
    let is_it = first == opcode && second & !7 == mode && second & 7 != 4;
    is_it.then_some(u32::from_le_bytes([a, b, c, d]))
}

/// The same for an instruction that stores this byte.
fn store(code: &[u8], byte: u8) -> Option<u32> {
    operand(code, STORE_BYTE).filter(|_| code.get(6) == Some(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(is_after_vdso_call(&call, &from));
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
    }

    /// Of Go 1.19.
    const ASMCGOCALL: [u8; 31] = [
        0x48, 0x8b, 0x7c, 0x24, 0x30, 0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b, 0x74, 0x24, 0x28, 0x64,
        0x48, 0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, 0x18,
        0xc3,
    ];

    /// Of Go 1.27.
    const CURRENT_ASMCGOCALL: [u8; 31] = [
        0x48, 0x8b, 0x7c, 0x24, 0x08, 0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b, 0x34, 0x24, 0x64, 0x48,
        0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, 0x20, 0x5d,
        0xc3,
    ];

    /// Of Go 1.19, position-independent.
    const INDEPENDENT_ASMCGOCALL: [u8; 33] = [
        0x48, 0xc7, 0xc1, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x8b, 0x7c, 0x24, 0x30, 0x48, 0x8b, 0x77,
        0x08, 0x48, 0x2b, 0x74, 0x24, 0x28, 0x64, 0x48, 0x89, 0x39, 0x48, 0x89, 0xf4, 0x89, 0x44,
        0x24, 0x18, 0xc3,
    ];

    #[test]
    fn a_position_independent_program_goes_back_from_c_in_the_same_way() {
        assert_eq!(way_back(&INDEPENDENT_ASMCGOCALL), way_back(&ASMCGOCALL));
        let from = &INDEPENDENT_ASMCGOCALL[..crate::arch::BYTES_FROM];
        assert!(is_after_stack_switch(&[], from));
        let mut from_memory = INDEPENDENT_ASMCGOCALL;
        from_memory[..7].copy_from_slice(&[0x48, 0x8b, 0x0d, 0x55, 0x44, 0x33, 0x02]);
        assert_eq!(way_back(&from_memory), way_back(&ASMCGOCALL));
        from_memory[24] = 0x3c; // not where rcx says
        assert_eq!(way_back(&from_memory), None);
    }

    #[test]
    fn the_way_back_is_what_the_instructions_say() {
        let old = WayBack {
            goroutine_at: 0x30,
            depth_at: 0x28,
            restores_fp: false,
        };
        let current = WayBack {
            goroutine_at: 8,
            depth_at: 0,
            restores_fp: true,
        };
        assert_eq!(way_back(&ASMCGOCALL), Some(old));
        assert_eq!(way_back(&CURRENT_ASMCGOCALL), Some(current));
        for len in 0..ASMCGOCALL.len() {
            assert_eq!(way_back(&ASMCGOCALL[..len]), None);
        }
    }

    /// `cgocall` of Go 1.27, around its call of `asmcgocall`.
    const BEFORE: [u8; 68] = [
        0x48, 0xff, 0x80, 0x40, 0x01, 0x00, 0x00, 0x48, 0x8b, 0x80, 0x50, 0x01, 0x00, 0x00, 0x48,
        0xc7, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe8, 0xf5, 0x17, 0x00, 0x00, 0x48, 0x8b, 0x44, 0x24,
        0x20, 0xc6, 0x80, 0x18, 0x01, 0x00, 0x00, 0x01, 0xff, 0x80, 0x48, 0x01, 0x00, 0x00, 0x48,
        0x8b, 0x44, 0x24, 0x38, 0x48, 0x89, 0x04, 0x24, 0x48, 0x8b, 0x44, 0x24, 0x40, 0x48, 0x89,
        0x44, 0x24, 0x08, 0xe8, 0x6b, 0x66, 0x00, 0x00,
    ];

    const FROM: [u8; 45] = [
        0x45, 0x0f, 0x57, 0xff, 0x64, 0x4c, 0x8b, 0x34, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x8b, 0x44,
        0x24, 0x10, 0x89, 0x44, 0x24, 0x1c, 0x48, 0x8b, 0x44, 0x24, 0x20, 0xc6, 0x80, 0x18, 0x01,
        0x00, 0x00, 0x00, 0xff, 0x88, 0x48, 0x01, 0x00, 0x00, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xe8,
    ];

    #[test]
    fn the_counters_are_those_that_change_on_both_sides_of_the_call() {
        assert_eq!(call_counters(&BEFORE, &FROM), Some(0x140));
        assert_eq!(call_counters(&BEFORE[1..], &FROM), None); // counted in four bytes
        assert_eq!(call_counters(&BEFORE, &FROM[..38]), None);
        let mut other = BEFORE;
        other[40] = 0x4c; // another counter goes up than goes down
        assert_eq!(call_counters(&other, &FROM), None);
        assert_eq!(call_counters(&[], &[]), None);
    }
}
