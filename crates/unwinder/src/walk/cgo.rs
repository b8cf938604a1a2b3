//! From C code that Go has called to the goroutine that called it. The C code runs on the thread's own
//! stack, and only its frame pointer, if it keeps one, leads to the goroutine's stack, of which there
//! is no copy.
//!
//! `runtime.asmcgocall` leaves on the thread's stack which goroutine it was and how deep in its stack,
//! to find the way back. That stack is read from live memory, and believed only if it is shown that the
//! thread has been in this one call from before the sample until after the reading. Go counts the calls
//! that a thread begins, and those that it is in.

use prof_model::{ChainEnd, VirtAddr};

use crate::LiveMemory;
use crate::StackMemory;
use crate::arch::Cpu;
use crate::regs::{FP, IP, KEPT_BY_FRAME_POINTER, SP};
use crate::walk::step::{Found, Frame, STACK_ALIGNMENT};
use crate::walk::{Chain, Walk};

/// Of so many calls is kept who called.
pub(crate) const MOST_CALLS: usize = 1 << 12;

/// A call of C that some samples were in: its goroutine's side.
pub(crate) struct CallOfC {
    caller: Caller,
    chain: Box<[VirtAddr]>,
    end: ChainEnd,
}

/// What `asmcgocall` keeps on the thread's stack.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Caller {
    goroutine: u64,
    depth: u64,
}

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// Goes on from the frame of `asmcgocall`. `None` if nothing shows who called it.
    #[cold]
    pub(crate) fn continue_in_goroutine(
        &mut self,
        frame: &Frame,
        chain: &mut Chain<'_>,
    ) -> Option<ChainEnd> {
        let way_back = C::way_back(self.code_around(frame.pc)?.1)?;
        let sp = frame.regs.sp()?;
        let word = |at: u8| {
            let addr = sp.checked_add(at.into())?;
            self.memory.copy.read_u64(VirtAddr(addr))
        };
        let caller = Caller {
            goroutine: word(way_back.goroutine_at)?,
            depth: word(way_back.depth_at)?,
        };
        if let Some(watched) = self.memory.live()?.watched() {
            let known = self.unwinder.calls_of_c.get(&watched.id);
            if let Some(known) = known.filter(|known| known.caller == caller) {
                let end = known.end;
                let pushed = known.chain.iter().try_for_each(|addr| chain.push(addr.0));
                self.unwinder.stats.continued_live += 1;
                return Some(pushed.err().unwrap_or(end));
            }
        }
        let Some((id, mut frame)) = self.read_goroutine(frame, caller, way_back) else {
            self.unwinder.stats.moved_on += 1;
            return None;
        };
        self.unwinder.stats.continued_live += 1;
        let from = chain.len();
        let end = match self.walk_from(&mut frame, chain) {
            Ok(end) => end,
            Err(stuck) => self.end_at(&stuck),
        };
        if end != ChainEnd::TooDeep {
            let calls = &mut self.unwinder.calls_of_c;
            if calls.len() >= MOST_CALLS {
                calls.clear();
            }
            let chain = chain.since(from).into();
            calls.insert(id, CallOfC { caller, chain, end });
        }
        Some(end)
    }

    /// Reads a goroutine's stack outwards from where it called. Returns the frame that called
    /// `asmcgocall`, and the number of the call.
    fn read_goroutine(
        &mut self,
        frame: &Frame,
        caller: Caller,
        way_back: WayBack,
    ) -> Option<(u64, Frame)> {
        let stack = Goroutine::read(self.memory.live()?, caller.goroutine)?;
        let mut sp = stack.end.checked_sub(caller.depth)?;
        if sp < stack.start || !sp.is_multiple_of(STACK_ALIGNMENT) {
            return None;
        }
        if !self.memory.read_elsewhere(sp..stack.end) {
            return None;
        }
        let mut regs = frame.regs;
        if way_back.restores_fp {
            regs.put(FP, self.memory.read_u64(VirtAddr(sp)));
            sp += 8;
        }
        let return_address = self.memory.read_u64(VirtAddr(sp))?;
        let (before, from) = self.code_around(return_address)?;
        let counters = stack
            .thread
            .checked_add(C::call_counters(before, from)?.into())?;

        let live = self.memory.live()?;
        live.watch(VirtAddr(counters));
        let watched = live.watched()?;
        let [.., a, b, c, d, _, _, _, _] = watched.bytes;
        // In more than one at once, a call that has ended could not be told from one that is to come.
        let is_only_call = i32::from_le_bytes([a, b, c, d]) == 1;
        // A goroutine's stack may be moved to where there is more room.
        let is_there = Goroutine::read(live, caller.goroutine)? == stack;
        if !watched.is_still || !is_only_call || !is_there {
            return None;
        }
        regs.forget_all_but(KEPT_BY_FRAME_POINTER);
        regs.put(SP, Some(sp + 8));
        regs.put(IP, Some(return_address));
        let frame = Frame {
            regs,
            pc: return_address,
            is_interrupted: false,
            found: Found::ByRule,
        };
        Some((watched.id, frame))
    }

    /// The instruction bytes before and from a return address on.
    fn code_around(&mut self, return_address: u64) -> Option<(&[u8], &[u8])> {
        let (module, offset) = self.code(return_address.wrapping_sub(1))?;
        let bytes = module.image.around(offset + 1, CODE_BEFORE, CODE_FROM);
        module.image.is_go.then_some(bytes)
    }
}

/// The start of Go's `g`, in all versions for a long time.
#[derive(PartialEq, Eq)]
struct Goroutine {
    start: u64, // of its stack
    end: u64,
    thread: u64, // the `m` that runs it
}

impl Goroutine {
    fn read(live: &mut dyn LiveMemory, addr: u64) -> Option<Self> {
        let mut bytes = [0; 56];
        let count = live.read(VirtAddr(addr), &mut bytes);
        let mut words = bytes.chunks_exact(8).map(|word| {
            let word = word.first_chunk().copied();
            word.map_or(0, u64::from_le_bytes)
        });
        let (start, end) = (words.next()?, words.next()?);
        let thread = words.nth(4)?;
        (count == bytes.len()).then_some(Self { start, end, thread })
    }
}

/// How far around a return address of Go's runtime instructions are looked at.
const CODE_BEFORE: usize = 128;
const CODE_FROM: usize = 64;

/// How `asmcgocall` finds back to the goroutine's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// Where the goroutine is, from the stack pointer.
    pub(crate) goroutine_at: u8,
    /// Where it is how far its stack pointer was from the end of its stack.
    pub(crate) depth_at: u8,
    /// Whether the caller's frame pointer lies there, below the return address.
    pub(crate) restores_fp: bool,
}
