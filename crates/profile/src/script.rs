use std::borrow::Cow;

use prof_model::{BranchFlags, CommId, Cpu, Pid, Tid, VirtAddr};

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
    /// The place of that data, if it is to be named.
    pub data: Option<FrameId>,
    /// The callchain, innermost first. For an event without callchains the frame of `ip`.
    pub frames: Vec<FrameId>,
    /// The recorded addresses of `frames`; empty if each lies in a file or has the address that its
    /// [`crate::FrameKey`] has.
    pub addresses: Vec<VirtAddr>,
    /// A tracepoint's fields, as `key=value` text.
    pub trace: Option<String>,
    /// What few samples have.
    pub extras: ScriptExtras,
}

/// What is printed of a sample only when asked for; empty where it was not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptExtras {
    /// perf's letters for the mode of the CPU and what else a record's header says.
    pub misc: &'static str,
    /// What it cost, in the event's own unit.
    pub weight: Option<u64>,
    /// How long the instruction took.
    pub latency: Option<u16>,
    /// Registers of the interrupted code.
    pub intr_regs: Option<ScriptRegs>,
    /// Registers of the user code.
    pub user_regs: Option<ScriptRegs>,
    /// Branches taken before, the newest first.
    pub branches: Vec<ScriptBranch>,
    /// The kernel's `perf_mem_data_src`: where the data came from.
    pub data_src: Option<u64>,
    /// The physical address of the data.
    pub phys_addr: Option<u64>,
    /// Bytes of the page that the data is in.
    pub data_page_size: Option<u64>,
    /// Bytes of the page that the instruction is in.
    pub code_page_size: Option<u64>,
}

/// Registers with their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRegs {
    /// 1: a 32-bit program, 2: a 64-bit program.
    pub abi: u64,
    /// In the order of their numbers.
    pub values: Vec<(Cow<'static, str>, u64)>,
}

/// A branch that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptBranch {
    /// The branch instruction.
    pub from: ScriptPlace,
    /// Where it led.
    pub to: ScriptPlace,
    /// What else the CPU noted.
    pub flags: BranchFlags,
}

/// An end of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptPlace {
    /// The address.
    pub addr: VirtAddr,
    /// Where that is in the file that is mapped there.
    pub offset: u64,
    /// Its frame, if it is to be named.
    pub frame: Option<FrameId>,
}

/// Whom and when a line of `script` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptHead {
    /// The thread that is named, where it has a name.
    pub comm: Option<CommId>,
    /// That thread.
    pub named: Tid,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Where, if recorded.
    pub cpu: Option<Cpu>,
    /// When, if recorded.
    pub time: Option<u64>,
    /// As in [`ScriptExtras::misc`].
    pub misc: &'static str,
}
