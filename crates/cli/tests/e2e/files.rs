use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PROF, Place, Ran, Running, workload};

fn send(process: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(process.id() as i32), signal).unwrap();
}

/// Waits until something is so; fails after half a minute.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_older_file_is_kept_and_a_new_one_appears_whole() {
    let place = Place::new();
    let target = workload();
    let record = ["record", "-F", "499", "-p", &target.pid(), "-d", "300ms"];
    place.prof(&record).ok();
    let first = fs::read(place.file("perf.data")).unwrap();
    place.prof(&record).ok();
    assert_eq!(place.files(), ["perf.data", "perf.data.old"]);
    assert_eq!(fs::read(place.file("perf.data.old")).unwrap(), first);
}

#[test]
fn ctrl_c_and_sigterm_end_the_recording_and_finish_the_file() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new();
        let target = workload();
        let args = ["record", "-F", "499", "-p", &target.pid()];
        let mut recorder = place.command(PROF, &args);
        let recorder = recorder.stderr(Stdio::null()).spawn().unwrap();
        let mut recorder = Running(recorder);
        until("a file is being written", || {
            let files = place.files();
            assert!(
                !files.contains(&"perf.data".to_owned()),
                "before it is whole"
            );
            !files.is_empty()
        });
        std::thread::sleep(Duration::from_secs(1));
        send(&recorder.0, signal);
        assert!(recorder.0.wait().unwrap().success());
        assert_eq!(place.files(), ["perf.data"]);
        assert!(place.samples("perf.data") > 5);
    }
}

#[test]
fn the_end_of_the_target_ends_the_recording() {
    let place = Place::new();
    let mut target = Running::start(PROF, &["workload", "1"]);
    let pid = target.pid();
    std::thread::scope(|scope| {
        scope.spawn(|| place_wait(&mut target)); // or it would stay as a zombie
        place.prof(&["record", "-F", "499", "-p", &pid]).ok();
    });
    assert!(place.samples("perf.data") > 5);
}

fn place_wait(target: &mut Running) {
    target.0.wait().unwrap();
}

/// The target's binary is gone and the recording is in another place: its names are still known.
#[test]
fn names_outlive_the_binary() {
    let place = Place::new();
    let program = place.file("service");
    fs::copy(PROF, &program).unwrap();
    let target = Running::start(&program, &["workload", "60"]);
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "1s"])
        .ok();
    drop(target);
    fs::remove_file(&program).unwrap();
    let functions = place.functions("perf.data");
    assert_eq!(functions[0].0, "prof::workload::checksum");
    let script = place.prof(&["script"]).ok();
    assert!(
        script.out.contains("(inlined)"),
        "lines of inlined functions are kept"
    );
}

/// What was running is what is named, although another program lies at its path by now.
#[test]
fn a_deleted_binary_that_runs_is_named() {
    let place = Place::new();
    let program = place.file("service");
    fs::copy(PROF, &program).unwrap();
    let target = Running::start(&program, &["workload", "60"]);
    fs::remove_file(&program).unwrap();
    fs::copy("/bin/true", &program).unwrap();
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "1s"])
        .ok();
    assert_eq!(
        place.functions("perf.data")[0].0,
        "prof::workload::checksum"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_message() {
    let place = Place::new();
    let target = workload();
    place
        .prof(&["record", "-F", "999", "-p", &target.pid(), "-d", "1s"])
        .ok();
    let mut script = place.command(PROF, &["script"]);
    script.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = script.spawn().unwrap();
    let mut first = [0; 64];
    script
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let mut complaints = String::new();
    script
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    script.wait().unwrap();
    assert_eq!(complaints, "");
}

/// As perf does: a command's own output goes to stderr where records or stacks go to stdout.
#[test]
fn what_a_command_prints_does_not_lie_between_the_records() {
    let place = Place::new();
    let work = "echo printed; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let record = format!("{PROF} record -F 999 -o - -- sh -c '{work}' >piped");
    let ran: Ran = place
        .command("sh", &["-c", &record])
        .output()
        .unwrap()
        .into();
    ran.ok().says(&["printed", "Captured and piped"]);
    let report = place.prof(&["report", "-i", "piped", "--stdio", "-q"]).ok();
    assert!(report.out.contains("sh "), "{}", report.out);

    let record = [
        "record", "-F", "999", "--folded", "-", "--", "sh", "-c", work,
    ];
    let ran = place.prof(&record).ok().says(&["printed"]);
    assert!(
        ran.out.lines().count() > 0 && !ran.out.contains("printed"),
        "{}",
        ran.out
    );
    // to a file, all is as it was
    let ran = place.prof(&["record", "-q", "--", "sh", "-c", work]).ok();
    assert_eq!(ran.out, "printed\n");
}
