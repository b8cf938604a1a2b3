//! What was found out about a target's memory, as plain values.

use std::time::Duration;

use prof_memory::{Allocator, Kinds, Malloc};
use prof_report::HotPaths;
use prof_vitals::MemoryUse;

/// All that the lines are made of.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// `storefront 1529`
    pub target: String,
    /// How it is typed: `-p 1529`.
    pub typed: String,
    /// How long was looked.
    pub elapsed: Duration,
    /// How many processes were looked at.
    pub processes: usize,
    /// What is resident, at the end.
    pub kinds: Kinds,
    /// Bytes per second that were added, and their error.
    pub growth: Option<(f64, f64)>,
    /// Bytes that were added while it was looked at.
    pub added: Option<i64>,
    /// Memory of its cgroup.
    pub cgroup: Option<MemoryUse>,
    /// What malloc has, in all processes that have one.
    pub malloc: Option<Malloc>,
    /// Why that is not known.
    pub no_malloc: Option<String>,
    /// The allocators that were found.
    pub allocators: Vec<Allocator>,
    /// Why stacks of threads could not be told from other memory.
    pub no_stacks: bool,
    /// What new pages are there, and who touched them first.
    pub new: Option<NewPages>,
    /// Why that is not known.
    pub not_sampled: Option<String>,
    /// Where the samples are.
    pub file: Option<String>,
}

/// New pages of private memory.
#[derive(Clone, Debug, Default)]
pub struct NewPages {
    /// Bytes of those that are still there.
    pub bytes: u64,
    /// Bytes of those that are gone again.
    pub gone: u64,
    /// Whether it could not be found out which are gone.
    pub all_counted: bool,
    /// Samples that were lost.
    pub lost: u64,
    /// By the functions that touched them first.
    pub paths: HotPaths,
}

impl Answer {
    /// When the limit of the cgroup is reached if it goes on like this, where it grows for sure.
    pub fn time_to_limit(&self) -> Option<Duration> {
        let (growth, error) = self.growth.filter(|it| it.0 > it.1 && it.0 >= 1.0)?;
        let cgroup = self.cgroup?;
        let left = cgroup.limit?.saturating_sub(cgroup.current) as f64;
        let seconds = left / growth;
        let is_far = seconds > 366.0 * 86_400.0 || error.is_nan();
        (!is_far).then(|| Duration::from_secs_f64(seconds))
    }

    /// Whether memory grew for sure.
    pub fn grows(&self) -> bool {
        self.growth
            .is_some_and(|(growth, error)| growth > error && growth >= 1.0)
    }

    /// The part of the resident memory that malloc keeps although it was freed, where that is known.
    pub fn kept_share(&self) -> Option<f64> {
        let malloc = self.malloc.as_ref()?;
        Some(malloc.kept_resident as f64 / self.kinds.resident().max(1) as f64)
    }
}
