use prof_model::{AddressSpace, ChainEnd, Mapping, VirtAddr};

use crate::cache::{Action, Cache};
use crate::module::Modules;
use crate::rule::{RuleId, RuleStore};
use crate::step::{Found, Frame, Step, Stop, apply_plain, leave_signal};
use crate::{Images, Regs, StackMemory, Stats};

/// Unwinds stacks, and remembers what it learns about the code on the way. Serves any number of
/// processes whose mappings name DSOs of one [`prof_model::DsoTable`].
pub struct Unwinder {
    pub(crate) modules: Modules,
    pub(crate) rules: RuleStore,
    pub(crate) cache: Cache,
    pub(crate) stats: Stats,
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::new()
    }
}

/// How far beyond the copy a stack is believed to reach: an address further away is garbage.
const MAX_STACK: u64 = 1 << 30;
/// Signal frames that may lead to a lower stack pointer (to another stack): real programs have one or
/// two, garbage that points to itself has no end of them.
const MAX_SWITCHES: u32 = 8;
impl Unwinder {
    /// Without any knowledge yet.
    pub fn new() -> Self {
        Self {
            modules: Modules::default(),
            rules: RuleStore::default(),
            cache: Cache::new(),
            stats: Stats::default(),
        }
    }

    /// What it did so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Finds the callchain of a sample, innermost first, and why it ends.
    ///
    /// `out` is cleared. It gets where the code was interrupted and where it called: the sampled
    /// instruction exactly, and each return address - 1. The instruction that a signal interrupted
    /// and the trampoline that the handler returns to are exact as well, since nothing called there.
    /// At most `max_frames` are kept, the innermost ones.
    ///
    /// `kernel_chain` is what the kernel's own walk along the frame pointers found: raw user
    /// addresses, the first one being the instruction pointer; may be empty. It serves only where
    /// the copied stack ends, and only where its entries provably continue the callchain.
    #[expect(clippy::too_many_arguments)] // a sample's parts come from as many places
    pub fn unwind<S: StackMemory + ?Sized>(
        &mut self,
        space: &AddressSpace,
        images: &mut dyn Images,
        regs: &Regs,
        stack: &S,
        kernel_chain: &[u64],
        max_frames: usize,
        out: &mut Vec<VirtAddr>,
    ) -> ChainEnd {
        out.clear();
        self.stats.chains += 1;
        let mut walk = Walk {
            unwinder: self,
            space,
            images,
            stack,
            mapping: None,
            is_elsewhere: false,
            switches: 0,
        };
        let mut chain = Chain { out, max_frames };
        let end = walk.run(regs, kernel_chain, &mut chain);
        self.stats.frames += out.len() as u64;
        end
    }
}

/// The callchain being built.
pub(crate) struct Chain<'a> {
    out: &'a mut Vec<VirtAddr>,
    max_frames: usize,
}

impl Chain<'_> {
    pub(crate) fn push(&mut self, addr: u64) -> Result<(), ChainEnd> {
        if self.out.len() >= self.max_frames {
            return Err(ChainEnd::TooDeep);
        }
        self.out.push(VirtAddr(addr));
        Ok(())
    }
}

/// One sample's walk.
pub(crate) struct Walk<'a, S: ?Sized> {
    pub(crate) unwinder: &'a mut Unwinder,
    pub(crate) space: &'a AddressSpace,
    pub(crate) images: &'a mut dyn Images,
    pub(crate) stack: &'a S,
    /// The mapping of the last address: often that of the next.
    pub(crate) mapping: Option<&'a Mapping>,
    /// A signal handler's stack was left for one that is not in the copy.
    pub(crate) is_elsewhere: bool,
    pub(crate) switches: u32,
}

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    fn run(&mut self, sample: &Regs, kernel_chain: &[u64], chain: &mut Chain<'_>) -> ChainEnd {
        let (Some(pc), Some(_)) = (sample.ip(), sample.sp()) else {
            return ChainEnd::NoUserState;
        };
        let mut frame = Frame {
            regs: *sample,
            pc,
            is_interrupted: true,
            found: Found::Whole,
        };
        loop {
            let known = match self.known(frame.pc, !frame.is_interrupted) {
                Ok(known) => known,
                Err(end) if chain.out.is_empty() => return chain.push(pc).err().unwrap_or(end),
                Err(end) => return end,
            };
            if !frame.is_interrupted && !known.is_returned_to {
                return match known.action {
                    Action::Rule(_) => ChainEnd::BadFrame,
                    _ => ChainEnd::NoRule,
                };
            }
            if let Err(end) = chain.push(known.shown(frame.pc, frame.is_interrupted)) {
                return end;
            }
            match self.leave(&mut frame, known.action) {
                Ok(()) => {}
                Err(Stop::End(end)) => return end,
                Err(Stop::Unreadable(addr)) => {
                    return self
                        .continue_by_kernel(&frame, known.action, sample, kernel_chain, chain)
                        .unwrap_or_else(|| self.end_at(addr, known.action));
                }
            }
        }
    }

    /// Turns `frame` into its caller.
    fn leave(&mut self, frame: &mut Frame, action: Action) -> Result<(), Stop> {
        match action {
            Action::Inferred(id) => self.leave_inferred(frame, id),
            Action::Rule(id) => {
                if let Some(plain) = self.unwinder.rules.plain(id) {
                    return apply_plain(plain, frame, self.stack);
                }
                let was_at = frame.regs.sp();
                let Self {
                    unwinder,
                    space,
                    stack,
                    ..
                } = self;
                let step = Step {
                    rule: unwinder.rules.rule(id),
                    rules: &unwinder.rules,
                    stack: *stack,
                    read_any: &mut |addr| {
                        stack
                            .read_u64(VirtAddr(addr))
                            .or_else(|| constant(&unwinder.modules, space, addr))
                    },
                };
                step.apply(frame)?;
                if frame.is_interrupted {
                    self.note_switch(was_at, frame)?;
                }
                Ok(())
            }
            Action::SignalReturn => {
                let was_at = frame.regs.sp();
                leave_signal(frame, self.stack)?;
                self.note_switch(was_at, frame)
            }
            Action::StackStart => Err(ChainEnd::Root.into()),
            Action::NoRule => Err(ChainEnd::NoRule.into()),
            Action::StackSwitch => Err(Stop::Unreadable(0)),
            Action::AtSp(at) => self
                .leave_at_sp(frame, at)
                .or_else(|_| self.leave_by_frame_pointer(frame)),
            Action::FramePointer => self.leave_by_frame_pointer(frame),
        }
    }

    /// By what the instructions of the function said. Where that leads to no return address they were
    /// not understood.
    fn leave_inferred(&mut self, frame: &mut Frame, id: RuleId) -> Result<(), Stop> {
        let was = *frame;
        let is_outermost = self.unwinder.rules.rule(id).is_outermost();
        match self.leave(frame, Action::Rule(id)) {
            Ok(()) if self.check_return(frame.pc).is_err() => {}
            Err(Stop::End(_)) if !is_outermost => {}
            result => return result,
        }
        *frame = was;
        self.leave_by_frame_pointer(frame)
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
        self.is_elsewhere = sp.is_none_or(|sp| self.stack.read_u64(VirtAddr(sp)).is_none());
        Ok(())
    }

    /// Why the callchain ends where a word was not captured.
    fn end_at(&self, addr: u64, action: Action) -> ChainEnd {
        let beyond = addr
            .saturating_add(7)
            .checked_sub(self.stack.end().0)
            .is_some_and(|distance| distance < MAX_STACK);
        match action {
            Action::StackSwitch => ChainEnd::TruncatedCopy,
            _ if self.is_elsewhere || beyond && self.stack.is_cut() => ChainEnd::TruncatedCopy,
            Action::FramePointer | Action::AtSp(_) | Action::Inferred(_) => ChainEnd::NoRule, // it held something else
            _ => ChainEnd::BadFrame,
        }
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
