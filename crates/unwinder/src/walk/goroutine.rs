//! Where Go's runtime, on the thread's own stack, has left the goroutine for good.

use prof_model::VirtAddr;

use crate::StackMemory;
use crate::arch::Cpu;
use crate::walk::{Chain, Walk};

/// What `runtime.newstack` calls, directly or inlined, when it does not get the goroutine a larger stack but
/// puts it aside.
const PUTS_ASIDE: [&[u8]; 3] = [
    b"runtime.gopreempt_m",
    b"runtime.goschedImpl",
    b"runtime.preemptPark",
];

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// Whether the callchain, which ends where the thread has left the goroutine's stack, is of the scheduler:
    /// the goroutine was to be preempted when it looked whether its stack is large enough, so that
    /// `runtime.morestack` called `runtime.newstack` for that. It may run elsewhere by now, and what this
    /// thread does has nothing to do with it.
    #[cold]
    pub(super) fn leaves_goroutine(&mut self, chain: &Chain<'_>) -> bool {
        let [.., callee, new_stack, _] = *chain.since(0) else {
            return false;
        };
        self.is_in(new_stack, &[b"runtime.newstack"]) && self.is_in(callee, &PUTS_ASIDE)
    }

    /// Whether an address lies in a function of Go with one of these names.
    fn is_in(&mut self, addr: VirtAddr, names: &[&[u8]]) -> bool {
        let name = self
            .code(addr.0)
            .and_then(|(module, offset)| module.go_function_name(offset));
        name.is_some_and(|name| names.contains(&name))
    }
}
