//! What `/proc` tells about processes that run already.

use std::fs;
use std::io;
use std::time::Duration;

use prof_model::{FileId, Pid, Tid};

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapLine {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// `PROT_*`.
    pub prot: u32,
    /// Whether writes reach the file.
    pub shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// The file; inode 0 for none.
    pub file: FileId,
    /// Path, `[vdso]`, or nothing. ` (deleted)` at its end is left there.
    pub name: Vec<u8>,
}

impl MapLine {
    /// Whether code may run there.
    pub(crate) fn is_executable(&self) -> bool {
        const PROT_EXEC: u32 = 4;
        self.prot & PROT_EXEC != 0
    }
}

/// Every process there is.
///
/// # Errors
/// `/proc` cannot be read.
pub fn processes() -> io::Result<Vec<Pid>> {
    let mut pids: Vec<_> = numbers("/proc")?.into_iter().map(Pid).collect();
    pids.sort();
    Ok(pids)
}

/// The threads of a process.
///
/// # Errors
/// It has exited.
pub fn threads(pid: Pid) -> io::Result<Vec<Tid>> {
    let mut tids: Vec<_> = numbers(&format!("/proc/{pid}/task"))?
        .into_iter()
        .map(Tid)
        .collect();
    tids.sort();
    Ok(tids)
}

fn numbers(directory: &str) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Some(number) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// The processes that descend from `roots` now, without these and without this process and what it has started.
pub fn descendants(roots: &[Pid]) -> Vec<Pid> {
    crate::descendants::Descendants::of(roots)
        .map(|child| child.pid)
        .collect()
}

/// A thread's name, without a newline at its end.
///
/// # Errors
/// It has exited.
pub fn comm(pid: Pid, tid: Tid) -> io::Result<Vec<u8>> {
    let mut name = fs::read(format!("/proc/{pid}/task/{tid}/comm"))?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Ok(name)
}

/// A number of `/proc/PID/status`: `Tgid`, `PPid`, `Uid` (the first of its numbers).
pub fn status_number(task: i32, field: &str) -> Option<i32> {
    let status = fs::read(format!("/proc/{task}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process that a thread belongs to, by whatever number of a thread. `None` if there is no such thread.
pub fn process_of(task: i32) -> Option<Pid> {
    status_number(task, "Tgid").map(Pid)
}

/// Under which number `/proc` shows the memory and the files of a process: its own or, where its first thread
/// has ended, that of one that goes on.
pub fn living_task(pid: Pid) -> i32 {
    if !has_ended(pid.0) {
        return pid.0;
    }
    let threads = threads(pid).unwrap_or_default().into_iter();
    let mut living = threads.map(|tid| tid.0).filter(|&tid| !has_ended(tid));
    living.next().unwrap_or(pid.0)
}

/// Whether any thread of a process goes on.
pub fn is_running(pid: Pid) -> bool {
    !has_ended(living_task(pid))
}

/// Whether a process has memory at all: a thread of the kernel has none, nor has what has ended.
pub(crate) fn has_memory(pid: Pid) -> bool {
    let pages = fs::read_to_string(format!("/proc/{}/statm", living_task(pid)));
    pages.is_ok_and(|pages| !pages.starts_with("0 "))
}

/// The parent of a process. `None` if it is gone.
pub fn parent(pid: Pid) -> Option<Pid> {
    let fields = stat_fields(pid.0)?;
    fields.split_whitespace().nth(1)?.parse().ok().map(Pid)
}

/// The number of the thread that was started last, of all that this `/proc` shows. It tells until when the
/// others were, but for the one time in millions when numbers begin again.
pub(crate) fn newest_task() -> Option<i32> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split_whitespace().last()?.parse().ok()
}

/// Whether a thread is there only to be waited for.
fn has_ended(task: i32) -> bool {
    let state = stat_fields(task).and_then(|fields| fields.bytes().next());
    matches!(state, Some(b'Z' | b'X'))
}

/// `/proc/TASK/stat` from the state on; the name in front of it, in parentheses, may contain anything.
fn stat_fields(task: i32) -> Option<String> {
    fields_of(&format!("/proc/{task}/stat"))
}

fn fields_of(stat: &str) -> Option<String> {
    let stat = fs::read(stat).ok()?;
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 2;
    Some(String::from_utf8_lossy(stat.get(after_name..)?).into_owned())
}

/// CPU time that a process has used so far. `None` if it is gone.
pub fn cpu_time(pid: Pid) -> Option<Duration> {
    cpu_times(&stat_fields(pid.0)?, 2)
}

/// The CPU time of those processes of which it is known. `None` if there are none.
pub(crate) fn sum_of_known(
    pids: &[Pid],
    time: impl Fn(Pid) -> Option<Duration>,
) -> Option<Duration> {
    let times = pids.iter().filter_map(|&pid| time(pid));
    times.reduce(|sum, time| sum + time)
}

/// CPU time that a thread alone has used so far. `None` if it is gone.
pub(crate) fn thread_cpu_time(tid: Tid) -> Option<Duration> {
    // `/proc/TID/stat` would tell that of its process.
    cpu_times(&fields_of(&format!("/proc/{tid}/task/{tid}/stat"))?, 2)
}

/// CPU time of a process and of those of its children that have ended and were waited for.
pub(crate) fn cpu_time_with_ended_children(pid: Pid) -> Option<Duration> {
    cpu_times(&stat_fields(pid.0)?, 4)
}

/// The sum of so many fields of a `stat`: its own user and system time, those of ended children.
fn cpu_times(fields: &str, count: usize) -> Option<Duration> {
    const TICKS_PER_SECOND: u64 = 100; // USER_HZ, which is 100 on every platform of Linux we run on
    let times = fields.split_whitespace().skip(11).take(count);
    let ticks: u64 = times
        .map(|it| it.parse::<u64>().ok())
        .sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The mappings of a process.
///
/// # Errors
/// It has exited, or belongs to somebody else.
pub fn maps(pid: Pid) -> io::Result<Vec<MapLine>> {
    let text = fs::read(format!("/proc/{}/maps", living_task(pid)))?;
    let lines = text.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(parse_map_line).collect())
}

/// `55d0-55d4 r-xp 00001000 fe:00 1234    /usr/bin/cat`
fn parse_map_line(line: &[u8]) -> Option<MapLine> {
    let mut rest = line;
    let mut word = || {
        let start = rest.iter().position(|&byte| byte != b' ')?;
        let len = rest[start..].iter().position(|&byte| byte == b' ');
        let (word, after) = rest[start..].split_at(len.unwrap_or(rest.len() - start));
        rest = after;
        std::str::from_utf8(word).ok()
    };
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    let modes = word()?.as_bytes();
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?.parse().ok()?;
    let mode = |index: usize, letter, value| {
        if modes.get(index) == Some(&letter) {
            value
        } else {
            0
        }
    };
    let name = rest
        .iter()
        .position(|&byte| byte != b' ')
        .map_or(&[][..], |at| &rest[at..]);
    Some(MapLine {
        start: hex(start)?,
        end: hex(end)?,
        prot: mode(0, b'r', 1) | mode(1, b'w', 2) | mode(2, b'x', 4),
        shared: modes.get(3) == Some(&b's'),
        offset,
        file: FileId {
            major: hex(major)? as u32,
            minor: hex(minor)? as u32,
            inode,
            generation: 0,
        },
        name: name.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_line_keeps_spaces_in_its_path_and_may_have_none() {
        let line = b"5566d000-5566e000 r-xp 00002000 fe:01 4711      /opt/my app (deleted)";
        let map = parse_map_line(line).unwrap();
        assert_eq!(
            (map.start, map.end, map.offset),
            (0x5566_d000, 0x5566_e000, 0x2000)
        );
        assert_eq!((map.prot, map.shared), (5, false));
        assert_eq!(
            (map.file.major, map.file.minor, map.file.inode),
            (0xfe, 1, 4711)
        );
        assert_eq!(map.name, b"/opt/my app (deleted)");
        let anonymous = parse_map_line(b"1000-2000 rw-s 00000000 00:00 0").unwrap();
        assert_eq!((anonymous.name, anonymous.shared), (Vec::new(), true));
        assert_eq!(parse_map_line(b""), None);
        assert_eq!(parse_map_line(b"1000-2000 rw-p"), None);
    }

    #[test]
    fn this_process_has_a_thread_a_name_and_mappings() {
        let pid = Pid(std::process::id() as i32);
        assert!(threads(pid).unwrap().contains(&Tid(pid.0)));
        assert!(!comm(pid, Tid(pid.0)).unwrap().is_empty());
        assert!(has_memory(pid) && !has_memory(Pid(i32::MAX)));
        assert!(maps(pid).unwrap().iter().any(|map| map.name == b"[vdso]"));
        assert_eq!(status_number(pid.0, "Tgid"), Some(pid.0));
    }

    #[test]
    fn the_time_of_a_thread_is_not_that_of_its_process() {
        let pid = Pid(std::process::id() as i32);
        let used = Duration::from_millis(100);
        while cpu_time(pid).unwrap() < used {}
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let idle = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            ended.recv().unwrap_err();
        });
        let idle_time = thread_cpu_time(Tid(told.recv().unwrap())).unwrap();
        drop(end);
        idle.join().unwrap();
        assert!(idle_time < used / 2, "{idle_time:?}");
        assert!(cpu_time(pid).unwrap() >= used);
    }
}
