//! Blocks that malloc maps one by one because they are large: how much of them is resident.

use std::ops::Range;

use crate::pages::{PageState, Pages};
use crate::remote::Remote;
use crate::smaps::Mapping;

const FLAGS: u64 = 7;
const IS_MAPPED: u64 = 2;
const PAGE: u64 = 4096;
/// Pages are looked at one by one where no block begins: so many at most.
const MOST_PAGES: usize = 1 << 18;

/// How many bytes are resident of this many blocks with these bytes in all. Each begins with its size and a mark, at
/// the start of a page. `None` if those that are found are others.
pub(super) fn resident(
    remote: &Remote,
    pages: &Pages,
    mappings: &[Mapping],
    heaps: &[Range<u64>],
    expected: (u64, u64),
) -> Option<u64> {
    let is_candidate = |it: &&Mapping| {
        let is_heap = |heap: &Range<u64>| heap.start < it.range.end && it.range.start < heap.end;
        it.modes.starts_with("rw-p") && it.name.is_empty() && !heaps.iter().any(is_heap)
    };
    let (mut count, mut bytes, mut sum, mut looked) = (0, 0, 0, 0);
    for mapping in mappings.iter().filter(is_candidate) {
        let states = pages.states(&mapping.range).ok()?;
        let mut at = mapping.range.start;
        let page = |at: u64| ((at - mapping.range.start) / PAGE) as usize;
        while at < mapping.range.end {
            if states.get(page(at)) != Some(&PageState::Resident) {
                at += PAGE;
                continue;
            }
            looked += 1;
            if looked > MOST_PAGES {
                return None;
            }
            let len = block(remote, at, mapping.range.end);
            if let Some(len) = len {
                let states = states.iter().skip(page(at)).take((len / PAGE) as usize);
                let resident = states.filter(|&&it| it == PageState::Resident).count();
                sum += resident as u64 * PAGE;
                count += 1;
                bytes += len;
            }
            at += len.unwrap_or(PAGE);
        }
    }
    ((count, bytes) == expected).then_some(sum)
}

/// The length of the block that begins there.
fn block(remote: &Remote, at: u64, end: u64) -> Option<u64> {
    let mut head = [0; 16];
    if remote.read(at, &mut head) < 16 {
        return None;
    }
    let size = crate::remote::word_at(&head, 8)?;
    let before = crate::remote::word_at(&head, 0)?;
    let len = size & !FLAGS;
    let is_block =
        size & FLAGS == IS_MAPPED && before == 0 && len.is_multiple_of(PAGE) && len >= PAGE;
    (is_block && len <= end - at).then_some(len)
}
