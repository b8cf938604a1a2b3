//! Why events could not be opened.

use std::io;
use std::path::PathBuf;

use prof_model::{Cpu, Tid};

use crate::scope::Scope;

/// An event could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `perf_event_open` refused.
    #[error("could not open event `{event}`{} on CPU {cpu}", of(*.scope))]
    Event {
        /// Its name.
        event: String,
        /// What it was to cover.
        scope: Scope,
        /// The CPU.
        cpu: Cpu,
        /// Whether it was to join a group.
        in_group: bool,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no such process or thread.
    #[error("no process or thread with id {0}")]
    NoSuchTask(Tid),
    /// A ring could not be mapped, not even the smallest.
    #[error("could not map a ring buffer of {bytes} bytes for CPU {cpu}")]
    Ring {
        /// How large.
        bytes: usize,
        /// Whose.
        cpu: Cpu,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A tracepoint is not in tracefs.
    #[error("no tracepoint `{system}:{name}`")]
    NoTracepoint {
        /// `sched`
        system: String,
        /// `sched_switch`
        name: String,
        /// Why its number could not be read.
        source: io::Error,
    },
    /// A pattern names more tracepoints than are opened.
    #[error("`{pattern}` names {count} tracepoints, and at most {most} are opened")]
    TooManyTracepoints {
        /// `*:*`
        pattern: String,
        /// How many.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// The kernel does not take a filter.
    #[error("the kernel refuses the filter `{filter}` for event `{event}`")]
    Filter {
        /// Its name.
        event: String,
        /// The filter.
        filter: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A PMU is not in sysfs.
    #[error("there is no PMU `{pmu}` on this machine")]
    NoPmu {
        /// Its name.
        pmu: String,
        /// Those that there are.
        known: Vec<String>,
        /// Why its number could not be read.
        source: io::Error,
    },
    /// A PMU has neither such a field nor such an event.
    #[error("the PMU `{pmu}` knows no `{term}`")]
    NoPmuTerm {
        /// The PMU.
        pmu: String,
        /// What it does not know.
        term: String,
        /// What it knows.
        known: Vec<String>,
    },
    /// A number is too large for its field.
    #[error("`{term}={value:#x}` does not fit into the bits {bits}")]
    PmuValue {
        /// The field.
        term: String,
        /// The number.
        value: u64,
        /// Where the field lies: `0-7`.
        bits: String,
    },
    /// A CPU that was asked for is not there.
    #[error("CPU {0} is not online")]
    NoSuchCpu(Cpu),
    /// More descriptors than allowed.
    #[error(
        "sampling {threads} threads on {cpus} CPUs needs {needed} open files and {limit} are allowed"
    )]
    TooManyFiles {
        /// Threads; 0 where whole CPUs are sampled.
        threads: usize,
        /// CPUs.
        cpus: usize,
        /// Threads x CPUs x events.
        needed: u64,
        /// `ulimit -n`.
        limit: u64,
    },
    /// A cgroup cannot be sampled as a whole, and nobody is in it.
    #[error("nobody is in the cgroup {}", path.display())]
    EmptyCgroup {
        /// Its folder.
        path: PathBuf,
        /// Why it cannot be sampled as a whole.
        source: io::Error,
    },
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn of(scope: Scope) -> String {
    match scope {
        Scope::Everything => String::new(),
        Scope::Thread(tid) => format!(" for pid {tid}"),
        Scope::Cgroup(_) => " for the cgroup".to_owned(),
    }
}
