//! What was found out about a target, as plain values.

use std::time::Duration;

use prof_report::{HotPaths, WaitSummary};
use prof_session::record::Started;
use prof_vitals::{ThreadUse, Vitals};

/// All that the lines are made of.
#[derive(Debug, Default)]
pub struct Answer {
    /// The target, as `storefront 1529`, `threads worker 1534`, `this machine`.
    pub target: String,
    /// How many processes are the target by themselves: what is there besides has been started by them.
    pub named: usize,
    /// Its container, if it is in another one than we.
    pub container: Option<String>,
    /// Whether it is the whole machine.
    pub is_machine: bool,
    /// How it is typed: `-p 1529`.
    pub typed: String,
    /// What the kernel counted.
    pub vitals: Vitals,
    /// Tasks that ran or waited for a disk, on average over the last minute.
    pub load: Option<f64>,
    /// What samples say; `None` if it could not be sampled.
    pub hot: Option<HotPaths>,
    /// What threads waited for, where that was sampled.
    pub waited: Option<WaitSummary>,
    /// Why it could not.
    pub not_sampled: Option<String>,
    /// The CPU time that samples stand for; `None` where they count something else.
    pub sampled: Option<Duration>,
    /// What the samples count; `None` for CPU time and cycles.
    pub event: Option<String>,
    /// Samples that were lost.
    pub lost: u64,
    /// Processes that started meanwhile.
    pub started: Vec<Started>,
    /// Where the samples are.
    pub file: Option<String>,
}

impl Answer {
    /// How long it was looked at, in seconds.
    pub fn seconds(&self) -> f64 {
        self.vitals.elapsed.as_secs_f64().max(1e-3)
    }

    /// CPUs used on average.
    pub fn used(&self) -> Option<f64> {
        let used = self.vitals.cpu?.total().as_secs_f64();
        Some(used / self.seconds())
    }

    /// Whether next to nothing ran: less than a hundredth of a CPU.
    pub fn is_idle(&self) -> bool {
        self.used().is_some_and(|used| used < 0.01)
    }

    /// In which part of its periods the quota kept threads from running, if there is one and it can be told.
    pub fn throttled(&self) -> Option<f64> {
        let quota = self.vitals.quota.as_ref()?;
        let (periods, throttled) = (quota.periods?, quota.throttled_periods?);
        Some(throttled as f64 / periods.max(1) as f64)
    }

    /// Of a whole CPU so much is all of it: something else runs on every CPU now and then.
    pub const WHOLE_CPU: f64 = 0.9;

    /// Threads that use a whole CPU each or would if they had one, those that ran longest first.
    pub fn hot_threads(&self) -> Vec<&ThreadUse> {
        let least = Self::WHOLE_CPU * self.seconds();
        let threads = self.vitals.threads.iter();
        let wants = |it: &&ThreadUse| (it.ran + it.waited).as_secs_f64() >= least;
        // One that hardly ever gets to a CPU has another problem.
        let runs = |it: &&ThreadUse| it.ran.as_secs_f64() >= least / 20.0;
        threads.filter(wants).filter(runs).collect()
    }
}
