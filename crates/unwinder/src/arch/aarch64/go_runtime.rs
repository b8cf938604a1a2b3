//! Places in Go's runtime where it changes stacks, known by their instructions. Its calls of the vDSO and
//! the way back from C code are not known here.

use super::instructions::last;

/// Whether the call before a return address is one with which Go goes on, on the thread's own stack,
/// with work for the goroutine whose stack it has left.
pub(super) fn is_after_stack_switch(before: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    #[test]
    fn gos_switches_of_stacks_are_known_by_the_call_before() {
        let systemstack = bytes(&[0xf940_0343, 0xd63f_0060]);
        let mcall = bytes(&[0xf940_0344, 0xd63f_0080]);
        assert!(is_after_stack_switch(&systemstack));
        assert!(!is_after_stack_switch(&mcall));
    }
}
