//! Threads that wait already when a recording begins, and may never go on while it lasts.
//!
//! In: a thread. Out: whether it sleeps, where its user code entered the kernel, and what `/proc` tells of the
//! kernel's stack. The thread is not stopped for it. Elsewhere: unwinding the user's part from there.

use std::fs;

use prof_model::{Pid, Tid, VirtAddr};

/// A thread that sleeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asleep {
    /// The user's instruction and stack pointer, if they may be known.
    pub(crate) user: Option<(VirtAddr, VirtAddr)>,
    /// The kernel's functions, innermost first, each with an offset.
    pub(crate) kernel: Vec<(String, u64)>,
}

impl Asleep {
    /// What a thread sleeps in; `None` if it does not, or is gone.
    pub(crate) fn look(pid: Pid, tid: Tid) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
        let stat = read("stat").ok()?;
        let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
        if !matches!(state, 'S' | 'D') {
            return None;
        }
        let stack = read("stack").unwrap_or_default();
        let mut kernel: Vec<_> = stack.lines().filter_map(kernel_function).collect();
        if kernel.is_empty() {
            let function = read("wchan").unwrap_or_default();
            let is_named = !matches!(function.as_str(), "" | "0");
            kernel.extend(is_named.then_some((function, 0)));
        }
        Some(Self {
            user: read("syscall").ok().and_then(|line| user_place(&line)),
            kernel,
        })
    }
}

/// `[<0>] futex_wait_queue+0x60/0x80`
fn kernel_function(line: &str) -> Option<(String, u64)> {
    let function = line.split_once("] ")?.1;
    let (name, rest) = function.split_once("+0x")?;
    let offset = rest.split('/').next()?;
    Some((name.to_owned(), u64::from_str_radix(offset, 16).ok()?))
}

/// `202 0x7f.. .. 0x7ffc1c2dd0c8 0x7f22b1c5ba1f`: the last two are stack and instruction pointer. `running` if it
/// does not sleep.
fn user_place(line: &str) -> Option<(VirtAddr, VirtAddr)> {
    let mut words = line.split_whitespace().rev();
    let mut number = || {
        let word = words.next()?.strip_prefix("0x")?;
        u64::from_str_radix(word, 16).ok().filter(|&it| it != 0)
    };
    let (ip, sp) = (number()?, number()?);
    Some((VirtAddr(ip), VirtAddr(sp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_tells_where_it_sleeps_and_a_running_one_nothing() {
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid(sleeper.id() as i32);
        let look = || Asleep::look(pid, Tid(pid.0));
        let in_sleep = || {
            look().is_some_and(|it| it.kernel.iter().any(|(name, _)| name.contains("nanosleep")))
        };
        let is_root = nix::unistd::geteuid().is_root();
        let mut tries = 0;
        while is_root && !in_sleep() && tries < 1000 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            tries += 1;
        }
        let asleep = look();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let asleep = asleep.unwrap();
        assert!(asleep.user.is_some(), "{asleep:?}");
        assert!(!is_root || tries < 1000, "{asleep:?}");
        let ourselves = Pid(std::process::id() as i32);
        let running = Tid(nix::unistd::gettid().as_raw());
        assert_eq!(Asleep::look(ourselves, running), None);
    }

    #[test]
    fn lines_of_the_kernel_are_read_and_others_are_nothing() {
        let read = kernel_function("[<0>] futex_do_wait+0x38/0x70");
        assert_eq!(read, Some(("futex_do_wait".to_owned(), 0x38)));
        assert_eq!(kernel_function("[<0>] 0xffffffff81000000"), None);
        let place = user_place("202 0x1 0x2 0x0 0x0 0x0 0x0 0x7ffc10 0x55d0\n");
        assert_eq!(place, Some((VirtAddr(0x55d0), VirtAddr(0x7f_fc10))));
        assert_eq!(user_place("running\n"), None);
        assert_eq!(user_place("-1 0x0 0x0\n"), None);
    }
}
