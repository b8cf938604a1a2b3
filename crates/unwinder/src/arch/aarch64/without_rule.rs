//! Leaving frames that no rule describes. A call puts the return address into the link
//! register; a function that calls others stores it, with the caller's frame pointer, in a frame
//! record, to which its own frame pointer leads. Where in its frame that is only tables tell: what is
//! found so has no certain stack pointer.

use std::ops::Range;

use prof_model::{ChainEnd, VirtAddr};

use super::Aarch64;
use super::prologue_epilogue::points_to_record;
use super::registers::LR;
use crate::StackMemory;
use crate::arch::{Call, MAX_LEAF};
use crate::regs::{FP, FP_INDEX, IP, KEPT_BY_FRAME_POINTER, SP};
use crate::tables::rule::{Cfa, RuleId, Saved};
use crate::walk::Walk;
use crate::walk::step::{Found, Frame, Stop, read};

impl<S: StackMemory + ?Sized> Walk<'_, Aarch64, S> {
    /// By the link register as long as the interrupted function has called nothing
    /// and has no frame record, else by the frame pointer.
    pub(super) fn leave_by_link_or_follow(
        &mut self,
        frame: &mut Frame,
        sp: u64,
    ) -> Result<(), Stop> {
        if let Some(return_address) = self.link(frame) {
            let record = frame.regs.fp().and_then(|fp| fp.checked_add(8));
            let recorded = record.and_then(|slot| self.memory.read_u64(VirtAddr(slot)));
            if recorded.map(|recorded| recorded & self.code_bits) != Some(return_address) {
                frame.regs.forget_all_but(KEPT_BY_FRAME_POINTER);
                frame.regs.put(IP, Some(return_address));
                frame.pc = return_address;
                frame.is_interrupted = false;
                frame.found = Found::AtSp;
                return Ok(());
            }
        }
        if !self.keeps_frame_pointer(frame) {
            return Err(ChainEnd::NoRule.into());
        }
        self.follow_frame_pointer(frame, sp)
    }

    /// The return address in the link register, if it is the interrupted function's own: what the
    /// function has called returns into it, so that the register then leads into itself.
    fn link(&mut self, frame: &Frame) -> Option<u64> {
        let link = frame.regs.kept(LR).filter(|_| frame.is_interrupted)? & self.code_bits;
        self.check_return(link).ok()?;
        let call = self.call_before(link);
        let is_into_itself = match (self.function_around(frame.pc), call) {
            (Some(function), _) => function.contains(&link.wrapping_sub(1)),
            (None, Some(Call::Direct(distance))) => {
                let start = link.wrapping_add_signed(distance.into());
                let near = start..start.saturating_add(MAX_LEAF);
                !near.contains(&frame.pc) || near.contains(&link)
            }
            (None, _) => true, // for all that is known
        };
        (!is_into_itself).then_some(link)
    }

    /// Whether the function around an address lets the frame pointer lead to its frame record before
    /// it comes there. If it does not, that leads from its caller's frame on.
    fn keeps_frame_pointer(&mut self, frame: &Frame) -> bool {
        let place = frame.pc.wrapping_sub(u64::from(!frame.is_interrupted));
        let Some(function) = self.function_around(place) else {
            return true; // for all that is known
        };
        let before = usize::try_from(frame.pc - function.start).unwrap_or(usize::MAX);
        self.code(function.start).is_none_or(|(module, offset)| {
            let (_, code) = module.image.around(offset, 0, before);
            points_to_record(code)
        })
    }

    /// The addresses of the function around one, as far as symbols tell.
    fn function_around(&mut self, pc: u64) -> Option<Range<u64>> {
        let (module, offset) = self.code(pc)?;
        let vaddr = module.image.vaddr(offset)?;
        let function = module.function_around(vaddr)?;
        let start = pc.checked_sub(vaddr - function.start)?;
        Some(start..start.checked_add(function.end - function.start)?)
    }

    /// A frame that was found without a table has no certain stack pointer. Where its own table counts
    /// from there, what it says about the frame record tells where that is: the frame pointer leads to
    /// the record.
    #[cold]
    pub(super) fn find_sp_by_record(
        &mut self,
        frame: &mut Frame,
        rule: RuleId,
    ) -> Result<(), Stop> {
        let rule = self.unwinder.rules.rule(rule);
        let offset = match rule.cfa {
            _ if rule.is_outermost() => return Ok(()),
            Cfa::Offset { register: FP, .. } => return Ok(()),
            Cfa::Offset {
                register: SP,
                offset,
            } => i64::from(offset),
            _ => return Err(ChainEnd::NoRule.into()),
        };
        let fp = frame.regs.fp().ok_or(ChainEnd::NoRule)?;
        let sp = match (rule.callee_saved[FP_INDEX], rule.return_address) {
            (Saved::At(record), Saved::At(link)) if link == record.wrapping_add(8) => {
                fp.wrapping_add_signed(-i64::from(record) - offset)
            }
            (Saved::GoFramePointer, Saved::At(_)) => fp.wrapping_add(8),
            _ => return Err(ChainEnd::NoRule.into()),
        };
        if Some(sp) < frame.regs.sp() {
            return Err(ChainEnd::NoRule.into());
        }
        let return_address = read(&self.memory, fp.wrapping_add(8))? & self.code_bits;
        self.check_return(return_address)?;
        frame.regs.put(SP, Some(sp));
        Ok(())
    }
}
