//! Which threads events are opened on.
//!
//! In: a target. Out: what is to be opened, by process, again and again until nothing new is there.
//! Elsewhere: opening (`instances.rs`).

use std::time::Duration;

use prof_model::{Cpu, Pid, Tid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::births::Births;
use super::error::OpenError;
use crate::descendants::{Child, Descendants};
use crate::options::{Clock, Options, Target};
use crate::proc;
use crate::scope::Scope;

/// How long it takes at least, or little more, from the moment when a child inherits until it has a number.
const COPYING: Duration = Duration::from_micros(100);

/// What of a target is not opened yet.
#[derive(Debug)]
pub(super) struct Scopes<'o> {
    target: &'o Target,
    with_children: bool,
    has_looked: bool,
    done: FxHashSet<Tid>,
    /// The processes whose threads have events, and the newest thread of all when they had.
    opened: FxHashMap<Pid, Option<i32>>,
    /// The threads on which events were opened, and when all of them were.
    since: FxHashMap<Tid, u64>,
    births: Births,
    clock: Clock,
}

/// What is to be opened together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unopened {
    /// `None` for what is not a process.
    pub(super) process: Option<Pid>,
    pub(super) scopes: Vec<Scope>,
}

impl<'o> Scopes<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        Self {
            target: &options.target,
            with_children: options.inherit,
            has_looked: false,
            done: FxHashSet::default(),
            opened: FxHashMap::default(),
            since: FxHashMap::default(),
            births: Births::default(),
            clock: options.clock,
        }
    }

    /// Watches who starts threads on these CPUs from now on, where that is of use and permitted.
    pub(super) fn watch_births(&mut self, cpus: impl Iterator<Item = Cpu>) {
        if matches!(self.target, Target::Processes(_)) {
            self.births = Births::watch(cpus, self.clock);
        }
    }

    /// What is there and was not in an earlier answer. Each thread of a process has events of its own, and
    /// so have its children. A thread that was started once its parent's events were open has inherited them.
    pub(super) fn look(&mut self) -> Result<Vec<Unopened>, OpenError> {
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let named = match self.target {
            Target::Processes(pids) => pids,
            _ if !is_first => return Ok(Vec::new()),
            Target::System => return Ok(vec![of_no_process(vec![Scope::Everything])]),
            Target::Cgroup(cgroup) => return Ok(vec![of_no_process(vec![cgroup.scope()])]),
            Target::Command(pid) => return Ok(vec![of_threads(&[Tid(pid.0)])]),
            Target::Threads(tids) => return Ok(vec![of_threads(tids)]),
        };
        let named_first = named.first().copied();
        let parents = if self.with_children { named } else { &[][..] };
        let children = Descendants::of(parents).filter(Child::is_running);
        let named = named.iter().map(|&pid| (pid, None));
        let children = children.map(|Child { pid, parent }| (pid, Some(parent)));
        let mut unopened = Vec::new();
        for (pid, parent) in named.chain(children) {
            let threads = match proc::threads(pid) {
                Ok(threads) => threads,
                Err(_) => continue, // it has ended
            };
            let of_own = self.opened.get(&pid);
            let of_parent = parent.and_then(|parent| self.opened.get(&parent));
            let newest = of_own.or(of_parent).copied().flatten();
            self.births.read();
            let mut new = threads;
            new.retain(|&tid| self.done.insert(tid));
            // While other threads of a process are being opened, numbers do not tell who starts one.
            let by_number = |tid: Tid| newest.is_some_and(|it| tid.0 > it);
            new.retain(|&tid| !self.has_inherited(tid).unwrap_or_else(|| by_number(tid)));
            let scopes: Vec<_> = new.into_iter().map(Scope::Thread).collect();
            if scopes.is_empty() {
                self.opened.entry(pid).or_insert(newest);
            } else {
                unopened.push(Unopened {
                    process: Some(pid),
                    scopes,
                });
            }
        }
        match named_first {
            Some(pid) if is_first && unopened.is_empty() => Err(OpenError::NoSuchTask(Tid(pid.0))),
            _ => Ok(unopened),
        }
    }

    /// Whether a thread was started by one that had events already, by itself or from where it was started.
    /// `None` if that was not seen.
    fn has_inherited(&self, tid: Tid) -> Option<bool> {
        let mut birth = self.births.of(tid)?;
        loop {
            if let Some(since) = self.since.get(&birth.parent) {
                // The last events were opened a little before that, and copying takes a little: of a thread that was
                // being started in the very moment it does not tell.
                return Some(birth.time > *since);
            }
            let before = self.births.of(birth.parent)?;
            if before.time >= birth.time {
                return None; // of another thread, which has the number by now
            }
            birth = before;
        }
    }

    /// Nothing is to be opened on the threads that a process has now.
    pub(super) fn leave_out(&mut self, pid: Pid) {
        self.done.extend(proc::threads(pid).unwrap_or_default());
    }

    /// The events of a thread were opened.
    pub(super) fn opened_thread(&mut self, tid: Tid) {
        self.since.insert(tid, self.clock.now());
        self.births.read();
    }

    /// The events of a process were opened.
    pub(super) fn opened(&mut self, process: Option<Pid>) {
        if let Some(pid) = process {
            // A child is copied first and then gets its number: what was copied too early has one by now.
            std::thread::sleep(COPYING);
            self.opened.insert(pid, proc::newest_task());
        }
    }
}

fn of_threads(tids: &[Tid]) -> Unopened {
    of_no_process(tids.iter().copied().map(Scope::Thread).collect())
}

fn of_no_process(scopes: Vec<Scope>) -> Unopened {
    Unopened {
        process: None,
        scopes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::births::Birth;
    use super::*;
    use crate::options::Rate;

    #[test]
    fn a_thread_has_inherited_what_its_parent_had_by_then() {
        let options = Options::new(Target::Processes(vec![Pid(5)]), Rate::Frequency(99));
        let mut scopes = Scopes::new(&options);
        scopes
            .since
            .extend([(Tid(5), 1_000_000), (Tid(6), 2_000_000)]);
        let mut born = |tid, parent, time| {
            let parent = Tid(parent);
            scopes.births.add(Tid(tid), Birth { parent, time });
        };
        born(10, 5, 900_000); // before its parent's events
        born(11, 5, 1_500_000);
        born(12, 6, 1_500_000); // while those of another thread were open
        born(13, 11, 1_600_000); // from a thread that has inherited
        born(14, 10, 1_600_000); // from one that has not
        born(15, 7, 1_600_000); // from one that nothing is known of
        born(16, 16, 1_600_000);
        let inherited = [10, 11, 12, 13, 14, 15, 16, 17].map(|tid| scopes.has_inherited(Tid(tid)));
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(inherited, [no, yes, no, yes, no, None, None, None]);
    }
}
