use prof_model::{AddressSpace, ChainEnd, DsoId, Mapping, VirtAddr};
use rustc_hash::FxHashMap;

use crate::c_call::CallOfC;
use crate::cache::{Action, Cache, Known, Place};
use crate::live::{Beyond, Buffers, FURTHEST, LiveMemory, Memory};
use crate::module::Modules;
use crate::rule::{RuleId, RuleStore};
use crate::step::{Found, Frame, Step, Stop, apply_plain, leave_signal};
use crate::x86_64::AtSp;
use crate::{Arch, Images, Regs, StackMemory, Stats};

/// The process that a sample is of.
pub struct Process<'a> {
    /// Its mappings when the sample was taken.
    pub space: &'a AddressSpace,
    /// Its mapped files.
    pub images: &'a mut dyn Images,
    /// Its memory as it is now, if it can be read. Serves only where the copied stack ends, and only
    /// where it is shown that the thread has stayed in the frames beyond. The word by which the last
    /// copied frame is returned to, and all bytes from there (4 KiB at least) to the end of the copy, are
    /// the same before and after reading. That alone says little: they stay so when the thread leaves,
    /// until it comes as deep again. So they have to be the same in a few samples of the thread in a row,
    /// and between all of them the words read beyond as well.
    pub live: Option<&'a mut dyn LiveMemory>,
}

/// A thread's user state, as it was sampled.
pub struct UserState<'a, S: ?Sized> {
    /// Its registers.
    pub regs: &'a Regs,
    /// Its stack.
    pub stack: &'a S,
    /// What the kernel's own walk along the frame pointers found: raw user addresses, the first one
    /// being the instruction pointer; may be empty. It serves only where the copied stack ends, and
    /// only where its entries provably continue the callchain.
    pub kernel_chain: &'a [u64],
}

/// Unwinds stacks, and remembers what it learns about the code on the way. Serves any number of
/// processes whose mappings name DSOs of one [`prof_model::DsoTable`].
pub struct Unwinder {
    pub(crate) modules: Modules,
    pub(crate) rules: RuleStore,
    pub(crate) cache: Cache,
    pub(crate) stats: Stats,
    /// Where the return address is, by places in generated code where its bytes have told it.
    pub(crate) generated: FxHashMap<Place, AtSp>,
    /// Who made them, by the number of what was watched then.
    pub(crate) calls_of_c: FxHashMap<u64, CallOfC>,
    buffers: Buffers,
    reach: Option<u64>,
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::new()
    }
}

/// Signal frames that may lead to a lower stack pointer (to another stack): real programs have one or
/// two, garbage that points to itself has no end of them.
const MAX_SWITCHES: u32 = 8;
impl Unwinder {
    /// Without any knowledge yet.
    pub fn new() -> Self {
        Self {
            modules: Modules::default(),
            rules: RuleStore::default(),
            cache: Cache::default(),
            stats: Stats::default(),
            generated: FxHashMap::default(),
            calls_of_c: FxHashMap::default(),
            buffers: Buffers::default(),
            reach: None,
        }
    }

    /// Forgets what it read of a file; a sample that hits it again has it read again.
    pub fn forget(&mut self, dso: DsoId) {
        self.modules.forget(dso);
    }

    /// What it did so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many bytes above the stack pointer the last callchain's outermost frame begins: a copy a
    /// little larger than that gives the same callchain. `None` if it goes on beyond the copy, with
    /// what else is known or not at all, and for goroutines and coroutines, whose callchains often do.
    pub fn reach(&self) -> Option<u64> {
        self.reach
    }

    /// Finds the callchain of a sample, innermost first, and why it ends.
    ///
    /// `out` is cleared. It gets where the code was interrupted and where it called: the sampled
    /// instruction exactly, and each return address - 1. The instruction that a signal interrupted
    /// and the trampoline that the handler returns to are exact as well, since nothing called there.
    /// At most `max_frames` are kept, the innermost ones.
    pub fn unwind<S: StackMemory + ?Sized>(
        &mut self,
        process: Process<'_>,
        state: UserState<'_, S>,
        max_frames: usize,
        out: &mut Vec<VirtAddr>,
    ) -> ChainEnd {
        out.clear();
        self.stats.chains += 1;
        let mut buffers = std::mem::take(&mut self.buffers);
        let arch = state.regs.arch();
        // what shows whether a thread has moved on is known for x86-64
        let live = process.live.filter(|_| arch == Arch::X86_64);
        let live = live.map(|live| live as &mut dyn LiveMemory);
        let mut walk = Walk {
            arch,
            code_bits: code_bits(state.regs, process.space),
            unwinder: self,
            space: process.space,
            images: process.images,
            memory: Memory::new(state.stack, live, &mut buffers),
            mapping: None,
            is_elsewhere: false,
            switches: 0,
            signal_slot: None,
            quiet: None,
            first_stuck: None,
            generated: None,
            has_many_stacks: false,
            reached: None,
        };
        let mut chain = Chain { out, max_frames };
        let end = walk.run(state.regs, state.kernel_chain, &mut chain);
        walk.memory.finish();
        let (reached, start) = (walk.reached, state.regs.sp());
        self.reach = reached.and_then(|reached| reached.checked_sub(start?));
        self.buffers = buffers;
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

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// The frames outwards from the one at `len`.
    pub(crate) fn since(&self, len: usize) -> &[VirtAddr] {
        self.out.get(len..).unwrap_or_default()
    }
}

/// One sample's walk.
pub(crate) struct Walk<'a, S: ?Sized> {
    pub(crate) arch: Arch,
    /// The bits of a word that belong to an address of code; the others may sign it.
    pub(crate) code_bits: u64,
    pub(crate) unwinder: &'a mut Unwinder,
    pub(crate) space: &'a AddressSpace,
    pub(crate) images: &'a mut dyn Images,
    pub(crate) memory: Memory<'a, S>,
    /// The mapping of the last address: often that of the next.
    pub(crate) mapping: Option<&'a Mapping>,
    /// A signal handler's stack was left for one that is not in the copy.
    is_elsewhere: bool,
    switches: u32,
    /// The word in the copy by which the last signal handler returns.
    signal_slot: Option<u64>,
    /// The word by which the innermost function returns.
    quiet: Option<u64>,
    /// Where the walk went on in live memory.
    first_stuck: Option<Box<Stuck>>,
    /// The last place in generated code, and what is known about it.
    pub(crate) generated: Option<(Place, Known)>,
    /// A goroutine or a coroutine started the stack: there are others, and ways between them.
    has_many_stacks: bool,
    /// The outermost frame's stack pointer, if the copy was enough to come there.
    reached: Option<u64>,
}

/// A frame whose caller cannot be found without the word at `addr`.
pub(crate) struct Stuck {
    frame: Frame,
    action: Action,
    addr: u64,
    /// How long the callchain is there.
    len: usize,
}

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    fn run(&mut self, sample: &Regs, kernel_chain: &[u64], chain: &mut Chain<'_>) -> ChainEnd {
        let walked = self.walk(sample, chain);
        let stuck = match (walked, self.first_stuck.take()) {
            (Ok(end), None) => return end,
            (Err(stuck), None) => stuck,
            (walked, Some(first)) => {
                self.reached = None;
                // The thread may have moved on while its stack was read.
                let is_whole = matches!(walked, Ok(ChainEnd::Root));
                let callers = is_whole.then(|| chain.since(first.len));
                if self.memory.is_proven(callers) {
                    self.unwinder.stats.continued_live += 1;
                    return walked.unwrap_or_else(|stuck| self.end_at(&stuck));
                }
                chain.out.truncate(first.len);
                first
            }
        };
        self.unwinder.stats.moved_on += u64::from(self.memory.is_unproven());
        let Stuck { frame, action, .. } = &*stuck;
        self.continue_by_kernel(frame, *action, sample, kernel_chain, chain)
            .or_else(|| match action {
                Action::StackSwitch => self.continue_in_goroutine(frame, chain),
                _ => None,
            })
            .unwrap_or_else(|| self.end_at(&stuck))
    }

    fn walk(&mut self, sample: &Regs, chain: &mut Chain<'_>) -> Result<ChainEnd, Box<Stuck>> {
        let (Some(pc), Some(_)) = (sample.ip(), sample.sp()) else {
            return Ok(ChainEnd::NoUserState);
        };
        let mut frame = Frame {
            regs: *sample,
            pc,
            is_interrupted: true,
            found: Found::Whole,
        };
        let end = self.walk_from(&mut frame, chain)?;
        self.reached = frame.regs.sp().filter(|_| !self.has_many_stacks);
        Ok(end)
    }

    /// Walks outwards from a frame.
    pub(crate) fn walk_from(
        &mut self,
        frame: &mut Frame,
        chain: &mut Chain<'_>,
    ) -> Result<ChainEnd, Box<Stuck>> {
        loop {
            let known = match self.known(frame.pc, !frame.is_interrupted) {
                Ok(known) => known,
                Err(end) if chain.out.is_empty() => {
                    return Ok(chain.push(frame.pc).err().unwrap_or(end));
                }
                Err(end) => return Ok(end),
            };
            let known = match known.action {
                Action::FramePointer if self.is_unseen_signal_frame(frame) => TRAMPOLINE,
                _ => known,
            };
            if !frame.is_interrupted && !known.is_returned_to {
                return Ok(match known.action {
                    Action::Rule(_) => ChainEnd::BadFrame,
                    _ => ChainEnd::NoRule,
                });
            }
            if self.memory.is_live() && self.code(frame.pc.wrapping_sub(1)).is_none() {
                return Ok(ChainEnd::TruncatedCopy); // whether a call comes before cannot be shown
            }
            if let Err(end) = chain.push(known.shown(frame.pc, frame.is_interrupted)) {
                return Ok(end);
            }
            while let Err(stop) = self.leave(frame, known.action) {
                let addr = match stop {
                    Stop::End(end) => return Ok(end),
                    Stop::Unreadable(addr) => addr,
                };
                let stuck = Box::new(Stuck {
                    frame: *frame,
                    action: known.action,
                    addr,
                    len: chain.out.len(),
                });
                if !self.read_on(&stuck) {
                    return Err(stuck);
                }
                self.first_stuck.get_or_insert(stuck);
            }
            if self.arch == Arch::Aarch64 {
                frame.pc &= self.code_bits;
                if frame.pc == 0 {
                    return Ok(ChainEnd::Root);
                }
            }
            if self.quiet.is_none() {
                self.quiet = frame.regs.sp().and_then(|sp| sp.checked_sub(8));
            }
        }
    }

    /// Gets the word that a frame is stuck for from live memory. `false` if that cannot be.
    #[cold]
    fn read_on(&mut self, stuck: &Stuck) -> bool {
        let Stuck { frame, addr, .. } = *stuck;
        if matches!(stuck.action, Action::StackSwitch | Action::VdsoCall) {
            return false; // it is on another stack
        }
        let Some(sp) = frame.regs.sp() else {
            return false;
        };
        if self.memory.read_u64(VirtAddr(addr)).is_some() {
            return false; // that was not what it is stuck for
        }
        let return_slot = match frame.is_interrupted || self.is_elsewhere {
            true => self.signal_slot,
            false => sp.checked_sub(8),
        };
        let (Some(return_slot), Some(quiet)) = (return_slot, self.quiet) else {
            return false; // nothing shows whether the thread is still in its innermost function
        };
        let beyond = match self.is_elsewhere {
            true => Beyond::OtherStack { return_slot, sp },
            false => Beyond::CopyEnd { return_slot, quiet },
        };
        (self.is_elsewhere || self.memory.is_cut()) && self.memory.read_on(beyond, addr)
    }

    /// Turns `frame` into its caller.
    fn leave(&mut self, frame: &mut Frame, action: Action) -> Result<(), Stop> {
        match action {
            Action::Inferred(id) => self.leave_inferred(frame, id),
            Action::Rule(id) => {
                self.find_sp(frame, id)?;
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
                step.apply(frame)?;
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
            Action::StackSwitch => Err(Stop::Unreadable(0)),
            Action::VdsoCall => self.leave_vdso_call(frame),
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
        leave_signal(frame, &self.memory)?;
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
        self.signal_slot = was_at.and_then(|sp| sp.checked_sub(8));
        Ok(())
    }

    /// Why the callchain ends where a word was not captured.
    pub(crate) fn end_at(&self, stuck: &Stuck) -> ChainEnd {
        let beyond = stuck
            .addr
            .saturating_add(7)
            .checked_sub(self.memory.end().0)
            .is_some_and(|distance| distance < FURTHEST);
        match stuck.action {
            Action::StackSwitch | Action::VdsoCall => ChainEnd::TruncatedCopy,
            _ if self.is_elsewhere || beyond && self.memory.is_cut() => ChainEnd::TruncatedCopy,
            Action::FramePointer | Action::AtSp(_) | Action::Inferred(_) => ChainEnd::NoRule, // it held something else
            _ => ChainEnd::BadFrame,
        }
    }
}

/// Which bits of a return address on the stack are the address. On aarch64 those above may sign it. How
/// many bits an address has depends on the kernel; the stack, the libraries or the vDSO lie near the
/// upper end of what a process can have.
fn code_bits(regs: &Regs, space: &AddressSpace) -> u64 {
    match regs.arch() {
        Arch::X86_64 => u64::MAX,
        Arch::Aarch64 => {
            let last = space.before(VirtAddr(MOST_ADDRESS));
            let last = last.map_or(0, |mapping| mapping.end.saturating_sub(1));
            let known = last | regs.sp().unwrap_or(0) | regs.ip().unwrap_or(0);
            let bits = u64::BITS - (known & MOST_ADDRESS).leading_zeros();
            u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
        }
    }
}

/// User addresses of aarch64 have no more bits.
const MOST_ADDRESS: u64 = (1 << 52) - 1;

/// What is known about a signal trampoline.
const TRAMPOLINE: Known = Known {
    action: Action::SignalReturn,
    is_returned_to: true,
    is_trampoline: true,
};

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
