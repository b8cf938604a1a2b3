//! From threads' switches to samples of their waits.
//!
//! In: where each thread stopped running, and when it went on. Out: for each wait a sample of the event
//! `offcpu-time`, as perf calls its own, whose period is what the wait lasted in nanoseconds. It has the time at
//! which the wait ended and the callchain from where it began. Waits that go on are told in parts, so that what is
//! asked about a second finds what was waited for in it, and at the end of the recording.
//!
//! Everything is known by thread and never by CPU: threads wait on one and go on on another.
//! Elsewhere: unwinding ([`crate::unwinding`]), what threads wait in that slept before ([`asleep`]).

pub(crate) mod asleep; // threads that wait already when the recording begins
mod told; // the event and its records

use std::ops::Range;

use prof_event::abi::{callchain, misc};
use prof_event::{EventSet, Record, Sample};
use prof_model::{ChainEnd, Cpu, Pid, Tid};
use rustc_hash::FxHashMap;

pub use told::OFFCPU_TIME;
pub(crate) use told::{is_told_otherwise, with_waits};

/// A wait that goes on is told in parts of this length, in nanoseconds.
const PART: u64 = 1_000_000_000;

/// Functions of the kernel in which every wait ends: a callchain begins with the function that called them.
const SCHEDULER: [&str; 8] = [
    "__schedule",
    "schedule",
    "schedule_timeout",
    "schedule_hrtimeout_range",
    "schedule_hrtimeout_range_clock",
    "io_schedule",
    "io_schedule_timeout",
    "preempt_schedule_common",
];

/// A thread that does not run.
#[derive(Clone, Debug)]
struct Wait {
    pid: Pid,
    cpu: Option<Cpu>,
    since: u64,
    /// Whether it could have gone on.
    is_runnable: bool,
    /// With the kernel's context markers. Empty if it is not known.
    chain: Vec<u64>,
    end: ChainEnd,
}

/// A sample that was made of a wait, or of a part of one.
pub(crate) struct Told {
    /// Its record.
    pub(crate) record: Vec<u8>,
    /// Why its callchain has no further entry.
    pub(crate) end: ChainEnd,
}

/// The threads that do not run.
pub(crate) struct Waits {
    switches: usize, // the event whose samples show where threads stop
    /// Threads that were there when the recording began, until it is known which of them sleep.
    present: Vec<(Pid, Tid)>,
    told: told::Event,
    began: u64, // what was waited before is not counted
    told_until: u64,
    waiting: FxHashMap<Tid, Wait>,
    scheduler: Vec<Range<u64>>,
}

impl Waits {
    /// For the events of a recorder. `None` if they do not tell of switches.
    pub(crate) fn of(events: &EventSet) -> Option<Self> {
        let (index, told) = told::Event::of(events)?;
        Some(Self {
            switches: index + 1,
            present: Vec::new(),
            told,
            began: u64::MAX,
            told_until: 0,
            waiting: FxHashMap::default(),
            scheduler: Vec::new(),
        })
    }

    /// Whether samples of this event show where threads stop running.
    pub(crate) fn is_of_switches(&self, event: usize) -> bool {
        event == self.switches
    }

    /// Nothing that was waited before `time` is counted. `function` tells where a function of the kernel lies.
    pub(crate) fn begin(&mut self, time: u64, function: impl Fn(&str) -> Option<Range<u64>>) {
        self.began = time;
        self.told_until = time;
        self.scheduler = SCHEDULER.iter().filter_map(|name| function(name)).collect();
        for wait in self.waiting.values_mut() {
            wait.chain = without_scheduler(&self.scheduler, &wait.chain);
        }
    }

    /// Whether the recording has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.began != u64::MAX
    }

    /// A thread was told of.
    pub(crate) fn is_present(&mut self, task: (Pid, Tid)) {
        if !self.has_begun() {
            self.present.push(task);
        }
    }

    /// The threads that were told of before the recording began, once.
    pub(crate) fn take_present(&mut self) -> Vec<(Pid, Tid)> {
        std::mem::take(&mut self.present)
    }

    /// A thread stops running, with this callchain.
    pub(crate) fn stopped(&mut self, sample: &Sample<'_>, chain: &[u64], end: ChainEnd) {
        if sample.tid.0 <= 0 {
            return; // a CPU that has nothing to do
        }
        let wait = Wait {
            pid: sample.pid,
            cpu: sample.cpu,
            since: sample.time.unwrap_or(0),
            is_runnable: false,
            chain: without_scheduler(&self.scheduler, chain),
            end,
        };
        self.waiting.insert(sample.tid, wait);
    }

    /// A thread was found asleep that was so before the recording began.
    pub(crate) fn found_asleep(&mut self, (pid, tid): (Pid, Tid), chain: &[u64], end: ChainEnd) {
        let chain = without_scheduler(&self.scheduler, chain);
        let wait = self.waiting.entry(tid).or_insert(Wait {
            pid,
            cpu: None,
            since: 0,
            is_runnable: false,
            chain: Vec::new(),
            end: ChainEnd::NoUserState,
        });
        if wait.chain.is_empty() {
            (wait.chain, wait.end) = (chain, end);
        }
    }

    /// Takes a record that is no sample: of a thread that goes on it makes a sample of what it waited.
    pub(crate) fn take(
        &mut self,
        record: &Record<'_>,
        task: (Pid, Tid),
        time: u64,
    ) -> Option<Told> {
        let (pid, tid) = task;
        match *record {
            Record::Switch {
                out: true,
                preempted,
                ..
            } if tid.0 > 0 => {
                let wait = self.waiting.entry(tid).or_insert(Wait {
                    pid,
                    cpu: None,
                    since: time,
                    is_runnable: preempted,
                    chain: Vec::new(),
                    end: ChainEnd::NoUserState,
                });
                wait.is_runnable = preempted;
                None
            }
            Record::Switch { out: false, .. } => {
                let wait = self.waiting.remove(&tid)?;
                self.tell(tid, &wait, time)
            }
            Record::Exit(task) => {
                self.waiting.remove(&task.tid);
                None
            }
            _ => None,
        }
    }

    /// Tells what has been waited until now by threads that wait on, if that is due or `is_end`.
    pub(crate) fn tell_parts(&mut self, now: u64, is_end: bool) -> Vec<Told> {
        if !self.has_begun() || !is_end && now.saturating_sub(self.told_until) < PART {
            return Vec::new();
        }
        self.told_until = now;
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut parts = Vec::new();
        for (&tid, wait) in &mut waiting {
            let is_long = now.saturating_sub(wait.since.max(self.began)) >= PART / 2;
            if is_end || is_long {
                parts.extend(self.tell(tid, wait, now));
                wait.since = now;
            }
        }
        self.waiting = waiting;
        parts
    }

    fn tell(&self, tid: Tid, wait: &Wait, now: u64) -> Option<Told> {
        let since = wait.since.max(self.began);
        let period = now.checked_sub(since).filter(|&it| it > 0)?;
        let kind = match wait.is_runnable {
            true => misc::SWITCH_OUT | misc::SWITCH_OUT_PREEMPT,
            false => misc::SWITCH_OUT,
        };
        let record = self.told.record(&told::Fields {
            misc: kind,
            task: (wait.pid, tid),
            time: now,
            cpu: wait.cpu,
            period,
            chain: &wait.chain,
        })?;
        Some(Told {
            record,
            end: wait.end,
        })
    }
}

/// A callchain without the scheduler's own functions at its beginning.
fn without_scheduler(scheduler: &[Range<u64>], chain: &[u64]) -> Vec<u64> {
    let is_scheduler = |entry: &&u64| scheduler.iter().any(|range| range.contains(entry));
    match chain {
        [callchain::KERNEL, kernel @ ..] => {
            let own = kernel.iter().take_while(is_scheduler).count();
            let mut left = vec![callchain::KERNEL];
            left.extend(&kernel[own..]);
            left
        }
        chain => chain.to_vec(),
    }
}
