//! What to sample, and what had to be done differently.

use std::fmt;
use std::time::Duration;

use prof_event::EventList;
use prof_model::{Cpu, Pid, Tid};

use crate::cgroup::Cgroup;
use crate::descendants;
use crate::proc;

/// Whom to sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Processes, each by the number of any of its threads, with all their threads, and where events
    /// are inherited the children that they have and will have.
    Processes(Vec<Pid>),
    /// Single threads.
    Threads(Vec<Tid>),
    /// All processes in a cgroup, also those that are started in it or move into it later. Where it cannot be
    /// sampled as a whole: the processes that are in it when sampling begins, as with [`Self::Processes`].
    Cgroup(Cgroup),
    /// Everything on the CPUs.
    System,
    /// A command that is held before its program begins ([`crate::HeldCommand`]).
    Command(Pid),
}

impl Target {
    /// The same with each process by its own number, once.
    pub fn by_process(self) -> Self {
        let Self::Processes(tasks) = self else {
            return self;
        };
        let processes = tasks.into_iter();
        let processes = processes.map(|task| proc::process_of(task.0).unwrap_or(task));
        let mut processes: Vec<_> = processes.collect();
        processes.sort_unstable();
        processes.dedup();
        Self::Processes(processes)
    }

    /// CPU time of its processes or threads so far, and where events are inherited of the children of
    /// processes, each of them once; of a cgroup also of what has ended. `None` if all processes or one of the
    /// threads are gone, and for what is neither a list of them nor a cgroup that counts.
    pub fn cpu_time(&self, inherit: bool) -> Option<Duration> {
        match self {
            Self::Processes(pids) if inherit => descendants::cpu_time(pids),
            Self::Processes(pids) => proc::sum_of_known(pids, proc::cpu_time),
            Self::Threads(tids) => tids.iter().map(|&tid| proc::thread_cpu_time(tid)).sum(),
            Self::Cgroup(cgroup) => cgroup.cpu_time(),
            Self::System | Self::Command(_) => None,
        }
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Samples per second and CPU.
    Frequency(u64),
    /// As often as the system permits.
    MaxFrequency,
    /// One sample after so many events.
    Period(u64),
}

/// What the kernel hands over of a user stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackCapture {
    /// Nothing; only the instruction.
    None,
    /// Its own walk along frame pointers.
    FramePointers,
    /// That, the registers, and so many bytes of the stack.
    Copy(u32),
    /// As `Copy` with `large`, or, while [`crate::Sampler::use_copies`] says so, the registers
    /// and `small` bytes without the kernel's walk, which cost the target less. Events that are
    /// counted rather than sampled at a frequency always take the large ones.
    CopyAsNeeded {
        /// Bytes of a stack that is not known yet, or is large.
        large: u32,
        /// Bytes that hold most stacks.
        small: u32,
    },
}

/// Which of its copies of the stack a sample has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StackCopies {
    /// The large one.
    #[default]
    Large,
    /// The small one of [`StackCapture::CopyAsNeeded`].
    Small,
    /// The large one, and of threads that are known to have larger stacks what lies behind it
    /// ([`crate::Sampler::read_behind_copies`]).
    Deep,
}

/// Bytes of stack per sample. Rust and C++ frames are large; at high rates the rings and the memory
/// they move are the limit.
const DEEP_COPY: u32 = 64_000;
const FAST_COPY: u32 = 32_768;
const FAST_RATE: u64 = 2_000;
/// The same where most stacks are seen to be small, at rates where copying them costs the target more
/// than the noise.
const SMALL_COPY: u32 = 8_192;
const COSTLY_RATE: u64 = 500;

impl StackCapture {
    /// Whole stacks, also of programs without frame pointers, at the least cost for this rate.
    pub fn for_rate(rate: Rate) -> Self {
        let large = match rate {
            Rate::Frequency(hz) if hz <= FAST_RATE => DEEP_COPY,
            _ => FAST_COPY,
        };
        match rate {
            Rate::Frequency(hz) if hz < COSTLY_RATE => Self::Copy(large),
            _ => Self::CopyAsNeeded {
                large,
                small: SMALL_COPY,
            },
        }
    }
}

/// The event whose samples show where threads stop running, under this name among those that were opened.
pub(crate) const SWITCHES: &str = "context-switches";

/// The system and the name of the tracepoint that a thread hits when it wakes another one.
pub(crate) const WAKINGS: (&str, &str) = ("sched", "sched_waking");

/// Whether the times are recorded at which threads stop running and go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switches {
    /// No.
    #[default]
    Unrecorded,
    /// Beside the events that are sampled.
    Beside,
    /// And nothing else.
    Alone,
}

/// A clock of the kernel that stamps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// As `clock_gettime` numbers it.
    pub id: i32,
    /// As people call it.
    pub name: &'static str,
}

impl Clock {
    /// Never set back, shared by all CPUs and programs: the default.
    pub const MONOTONIC: Self = Self {
        id: libc::CLOCK_MONOTONIC,
        name: "monotonic",
    };
    /// The clocks that perf events can use.
    pub const ALL: [Self; 5] = [
        Self::MONOTONIC,
        Self {
            id: libc::CLOCK_MONOTONIC_RAW,
            name: "monotonic_raw",
        },
        Self {
            id: libc::CLOCK_REALTIME,
            name: "realtime",
        },
        Self {
            id: libc::CLOCK_BOOTTIME,
            name: "boottime",
        },
        Self {
            id: libc::CLOCK_TAI,
            name: "tai",
        },
    ];

    /// A clock by its name, also as `CLOCK_MONOTONIC` and as perf's short `mono`, `raw`, `real`,
    /// `boot`.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("clock_").unwrap_or(&name);
        let name = match name {
            "mono" => "monotonic",
            "raw" => "monotonic_raw",
            "real" => "realtime",
            "boot" => "boottime",
            name => name,
        };
        Self::ALL.into_iter().find(|clock| clock.name == name)
    }

    /// Nanoseconds now.
    pub fn now(self) -> u64 {
        let clock = nix::time::ClockId::from_raw(self.id);
        nix::time::clock_gettime(clock).map_or(0, |time| {
            let (seconds, nanos) = (time.tv_sec() as u64, time.tv_nsec() as u64);
            seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
        })
    }
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom to sample.
    pub target: Target,
    /// What to count; empty: `cycles`, and where there is no PMU `cpu-clock`.
    pub events: EventList,
    /// Whether threads' switches are recorded: a sample of `context-switches`, where the kernel may be sampled, whenever
    /// a thread stops running, and a SWITCH record then and when it goes on.
    pub switches: Switches,
    /// Whether, where switches are recorded, a sample is taken whenever one of the target's threads wakes another one.
    pub wakers: bool,
    /// How often.
    pub rate: Rate,
    /// What of the user's stack.
    pub stacks: StackCapture,
    /// Only these CPUs.
    pub cpus: Option<Vec<Cpu>>,
    /// Whether samples tell the address that they are about, as page faults have one.
    pub addresses: bool,
    /// Whether samples tell on which CPU they were taken.
    pub sample_cpu: bool,
    /// Whether processes that the target has started, and threads and processes that it will start, are
    /// sampled too.
    pub inherit: bool,
    /// Whether, where that is permitted, whole CPUs are sampled and the samples of the target's processes kept: a clock of
    /// its own, which each thread has otherwise, never ticks in one that ends before.
    pub whole_cpus: bool,
    /// Bytes of each CPU's ring; chosen by rate where not given.
    pub ring_bytes: Option<usize>,
    /// The clock of all times.
    pub clock: Clock,
}

impl Options {
    /// Whole stacks of `target` and of what it starts, at a rate: of `cycles`, or of `cpu-clock` where there
    /// is no PMU.
    pub fn new(target: Target, rate: Rate) -> Self {
        Self {
            target,
            events: EventList::default(),
            switches: Switches::default(),
            wakers: false,
            rate,
            stacks: StackCapture::for_rate(rate),
            cpus: None,
            addresses: false,
            sample_cpu: false,
            inherit: true,
            whole_cpus: false,
            ring_bytes: None,
            clock: Clock::MONOTONIC,
        }
    }
}

/// Something that was done differently than asked, to be told to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Another event is used.
    OtherEvent {
        /// What was asked for.
        asked: String,
        /// What is counted.
        used: String,
    },
    /// No permission for kernel samples.
    UserOnly {
        /// `kernel.perf_event_paranoid`.
        paranoid: Option<i32>,
    },
    /// No permission for the kernel's part of callchains, but for its samples.
    NoKernelCallers,
    /// The target has children that are sampled as well.
    WithChildren {
        /// How many were there already.
        count: usize,
    },
    /// The rate is over the system's limit.
    Rate {
        /// Hz asked for.
        asked: u64,
        /// Hz used.
        used: u64,
    },
    /// The rings had to be smaller.
    Rings {
        /// Bytes wanted.
        asked: usize,
        /// Bytes had.
        used: usize,
    },
    /// Too many threads for one event each: one per CPU, filtered by process.
    FilteredCpus {
        /// Descriptors needed.
        needed: u64,
        /// Descriptors allowed.
        limit: u64,
    },
    /// A cgroup is sampled by the processes that are in it now.
    CgroupByProcesses {
        /// How many.
        count: usize,
        /// Whether whole CPUs may not be watched; else its hierarchy is one that events do not know.
        no_permission: bool,
        /// `kernel.perf_event_paranoid`.
        paranoid: Option<i32>,
    },
    /// The kernel does not tell the counters of groups apart by thread.
    GroupsNotInherited,
    /// The mappings of a process cannot be read, so its addresses will have no names.
    UnreadableMaps {
        /// Which one.
        pid: Pid,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherEvent { asked, used } => {
                write!(
                    f,
                    "no `{asked}` here (a virtual machine?); sampling `{used}` instead"
                )
            }
            Self::UserOnly { paranoid } => {
                write!(f, "no permission to sample the kernel")?;
                if let Some(level) = paranoid {
                    write!(f, " (kernel.perf_event_paranoid is {level})")?;
                }
                write!(f, "; sampling user code only")
            }
            Self::NoKernelCallers => write!(
                f,
                "no permission for the kernel's callers; its stacks have their innermost function only"
            ),
            Self::WithChildren { count: 1 } => write!(f, "with 1 child that already runs"),
            Self::WithChildren { count } => write!(f, "with {count} children that already run"),
            Self::Rate { asked, used } => write!(
                f,
                "{asked} Hz is over kernel.perf_event_max_sample_rate; sampling at {used} Hz"
            ),
            Self::Rings { asked, used } => write!(
                f,
                "ring buffers of {} KiB instead of {} KiB per CPU: the memory-lock limit \
                 (kernel.perf_event_mlock_kb, ulimit -l) does not allow more",
                used / 1024,
                asked / 1024
            ),
            Self::FilteredCpus { needed, limit } => write!(
                f,
                "one event per thread and CPU would need {needed} files and {limit} are allowed; \
                 sampling whole CPUs and keeping the target's samples"
            ),
            Self::CgroupByProcesses {
                count,
                no_permission,
                paranoid,
            } => {
                match (no_permission, paranoid) {
                    (true, Some(level)) => write!(
                        f,
                        "no permission to sample a cgroup as a whole (kernel.perf_event_paranoid is {level})"
                    )?,
                    (true, None) => write!(f, "no permission to sample a cgroup as a whole")?,
                    (false, _) => write!(f, "events do not know this hierarchy of cgroups")?,
                }
                let processes = match count {
                    1 => "the process that is in it".to_owned(),
                    count => format!("the {count} processes that are in it"),
                };
                write!(f, "; sampling {processes} and what they start")
            }
            Self::GroupsNotInherited => write!(
                f,
                "before Linux 6.13, groups with `:S` count only in threads that are there at the \
                 start; threads and processes that the target starts later are not sampled"
            ),
            Self::UnreadableMaps { pid } => {
                write!(
                    f,
                    "cannot read /proc/{pid}/maps; its addresses will have no names"
                )
            }
        }
    }
}
