//! Which threads events are opened on.
//!
//! In: a target. Out: what is to be opened, by process, again and again until nothing new is there.
//! Elsewhere: opening (`instances.rs`).

use std::time::Duration;

use prof_model::{Pid, Tid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::error::OpenError;
use crate::descendants::{Child, descendants};
use crate::options::{Options, Target};
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
        }
    }

    /// What is there and was not in an earlier answer. Each thread of a process has events of its own, and
    /// so have its children. A thread that was started once its parent's events were open
    /// has inherited them, if they are `inherited` at all.
    pub(super) fn look(&mut self, inherited: bool) -> Result<Vec<Unopened>, OpenError> {
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let named = match self.target {
            Target::Processes(pids) => pids,
            _ if !is_first => return Ok(Vec::new()),
            Target::System => return Ok(vec![of_no_process(vec![Scope::Everything])]),
            Target::Command(pid) => return Ok(vec![of_threads(&[Tid(pid.0)])]),
            Target::Threads(tids) => return Ok(vec![of_threads(tids)]),
        };
        let children = match self.with_children {
            true => descendants(named),
            false => Vec::new(),
        };
        let named = named.iter().map(|&pid| (pid, None));
        let children = children
            .into_iter()
            .map(|Child { pid, parent }| (pid, Some(parent)));
        let mut unopened = Vec::new();
        for (pid, parent) in named.chain(children) {
            let threads = match proc::threads(pid) {
                Ok(threads) => threads,
                Err(_) if parent.is_none() && is_first => {
                    return Err(OpenError::NoSuchTask(Tid(pid.0)));
                }
                Err(_) => continue,
            };
            let of_own = self.opened.get(&pid);
            let of_parent = parent.and_then(|parent| self.opened.get(&parent));
            let newest = of_own.or(of_parent).copied().flatten();
            let has_inherited = |tid: Tid| inherited && newest.is_some_and(|it| tid.0 > it);
            let new = threads.into_iter().filter(|&tid| self.done.insert(tid));
            let new = new.filter(|&tid| !has_inherited(tid));
            let scopes: Vec<_> = new.map(Scope::Thread).collect();
            if scopes.is_empty() {
                self.opened.entry(pid).or_insert(newest);
            } else {
                unopened.push(Unopened {
                    process: Some(pid),
                    scopes,
                });
            }
        }
        Ok(unopened)
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
