use prof_model::{CpuMode, DsoId};

/// A frame without its process: the same place in two processes is one frame.
///
/// The addresses are numbered as [`prof_model::DsoAddr`] if `dso` is known, else they are virtual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FrameKey {
    /// In which mode it ran.
    pub mode: CpuMode,
    /// What was mapped at the address; `None` if nothing was.
    pub dso: Option<DsoId>,
    /// The address as recorded: what perf prints.
    pub shown: u64,
    /// The address inside the instruction that was running or calling: where names are looked up.
    pub lookup: u64,
}

/// Index of a frame in its profile. Frames are numbered from 0 without gaps, and keep their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub(crate) u32);

impl FrameId {
    /// The number, to index a table with one entry per frame.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
