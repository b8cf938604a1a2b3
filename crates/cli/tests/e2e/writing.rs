//! Where files are written: what is refused before anything is recorded, and what is left where writing fails.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PROF, Place, Ran, Running, has, is_root, workload};

/// A user that is not us.
const OTHER: u32 = 65534;

const SPIN: [&str; 3] = [
    "sh",
    "-c",
    "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done",
];

/// A folder as `/tmp` is.
fn shared_folder(place: &Place) {
    fs::create_dir(place.file("shared")).unwrap();
    fs::set_permissions(place.file("shared"), Permissions::from_mode(0o1777)).unwrap();
}

/// Records a command that leaves a file behind, so that it can be told whether it has run.
fn record(place: &Place, more: &[&str]) -> Ran {
    let _ = fs::remove_file(place.file("has_run"));
    let args = ["record", "-q", "-F", "499"];
    let command = [
        "--",
        "sh",
        "-c",
        "touch has_run; while :; do i=$((i+1)); [ $i -lt 300000 ] || exit 0; done",
    ];
    place.prof(&[&args[..], more, &command].concat())
}

fn has_run(place: &Place) -> bool {
    place.file("has_run").exists()
}

#[test]
fn files_are_for_their_user_alone_and_no_link_that_another_one_planted_is_followed() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    shared_folder(&place);
    record(&place, &["-o", "perf.data"]).ok();
    let precious = place.file("precious");
    fs::write(&precious, "old").unwrap();
    for (name, args) in [
        ("a.svg", &["report", "--svg", "shared/a.svg"][..]),
        ("b.txt", &["report", "--folded", "shared/b.txt"]),
        (
            "c.svg",
            &["diff", "perf.data", "perf.data", "--svg", "shared/c.svg"],
        ),
        (
            "d.data",
            &["record", "-q", "-o", "shared/d.data", "--", "true"],
        ),
    ] {
        let file = place.file("shared").join(name);
        symlink(&precious, &file).unwrap();
        lchown(&file, Some(OTHER), None).unwrap();
        let ran = place.prof(args);
        assert_ne!(ran.status, Some(0), "{name}");
        ran.says(&["is a link of user 65534, in a directory that everybody may write to"]);
        fs::remove_file(&file).unwrap();
        // Our own link is where the file is to be, as any other name.
        symlink(&precious, &file).unwrap();
        place.prof(args).ok();
        assert!(fs::symlink_metadata(&file).unwrap().is_file(), "{name}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read(&precious).unwrap(), b"old");
    let mut files = fs::read_dir(place.file("shared")).unwrap();
    assert!(files.all(|it| !it.unwrap().file_name().to_str().unwrap().contains("tmp")));
    // Nor one on the way.
    fs::create_dir(place.file("ours")).unwrap();
    symlink(place.file("ours"), place.file("shared/way")).unwrap();
    lchown(place.file("shared/way"), Some(OTHER), None).unwrap();
    let ran = record(&place, &["-o", "shared/way/perf.data"]);
    ran.failed(125).says(&["`way` is a link of user 65534"]);
    assert!(!has_run(&place));
}

#[test]
fn what_cannot_be_written_is_known_before_the_command_runs() {
    let place = Place::new();
    fs::create_dir(place.file("d")).unwrap();
    fs::create_dir(place.file("x.data.old")).unwrap();
    fs::write(place.file("x.data"), "old").unwrap();
    for (args, cause) in [
        (&["-o", "d"][..], "Is a directory"),
        (&["-o", "new/"], "Is a directory"),
        (&["-o", "x.data"], "`x.data.old`, which is a directory"),
        (&["-o", "none/perf.data"], "No such file or directory"),
        (&["-o", "/dev/random"], "it is a device"),
        (&["--svg", "d"], "Is a directory"),
        (&["--folded", "none/x"], "No such file or directory"),
        (&["--svg", "/proc/x.svg"], "could not write `/proc/x.svg`"),
    ] {
        let ran = record(&place, args);
        assert_ne!(ran.status, Some(0), "{args:?}");
        ran.says(&["could not write `", cause]);
        assert!(!has_run(&place), "{args:?}");
    }
    assert_eq!(fs::read(place.file("x.data")).unwrap(), b"old");
    let ran = record(&place, &["-o", "/dev/stdout"]).ok();
    assert!(ran.out.starts_with("PERFILE2"), "the form of a pipe");
    for args in [
        &["--svg", "/dev/null"][..],
        &["-o", "/dev/null"],
        &["--folded", "/dev/stdout"],
    ] {
        let ran = record(&place, args).ok();
        assert!(has_run(&place));
        assert_eq!(args[1] == "/dev/stdout", !ran.out.is_empty());
    }
}

#[test]
fn a_fifo_gets_the_records_as_they_come_and_one_without_a_reader_is_left_by_ctrl_c() {
    if !has("mkfifo") {
        return;
    }
    let place = Place::new();
    let made: Ran = place.command("mkfifo", &["fifo"]).output().unwrap().into();
    made.ok();
    let script =
        format!("{PROF} report --stdio -i - <fifo & {PROF} record -q -F 499 -o fifo \"$@\"; wait");
    let args = [&["-c", &script, "sh"], &SPIN[..]].concat();
    let ran: Ran = place.command("sh", &args).output().unwrap().into();
    assert!(ran.out.contains("Event count"), "{}\n{}", ran.out, ran.err);

    let target = workload();
    let args = ["record", "-p", &target.pid(), "-o", "fifo", "-d", "1"];
    let mut waiting = place.command(PROF, &args);
    let mut waiting = Running(waiting.stderr(Stdio::piped()).spawn().unwrap());
    let mut said = std::io::BufReader::new(waiting.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting until somebody reads fifo") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_ne!(read, 0, "it has not waited");
    }
    kill(Pid::from_raw(waiting.0.id() as i32), Signal::SIGINT).unwrap();
    assert!(!waiting.0.wait().unwrap().success());
    assert_eq!(place.files(), ["fifo"]);
}

#[test]
fn a_full_disk_keeps_what_fits_and_ends_the_command() {
    if !(is_root() && has("unshare")) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.file("disk")).unwrap();
    let script = "mount -t tmpfs -o size=200k none disk || exit 77\n\
        \"$0\" record -F 20000 -o disk/perf.data --folded folded.txt -- \
            sh -c 'while :; do :; done' 2>said; echo $? >status\n\
        cp disk/perf.data.part part; ls -A disk >left";
    let args = ["-m", "sh", "-c", script, PROF];
    let ran = place.command("unshare", &args).output().unwrap();
    if ran.status.code() == Some(77) {
        return println!("skipped: no tmpfs can be mounted here");
    }
    let read = |name: &str| fs::read_to_string(place.file(name)).unwrap_or_default();
    let said = read("said");
    assert_eq!(read("left"), "perf.data.part\n", "{said}");
    assert_ne!(read("status").trim(), "0");
    for words in ["No space left on device", "disk/perf.data.part"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(place.samples("part") > 20);
    assert!(!read("folded.txt").is_empty(), "{said}");
}

#[test]
fn a_limit_of_file_sizes_keeps_what_fits() {
    let place = Place::new();
    let script = "ulimit -f 200; exec \"$@\"";
    let args = [
        "-c", script, "sh", PROF, "record", "-F", "20000", "--", "sh", "-c",
    ];
    let args = [&args[..], &["while :; do :; done"]].concat();
    let ran: Ran = place.command("sh", &args).output().unwrap().into();
    assert_ne!(ran.status, Some(0));
    let ran = ran.says(&["File too large", "perf.data.part"]);
    assert!(ran.status.is_some(), "a signal has ended it");
    assert_eq!(place.files(), ["perf.data.part"]);
    assert!(place.samples("perf.data.part") > 20);
}

#[test]
fn messages_that_nobody_can_read_end_no_recording() {
    let place = Place::new();
    for (file, redirect) in [("closed", "2>&1 >&- | true"), ("full", "2>/dev/full")] {
        let script = format!(
            "{{ sleep 0.2; \"$0\" record -v -o {file} -- \"$@\"; echo $? >status; }} {redirect}"
        );
        let args = [&["-c", &script, PROF], &SPIN[..]].concat();
        let ran = place.command("sh", &args).output().unwrap();
        assert!(ran.status.success());
        assert_eq!(fs::read_to_string(place.file("status")).unwrap(), "0\n");
        assert!(place.samples(file) > 5);
    }
}

#[test]
fn signals_that_end_programs_end_a_recording_properly() {
    for signal in [Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2] {
        let place = Place::new();
        let target = workload();
        let mut recorder = place.command(PROF, &["record", "-F", "499", "-p", &target.pid()]);
        let mut recorder = Running(recorder.stderr(Stdio::null()).spawn().unwrap());
        let begun = std::time::Instant::now();
        while place.files().is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it has not begun"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_secs(1));
        kill(Pid::from_raw(recorder.0.id() as i32), signal).unwrap();
        assert!(recorder.0.wait().unwrap().success(), "{signal}");
        assert_eq!(place.files(), ["perf.data"]);
        assert!(place.samples("perf.data") > 5);
    }
}

#[test]
fn signals_that_end_programs_give_the_terminal_back() {
    if !(has("script") && has("timeout")) {
        return;
    }
    let place = Place::new();
    let target = workload();
    for signal in ["QUIT", "USR1"] {
        let screens = format!(
            "stty -a >before; timeout --foreground -s {signal} 2 {PROF} top -p {}; \
             echo $? >status; stty -a >after",
            target.pid()
        );
        let shell = format!("(sleep 6) | TERM=xterm script -qc '{screens}' /dev/null");
        let mut shell = place.command("sh", &["-c", &shell]);
        let ran: Ran = shell.output().unwrap().into();
        let (shown, rest) = ran.out.rsplit_once("\x1b[?1049h").expect("screens");
        assert!(rest.contains("\x1b[?1049l"), "{signal}: {shown}{rest}");
        let read = |name: &str| fs::read_to_string(place.file(name)).unwrap();
        assert_eq!(read("before"), read("after"), "{signal}");
        assert_eq!(read("status"), "124\n", "it was ended in time");
    }
}
