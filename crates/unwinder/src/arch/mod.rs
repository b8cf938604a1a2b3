//! What differs by architecture, and the numbers under which registers are kept.

pub(crate) mod aarch64;
pub(crate) mod x86_64;

use object::elf::{EM_AARCH64, EM_X86_64, Machine};

use crate::cache::Action;
use crate::tables::rule::Saved;

/// The architecture of the code that is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// Also called amd64.
    X86_64,
    /// Also called arm64; little-endian.
    Aarch64,
}

/// How many registers are kept. Their numbers are those that DWARF gives them on aarch64; those of
/// x86-64 have the numbers of the ones with the same purpose. So the way through frames with tables
/// is one for all.
pub(crate) const REGISTERS: usize = 33;
/// The frame pointer: x29, rbp.
pub(crate) const FP: u8 = 29;
/// Where a call puts the return address on aarch64: x30.
pub(crate) const LR: u8 = 30;
/// The stack pointer.
pub(crate) const SP: u8 = 31;
/// The instruction pointer.
pub(crate) const IP: u8 = 32;

/// The first of the registers that a function hands back as it got them; the last one is [`FP`].
pub(crate) const FIRST_SAVED: u8 = 19;
/// How many these are.
pub(crate) const SAVED: usize = 11;
/// Where among them the frame pointer is.
pub(crate) const FP_INDEX: usize = (FP - FIRST_SAVED) as usize;
/// A bit for each of them, and for the stack and instruction pointer.
pub(crate) const KEPT_OVER_CALLS: u64 = ((1 << SAVED) - 1) << FIRST_SAVED | KEPT_BY_FRAME_POINTER;
/// What a step along the frame pointers knows of the caller.
pub(crate) const KEPT_BY_FRAME_POINTER: u64 = 1 << FP | 1 << SP | 1 << IP;

/// Every canonical frame address and frame pointer is a multiple of this.
pub(crate) const STACK_ALIGNMENT: u64 = 8;

/// How many bytes before an address are looked at, at most.
pub(crate) const BYTES_BEFORE: usize = 16;
/// How many bytes from an address on.
pub(crate) const BYTES_FROM: usize = 16;

/// Where the kernel keeps the registers of what a signal interrupted.
pub(crate) struct SignalFrame {
    /// Bytes from the stack pointer at the trampoline to the first of them.
    pub(crate) registers_at: u64,
    /// Which they are, one word each.
    pub(crate) registers: &'static [u8],
}

impl Arch {
    /// Of an ELF file's machine.
    pub(crate) fn of_machine(machine: Machine) -> Option<Self> {
        match machine {
            EM_X86_64 => Some(Self::X86_64),
            EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Under which number the register with this DWARF number is kept, if it is.
    #[inline]
    pub(crate) fn register(self, dwarf: u16) -> Option<u8> {
        match self {
            Self::X86_64 => x86_64::FROM_DWARF.get(usize::from(dwarf)).copied(),
            Self::Aarch64 => (usize::from(dwarf) < REGISTERS).then_some(dwarf as u8),
        }
    }

    /// Under which number the register with this number of perf's is kept, if it is.
    pub(crate) fn perf_register(self, bit: usize) -> Option<u8> {
        match self {
            Self::X86_64 => *x86_64::FROM_PERF.get(bit)?,
            Self::Aarch64 => (bit < REGISTERS).then_some(bit as u8), // perf's are DWARF's
        }
    }

    /// Where the return address is as long as no table row says otherwise.
    pub(crate) fn return_address(self) -> Saved {
        match self {
            Self::X86_64 => Saved::Same, // nowhere: all rows say it
            Self::Aarch64 => Saved::Register(LR),
        }
    }

    /// Whose private instructions unwind tables may have.
    pub(crate) fn vendor(self) -> gimli::Vendor {
        match self {
            Self::X86_64 => gimli::Vendor::Default,
            Self::Aarch64 => gimli::Vendor::AArch64,
        }
    }

    pub(crate) fn signal_frame(self) -> &'static SignalFrame {
        match self {
            Self::X86_64 => &x86_64::SIGNAL_FRAME,
            Self::Aarch64 => &aarch64::SIGNAL_FRAME,
        }
    }

    /// Whether `before` ends with a call instruction: what a return address must follow.
    pub(crate) fn is_after_call(self, before: &[u8]) -> bool {
        match self {
            Self::X86_64 => x86_64::call_before(before).is_some(),
            Self::Aarch64 => aarch64::call_before(before).is_some(),
        }
    }

    /// Whether a return to here is one that Go's runtime pretends.
    pub(crate) fn is_pretended_return(self, before: &[u8], from: &[u8]) -> bool {
        match self {
            Self::X86_64 => x86_64::is_in_systemstack_switch(before, from),
            Self::Aarch64 => false,
        }
    }

    /// What the instruction bytes alone say, whatever the tables do.
    pub(crate) fn special_action(
        self,
        is_return: bool,
        is_go: bool,
        before: &[u8],
        from: &[u8],
    ) -> Option<Action> {
        match self {
            Self::X86_64 => x86_64::special_action(is_return, is_go, before, from),
            Self::Aarch64 => aarch64::special_action(is_return, is_go, before, from),
        }
    }
}
