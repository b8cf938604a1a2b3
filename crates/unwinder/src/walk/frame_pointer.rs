//! Leaving frames that no table describes: by the frame pointer, or on x86-64 by a return address at
//! the stack pointer. Every address found so is checked against the code before it.

use prof_model::{ChainEnd, VirtAddr};

use crate::arch::x86_64::{AtSp, Call, begins_with_frame, call_before, jumps_on};
use crate::arch::{BYTES_BEFORE, BYTES_FROM, FP, IP, KEPT_BY_FRAME_POINTER, SP, STACK_ALIGNMENT};
use crate::walk::Walk;
use crate::walk::step::{Found, Frame, Stop, read};
use crate::{Arch, Regs, StackMemory};

/// How far behind a called address an instruction is believed to belong to the called function.
pub(crate) const MAX_LEAF: u64 = 1 << 16;

/// What the bytes say about a return address that was found where only a leaf function has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// It belongs to a call of the function that was interrupted.
    Proven,
    /// It belongs to a call whose target the bytes do not show.
    Possible,
    /// It belongs to another call, or to none.
    None,
}

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    /// The instruction bytes said where the return address is. Leaves `frame` alone if it is not one.
    pub(crate) fn leave_at_sp(&mut self, frame: &mut Frame, at: AtSp) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        let slot = sp.wrapping_add(at.return_address.into());
        let return_address = read(&self.memory, slot)?;
        self.check_return(return_address)?;
        let mut regs = frame.regs;
        let mut found = Found::AtSp;
        if let Some(saved) = at.saved_bp {
            regs.put(FP, Some(read(&self.memory, sp.wrapping_add(saved.into()))?));
            found = Found::ByFramePointer;
        }
        regs.put(SP, Some(slot.wrapping_add(8)));
        enter(frame, regs, return_address, found)
    }

    /// Without any rule: the frame pointer, or where the call has put the return address if the
    /// interrupted function is seen to have no frame.
    pub(crate) fn leave_by_frame_pointer(&mut self, frame: &mut Frame) -> Result<(), Stop> {
        let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
        if self.arch == Arch::Aarch64 {
            return self.leave_on_aarch64(frame, sp);
        }
        let leaf = if frame.is_interrupted {
            self.leaf_evidence(frame, sp)
        } else {
            Evidence::None
        };
        if leaf == Evidence::Proven {
            return self.leave_leaf(frame, sp);
        }
        match self.follow_frame_pointer(frame, sp) {
            Err(Stop::End(_)) if leaf == Evidence::Possible => self.leave_leaf(frame, sp),
            result => result,
        }
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
        regs.put(SP, Some(fp.wrapping_add(16))); // on aarch64: at least
        enter(frame, regs, return_address, Found::ByFramePointer)
    }

    fn leave_leaf(&mut self, frame: &mut Frame, sp: u64) -> Result<(), Stop> {
        let return_address = read(&self.memory, sp)?;
        let mut regs = frame.regs;
        regs.put(SP, Some(sp.wrapping_add(8)));
        enter(frame, regs, return_address, Found::AtSp)
    }

    /// A word found without a rule is a return address only if code can return to it.
    pub(crate) fn check_return(&mut self, return_address: u64) -> Result<(), ChainEnd> {
        match self.known(return_address, true) {
            Ok(known) if known.is_returned_to => Ok(()),
            _ => Err(ChainEnd::NoRule),
        }
    }

    /// Whether the word at the stack pointer is the return address of the interrupted function.
    fn leaf_evidence(&mut self, frame: &Frame, sp: u64) -> Evidence {
        let Some(return_address) = self.memory.read_u64(VirtAddr(sp)) else {
            return Evidence::None;
        };
        if self.check_return(return_address).is_err() {
            return Evidence::None;
        }
        let call = self
            .code(return_address.wrapping_sub(1))
            .and_then(|(module, offset)| {
                let (before, _) = module.image.around(offset.checked_add(1)?, BYTES_BEFORE, 0);
                call_before(before)
            });
        let target = match call {
            Some(Call::Direct(distance)) => return_address.wrapping_add_signed(distance.into()),
            Some(Call::Indirect) => return Evidence::Possible,
            None => return Evidence::None,
        };
        let Some((module, offset)) = self.code(target) else {
            return Evidence::None;
        };
        let (_, callee) = module.image.around(offset, 0, BYTES_FROM);
        if target <= frame.pc && frame.pc - target < MAX_LEAF {
            match begins_with_frame(callee) {
                true => Evidence::None,
                false => Evidence::Proven,
            }
        } else if jumps_on(callee) || callee.first() == Some(&0xe9) {
            Evidence::Possible
        } else {
            Evidence::None
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
fn enter(frame: &mut Frame, mut regs: Regs, return_address: u64, found: Found) -> Result<(), Stop> {
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
