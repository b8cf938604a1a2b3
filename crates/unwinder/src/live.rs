use std::ops::Range;

use prof_model::VirtAddr;

use crate::StackMemory;
use crate::x86_64::SIGNAL_FRAME_BYTES;

/// The memory of the sampled process as it is now, which is later than the sample. A test array can
/// be it.
pub trait LiveMemory {
    /// Reads what lies at `addr`. Returns how many bytes there are, counted from the start of `into`.
    fn read(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize;

    /// The same for instructions, which are hardly ever others a moment later.
    fn read_code(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize;

    /// Has the bytes at `addr` looked at again and again from now on, for the sampled thread. They are
    /// two words of the program's that one store each changes.
    fn watch(&mut self, addr: VirtAddr);

    /// What the bytes watched for the sampled thread were when the sample was taken. `None` if that
    /// cannot be known: they are not watched for so long, or were others soon before or after.
    fn watched(&mut self) -> Option<Watched>;
}

/// What watched bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The number of this value: another one has another number, in all threads and processes.
    pub id: u64,
    /// The value.
    pub bytes: [u8; WATCHED_BYTES],
    /// Whether they were the same all the time from before the sample until now.
    pub is_still: bool,
}

/// How many bytes are watched.
pub const WATCHED_BYTES: usize = 16;

/// So much of the end of a copy must be the same as before at least, if there is so much.
const TAIL: u64 = 4096;
/// What is read at once at first; then as much again as there is.
const PIECE: u64 = 64 << 10;
/// What is read of the rest of one stack at most.
const MOST: u64 = 1 << 20;
/// How much below a word that lies far away what belongs to its frame is looked for.
const BELOW: u64 = 4096;
/// How far beyond the copy a stack is believed to reach: an address further away is garbage.
pub(crate) const FURTHEST: u64 = 1 << 30;

/// The stack of a sample: its copy, and what was read of the rest.
pub(crate) struct Memory<'a, S: ?Sized> {
    pub(crate) copy: &'a S,
    rest: Option<Rest<'a>>,
}

/// The rest of the stack: what the thread does not use as long as it stays in the frames of the copy.
struct Rest<'a> {
    live: &'a mut dyn LiveMemory,
    buffers: &'a mut Buffers,
    state: State,
    start: u64, // of `buffers.rest`
    read: u64,  // so far
    /// The part of the copy that shows whether the thread has stayed there.
    proof: Range<u64>,
}

/// Bytes of live memory, kept for the next sample only for their room.
#[derive(Default)]
pub(crate) struct Buffers {
    rest: Vec<u8>,
    proof: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    Reading,
    /// All of another stack was read.
    Whole,
    /// The thread has moved on.
    MovedOn,
}

/// Where the rest lies, and the word in the copy by which the frames below it return there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beyond {
    /// Behind the copy. What the thread does in its innermost frame leaves alone what lies from `quiet`
    /// on.
    CopyEnd { return_slot: u64, quiet: u64 },
    /// On another stack, from this stack pointer on. The word leads to the kernel's signal frame.
    OtherStack { return_slot: u64, sp: u64 },
}

impl<'a, S: StackMemory + ?Sized> Memory<'a, S> {
    pub(crate) fn new(
        copy: &'a S,
        live: Option<&'a mut dyn LiveMemory>,
        buffers: &'a mut Buffers,
    ) -> Self {
        let rest = live.map(|live| Rest {
            live,
            buffers,
            state: State::Untouched,
            start: 0,
            read: 0,
            proof: 0..0,
        });
        Self { copy, rest }
    }

    /// Whether some of the stack was read from live memory.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_some_and(|rest| matches!(rest.state, State::Reading | State::Whole))
    }

    /// The target's memory.
    pub(crate) fn live(&mut self) -> Option<&mut (dyn LiveMemory + 'a)> {
        self.rest.as_mut().map(|rest| &mut *rest.live)
    }

    /// Reads another stack, so much of it as a sample may have. Whether it is that stack is for the
    /// caller to show.
    #[cold]
    pub(crate) fn read_elsewhere(&mut self, stack: Range<u64>) -> bool {
        let Some(rest) = &mut self.rest else {
            return false;
        };
        let len = stack.end.saturating_sub(stack.start).min(MOST) as usize;
        let bytes = &mut rest.buffers.rest;
        bytes.resize(len, 0);
        let count = rest.live.read(VirtAddr(stack.start), bytes);
        bytes.truncate(count);
        rest.start = stack.start;
        rest.state = State::Whole;
        count > 0
    }

    /// Whether the thread was seen to have moved on.
    pub(crate) fn has_moved_on(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_some_and(|rest| rest.state == State::MovedOn)
    }

    /// Reads instructions: `into.len()` bytes from `addr` on, or as many as there are.
    #[cold]
    pub(crate) fn read_code(&mut self, addr: u64, into: &mut [u8]) -> usize {
        let rest = self.rest.as_mut();
        let count = rest.map_or(0, |rest| rest.live.read_code(VirtAddr(addr), into));
        count.min(into.len())
    }

    /// Reads on until the word at `addr` is there. `false` if that cannot be, or the thread has moved
    /// on.
    #[cold]
    pub(crate) fn read_on(&mut self, beyond: Beyond, addr: u64) -> bool {
        let copy_end = self.copy.end().0;
        let Some(rest) = &mut self.rest else {
            return false;
        };
        if rest.state == State::Untouched {
            rest.buffers.rest.clear();
            (rest.start, rest.proof) = match beyond {
                Beyond::CopyEnd { return_slot, quiet } => {
                    let tail = copy_end.saturating_sub(TAIL);
                    let start = match tail >= quiet {
                        true => return_slot.min(tail),
                        false => return_slot,
                    };
                    // a word may lie half in the copy
                    (copy_end.saturating_sub(8), start..copy_end)
                }
                Beyond::OtherStack { return_slot, sp } => {
                    let end = return_slot.saturating_add(SIGNAL_FRAME_BYTES);
                    (sp, return_slot..end)
                }
            };
            rest.state = State::Reading;
            if !self.is_unmoved() {
                return false;
            }
        }
        let rest = self.rest.as_mut();
        rest.is_some_and(|rest| rest.state == State::Reading && rest.read_until(addr))
    }

    /// Whether the thread is still where it was: byte for byte, the part of the copy that it would have
    /// changed if it had left is what lies there now.
    #[cold]
    pub(crate) fn is_unmoved(&mut self) -> bool {
        let Some(rest) = &mut self.rest else {
            return false;
        };
        let Range { start, end } = rest.proof;
        let bytes = &mut rest.buffers.proof;
        bytes.resize(end.saturating_sub(start) as usize / 8 * 8, 0);
        let is_whole = rest.live.read(VirtAddr(start), bytes) == bytes.len();
        let mut words = (start..).step_by(8).zip(bytes.chunks_exact(8));
        let is_same = is_whole
            && !bytes.is_empty()
            && words.all(|(addr, now)| {
                let then = self.copy.read_u64(VirtAddr(addr));
                then.is_some_and(|then| then.to_le_bytes() == *now)
            });
        if !is_same {
            rest.state = State::MovedOn;
        }
        is_same
    }
}

impl Rest<'_> {
    fn read_until(&mut self, addr: u64) -> bool {
        let Self { start, buffers, .. } = self;
        let bytes = &mut buffers.rest;
        let Some(needed) = addr.checked_add(8) else {
            return false;
        };
        if addr < *start || addr - *start > FURTHEST {
            return false;
        }
        let mut end = start.saturating_add(bytes.len() as u64);
        if needed <= end {
            return true;
        }
        if needed - end > PIECE {
            // a very large frame: nothing in between is needed
            bytes.clear();
            *start = addr - BELOW;
            end = *start;
        }
        let wanted = (bytes.len() as u64).max(PIECE).min(MOST - self.read);
        let kept = bytes.len();
        bytes.resize(kept + wanted as usize, 0);
        let count = self.live.read(VirtAddr(end), &mut bytes[kept..]);
        bytes.truncate(kept + count.min(wanted as usize));
        self.read += wanted;
        needed <= start.saturating_add(bytes.len() as u64)
    }

    fn word(&self, addr: u64) -> Option<u64> {
        if !matches!(self.state, State::Reading | State::Whole) {
            return None;
        }
        let offset = usize::try_from(addr.checked_sub(self.start)?).ok()?;
        let word = self.buffers.rest.get(offset..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }
}

impl<S: StackMemory + ?Sized> StackMemory for Memory<'_, S> {
    #[inline]
    fn read_u64(&self, addr: VirtAddr) -> Option<u64> {
        match self.copy.read_u64(addr) {
            None => self.rest.as_ref()?.word(addr.0),
            word => word,
        }
    }

    fn end(&self) -> VirtAddr {
        self.copy.end()
    }

    fn is_cut(&self) -> bool {
        self.copy.is_cut()
    }
}
