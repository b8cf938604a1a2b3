//! Freed blocks that look as if they were in use, because they are kept for the next who wants one of their size: in
//! an arena's fast bins, and in threads' caches.

use std::ops::Range;

use super::find::Arena;
use super::walk::is_cache;
use crate::remote::Remote;

const FLAGS: u64 = 7;
const FAST_BINS: u64 = 10;
/// Lists with more are not followed to their end: so many freed blocks are looked at in all.
const MOST: usize = 1 << 20;

/// Follows lists through heaps.
pub(crate) struct Lists<'a> {
    remote: &'a mut Remote,
    heaps: Vec<Range<u64>>, // ascending
    /// Where each freed block is, and how long.
    pub(crate) freed: Vec<(u64, u64)>,
    /// Not all were looked at.
    pub(crate) is_cut: bool,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(remote: &'a mut Remote, mut heaps: Vec<Range<u64>>) -> Self {
        heaps.sort_unstable_by_key(|it| it.start);
        remote.forget();
        Self {
            remote,
            heaps,
            freed: Vec::new(),
            is_cut: false,
        }
    }

    fn is_in_heap(&self, at: u64) -> bool {
        let next = self.heaps.partition_point(|it| it.start <= at);
        next > 0 && at < self.heaps[next - 1].end
    }

    /// The blocks in the fast bins of an arena.
    pub(crate) fn fast_bins(&mut self, arena: Arena) {
        for bin in 0..FAST_BINS {
            let at = arena.bins - 16 - 8 * (FAST_BINS - bin);
            let head = self.remote.word(at).unwrap_or(0);
            if head != 0 {
                self.follow(head + 16, 32 + 16 * bin, u64::MAX, 16);
            }
        }
    }

    /// The blocks in the cache of a thread that a chunk may be.
    pub(crate) fn cache(&mut self, chunk: u64) {
        let size = self.remote.word(chunk + 8).unwrap_or(0) & !FLAGS;
        let mut bytes = vec![0; size.saturating_sub(16).min(4096) as usize];
        if self.remote.read(chunk + 16, &mut bytes) < bytes.len() {
            return;
        }
        for (head, size, count) in is_cache(&bytes).unwrap_or_default() {
            self.follow(head, size, count, 0);
        }
    }

    /// Follows a list from the memory of its first block on, all of whose chunks have this size. A link leads to the
    /// memory of the next one, or `link_to` bytes before it.
    fn follow(&mut self, first: u64, size: u64, most: u64, link_to: u64) {
        let mut at = first;
        for _ in 0..most {
            if self.freed.len() >= MOST {
                self.is_cut = true;
                return;
            }
            let is_right = at.is_multiple_of(16)
                && self.is_in_heap(at)
                && self.remote.cached_word(at - 8).map(|it| it & !FLAGS) == Some(size);
            let (true, Some(link)) = (is_right, self.remote.cached_word(at)) else {
                return;
            };
            self.freed.push((at - 16, size));
            // Since 2.32 links are masked with where they are.
            let unmasked = link ^ (at >> 12);
            let next = match self.is_in_heap(unmasked) {
                true => unmasked,
                false => link,
            };
            if link == 0 || unmasked == 0 {
                return;
            }
            at = next.wrapping_add(link_to);
        }
    }
}
