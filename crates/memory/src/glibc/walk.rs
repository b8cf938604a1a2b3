//! The chunks of a heap one after the other, as they lie in memory.
//!
//! A chunk begins with the size of the one before, where that is free, and its own size, whose lowest bit says whether
//! the one before is in use. A free chunk's size stands at both of its ends, which shows whether the walk is right.

use std::ops::Range;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::pages::{PageState, Pages};
use crate::remote::{Remote, word_at};

const IN_USE: u64 = 1;
const FLAGS: u64 = 7;
const LEAST_CHUNK: u64 = 32;
const SMALL_WINDOW: usize = 64 << 10;
const LARGE_WINDOW: usize = 1 << 20;
/// A window with fewer chunks is followed by a small one.
const MANY_CHUNKS: usize = 64;
/// Chunks that may be a thread's cache: its size in 2.30 and later, and before.
const CACHE_SIZES: [u64; 2] = [0x290, 0x250];
/// So many caches at most.
const MOST_CACHES: usize = 65_536;

/// Where a walk ended otherwise than at the heap's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What is there is no chunk: it changed meanwhile.
    Changed,
    /// It is swapped out, and is not fetched.
    Swapped,
    /// It took too long.
    TooLong,
}

/// What a heap has, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// All of it.
    pub(crate) all: u64,
    /// Handed out.
    pub(crate) in_use: u64,
    /// Of that resident.
    pub(crate) in_use_resident: u64,
    /// All that is resident.
    pub(crate) resident: u64,
    /// Chunks that may be threads' caches of freed blocks.
    pub(crate) caches: Vec<u64>,
}

impl Walked {
    pub(crate) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.in_use += other.in_use;
        self.in_use_resident += other.in_use_resident;
        self.resident += other.resident;
        self.caches.extend(other.caches);
    }
}

/// Where chunks begin and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heap {
    /// From the first chunk to the end of the last one.
    pub(crate) range: Range<u64>,
    /// The chunk at the end that is free and in no list, if it is in this heap; other heaps end with two chunks
    /// without room.
    pub(crate) top: Option<u64>,
}

/// Which pages of a heap are resident.
pub(crate) struct Residency {
    start: u64,
    shift: u32,
    states: Vec<PageState>,
}

impl Residency {
    pub(crate) fn of(pages: &Pages, range: &Range<u64>) -> Option<Self> {
        let shift = pages.size().trailing_zeros();
        Some(Self {
            start: range.start >> shift,
            shift,
            states: pages.states(range).ok()?,
        })
    }

    fn state(&self, at: u64) -> PageState {
        let page = (at >> self.shift).wrapping_sub(self.start) as usize;
        self.states.get(page).copied().unwrap_or(PageState::None)
    }

    /// How many bytes of a range are resident.
    pub(crate) fn resident(&self, range: Range<u64>) -> u64 {
        let (mut at, mut sum) = (range.start, 0);
        while at < range.end {
            let next = ((at >> self.shift) + 1) << self.shift;
            let end = next.min(range.end);
            if self.state(at) == PageState::Resident {
                sum += end - at;
            }
            at = end;
        }
        sum
    }

    /// How many bytes from an address on are resident without a gap, up to so many.
    fn run(&self, at: u64, most: usize) -> usize {
        let (mut end, limit) = (at, at + most as u64);
        while end < limit && self.state(end) == PageState::Resident {
            end = ((end >> self.shift) + 1) << self.shift;
        }
        (end.min(limit) - at) as usize
    }
}

/// Walks heaps until its time is over.
pub(crate) struct Walker<'a> {
    remote: &'a Remote,
    window: Vec<u8>,
    start: u64, // of the window
    chunks: usize,
    until: Duration, // of this thread's CPU time
}

/// CPU time of this thread.
fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl<'a> Walker<'a> {
    /// One that takes no more CPU time than this.
    pub(crate) fn new(remote: &'a Remote, most: Duration) -> Self {
        Self {
            remote,
            window: Vec::new(),
            start: 0,
            chunks: MANY_CHUNKS,
            until: used() + most,
        }
    }

    /// What a heap has.
    pub(crate) fn walk(&mut self, heap: &Heap, residency: &Residency) -> Result<Walked, Lost> {
        self.window.clear();
        let Range { start, end } = heap.range;
        let mut walked = Walked {
            all: end - start,
            resident: residency.resident(start..end),
            ..Walked::default()
        };
        let mut at = start;
        let (_, mut size) = self.head(at, end, residency)?;
        loop {
            let len = size & !FLAGS;
            if heap.top == Some(at) {
                return match at + len == end {
                    true => Ok(walked),
                    false => Err(Lost::Changed),
                };
            }
            if heap.top.is_none() && len < LEAST_CHUNK {
                // The two chunks without room, whose sizes are 16 and 0, or what is left of them.
                let is_end = end - at <= 2 * LEAST_CHUNK && (len == 16 || len == 0);
                return if is_end {
                    Ok(walked)
                } else {
                    Err(Lost::Changed)
                };
            }
            let next = at.checked_add(len).ok_or(Lost::Changed)?;
            let is_chunk = len >= LEAST_CHUNK && len.is_multiple_of(16) && next + 16 <= end;
            if !is_chunk || heap.top.is_some_and(|top| next > top) {
                return Err(Lost::Changed);
            }
            let is_cache = CACHE_SIZES.contains(&len) && self.may_be_cache(at, len);
            let (before, after) = self.head(next, end, residency)?;
            if after & IN_USE != 0 {
                walked.in_use += len;
                walked.in_use_resident += residency.resident(at..next);
                if is_cache && walked.caches.len() < MOST_CACHES {
                    walked.caches.push(at);
                }
            } else if before != len {
                return Err(Lost::Changed);
            }
            (at, size) = (next, after);
        }
    }

    /// The two words at the beginning of a chunk.
    fn head(&mut self, at: u64, end: u64, residency: &Residency) -> Result<(u64, u64), Lost> {
        let offset = at.wrapping_sub(self.start) as usize;
        let both = |bytes: &[u8], at: usize| Some((word_at(bytes, at)?, word_at(bytes, at + 8)?));
        if at >= self.start
            && let Some(head) = both(&self.window, offset)
        {
            self.chunks += 1;
            return Ok(head);
        }
        if used() > self.until {
            return Err(Lost::TooLong);
        }
        let most = match self.chunks >= MANY_CHUNKS {
            true => LARGE_WINDOW,
            false => SMALL_WINDOW,
        };
        self.chunks = 0;
        let len = residency.run(at, most.min((end - at) as usize));
        if len < 16 {
            return Err(match residency.state(at) {
                PageState::Swapped => Lost::Swapped,
                _ => Lost::Changed,
            });
        }
        self.window.resize(len, 0);
        let read = self.remote.read(at, &mut self.window);
        self.window.truncate(read);
        self.start = at;
        both(&self.window, 0).ok_or(Lost::Changed)
    }

    /// Whether a chunk looks like a thread's cache as far as it is in the window: counters of 64 lists, 16 bits each or
    /// before 2.30 eight, and then their heads, of which those are null that have nothing.
    fn may_be_cache(&self, at: u64, len: u64) -> bool {
        let from = at.wrapping_sub(self.start) as usize + 16;
        let Some(bytes) = self.window.get(from..from + len as usize - 16) else {
            return true;
        };
        is_cache(bytes).is_some()
    }
}

/// The heads of the lists of a cache, with the size of the chunks in each and how many it has; `None` if these bytes
/// are something else.
pub(crate) fn is_cache(bytes: &[u8]) -> Option<Vec<(u64, u64, u64)>> {
    const LISTS: usize = 64;
    let width = match bytes.len() {
        0x280 => 2,
        0x240 => 1,
        _ => return None,
    };
    let mut lists = Vec::new();
    for list in 0..LISTS {
        let count = match width {
            2 => u16::from_ne_bytes([bytes[2 * list], bytes[2 * list + 1]]).into(),
            _ => u64::from(bytes[list]),
        };
        let head = word_at(bytes, LISTS * width + 8 * list)?;
        if (count == 0) != (head == 0) || head % 16 != 0 || head >= 1 << 56 {
            return None;
        }
        if count > 0 {
            lists.push((head, LEAST_CHUNK + 16 * list as u64, count));
        }
    }
    Some(lists)
}
