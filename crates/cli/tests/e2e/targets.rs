//! Whom `-p`, `-t` and `-a` mean: threads, processes whose first thread has ended, children.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PROF, Place, Ran, Running, gcc, has, is_root};

/// Compiles a program and starts it.
fn start(place: &Place, source: &str) -> Running {
    fs::write(place.file("target.c"), source).unwrap();
    gcc(
        place,
        &["-O2", "-g", "-o", "target", "target.c", "-lpthread"],
    );
    Running::start(place.file("target"), &[])
}

/// The threads of a process, once it has so many.
fn threads(pid: &str, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let entries = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut threads: Vec<_> = names.collect();
        threads.sort();
        if threads.len() == count {
            return threads;
        }
        assert!(Instant::now() < until, "{threads:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One thread of each function, for ever.
const TWO_LOOPS: &str = "
#include <pthread.h>
static volatile unsigned long s;
__attribute__((noinline)) void hot_thread(void) { for (;;) s++; }
__attribute__((noinline)) void main_loop(void) { for (;;) s += 2; }
static void *run(void *it) { hot_thread(); return it; }
int main(void) { pthread_t t; pthread_create(&t, 0, run, 0); main_loop(); }
";

#[test]
fn a_process_is_meant_by_the_number_of_any_of_its_threads() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = start(&place, TWO_LOOPS);
    let process = target.pid();
    let all = threads(&process, 2);
    let other = all.iter().find(|tid| **tid != process).unwrap();
    place.prof(&["record", "-p", other, "-d", "1s"]).ok();
    // both, and under the process's number
    let pids = place.prof(&["script", "-F", "pid", "-G"]).ok().out;
    let of_process = format!("{process}/");
    let is_of = |line: &&str| line.trim() == process || line.trim().starts_with(&of_process);
    assert!(
        pids.lines()
            .filter(|line| !line.is_empty())
            .all(|line| is_of(&line)),
        "{pids}"
    );
    let named = |functions: Vec<(String, f64)>| {
        let ours = ["hot_thread", "main_loop"];
        let named = functions
            .into_iter()
            .filter(|(name, _)| ours.contains(&name.as_str()));
        named.fold((0.0, 0), |(sum, count), (_, share)| {
            (sum + share, count + 1)
        })
    };
    let (share, count) = named(place.functions("perf.data"));
    assert!(share > 95.0 && count == 2, "{share}% in {count}");
    let both = place
        .prof(&["record", "-o", "b", "-p", &all.join(","), "-d", "500ms"])
        .ok();
    drop(both);
    assert!(named(place.functions("b")).0 > 95.0);

    let top = place
        .prof(&["top", "-p", other, "--batch", "-n", "1"])
        .ok()
        .out;
    assert!(
        top.contains("hot_thread") && top.contains("main_loop"),
        "{top}"
    );

    if has("perf") {
        place
            .perf(&[
                "record", "-q", "-g", "-o", "theirs", "-p", other, "--", "sleep", "1",
            ])
            .ok();
        let (theirs, count) = named(place.functions("theirs"));
        assert!(
            (theirs - share).abs() < 5.0 && count == 2,
            "{theirs}% and {share}%"
        );
    }
}

/// A worker that goes on after its program's first thread has ended, four fifths of the time in one function.
const WITHOUT_FIRST_THREAD: &str = "
#include <pthread.h>
static volatile unsigned long sink;
__attribute__((noinline)) void work(unsigned long n) { for (unsigned long i = 0; i < n; i++) sink += i * i; }
__attribute__((noinline)) void hot_worker(void) { work(200000); sink++; }
__attribute__((noinline)) void cool_worker(void) { work(50000); sink++; }
static void *serve(void *it) { for (;;) { hot_worker(); cool_worker(); } return it; }
int main(void) { pthread_t t; pthread_create(&t, 0, serve, 0); pthread_detach(t); pthread_exit(0); }
";

#[test]
fn a_process_whose_first_thread_has_ended_has_its_names_and_stacks() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = start(&place, WITHOUT_FIRST_THREAD);
    let pid = target.pid();
    let worker = threads(&pid, 2)
        .into_iter()
        .find(|tid| *tid != pid)
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    for whom in [
        &["-p", &pid][..],
        &["-p", &worker],
        &["-t", &worker],
        &["-a"],
    ] {
        // a small copy, so that memory is read as well
        let args = [
            &["record", "--call-graph", "dwarf,512", "-d", "1s"][..],
            whom,
        ]
        .concat();
        place.prof(&args).ok();
        let args = [
            "--comms",
            "target",
            "--children",
            "-g",
            "none",
            "--sort",
            "sym",
            "-q",
        ];
        let report = place
            .prof(&[&["report", "-t", "\t"][..], &args].concat())
            .ok()
            .out;
        let share = |name: &str| {
            let row = report.lines().find(|line| line.ends_with(name));
            let row = row.unwrap_or_else(|| panic!("{whom:?}: no {name} in\n{report}"));
            let percent = row.trim().split('%').next().unwrap();
            percent.parse::<f64>().unwrap()
        };
        let [hot, cool, serve] = ["hot_worker", "cool_worker", "serve"].map(share);
        assert!(hot > 3.0 * cool && hot < 5.5 * cool, "{whom:?}: {report}");
        assert!(hot + cool > 0.97 * serve, "{whom:?}: {report}");
    }
    let top = place
        .prof(&["top", "-p", &pid, "--batch", "-n", "1"])
        .ok()
        .out;
    assert!(top.contains("work"), "{top}");
}

/// A parent that waits, and two children that never end.
fn parent_of_two() -> Running {
    let script = "\"$0\" workload 60 & \"$0\" workload 60 & wait";
    let parent = Running::start("sh", &["-c", script, PROF]);
    let until = Instant::now() + Duration::from_secs(10);
    while children(&parent.pid()).len() < 2 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    parent
}

/// The processes that a process of one thread has started.
fn children(pid: &str) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

/// Kills children when the test is over, however it ends.
struct Children(Vec<i32>);

impl Drop for Children {
    fn drop(&mut self) {
        for &child in &self.0 {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
    }
}

#[test]
fn children_that_already_run_are_sampled_with_their_parent_unless_only_that_is_wanted() {
    let place = Place::new();
    let parent = parent_of_two();
    let pid = parent.pid();
    let both = Children(children(&pid));
    std::thread::sleep(Duration::from_millis(300)); // until they are what they will be
    let ran = place.prof(&["record", "-p", &pid, "-d", "1s"]).ok();
    let ran = ran.says(&["with 2 children that already run"]);
    assert!(!ran.err.contains("hint: "), "{}", ran.err);
    assert!(place.share("perf.data", "prof::workload::checksum") > 40.0);
    let pids = place.prof(&["script", "-F", "pid", "-G"]).ok().out;
    for child in &both.0 {
        let of_child = pids.lines().filter(|line| line.trim() == child.to_string());
        assert!(of_child.count() > 50, "{child}");
    }
    // each of them once: of two clocks one rings within half a period after the other
    let lines = place.prof(&["script", "-F", "pid,time", "-G"]).ok().out;
    for child in &both.0 {
        let mark = format!("{child} ");
        let of_child = lines
            .lines()
            .filter_map(|line| line.trim().strip_prefix(&mark));
        let times = of_child.map(|time| time.trim().trim_end_matches(':').parse().unwrap());
        let times: Vec<f64> = times.collect();
        let gaps = times.windows(2).map(|it| it[1] - it[0]);
        let short = gaps.filter(|gap| *gap < 0.5 / 999.0).count();
        assert!(5 * short < 2 * times.len(), "{short} of {}", times.len());
    }

    let top = place
        .prof(&["top", "-p", &pid, "--batch", "-n", "1"])
        .ok()
        .out;
    // what the kernel counts is what was sampled
    let number_after = |text: &str, mark: &str| -> f64 {
        let (_, rest) = text.split_once(mark).expect(text);
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let used = number_after(&top, "CPU ");
    let sampled = number_after(&top, "99 Hz, ") / 99.0;
    assert!(
        (used - sampled).abs() < 0.1 + 0.2 * sampled && used > 0.05,
        "{top}"
    );

    for alone in ["-i", "--no-inherit"] {
        place
            .prof(&["record", alone, "-p", &pid, "-d", "300ms"])
            .failed(1)
            .says(&["no samples", "idle"]);
    }
    // few files: whole CPUs are sampled, and the family is kept
    let args = format!("ulimit -n 20; exec {PROF} record -p {pid} -d 500ms -o few.data");
    let ran: Ran = place.command("sh", &["-c", &args]).output().unwrap().into();
    ran.ok().says(&["sampling whole CPUs", "with 2 children"]);
    assert!(place.share("few.data", "prof::workload::checksum") > 40.0);
}

/// Forks a child every 5 ms, each of which works a little 20 times a second, until there are 20: so many that
/// the recorder is not starved.
const FORKING: &str = "
#include <unistd.h>
static volatile unsigned long s;
int main(void) {
    for (int i = 0; i < 20; i++) {
        if (fork() == 0) for (;;) { for (int n = 0; n < 3000000; n++) s++; usleep(50000); }
        usleep(5000);
    }
    for (;;) pause();
}
";

#[test]
fn what_starts_between_looking_and_sampling_is_sampled_once() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = start(&place, FORKING);
    let pid = target.pid();
    place
        .prof(&["record", "-F", "999", "-p", &pid, "-d", "3s"])
        .ok();
    let all = Children(children(&pid));
    assert_eq!(all.0.len(), 20);
    let pids = place.prof(&["script", "-F", "pid", "-G"]).ok().out;
    let samples_of = |child: &i32| {
        let child = child.to_string();
        pids.lines().filter(|line| line.trim() == child).count()
    };
    let mut samples: Vec<_> = all.0.iter().map(samples_of).collect();
    samples.sort();
    // one may have been copied and not had a number yet when the parent's events were opened
    assert!(samples[1] > 0, "{samples:?}");
    // all do the same
    assert!(10 * samples[19] < 17 * samples[5], "{samples:?}");
}

/// A thread, or a process that shares our memory, which calls what we load once there is a file `go`. It says
/// its number.
const LOADS_LATER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
static void (*volatile work)(void);
static int child(void *it) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!work);
    for (;;) work();
    return 0;
}
int main(int count, char **words) {
    char *stack = malloc(1 << 16);
    int flags = strcmp(words[1], "thread") ? SIGCHLD : CLONE_SIGHAND | CLONE_THREAD;
    int number = clone(child, stack + (1 << 16), CLONE_VM | flags, 0);
    FILE *file = fopen("number", "w");
    fprintf(file, "%d\n", number);
    fclose(file);
    while (access("go", F_OK)) usleep(10000);
    void *library = dlopen("./later.so", RTLD_NOW);
    work = (void (*)(void))dlsym(library, "loaded_later");
    for (;;) pause();
}
"#;

#[test]
fn what_is_loaded_by_another_thread_or_process_in_the_same_memory_has_its_names() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    fs::write(place.file("target.c"), LOADS_LATER).unwrap();
    gcc(&place, &["-O2", "-o", "target", "target.c", "-ldl"]);
    let later = "static volatile long s; void loaded_later(void) { for (int i = 0; i < 1000000; i++) s++; }";
    fs::write(place.file("later.c"), later).unwrap();
    gcc(
        &place,
        &["-O2", "-shared", "-fPIC", "-o", "later.so", "later.c"],
    );
    // all of them, from the start; the first process and its child; one alone
    for (kind, whom) in [
        ("process", "-- ./target process"),
        ("process", "-p FIRST"),
        ("process", "-p NUMBER"),
        ("process", "-a"),
        ("thread", "-t NUMBER"),
    ] {
        for file in ["go", "number"] {
            let _ = fs::remove_file(place.file(file));
        }
        let is_command = whom.starts_with("--");
        let target = (!is_command).then(|| {
            let mut target = place.command("./target", &[kind]);
            Running(target.spawn().unwrap())
        });
        let number = || fs::read_to_string(place.file("number")).unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(10);
        while target.is_some() && !number().ends_with('\n') {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
        let first = target.as_ref().map(Running::pid).unwrap_or_default();
        let whom = whom
            .replace("NUMBER", number().trim())
            .replace("FIRST", &first);
        let words: Vec<_> = whom.split(' ').collect();
        let args = [&["record", "-d", "2s"][..], &words].concat();
        let mut record = place.command(PROF, &args);
        let record = record.stdout(Stdio::piped()).stderr(Stdio::piped());
        let record = record.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        fs::write(place.file("go"), "").unwrap();
        let ran: Ran = record.wait_with_output().unwrap().into();
        ran.ok();
        drop(target);
        let share = place.share("perf.data", "loaded_later");
        assert!(share > 15.0, "{share}% with {whom}");
        let script = ["script", "--comms", "target", "-F", "ip,sym", "-G"];
        let lines = place.prof(&script).ok().out;
        let unnamed = lines.lines().filter(|it| it.contains("[unknown]")).count();
        let all = lines.lines().filter(|it| !it.is_empty()).count();
        assert!(10 * unnamed < all, "{unnamed} of {all} with {whom}");
    }
}

/// Runs `prof` where `mounts`, a line of shell, has put something over `/sys` or `/proc`.
fn with_mounts(place: &Place, mounts: &str, args: &[&str]) -> Ran {
    let script = format!("{mounts} && exec \"$@\"");
    let unshare = ["-m", "sh", "-c", &script, "sh", PROF];
    let mut command = place.command("unshare", &[&unshare[..], args].concat());
    command.output().unwrap().into()
}

#[test]
fn without_sys_all_cpus_are_sampled() {
    if !(is_root() && has("unshare") && has("taskset")) {
        return;
    }
    let place = Place::new();
    let cpus = std::thread::available_parallelism().unwrap().get();
    let last = (cpus - 1).to_string();
    let target = Running::start("taskset", &["-c", &last, PROF, "workload", "60"]);
    let pid = target.pid();
    for whom in [&["-p", &pid][..], &["-a"], &["-C", &last]] {
        let record = [&["record", "-v", "--sample-cpu", "-d", "1s"][..], whom].concat();
        let ran = with_mounts(&place, "mount -t tmpfs none /sys", &record).ok();
        let rings = if whom[0] == "-C" { 1 } else { cpus };
        ran.says(&[&format!("{rings} ring buffers")]);
        let script = ["script", "-F", "pid,cpu", "-G"];
        let lines = place.prof(&script).ok().out;
        let of_last = lines.lines().filter(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&pid) && words.next() == Some(&format!("[{:03}]", cpus - 1))
        });
        assert!(of_last.count() > 200, "{whom:?}: {lines}");
        let header = place.prof(&["report", "--header-only"]).ok().out;
        for count in ["online", "avail"] {
            let line = format!("# nrcpus {count} : {cpus}\n");
            assert!(header.contains(&line), "{header}");
        }
    }
}

#[test]
fn a_list_of_cpus_that_a_container_was_given_is_not_believed() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if !(is_root() && has("unshare") && has("taskset")) || cpus == 1 {
        return;
    }
    let place = Place::new();
    fs::write(place.file("online"), "0\n").unwrap();
    fs::write(place.file("stat"), "cpu  1 2 3\ncpu0 1 2 3\n").unwrap();
    let online = "mount --bind online /sys/devices/system/cpu/online";
    let both = format!("{online} && mount --bind stat /proc/stat");
    for mounts in [online, &both] {
        let record = ["record", "-v", "-a", "-d", "100ms"];
        let ran = with_mounts(&place, mounts, &record).ok();
        ran.says(&[&format!("{cpus} ring buffers")]);
    }
}

/// A program of 32 bits, without a library: three calls deep without frame pointers.
const BITS_32: &str = "
static volatile unsigned long sink;
__attribute__((noinline)) void hot(void) { for (unsigned i = 0; i < 100000; i++) sink += i; }
__attribute__((noinline)) void outer(void) { for (;;) { hot(); sink++; } }
void _start(void) { outer(); sink++; }
";

#[test]
fn stacks_of_a_32_bit_program_count_as_cut_and_say_why() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    fs::write(place.file("bits32.c"), BITS_32).unwrap();
    let options = [
        "-m32",
        "-O2",
        "-nostdlib",
        "-static",
        "-fomit-frame-pointer",
    ];
    gcc(
        &place,
        &[&options[..], &["-o", "bits32", "bits32.c"]].concat(),
    );
    match std::process::Command::new(place.file("bits32")).spawn() {
        Ok(mut runs) => {
            runs.kill().unwrap();
            runs.wait().unwrap();
        }
        Err(error) => {
            eprintln!("skipped: this kernel runs no 32-bit programs: {error}");
            return;
        }
    }
    let target = Running::start(place.file("bits32"), &[]);
    let ran = place
        .prof(&["record", "-p", &target.pid(), "-d", "1s"])
        .ok();
    ran.says(&[
        "stacks: 0.0% whole",
        "32-bit program, walked by frame pointers alone",
    ]);
    assert!(place.share("perf.data", "hot") > 95.0);
}

/// All of the time is spent in a function that another one calls, whose return is probed.
const PROBED: &str = "
static volatile unsigned long sink;
__attribute__((noinline)) void hot(void) { for (unsigned i = 0; i < 300000; i++) sink += i; }
__attribute__((noinline)) void probed(void) { volatile char some[64]; some[0] = 1; hot(); sink += some[0]; }
__attribute__((noinline)) void caller(void) { probed(); sink++; }
int main(void) { for (;;) caller(); }
";

/// A probe at the return of a function of a program whose first byte lies at 0x400000; gone when dropped.
struct ReturnProbe;

const UPROBES: &str = "/sys/kernel/tracing/uprobe_events";
const SWITCH: &str = "/sys/kernel/tracing/events/prof_test/probed/enable";

impl ReturnProbe {
    fn put(program: &std::path::Path) -> std::io::Result<Self> {
        use std::io::Write;
        let symbols = std::process::Command::new("nm").arg(program).output()?;
        let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
        let line = symbols.lines().find(|line| line.ends_with(" probed"));
        let address = line.and_then(|line| u64::from_str_radix(&line[..16], 16).ok());
        let offset = address.expect("a symbol") - 0x40_0000;
        let probe = format!("r:prof_test/probed {}:{offset:#x}", program.display());
        let mut events = fs::OpenOptions::new().append(true).open(UPROBES)?;
        events.write_all(probe.as_bytes())?;
        let probe = Self;
        fs::write(SWITCH, "1")?;
        Ok(probe)
    }
}

impl Drop for ReturnProbe {
    fn drop(&mut self) {
        use std::io::Write;
        let _ = fs::write(SWITCH, "0");
        if let Ok(mut events) = fs::OpenOptions::new().append(true).open(UPROBES) {
            let _ = events.write_all(b"-:prof_test/probed");
        }
    }
}

#[test]
fn the_caller_of_a_function_whose_return_is_probed_is_found_or_the_probe_is_named() {
    if !has("gcc") || !has("nm") {
        return;
    }
    let place = Place::new();
    fs::write(place.file("probed.c"), PROBED).unwrap();
    for (frame_pointers, name) in [
        ("-fno-omit-frame-pointer", "with"),
        ("-fomit-frame-pointer", "without"),
    ] {
        let layout = [
            "-O1",
            "-no-pie",
            "-Wl,-z,noseparate-code",
            "-fno-optimize-sibling-calls",
        ];
        gcc(
            &place,
            &[&layout[..], &[frame_pointers, "-o", name, "probed.c"]].concat(),
        );
        let probe = match ReturnProbe::put(&place.file(name)) {
            Ok(probe) => probe,
            Err(error) => {
                eprintln!("skipped: no probes here: {error}");
                return;
            }
        };
        let target = Running::start(place.file(name), &[]);
        let ran = place
            .prof(&["record", "-p", &target.pid(), "-d", "1s", "-o", name])
            .ok();
        drop(probe);
        let folded = place
            .prof(&["report", "--folded", "-", "-i", name])
            .ok()
            .out;
        let count = |stack: &str| -> u64 {
            let lines = folded.lines().filter(|line| line.contains(stack));
            let weights = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            weights.sum()
        };
        let (all, led) = (count("probed;hot"), count(";main;caller;probed;hot"));
        assert!(all > 50, "{folded}");
        if name == "without" {
            ran.says(&["caller hidden by a probe at a function's return"]);
            assert_eq!(count("caller;probed;hot"), 0, "{folded}");
        } else if kernel_is_at_least(6, 11) {
            // Small copies of the stack come without the kernel's walk: none may be taken here.
            assert_eq!(led, all, "{folded}");
            assert_eq!(count("main;probed"), 0, "{folded}");
        }
    }
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}
