use prof_model::{CommId, Cpu, Pid, Tid, VirtAddr};

use crate::FrameId;

/// One sample by itself, as `script` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSample {
    /// Index in [`crate::Profile::events`].
    pub event: u16,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The thread's name at that time, in [`crate::Profile::comms`].
    pub comm: Option<CommId>,
    /// Where it ran, if recorded.
    pub cpu: Option<Cpu>,
    /// When, in nanoseconds of the recording's clock, if recorded.
    pub time: Option<u64>,
    /// How many events it stands for.
    pub period: u64,
    /// The interrupted instruction.
    pub ip: VirtAddr,
    /// The data address, if recorded.
    pub addr: Option<VirtAddr>,
    /// The callchain, innermost first. For an event without callchains the frame of `ip`.
    pub frames: Vec<ScriptFrame>,
    /// A tracepoint's fields, as `key=value` text.
    pub trace: Option<String>,
}

/// A frame of one sample, which unlike an aggregated one still has its place in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptFrame {
    /// The address as recorded.
    pub addr: VirtAddr,
    /// Which frame of the profile it is.
    pub frame: FrameId,
}
