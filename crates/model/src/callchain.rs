/// In which mode a CPU ran the code at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CpuMode {
    /// The record does not say.
    #[default]
    Unknown,
    /// The kernel of this host.
    Kernel,
    /// A process.
    User,
    /// A hypervisor below this kernel.
    Hypervisor,
    /// The kernel of a virtual machine that this host runs.
    GuestKernel,
    /// A process of a virtual machine that this host runs.
    GuestUser,
}

/// Why a callchain has no further frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum ChainEnd {
    /// The start of the program or of the thread: the stack is whole.
    #[default]
    Root = 0,
    /// The frames go on beyond the bytes of the stack that were captured.
    TruncatedCopy = 1,
    /// A return address lies in no mapping.
    NoMapping = 2,
    /// Neither unwind tables nor a plausible frame pointer for this address.
    NoRule = 3,
    /// The rule led to a place that cannot be the caller's frame.
    BadFrame = 4,
    /// The limit of frames kept was reached.
    TooDeep = 5,
    /// The kernel gave no user registers: a kernel thread, or a process that was exiting.
    NoUserState = 6,
    /// The recorder walked frame pointers, which cannot tell the root from a broken chain.
    Unknown = 7,
    /// Code that no unwind table describes had not been looked at yet when the sample came.
    NotYet = 8,
    /// A 32-bit program: the kernel has walked its frame pointers, which few such programs have.
    FramePointersOnly = 9,
    /// A probe at a function's return has put an address of its own in the place of the caller's.
    ReturnProbe = 10,
}

impl ChainEnd {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Root,
        Self::TruncatedCopy,
        Self::NoMapping,
        Self::NoRule,
        Self::BadFrame,
        Self::TooDeep,
        Self::NoUserState,
        Self::Unknown,
        Self::NotYet,
        Self::FramePointersOnly,
        Self::ReturnProbe,
    ];

    /// Whether no frame is missing. A kernel thread has no user stack, nor has a process that is
    /// almost gone.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Root | Self::NoUserState)
    }

    /// Whether frames are known to be missing.
    pub fn is_cut(self) -> bool {
        !self.is_whole() && self != Self::Unknown
    }

    /// The share of whole callchains in percent, of those of which it is known; `None` if of none.
    /// `counts` has the number of callchains for each reason, by its number.
    pub fn whole_percent(counts: &[u64]) -> Option<f64> {
        let count = |is_counted: fn(Self) -> bool| -> u64 {
            let ends = Self::ALL.into_iter().filter(|&end| is_counted(end));
            ends.filter_map(|end| counts.get(end as usize)).sum()
        };
        let known = count(|end| end != Self::Unknown);
        (known > 0).then(|| 100.0 * count(Self::is_whole) as f64 / known as f64)
    }

    /// A few words for a summary line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Root => "whole",
            Self::TruncatedCopy => "deeper than the captured stack",
            Self::NoMapping => "return address outside every mapping",
            Self::NoRule => "no unwind tables and no frame pointer",
            Self::BadFrame => "corrupt frame",
            Self::TooDeep => "more frames than --max-stack",
            Self::NoUserState => "no user stack",
            Self::Unknown => "end not known",
            Self::NotYet => "no unwind tables, and code not looked at yet",
            Self::FramePointersOnly => "32-bit program, walked by frame pointers alone",
            Self::ReturnProbe => "caller hidden by a probe at a function's return",
        }
    }
}
