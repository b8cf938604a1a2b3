//! Which process another one is a copy of.
//!
//! In: a process that runs. Out: the one that forked it, if both still run the same program. Elsewhere: forks
//! and programs that records tell of.

use std::fs;

use prof_model::{Pid, Tid, VirtAddr};

use crate::bytes::u64_at;
use crate::memory::read_memory;
use crate::proc;

/// In the auxiliary vector: where 16 random bytes lie. Every `exec` makes new ones, a fork keeps them.
const AT_RANDOM: u64 = 25;

/// The process that forked this one, if neither has run another program since: then both have what was in
/// memory at that time at the same addresses. `None` also where the two may not be read, or the parent has
/// ended.
pub fn forked_from(pid: Pid) -> Option<Pid> {
    let parent = proc::parent(pid).filter(|parent| parent.0 > 0)?;
    (random_bytes(pid)? == random_bytes(parent)?).then_some(parent)
}

/// The random bytes that the kernel gave a process's program when it began, and where they lie.
fn random_bytes(pid: Pid) -> Option<(u64, [u8; 16])> {
    let task = proc::living_task(pid);
    let vector = fs::read(format!("/proc/{task}/auxv")).ok()?;
    let mut pairs = vector.chunks_exact(16);
    let pair = pairs.find(|pair| u64_at(pair, 0) == AT_RANDOM)?;
    let addr = u64_at(pair, 8);
    let mut bytes = [0; 16];
    let count = read_memory(pid, Tid(task), VirtAddr(addr), &mut bytes).ok()?;
    (count == bytes.len()).then_some((addr, bytes))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::{Signal, kill};

    use super::*;

    /// The only child of a process, once it is there and runs that.
    fn child_that_runs(pid: Pid, name: &str) -> Pid {
        loop {
            let all = proc::processes().unwrap().into_iter();
            let mut children = all.filter(|&it| proc::parent(it) == Some(pid));
            let runs = |&it: &Pid| proc::comm(it, Tid(it.0)).is_ok_and(|it| it == name.as_bytes());
            if let Some(child) = children.find(runs) {
                return child;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_is_a_copy_of_its_parent_until_it_runs_another_program() {
        for (script, name, is_copy) in [
            ("(while :; do :; done) & wait", "sh", true),
            ("sleep 60 & wait", "sleep", false),
        ] {
            let mut shell = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = Pid(shell.id() as i32);
            let child = child_that_runs(pid, name);
            let found = [child, pid].map(forked_from);
            for ended in [child, pid] {
                kill(nix::unistd::Pid::from_raw(ended.0), Signal::SIGKILL).unwrap();
            }
            shell.wait().unwrap();
            assert_eq!(found, [is_copy.then_some(pid), None], "{script}");
        }
        assert_eq!(forked_from(Pid(i32::MAX)), None);
    }
}
