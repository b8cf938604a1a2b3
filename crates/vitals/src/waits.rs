//! What blocked threads wait in.

use std::collections::BTreeMap;
use std::fs;

use crate::syscalls;

/// What threads of a target were found waiting in, from look to look.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Waits {
    /// How often it was looked.
    pub looks: u32,
    /// In how many looks at least one thread was in uninterruptible sleep (state `D`).
    pub looks_with_blocked: u32,
    /// Threads seen in all looks together.
    pub seen: u64,
    /// How many of them ran or could have run.
    pub running: u64,
    /// Where the others waited, most often seen first; those in state `D` before all others.
    pub places: Vec<Wait>,
}

/// A place where threads waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The thread's state: `D` for sleep that no signal ends, `S` for all other, `T` for stopped, `t` for traced.
    pub state: char,
    /// For `D` the kernel's functions, innermost first, with ` < ` between them, or where the stack cannot be read
    /// the innermost one; for others the system call or, where that cannot be read either, the kernel's function.
    /// `None` where nothing of it can be read.
    pub place: Option<String>,
    /// How often a thread was seen there, in all looks together.
    pub seen: u64,
    /// One of the threads: process, thread, name.
    pub example: (i32, i32, String),
    /// How many different threads.
    pub threads: usize,
}

/// Waits while they are collected.
#[derive(Debug, Default)]
pub(crate) struct WaitTable {
    looks: u32,
    looks_with_blocked: u32,
    seen: u64,
    running: u64,
    places: BTreeMap<(char, Option<String>), Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    threads: std::collections::BTreeSet<(i32, i32)>,
}

impl WaitTable {
    /// A look begins.
    pub(crate) fn begin_look(&mut self) {
        self.looks += 1;
    }

    /// Notes that a thread was seen in a state, and what it waits in. Says whether the state is `D`.
    pub(crate) fn see(&mut self, pid: i32, tid: i32, state: char) -> bool {
        let place = match state {
            'Z' | 'X' => return false, // it has ended
            'R' => {
                self.seen += 1;
                self.running += 1;
                return false;
            }
            'D' => stack(pid, tid).or_else(|| kernel_function(pid, tid)),
            _ => system_call(pid, tid).or_else(|| kernel_function(pid, tid)),
        };
        self.note((pid, tid), state, place);
        state == 'D'
    }

    fn note(&mut self, thread: (i32, i32), state: char, place: Option<String>) {
        self.seen += 1;
        let seen = self.places.entry((state, place)).or_default();
        seen.count += 1;
        seen.threads.insert(thread);
    }

    /// A look has ended, which found threads in state `D` or not.
    pub(crate) fn end_look(&mut self, found_blocked: bool) {
        self.looks_with_blocked += u32::from(found_blocked);
    }

    /// What was seen. `comm` names a thread.
    pub(crate) fn finish(self, comm: impl Fn(i32, i32) -> String) -> Waits {
        let places = self.places.into_iter().map(|((state, place), seen)| {
            let (pid, tid) = seen.threads.first().copied().unwrap_or_default();
            Wait {
                state,
                place,
                seen: seen.count,
                example: (pid, tid, comm(pid, tid)),
                threads: seen.threads.len(),
            }
        });
        let mut places: Vec<Wait> = places.collect();
        places.sort_by_key(|wait| (wait.state != 'D', std::cmp::Reverse(wait.seen)));
        Waits {
            looks: self.looks,
            looks_with_blocked: self.looks_with_blocked,
            seen: self.seen,
            running: self.running,
            places,
        }
    }
}

/// Functions that every sleep goes through: they say nothing about it.
const SLEEPING: [&str; 12] = [
    "__schedule",
    "schedule",
    "schedule_timeout",
    "schedule_preempt_disabled",
    "io_schedule",
    "io_schedule_timeout",
    "bit_wait",
    "bit_wait_io",
    "__wait_on_bit",
    "out_of_line_wait_on_bit",
    "__wait_for_common",
    "do_wait_for_common",
];
/// Functions that every system call goes through.
const ENTRIES: [&str; 5] = [
    "do_syscall_64",
    "entry_",
    "x64_sys_call",
    "invoke_syscall",
    "el0",
];
const FUNCTIONS: usize = 3;

/// The innermost functions of a thread's kernel stack that tell what it waits for.
fn stack(pid: i32, tid: i32) -> Option<String> {
    told(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/stack")).ok()?)
}

/// Of lines such as `[<0>] vfs_read+0x9a/0x1b0`.
fn told(stack: &str) -> Option<String> {
    let functions = stack.lines().filter_map(|line| {
        let (_, function) = line.split_once("] ")?;
        function.split('+').next()
    });
    let functions: Vec<&str> = functions
        .skip_while(|function| SLEEPING.contains(function))
        .take_while(|function| !ENTRIES.iter().any(|entry| function.starts_with(entry)))
        .take(FUNCTIONS)
        .collect();
    (!functions.is_empty()).then(|| functions.join(" < "))
}

fn kernel_function(pid: i32, tid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).ok()?;
    (!name.is_empty() && name != "0").then_some(name)
}

fn system_call(pid: i32, tid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let number = text.split_ascii_whitespace().next()?.parse().ok()?;
    syscalls::name(number).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stack_is_told_what_says_something() {
        let text = "[<0>] io_schedule+0x46/0x70\n[<0>] folio_wait_bit_common+0x13d/0x350\n\
                    [<0>] filemap_read+0x2/0x3\n[<0>] vfs_read+0x9a/0x1b0\n\
                    [<0>] do_syscall_64+0x71/0x290\n";
        let expected = "folio_wait_bit_common < filemap_read < vfs_read";
        assert_eq!(told(text).as_deref(), Some(expected));
        let short = "[<0>] wait_for_vfork_done+0x1/0x2\n[<0>] do_syscall_64+0x71/0x290\n";
        assert_eq!(told(short).as_deref(), Some("wait_for_vfork_done"));
        assert_eq!(told(""), None);
    }

    #[test]
    fn what_no_signal_ends_comes_first_and_looks_are_counted() {
        let mut table = WaitTable::default();
        for blocked in [false, true] {
            table.begin_look();
            table.note((1, 1), 'S', Some("futex".to_owned()));
            table.note((1, 2), 'S', Some("futex".to_owned()));
            if blocked {
                table.note((1, 3), 'D', None);
            }
            table.see(1, 4, 'R');
            table.see(1, 5, 'Z');
            table.end_look(blocked);
        }
        let waits = table.finish(|_, tid| format!("thread {tid}"));
        assert_eq!((waits.looks, waits.looks_with_blocked), (2, 1));
        assert_eq!((waits.seen, waits.running), (7, 2));
        assert_eq!(waits.places[0].example, (1, 3, "thread 3".to_owned()));
        assert_eq!((waits.places[1].seen, waits.places[1].threads), (4, 2));
    }

    #[test]
    fn this_thread_is_in_a_call_or_running() {
        // its own system call is the one that reads the file
        let pid = std::process::id() as i32;
        let call = system_call(pid, pid);
        assert!(
            call.is_none() || call.as_deref() == Some("futex") || call.as_deref() == Some("read"),
            "{call:?}"
        );
    }
}
