//! The processes that a target is made of, from look to look.

use prof_model::Pid;
use prof_sampler::proc::descendants;
use rustc_hash::FxHashMap;

use crate::meter::Subject;
use crate::task::{Stat, Ticks};

/// Follows processes and what descends from them. What was once a descendant stays one, also when its parent has
/// ended and the kernel calls it somebody else's child.
#[derive(Debug)]
pub(crate) struct Members {
    roots: Vec<i32>,
    descend: bool,
    known: FxHashMap<i32, u64>, // when they started
    before: Option<Ticks>,
    used: Ticks,
    was_there: bool,
}

impl Members {
    /// Of the processes of a subject; a machine's and those of threads are not followed.
    pub(crate) fn of(subject: &Subject) -> Self {
        let (roots, descend) = match subject {
            Subject::Processes { pids, descendants } => (pids.clone(), *descendants),
            Subject::Machine | Subject::Threads(_) => (Vec::new(), false),
        };
        Self {
            roots,
            descend,
            known: FxHashMap::default(),
            before: None,
            used: Ticks::default(),
            was_there: false,
        }
    }

    /// The processes that live now, and what they have used since the last time is added to the sum.
    pub(crate) fn look(&mut self) -> Vec<i32> {
        let mut pids = self.roots.clone();
        if self.descend {
            let parents = self.roots.iter().chain(self.known.keys());
            let parents: Vec<Pid> = parents.copied().map(Pid).collect();
            pids.extend(self.known.keys());
            pids.extend(descendants(&parents).into_iter().map(|pid| pid.0));
            pids.sort_unstable();
            pids.dedup();
        }
        let (mut living, mut now) = (Vec::new(), Ticks::default());
        for pid in pids {
            let Some(stat) = Stat::of_process(pid) else {
                self.known.remove(&pid);
                continue;
            };
            if *self.known.entry(pid).or_insert(stat.started) != stat.started {
                self.known.remove(&pid); // the number is another process's now
                continue;
            }
            self.was_there = true;
            let used = stat.with_ended_children();
            now.user += used.user;
            now.system += used.system;
            if !stat.has_ended() {
                living.push(pid);
            }
        }
        if let Some(before) = self.before {
            // A child that nobody waits for takes its time away with it.
            self.used.user += now.user.saturating_sub(before.user);
            self.used.system += now.system.saturating_sub(before.system);
        }
        self.before = Some(now);
        living
    }

    /// CPU time used between the first look and the last, as far as it was seen; `None` if nothing was there.
    pub(crate) fn used(&self) -> Option<Ticks> {
        self.was_there.then_some(self.used)
    }
}

/// Which part of the CPU time that these processes have used so far, 0 to 1, was used by children of theirs that have
/// ended. `None` if they are gone or have used none.
pub fn share_of_ended_children(pids: &[i32]) -> Option<f64> {
    let stats: Vec<Stat> = pids
        .iter()
        .filter_map(|&pid| Stat::of_process(pid))
        .collect();
    let sum = |of: fn(&Stat) -> Ticks| -> f64 {
        let times = stats.iter().map(|stat| of(stat).user + of(stat).system);
        times.sum::<std::time::Duration>().as_secs_f64()
    };
    let (all, of_children) = (sum(Stat::with_ended_children), sum(|stat| stat.of_children));
    (all > 0.0).then(|| of_children / all)
}
