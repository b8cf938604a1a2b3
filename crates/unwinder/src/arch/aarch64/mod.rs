//! All that knows aarch64.

mod dataflow; // what the instructions on the way from the entry or to the return say
mod fixed_frame; // frames of which a runtime tells the size
mod go_runtime; // where Go changes stacks
mod instructions; // single instructions
mod linkage_table; // the way to the dynamic linker
mod prologue_epilogue; // frames that are not set up yet, or no longer
mod registers; // their numbers; the bits of an address
mod signal_frame; // what the kernel puts on the stack for a handler
mod stack_start; // where a stack starts
mod without_rule; // leaves a frame that no rule describes

use std::ops::Range;

use prof_model::AddressSpace;

use super::{Arch, Call, Cpu, SignalFrame};
use crate::cache::AtSp;
use crate::image::Image;
use crate::inference::InferredFunction;
use crate::module::Module;
use crate::regs::REGISTERS;
use crate::tables::rule::{Rule, RuleId, RuleStore, Saved};
use crate::walk::Walk;
use crate::walk::cgo::WayBack;
use crate::walk::step::{Found, Frame, Stop};
use crate::{Regs, StackMemory};

/// A CPU whose calls put the return address into a register.
pub(crate) struct Aarch64;

impl Cpu for Aarch64 {
    const ARCH: Arch = Arch::Aarch64;
    const RELATIVE_RELOCATION: u64 = 1027; // R_AARCH64_RELATIVE
    const SIGNS_RETURN_ADDRESSES: bool = true;
    const RETURN_SLOT: Option<u64> = None;
    const PROBE_PAGE: u64 = 0xffff_ffff_f000;
    const VENDOR: gimli::Vendor = gimli::Vendor::AArch64;
    const RETURN_ADDRESS: Saved = Saved::Register(registers::LR);
    const SIGNAL_FRAME: SignalFrame = signal_frame::SIGNAL_FRAME;

    fn keeps_frame_pointer(code: &[u8]) -> bool {
        let word = code.try_into().map(u32::from_le_bytes);
        word.is_ok_and(|word| word & 0xffc0_7fff == 0xa980_7bfd) // stp x29, x30, [sp, #-N]!
    }

    #[inline]
    fn register(dwarf: u16) -> Option<u8> {
        (usize::from(dwarf) < REGISTERS).then_some(dwarf as u8)
    }

    /// perf's numbers are DWARF's.
    fn perf_register(bit: usize) -> Option<u8> {
        (bit < REGISTERS).then_some(bit as u8)
    }

    fn code_bits(regs: &Regs, space: &AddressSpace) -> u64 {
        registers::code_bits(regs, space)
    }

    fn call_before(before: &[u8]) -> Option<Call> {
        instructions::call_before(before)
    }

    fn mend_rows(rows: &mut [(u32, Option<Rule>)]) {
        linkage_table::count_pushed_words(rows);
    }

    /// A frame begins with the return address.
    fn go_frame(depth: i32) -> Option<(i32, Saved)> {
        match depth {
            0 => Some((0, Self::RETURN_ADDRESS)),
            1.. if depth % 16 == 0 => Some((depth, Saved::At(-depth))),
            _ => None,
        }
    }

    fn go_frame_pointer_slot(_: u64, regs: &Regs) -> Option<u64> {
        Some(regs.sp()?.wrapping_sub(8))
    }

    fn is_signal_return(from: &[u8]) -> bool {
        signal_frame::is_signal_return(from)
    }

    fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool {
        signal_frame::is_in_signal_return(before, from)
    }

    fn is_unseen_signal_frame<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &Frame,
    ) -> bool {
        walk.has_signal_frame_without_code(frame)
    }

    fn is_stack_start(is_go: bool, before: &[u8], from: &[u8]) -> bool {
        stack_start::is_stack_start(is_go, before, from)
    }

    fn is_after_stack_switch(before: &[u8], _: &[u8]) -> bool {
        go_runtime::is_after_stack_switch(before)
    }

    fn is_after_vdso_call(_: &[u8], _: &[u8]) -> bool {
        false
    }

    fn is_around_vdso_call(_: &Image, _: u64) -> bool {
        false
    }

    fn is_pretended_return(_: &[u8], _: &[u8]) -> bool {
        false
    }

    fn way_back(_: &[u8]) -> Option<WayBack> {
        None
    }

    fn call_counters(_: &[u8], _: &[u8]) -> Option<u32> {
        None
    }

    fn rule_by_code(
        module: &Module,
        vaddr: u64,
        code: [&[u8]; 2],
        table: Option<&Rule>,
    ) -> Option<Rule> {
        prologue_epilogue::rule_by_code(module, vaddr, code, table)
    }

    fn fixed_frame(_: [&[u8]; 2], _: bool, _: u32, _: u32) -> Option<AtSp> {
        fixed_frame::fixed_frame()
    }

    /// The return address of a function without a frame is in a register.
    fn frame_at_sp(_: bool, _: &[u8], _: &[u8]) -> Option<AtSp> {
        None
    }

    /// Whole functions are not followed: nearly all of them have tables, or a frame record.
    fn follow(_: &Image, _: Range<u64>, _: bool, _: &mut RuleStore) -> Option<InferredFunction> {
        None
    }

    fn leave_without_rule<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &mut Frame,
        sp: u64,
    ) -> Result<(), Stop> {
        walk.leave_by_link_or_follow(frame, sp)
    }

    #[inline]
    fn find_sp<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &mut Frame,
        rule: RuleId,
    ) -> Result<(), Stop> {
        match frame.found {
            Found::ByRule | Found::Whole => Ok(()),
            Found::ByFramePointer | Found::AtSp => walk.find_sp_by_record(frame, rule),
        }
    }
}

/// The bytes of instructions.
#[cfg(test)]
fn bytes(code: &[u32]) -> Vec<u8> {
    code.iter().flat_map(|code| code.to_le_bytes()).collect()
}
