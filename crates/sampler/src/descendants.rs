//! The processes that descend from others.
//!
//! In: process ids. Out: those of their children, grandchildren and so on, and the CPU time of all of them.
//! Elsewhere: single processes (`proc.rs`).

use std::fs;
use std::time::Duration;

use prof_model::Pid;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::proc;

/// A process and who its parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
}

impl Child {
    /// Whether any thread of it goes on.
    pub(crate) fn is_running(&self) -> bool {
        proc::is_running(self.pid)
    }
}

/// A way through all that descends from some processes, as `/proc` has it now, parents before their children.
/// Each is looked for when it is asked for. Without this process and what it has started.
#[derive(Debug)]
pub(crate) struct Descendants {
    parents: Vec<Pid>,
    found: Vec<Child>,
    seen: FxHashSet<Pid>,
    all: Option<FxHashMap<Pid, Vec<Pid>>>, // where the kernel has no lists of children
}

impl Descendants {
    /// Those of `roots`, without them.
    pub(crate) fn of(roots: &[Pid]) -> Self {
        let ourselves = Pid(std::process::id() as i32);
        Self {
            parents: roots.to_vec(),
            found: Vec::new(),
            seen: roots.iter().copied().chain([ourselves]).collect(),
            all: (!lists_children()).then(children_by_parent),
        }
    }

    fn children_of(&self, parent: Pid) -> Vec<Pid> {
        match &self.all {
            None => listed_children(parent),
            Some(all) => all.get(&parent).cloned().unwrap_or_default(),
        }
    }
}

impl Iterator for Descendants {
    type Item = Child;

    /// The next one, which may have ended and be there only to be waited for.
    fn next(&mut self) -> Option<Child> {
        loop {
            if let Some(child) = self.found.pop() {
                self.parents.push(child.pid);
                return Some(child);
            }
            let parent = self.parents.pop()?;
            let mut children = self.children_of(parent);
            children.retain(|&pid| self.seen.insert(pid));
            let children = children.into_iter().map(|pid| Child { pid, parent });
            self.found.extend(children);
        }
    }
}

/// CPU time of processes and of all that descend from them, each of them once, also of those that have ended
/// and were waited for. `None` if all of `roots` are gone.
pub(crate) fn cpu_time(roots: &[Pid]) -> Option<Duration> {
    let sum = proc::sum_of_known(roots, proc::cpu_time_with_ended_children)?;
    let children = Descendants::of(roots);
    let times = children.filter_map(|child| proc::cpu_time_with_ended_children(child.pid));
    Some(sum + times.sum::<Duration>())
}

/// Whether the kernel lists the children of a thread: not without `CONFIG_PROC_CHILDREN`.
fn lists_children() -> bool {
    fs::exists("/proc/thread-self/children").unwrap_or(false)
}

/// The children of a process, without a look at all processes.
fn listed_children(parent: Pid) -> Vec<Pid> {
    let threads = proc::threads(parent).unwrap_or_default().into_iter();
    let lists =
        threads.map(|tid| fs::read_to_string(format!("/proc/{parent}/task/{tid}/children")));
    let lists: String = lists.filter_map(Result::ok).collect();
    let numbers = lists.split_whitespace();
    numbers.filter_map(|it| it.parse().ok().map(Pid)).collect()
}

/// All processes by their parents.
fn children_by_parent() -> FxHashMap<Pid, Vec<Pid>> {
    let mut children: FxHashMap<Pid, Vec<Pid>> = FxHashMap::default();
    for pid in proc::processes().unwrap_or_default() {
        if let Some(parent) = proc::parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(roots: &[Pid]) -> Vec<Child> {
        Descendants::of(roots).filter(Child::is_running).collect()
    }

    #[test]
    fn a_child_is_found_by_its_parent_and_we_are_not() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo started; read it; kill $!; wait"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let root = Pid(shell.id() as i32);
        let mut started = [0; 8];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut started).unwrap();
        let of_shell = running(&[root]);
        assert!(matches!(of_shell[..], [child] if child.parent == root));
        let child = of_shell[0].pid;
        assert_eq!(listed_children(root), [child]);
        assert_eq!(children_by_parent()[&root], [child]);
        assert!(cpu_time(&[root]).is_some());
        let ourselves = Pid(std::process::id() as i32);
        let of_us = running(&[ourselves]);
        assert!(of_us.contains(&Child {
            pid: root,
            parent: ourselves
        }));
        let parent = proc::parent(ourselves).unwrap();
        assert!(running(&[parent]).iter().all(|it| it.pid != ourselves));
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn a_child_that_is_named_beside_its_parent_is_counted_once() {
        let script =
            "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo $$; read it'; :";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let parent = Pid(shell.id() as i32);
        let mut child = String::new();
        let mut lines = std::io::BufReader::new(shell.stdout.as_mut().unwrap());
        std::io::BufRead::read_line(&mut lines, &mut child).unwrap();
        let child = Pid(child.trim().parse().unwrap());
        let of_child = cpu_time(&[child]).unwrap();
        assert!(of_child >= Duration::from_millis(50), "{of_child:?}");
        let with_parent = cpu_time(&[parent]).unwrap();
        for both in [[parent, child], [child, parent]] {
            let sum = cpu_time(&both).unwrap();
            assert!(sum < with_parent + of_child / 2, "{sum:?} {with_parent:?}");
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
