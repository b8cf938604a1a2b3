//! All that knows x86-64.

mod dataflow; // what the instructions of a whole function say
mod fixed_frame; // frames of which a runtime tells the size
mod go_runtime; // where Go changes stacks
mod instructions; // single instructions
mod linkage_table; // jumps into other modules
mod prologue_epilogue; // frames that are not set up yet, or no longer
mod registers; // their numbers
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
use crate::tables::rule::{Rule, RuleId, RuleStore, Saved};
use crate::walk::Walk;
use crate::walk::cgo::WayBack;
use crate::walk::step::{Frame, Stop};
use crate::{Regs, StackMemory};

/// A CPU whose calls push the return address.
pub(crate) struct X86_64;

impl Cpu for X86_64 {
    const ARCH: Arch = Arch::X86_64;
    const RELATIVE_RELOCATION: u64 = 8; // R_X86_64_RELATIVE
    const SIGNS_RETURN_ADDRESSES: bool = false;
    const RETURN_SLOT: Option<u64> = Some(8);
    const PROBE_PAGE: u64 = 0x7fff_ffff_e000;
    const VENDOR: gimli::Vendor = gimli::Vendor::Default;
    const RETURN_ADDRESS: Saved = Saved::Same; // nowhere: all rows say it
    const SIGNAL_FRAME: SignalFrame = signal_frame::SIGNAL_FRAME;

    fn keeps_frame_pointer(code: &[u8]) -> bool {
        code == [0x55, 0x48, 0x89, 0xe5] // push %rbp; mov %rsp,%rbp
    }

    #[inline]
    fn register(dwarf: u16) -> Option<u8> {
        registers::FROM_DWARF.get(usize::from(dwarf)).copied()
    }

    fn perf_register(bit: usize) -> Option<u8> {
        *registers::FROM_PERF.get(bit)?
    }

    fn code_bits(_: &Regs, _: &AddressSpace) -> u64 {
        u64::MAX
    }

    fn call_before(before: &[u8]) -> Option<Call> {
        instructions::call_before(before)
    }

    fn mend_rows(_: &mut [(u32, Option<Rule>)]) {}

    fn go_frame(depth: i32) -> Option<(i32, Saved)> {
        let is_possible = depth >= 0 && depth % 8 == 0;
        Some((depth.checked_add(8)?, Saved::At(-8))).filter(|_| is_possible)
    }

    fn go_frame_pointer_slot(cfa: u64, _: &Regs) -> Option<u64> {
        Some(cfa.wrapping_sub(16))
    }

    fn is_signal_return(from: &[u8]) -> bool {
        signal_frame::is_signal_return(from)
    }

    fn is_in_signal_return(before: &[u8], from: &[u8]) -> bool {
        signal_frame::is_in_signal_return(before, from)
    }

    /// The trampoline is code of the program or of its C library, which there is a file of.
    #[inline]
    fn is_unseen_signal_frame<S: StackMemory + ?Sized>(
        _: &mut Walk<'_, Self, S>,
        _: &Frame,
    ) -> bool {
        false
    }

    fn is_stack_start(is_go: bool, before: &[u8], from: &[u8]) -> bool {
        stack_start::is_stack_start(is_go, before, from)
    }

    fn is_after_stack_switch(before: &[u8], from: &[u8]) -> bool {
        go_runtime::is_after_stack_switch(before, from)
    }

    fn is_after_vdso_call(before: &[u8], from: &[u8]) -> bool {
        go_runtime::is_after_vdso_call(before, from)
    }

    fn is_around_vdso_call(image: &Image, offset: u64) -> bool {
        let around = go_runtime::AROUND_VDSO_CALL;
        let (before, from) = image.around(offset, around, around);
        go_runtime::is_around_vdso_call(before, from)
    }

    fn is_pretended_return(before: &[u8], from: &[u8]) -> bool {
        go_runtime::is_in_systemstack_switch(before, from)
    }

    fn way_back(from: &[u8]) -> Option<WayBack> {
        go_runtime::way_back(from)
    }

    fn call_counters(before: &[u8], from: &[u8]) -> Option<u32> {
        go_runtime::call_counters(before, from)
    }

    /// Tables hold from the first instruction to the last.
    fn rule_by_code(_: &Module, _: u64, _: [&[u8]; 2], _: Option<&Rule>) -> Option<Rule> {
        None
    }

    fn fixed_frame(
        code: [&[u8]; 2],
        is_return: bool,
        size: u32,
        complete_from: u32,
    ) -> Option<AtSp> {
        fixed_frame::fixed_frame(code, is_return, size, complete_from)
    }

    fn frame_at_sp(is_return: bool, before: &[u8], from: &[u8]) -> Option<AtSp> {
        match is_return {
            true => instructions::call_before(before)
                .and_then(|_| prologue_epilogue::frame_before_return(from)),
            false => prologue_epilogue::frame_at_sp(before, from),
        }
    }

    fn follow(
        image: &Image,
        extent: Range<u64>,
        is_whole: bool,
        rules: &mut RuleStore,
    ) -> Option<InferredFunction> {
        dataflow::follow(image, extent, is_whole, rules)
    }

    fn leave_without_rule<S: StackMemory + ?Sized>(
        walk: &mut Walk<'_, Self, S>,
        frame: &mut Frame,
        sp: u64,
    ) -> Result<(), Stop> {
        walk.leave_leaf_or_follow(frame, sp)
    }

    /// It always is: the return address is right below it.
    #[inline]
    fn find_sp<S: StackMemory + ?Sized>(
        _: &mut Walk<'_, Self, S>,
        _: &mut Frame,
        _: RuleId,
    ) -> Result<(), Stop> {
        Ok(())
    }
}
