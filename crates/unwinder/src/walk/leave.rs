//! From a frame to its caller, by what is known about its address. Says so where the stack is another
//! one from then on. How a rule is applied is in `step`, what to do without one in `frame_pointer`.

use prof_model::{AddressSpace, ChainEnd, VirtAddr};

use super::step::{Frame, Step, Stop, apply_plain, leave_signal};
use super::{Walk, return_slot};
use crate::StackMemory;
use crate::arch::Cpu;
use crate::cache::Action;
use crate::module::Modules;
use crate::tables::rule::RuleId;

/// Signal frames that may lead to a lower stack pointer (to another stack): real programs have one or
/// two, garbage that points to itself has no end of them.
const MAX_SWITCHES: u32 = 8;
impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// Turns `frame` into its caller.
    pub(super) fn leave(&mut self, frame: &mut Frame, action: Action) -> Result<(), Stop> {
        match action {
            Action::Inferred(id) => self.leave_inferred(frame, id),
            Action::Rule(id) => {
                C::find_sp(self, frame, id)?;
                if let Some(plain) = self.unwinder.rules.plain(id) {
                    return apply_plain(plain, frame, &self.memory);
                }
                let was_at = frame.regs.sp();
                let Self {
                    unwinder,
                    space,
                    memory,
                    ..
                } = self;
                let step = Step {
                    rule: unwinder.rules.rule(id),
                    rules: &unwinder.rules,
                    stack: &*memory,
                    read_any: &mut |addr| {
                        memory
                            .read_u64(VirtAddr(addr))
                            .or_else(|| constant(&unwinder.modules, space, addr))
                    },
                };
                step.apply::<C>(frame)?;
                if frame.is_interrupted {
                    self.note_switch(was_at, frame)?;
                }
                Ok(())
            }
            Action::SignalReturn => self.leave_signal_frame(frame),
            Action::ProgramStart => Err(ChainEnd::Root.into()),
            Action::StackStart => {
                self.has_many_stacks = true;
                Err(ChainEnd::Root.into())
            }
            Action::NoRule => Err(ChainEnd::NoRule.into()),
            Action::NotYet => Err(ChainEnd::NotYet.into()),
            Action::StackSwitch => Err(Stop::Unreadable(0)),
            Action::VdsoCall => self.leave_vdso_call(frame),
            Action::AtSp(at) => self
                .leave_at_sp(frame, at)
                .or_else(|_| self.leave_by_frame_pointer(frame)),
            Action::Told(at) => self.leave_at_sp(frame, at),
            Action::TellingRecord => self.leave_telling_record(frame),
            Action::FramePointer => self.leave_by_frame_pointer(frame),
        }
    }

    /// By what the instructions of the function said. Where that leads to no return address they were
    /// not understood.
    fn leave_inferred(&mut self, frame: &mut Frame, id: RuleId) -> Result<(), Stop> {
        let was = *frame;
        let is_outermost = self.unwinder.rules.rule(id).is_outermost();
        match self.leave(frame, Action::Rule(id)) {
            Ok(()) if self.check_return(frame.pc & self.code_bits).is_err() => {}
            Err(Stop::End(_)) if !is_outermost => {}
            result => return result,
        }
        *frame = was;
        self.leave_by_frame_pointer(frame)
    }

    /// The kernel's signal frame is at the stack pointer.
    fn leave_signal_frame(&mut self, frame: &mut Frame) -> Result<(), Stop> {
        let was_at = frame.regs.sp();
        leave_signal::<C, _>(frame, &self.memory)?;
        self.note_switch(was_at, frame)
    }

    /// A signal may have interrupted code on another stack, above or below.
    fn note_switch(&mut self, was_at: Option<u64>, frame: &Frame) -> Result<(), Stop> {
        let sp = frame.regs.sp();
        if sp <= was_at {
            self.switches += 1;
            if self.switches > MAX_SWITCHES {
                return Err(ChainEnd::BadFrame.into());
            }
        }
        self.is_elsewhere = sp.is_none_or(|sp| self.memory.read_u64(VirtAddr(sp)).is_none());
        self.signal_slot = was_at.and_then(return_slot::<C>);
        Ok(())
    }
}

/// The word at an address that no process changes: in a mapped file, in a part that is not writable.
fn constant(modules: &Modules, space: &AddressSpace, addr: u64) -> Option<u64> {
    let mapping = space.find(VirtAddr(addr))?;
    if mapping.end - addr < 8 {
        return None;
    }
    let module = modules.get(mapping.dso)?;
    module
        .image
        .read_only_word(mapping.dso_addr(VirtAddr(addr)).0)
}
