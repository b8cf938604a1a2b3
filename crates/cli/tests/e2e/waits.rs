//! Waiting time: the target measures its own waits and prints them, so that what is told can be compared however
//! busy the machine is.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{PROF, Place, Ran, Running, build, has, is_root};

const NS_PER_MS: u64 = 1_000_000;

fn waits(place: &Place) -> bool {
    let is_there = has("gcc");
    if is_there {
        build(
            place,
            "waits.c",
            &[
                "-g",
                "-fomit-frame-pointer",
                "-fno-ipa-icf",
                "-o",
                "waits",
                "-lpthread",
            ],
        );
    }
    is_there
}

/// What the target printed: `locks 1234`.
fn measured(ran: &Ran) -> HashMap<String, u64> {
    let pairs = ran.out.lines().filter_map(|line| {
        let (name, ns) = line.split_once(' ')?;
        Some((name.to_owned(), ns.parse().ok()?))
    });
    pairs.collect()
}

/// Folded stacks with their weights in nanoseconds.
struct Folded(Vec<(String, u64)>);

impl Folded {
    fn of(place: &Place, file: &str) -> Self {
        let folded = place
            .prof(&["report", "--folded", "-", "--idle", "-i", file])
            .ok();
        let lines = folded.out.lines();
        let lines = lines.map(|line| {
            let (stack, weight) = line.rsplit_once(' ').expect("a weight");
            (stack.to_owned(), weight.parse().expect("a number"))
        });
        Self(lines.collect())
    }

    fn in_function(&self, name: &str) -> u64 {
        let is_in = |stack: &str| stack.split(';').any(|frame| frame == name);
        let of = self.0.iter().filter(|(stack, _)| is_in(stack));
        of.map(|(_, weight)| weight).sum()
    }
}

fn assert_near(told: u64, measured: u64, percent: u64, what: &str) {
    let off = told.abs_diff(measured);
    assert!(
        off <= measured * percent / 100 + 3 * NS_PER_MS,
        "{what}: {told} told, {measured} measured"
    );
}

#[test]
fn every_wait_is_told_with_its_caller_and_its_length() {
    let place = Place::new();
    if !is_root() || !waits(&place) {
        return;
    }
    let ran = place.prof(&["record", "--off-cpu", "-o", "w", "--", "./waits", "callers"]);
    let ran = ran.ok().says(&[
        "locks < ",
        "take < writer",
        "  lock ",
        "  pipe ",
        "  sleep ",
    ]);
    let (measured, folded) = (measured(&ran), Folded::of(&place, "w"));
    for function in ["locks", "reads", "naps"] {
        assert_near(
            folded.in_function(function),
            measured[function],
            3,
            function,
        );
    }
    let rows = place
        .prof(&["report", "-i", "w", "--stdio", "--header"])
        .ok();
    assert!(rows.out.contains("of event 'offcpu-time'"), "{}", rows.out);
    assert!(
        rows.out
            .lines()
            .any(|line| line.starts_with("# 3 threads, ")),
        "{}",
        rows.out
    );
    let table = [
        "report",
        "-i",
        "w",
        "--sort",
        "state",
        "--no-children",
        "-g",
        "none",
        "-q",
        "-t",
        "\t",
    ];
    let states = place.prof(&table).ok().out;
    for state in ["lock", "pipe", "sleep"] {
        assert!(
            states
                .lines()
                .any(|line| line.trim().ends_with(&format!("\t{state}"))),
            "{states}"
        );
    }
    let locks =
        place.prof(&[&table[..], &["--state", "lock", "--percentage", "relative"]].concat());
    assert_eq!(locks.ok().out.trim(), "100.00%\tlock");
    let ran = place
        .prof(&["report", "-i", "w", "--state", "locked"])
        .failed(2);
    ran.says(&["`--state locked` is not known", "running, runnable, lock,"]);
}

#[test]
fn what_waits_for_a_cpu_is_runnable_and_no_time_is_missing() {
    let place = Place::new();
    if !is_root() || !waits(&place) {
        return;
    }
    let ran = place
        .prof(&["record", "--wall", "-o", "w", "--", "./waits", "cpus"])
        .ok();
    ran.says(&["cpu-clock:", "offcpu-time:", "  runnable  spin"]);
    let both = Folded::of(&place, "w").in_function("spins");
    assert!(both >= 1900 * NS_PER_MS, "{both}"); // two threads for a second, whatever they did
    let ran = place
        .prof(&["record", "--off-cpu", "-o", "w", "--", "./waits", "cpus"])
        .ok();
    let measured = measured(&ran);
    let told = Folded::of(&place, "w").in_function("spins");
    assert_near(told, measured["first"] + measured["second"], 3, "spins");
}

#[test]
fn a_thread_that_never_wakes_is_told_and_those_that_have_nothing_to_do_are_left_out_of_the_summary()
{
    let place = Place::new();
    if !is_root() || !waits(&place) {
        return;
    }
    let mut target = place.command("./waits", &["idle"]);
    let mut target = Running(target.stdout(Stdio::piped()).spawn().unwrap());
    let mut ready = String::new();
    let mut lines = BufReader::new(target.0.stdout.take().unwrap());
    lines.read_line(&mut ready).unwrap();
    let ran = place.prof(&[
        "record",
        "--off-cpu",
        "-p",
        &target.pid(),
        "-d",
        "1s",
        "-o",
        "w",
    ]);
    let ran = ran
        .ok()
        .says(&["1 thread, ", "32 idle threads left out", "sleep"]);
    assert!(!ran.err.contains("rests"), "{}", ran.err);
    let folded = Folded::of(&place, "w");
    let (one, thirty) = (folded.in_function("rests"), folded.in_function("worker"));
    assert!(one >= 990 * NS_PER_MS, "{one}");
    assert_near(thirty, 30 * one, 1, "thirty threads");
    let drawn = place.prof(&["report", "-i", "w", "--svg", "w.svg"]).ok();
    drawn.says(&["32 idle threads are left out (--idle draws them)"]);
    let picture = std::fs::read_to_string(place.file("w.svg")).unwrap();
    assert!(picture.contains("<title>pass (") && !picture.contains("<title>rests ("));
}

#[test]
fn threads_that_switch_ten_thousands_of_times_a_second_are_told_in_few_samples() {
    let place = Place::new();
    if !is_root() || !waits(&place) {
        return;
    }
    let ran = place
        .prof(&["record", "--off-cpu", "-o", "w", "--", "./waits", "often"])
        .ok();
    let measured = measured(&ran);
    let folded = Folded::of(&place, "w");
    let (told, waited) = (
        folded.in_function("wakes"),
        measured["first"] + measured["second"],
    );
    // A switch takes time itself, which the kernel counts as the thread's.
    assert!(told >= waited * 97 / 100, "{told} of {waited}");
    let bytes = std::fs::metadata(place.file("w")).unwrap().len();
    assert!(bytes < 120_000 * 100, "{bytes}");
    let (ping, pong) = (folded.in_function("ping"), folded.in_function("pong"));
    assert!(ping + pong >= told * 9 / 10, "{ping} {pong} {told}");
}

#[test]
fn without_privileges_times_are_the_same_and_long_waits_have_stacks() {
    let place = Place::new();
    if !is_root() || !has("setpriv") || !waits(&place) {
        return;
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<i32>().unwrap() != 2 {
        println!("skipped: kernel.perf_event_paranoid is not 2");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.path(), open).unwrap();
    std::fs::copy(PROF, place.file("prof")).unwrap();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let record = [
        "./prof",
        "record",
        "--off-cpu",
        "-o",
        "w",
        "--",
        "./waits",
        "callers",
    ];
    let ran: Ran = place
        .command("setpriv", &[&nobody[..], &record].concat())
        .output()
        .unwrap()
        .into();
    let measured = measured(&ran.ok());
    let folded = Folded::of(&place, "w");
    let known: u64 = ["locks", "reads", "naps"]
        .map(|it| folded.in_function(it))
        .iter()
        .sum();
    let waited: u64 = measured.values().sum();
    assert!(
        known <= waited * 103 / 100 + 3 * NS_PER_MS,
        "{known} of {waited}"
    );
    assert!(known > waited / 20, "{known} of {waited}");
    let script = place
        .prof(&["script", "-i", "w", "-F", "pid,tid,period"])
        .ok();
    let mut of_main = 0;
    for line in script.out.lines().filter(|line| line.contains('/')) {
        let mut words = line.split_whitespace();
        let (pid, tid) = words.next().and_then(|it| it.split_once('/')).unwrap();
        let period: u64 = words.next().and_then(|it| it.parse().ok()).expect(line);
        of_main += if pid == tid { period } else { 0 };
    }
    assert_near(of_main, waited, 10, "the main thread"); // it waits for others a little as well
}

#[test]
fn stock_perf_reads_waiting_time() {
    let place = Place::new();
    if !is_root() || !has("perf") || !waits(&place) {
        return;
    }
    place
        .prof(&["record", "--wall", "-o", "w", "--", "./waits", "callers"])
        .ok();
    let report = [
        "report",
        "-i",
        "w",
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "sym",
        "-F",
        "overhead,period,sym",
    ];
    let ran = place.perf(&report).ok();
    let of_waits = ran
        .out
        .split("of event 'offcpu-time'")
        .nth(1)
        .expect(&ran.out);
    let periods = of_waits
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let told: u64 = periods.sum();
    let ours: u64 = {
        let script = place
            .prof(&["script", "-i", "w", "-F", "event,period"])
            .ok();
        let lines = script
            .out
            .lines()
            .filter(|line| line.contains("offcpu-time"));
        lines
            .filter_map(|line| {
                line.split_whitespace()
                    .find_map(|word| word.parse::<u64>().ok())
            })
            .sum()
    };
    assert!(ours > 1000 * NS_PER_MS, "{ours}");
    assert_eq!(told, ours);
}

#[test]
fn who_ends_a_wait_is_told_with_it() {
    let place = Place::new();
    if !is_root() || !waits(&place) {
        return;
    }
    let record = [
        "record",
        "--off-cpu",
        "--waker",
        "-o",
        "w",
        "--",
        "./waits",
        "callers",
    ];
    let ran = place.prof(&record);
    let ran = ran
        .ok()
        .says(&["woken by holder ", "woken by put < writer "]);
    let lines: Vec<&str> = ran.err.lines().collect();
    let below = |place: &str| {
        let at = lines.iter().position(|line| line.contains(place));
        lines[at.expect(&ran.err) + 1].trim_start()
    };
    assert!(
        below("  lock ").starts_with("woken by holder "),
        "{lines:?}"
    );
    assert!(!below("  sleep ").contains("woken"), "{lines:?}"); // a timer, while nobody runs
    let table = [
        "report",
        "-i",
        "w",
        "-F",
        "overhead,period,state,waker",
        "-g",
        "none",
        "-q",
        "-t",
        "\t",
    ];
    let rows = place.prof(&table).ok().out;
    let period = |state: &str, waker: &str| -> u64 {
        let row = |line: &str| {
            let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
            let is_it = cells.len() == 4 && cells[2] == state && cells[3].starts_with(waker);
            is_it.then(|| cells[1].parse::<u64>().unwrap())
        };
        rows.lines().filter_map(row).sum()
    };
    let (lock, by_holder) = (period("lock", ""), period("lock", "holder"));
    assert_near(lock, measured(&ran)["locks"], 5, "the lock");
    assert!(by_holder >= lock * 9 / 10, "{rows}");
    assert!(period("pipe", "put < writer") > 0, "{rows}");
    if has("perf") {
        let script = place.perf(&["script", "-i", "w"]).ok();
        let wakings = script.out.matches("sched:sched_waking: ").count();
        assert!(wakings >= 25, "{wakings}"); // of the lock alone
    }
    place
        .prof(&["record", "--waker", "--", "true"])
        .failed(2)
        .says(&["--waker is of waits", "--off-cpu"]);
}
