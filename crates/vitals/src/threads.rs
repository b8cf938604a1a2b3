//! The threads of a target: how long each ran, and how long it waited for a CPU.

use std::fs;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::task::{SchedStat, Stat, comm};
use crate::waits::{WaitTable, Waits};

/// So many threads are looked at in one look; of more, others each time.
const MAX_THREADS: usize = 1000;
/// So many are remembered.
const MAX_KNOWN: usize = 20_000;

/// What a thread did in the time that was looked at, also if it began or ended in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadUse {
    /// Its process.
    pub pid: i32,
    /// Itself.
    pub tid: i32,
    /// Its name.
    pub comm: String,
    /// Time on a CPU.
    pub ran: Duration,
    /// Time in which it could have run and had no CPU. Time for which a quota kept it is part of it on some kernels.
    pub waited: Duration,
}

/// Threads by process and number.
#[derive(Debug)]
pub(crate) struct ThreadTable {
    since: u64, // ticks after boot
    known: FxHashMap<(i32, i32), Seen>,
    waits: WaitTable,
    offset: usize,
    most: usize, // threads that were there in one look
    left_out: bool,
}

#[derive(Debug)]
struct Seen {
    first: SchedStat,
    last: SchedStat,
    comm: String,
}

impl ThreadTable {
    pub(crate) fn new() -> Self {
        Self {
            since: ticks_since_boot(),
            known: FxHashMap::default(),
            waits: WaitTable::default(),
            offset: 0,
            most: 0,
            left_out: false,
        }
    }

    /// Looks at threads, each a process and a number. `with_waits` also notes what they wait in.
    pub(crate) fn look(&mut self, threads: &[(i32, i32)], with_waits: bool) {
        self.most = self.most.max(threads.len());
        self.left_out |= threads.len() > MAX_THREADS;
        if with_waits {
            self.waits.begin_look();
        }
        let mut found_blocked = false;
        let start = self.offset % threads.len().max(1);
        let turn = threads[start..].iter().chain(&threads[..start]);
        for &(pid, tid) in turn.take(MAX_THREADS) {
            let Some(stat) = Stat::of_thread(pid, tid) else {
                continue;
            };
            if with_waits {
                found_blocked |= self.waits.see(pid, tid, stat.state);
            }
            if let Some(now) = SchedStat::of_thread(pid, tid) {
                self.note(pid, tid, &stat, now);
            }
        }
        if with_waits {
            self.waits.end_look(found_blocked);
        }
        self.offset += MAX_THREADS;
    }

    fn note(&mut self, pid: i32, tid: i32, stat: &Stat, now: SchedStat) {
        let is_new = stat.started >= self.since;
        if let Some(seen) = self.known.get_mut(&(pid, tid)) {
            if now.ran >= seen.last.ran {
                seen.last = now;
                return;
            } // else the number is another thread's now
        } else if self.known.len() >= MAX_KNOWN {
            self.left_out = true;
            return;
        }
        let first = if is_new { SchedStat::default() } else { now };
        let comm = comm(pid, tid);
        let seen = Seen {
            first,
            last: now,
            comm,
        };
        self.known.insert((pid, tid), seen);
    }

    /// What each thread did, those that ran longest first; what they waited in; whether some were left out.
    pub(crate) fn finish(self) -> (Vec<ThreadUse>, Waits, usize, bool) {
        let waits = self.waits.finish(|pid, tid| {
            let known = self.known.get(&(pid, tid));
            known.map_or_else(|| comm(pid, tid), |seen| seen.comm.clone())
        });
        let threads = self.known.into_iter().map(|((pid, tid), seen)| ThreadUse {
            pid,
            tid,
            ran: seen.last.ran.saturating_sub(seen.first.ran),
            waited: seen.last.waited.saturating_sub(seen.first.waited),
            comm: seen.comm,
        });
        let mut threads: Vec<ThreadUse> = threads.collect();
        threads.sort_by_key(|thread| (std::cmp::Reverse(thread.ran), thread.pid, thread.tid));
        (threads, waits, self.most, self.left_out)
    }
}

/// The threads of processes.
pub(crate) fn threads_of(pids: &[i32]) -> Vec<(i32, i32)> {
    let mut threads = Vec::new();
    for &pid in pids {
        let entries = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        threads.extend(tids.map(|tid: i32| (pid, tid)));
    }
    threads
}

/// The largest number where it cannot be told: then no thread counts as new, and what a new one did before it was
/// seen is missing.
fn ticks_since_boot() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    seconds.map_or(u64::MAX, |seconds| (seconds * 100.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(ran: u64, waited: u64) -> SchedStat {
        SchedStat {
            ran: Duration::from_nanos(ran),
            waited: Duration::from_nanos(waited),
        }
    }

    fn stat(started: u64) -> Stat {
        Stat {
            state: 'S',
            own: Default::default(),
            of_children: Default::default(),
            started,
        }
    }

    #[test]
    fn an_old_thread_counts_from_the_first_look_and_a_new_one_from_its_start() {
        let mut table = ThreadTable::new();
        table.since = 100;
        table.note(1, 1, &stat(99), nanos(1000, 10));
        table.note(1, 1, &stat(99), nanos(1500, 30));
        table.note(1, 2, &stat(100), nanos(700, 5)); // and has ended before the next look
        let (threads, ..) = table.finish();
        let times: Vec<_> = threads
            .iter()
            .map(|it| (it.tid, it.ran, it.waited))
            .collect();
        let expected = [(2, 700, 5), (1, 500, 20)];
        let nanos = |ns| Duration::from_nanos(ns);
        assert_eq!(
            times,
            expected.map(|(tid, ran, waited)| (tid, nanos(ran), nanos(waited)))
        );
    }

    #[test]
    fn of_very_many_threads_others_are_looked_at_each_time() {
        let mut table = ThreadTable::new();
        let threads: Vec<_> = (0..1500).map(|n| (i32::MAX, i32::MAX - n)).collect();
        table.look(&threads, true);
        assert_eq!(table.offset % threads.len(), MAX_THREADS);
        let (_, waits, most, left_out) = table.finish();
        assert_eq!((waits.looks, most, left_out), (1, 1500, true));
    }
}
