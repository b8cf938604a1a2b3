//! Where threads have their stacks.

use std::fs;

/// The most threads that are asked.
const MOST: usize = 2000;

/// Stack pointers of the threads of a process that do not run at this moment; those that run do not tell. Needs the
/// permission to trace it.
pub fn stack_pointers(pid: i32) -> Vec<u64> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let tasks = tasks.flatten().take(MOST);
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("syscall")).ok());
    texts.filter_map(|text| pointer(&text)).collect()
}

/// The last two words are the stack pointer and the program counter; `running` is one word.
fn pointer(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace().rev().skip(1);
    let hex = words.next()?.strip_prefix("0x")?;
    u64::from_str_radix(hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_tells_its_stack_pointer_and_one_that_runs_does_not() {
        let waiting = "202 0x7f 0x80 0x0 0x0 0x0 0xffff 0x7ffe10 0x7f00\n";
        assert_eq!(pointer(waiting), Some(0x7ffe10));
        assert_eq!(pointer("-1 0x7ffe20 0x7f00\n"), Some(0x7ffe20));
        assert_eq!(pointer("running\n"), None);
    }
}
