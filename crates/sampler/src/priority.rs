//! What the thread that empties the rings has of the CPU before others, and that it does not have too much.
//!
//! In: what is asked for. Out: what the kernel grants. Elsewhere: the system calls (`sys.rs`).

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use prof_model::Tid;

use crate::sys::{Scheduling, scheduling, set_scheduling};

/// The thread is not to run on for long, but soon: it does little at a time. That gives it no more than its
/// share, so that no permission is needed (from Linux 6.12 on; older kernels do not heed it).
const SLICE: Duration = Duration::from_micros(100);
/// The nice value that comes first of all.
const LOWEST_NICE: i32 = -20;
/// What the thread may have of a CPU, in percent, while it comes before others.
const MOST_PERCENT: u32 = 20;
/// How often it is looked at what it had.
const WINDOW: Duration = Duration::from_millis(100);
/// How long it is as all others after it had more.
const PENANCE: Duration = Duration::from_secs(1);

/// How the thread that empties the rings is scheduled among others that are ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As it was when the program was started.
    Unchanged,
    /// With its fair share, in short slices: it runs sooner.
    ShortSlices,
    /// The same with this nice value.
    Nice(i32),
    /// Before all that is not real-time (`SCHED_FIFO`), 1 to 99.
    Realtime(u8),
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => write!(f, "as any other thread"),
            Self::ShortSlices => write!(f, "in short slices"),
            Self::Nice(nice) => write!(f, "with nice {nice}"),
            Self::Realtime(priority) => write!(f, "with real-time priority {priority}"),
        }
    }
}

/// A thread that comes before others, until this is dropped. What it starts does not.
#[derive(Debug)]
pub(crate) struct Raised {
    tid: Tid,
    before: Scheduling,
    raised: Scheduling,
    granted: Priority,
    is_over: bool,
    usage: Usage,
}

impl Raised {
    /// Has the calling thread come before others: with a real-time priority, or as far as is permitted
    /// without. A thread that was started to come after others, or with another policy, is left as it is.
    ///
    /// # Errors
    /// The real-time priority is not permitted.
    pub(crate) fn new(realtime: Option<u8>) -> io::Result<Self> {
        let tid = Tid(gettid().as_raw());
        let before = scheduling(tid)?;
        let mut this = Self {
            tid,
            before,
            raised: before,
            granted: Priority::Unchanged,
            is_over: false,
            usage: Usage::new(Instant::now(), cpu_time()),
        };
        if let Some(priority) = realtime {
            let raised = Scheduling {
                policy: libc::SCHED_FIFO,
                priority: priority.into(),
                ..before.for_one()
            };
            set_scheduling(tid, &raised)?;
            this.raised = raised;
            this.granted = Priority::Realtime(priority);
        } else if before.policy == libc::SCHED_OTHER && before.nice <= 0 {
            this.ask_for_the_most();
        }
        Ok(this)
    }

    fn ask_for_the_most(&mut self) {
        let nices = [LOWEST_NICE, lowest_permitted_nice()];
        let nices = nices.into_iter().filter(|&nice| nice < self.before.nice);
        let lower = nices.map(|nice| (nice, Priority::Nice(nice)));
        let ways = lower.chain([(self.before.nice, Priority::ShortSlices)]);
        for (nice, granted) in ways {
            let raised = Scheduling {
                nice,
                slice: SLICE,
                ..self.before.for_one()
            };
            if set_scheduling(self.tid, &raised).is_ok() {
                (self.raised, self.granted) = (raised, granted);
                return;
            }
        }
    }

    /// What was granted, also when it is over.
    pub(crate) fn granted(&self) -> Priority {
        self.granted
    }

    /// How often the thread had more than it may and was as all others for a time.
    pub(crate) fn lowered(&self) -> u64 {
        self.usage.lowered
    }

    /// Looks at what the thread had of the CPU: to be called by itself, after each piece of work.
    pub(crate) fn watch(&mut self) {
        let takes_from_others = matches!(self.granted, Priority::Nice(_) | Priority::Realtime(_));
        if !takes_from_others || self.is_over {
            return;
        }
        let now = Instant::now();
        if !self.usage.is_due(now) {
            return;
        }
        let change = self.usage.look(now, cpu_time());
        let _ = match change {
            None => Ok(()),
            Some(Change::Lower) => set_scheduling(self.tid, &self.before.for_one()),
            Some(Change::Raise) => set_scheduling(self.tid, &self.raised),
        };
    }

    /// The thread is as it was.
    pub(crate) fn give_back(&mut self) {
        if std::mem::replace(&mut self.is_over, true) || self.granted == Priority::Unchanged {
            return;
        }
        // That what it starts comes before others may be forbidden meanwhile; it may be gone.
        let _ = set_scheduling(self.tid, &self.before)
            .or_else(|_| set_scheduling(self.tid, &self.before.for_one()));
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What a thread had of a CPU, and what follows.
#[derive(Debug)]
struct Usage {
    since: Instant,
    cpu: Duration, // at that time
    lower_until: Option<Instant>,
    lowered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Lower,
    Raise,
}

impl Usage {
    fn new(now: Instant, cpu: Duration) -> Self {
        Self {
            since: now,
            cpu,
            lower_until: None,
            lowered: 0,
        }
    }

    /// Whether it is time to look: asking for the CPU time is a system call.
    fn is_due(&self, now: Instant) -> bool {
        match self.lower_until {
            Some(until) => now >= until,
            None => now.saturating_duration_since(self.since) >= WINDOW,
        }
    }

    /// `cpu` is the thread's CPU time so far.
    fn look(&mut self, now: Instant, cpu: Duration) -> Option<Change> {
        if !self.is_due(now) {
            return None;
        }
        if self.lower_until.is_some() {
            *self = Self {
                lowered: self.lowered,
                ..Self::new(now, cpu)
            };
            return Some(Change::Raise);
        }
        let elapsed = now.saturating_duration_since(self.since);
        let used = cpu.saturating_sub(self.cpu);
        (self.since, self.cpu) = (now, cpu);
        if used <= elapsed * MOST_PERCENT / 100 {
            return None;
        }
        self.lower_until = Some(now + PENANCE);
        self.lowered += 1;
        Some(Change::Lower)
    }
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What `ulimit -e` permits.
fn lowest_permitted_nice() -> i32 {
    let limit = getrlimit(Resource::RLIMIT_NICE).map_or(0, |(soft, _)| soft.min(40));
    20 - limit as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_more_than_its_share_is_as_all_others_for_a_second() {
        let start = Instant::now();
        let mut usage = Usage::new(start, Duration::ZERO);
        let mut look = |at_ms: u64, cpu_ms: u64| {
            let (at, cpu) = (Duration::from_millis(at_ms), Duration::from_millis(cpu_ms));
            usage.look(start + at, cpu)
        };
        assert_eq!(look(50, 49), None); // too early to tell
        assert_eq!(look(100, 20), None); // just a fifth
        assert_eq!(look(200, 41), Some(Change::Lower));
        assert_eq!(look(900, 700), None);
        assert_eq!(look(1200, 900), Some(Change::Raise));
        assert_eq!(look(1300, 910), None);
        assert_eq!(look(1400, 1000), Some(Change::Lower));
        assert_eq!(usage.lowered, 2);
    }

    #[test]
    fn a_thread_comes_before_others_alone_and_not_for_ever() {
        let this_thread = || scheduling(Tid(gettid().as_raw())).unwrap();
        let started = || std::thread::spawn(this_thread).join().unwrap();
        let before = this_thread();
        let raised = Raised::new(None).unwrap();
        let now = this_thread();
        match raised.granted() {
            Priority::Nice(nice) => assert_eq!((now.policy, now.nice), (before.policy, nice)),
            _ => assert_eq!((now.policy, now.nice), (before.policy, before.nice)),
        }
        assert_eq!(
            (started().policy, started().nice),
            (before.policy, before.nice)
        );
        drop(raised);
        let after = this_thread();
        assert_eq!((after.policy, after.nice), (before.policy, before.nice));
    }

    #[test]
    fn a_real_time_priority_is_granted_or_refused_and_what_is_started_has_none() {
        let raised = match Raised::new(Some(3)) {
            Ok(raised) => raised,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                return;
            }
        };
        assert_eq!(raised.granted(), Priority::Realtime(3));
        let this_thread = || scheduling(Tid(gettid().as_raw())).unwrap();
        assert_eq!(this_thread().policy, libc::SCHED_FIFO);
        let started = std::thread::spawn(this_thread).join().unwrap();
        assert_eq!(started.policy, libc::SCHED_OTHER);
        drop(raised);
        assert_eq!(this_thread().policy, libc::SCHED_OTHER);
    }
}
