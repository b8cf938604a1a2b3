//! Applies one rule to one frame.
//!
//! In: a rule, a frame's registers, the stack. Out: the caller's registers, or why there are none.
//! Which rule it is, is decided in `leave`; where rules come from, in `tables`.

use prof_model::{ChainEnd, VirtAddr};

use crate::arch::Cpu;
use crate::regs::{FIRST_SAVED, IP, KEPT_OVER_CALLS, SP};
use crate::tables::expression::{ExpressionError, evaluate};
use crate::tables::rule::{Cfa, ExpressionId, PlainRule, Rule, RuleStore, Saved};
use crate::{Regs, StackMemory};

/// Every canonical frame address and frame pointer is a multiple of this.
pub(crate) const STACK_ALIGNMENT: u64 = 8;

/// Why a frame's caller was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The callchain ends here.
    End(ChainEnd),
    /// It needs the word at this address, which was not captured.
    Unreadable(u64),
}

impl From<ChainEnd> for Stop {
    fn from(end: ChainEnd) -> Self {
        Self::End(end)
    }
}

impl From<ExpressionError> for Stop {
    fn from(error: ExpressionError) -> Self {
        match error {
            ExpressionError::Unreadable(addr) => Self::Unreadable(addr),
            ExpressionError::Invalid => Self::End(ChainEnd::BadFrame),
        }
    }
}

/// A frame about to be left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Its registers; the instruction pointer among them is `pc`.
    pub(crate) regs: Regs,
    /// Where it was interrupted, or where the function it called will return to.
    pub(crate) pc: u64,
    /// Whether it was interrupted rather than calling.
    pub(crate) is_interrupted: bool,
    /// How its registers were found.
    pub(crate) found: Found,
}

/// How a frame's registers were found, which tells what its frame pointer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// They were sampled, or the kernel saved them for a signal handler.
    Whole,
    /// By a rule, which restored the frame pointer whatever it was used for.
    ByRule,
    /// By following a frame pointer.
    ByFramePointer,
    /// By the return address at the stack pointer alone.
    AtSp,
}

/// Turns `frame` into its caller, by a rule that only reads the stack. Does what [`Step::apply`] does.
#[inline]
pub(crate) fn apply_plain<S: StackMemory + ?Sized>(
    rule: &PlainRule,
    frame: &mut Frame,
    stack: &S,
) -> Result<(), Stop> {
    let regs = &mut frame.regs;
    let sp = regs.sp().ok_or(ChainEnd::BadFrame)?;
    let cfa = regs
        .kept(rule.cfa_register)
        .ok_or(ChainEnd::BadFrame)?
        .wrapping_add_signed(rule.cfa_offset.into());
    if !cfa.is_multiple_of(STACK_ALIGNMENT) || cfa <= sp {
        return Err(ChainEnd::BadFrame.into());
    }
    let return_address = read(stack, cfa.wrapping_add_signed(rule.return_address.into()))?;
    if return_address == 0 {
        return Err(ChainEnd::Root.into());
    }
    regs.forget_all_but(KEPT_OVER_CALLS);
    for slot in rule.slots() {
        let addr = cfa.wrapping_add_signed(slot.offset.into());
        restore(regs, slot.register, addr, frame.is_interrupted, sp, stack);
    }
    regs.put(SP, Some(cfa));
    regs.put(IP, Some(return_address));
    frame.pc = return_address;
    frame.is_interrupted = false;
    frame.found = Found::ByRule;
    Ok(())
}

/// Gives a register the value saved at `addr`.
#[inline]
fn restore<S: StackMemory + ?Sized>(
    regs: &mut Regs,
    register: u8,
    addr: u64,
    is_interrupted: bool,
    sp: u64,
    stack: &S,
) {
    let value = stack.read_u64(VirtAddr(addr));
    // What lies below the stack pointer is not captured, but the code there has restored the register
    // already.
    if value.is_some() || !(is_interrupted && addr < sp) {
        regs.put(register, value);
    }
}

/// Applies one rule of any kind to one frame.
pub(crate) struct Step<'a, S: ?Sized> {
    pub(crate) rule: &'a Rule,
    pub(crate) rules: &'a RuleStore,
    pub(crate) stack: &'a S,
    /// For expressions: the word at an address of the stack or of memory that never changes.
    pub(crate) read_any: &'a mut dyn FnMut(u64) -> Option<u64>,
}

impl<S: StackMemory + ?Sized> Step<'_, S> {
    /// Turns `frame` into its caller. An unreadable register is unknown in the caller; an unreadable
    /// return address is an error and leaves `frame` as it was.
    pub(crate) fn apply<C: Cpu>(mut self, frame: &mut Frame) -> Result<(), Stop> {
        let old = frame.regs;
        let sp = old.sp().ok_or(ChainEnd::BadFrame)?;
        let rule = self.rule;
        if rule.return_address == Saved::Undefined {
            return Err(ChainEnd::Root.into());
        }
        let cfa = match rule.cfa {
            Cfa::Offset { register, offset } => old
                .kept(register)
                .ok_or(ChainEnd::BadFrame)?
                .wrapping_add_signed(offset.into()),
            Cfa::Expression(id) => self.evaluate(id, None, &old)?,
        };
        // A function that has its return address in a register, as `vfork` and, where calls put it there,
        // whatever calls no other, may have no frame at all.
        let may_be_level =
            matches!(rule.return_address, Saved::Register(_)) && frame.is_interrupted;
        let is_above = |addr| addr > sp || addr == sp && may_be_level;
        // `longjmp` has its caller's stack pointer in a register, and calls its buffer the CFA.
        let has_sp = rule.others.iter().any(|&(register, _)| register == SP);
        let may_be_anywhere = has_sp || rule.is_signal_frame;
        if !cfa.is_multiple_of(STACK_ALIGNMENT) || !is_above(cfa) && !may_be_anywhere {
            return Err(ChainEnd::BadFrame.into());
        }
        let return_address = match rule.return_address {
            Saved::At(offset) => self.word(cfa.wrapping_add_signed(offset.into()))?,
            Saved::Same => return Err(ChainEnd::BadFrame.into()), // would return to itself
            saved => self
                .value::<C>(saved, IP, cfa, &old)?
                .ok_or(ChainEnd::BadFrame)?,
        };
        if return_address == 0 {
            return Err(ChainEnd::Root.into());
        }

        let mut regs = old;
        regs.forget_all_but(KEPT_OVER_CALLS);
        regs.put(SP, Some(cfa));
        for (register, &saved) in (FIRST_SAVED..).zip(&rule.callee_saved) {
            match saved {
                Saved::Same => {}
                Saved::At(offset) => {
                    let addr = cfa.wrapping_add_signed(offset.into());
                    let is_interrupted = frame.is_interrupted && !has_sp;
                    restore(&mut regs, register, addr, is_interrupted, sp, self.stack);
                }
                Saved::Expression(id) if frame.is_interrupted && !rule.is_signal_frame => {
                    // GCC describes the slot of the frame pointer relative to it where it realigns the
                    // stack, and goes on doing so after it has restored it.
                    let slot = self.evaluate(id, Some(cfa), &old);
                    if let Ok(addr) = slot
                        && (sp..cfa).contains(&addr)
                    {
                        regs.put(register, self.stack.read_u64(VirtAddr(addr)));
                    }
                }
                _ => {
                    let value = self.value::<C>(saved, register, cfa, &old).ok().flatten();
                    regs.put(register, value);
                }
            }
        }
        for &(register, saved) in &*rule.others {
            let value = self.value::<C>(saved, register, cfa, &old).ok().flatten();
            regs.put(register, value);
        }
        regs.put(IP, Some(return_address));
        let grows = regs.sp().is_some_and(is_above);
        if !grows && !rule.is_signal_frame {
            return Err(ChainEnd::BadFrame.into());
        }
        *frame = Frame {
            regs,
            pc: return_address,
            is_interrupted: rule.is_signal_frame,
            found: Found::ByRule,
        };
        Ok(())
    }

    /// The caller's value of a register; `None` if its value is gone.
    fn value<C: Cpu>(
        &mut self,
        saved: Saved,
        register: u8,
        cfa: u64,
        old: &Regs,
    ) -> Result<Option<u64>, Stop> {
        Ok(match saved {
            Saved::Same => old.kept(register),
            Saved::Undefined => None,
            Saved::At(offset) => Some(self.word(cfa.wrapping_add_signed(offset.into()))?),
            Saved::Value(offset) => Some(cfa.wrapping_add_signed(offset.into())),
            Saved::Register(other) => old.kept(other),
            Saved::Expression(id) => {
                let addr = self.evaluate(id, Some(cfa), old)?;
                Some(self.word(addr)?)
            }
            Saved::ValueExpression(id) => Some(self.evaluate(id, Some(cfa), old)?),
            Saved::GoFramePointer => {
                let slot = C::go_frame_pointer_slot(cfa, old).ok_or(ChainEnd::BadFrame)?;
                match old.fp() {
                    Some(fp) if fp == slot => Some(self.word(slot)?),
                    fp => fp,
                }
            }
        })
    }

    fn evaluate(
        &mut self,
        id: ExpressionId,
        initial: Option<u64>,
        regs: &Regs,
    ) -> Result<u64, ExpressionError> {
        evaluate(self.rules.expression(id), initial, regs, self.read_any)
    }

    fn word(&self, addr: u64) -> Result<u64, Stop> {
        read(self.stack, addr)
    }
}

/// Turns the frame of a signal trampoline into the one that the signal interrupted, from the
/// registers that the kernel saved.
pub(crate) fn leave_signal<C: Cpu, S: StackMemory + ?Sized>(
    frame: &mut Frame,
    stack: &S,
) -> Result<(), Stop> {
    let sp = frame.regs.sp().ok_or(ChainEnd::BadFrame)?;
    let mut regs = Regs::new(C::ARCH);
    let saved = C::SIGNAL_FRAME;
    for (index, &register) in (0..).zip(saved.registers) {
        let addr = sp.wrapping_add(saved.registers_at + 8 * index);
        regs.put(register, Some(read(stack, addr)?));
    }
    *frame = Frame {
        regs,
        pc: regs.ip().ok_or(ChainEnd::BadFrame)?,
        is_interrupted: true,
        found: Found::Whole,
    };
    Ok(())
}

/// A word of the stack that cannot be done without.
pub(crate) fn read<S: StackMemory + ?Sized>(stack: &S, addr: u64) -> Result<u64, Stop> {
    stack.read_u64(VirtAddr(addr)).ok_or(Stop::Unreadable(addr))
}
