//! What `/proc` says about one process or thread.

use std::fs;
use std::time::Duration;

use prof_sampler::{online_cpus, parse_cpu_list};

const TICK: Duration = Duration::from_millis(10); // USER_HZ is 100 on every platform of Linux we run on

/// CPU time in user and kernel mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ticks {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// What `stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `D`, `Z`, ...
    pub(crate) state: char,
    /// Of a process or, in `task/TID/stat`, of a thread.
    pub(crate) own: Ticks,
    /// Of a process's children that have ended and were waited for.
    pub(crate) of_children: Ticks,
    /// When it started, in ticks since boot: a number that is used again has another.
    pub(crate) started: u64,
}

impl Stat {
    /// Of a process.
    pub(crate) fn of_process(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Of a thread.
    pub(crate) fn of_thread(pid: i32, tid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?; // the name before it may contain anything
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut ticks = fields.skip(10).map(|field| field.parse::<u64>().ok());
        let mut time = || Some(TICK * u32::try_from(ticks.next()??).ok()?);
        let [user, system, user_children, system_children] = [time()?, time()?, time()?, time()?];
        Some(Self {
            state,
            own: Ticks { user, system },
            of_children: Ticks {
                user: user_children,
                system: system_children,
            },
            started: ticks.nth(4)??,
        })
    }

    /// Of a process and the ended children that it has waited for.
    pub(crate) fn with_ended_children(&self) -> Ticks {
        Ticks {
            user: self.own.user + self.of_children.user,
            system: self.own.system + self.of_children.system,
        }
    }

    /// Whether it has ended and is there only to be waited for.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// How long a thread ran, and how long it waited for a CPU while it could have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct SchedStat {
    pub(crate) ran: Duration,
    pub(crate) waited: Duration,
}

impl SchedStat {
    /// `None` if it is gone or the kernel does not tell.
    pub(crate) fn of_thread(pid: i32, tid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
        let mut time = || numbers.next()?.map(Duration::from_nanos);
        Some(Self {
            ran: time()?,
            waited: time()?,
        })
    }
}

/// A thread's name; empty if it is gone.
pub(crate) fn comm(pid: i32, tid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name)
        .trim_end_matches('\n')
        .to_owned()
}

/// How many CPUs a task may run on: by its affinity and its cpuset, of those that are online.
pub fn allowed_cpus(task: i32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let allowed = parse_cpu_list(list.trim())?;
    let online = online_cpus();
    Some(allowed.iter().filter(|cpu| online.contains(cpu)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let text = "7 (a) R 1) S 1 7 7 0 -1 64 9 0 0 0 250 5 30 1 20 0 1 0 4711 2 3 4";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.started), ('S', 4711));
        assert_eq!(stat.own.user, Duration::from_millis(2500));
        assert_eq!(stat.own.system, Duration::from_millis(50));
        assert_eq!(stat.with_ended_children().user, Duration::from_millis(2800));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }

    #[test]
    fn schedstat_is_time_run_and_time_waited() {
        let stat = SchedStat::parse("5000 70 3\n").unwrap();
        assert_eq!(stat.ran, Duration::from_nanos(5000));
        assert_eq!(stat.waited, Duration::from_nanos(70));
        assert_eq!(SchedStat::parse(""), None);
    }

    #[test]
    fn this_process_has_cpus() {
        let pid = std::process::id() as i32;
        assert!((1..=online_cpus().len()).contains(&allowed_cpus(pid).unwrap()));
    }
}
