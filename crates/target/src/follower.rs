//! Processes that are meant and come later.
//!
//! In: who is to be followed. Out: further processes, about a second after they began. Elsewhere: who is meant now
//! (`find.rs`).

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use prof_model::Pid;
use prof_sampler::{Cgroup, proc};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::names::{ancestors, is_named};

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// So often a process is looked at: one that was just started may still be about to become another program.
const LOOKS: u32 = 3;

/// Those to whom others may be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// All that are called so.
    Named(String),
    /// All that are in a cgroup.
    Members(Cgroup),
}

/// A thread that looks for further processes until this is dropped.
#[derive(Debug)]
pub struct Follower {
    found: Receiver<Pid>,
    _goes_on: Sender<()>,
}

impl Follower {
    /// Begins to look. Those that are there already are found first.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(followed: Vec<Followed>) -> io::Result<Self> {
        let (to, found) = channel();
        let (goes_on, ended) = channel();
        let mut looks = Looks::new(&followed);
        let look = move || {
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let mut new = looks.look().into_iter();
                if new.any(|pid| to.send(pid).is_err()) {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("prof-follower".to_owned())
            .spawn(look)?;
        Ok(Self {
            found,
            _goes_on: goes_on,
        })
    }

    /// Those that were found since this was last asked.
    pub fn found(&self) -> Vec<Pid> {
        self.found.try_iter().collect()
    }
}

/// What was seen so far.
#[derive(Debug)]
struct Looks {
    names: Vec<String>,
    cgroups: Vec<Cgroup>,
    not_meant: Vec<Pid>, // we, and what has started us
    /// How often each process was looked at.
    counts: FxHashMap<Pid, u32>,
    members: FxHashSet<Pid>,
}

impl Looks {
    fn new(followed: &[Followed]) -> Self {
        let mut this = Self {
            names: Vec::new(),
            cgroups: Vec::new(),
            not_meant: ancestors(),
            counts: FxHashMap::default(),
            members: FxHashSet::default(),
        };
        for followed in followed {
            match followed {
                Followed::Named(name) => this.names.push(name.clone()),
                Followed::Members(cgroup) => this.cgroups.push(cgroup.clone()),
            }
        }
        this
    }

    /// Processes that are meant and were not at the last look.
    fn look(&mut self) -> Vec<Pid> {
        let members: FxHashSet<_> = self.cgroups.iter().flat_map(Cgroup::members).collect();
        let mut found: Vec<_> = members.difference(&self.members).copied().collect();
        self.members = members;
        if self.names.is_empty() {
            return found;
        }
        let mut counts = FxHashMap::default();
        for pid in proc::processes().unwrap_or_default() {
            let count = self.counts.get(&pid).copied().unwrap_or(0);
            let is_new = count < LOOKS
                && !self.not_meant.contains(&pid)
                && self.names.iter().any(|name| is_named(pid, name));
            if is_new {
                found.push(pid);
            }
            counts.insert(pid, if is_new { LOOKS } else { LOOKS.min(count + 1) });
        }
        self.counts = counts;
        found
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_new_process_is_found_once_also_if_it_gets_its_name_later() {
        let name = format!("later-{}", std::process::id() % 10_000);
        let followed = [Followed::Named(name.clone())];
        let mut looks = Looks::new(&followed);
        let script = format!("read go; exec -a {name} sleep 60");
        let mut bash = Command::new("bash");
        let bash = bash
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped());
        let mut child = bash.spawn().unwrap();
        let pid = Pid(child.id() as i32);
        assert_eq!(looks.look(), []);
        drop(child.stdin.take());
        while !is_named(pid, &name) {
            thread::yield_now();
        }
        let found = [looks.look(), looks.look()];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [vec![pid], vec![]]);
    }
}
