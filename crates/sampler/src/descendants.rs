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

/// The processes that descend from `roots`, parents before their children, as `/proc` has them now. Without
/// those that have ended, and without this process and what it has started.
pub(crate) fn descendants(roots: &[Pid]) -> Vec<Child> {
    let ourselves = std::process::id() as i32;
    let mut children: FxHashMap<Pid, Vec<Pid>> = FxHashMap::default();
    for pid in proc::processes().unwrap_or_default() {
        let Some(parent) = proc::parent(pid) else {
            continue;
        };
        if pid.0 != ourselves {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut ancestors = roots.to_vec();
    while let Some(parent) = ancestors.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            if !roots.contains(&pid) && proc::is_running(pid) {
                found.push(Child { pid, parent });
                ancestors.push(pid);
            }
        }
    }
    found
}

/// CPU time of processes and of all that descend from them, each of them once, also of those that have ended
/// and were waited for. `None` if one of `roots` is gone.
pub(crate) fn cpu_time(roots: &[Pid]) -> Option<Duration> {
    let ourselves = std::process::id() as i32;
    let times = roots
        .iter()
        .map(|&root| proc::cpu_time_with_ended_children(root));
    let mut sum = times.sum::<Option<Duration>>()?;
    let mut seen: FxHashSet<_> = roots.iter().copied().collect();
    let mut parents = roots.to_vec();
    while let Some(parent) = parents.pop() {
        for child in children_of(parent) {
            if child.0 != ourselves && seen.insert(child) {
                sum += proc::cpu_time_with_ended_children(child).unwrap_or_default();
                parents.push(child);
            }
        }
    }
    Some(sum)
}

/// The children of a process, without a look at all processes; none where the kernel does not list them.
fn children_of(parent: Pid) -> Vec<Pid> {
    let threads = proc::threads(parent).unwrap_or_default().into_iter();
    let lists =
        threads.map(|tid| fs::read_to_string(format!("/proc/{parent}/task/{tid}/children")));
    let lists: String = lists.filter_map(Result::ok).collect();
    let numbers = lists.split_whitespace();
    numbers.filter_map(|it| it.parse().ok().map(Pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let of_shell = descendants(&[root]);
        assert!(matches!(of_shell[..], [child] if child.parent == root));
        assert_eq!(children_of(root), [of_shell[0].pid]);
        assert!(cpu_time(&[root]).is_some());
        let ourselves = Pid(std::process::id() as i32);
        let of_us = descendants(&[ourselves]);
        assert!(of_us.contains(&Child {
            pid: root,
            parent: ourselves
        }));
        let parent = proc::parent(ourselves).unwrap();
        assert!(descendants(&[parent]).iter().all(|it| it.pid != ourselves));
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
