//! The stack of a sample: its copy, and where that ends, what lies in the target's memory now. That is
//! believed only if it is shown that the thread has not moved on since the sample.

use std::cell::RefCell;
use std::ops::Range;

use prof_model::VirtAddr;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{LiveMemory, RuntimeCode, StackMemory};

/// So much of the end of a copy must be the same as before at least, if there is so much.
const TAIL: u64 = 4096;
/// What is read at once at first; then as much again as there is.
const PIECE: u64 = 64 << 10;
/// What is read of the rest of one stack at most.
const MOST: u64 = 1 << 20;
/// How much below a word that lies far away what belongs to its frame is looked for.
const BELOW: u64 = 4096;
/// How much below what proves a sample is kept to prove the next one, whose stack may be a little deeper.
const MARGIN: u64 = 12 << 10;
/// How many samples of a thread in a row have to agree on what lies beyond their copies, before one is
/// believed. Behind a copy lie the same bytes, though the thread has left, until it comes as deep again:
/// what changes in between is higher up, and leads to callers of something else. A signal's frame has all
/// registers of a moment and is rarely like another.
const AGREED_BEHIND_COPY: u32 = 3;
const AGREED_ON_OTHER_STACK: u32 = 2;
/// So many bytes of what lay beyond the last copies of threads are kept.
const MOST_KEPT: usize = 32 << 20;
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
    read: u64, // so far
    /// The part of the copy that shows whether the thread has stayed there.
    proof: Range<u64>,
    /// So many samples in a row have to agree.
    needed: u32,
    /// The words of the rest that the walk has asked for.
    used: RefCell<Vec<(u64, u64)>>,
}

/// Bytes that lay at `start`.
#[derive(Default)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn word(&self, addr: u64) -> Option<u64> {
        let offset = usize::try_from(addr.checked_sub(self.start)?).ok()?;
        let word = self.bytes.get(offset..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }
}

/// What was read of one stack: several pieces where frames are so large that what lies in them was left
/// out. Their room is used again.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Piece>,
    used: usize,
}

impl Pieces {
    fn clear(&mut self) {
        self.used = 0;
    }

    /// Another piece, still empty.
    fn begin(&mut self, start: u64) -> &mut Piece {
        if self.used == self.pieces.len() {
            self.pieces.push(Piece::default());
        }
        let piece = &mut self.pieces[self.used];
        self.used += 1;
        piece.start = start;
        piece.bytes.clear();
        piece
    }

    fn last(&mut self) -> Option<&mut Piece> {
        self.pieces[..self.used].last_mut()
    }

    fn word(&self, addr: u64) -> Option<u64> {
        let pieces = self.pieces[..self.used].iter().rev(); // the walk goes upwards
        pieces.into_iter().find_map(|piece| piece.word(addr))
    }

    fn room(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.capacity()).sum()
    }
}

/// Live memory as it was read for a thread's last sample that needed it.
#[derive(Default)]
struct Seen {
    /// What proves that the thread was there, and something below.
    proof: Piece,
    rest: Pieces,
    /// When the first of the reads that agree was over.
    since: u64,
    /// How many samples lie between two reads of these, and when the last such read was over.
    agreed: u32,
    until: u64,
    /// The read led to other callers than the one before, although the thread seemed to be where it was.
    differs: bool,
    /// The thread has been elsewhere since.
    is_over: bool,
}

impl Seen {
    fn word(&self, addr: u64) -> Option<u64> {
        self.proof.word(addr).or_else(|| self.rest.word(addr))
    }

    fn room(&self) -> usize {
        self.proof.bytes.capacity() + self.rest.room()
    }
}

/// What was read for the last samples, by their threads, and the reads for this one.
#[derive(Default)]
pub(crate) struct Buffers {
    now: Seen,
    last: FxHashMap<u64, Seen>,
    /// Threads of which different callers were seen behind the same bytes, from one sample to the next:
    /// their copies prove nothing.
    ambiguous: FxHashSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    Reading,
    /// All of another stack was read.
    Whole,
    /// The thread has moved on, or may have.
    Unproven,
}

/// Where the rest lies, and the word in the copy by which the frames below it return there.
#[derive(Clone, Debug)]
pub(crate) enum Beyond {
    /// Behind the copy. What the thread does in its innermost frame leaves alone what lies from
    /// `unchanged_from` on.
    CopyEnd {
        return_slot: u64,
        unchanged_from: u64,
    },
    /// On another stack, from this stack pointer on. The word is the first of the kernel's signal frame.
    OtherStack { signal_frame: Range<u64>, sp: u64 },
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
            read: 0,
            proof: 0..0,
            needed: 0,
            used: RefCell::default(),
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
        let pieces = &mut rest.buffers.now.rest;
        pieces.clear();
        let piece = pieces.begin(stack.start);
        piece.bytes.resize(len, 0);
        let count = rest.live.read(VirtAddr(stack.start), &mut piece.bytes);
        piece.bytes.truncate(count);
        rest.state = State::Whole;
        count > 0
    }

    /// Whether the thread has moved on, or may have.
    pub(crate) fn is_unproven(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_some_and(|rest| rest.state == State::Unproven)
    }

    /// Reads instructions: `into.len()` bytes from `addr` on, or as many as there are.
    #[cold]
    pub(crate) fn read_code(&mut self, addr: u64, into: &mut [u8]) -> usize {
        let rest = self.rest.as_mut();
        let count = rest.map_or(0, |rest| rest.live.read_code(VirtAddr(addr), into));
        count.min(into.len())
    }

    /// What the runtime that generated the code at `addr` tells about it.
    #[cold]
    pub(crate) fn runtime_code(&mut self, addr: u64) -> Option<RuntimeCode<'_>> {
        self.rest.as_mut()?.live.runtime_code(VirtAddr(addr))
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
            if rest.buffers.ambiguous.contains(&rest.live.thread()) {
                rest.state = State::Unproven;
                return false;
            }
            let start;
            (start, rest.proof, rest.needed) = match beyond {
                Beyond::CopyEnd {
                    return_slot,
                    unchanged_from,
                } => {
                    let tail = copy_end.saturating_sub(TAIL);
                    let start = match tail >= unchanged_from {
                        true => return_slot.min(tail),
                        false => return_slot,
                    };
                    // a word may lie half in the copy
                    let behind = copy_end.saturating_sub(8);
                    (behind, start..copy_end, AGREED_BEHIND_COPY)
                }
                Beyond::OtherStack { signal_frame, sp } => {
                    (sp, signal_frame, AGREED_ON_OTHER_STACK)
                }
            };
            rest.buffers.now.rest.clear();
            rest.buffers.now.rest.begin(start);
            rest.state = State::Reading;
            if !self.is_unmoved() {
                return false;
            }
        }
        let rest = self.rest.as_mut();
        rest.is_some_and(|rest| rest.state == State::Reading && rest.read_until(addr))
    }

    /// Whether the thread seems to be where it was: byte for byte, the part of the copy that it would
    /// have changed by going elsewhere is what lies there now.
    #[cold]
    fn is_unmoved(&mut self) -> bool {
        let Some(rest) = &mut self.rest else {
            return false;
        };
        let Range { start, end } = rest.proof;
        let piece = &mut rest.buffers.now.proof;
        piece.start = start - MARGIN.min(start);
        let len = end.saturating_sub(piece.start) as usize / 8 * 8;
        piece.bytes.resize(len, 0);
        let count = rest.live.read(VirtAddr(piece.start), &mut piece.bytes);
        if count < len {
            // below the stack there may be nothing
            piece.start = start;
            piece
                .bytes
                .truncate(end.saturating_sub(start) as usize / 8 * 8);
            let count = rest.live.read(VirtAddr(start), &mut piece.bytes);
            piece.bytes.truncate(count);
        }
        let is_same = is_as_copied(self.copy, &rest.proof, |addr| piece.word(addr));
        if !is_same {
            rest.state = State::Unproven;
            self.end_series();
        }
        is_same
    }

    /// The thread is not where its last samples were.
    fn end_series(&mut self) {
        if let Some(rest) = &mut self.rest
            && !rest.buffers.last.is_empty()
            && let Some(seen) = rest.buffers.last.get_mut(&rest.live.thread())
        {
            seen.is_over = true;
        }
    }

    /// The sample's walk is over. One that did not need the rest says that the thread is elsewhere now.
    #[inline]
    pub(crate) fn finish(&mut self) {
        let rest = self.rest.as_ref();
        if rest.is_some_and(|rest| rest.state == State::Untouched) {
            self.end_series();
        }
    }

    /// Whether the rest that was read is that of the sample: the thread is where it was, was there at its
    /// last samples too, and they found the same words in the rest, before this sample and after it.
    /// `callers` are what the rest led to, if that is all of them.
    #[cold]
    pub(crate) fn is_proven(&mut self, callers: Option<&[VirtAddr]>) -> bool {
        let is_proven = self.is_unmoved() && self.agrees_with_last(callers);
        if let Some(rest) = &mut self.rest
            && !is_proven
        {
            rest.state = State::Unproven;
        }
        is_proven
    }

    fn agrees_with_last(&mut self, callers: Option<&[VirtAddr]>) -> bool {
        let Some(rest) = &mut self.rest else {
            return false;
        };
        let Some(at) = rest.live.now() else {
            return false;
        };
        let (thread, sampled_at) = (rest.live.thread(), rest.live.sampled_at());
        let Buffers {
            now,
            last,
            ambiguous,
        } = &mut *rest.buffers;
        let before = last.remove(&thread).unwrap_or_default();
        let used = rest.used.get_mut();
        let is_same_place = is_as_copied(self.copy, &rest.proof, |addr| before.word(addr));
        let is_series = is_same_place && !before.is_over;
        let is_later = before.until < sampled_at;
        if is_series && is_later && before.differs {
            ambiguous.insert(thread); // that it has gone elsewhere did not explain it
            return false;
        }
        let is_other = |&(at, word): &(u64, u64)| before.word(at) != Some(word);
        let agrees = is_series && !used.iter().any(is_other);
        let is_caller = |word: u64| {
            let mut callers = callers.unwrap_or_default().iter();
            callers.any(|caller| caller.0 == word || caller.0 == word.wrapping_sub(1))
        };
        let mut known = used.iter().filter(|&&(at, _)| before.word(at).is_some());
        now.differs =
            is_series && (before.differs || known.any(|word| is_other(word) && is_caller(word.1)));
        (now.since, now.agreed, now.until) = match agrees {
            false => (at, 0, at),
            true if is_later => (before.since, before.agreed + 1, at),
            true => (before.since, before.agreed, before.until),
        };
        now.is_over = false;
        let is_proven = now.agreed >= rest.needed && now.since < sampled_at;
        if now.room() + last.values().map(Seen::room).sum::<usize>() > MOST_KEPT {
            last.clear();
        }
        last.insert(thread, std::mem::replace(now, before)); // its room is used again
        is_proven
    }
}

/// Whether words are those of a part of the copy, which is not empty.
fn is_as_copied<S: StackMemory + ?Sized>(
    copy: &S,
    part: &Range<u64>,
    word: impl Fn(u64) -> Option<u64>,
) -> bool {
    let end = part.end.saturating_sub(7);
    let mut words = (part.start..end).step_by(8);
    part.start < end
        && words.all(|addr| {
            let then = copy.read_u64(VirtAddr(addr));
            then.is_some() && then == word(addr)
        })
}

impl Rest<'_> {
    fn read_until(&mut self, addr: u64) -> bool {
        let pieces = &mut self.buffers.now.rest;
        let (Some(needed), Some(mut piece)) = (addr.checked_add(8), pieces.last()) else {
            return false;
        };
        if addr < piece.start || addr - piece.start > FURTHEST {
            return false;
        }
        let mut end = piece.end();
        if needed <= end {
            return true;
        }
        if needed - end > PIECE {
            // a very large frame: nothing in between is needed, but what was read so far
            end = addr - BELOW;
            piece = pieces.begin(end);
        }
        let kept = piece.bytes.len();
        let wanted = (kept as u64).max(PIECE).min(MOST - self.read);
        piece.bytes.resize(kept + wanted as usize, 0);
        let count = self.live.read(VirtAddr(end), &mut piece.bytes[kept..]);
        piece.bytes.truncate(kept + count.min(wanted as usize));
        self.read += wanted;
        needed <= piece.end()
    }

    fn word(&self, addr: u64) -> Option<u64> {
        if !matches!(self.state, State::Reading | State::Whole) {
            return None;
        }
        let word = self.buffers.now.rest.word(addr)?;
        self.used.borrow_mut().push((addr, word));
        Some(word)
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
