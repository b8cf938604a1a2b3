//! Where a stack starts: code that returns are led to though nothing called there, or that has left its
//! callers behind. No table tells.

use super::instructions::call_before;

/// Whether a frame that returns to here is the first of its stack. `is_go`: the code is of a Go program.
pub(super) fn is_stack_start(is_go: bool, before: &[u8], from: &[u8]) -> bool {
    is_context_start(from)
        || is_goroutine_start(before, from) && call_before(before).is_none()
        || is_go && (is_after_goroutine_left(before) || is_thread_exit_of_go(from))
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

/// Whether the call before a return address is the one with which Go's `runtime.mcall` leaves a
/// goroutine behind, to find another: `push %rax; mov (%rdx), %r12; call *%r12`.
fn is_after_goroutine_left(before: &[u8]) -> bool {
    before.ends_with(&[0x50, 0x4c, 0x8b, 0x22, 0x41, 0xff, 0xd4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_gos_stacks_start_is_known_by_the_code() {
        let mcall = [0x50, 0x4c, 0x8b, 0x22, 0x41, 0xff, 0xd4];
        let systemstack = [0x48, 0x89, 0xfa, 0x48, 0x8b, 0x3f, 0xff, 0xd7];
        assert!(is_after_goroutine_left(&mcall) && !is_after_goroutine_left(&systemstack));
        let goexit = [0x90, 0xe8, 1, 2, 3, 4, 0x90];
        assert!(is_goroutine_start(&goexit[..1], &goexit[1..]));
        assert!(!is_goroutine_start(&[0xcc], &goexit[1..]));
        let exit = [0xbf, 0x6f, 0, 0, 0, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05, 0xeb];
        assert!(is_thread_exit_of_go(&exit) && !is_thread_exit_of_go(&exit[5..]));
        let starts = |is_go| is_stack_start(is_go, &mcall, &[]);
        assert_eq!((starts(true), starts(false)), (true, false));
    }
}
