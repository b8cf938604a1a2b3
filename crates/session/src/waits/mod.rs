//! From threads' switches to samples of their waits.
//!
//! In: where each thread stopped running, and when it went on. Out: for each wait a sample of the event
//! `offcpu-time`, as perf calls its own, whose period is what the wait lasted in nanoseconds. It has the time at
//! which the wait ended and the callchain from where it began. Waits that go on are told in parts, so that what is
//! asked about a second finds what was waited for in it, and at the end of the recording.
//!
//! Everything is known by thread and never by CPU: threads wait on one and go on on another.
//! Elsewhere: unwinding ([`crate::unwinding`]), what threads wait in that slept before ([`asleep`]).

pub(crate) mod asleep; // what a thread waits in, without a sample of it
mod bursts; // when samples are taken
mod owed; // waits whose stacks are not known
mod told; // the event and its records

use std::ops::Range;

use prof_event::abi::{callchain, misc};
use prof_event::{EventSet, Record, Sample};
use prof_model::{ChainEnd, Cpu, Pid, Tid};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::wakers::is_of_wakings;

use bursts::Bursts;
use owed::{Owed, SeenStack};
pub(crate) use told::OFFCPU_TIME;
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

/// A wait without a stack is looked at when it lasts so long, in nanoseconds: a thread that waits as long can be found
/// waiting.
const LONG: u64 = 5_000_000;
/// So many are looked at in a round.
const LOOKS: usize = 64;

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
    /// When it was looked at, if the callchain is from that.
    looked: Option<u64>,
    /// Whether the record of the switch has come, which follows the sample.
    is_confirmed: bool,
}

impl Wait {
    /// One of which nothing is known yet.
    fn unknown(pid: Pid, since: u64) -> Self {
        Self {
            pid,
            cpu: None,
            since,
            is_runnable: false,
            chain: Vec::new(),
            end: ChainEnd::NoUserState,
            looked: None,
            is_confirmed: false,
        }
    }

    /// The wait ends. What was seen after that is of another one.
    fn ends(&mut self, time: u64) {
        if self.looked.is_some_and(|looked| looked >= time) {
            self.chain.clear();
            self.end = ChainEnd::NoUserState;
        }
    }
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
    /// Those of them that have switched since.
    switched: FxHashSet<Tid>,
    told: told::Event,
    began: u64, // what was waited before is not counted
    told_until: u64,
    waiting: FxHashMap<Tid, Wait>,
    scheduler: Vec<Range<u64>>,
    bursts: Bursts,
    owed: Owed,
}

impl Waits {
    /// For the events of a recorder on so many CPUs. `None` if they do not tell of switches.
    pub(crate) fn of(events: &EventSet, cpus: usize) -> Option<Self> {
        let (index, told) = told::Event::of(events)?;
        Some(Self {
            switches: events.events()[index + 1..]
                .iter()
                .position(|it| !is_of_wakings(it))
                .map_or(index, |at| index + 1 + at),
            present: Vec::new(),
            switched: FxHashSet::default(),
            told,
            began: u64::MAX,
            told_until: 0,
            waiting: FxHashMap::default(),
            scheduler: Vec::new(),
            bursts: Bursts::new(cpus),
            owed: Owed::default(),
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

    /// A thread that was told of before the recording began and is not known to have waited since. Each comes once.
    pub(crate) fn next_present(&mut self) -> Option<(Pid, Tid)> {
        let switched = &self.switched;
        let is_new = |(_, tid): &(Pid, Tid)| !switched.contains(tid);
        std::iter::from_fn(|| self.present.pop()).find(is_new)
    }

    /// A thread stops running, with this callchain.
    pub(crate) fn stopped(&mut self, sample: &Sample<'_>, chain: &[u64], end: ChainEnd) {
        if sample.tid.0 <= 0 {
            return; // a CPU that has nothing to do
        }
        self.bursts.taken();
        let wait = Wait {
            cpu: sample.cpu,
            chain: without_scheduler(&self.scheduler, chain),
            end,
            ..Wait::unknown(sample.pid, sample.time.unwrap_or(0))
        };
        self.waiting.insert(sample.tid, wait);
    }

    /// A thread is woken. Returns whether its wait is one that is told with its stack, so that it matters who wakes it.
    pub(crate) fn woken(&mut self, tid: Tid) -> bool {
        self.bursts.taken();
        let wait = self.waiting.get(&tid);
        wait.is_some_and(|wait| !wait.chain.is_empty() || !self.bursts.are_used())
    }

    /// Whether samples are wanted of threads that stop running.
    pub(crate) fn wants_samples(&mut self, now: u64) -> bool {
        self.bursts.are_wanted(now)
    }

    /// The threads whose waits have lasted so long without a stack that somebody should look at them.
    pub(crate) fn to_look_at(&self, now: u64) -> Vec<(Pid, Tid)> {
        let is_long = |wait: &Wait| {
            let has_stack = !wait.chain.is_empty() || wait.looked.is_some() || wait.is_runnable;
            !has_stack && now.saturating_sub(wait.since) > LONG
        };
        let long = self.waiting.iter().filter(|(_, wait)| is_long(wait));
        let tasks = long.map(|(&tid, wait)| (wait.pid, tid));
        tasks.take(LOOKS).collect()
    }

    /// A thread was found asleep at a time, with this callchain.
    pub(crate) fn found_asleep(
        &mut self,
        (pid, tid): (Pid, Tid),
        time: u64,
        chain: &[u64],
        end: ChainEnd,
    ) {
        let chain = without_scheduler(&self.scheduler, chain);
        let wait = self.waiting.entry(tid);
        let wait = wait.or_insert(Wait {
            is_confirmed: true, // its record was before the recording
            ..Wait::unknown(pid, 0)
        });
        if wait.chain.is_empty() {
            (wait.chain, wait.end, wait.looked) = (chain, end, Some(time));
        }
    }

    /// A thread that was looked at does not sleep.
    pub(crate) fn found_awake(&mut self, tid: Tid, time: u64) {
        if let Some(wait) = self.waiting.get_mut(&tid) {
            wait.looked = Some(time);
        }
    }

    /// Takes a record that is no sample: of a thread that goes on it makes a sample of what it waited.
    pub(crate) fn take(
        &mut self,
        record: &Record<'_>,
        (pid, tid): (Pid, Tid),
        time: u64,
    ) -> Option<Told> {
        if matches!(record, Record::Switch { .. }) && !self.present.is_empty() {
            self.switched.insert(tid);
        }
        match *record {
            Record::Switch {
                out: true,
                preempted,
                ..
            } if tid.0 > 0 => {
                let wait = self.waiting.entry(tid);
                let wait = wait.or_insert(Wait::unknown(pid, time));
                if wait.is_confirmed {
                    *wait = Wait::unknown(pid, time); // that it went on was lost
                }
                wait.is_runnable = preempted;
                wait.is_confirmed = true;
                None
            }
            Record::Switch { out: false, .. } => {
                let mut wait = self.waiting.remove(&tid)?;
                wait.ends(time);
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
        for share in self.owed.settle() {
            let (pid, tid) = share.task;
            let stack = share.stack.as_ref();
            let wait = Wait {
                is_runnable: share.is_runnable,
                chain: stack.map_or(Vec::new(), |it| it.chain.clone()),
                end: stack.map_or(ChainEnd::NoUserState, |it| it.end),
                ..Wait::unknown(pid, 0)
            };
            parts.extend(self.record(tid, &wait, now, share.waited));
        }
        parts
    }

    fn tell(&mut self, tid: Tid, wait: &Wait, now: u64) -> Option<Told> {
        let since = wait.since.max(self.began);
        let period = now.checked_sub(since).filter(|&it| it > 0)?;
        let task = (wait.pid, tid);
        if wait.chain.is_empty() && self.bursts.are_used() {
            self.owed.owe(task, wait.is_runnable, period);
            return None;
        }
        if wait.looked.is_none() && !wait.chain.is_empty() {
            let stack = SeenStack {
                chain: wait.chain.clone(),
                end: wait.end,
                waited: period.min(LONG),
            };
            self.owed.see(task, wait.is_runnable, stack);
        }
        self.record(tid, wait, now, period)
    }

    fn record(&self, tid: Tid, wait: &Wait, now: u64, period: u64) -> Option<Told> {
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

#[cfg(test)]
mod tests;
