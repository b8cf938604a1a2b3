//! Counters that are read at one moment and at another, and what happened between.

use std::time::{Duration, Instant};

use prof_model::Pid;
use prof_sampler::{online_cpus, proc};

use crate::cgroup::{Bandwidth, Cgroup, MemoryUse, memory_use};
use crate::machine::{MachineTime, Pressure, Stalls, machine_time};
use crate::members::Members;
use crate::memory::Memory;
use crate::task::{Stat, Ticks, allowed_cpus};
use crate::threads::{ThreadTable, ThreadUse, threads_of};
use crate::waits::Waits;

/// The shortest time between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// The longest time between two looks.
const SELDOM: Duration = Duration::from_secs(2);
/// Looks take at most this part of the time.
const LEAST_SHARE: u32 = 100;

/// Whose vitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    Machine,
    /// These processes.
    Processes {
        /// Their numbers.
        pids: Vec<i32>,
        /// Also what descends from them.
        descendants: bool,
    },
    /// These threads alone.
    Threads(Vec<i32>),
}

/// Reads counters, looks at threads, reads the counters again.
#[derive(Debug)]
pub struct Meter {
    subject: Subject,
    started: Instant,
    members: Members,
    threads: ThreadTable,
    alone: Option<Ticks>, // of single threads
    cgroup: Option<Cgroup>,
    memory_cgroup: Option<Cgroup>,
    before: Moment,
    cpus: Option<usize>,
    last_look: Duration,
    without_threads: bool,
}

/// What can be read without knowing what came before.
#[derive(Clone, Debug, Default)]
struct Moment {
    bandwidths: Vec<Bandwidth>,
    machine: Option<MachineTime>,
    pressure: Pressure,
    cgroup_pressure: Pressure,
    memory: Option<Memory>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Vitals {
    /// How long it was looked at.
    pub elapsed: Duration,
    /// CPU time used; `None` if it could not be read.
    pub cpu: Option<CpuUse>,
    /// How many CPUs the target may run on by affinity and cpuset.
    pub cpus: Option<usize>,
    /// What limits it by time.
    pub quota: Option<Quota>,
    /// What all CPUs did.
    pub machine: Option<MachineTime>,
    /// For how long some task of the machine could not go on.
    pub stalls: Stalls,
    /// The same of the target's cgroup.
    pub cgroup_stalls: Stalls,
    /// Its threads, those that ran longest first; none for the machine.
    pub threads: Vec<ThreadUse>,
    /// The most threads that were there at once.
    pub thread_count: usize,
    /// Not every thread was looked at in each look.
    pub threads_left_out: bool,
    /// How many processes it had at the end; `None` for the machine and for single threads.
    pub processes: Option<usize>,
    /// What its threads waited in.
    pub waits: Waits,
    /// Memory; `None` if it has ended.
    pub memory: Option<Growth>,
    /// Memory of its cgroup at the end.
    pub cgroup_memory: Option<MemoryUse>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CpuUse {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl CpuUse {
    /// Both.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }
}

/// A limit of CPU time, and how it was felt.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Quota {
    /// CPUs that may be used on average.
    pub cpus: f64,
    /// The cgroup's folder.
    pub folder: std::path::PathBuf,
    /// Periods in which the cgroup had something to do.
    pub periods: Option<u64>,
    /// In how many of them its threads were kept from running.
    pub throttled_periods: Option<u64>,
    /// For how long: on all CPUs together, where the kernel counts so.
    pub throttled: Option<Duration>,
}

/// Memory at two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// At the start.
    pub before: Memory,
    /// At the end.
    pub after: Memory,
}

impl Meter {
    /// Begins. Processes that are not there have no vitals, which is no error.
    pub fn start(subject: Subject) -> Self {
        Self::start_with(subject, false)
    }

    /// Begins to count what takes no look at threads: CPU time, quota, memory and the machine.
    pub fn start_without_threads(subject: Subject) -> Self {
        Self::start_with(subject, true)
    }

    fn start_with(subject: Subject, without_threads: bool) -> Self {
        let task = match &subject {
            Subject::Machine => None,
            Subject::Processes { pids, .. } => pids.first().map(|&pid| proc::living_task(Pid(pid))),
            Subject::Threads(tids) => tids.first().copied(),
        };
        let mut this = Self {
            started: Instant::now(),
            members: Members::of(&subject),
            threads: ThreadTable::new(),
            alone: None,
            cgroup: task.and_then(Cgroup::of),
            memory_cgroup: task.and_then(Cgroup::of_memory),
            before: Moment::default(),
            cpus: match task {
                Some(task) => allowed_cpus(task),
                None => Some(online_cpus().len()),
            },
            last_look: Duration::ZERO,
            without_threads,
            subject,
        };
        let pids = this.look_at(false);
        this.alone = this.used_alone();
        this.before = this.moment(&pids);
        this.started = Instant::now();
        this
    }

    /// How long to wait before the next look: longer where one takes much CPU time.
    pub fn pause(&self) -> Duration {
        (self.last_look * LEAST_SHARE).clamp(EVERY, SELDOM)
    }

    /// Looks at the threads: to be called several times a second.
    pub fn look(&mut self) {
        let began = own_cpu_time();
        self.look_at(true);
        self.last_look = own_cpu_time().saturating_sub(began);
    }

    fn look_at(&mut self, with_waits: bool) -> Vec<i32> {
        let pids = match &self.subject {
            Subject::Machine if self.without_threads => Vec::new(),
            Subject::Machine => {
                let all = proc::processes().unwrap_or_default().into_iter();
                all.map(|pid| pid.0)
                    .filter(|&pid| pid != std::process::id() as i32)
                    .collect()
            }
            Subject::Processes { .. } => self.members.look(),
            Subject::Threads(tids) => tids.clone(),
        };
        if self.without_threads {
            return pids;
        }
        let threads = match &self.subject {
            Subject::Threads(tids) => tids.iter().map(|&tid| (tid, tid)).collect(),
            _ => threads_of(&pids),
        };
        self.threads.look(&threads, with_waits);
        pids
    }

    fn used_alone(&self) -> Option<Ticks> {
        let Subject::Threads(tids) = &self.subject else {
            return None;
        };
        tids.iter().try_fold(Ticks::default(), |sum, &tid| {
            let own = Stat::of_thread(tid, tid)?.own;
            Some(Ticks {
                user: sum.user + own.user,
                system: sum.system + own.system,
            })
        })
    }

    fn moment(&self, pids: &[i32]) -> Moment {
        let cgroup = self.cgroup.as_ref();
        let folder = cgroup.and_then(Cgroup::pressure_folder);
        Moment {
            bandwidths: cgroup.map(Cgroup::bandwidths).unwrap_or_default(),
            machine: machine_time(),
            pressure: Pressure::of_machine(),
            cgroup_pressure: folder.map(Pressure::of_cgroup).unwrap_or_default(),
            memory: match self.subject {
                Subject::Machine => None,
                _ => Memory::of_all(pids.iter().copied()),
            },
        }
    }

    /// Ends, and tells what happened since the start.
    pub fn finish(mut self) -> Vitals {
        let pids = self.look_at(false);
        let elapsed = self.started.elapsed();
        let now = self.moment(&pids);
        let machine = now
            .machine
            .zip(self.before.machine)
            .map(|(now, before)| now.since(&before));
        let ticks = match &self.subject {
            Subject::Machine => machine.map(|machine| Ticks {
                user: machine.user,
                system: machine.busy() - machine.user,
            }),
            Subject::Processes { .. } => self.members.used(),
            Subject::Threads(_) => {
                let both = self.alone.zip(self.used_alone());
                both.map(|(before, now)| Ticks {
                    user: now.user.saturating_sub(before.user),
                    system: now.system.saturating_sub(before.system),
                })
            }
        };
        let quota = quota(&self.before.bandwidths, now.bandwidths);
        let is_machine = self.subject == Subject::Machine;
        let processes = matches!(self.subject, Subject::Processes { .. }).then_some(pids.len());
        let (threads, waits, thread_count, threads_left_out) = self.threads.finish();
        Vitals {
            elapsed,
            cpu: ticks.map(|ticks| CpuUse {
                user: ticks.user,
                system: ticks.system,
            }),
            cpus: self.cpus,
            quota,
            machine,
            stalls: now.pressure.since(&self.before.pressure, elapsed),
            cgroup_stalls: now
                .cgroup_pressure
                .since(&self.before.cgroup_pressure, elapsed),
            threads: if is_machine { Vec::new() } else { threads },
            thread_count,
            threads_left_out,
            processes,
            waits,
            memory: self
                .before
                .memory
                .zip(now.memory)
                .map(|(before, after)| Growth { before, after }),
            cgroup_memory: self.memory_cgroup.as_ref().and_then(memory_use),
        }
    }
}

/// CPU time of this thread so far.
fn own_cpu_time() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Of a cgroup and its ancestors the limit that was felt most; if none was, the strictest.
fn quota(before: &[Bandwidth], now: Vec<Bandwidth>) -> Option<Quota> {
    let quotas = now.into_iter().map(|now| {
        let before = before.iter().find(|before| before.folder == now.folder);
        let since =
            |of: fn(&Bandwidth) -> Option<u64>| Some(of(&now)?.saturating_sub(of(before?)?));
        Quota {
            cpus: now.quota,
            periods: since(|it| it.periods),
            throttled_periods: since(|it| it.throttled_periods),
            throttled: before
                .and_then(|before| Some(now.throttled?.saturating_sub(before.throttled?))),
            folder: now.folder,
        }
    });
    quotas.max_by(|left, right| {
        let felt = left.throttled_periods.cmp(&right.throttled_periods);
        felt.then(right.cpus.total_cmp(&left.cpus))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bandwidth(name: &str, quota: f64, periods: u64, throttled: u64) -> Bandwidth {
        Bandwidth {
            folder: name.into(),
            quota,
            periods: Some(periods),
            throttled_periods: Some(throttled),
            throttled: Some(Duration::from_millis(throttled * 10)),
        }
    }

    #[test]
    fn the_quota_that_was_felt_counts_even_if_another_one_is_stricter() {
        let before = [
            bandwidth("inner", 0.5, 10, 5),
            bandwidth("outer", 2.0, 10, 0),
        ];
        let now = vec![
            bandwidth("inner", 0.5, 20, 5),
            bandwidth("outer", 2.0, 110, 90),
        ];
        let felt = quota(&before, now.clone()).unwrap();
        assert_eq!(
            (felt.cpus, felt.periods, felt.throttled_periods),
            (2.0, Some(100), Some(90))
        );
        assert_eq!(felt.throttled, Some(Duration::from_millis(900)));
        let idle = quota(&now, now.clone()).unwrap();
        assert_eq!((idle.cpus, idle.throttled_periods), (0.5, Some(0)));
        assert_eq!(quota(&[], Vec::new()), None);
    }

    #[test]
    fn a_busy_child_is_used_time_of_its_parent_also_after_its_end() {
        let command = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let script = format!("read go; sh -c '{command}'; read end");
        let mut shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let subject = Subject::Processes {
            pids: vec![shell.id() as i32],
            descendants: true,
        };
        let mut meter = Meter::start(subject);
        use std::io::Write;
        shell.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let pid = shell.id() as i32;
        let ended = || Stat::of_process(pid).unwrap().of_children.user > Duration::ZERO;
        while !ended() {
            std::thread::sleep(Duration::from_millis(20));
            meter.look();
        }
        let told = Stat::of_process(pid).unwrap().with_ended_children();
        let vitals = meter.finish();
        let used = vitals.cpu.unwrap();
        let near = |a: Duration, b: Duration| a.abs_diff(b) <= Duration::from_millis(30);
        assert!(near(used.user, told.user), "{used:?} {told:?}");
        assert_eq!(vitals.processes, Some(1));
        assert!(crate::share_of_ended_children(&[pid]).unwrap() > 0.5);
        assert!(vitals.threads.len() >= 2, "{:?}", vitals.threads);
        assert!(vitals.memory.unwrap().after.resident() > 0);
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
