use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{PROF, Place, Ran, Running, has, is_root, workload};

const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

#[test]
fn a_process_that_is_not_there() {
    let place = Place::new();
    place
        .prof(&["record", "-p", "999999999", "-d", "1s"])
        .failed(1)
        .says(&["no process or thread 999999999", "hint:"]);
    place
        .prof(&["record", "-p", "999999999", "--", "touch", "ran"])
        .failed(125)
        .says(&["no process or thread 999999999"]);
    assert!(place.files().is_empty());
}

#[test]
fn a_name_instead_of_the_number_of_a_thread() {
    let place = Place::new();
    let target = Running::start("sleep", &["60"]);
    place
        .prof(&["record", "-t", "sleep", "-d", "1s"])
        .failed(2)
        .says(&["`sleep` is no number of a thread", "(sleep)"]);
    drop(target);
}

#[test]
fn an_idle_process_gives_no_samples_and_keeps_the_older_file() {
    let place = Place::new();
    fs::write(place.file("perf.data"), "older").unwrap();
    let target = Running::start("sleep", &["60"]);
    place
        .prof(&["record", "-p", &target.pid(), "-d", "200ms"])
        .failed(1)
        .says(&["no samples", "idle", "0 ms", "hint:"])
        .says(&["hint: perf.data is of an earlier recording, from 0 s ago"]);
    assert_eq!(place.files(), ["perf.data"]);
    assert_eq!(fs::read(place.file("perf.data")).unwrap(), b"older");
}

#[test]
fn a_recording_that_failed_names_the_older_one_that_is_still_there() {
    let place = Place::new();
    fs::write(place.file("perf.data"), "older").unwrap();
    let older = "perf.data is of an earlier recording";
    let run = |args: &[&str]| place.prof(&[&["record", "-p", "999999999"], args].concat());
    run(&["-d", "1"]).failed(1).says(&[older]);
    let elsewhere = run(&["-d", "1", "-o", "other.data"]).failed(1);
    assert!(!elsewhere.err.contains(older), "{}", elsewhere.err);
    let drawn = run(&["-d", "1", "--svg", "f.svg"]).failed(1);
    assert!(!drawn.err.contains(older), "{}", drawn.err);
    let nowhere = run(&["-d", "1", "-o", "/dev/null"]).failed(1);
    assert!(!nowhere.err.contains("earlier"), "{}", nowhere.err);
}

#[test]
fn a_recording_that_was_not_named_and_is_old_is_read_with_its_age() {
    let place = Place::new();
    let record = ["record", "-F", "499", "--", PROF, "workload", "0.2"];
    place.prof(&record).ok();
    let age = |args: &[&str]| {
        let read = place.prof(args).ok();
        read.err.contains("perf.data is 3 days old")
    };
    assert!(!age(&["report", "--stdio"]));
    let written = SystemTime::now() - Duration::from_secs(3 * 86400 + 60);
    let file = fs::File::options()
        .append(true)
        .open(place.file("perf.data"));
    file.unwrap().set_modified(written).unwrap();
    for command in ["report", "script", "annotate", "evlist", "buildid-list"] {
        assert!(age(&[command]), "{command}");
    }
    assert!(!age(&["report", "-i", "./perf.data"]));
}

#[test]
fn a_command_without_samples_has_a_file_that_says_so() {
    let place = Place::new();
    fs::write(place.file("perf.data"), "older").unwrap();
    let record = ["record", "-e", "page-faults", "-c", "1000000000"];
    let run = |more: &[&str]| place.prof(&[&record[..], more].concat());
    run(&["--", "sh", "-c", "exit 3"]).failed(3).says(&[
        "no samples",
        "`page-faults`",
        "perf.data (0 samples)",
    ]);
    // what is reported next is not what was recorded before
    assert_eq!(place.files(), ["perf.data", "perf.data.old"]);
    place
        .prof(&["report", "--stdio"])
        .failed(1)
        .says(&["has no samples"]);
    run(&["--svg", "f.svg", "--", "true"])
        .ok()
        .says(&["no samples", "nothing to draw"]);
    // a command that only tells how long is not what was asked about
    let target = Running::start("sleep", &["60"]);
    run(&["-p", &target.pid(), "--", "true"])
        .failed(1)
        .says(&["no samples"]);
    assert_eq!(place.files(), ["perf.data", "perf.data.old"]);
}

#[test]
fn events_that_do_not_exist() {
    let place = Place::new();
    place
        .prof(&["record", "-e", "cpu-clok", "--", "true"])
        .failed(2)
        .says(&["unknown event `cpu-clok`", "`cpu-clock`"]);
    if is_root() {
        place
            .prof(&["record", "-e", "sched:sched_swich", "--", "true"])
            .failed(125)
            .says(&["no tracepoint", "did you mean `sched:sched_switch`?"]);
    }
    assert!(place.files().is_empty());
}

#[test]
fn commands_that_cannot_be_run_have_the_status_that_shells_give() {
    let place = Place::new();
    place
        .prof(&["record", "--", "./not-there"])
        .failed(127)
        .says(&["could not run `./not-there`"]);
    place.prof(&["record", "--", "/etc/passwd"]).failed(126);
    assert!(place.files().is_empty());
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let place = Place::new();
    for args in [
        &["record"][..],
        &["record", "-F", "0", "--", "true"],
        &["record", "-F", "often", "--", "true"],
        &["record", "-d", "1parsec", "--", "true"],
        &["record", "-e", "", "--", "true"],
        &["record", "-k", "sundial", "--", "true"],
        &["record", "--call-graph", "guess", "--", "true"],
        &["record", "-m", "-5", "--", "true"],
        &["record", "-C", "1000-999", "--", "true"],
        &["report", "-g", "triangle"],
        &["report", "--sort", "taste"],
        &["no-such-command"],
    ] {
        let ran = place.prof(args);
        assert_eq!(ran.status, Some(2), "{args:?}: {ran:?}");
        assert!(
            !ran.err.is_empty() && !ran.err.contains("panicked"),
            "{ran:?}"
        );
    }
    assert!(place.files().is_empty());
}

#[test]
fn what_perf_has_and_what_is_mistyped_is_told_in_one_style() {
    let place = Place::new();
    for (line, words) in [
        (
            "stat -e cycles true",
            &["`stat` is a command of perf", "hint: "][..],
        ),
        (
            "trace -p 1",
            &["`trace` is a command of perf", "syscalls:sys_enter_*"],
        ),
        (
            "recrod true",
            &[
                "no command `prof recrod`",
                "hint: did you mean `prof record`?",
            ],
        ),
        (
            "report --md",
            &["`prof report` has no option `--md`", "hint: "],
        ),
        ("report --gtk", &["`--gtk` is an option of perf", "hint: "]),
        ("report --fields", &["`--fields FIELD,...` needs a value"]),
        ("script flamegraph", &["`script flamegraph`", "--svg"]),
        ("script report flamegraph", &["`script report`", "--svg"]),
        ("script record -p 1", &["`script record`", "`prof record`"]),
        ("record --frequenzy 99 true", &["did you mean `--freq"]),
        ("record -F 99 -c 5 true", &["cannot be used with"]),
        (
            "record -d 1parsec true",
            &["cause: `1parsec` is no duration", "hint: try `10s`"],
        ),
    ] {
        let args: Vec<_> = line.split(' ').collect();
        let ran = place.prof(&args).failed(2).says(words);
        assert!(ran.err.starts_with("prof: "), "{line}: {}", ran.err);
        assert!(!ran.err.contains("Usage:") && !ran.err.contains("-- --"));
    }
    assert!(place.files().is_empty());
}

#[test]
fn an_option_need_not_be_text_to_be_refused() {
    let place = Place::new();
    let option = OsStr::from_bytes(b"--\xff");
    for before in [&[][..], &["record"], &["report"]] {
        let ran: Ran = place
            .command(PROF, before)
            .arg(option)
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.status, Some(2), "{before:?}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{ran:?}");
    }
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    place
        .prof(&["record", "-o", "not/there", "--", "true"])
        .failed(125)
        .says(&["could not write `not/there`", "-o FILE"]);
    place.prof(&["record", "-o", "/", "--", "true"]).failed(125);
    let target = Running::start("sleep", &["60"]);
    place
        .prof(&["record", "-o", "not/there", "-p", &target.pid()])
        .failed(1);
    assert!(place.files().is_empty());
}

/// A whole recording, cut, foreign and random: an error that says which, or what could be read.
#[test]
fn files_that_are_no_recordings() {
    let place = Place::new();
    let target = workload();
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "300ms"])
        .ok();
    drop(target);
    let whole = fs::read(place.file("perf.data")).unwrap();
    let mut state = 1_u64;
    let random = (0..5000).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let mut damaged = whole.clone();
    damaged[24..32].fill(0xff); // the size of the attr section
    let files: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("text", b"root:x:0:0:root:/root:/bin/bash\n".repeat(100)),
        ("random", random.collect()),
        ("header", whole[..80].to_vec()),
        ("damaged", damaged),
        ("elf", fs::read(PROF).unwrap()[..4096].to_vec()),
    ];
    for (name, bytes) in files {
        fs::write(place.file(name), bytes).unwrap();
        for command in ["report", "script"] {
            let ran = place.prof(&[command, "-i", name]).failed(1);
            assert!(
                ran.err.contains(name) && ran.out.is_empty(),
                "{name}: {ran:?}"
            );
        }
    }
    for part in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 1] {
        fs::write(place.file("cut"), &whole[..part]).unwrap();
        let ran = place.prof(&["report", "-i", "cut"]);
        assert!(
            !ran.err.contains("panicked") && !ran.err.is_empty(),
            "{ran:?}"
        );
        let read = ran.status == Some(0) && ran.out.contains("checksum");
        assert!(read || ran.status == Some(1), "{ran:?}");
    }
    place
        .prof(&["report", "-i", "nowhere"])
        .failed(1)
        .says(&["nowhere", "prof record"]);
}

fn as_nobody(place: &Place, args: &str) -> Ran {
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.path(), mode).unwrap();
    // a copy, since the build's directory may be closed to others
    let program = place.file("prof");
    if !program.exists() {
        fs::copy(PROF, &program).unwrap();
    }
    let shell = format!("exec {NOBODY} ./prof {args}");
    place
        .command("sh", &["-c", &shell])
        .output()
        .unwrap()
        .into()
}

/// A user id, and some behind it, that nobody has.
fn some_user() -> u32 {
    1_000_000 + 8 * std::process::id()
}

/// Whether programs can be run as any user; a user namespace may have few.
fn has_other_users() -> bool {
    let user = some_user().to_string();
    let ran = Command::new("setpriv")
        .args(["--reuid", &user, "--clear-groups", "true"])
        .output();
    let has_others = ran.is_ok_and(|ran| ran.status.success());
    if !has_others {
        println!("skipped: no other users");
    }
    has_others
}

#[test]
fn without_a_further_process_or_thread_nothing_is_left_behind() {
    if !(is_root() && has("setpriv") && has("prlimit") && has_other_users()) {
        return;
    }
    let place = Place::new();
    let _level = Paranoid::set(2);
    as_nobody(&place, "--version").ok(); // may write here from now on
    fs::write(place.file("perf.data"), "older").unwrap();
    let record = |limit: u32| -> Ran {
        // The limit counts all of a user's threads: this user has no others.
        let user = some_user() + limit;
        let script = format!(
            "exec setpriv --reuid {user} --clear-groups prlimit --nproc={limit} \
             ./prof record -e cpu-clock:u -- true"
        );
        let mut shell = place.command("sh", &["-c", &script]);
        shell.output().unwrap().into()
    };
    // The command, the thread for signals and the writer need three beside the first, and one more
    // may be busy with the kernel's symbols.
    for limit in 1..=4 {
        let ran = record(limit);
        if limit == 4 && ran.status == Some(0) {
            continue;
        }
        ran.failed(125)
            .says(&["could not start a", "os error 11", "ulimit -u"]);
        assert_eq!(place.files(), ["perf.data", "prof"]);
        assert_eq!(fs::read(place.file("perf.data")).unwrap(), b"older");
    }
    record(5).ok();
}

/// Sets `kernel.perf_event_paranoid` and puts it back.
struct Paranoid(String);

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

impl Paranoid {
    fn set(level: i32) -> Self {
        let before = fs::read_to_string(PARANOID).unwrap();
        fs::write(PARANOID, level.to_string()).unwrap();
        Self(before)
    }
}

impl Drop for Paranoid {
    fn drop(&mut self) {
        let _ = fs::write(PARANOID, self.0.trim());
    }
}

#[test]
fn without_permission_for_the_kernel_user_code_is_sampled_and_that_is_said() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let _level = Paranoid::set(2);
    let ran = as_nobody(&place, "record -F 499 -o mine.data -- ./prof workload 1").ok();
    let ran = ran.says(&[
        "no permission to sample the kernel",
        "perf_event_paranoid is 2",
    ]);
    assert!(ran.err.contains("checksum"), "{}", ran.err);
    let functions = place.functions("mine.data");
    assert!(functions.iter().all(|(name, _)| !name.contains("syscall")));
}

#[test]
fn without_any_permission_the_error_names_the_setting_and_the_remedy() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let target = workload();
    let _level = Paranoid::set(2);
    as_nobody(&place, &format!("record -p {} -d 1s", target.pid()))
        .failed(1)
        .says(&["Permission denied", "belongs to user 0", "CAP_PERFMON"]);
    as_nobody(&place, "record -a -d 1s")
        .failed(1)
        .says(&["perf_event_paranoid is 2", "perf_event_paranoid=0"]);
    as_nobody(&place, "record -e cpu-clock:k -- true")
        .failed(125)
        .says(&["perf_event_paranoid is 2", "perf_event_paranoid=1"]);
    as_nobody(&place, "record -e sched:sched_switch -- true")
        .failed(125)
        .says(&["root"]);
    assert_eq!(place.files(), ["prof"]);
}

#[test]
fn few_open_files_are_enough_for_a_process_where_whole_cpus_may_be_sampled() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let target = workload();
    let args = format!(
        "ulimit -n 20; exec {PROF} record -p {} -d 500ms",
        target.pid()
    );
    let ran: Ran = place.command("sh", &["-c", &args]).output().unwrap().into();
    ran.ok().says(&["sampling whole CPUs"]);
    assert!(place.share("perf.data", "prof::workload::checksum") > 40.0);
}

#[test]
fn stacks_that_go_on_in_memory_that_may_not_be_read_are_counted() {
    if !(is_root() && has("gcc") && has("setpriv")) {
        return;
    }
    let place = Place::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets/deep.c");
    let gcc: Ran = place
        .command("gcc", &["-O2", "-DFRAME=1500", source, "-o", "target"])
        .output()
        .unwrap()
        .into();
    gcc.ok();
    let running = Running::start(place.file("target"), &["1000000", "300"]);
    let pid = running.pid();
    let record = |caps: &str| {
        let script = format!(
            "exec {NOBODY} --inh-caps {caps} --ambient-caps {caps} {PROF} record -F 499 \
             --call-graph dwarf,8192 -d 1 -p {pid} -o - >/dev/null"
        );
        let ran: Ran = place
            .command("sh", &["-c", &script])
            .output()
            .unwrap()
            .into();
        ran.ok()
    };
    record("+perfmon").says(&["stacks go on in the target's memory", "CAP_SYS_PTRACE"]);
    let allowed = record("+perfmon,+sys_ptrace");
    assert!(!allowed.err.contains("may not be read"), "{}", allowed.err);
}

/// Runs `prof why -p PID` where `/proc` was changed so, as a container may have it.
fn why_with_proc(place: &Place, change: &str, user: &str, pid: &str) -> Ran {
    let script = format!("{change} && exec {user} ./prof why -d 1s -p {pid}");
    let args = ["--mount", "sh", "-c", &script];
    place.command("unshare", &args).output().unwrap().into()
}

#[test]
fn where_proc_is_not_mounted_or_hides_processes_that_is_said_and_not_that_they_ended() {
    if !(is_root() && has("unshare")) {
        return;
    }
    let place = Place::new();
    as_nobody(&place, "--version").ok();
    let target = Running::start("sleep", &["100"]);
    let ran = why_with_proc(&place, "umount -l /proc", "", &target.pid()).failed(1);
    let ran = ran.says(&["/proc is not mounted", "mount -t proc"]);
    assert!(!ran.err.contains("it may have exited"), "{}", ran.err);
    let hide = "mount -t proc -o hidepid=2 proc /proc";
    let ran = why_with_proc(&place, hide, NOBODY, &target.pid()).failed(1);
    let ran = ran.says(&["no process or thread", "`hidepid`"]);
    assert!(!ran.err.contains("it may have exited"), "{}", ran.err);
}
