//! Leaving frames of aarch64 that no table describes. A call puts the return address into the link
//! register; a function that calls others stores it, with the caller's frame pointer, in a frame
//! record, to which its own frame pointer leads. Where in its frame that is only tables tell: what is
//! found so has no certain stack pointer.

use std::ops::Range;

use prof_model::{ChainEnd, VirtAddr};

use crate::arch::aarch64::prologue_epilogue::points_to_record;
use crate::arch::aarch64::{Call, SIGNAL_FP_AND_LR_AT, SIGNAL_RECORD_AT, call_before};
use crate::arch::{BYTES_BEFORE, FP, FP_INDEX, IP, KEPT_BY_FRAME_POINTER, LR, SP};
use crate::tables::rule::{Cfa, RuleId, Saved};
use crate::walk::Walk;
use crate::walk::frame_pointer::MAX_LEAF;
use crate::walk::step::{Found, Frame, Stop, read};
use crate::{Arch, StackMemory};

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    /// Without any rule: by the link register as long as the interrupted function has called nothing
    /// and has no frame record, else by the frame pointer.
    pub(crate) fn leave_on_aarch64(&mut self, frame: &mut Frame, sp: u64) -> Result<(), Stop> {
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
        let call = self
            .code(link.wrapping_sub(1))
            .and_then(|(module, offset)| {
                let (before, _) = module.image.around(offset.checked_add(1)?, BYTES_BEFORE, 0);
                call_before(before)
            });
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

    /// Whether the kernel's signal frame is at the stack pointer although the trampoline's code is
    /// not to be had: it is in the vDSO, of which recordings from elsewhere have no file. The kernel
    /// puts a frame record above, which has what the interrupted code had in its registers.
    pub(crate) fn is_unseen_signal_frame(&mut self, frame: &Frame) -> bool {
        if self.arch != Arch::Aarch64 || self.code(frame.pc).is_some() {
            return false;
        }
        let (Some(record), Some(sp)) = (frame.regs.fp(), frame.regs.sp()) else {
            return false;
        };
        let word = |addr| self.memory.read_u64(VirtAddr(addr));
        let is_same = |slot: u64, at: u64| {
            let saved = word(sp.wrapping_add(slot));
            saved.is_some() && saved == word(record.wrapping_add(at))
        };
        let [fp, lr] = SIGNAL_FP_AND_LR_AT;
        SIGNAL_RECORD_AT.contains(&record.wrapping_sub(sp)) && is_same(fp, 0) && is_same(lr, 8)
    }

    /// A frame that was found without a table has no certain stack pointer. Where its own table counts
    /// from there, what it says about the frame record tells where that is: the frame pointer leads to
    /// the record.
    #[inline]
    pub(crate) fn find_sp(&mut self, frame: &mut Frame, rule: RuleId) -> Result<(), Stop> {
        match frame.found {
            Found::ByRule | Found::Whole => Ok(()),
            _ if self.arch == Arch::X86_64 => Ok(()),
            _ => self.find_sp_by_record(frame, rule),
        }
    }

    #[cold]
    fn find_sp_by_record(&mut self, frame: &mut Frame, rule: RuleId) -> Result<(), Stop> {
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
