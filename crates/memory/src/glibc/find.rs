//! Where malloc keeps its own data, by their shape: distributions strip the symbols that would tell.
//!
//! An arena has 127 bins, each a pair of pointers. Those of an empty bin point at the bin itself, 16 bytes before the
//! pair, and the last bin is always empty. What lies before and behind the bins is at the same distance from them in
//! all releases since 2.23:
//!
//! ```text
//! -16 top   -8 last remainder   0 bins   2032 binmap   2048 next   2056 next free   2064 threads   2072 system_mem
//! ```

use crate::remote::{Remote, word_at};
use crate::smaps::Mapping;

pub(crate) const BINS: u64 = 127;
const BINS_BYTES: u64 = 16 * BINS;
/// So many of them are empty in any heap.
const LEAST_EMPTY: usize = 16;
/// How far bins lie from the beginning of their arena: since 2.27, and before.
const BINS_AT: [u64; 2] = [112, 104];
/// Heaps of arenas but the first are aligned to this.
pub(crate) const HEAP_ALIGN: u64 = 64 << 20;
/// No program has as many.
const MOST_ARENAS: usize = 65_536;
/// Data of a library are not larger.
const LARGEST_DATA: u64 = 32 << 20;

/// Where an arena is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arena {
    /// Its beginning.
    pub(crate) at: u64,
    /// Its bins.
    pub(crate) bins: u64,
}

/// What an arena says of itself at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaState {
    /// The chunk at the end, which is free.
    pub(crate) top: u64,
    /// Bytes that it has of the system.
    pub(crate) system: u64,
}

impl Arena {
    pub(crate) fn state(self, remote: &Remote) -> Option<ArenaState> {
        Some(ArenaState {
            top: remote.word(self.bins - 16)?,
            system: remote.word(self.bins + 2072)?,
        })
    }

    fn next(self, remote: &Remote) -> Option<u64> {
        remote.word(self.bins + 2048)
    }
}

/// One malloc of a process: a static library in a program may be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The first is the main one.
    pub(crate) arenas: Vec<Arena>,
    /// Blocks that are mappings of their own: how many, and their bytes.
    pub(crate) mmapped: Option<(u64, u64)>,
}

/// All that are found in the data of these mappings.
pub(crate) fn instances(remote: &Remote, mappings: &[Mapping]) -> Vec<Instance> {
    let is_data = |it: &&Mapping| {
        it.modes.starts_with("rw-p") && it.is_file() && it.range.end - it.range.start < LARGEST_DATA
    };
    let mut found = Vec::new();
    for mapping in mappings.iter().filter(is_data) {
        let mut bytes = vec![0; (mapping.range.end - mapping.range.start) as usize];
        let read = remote.read(mapping.range.start, &mut bytes);
        bytes.truncate(read);
        let Some(bins) = main_bins(&bytes, mapping.range.start) else {
            continue;
        };
        let ring = BINS_AT.iter().find_map(|&at| ring(remote, bins, at));
        if let Some(arenas) = ring {
            found.push(Instance {
                arenas,
                mmapped: mmapped(&bytes),
            });
        }
    }
    found
}

/// The address of the bins in data that begin at `start`.
fn main_bins(bytes: &[u8], start: u64) -> Option<u64> {
    let is_empty = |at: usize| {
        let itself = (start + at as u64).wrapping_sub(16);
        word_at(bytes, at) == Some(itself) && word_at(bytes, at + 8) == Some(itself)
    };
    let mut at = 0;
    let mut last = None;
    let mut count = 0;
    while at + 16 <= bytes.len() {
        if is_empty(at) {
            let is_near = last.is_some_and(|last| at - last <= BINS_BYTES as usize - 16);
            count = if is_near { count + 1 } else { 1 };
            last = Some(at);
            at += 16;
        } else {
            if last.is_some_and(|last| at - last > BINS_BYTES as usize) && count >= LEAST_EMPTY {
                break;
            }
            at += 8;
        }
    }
    // The last bin is never used: all the others lie before it.
    let first = last?.checked_sub(BINS_BYTES as usize - 16)?;
    let pairs = (0..BINS as usize).map(|bin| first + 16 * bin);
    let empty = pairs.filter(|&at| is_empty(at)).count();
    (empty >= LEAST_EMPTY).then_some(start + first as u64)
}

/// All arenas from the main one on, each of which names the next. That the ring closes proves where an arena begins.
fn ring(remote: &Remote, bins: u64, bins_at: u64) -> Option<Vec<Arena>> {
    let main = Arena {
        at: bins - bins_at,
        bins,
    };
    let mut arenas = vec![main];
    let mut next = main.next(remote)?;
    while next != main.at {
        // Any other lies behind the head of its first heap, which names it.
        if arenas.len() >= MOST_ARENAS || remote.word(next & !(HEAP_ALIGN - 1))? != next {
            return None;
        }
        let arena = Arena {
            at: next,
            bins: next.checked_add(bins_at)?,
        };
        arenas.push(arena);
        next = arena.next(remote)?;
    }
    Some(arenas)
}

/// The parameters of malloc have a limit of 65,536 such blocks, around which counters lie: how many there are and were
/// at most, their bytes now and at most.
fn mmapped(bytes: &[u8]) -> Option<(u64, u64)> {
    const LIMIT: u64 = 65_536;
    let candidates = (0..bytes.len().saturating_sub(32)).step_by(8);
    let mut found = candidates.filter_map(|at| {
        let word = |nth: usize| word_at(bytes, at + 8 * nth);
        let (limits, most) = (word(0)?, word(1)? & 0xffff_ffff);
        let (count, now, ever) = (limits & 0xffff_ffff, word(2)?, word(3)?);
        let are_pages = now % 4096 == 0 && ever % 4096 == 0 && now <= ever && ever < 1 << 47;
        let agree = (count == 0) == (now == 0) && (most == 0) == (ever == 0) && count <= most;
        let fits = limits >> 32 == LIMIT && are_pages && agree && now >= count * 4096;
        fits.then_some((count, now))
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &mut [u8], at: usize, word: u64) {
        bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
    }

    #[test]
    fn bins_are_found_among_other_data_by_those_that_are_empty() {
        let start = 0x7f00_0000_0000;
        let mut bytes = vec![0x5a; 8192];
        let first = 1000;
        for bin in 0..BINS as usize {
            let at = first + 16 * bin;
            let itself = start + at as u64 - 16;
            let full = bin < 5;
            put(&mut bytes, at, if full { 0x5555_0000 } else { itself });
            put(&mut bytes, at + 8, if full { 0x5555_1000 } else { itself });
        }
        assert_eq!(main_bins(&bytes, start), Some(start + first as u64));
        assert_eq!(main_bins(&bytes[..2000], start), None);
        assert_eq!(main_bins(&[], start), None);
    }

    #[test]
    fn blocks_of_their_own_are_counted_where_all_numbers_agree() {
        let mut bytes = vec![0; 256];
        put(&mut bytes, 64, 3 | 65_536 << 32);
        put(&mut bytes, 72, 4);
        put(&mut bytes, 80, 3 * 8192);
        put(&mut bytes, 88, 4 * 8192);
        assert_eq!(mmapped(&bytes), Some((3, 3 * 8192)));
        put(&mut bytes, 80, 0); // three blocks have bytes
        assert_eq!(mmapped(&bytes), None);
    }
}
