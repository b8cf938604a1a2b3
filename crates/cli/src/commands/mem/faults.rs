//! Which pages that were new are still there, and how large they are.

use std::collections::HashMap;

use prof_memory::{Mapping, PageState, Pages};
use prof_profile::{Profile, Weight};

/// What is known of a process at the end.
pub struct Process {
    /// Its mappings, ascending.
    pub mappings: Vec<Mapping>,
    /// Where its pages are; `None` if we may not know.
    pub pages: Option<Pages>,
}

/// Bytes of new pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Still there.
    pub kept: u64,
    /// Gone again.
    pub gone: u64,
}

const HUGE: u64 = 2 << 20;
/// A huge page comes with one fault, and is full at once. Small ones fill the same memory with 512.
const FEW_FAULTS: u64 = 256;

/// Gives samples of page faults the weight of their pages in bytes: nothing where they are gone, not of these
/// processes, or no private memory. Without addresses all count as small pages that stayed.
pub fn weigh(profile: &mut Profile, processes: &HashMap<i32, Process>) -> Bytes {
    if profile.detailed_samples(0).is_empty() {
        return Bytes {
            kept: profile.total(0).period * 4096,
            gone: 0,
        };
    }
    let mut faults: HashMap<(i32, u64), u64> = HashMap::new();
    for (key, detail, weight) in profile.detailed_samples(0) {
        let page = profile.detail(detail).page;
        *faults.entry((key.pid.0, page / HUGE)).or_default() += weight.period;
    }
    let mut blocks: HashMap<(i32, u64), bool> = HashMap::new();
    let mut sum = Bytes::default();
    profile.weigh_anew(0, |key, detail, weight| {
        let pid = key.pid.0;
        let (Some(process), page) = (processes.get(&pid), detail.page) else {
            return Weight::default();
        };
        let next = process.mappings.partition_point(|it| it.range.end <= page);
        let mapping = process.mappings.get(next);
        let mapping = mapping.filter(|it| it.range.start <= page);
        let size = process.pages.as_ref().map_or(4096, Pages::size);
        if mapping.is_some_and(|it| !it.is_anonymous()) {
            return Weight::default();
        }
        let is_gone = |pages: &Pages| pages.state(page) == PageState::None;
        if mapping.is_none() || process.pages.as_ref().is_some_and(is_gone) {
            sum.gone += weight.period * size;
            return Weight::default();
        }
        let has_huge = mapping.is_some_and(|it| it.huge > 0);
        let block = (pid, page / HUGE);
        let is_few = faults.get(&block).is_some_and(|&it| it < FEW_FAULTS);
        let is_huge = has_huge && is_few && {
            let is_full = |pages: &Pages| is_full(pages, page / HUGE * HUGE);
            let known = blocks.entry(block);
            *known.or_insert_with(|| process.pages.as_ref().is_some_and(is_full))
        };
        let bytes = weight.period * if is_huge { HUGE } else { size };
        sum.kept += bytes;
        Weight {
            samples: weight.samples,
            period: bytes,
        }
    });
    sum
}

fn is_full(pages: &Pages, start: u64) -> bool {
    let states = pages.states(&(start..start + HUGE)).unwrap_or_default();
    !states.is_empty() && states.iter().all(|&it| it == PageState::Resident)
}
