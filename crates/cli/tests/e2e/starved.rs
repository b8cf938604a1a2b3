//! A machine that has more work than CPUs.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{PROF, Place, Running, gcc, has, is_root, workload};

/// Shells that compute until they are dropped.
struct BusyLoops(Vec<Child>);

impl BusyLoops {
    fn start(count: usize) -> Self {
        let start = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "while :; do :; done"]);
            shell.stdin(Stdio::null()).spawn().unwrap()
        };
        Self((0..count).map(|_| start()).collect())
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        for shell in &mut self.0 {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

#[test]
fn nothing_is_lost_while_eight_loops_keep_two_cpus_busy() {
    if !has("gcc") {
        return;
    }
    if !is_root() {
        println!("skipped: only root comes before others");
        return;
    }
    let place = Place::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/targets/deep.c");
    let flags = ["-O2", "-fomit-frame-pointer", "-pthread"];
    gcc(&place, &[&flags[..], &[source, "-o", "deep"]].concat());
    let target = Running::start(place.file("deep"), &["60", "2", "700"]);
    let _busy = BusyLoops::start(8);
    let pid = target.pid();
    let record = ["record", "-v", "-F", "999", "-d", "4s", "-p", &pid];
    let ran = place.prof(&record).ok();
    assert!(!ran.err.contains("lost "), "{}", ran.err);
    assert!(ran.err.contains("emptied with nice -"), "{}", ran.err);
    let samples = place.samples("perf.data");
    assert!(samples > 200, "{samples} samples"); // two of ten threads on two CPUs
}

/// A recorder that is stopped ever so often, with rings for a few large samples: samples become smaller, which is
/// said.
#[test]
fn less_is_copied_of_stacks_while_the_rings_are_about_to_be_full_and_that_is_said() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = [
        "record", "-v", "-F", "999", "-m", "1M", "-d", "4s", "-p", &pid,
    ];
    let mut recorder = place.command(PROF, &record);
    let recorder = recorder.stderr(Stdio::piped()).spawn().unwrap();
    let signal = |signal| {
        let pid = nix::unistd::Pid::from_raw(recorder.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    };
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..100 {
        signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(14));
        signal(Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(10));
    }
    let told = recorder.wait_with_output().unwrap().stderr;
    let told = String::from_utf8(told).unwrap();
    let says = "the ring buffers were about to be full";
    assert!(told.contains(says), "{told}");
}

/// Who is asked for its nice value and its policy, as `/proc/PID/stat` has them.
fn scheduled(told: &str) -> (&str, &str) {
    let (_, fields) = told.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    (fields[16], fields[38])
}

#[test]
fn a_command_does_not_come_before_others_because_its_recorder_does() {
    let place = Place::new();
    let plain = place.command("cat", &["/proc/self/stat"]).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    for more in [&[][..], &["-r", "2"]] {
        let record = [&["record", "-q"], more, &["--", "cat", "/proc/self/stat"]].concat();
        let ran = place.prof(&record);
        if !more.is_empty() && ran.status == Some(125) {
            let says = ["could not get real-time priority 2", "`ulimit -r 2`"];
            ran.failed(125).says(&says);
            continue;
        }
        assert_eq!(scheduled(&ran.out), scheduled(&plain), "{}", ran.err);
    }
}

#[test]
fn the_thread_that_empties_the_rings_has_the_priority_that_was_asked_for_and_no_other_one_does() {
    if !is_root() {
        println!("skipped: only root has a real-time priority");
        return;
    }
    let place = Place::new();
    let target = workload();
    for (command, thread) in [("record", "prof"), ("top", "prof-sampler")] {
        let mut args = vec![command, "-r", "2", "-p"];
        let pid = target.pid();
        args.push(&pid);
        if command == "top" {
            args.push("--batch");
        }
        let mut recorder = place.command(PROF, &args);
        recorder.stdout(Stdio::null()).stderr(Stdio::null());
        let recorder = Running(recorder.spawn().unwrap());
        std::thread::sleep(Duration::from_secs(2));
        let mut fifo = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", recorder.pid())).unwrap() {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            if scheduled(&stat).1 == libc::SCHED_FIFO.to_string() {
                let name = stat.split_once('(').unwrap().1;
                fifo.push(name.rsplit_once(')').unwrap().0.to_owned());
            }
        }
        assert_eq!(fifo, [thread]);
    }
}
