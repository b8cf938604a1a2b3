//! One sample's walk, from the frame that was interrupted outwards to the start of the stack.
//!
//! In: registers, stack bytes, mappings. Out: the callchain, and why it ends.
//! Elsewhere: reading unwind tables (`tables`), instructions (`arch`), files (`image`).

pub(crate) mod cgo; // Go's calls of C: back to the goroutine's stack
pub(crate) mod frame_pointer; // leaves a frame that no rule describes
mod goroutine; // where Go has left one for good
mod kernel_chain; // goes on where the copy ends, with what the kernel read live
mod leave; // from a frame to its caller
pub(crate) mod live_stack; // goes on where the copy ends, with what lies there now
mod lookup; // what is known about an address
mod return_probe; // the caller of a function whose return is probed
pub(crate) mod step; // applies a rule to a frame's registers

use std::marker::PhantomData;

use prof_model::{AddressSpace, ChainEnd, Mapping, VirtAddr};

use crate::arch::Cpu;
use crate::cache::{Action, Known, Place};
use crate::unwinder::{Process, Unwinder, UserState};
use crate::{Images, LiveMemory, Regs, StackMemory};
use live_stack::{Beyond, Buffers, FURTHEST, Memory};
use step::{Found, Frame, Stop};

/// The callchain being built.
pub(crate) struct Chain<'a> {
    out: &'a mut Vec<VirtAddr>,
    max_frames: usize,
}

impl<'a> Chain<'a> {
    /// Frames go into `out`, which may then have so many.
    pub(crate) fn new(out: &'a mut Vec<VirtAddr>, max_frames: usize) -> Self {
        Self { out, max_frames }
    }

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

/// One sample's walk, through code of one CPU.
pub(crate) struct Walk<'a, C, S: ?Sized> {
    cpu: PhantomData<C>,
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
    /// The word by which the innermost function returns: what it does leaves alone what lies from there
    /// on.
    unchanged_from: Option<u64>,
    /// Where the walk went on in live memory.
    first_stuck: Option<Box<Stuck>>,
    /// The last place in generated code, and what is known about it.
    pub(crate) generated: Option<(Place, Known)>,
    /// A goroutine or a coroutine started the stack: there are others, and ways between them.
    has_many_stacks: bool,
    /// The kernel's walk, which comes with some samples alone, told a caller.
    needs_kernel_chain: bool,
    /// The outermost frame's stack pointer, if the copy was enough to come there.
    reached: Option<u64>,
    /// What the sample began with.
    sample: &'a Regs,
    /// The kernel's own walk.
    kernel_chain: &'a [u64],
}

/// A frame whose caller cannot be found without the word at `addr`.
pub(crate) struct Stuck {
    frame: Frame,
    action: Action,
    addr: u64,
    /// How long the callchain is there.
    len: usize,
}

impl<'a, C: Cpu, S: StackMemory + ?Sized> Walk<'a, C, S> {
    /// A walk that has not begun yet. `buffers` hold what the last ones read of live memory.
    pub(crate) fn new<'p: 'a>(
        unwinder: &'a mut Unwinder,
        process: Process<'p>,
        state: &UserState<'a, S>,
        buffers: &'a mut Buffers,
    ) -> Self {
        // without such a slot nothing shows whether the thread has moved on
        let live = process.live.filter(|_| C::RETURN_SLOT.is_some());
        let live = live.map(|live| live as &mut dyn LiveMemory);
        Self {
            cpu: PhantomData,
            code_bits: C::code_bits(state.regs, process.space),
            unwinder,
            space: process.space,
            images: process.images,
            memory: Memory::new(state.stack, live, buffers),
            mapping: None,
            is_elsewhere: false,
            switches: 0,
            signal_slot: None,
            unchanged_from: None,
            first_stuck: None,
            generated: None,
            has_many_stacks: false,
            needs_kernel_chain: false,
            reached: None,
            sample: state.regs,
            kernel_chain: state.kernel_chain,
        }
    }

    /// Walks. Returns why the callchain ends, and the outermost frame's stack pointer if the copy was
    /// enough to come there.
    pub(crate) fn run(
        mut self,
        state: &UserState<'_, S>,
        chain: &mut Chain<'_>,
    ) -> (ChainEnd, Option<u64>) {
        let end = self.find_chain(state.regs, state.kernel_chain, chain);
        self.memory.finish();
        (end, self.reached)
    }

    fn find_chain(
        &mut self,
        sample: &Regs,
        kernel_chain: &[u64],
        chain: &mut Chain<'_>,
    ) -> ChainEnd {
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
        if *action == Action::StackSwitch && self.leaves_goroutine(chain) {
            return ChainEnd::Root;
        }
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
        let is_behind_probe = self.needs_kernel_chain || end == ChainEnd::ReturnProbe;
        let is_known = !self.has_many_stacks && !is_behind_probe;
        self.reached = frame.regs.sp().filter(|_| is_known);
        Ok(end)
    }

    /// Walks outwards from a frame.
    pub(crate) fn walk_from(
        &mut self,
        frame: &mut Frame,
        chain: &mut Chain<'_>,
    ) -> Result<ChainEnd, Box<Stuck>> {
        loop {
            if !frame.is_interrupted && self.is_return_probe(frame.pc) {
                let Some(caller) = self.behind_return_probe(frame) else {
                    return Ok(ChainEnd::ReturnProbe);
                };
                frame.pc = caller;
                self.needs_kernel_chain = true;
            }
            let known = match self.known(frame.pc, !frame.is_interrupted) {
                Ok(known) => known,
                Err(end) if chain.out.is_empty() => {
                    return Ok(chain.push(frame.pc).err().unwrap_or(end));
                }
                Err(end) => return Ok(end),
            };
            let known = match known.action {
                Action::FramePointer if C::is_unseen_signal_frame(self, frame) => TRAMPOLINE,
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
            if C::SIGNS_RETURN_ADDRESSES {
                frame.pc &= self.code_bits;
                if frame.pc == 0 {
                    return Ok(ChainEnd::Root);
                }
            }
            if self.unchanged_from.is_none() {
                self.unchanged_from = frame.regs.sp().and_then(return_slot::<C>);
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
        if !self.is_elsewhere && self.is_behind_copy(addr) {
            self.unwinder.is_cut = true;
        }
        let Some(sp) = frame.regs.sp() else {
            return false;
        };
        if self.memory.read_u64(VirtAddr(addr)).is_some() {
            return false; // that was not what it is stuck for
        }
        let return_slot = match frame.is_interrupted || self.is_elsewhere {
            true => self.signal_slot,
            false => return_slot::<C>(sp),
        };
        let (Some(return_slot), Some(unchanged_from)) = (return_slot, self.unchanged_from) else {
            return false; // nothing shows whether the thread is still in its innermost function
        };
        let beyond = match self.is_elsewhere {
            true => Beyond::OtherStack {
                signal_frame: return_slot..return_slot.saturating_add(C::SIGNAL_FRAME.bytes),
                sp,
            },
            false => Beyond::CopyEnd {
                return_slot,
                unchanged_from,
            },
        };
        (self.is_elsewhere || self.memory.is_cut()) && self.memory.read_on(beyond, addr)
    }

    /// Whether a word lies where the stack may go on behind what was captured.
    fn is_behind_copy(&self, addr: u64) -> bool {
        let distance = addr.saturating_add(7).checked_sub(self.memory.end().0);
        distance.is_some_and(|distance| distance < FURTHEST) && self.memory.is_cut()
    }

    /// Why the callchain ends where a word was not captured.
    pub(crate) fn end_at(&self, stuck: &Stuck) -> ChainEnd {
        match stuck.action {
            Action::StackSwitch | Action::VdsoCall => ChainEnd::TruncatedCopy,
            _ if self.is_elsewhere || self.is_behind_copy(stuck.addr) => ChainEnd::TruncatedCopy,
            Action::FramePointer
            | Action::AtSp(_)
            | Action::Told(_)
            | Action::TellingRecord
            | Action::Inferred(_) => ChainEnd::NoRule, // it held something else
            _ => ChainEnd::BadFrame,
        }
    }
}

/// Where the function that returned with this stack pointer had its return address, if it was on the stack.
fn return_slot<C: Cpu>(sp: u64) -> Option<u64> {
    sp.checked_sub(C::RETURN_SLOT?)
}

/// What is known about a signal trampoline.
const TRAMPOLINE: Known = Known {
    action: Action::SignalReturn,
    is_returned_to: true,
    is_trampoline: true,
};
