//! Leaving frames that no rule describes. A call pushes the return address, so a function that is seen to
//! have no frame has it at the stack pointer. All others are left by the frame pointer.

use prof_model::VirtAddr;

use super::X86_64;
use super::instructions::is_direct_jump;
use super::linkage_table::jumps_on;
use super::prologue_epilogue::begins_with_frame;
use crate::StackMemory;
use crate::arch::{BYTES_FROM, Call, MAX_LEAF};
use crate::regs::SP;
use crate::walk::Walk;
use crate::walk::frame_pointer::enter;
use crate::walk::step::{Found, Frame, Stop, read};

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

impl<S: StackMemory + ?Sized> Walk<'_, X86_64, S> {
    /// By the frame pointer, or by where the call has put the return address if the interrupted function
    /// is seen to have no frame.
    pub(super) fn leave_leaf_or_follow(&mut self, frame: &mut Frame, sp: u64) -> Result<(), Stop> {
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

    fn leave_leaf(&mut self, frame: &mut Frame, sp: u64) -> Result<(), Stop> {
        let return_address = read(&self.memory, sp)?;
        let mut regs = frame.regs;
        regs.put(SP, Some(sp.wrapping_add(8)));
        enter(frame, regs, return_address, Found::AtSp)
    }

    /// Whether the word at the stack pointer is the return address of the interrupted function.
    fn leaf_evidence(&mut self, frame: &Frame, sp: u64) -> Evidence {
        let Some(return_address) = self.memory.read_u64(VirtAddr(sp)) else {
            return Evidence::None;
        };
        if self.check_return(return_address).is_err() {
            return Evidence::None;
        }
        let target = match self.call_before(return_address) {
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
        } else if jumps_on(callee) || is_direct_jump(callee) {
            Evidence::Possible
        } else {
            Evidence::None
        }
    }
}
