use std::sync::Arc;

use prof_model::BranchFlags;

use crate::FrameKey;

/// What tells a sample from others of the same thread and stack, where somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Detail {
    /// Start of the interval in which it was taken, in nanoseconds of the recording's clock.
    pub interval: u64,
    /// A tracepoint's fields.
    pub text: Arc<str>,
    /// How a branch went, where branches are counted.
    pub branch: BranchFlags,
    /// The stack of the thread that ended a wait, innermost first; empty where that is not known.
    pub waker: Arc<[FrameKey]>,
    /// The page that a page fault was about, by its first address; 0 where that is not asked for.
    pub page: u64,
}

/// Index of a [`Detail`] in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetailId(pub(crate) u32);
