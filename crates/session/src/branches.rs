//! The branches of samples: the places where they came from and led.
//!
//! In: a sample with the branches that the CPU took last. Out: frames for both ends of each. Elsewhere: the
//! frames of callchains ([`crate::placing`]), what a branch says of itself (`prof_model::BranchFlags`).

use prof_event::{Sample, Tracker};
use prof_model::{Branch, BranchFlags, ChainEnd, CpuMode, Mapping, Pid, VirtAddr};
use prof_profile::{Detail, FrameKey};

use crate::aggregation::Keep;
use crate::generated::GeneratedCode;
use crate::placing::{FIRST_OF_KERNEL, Places};

/// What becomes of the branches of a recording's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BranchUse {
    /// Nothing.
    #[default]
    Ignored,
    /// Their places are found, and are to be named.
    Placed,
    /// Each is counted once, instead of its sample.
    Counted,
    /// The same where the recording says that it is about branches; else nothing.
    CountedIfUsual,
}

/// A branch with its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedBranch {
    /// As it was recorded.
    pub branch: Branch,
    /// The branch instruction.
    pub from: FrameKey,
    /// Where it led.
    pub to: FrameKey,
}

impl PlacedBranch {
    /// Its frames, as those of a stack: the place where it led has been reached from the other one.
    pub(crate) fn frames(&self) -> [FrameKey; 2] {
        [self.to, self.from]
    }
}

/// Finds the places of branches.
#[derive(Default)]
pub(crate) struct Branches {
    usage: BranchUse,
    placed: Vec<PlacedBranch>, // both are reused from sample to sample
    doubtful: Vec<Mapping>,
}

impl Branches {
    pub(crate) fn new(usage: BranchUse) -> Self {
        Self {
            usage,
            ..Self::default()
        }
    }

    /// Whether branches are counted instead of samples.
    pub(crate) fn are_counted(&self) -> bool {
        self.usage == BranchUse::Counted
    }

    /// Finds those of a sample, the newest first; none where nobody wants to know.
    pub(crate) fn place(
        &mut self,
        sample: &Sample<'_>,
        tracker: &mut Tracker,
        generated: &mut GeneratedCode,
    ) {
        self.placed.clear();
        self.doubtful.clear();
        if !matches!(self.usage, BranchUse::Placed | BranchUse::Counted) {
            return;
        }
        let mut places = Places::of(sample, tracker, generated, &mut self.doubtful);
        let placed = sample.branches().map(|branch| PlacedBranch {
            branch,
            from: places.find_any(branch.from.0),
            to: places.find_any(branch.to.0),
        });
        self.placed.extend(placed);
    }

    /// Those of the last sample.
    pub(crate) fn placed(&self) -> &[PlacedBranch] {
        &self.placed
    }

    /// As `PlacedChain::doubtful`, of the last sample.
    pub(crate) fn doubtful(&self) -> &[Mapping] {
        &self.doubtful
    }
}

/// What becomes of a branch where `keep` is for its sample: what the CPU noted is a detail of it.
pub(crate) fn keep_branch(keep: &Keep, flags: BranchFlags) -> Keep {
    let detail = |detail: Detail| {
        Keep::Detailed(Detail {
            branch: flags.outcome(),
            ..detail
        })
    };
    match keep {
        Keep::Sample => detail(Detail::default()),
        Keep::Detailed(of_sample) => detail(of_sample.clone()),
        other => other.clone(),
    }
}

/// How the sample of a branch ends: there is no caller beyond.
pub(crate) const END_OF_BRANCH: ChainEnd = ChainEnd::Root;

/// Where an address lies in the file that is mapped there, or else in memory; of the kernel: behind the
/// beginning of its text or of a module.
pub fn offset_in_file(tracker: &Tracker, pid: Pid, addr: VirtAddr) -> u64 {
    let space = tracker.processes.space(pid);
    if let Some(mapping) = space.and_then(|space| space.find(addr)) {
        return mapping.dso_addr(addr).0;
    }
    match tracker.kernel_mapping(addr) {
        Some(mapping) => addr.0.wrapping_sub(mapping.start),
        None => addr.0,
    }
}

impl Places<'_> {
    /// The place of an address of which nothing says whose code it is; in an unknown mode where nothing is
    /// mapped.
    fn find_any(&mut self, addr: u64) -> FrameKey {
        let is_kernel = addr >= FIRST_OF_KERNEL || self.is_in_kernel(addr);
        let mode = if is_kernel {
            CpuMode::Kernel
        } else {
            CpuMode::User
        };
        let mut place = self.find(mode, addr, addr);
        if place.dso.is_none() {
            place.mode = CpuMode::Unknown;
        }
        place
    }
}
