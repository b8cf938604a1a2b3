//! Where a stack starts: code that returns are led to though nothing called there, or that has left its
//! callers behind. No table tells.

use super::instructions::{NOP, at, last};

/// Whether a frame that returns to here is the first of its stack. `is_go`: the code is of a Go program.
pub(super) fn is_stack_start(is_go: bool, before: &[u8], from: &[u8]) -> bool {
    is_context_start(from) || is_go && is_stack_start_of_go(before, from)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    #[test]
    fn where_gos_and_glibcs_stacks_start_is_known_by_the_code() {
        let starts = |is_go, before: &[u32], from: &[u32]| {
            is_stack_start(is_go, &bytes(before), &bytes(from))
        };
        let bl = 0x9400_0627;
        assert!(starts(true, &[0xaa00_03e0], &[bl]));
        assert!(!starts(false, &[0xaa00_03e0], &[bl]));
        let mcall = [0xf940_0344, 0xd63f_0080];
        assert!(starts(true, &mcall, &[]));
        let thread_end = [0x5280_0de0, 0xd280_0ba8];
        assert!(starts(true, &[], &thread_end));
        let context = [0xaa13_03e0, 0xb5ff_f380, 0x17ff_0000];
        assert!(starts(false, &[], &context));
        let behind_nop = [&[NOP], &context[..]].concat();
        assert!(starts(false, &[], &behind_nop));
        assert!(!starts(false, &[], &context[..2]));
    }
}
