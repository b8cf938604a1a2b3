use std::time::Duration;

use prof_profile::EventInfo;

/// What the header says besides what the samples tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whom: `nginx (4121)`, a command line, a file.
    pub target: String,
    /// The container it runs in.
    pub container: Option<String>,
    /// That the target has ended, and how; shown until the end.
    pub ended: Option<String>,
    /// CPU time used, of a live target.
    pub cpu: Option<CpuUse>,
    /// CPUs of the machine that a recording was made on.
    pub machine_cpus: Option<u32>,
    /// What is sampled, in the profile's order.
    pub events: Vec<EventInfo>,
    /// Samples that were lost, all in all.
    pub lost: u64,
    /// How often the kernel paused an event, all in all.
    pub throttled: u64,
    /// What it costs to look.
    pub cost: Option<Cost>,
    /// When a recording was made, where, with which command; lines without an order.
    pub notes: Vec<String>,
}

/// CPU time that the target uses, in CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuUse {
    /// How many CPUs it kept busy, on average over the last seconds.
    pub used: f64,
    /// How many there are for it.
    pub available: f64,
    /// How many its cgroup allows it.
    pub quota: Option<f64>,
    /// For how long of each second its cgroup was made to wait, summed over CPUs.
    pub throttled: Option<Duration>,
}

/// What the profiler itself uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Of one CPU, in percent.
    pub cpu_percent: f64,
    /// Resident memory.
    pub memory_bytes: u64,
}
