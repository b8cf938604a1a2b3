//! Leaving frames that no table describes: by a return address at the stack pointer that the code has
//! shown, or by the frame pointer. Every address found so is checked against the code before it.
//!
//! What else a CPU's calls leave behind is in `arch`, in its `without_rule.rs`.

use prof_model::{ChainEnd, VirtAddr};

use crate::arch::Cpu;
use crate::cache::AtSp;
use crate::regs::{FP, IP, KEPT_BY_FRAME_POINTER, SP};
use crate::walk::Walk;
use crate::walk::step::{Found, Frame, STACK_ALIGNMENT, Stop, read};
use crate::{Regs, StackMemory};

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// The instruction bytes said where the return address is. Leaves `frame` alone if it is not one.
    pub(crate) fn leave_at_sp(&mut self, frame: &mut Frame, at: AtSp) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        let slot = sp.wrapping_add(at.return_address.into());
        let return_address = read(&self.memory, slot)?;
        self.check_return(return_address)?;
        let mut regs = frame.regs;
        let mut found = Found::AtSp;
        if let Some(saved) = at.saved_fp {
            regs.put(FP, Some(read(&self.memory, sp.wrapping_add(saved.into()))?));
            found = Found::ByFramePointer;
        }
        regs.put(SP, Some(slot.wrapping_add(8)));
        enter(frame, regs, return_address, found)
    }

    /// Without any rule: by the frame pointer, or by what the CPU's calls leave.
    pub(crate) fn leave_by_frame_pointer(&mut self, frame: &mut Frame) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        C::leave_without_rule(self, frame, sp)
    }

    /// A function of Go's runtime that asks the vDSO for the time. It has set its stack pointer aside;
    /// the frame pointer leads to its frame if that is on the same stack.
    pub(crate) fn leave_vdso_call(&mut self, frame: &mut Frame) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        let fp = frame.regs.fp().ok_or(ChainEnd::NoRule)?;
        match self.memory.copy.read_u64(VirtAddr(fp.wrapping_add(8))) {
            Some(_) => self.follow_frame_pointer(frame, sp),
            None => Err(Stop::Unreadable(0)),
        }
    }

    /// To the frame record that the frame pointer leads to, if it is one.
    pub(crate) fn follow_frame_pointer(&mut self, frame: &mut Frame, sp: u64) -> Result<(), Stop> {
        let fp = frame.regs.fp().ok_or(ChainEnd::NoRule)?;
        let end_of_chain = end_of_frame_pointers(frame.found);
        if fp == 0 {
            return Err(end_of_chain.into());
        }
        if !fp.is_multiple_of(STACK_ALIGNMENT) {
            return Err(ChainEnd::NoRule.into());
        }
        // Below the stack pointer it may still be a frame, on another stack: Go runs parts of its
        // runtime on one of its own. Only the kernel's walk can have followed it there.
        let return_address = match (fp >= sp).then(|| read(&self.memory, fp.wrapping_add(8))) {
            Some(result) => result? & self.code_bits,
            None => return Err(Stop::Unreadable(fp)),
        };
        if return_address == 0 {
            return Err(end_of_chain.into());
        }
        self.check_return(return_address)?;
        let mut regs = frame.regs;
        regs.put(FP, Some(read(&self.memory, fp)?));
        regs.put(SP, Some(fp.wrapping_add(16))); // or more: a record may lie anywhere in its frame
        enter(frame, regs, return_address, Found::ByFramePointer)
    }

    /// By a frame record below which the caller's stack pointer is kept.
    pub(crate) fn leave_telling_record(&mut self, frame: &mut Frame) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        let fp = frame.regs.fp().ok_or(ChainEnd::NoRule)?;
        self.follow_frame_pointer(frame, sp)?;
        let told = read(&self.memory, fp.wrapping_sub(8))?;
        if told.is_multiple_of(STACK_ALIGNMENT) && Some(told) >= frame.regs.sp() {
            frame.regs.put(SP, Some(told));
        }
        Ok(())
    }

    /// A word found without a rule is a return address only if code can return to it.
    pub(crate) fn check_return(&mut self, return_address: u64) -> Result<(), ChainEnd> {
        match self.known(return_address, true) {
            Ok(known) if known.is_returned_to => Ok(()),
            _ => Err(ChainEnd::NoRule),
        }
    }
}

/// What a frame pointer of 0 means, or a return address of 0 above it. What starts programs and threads
/// sets them so; but code that uses the register for something else, or leaves it alone, may have such a
/// value there, too.
fn end_of_frame_pointers(found: Found) -> ChainEnd {
    match found {
        Found::ByFramePointer => ChainEnd::Root,
        Found::ByRule | Found::Whole | Found::AtSp => ChainEnd::NoRule,
    }
}

/// Makes the caller of a frame that no table describes: what else it saved is not known.
pub(crate) fn enter(
    frame: &mut Frame,
    mut regs: Regs,
    return_address: u64,
    found: Found,
) -> Result<(), Stop> {
    if regs.sp() <= frame.regs.sp() {
        return Err(ChainEnd::BadFrame.into()); // wrapped around
    }
    regs.forget_all_but(KEPT_BY_FRAME_POINTER);
    regs.put(IP, Some(return_address));
    *frame = Frame {
        regs,
        pc: return_address,
        is_interrupted: false,
        found,
    };
    Ok(())
}
