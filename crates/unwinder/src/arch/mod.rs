//! What differs by CPU: the one place of this crate that knows which CPUs there are.
//!
//! [`Arch`] names them for callers. [`Cpu`] is what the walk asks of one; all that knows a CPU is in its
//! folder, in files of the same names. A walk is compiled for each CPU, and which one it is, is asked once
//! for each sample. Tables (`tables`) and the way outwards (`walk`) are one code for all.
//!
//! To all CPUs this is common: a word has eight bytes and is little-endian; a stack grows downwards; and a
//! frame pointer, where it is one, leads to a frame record, which is the caller's frame pointer with
//! the return address above.

mod aarch64;
mod x86_64;

use std::ops::Range;

use object::elf::{EM_AARCH64, EM_X86_64, Machine};
use prof_model::AddressSpace;

use crate::cache::AtSp;
use crate::image::Image;
use crate::inference::InferredFunction;
use crate::module::Module;
use crate::tables::rule::{Rule, RuleId, RuleStore, Saved};
use crate::walk::Walk;
use crate::walk::cgo::WayBack;
use crate::walk::step::{Frame, Stop};
use crate::{Regs, StackMemory};

pub(crate) use aarch64::Aarch64;
pub(crate) use x86_64::X86_64;

/// The architecture of the code that is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// Also called amd64.
    X86_64,
    /// Also called arm64; little-endian.
    Aarch64,
}

/// Evaluates an expression in which the given name is the [`Cpu`] of an [`Arch`].
macro_rules! with_cpu {
    ($arch:expr, $cpu:ident => $value:expr) => {
        match $arch {
            $crate::Arch::X86_64 => {
                type $cpu = $crate::arch::X86_64;
                $value
            }
            $crate::Arch::Aarch64 => {
                type $cpu = $crate::arch::Aarch64;
                $value
            }
        }
    };
}
pub(crate) use with_cpu;

impl Arch {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Of an ELF file's machine.
    pub(crate) fn of_machine(machine: Machine) -> Option<Self> {
        match machine {
            EM_X86_64 => Some(Self::X86_64),
            EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// See [`Cpu::keeps_frame_pointer`].
    pub(crate) fn keeps_frame_pointer(self, code: &[u8]) -> bool {
        with_cpu!(self, C => C::keeps_frame_pointer(code))
    }

    /// See [`Cpu::register`].
    #[inline]
    pub(crate) fn register(self, dwarf: u16) -> Option<u8> {
        with_cpu!(self, C => C::register(dwarf))
    }

    /// See [`Cpu::RELATIVE_RELOCATION`].
    pub(crate) fn relative_relocation(self) -> u64 {
        with_cpu!(self, C => C::RELATIVE_RELOCATION)
    }

    /// See [`Cpu::perf_register`].
    pub(crate) fn perf_register(self, bit: usize) -> Option<u8> {
        with_cpu!(self, C => C::perf_register(bit))
    }
}

/// How many bytes before an address are looked at, at most.
pub(crate) const BYTES_BEFORE: usize = 16;
/// How many bytes from an address on.
pub(crate) const BYTES_FROM: usize = 16;
/// How far behind a called address an instruction is believed to belong to the called function.
const MAX_LEAF: u64 = 1 << 16;

/// Where the kernel keeps the registers of what a signal interrupted.
pub(crate) struct SignalFrame {
    /// Bytes from the stack pointer at the trampoline to the first of them.
    pub(crate) registers_at: u64,
    /// Which they are, one word each.
    pub(crate) registers: &'static [u8],
    /// How many bytes the kernel writes for a handler, from the lowest one on, but for the registers of
    /// floating-point numbers and vectors.
    pub(crate) bytes: u64,
}

/// A call instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// To this many bytes from its return address.
    Direct(i32),
    /// Through a register or memory.
    Indirect,
}

/// What the walk asks of a CPU.
///
/// Code is given as two pieces, `before` an address and `from` it on: [`BYTES_BEFORE`] and [`BYTES_FROM`]
/// bytes where nothing else is said, or as many as there are.
pub(crate) trait Cpu: Sized {
    /// Its name.
    const ARCH: Arch;

    /// The number of the relocation that adds to a value by how much a file is loaded elsewhere than its
    /// addresses say.
    const RELATIVE_RELOCATION: u64;

    /// Whether these four bytes are the code by which a function begins to keep a frame pointer.
    fn keeps_frame_pointer(code: &[u8]) -> bool;

    // Registers and addresses: `registers.rs`.

    /// Under which number the register with this DWARF number is kept, if it is.
    fn register(dwarf: u16) -> Option<u8>;

    /// Under which number the register with this number of perf's is kept, if it is.
    fn perf_register(bit: usize) -> Option<u8>;

    /// Whether return addresses may be signed in the bits that an address does not need.
    const SIGNS_RETURN_ADDRESSES: bool;

    /// The bits of a return address on the stack that are the address.
    fn code_bits(regs: &Regs, space: &AddressSpace) -> u64;

    // Calls: `instructions.rs`.

    /// How far below the caller's stack pointer a call leaves the return address. `None` if it is left in
    /// a register: then nothing in the stack shows whether a thread is still in its innermost function.
    const RETURN_SLOT: Option<u64>;

    /// Where the kernel puts its page for probes where nothing else lies there: the last page of a process.
    const PROBE_PAGE: u64;

    /// The call instruction that `before` ends with: what a return address must follow.
    fn call_before(before: &[u8]) -> Option<Call>;

    // Unwind tables.

    /// Whose private instructions they may have.
    const VENDOR: gimli::Vendor;

    /// Where the return address is as long as no row says otherwise.
    const RETURN_ADDRESS: Saved;

    /// Mends the rows of a function, by their offsets in it, where a known one's are wrong.
    fn mend_rows(rows: &mut [(u32, Option<Rule>)]);

    /// How many bytes above the stack pointer the canonical frame address of a Go function is, when it has
    /// moved the stack pointer down by so many, and where from there its return address is.
    fn go_frame(depth: i32) -> Option<(i32, Saved)>;

    /// Where Go keeps its caller's frame pointer, which its tables do not mention, in a frame with this
    /// canonical frame address and these registers. `None` if a register is missing.
    fn go_frame_pointer_slot(cfa: u64, regs: &Regs) -> Option<u64>;

    // Signals: `signal_frame.rs`.

    /// What the kernel puts on the stack for a handler.
    const SIGNAL_FRAME: SignalFrame;

    /// Whether a signal handler that returns here ends up in the interrupted code.
    fn is_signal_return(from: &[u8]) -> bool;

    /// Whether the instruction here is one of a signal trampoline, or the kernel is executing its system
    /// call.
    fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool;

    /// Whether the kernel's signal frame is at the stack pointer although the trampoline's code is not to
    /// be had.
    fn is_unseen_signal_frame<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &Frame,
    ) -> bool;

    // Ends of stacks, and ways between them: `stack_start.rs`, `go_runtime.rs`.

    /// Whether a frame that returns to here is the first of its stack. `is_go`: the code is of a Go
    /// program.
    fn is_stack_start(is_go: bool, before: &[u8], from: &[u8]) -> bool;

    /// Whether Go has called from here on the thread's own stack, and the callers are on the goroutine's.
    fn is_after_stack_switch(before: &[u8], from: &[u8]) -> bool;

    /// Whether Go has called the vDSO from here.
    fn is_after_vdso_call(before: &[u8], from: &[u8]) -> bool;

    /// Whether an instruction at an offset of a Go program is one of those around its calls of the vDSO.
    fn is_around_vdso_call(image: &Image, offset: u64) -> bool;

    /// Whether a return to here is one that Go's runtime pretends.
    fn is_pretended_return(before: &[u8], from: &[u8]) -> bool;

    /// How Go finds back from C to the goroutine, if it returns to here: 64 bytes.
    fn way_back(from: &[u8]) -> Option<WayBack>;

    /// Where in Go's `m` a thread's calls of C are counted, from the code around such a call: 128 bytes and
    /// 64. Eight bytes there count all that ever began, the four behind them those that have not ended.
    fn call_counters(before: &[u8], from: &[u8]) -> Option<u32>;

    // What code says about frames: `prologue_epilogue.rs`, `dataflow`.

    /// How to leave a frame that was interrupted at a virtual address of a module, where its code is more
    /// to be relied on than what its table says, or it has none.
    fn rule_by_code(
        module: &Module,
        vaddr: u64,
        code: [&[u8]; 2],
        table: Option<&Rule>,
    ) -> Option<Rule>;

    /// Where the return address is in code whose frames have one size, of which its bytes up to a place and from
    /// there are given, see [`crate::RuntimeFrame::Fixed`]. `None` if that does not tell.
    fn fixed_frame(
        code: [&[u8]; 2],
        is_return: bool,
        size: u32,
        complete_from: u32,
    ) -> Option<AtSp>;

    /// Where the return address is, if the bytes of code without tables show that there is no frame.
    fn frame_at_sp(is_return: bool, before: &[u8], from: &[u8]) -> Option<AtSp>;

    /// Follows the instructions of a function which no table covers, and which begins where `extent` does or
    /// behind padding there. With `is_whole` it is all of that, else its end is found as well. `None` if there
    /// is nothing to follow.
    fn follow(
        image: &Image,
        extent: Range<u64>,
        is_whole: bool,
        rules: &mut RuleStore,
    ) -> Option<InferredFunction>;

    // Frames without a rule: `without_rule.rs`.

    /// Turns a frame into its caller by the frame pointer, or by what a call leaves where.
    fn leave_without_rule<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &mut Frame,
        sp: u64,
    ) -> Result<(), Stop>;

    /// Makes the stack pointer of a frame certain before it is left by a rule, if it was found without
    /// one.
    fn find_sp<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &mut Frame,
        rule: RuleId,
    ) -> Result<(), Stop>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_keeps_a_frame_pointer_is_known_by_its_beginning() {
        let keeps = |arch: Arch, code: u32| arch.keeps_frame_pointer(&code.to_le_bytes());
        assert!(keeps(Arch::X86_64, 0xe589_4855) && !keeps(Arch::X86_64, 0xfa1e_0ff3));
        assert!(keeps(Arch::Aarch64, 0xa9be_7bfd) && !keeps(Arch::Aarch64, 0xd100_43ff));
        assert!(!Arch::Aarch64.keeps_frame_pointer(&[0xfd, 0x7b]));
    }
}
