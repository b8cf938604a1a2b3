use std::collections::HashMap;
use std::time::Duration;

use prof_model::Pid;
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
    /// What time of the day it was, of a recording, if it tells.
    pub clock: Option<LocalClock>,
    /// What is known of processes beside their names: `root  18 MB  3f2a91c04d5e  /srv/server --port 80`.
    pub processes: HashMap<Pid, String>,
    /// When a recording was made, where, with which command; lines without an order.
    pub notes: Vec<String>,
}

/// A recording's clock beside the one on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalClock {
    /// Nanoseconds of the recording's clock.
    pub at: u64,
    /// How many nanoseconds of the day were over then.
    pub since_midnight: u64,
}

impl LocalClock {
    /// The time of the day at a time of the recording: `03:12:05`.
    pub fn time_of_day(&self, at: u64) -> String {
        const DAY: i128 = 24 * 3600 * 1_000_000_000;
        let since = i128::from(at) - i128::from(self.at) + i128::from(self.since_midnight);
        let seconds = since.rem_euclid(DAY) / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_day_goes_on_after_midnight_and_before_it() {
        let clock = LocalClock {
            at: 100_000_000_000,
            since_midnight: 86_390_000_000_000, // 23:59:50
        };
        assert_eq!(clock.time_of_day(100_000_000_000), "23:59:50");
        assert_eq!(clock.time_of_day(112_900_000_000), "00:00:02");
        assert_eq!(clock.time_of_day(0), "23:58:10");
    }
}
