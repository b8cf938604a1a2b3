//! A recording that somebody ends: by signals, however they come.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::support::{PROF, Place, Running, has, workload};

/// A recording of a process in a group of its own.
fn recorder(place: &Place, pid: &str, more: &[&str]) -> Child {
    let args = [&["record", "-F", "999", "-p", pid][..], more].concat();
    let mut command = place.command(PROF, &args);
    command.process_group(0).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn now() -> f64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_secs_f64()
}

/// Times of the first and the last sample, in seconds of the monotonic clock.
fn times(place: &Place, file: &str) -> (f64, f64) {
    let script = place.prof(&["script", "-i", file, "-F", "time", "-G"]).ok();
    let time = |line: &str| line.trim().trim_end_matches(':').parse::<f64>().ok();
    let mut times = script.out.lines().filter_map(time);
    let first = times.next().expect("a sample");
    (first, times.next_back().unwrap_or(first))
}

#[test]
fn a_recording_is_as_long_as_was_recorded_and_its_parts_count_from_its_beginning() {
    let place = Place::new();
    let target = Running::start("/bin/sh", &["-c", "sleep 4; while :; do :; done"]);
    std::thread::sleep(Duration::from_millis(500)); // it sleeps by now
    let args = ["record", "-F", "499", "-p", &target.pid(), "-d", "5s"];
    place.prof(&args).ok();
    drop(target);
    place.prof(&["report", "--svg", "all.svg"]).ok();
    let svg = fs::read_to_string(place.file("all.svg")).unwrap();
    let seconds = svg.split(" s (user").next().unwrap();
    let seconds = seconds.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let (first, last) = times(&place, "perf.data");
    assert!(seconds > last - first + 1.0, "{seconds} {first} {last}");
    let report = |part: &str| place.prof(&["report", "--stdio", "--time", part]);
    let asleep = report("0,1");
    assert_ne!(asleep.status, Some(0));
    asleep.says(&[
        "has no samples in this range: `--time 0,1`",
        "of its clock, ",
    ]);
    report("0,60")
        .ok()
        .says(&["times are seconds from its start"]);
    report("20000101").says(&["names no part of a recording", "03:12:05"]);
    report("00:00,23:59:59.9").ok();
}

/// The name of the file that a recorder was writing when it was killed.
fn left(place: &Place) -> Option<String> {
    let files = place.files().into_iter();
    files.into_iter().find(|name| name.ends_with(".tmp"))
}

/// `timeout` signals its command, then its group.
#[test]
fn what_timeout_ends_is_a_whole_recording() {
    if !has("timeout") {
        return;
    }
    let place = Place::new();
    let target = workload();
    for signal in ["TERM", "TERM", "HUP", "INT"] {
        let args = ["-s", signal, "1", PROF, "record", "-p", &target.pid()];
        let mut timeout = place.command("timeout", &args);
        let ran: crate::support::Ran = timeout.process_group(0).output().unwrap().into();
        assert_eq!(ran.status, Some(124), "{signal}: {ran:?}");
        assert!(ran.err.contains("Captured and wrote"), "{signal}: {ran:?}");
        assert_eq!(place.files(), ["perf.data"], "{signal}");
        assert!(place.share("perf.data", "prof::workload::checksum") > 40.0);
        fs::remove_file(place.file("perf.data")).unwrap();
    }
}

#[test]
fn a_storm_of_signals_is_one_request() {
    let place = Place::new();
    let target = workload();
    let mut recorder = recorder(&place, &target.pid(), &[]);
    std::thread::sleep(Duration::from_millis(1200));
    let pid = Pid::from_raw(recorder.id() as i32);
    let until = Instant::now() + Duration::from_secs(60);
    // 300 would wrap around a counter of one byte
    let mut sent = 0;
    let status = loop {
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
            let _ = kill(pid, signal);
        }
        sent += 1;
        if let Some(status) = recorder.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(status.success(), "{status} after {sent}");
    assert_eq!(place.files(), ["perf.data"]);
    assert!(place.samples("perf.data") > 20);
}

#[test]
fn a_recorder_that_is_killed_leaves_all_but_the_last_second_and_the_next_one_says_so() {
    let place = Place::new();
    let target = workload();
    for (after, more) in [(700, &[][..]), (1300, &["-z"]), (1900, &[])] {
        let mut recorder = recorder(&place, &target.pid(), more);
        std::thread::sleep(Duration::from_millis(after + 500));
        let tmp = left(&place).expect("a file that is being written");
        // a living recorder's file is no leftover
        let other = place.prof(&["record", "-p", &target.pid(), "-d", "100ms", "-o", "other"]);
        assert!(!other.ok().err.contains(".tmp"));
        let killed = now();
        recorder.kill().unwrap();
        recorder.wait().unwrap();
        let (_, last) = times(&place, &tmp);
        assert!(killed - last < 1.0, "{} s are missing", killed - last);
        assert!(place.share(&tmp, "prof::workload::checksum") > 40.0);
        let next = place.prof(&["record", "-o", "other", "--", "true"]).ok();
        next.says(&[&tmp, &format!("rm {tmp}"), &format!("prof report -i {tmp}")]);
        fs::remove_file(place.file(&tmp)).unwrap();
        let next = place.prof(&["record", "-o", "other", "--", "true"]).ok();
        assert!(!next.err.contains(".tmp"), "{}", next.err);
    }
}

/// Ctrl-C typed on a terminal: an impatient second one changes nothing, one a second later aborts.
#[test]
fn only_a_late_second_ctrl_c_aborts_and_what_was_written_is_kept() {
    if !has("script") {
        return;
    }
    let place = Place::new();
    // It ignores Ctrl-C, so the recording goes on.
    let command = "trap '' INT; exec timeout 60 sh -c 'while :; do :; done'";
    let run = |typing: &str| {
        let record = format!("{PROF} record -F 999 -- sh -c \"{command}\"");
        let shell = format!(
            "({typing}) | script -qec '{}' /dev/null",
            record.replace('\'', r"'\''")
        );
        let ran: crate::support::Ran = Command::new("sh")
            .args(["-c", &shell])
            .current_dir(place.path())
            .output()
            .unwrap()
            .into();
        ran
    };
    let ran = run(
        r"sleep 1.5; printf '\003'; sleep 0.3; printf '\003'; sleep 1.2; printf '\003'; sleep 1",
    );
    assert!(
        ran.out
            .contains("aborted; what was written is in perf.data.part"),
        "{ran:?}"
    );
    assert_eq!(place.files(), ["perf.data.part"]);
    let (first, last) = times(&place, "perf.data.part");
    assert!(last - first > 1.8, "{} s were kept", last - first);
}

/// `timeout` makes its command a group of its own, which is in the background for the terminal of a script.
#[test]
fn screens_end_when_they_are_asked_to_in_the_background_too() {
    if !(has("script") && has("timeout")) {
        return;
    }
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    place.prof(&["record", "-p", &pid, "-d", "300ms"]).ok();
    for screens in [format!("top -p {pid}"), "report".to_owned()] {
        // with a command behind it the shell stays, and the foreground is the shell's
        for behind in ["", "; true"] {
            let command = format!("timeout 1 {PROF} {screens}{behind}");
            let mut script = place.command("script", &["-qc", &command, "/dev/null"]);
            script.env("TERM", "xterm").stdout(Stdio::null());
            let mut script = script.process_group(0).spawn().unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while script.try_wait().unwrap().is_none() {
                if Instant::now() > until {
                    script.kill().unwrap();
                    panic!("`{command}` does not end");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
