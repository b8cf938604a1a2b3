//! What tells one process from another.
//!
//! In: a process. Out: its command line, user, container, and how much CPU time it takes. Elsewhere: who is meant
//! (`find.rs`).

use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use prof_model::{Pid, Tid};
use prof_sampler::{page_size, proc};

use crate::cgroups::text_of;
use crate::containers::container_id;

/// More of a command line is not read.
const LONGEST_COMMAND_LINE: u64 = 4096;
/// More of a list of users is not read.
const LARGEST_USER_LIST: u64 = 1 << 20;

/// What is known about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The process.
    pub pid: Pid,
    /// Its name, as `ps -o comm` shows it.
    pub comm: String,
    /// Its command line, the words separated by spaces; in brackets its name where there is none.
    pub arguments: String,
    /// Whom it belongs to: a name of its own file system, else a number.
    pub user: String,
    /// The container that its cgroup is named after.
    pub container: Option<String>,
}

impl Facts {
    /// What can be read about a process; without rights, or once it has ended, that is less.
    pub fn of(pid: Pid) -> Self {
        let comm = proc::comm(pid, Tid(pid.0)).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm).into_owned();
        let arguments = arguments(pid).join(" ");
        Self {
            pid,
            arguments: match arguments.trim() {
                "" => format!("[{comm}]"),
                arguments => arguments.to_owned(),
            },
            comm,
            user: user(pid),
            container: container_id(&text_of(pid.0)),
        }
    }
}

/// The words of a command line, without such as are empty.
pub(crate) fn arguments(pid: Pid) -> Vec<String> {
    let bytes = start_of(&format!("/proc/{pid}/cmdline"), LONGEST_COMMAND_LINE);
    let words = bytes.split(|&byte| byte == 0).filter(|it| !it.is_empty());
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn start_of(file: &str, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(file) {
        let _ = file.take(most).read_to_end(&mut bytes); // what was read until then is enough
    }
    bytes
}

fn user(pid: Pid) -> String {
    let Some(number) = proc::status_number(pid.0, "Uid") else {
        return String::new();
    };
    let users = start_of(&format!("/proc/{pid}/root/etc/passwd"), LARGEST_USER_LIST);
    let users = String::from_utf8_lossy(&users);
    name_of_user(&users, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// `daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin`
fn name_of_user(users: &str, number: i32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

/// The memory that a process has at this moment, in bytes, what it shares with others included. `None` if it has
/// ended, and for the kernel's threads.
pub fn resident_bytes(pid: Pid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{}/statm", proc::living_task(pid))).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    (pages > 0).then(|| pages * page_size() as u64)
}

/// How much CPU time processes take: read at the beginning, and once more at the end.
#[derive(Debug)]
pub struct CpuShares {
    began: Instant,
    before: Vec<(Pid, Option<Duration>)>,
}

impl CpuShares {
    /// Begins to count.
    pub fn begin(pids: impl Iterator<Item = Pid>) -> Self {
        Self {
            began: Instant::now(),
            before: pids.map(|pid| (pid, proc::cpu_time(pid))).collect(),
        }
    }

    /// Counts until `span` is over since the beginning. For each process, in the order in which they were given, the
    /// share of one CPU that it took, 1 being all of one; `None` if it has ended.
    pub fn end(self, span: Duration) -> Vec<(Pid, Option<f64>)> {
        thread::sleep(span.saturating_sub(self.began.elapsed()));
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let shares = self.before.into_iter().map(|(pid, before)| {
            let times = before.zip(proc::cpu_time(pid));
            let share =
                times.map(|(before, now)| now.saturating_sub(before).as_secs_f64() / seconds);
            (pid, share)
        });
        shares.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_the_name_that_its_number_has() {
        let users = "root:x:0:0:root:/root:/bin/sh\nodd\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_of_user(users, 1000), Some("ann"));
        assert_eq!(name_of_user(users, 7), None);
    }

    #[test]
    fn this_process_has_a_name_a_command_line_and_a_user() {
        let facts = Facts::of(Pid(std::process::id() as i32));
        assert!(!facts.comm.is_empty() && !facts.user.is_empty());
        let program = std::env::args().next().unwrap();
        assert!(facts.arguments.starts_with(&program), "{facts:?}");
        assert_eq!(Facts::of(Pid(i32::MAX)).arguments, "[]");
        assert!(resident_bytes(facts.pid).unwrap() > 100_000);
        assert_eq!(resident_bytes(Pid(i32::MAX)), None);
    }

    #[test]
    fn a_process_that_has_ended_takes_no_known_share() {
        let ourselves = Pid(std::process::id() as i32);
        let shares = CpuShares::begin([ourselves, Pid(i32::MAX)].into_iter());
        let shares = shares.end(Duration::from_millis(10));
        assert_eq!(shares[0].0, ourselves);
        assert!(shares[0].1.is_some() && shares[1].1.is_none());
    }
}
