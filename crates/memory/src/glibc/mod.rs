//! What malloc of the GNU C library has of a process's memory: in use, or freed and kept.
//!
//! In: a process. Out: sums that agree with what the library counts itself, or why there are none. Each heap is walked
//! while the process runs. A walk holds where it comes out at the end of the heap, where each free chunk has its size
//! at both ends, and where the arena had the same size before and after; else it is made again. Elsewhere: where
//! arenas are (`find.rs`), chunks (`walk.rs`), freed blocks that look as if they were in use (`lists.rs`).

mod blocks; // blocks that are mappings of their own
mod find;
mod lists;
mod walk;

use std::fmt;
use std::ops::{AddAssign, Range};
use std::time::Duration;

use find::{Arena, ArenaState, HEAP_ALIGN, Instance, instances};
use lists::Lists;
use walk::{Heap, Lost, Residency, Walked, Walker};

use crate::pages::Pages;
use crate::remote::Remote;
use crate::smaps::Mapping;

/// Walks take no more CPU time.
const LONGEST: Duration = Duration::from_millis(1500);
/// A heap that changes is walked so often.
const TRIES: usize = 8;

/// What malloc has, in bytes with the heads of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Malloc {
    /// How many arenas.
    pub arenas: usize,
    /// Bytes of blocks that are handed out, resident or not.
    pub in_use: u64,
    /// Of these resident.
    pub in_use_resident: u64,
    /// Freed and kept: resident, and handed out to nobody.
    pub kept_resident: u64,
    /// Freed and kept, but given back to the kernel or never touched: costs nothing.
    pub kept_elsewhere: u64,
    /// Of what is kept, in threads' caches and fast bins: freed blocks that are handed out next.
    pub in_caches: u64,
    /// Bytes of blocks that are mappings of their own; they are part of what is in use.
    pub mmapped: u64,
    /// How many such blocks.
    pub mmapped_blocks: u64,
    /// Of their bytes resident; `None` where they could not be told from other mappings.
    pub mmapped_resident: Option<u64>,
    /// Where the arenas have their memory.
    pub ranges: Vec<Range<u64>>,
}

/// What the mallocs of several processes have. Where is no answer then.
impl AddAssign for Malloc {
    fn add_assign(&mut self, other: Self) {
        self.arenas += other.arenas;
        self.in_use += other.in_use;
        self.in_use_resident += other.in_use_resident;
        self.kept_resident += other.kept_resident;
        self.kept_elsewhere += other.kept_elsewhere;
        self.in_caches += other.in_caches;
        self.mmapped += other.mmapped;
        self.mmapped_blocks += other.mmapped_blocks;
        self.mmapped_resident = match (self.mmapped_resident, other.mmapped_resident) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
    }
}

/// Why it is not known what malloc has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// We may not read the process's memory, or it has ended.
    NotReadable(String),
    /// There is no such malloc.
    NotFound,
    /// The main arena has other memory between its own.
    InPieces,
    /// The sizes of an arena's heaps are not what it counts.
    Disagrees,
    /// It changed in each of several walks.
    Changes,
    /// A part is swapped out, and is not fetched.
    Swapped,
    /// It is too large.
    TooLarge,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReadable(cause) => write!(f, "its memory cannot be read: {cause}"),
            Self::NotFound => f.write_str("no malloc of glibc was found"),
            Self::InPieces => f.write_str("the main heap is in pieces"),
            Self::Disagrees => f.write_str("the heaps of an arena are not what it counts"),
            Self::Changes => f.write_str("the heap changes too fast to be read"),
            Self::Swapped => f.write_str("a part of the heap is swapped out"),
            Self::TooLarge => f.write_str("the heap is too large to be read in 1.5 s of CPU time"),
        }
    }
}

/// Reads what malloc has.
///
/// # Errors
/// Why that is not known.
pub fn read_malloc(pid: i32, mappings: &[Mapping]) -> Result<Malloc, Unknown> {
    let not_readable = |error: std::io::Error| Unknown::NotReadable(error.to_string());
    let pages = Pages::open(pid).map_err(not_readable)?;
    let mut remote = Remote::new(pid);
    let mut readable = mappings.iter().filter(|it| it.modes.starts_with('r'));
    if let Some(first) = readable.next() {
        let (pid, tid) = (prof_model::Pid(pid), prof_model::Tid(pid));
        let at = prof_model::VirtAddr(first.range.start);
        prof_sampler::read_memory(pid, tid, at, &mut [0; 8]).map_err(not_readable)?;
    }
    let instances = instances(&remote, mappings);
    if instances.is_empty() {
        return Err(Unknown::NotFound);
    }
    let mut malloc = Malloc::default();
    for instance in &instances {
        add_instance(instance, &mut remote, &pages, mappings, &mut malloc)?;
    }
    Ok(malloc)
}

fn add_instance(
    instance: &Instance,
    remote: &mut Remote,
    pages: &Pages,
    mappings: &[Mapping],
    malloc: &mut Malloc,
) -> Result<(), Unknown> {
    let (mut walked, mut heaps) = (Walked::default(), Vec::new());
    let mut walker = Walker::new(remote, LONGEST);
    for (nth, &arena) in instance.arenas.iter().enumerate() {
        let of_arena = walk_arena(arena, nth == 0, &mut walker, remote, pages, mappings)?;
        walked.add(of_arena.0);
        heaps.extend(of_arena.1);
    }
    let mut lists = Lists::new(remote, heaps.clone());
    instance.arenas.iter().for_each(|&it| lists.fast_bins(it));
    walked.caches.iter().for_each(|&it| lists.cache(it));
    if lists.is_cut {
        return Err(Unknown::TooLarge);
    }
    // The walk took them for blocks in use.
    let mut freed = std::mem::take(&mut lists.freed);
    freed.sort_unstable();
    freed.dedup();
    let in_caches: u64 = freed.iter().map(|it| it.1).sum::<u64>().min(walked.in_use);
    let in_caches_resident = in_caches.min(walked.in_use_resident); // they were written to when they were freed
    let in_use = walked.in_use - in_caches;
    let in_use_resident = walked.in_use_resident - in_caches_resident;
    malloc.arenas += instance.arenas.len();
    malloc.in_use += in_use;
    malloc.in_use_resident += in_use_resident;
    malloc.kept_resident += walked.resident - in_use_resident;
    malloc.kept_elsewhere +=
        (walked.all - in_use).saturating_sub(walked.resident - in_use_resident);
    malloc.in_caches += in_caches;
    if let Some((count, bytes)) = instance.mmapped {
        malloc.mmapped += bytes;
        malloc.mmapped_blocks += count;
        malloc.in_use += bytes;
        let resident = blocks::resident(remote, pages, mappings, &heaps, (count, bytes));
        malloc.mmapped_resident = resident;
        malloc.in_use_resident += resident.unwrap_or(0);
    }
    malloc.ranges.extend(heaps);
    Ok(())
}

/// What an arena has, and where.
fn walk_arena(
    arena: Arena,
    is_main: bool,
    walker: &mut Walker<'_>,
    remote: &Remote,
    pages: &Pages,
    mappings: &[Mapping],
) -> Result<(Walked, Vec<Range<u64>>), Unknown> {
    let gone = || Unknown::NotReadable("it has ended".to_owned());
    let mut reason = Unknown::Changes;
    for _ in 0..TRIES {
        let before = arena.state(remote).ok_or_else(gone)?;
        if before.system == 0 {
            return Ok((Walked::default(), Vec::new())); // nothing was asked of it yet
        }
        let heaps = match is_main {
            true => main_heap(before, remote, mappings),
            false => heaps(arena, before, remote),
        };
        let heaps = match heaps {
            Ok(heaps) => heaps,
            Err(error) => {
                reason = error;
                continue;
            }
        };
        let mut all = Walked::default();
        let walk = heaps.iter().try_for_each(|heap| {
            let residency = Residency::of(pages, &heap.range).ok_or(Lost::Changed)?;
            all.add(walker.walk(heap, &residency)?);
            Ok(())
        });
        match walk {
            Ok(())
                if arena
                    .state(remote)
                    .is_some_and(|it| it.system == before.system) =>
            {
                let ranges = heaps.into_iter().map(|heap| heap.range);
                return Ok((all, ranges.collect()));
            }
            Ok(()) | Err(Lost::Changed) => reason = Unknown::Changes,
            Err(Lost::Swapped) => return Err(Unknown::Swapped),
            Err(Lost::TooLong) => return Err(Unknown::TooLarge),
        }
    }
    Err(reason)
}

/// The main arena's, which ends with the top chunk and is as large as the arena counts.
fn main_heap(
    state: ArenaState,
    remote: &Remote,
    mappings: &[Mapping],
) -> Result<Vec<Heap>, Unknown> {
    let size = remote.word(state.top + 8).ok_or(Unknown::Changes)? & !7;
    let end = state.top.checked_add(size).ok_or(Unknown::Changes)?;
    let start = end.checked_sub(state.system).ok_or(Unknown::Changes)?;
    let start = start.next_multiple_of(16);
    let is_in = |it: &&Mapping| it.range.start <= start && start < it.range.end;
    let is_one = mappings.iter().find(is_in).is_some_and(|first| {
        // What it has got since the mappings were read lies behind.
        let is_heap = first.name == "[heap]";
        is_heap || end <= first.range.end
    });
    match is_one {
        true => Ok(vec![Heap {
            range: start..end,
            top: Some(state.top),
        }]),
        false => Err(Unknown::InPieces),
    }
}

/// The heaps of another arena: each is aligned and names its arena and the one before.
fn heaps(arena: Arena, state: ArenaState, remote: &Remote) -> Result<Vec<Heap>, Unknown> {
    let word = |at: u64| remote.word(at).ok_or(Unknown::Changes);
    let first = arena.at & !(HEAP_ALIGN - 1);
    let head = arena.at - first; // what is before the first chunk of a heap
    let size_of_arena = arena.bins - arena.at + 2088; // up to behind the largest system_mem
    let (mut heaps, mut sum) = (Vec::new(), 0);
    let mut heap = state.top & !(HEAP_ALIGN - 1);
    while heap != 0 && sum <= state.system {
        let size = word(heap + 16)?;
        if word(heap)? != arena.at || !(4096..=HEAP_ALIGN).contains(&size) {
            return Err(Unknown::Disagrees);
        }
        sum += size;
        let before_chunks = if heap == first {
            head + size_of_arena
        } else {
            head
        };
        heaps.push(Heap {
            range: (heap + before_chunks).next_multiple_of(16)..heap + size,
            top: heaps.is_empty().then_some(state.top),
        });
        heap = word(heap + 8)?;
    }
    match sum == state.system {
        true => Ok(heaps),
        false => Err(Unknown::Disagrees),
    }
}
