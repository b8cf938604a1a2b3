//! `prof why`: each statement against counters that the test reads itself.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Place, Ran, Running, gcc, has, is_root, tolerance, workload};

/// The kernel counts CPU time in such steps.
const TICK: f64 = 0.01;

/// An answer as text and, of another run, as an object.
fn text(place: &Place, args: &str) -> Vec<String> {
    let args: Vec<&str> = ["why"].into_iter().chain(args.split(' ')).collect();
    let ran = place.prof(&args).ok();
    let lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    assert!(lines.len() <= 15, "{}", ran.out);
    let fits = |line: &&String| line.chars().count() <= 80 || line.contains("prof re");
    assert!(lines.iter().all(|line| fits(&line)), "{}", ran.out);
    lines
}

/// The number behind a key of an object, the first that is there.
fn number(json: &str, key: &str) -> f64 {
    let key = format!("\"{key}\":");
    let (_, rest) = json
        .split_once(&key)
        .unwrap_or_else(|| panic!("{key} in {json}"));
    let end = rest.find([',', '}', ']']).unwrap();
    rest[..end]
        .parse()
        .unwrap_or_else(|_| panic!("{key} in {json}"))
}

fn json(place: &Place, args: &str) -> String {
    let args = ["why", "--json"].into_iter().chain(args.split(' '));
    let ran = place.prof(&args.collect::<Vec<_>>()).ok();
    assert!(ran.out.len() < 4096, "{}", ran.out);
    assert!(ran.out.starts_with("{\"schema\":1,"), "{}", ran.out);
    ran.out
}

fn has_line(lines: &[String], words: &[&str]) -> bool {
    lines
        .iter()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

/// CPU time of a process and its ended children, user and system, in seconds.
fn cpu_time(pid: &str) -> [f64; 2] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap() * TICK;
    [ticks(11) + ticks(13), ticks(12) + ticks(14)]
}

/// Runs something and tells for how long and, of a process, what it used meanwhile: at least what was used while
/// it was looked at.
fn around<T>(pid: &str, run: impl FnOnce() -> T) -> (T, [f64; 2], f64) {
    let (before, start) = (cpu_time(pid), Instant::now());
    let result = run();
    let (after, elapsed) = (cpu_time(pid), start.elapsed());
    let used = [after[0] - before[0], after[1] - before[1]];
    (result, used, elapsed.as_secs_f64())
}

/// A cgroup with a quota, as its own program can make it here.
struct Throttled {
    folder: PathBuf,
    busy: Running,
}

impl Throttled {
    const QUOTA: &'static str = "0.10";

    fn start() -> Option<Self> {
        let name = format!("prof-test-{}", std::process::id());
        let one = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let two = PathBuf::from("/sys/fs/cgroup").join(&name);
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
        let made = [
            (one, "cpu.cfs_quota_us", "10000"),
            (two, "cpu.max", "10000 100000"),
        ];
        let made = made.into_iter().find_map(|(folder, file, quota)| {
            folder.parent().filter(|parent| parent.is_dir())?;
            fs::create_dir(&folder).ok()?;
            match fs::write(folder.join(file), quota) {
                Ok(()) => Some(folder),
                Err(_) => {
                    let _ = fs::remove_dir(&folder);
                    None
                }
            }
        });
        let Some(folder) = made else {
            println!("skipped: no cgroup with a CPU quota can be made");
            return None;
        };
        let busy = Running::start("sh", &["-c", "while :; do :; done"]);
        fs::write(folder.join("cgroup.procs"), busy.pid()).unwrap();
        Some(Self { folder, busy })
    }

    fn stat(&self, name: &str) -> f64 {
        let text = fs::read_to_string(self.folder.join("cpu.stat")).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Throttled {
    fn drop(&mut self) {
        let _ = self.busy.0.kill();
        let _ = self.busy.0.wait();
        let until = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_throttled_process_is_told_from_an_idle_one_by_its_quota() {
    let place = Place::new();
    let Some(throttled) = Throttled::start() else {
        return;
    };
    let pid = throttled.busy.pid();
    let before = ["nr_periods ", "nr_throttled "].map(|name| throttled.stat(name));
    let (object, used, _) = around(&pid, || json(&place, &format!("-p {pid} -d 2s")));
    let after = ["nr_periods ", "nr_throttled "].map(|name| throttled.stat(name));
    let (_, quota) = object.split_once("\"quota\":").unwrap();
    assert_eq!(number(quota, "cpus"), 0.1, "{object}");
    let [periods, throttled_periods] =
        ["periods", "throttled_periods"].map(|key| number(quota, key));
    // Periods of the two seconds, of those that passed meanwhile.
    assert!(
        periods >= 18.0 && periods <= after[0] - before[0],
        "{object}"
    );
    assert!(
        throttled_periods >= 1.0 && throttled_periods <= after[1] - before[1],
        "{object}"
    );
    let seconds = number(&object, "seconds");
    assert!(
        number(&object, "used") * seconds <= used[0] + used[1] + 2.0 * TICK,
        "{object}"
    );
    assert!(number(&object, "used") <= 0.15, "{object}");
    let lines = text(&place, &format!("-p {pid} -d 2s"));
    let words = [
        &format!("quota {}: throttled in ", Throttled::QUOTA),
        " periods",
        "<- the limit",
    ];
    assert!(has_line(&lines, &words), "{lines:?}");
}

#[test]
fn a_recording_of_a_throttled_process_says_so_and_keeps_it() {
    let place = Place::new();
    let Some(throttled) = Throttled::start() else {
        return;
    };
    let pid = throttled.busy.pid();
    let ran = place.prof(&["record", "-p", &pid, "-d", "2s"]).ok();
    let mut lines = ran.err.lines();
    let usage = lines
        .find(|line| line.starts_with("used 0."))
        .expect("a line");
    assert!(usage.contains(" of ") && usage.contains(" CPU"), "{usage}");
    let (_, share) = usage
        .split_once("; quota 0.10, throttled in ")
        .expect("a quota");
    let percent: f64 = share.strip_suffix("% of periods").unwrap().parse().unwrap();
    assert!((1.0..=100.0).contains(&percent), "{usage}");
    let report = place.prof(&["report", "--stdio"]).ok();
    assert!(
        report.out.contains(&format!("# {usage}\n")),
        "{}",
        report.out
    );
}

#[test]
fn an_idle_process_is_called_idle_with_what_it_waits_in() {
    let place = Place::new();
    let sleeping = Running::start("sleep", &["100"]);
    let lines = text(&place, &format!("-p {} -d 1s", sleeping.pid()));
    assert!(
        lines[0].starts_with(&format!("sleep {}, ", sleeping.pid())),
        "{lines:?}"
    );
    assert!(has_line(&lines, &["used 0.00 of ", ": idle"]), "{lines:?}");
    assert!(
        has_line(&lines, &["its threads wait in: clock_nanosleep 100% (of "]),
        "{lines:?}"
    );
    assert!(
        !has_line(&lines, &["CPU: "]) && !has_line(&lines, &["D state"]),
        "{lines:?}"
    );
    let next = lines.last().unwrap();
    assert!(next.starts_with("next: prof record -p "), "{lines:?}");
}

#[test]
fn a_process_in_the_kernel_is_shown_there_with_the_share_that_the_kernel_counts() {
    let place = Place::new();
    let reading = Running::start("dd", &["if=/dev/zero", "of=/dev/null", "bs=1M"]);
    let pid = reading.pid();
    let (object, used, _) = around(&pid, || json(&place, &format!("-p {pid} -d 2s")));
    let seconds = number(&object, "seconds");
    let [user, kernel] = ["user", "kernel"].map(|key| number(&object, key) * seconds);
    assert!(kernel > 10.0 * user && kernel > 0.1, "{object}");
    assert!(kernel <= used[1] + 2.0 * TICK, "{object} {used:?}");
    if is_root() {
        assert!(number(&object, "kernel_percent") > 80.0, "{object}");
        let lines = text(&place, &format!("-p {pid} -d 2s"));
        assert!(has_line(&lines, &["% of it in the kernel"]), "{lines:?}");
        assert!(has_line(&lines, &["CPU: ", "read", "zero"]), "{lines:?}");
    }
}

#[test]
fn short_lived_children_are_counted_by_parent_and_program_and_sampled() {
    let place = Place::new();
    let forks = Running::start("sh", &["-c", "while :; do /bin/true; done"]);
    let pid = forks.pid();
    // how much of its time is its children's is known after a while
    let until = Instant::now() + Duration::from_secs(20);
    while cpu_time(&pid).iter().sum::<f64>() < 0.3 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let all = || {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix("processes "))
            .unwrap();
        line.parse::<f64>().unwrap()
    };
    let before = all();
    let object = json(&place, &format!("-p {pid} -d 2s"));
    let most = all() - before;
    let (_, started) = object.split_once("\"started\":[").unwrap();
    assert!(
        started.starts_with("{\"parent\":\"sh\",\"program\":\"true\","),
        "{object}"
    );
    let count = number(started, "count");
    assert!(count > 20.0 && count <= most, "{object} {most}");
    assert!(number(started, "ended") >= count - 1.0, "{object}");
    if is_root() {
        let used = number(&object, "used") * number(&object, "seconds");
        let expected = used * 99.0;
        let samples = number(&object, "samples");
        // half of it, and chance: a clock for each of them would find next to nothing
        assert!(samples > expected / 2.0 - 4.5 * expected.sqrt(), "{object}");
        assert!(samples > 0.0, "{object}");
    }
    let lines = text(&place, &format!("-p {pid} -d 2s"));
    assert!(
        has_line(&lines, &["started ", " ended: sh > true "]),
        "{lines:?}"
    );
    // A clock for each of them would find nothing the next time either.
    assert!(!has_line(&lines, &["next: prof record -p "]), "{lines:?}");
}

#[test]
fn a_thread_in_d_state_is_told_with_its_kernel_stack() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    // until the child runs something else its parent is in uninterruptible sleep
    let source =
        "#include <unistd.h>\nint main(void){if(vfork()==0){sleep(60);_exit(0);}return 0;}";
    fs::write(place.file("blocked.c"), source).unwrap();
    gcc(&place, &["-O1", "-w", "blocked.c", "-o", "blocked"]);
    let blocked = Running::start(place.file("blocked"), &[]);
    let pid = blocked.pid();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(10);
    while !state().contains(") D ") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let lines = text(&place, &format!("-p {pid} -d 1s"));
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|it| it.parse().ok()) {
        let child = nix::unistd::Pid::from_raw(child);
        let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
    }
    let line = lines
        .iter()
        .find(|line| line.starts_with("D state in "))
        .expect("a line");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[3], words[5], "in all looks: {lines:?}");
    assert!(line.contains(&format!(" blocked {pid}: ")), "{lines:?}");
    if is_root() {
        assert!(line.contains("fork"), "{lines:?}");
        assert!(has_line(
            &lines,
            &[&format!("next: cat /proc/{pid}/task/{pid}/stack")]
        ));
    }
    assert!(has_line(&lines, &[": idle"]), "{lines:?}");
}

#[test]
fn the_one_thread_that_is_busy_is_named() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let source = "#define _GNU_SOURCE\n#include <pthread.h>\n#include <unistd.h>\n\
        static volatile unsigned long n;\n\
        static void *spin(void *a){for(;;)n++;return a;}\n\
        static void *rest(void *a){pause();return a;}\n\
        int main(void){pthread_t t;for(int i=0;i<6;i++)pthread_create(&t,0,rest,0);\n\
        pthread_create(&t,0,spin,0);pthread_setname_np(t,\"spinner\");pause();}\n";
    fs::write(place.file("hot.c"), source).unwrap();
    gcc(&place, &["-O1", "-pthread", "hot.c", "-o", "hot"]);
    let hot = Running::start(place.file("hot"), &[]);
    let pid = hot.pid();
    let (object, used, _) = around(&pid, || json(&place, &format!("-p {pid} -d 2s")));
    assert_eq!(number(&object, "threads"), 8.0, "{object}");
    let (_, threads) = object.split_once("\"whole_cpu_threads\":[").unwrap();
    assert!(threads.contains("\"comm\":\"spinner\""), "{object}");
    let ran = number(threads, "cpus") * number(&object, "seconds");
    assert!(
        ran > 0.0 && ran <= used[0] + used[1] + 2.0 * TICK,
        "{object} {used:?}"
    );
    let lines = text(&place, &format!("-p {pid} -d 2s"));
    assert!(
        has_line(&lines, &["1 of 8 threads use", "a", "CPU", ": spinner "]),
        "{lines:?}"
    );
    assert!(has_line(&lines, &["CPU: 100% ±", "spin"]), "{lines:?}");
}

#[test]
fn the_shares_of_functions_hold_and_the_next_command_shows_them() {
    let place = Place::new();
    let busy = workload();
    let lines = text(&place, &format!("-p {} -d 4s -o why.data", busy.pid()));
    let cpu = lines
        .iter()
        .find(|line| line.starts_with("CPU: "))
        .expect("a profile");
    assert!(cpu.contains("prof::workload::checksum"), "{lines:?}");
    let percent: f64 = cpu["CPU: ".len()..]
        .split('%')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let samples = place.samples("why.data");
    let share = place.share("why.data", "prof::workload::checksum");
    // With what it calls: interrupts came while it ran, too.
    let above = share - 0.6..share + 0.6 + tolerance(share, samples);
    assert!(above.contains(&percent), "{lines:?} {share}");
    let expected = tolerance(60.0, samples);
    assert!((share - 60.0).abs() < expected, "{lines:?} {samples}");
    let next = lines
        .last()
        .unwrap()
        .strip_prefix("next: prof ")
        .expect("a command");
    let report = place.prof(&next.split(' ').collect::<Vec<_>>()).ok();
    assert!(
        report.out.contains("prof::workload::checksum"),
        "{next}\n{}",
        report.out
    );
}

#[test]
fn without_a_target_it_is_the_machine_and_who() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let busy = workload();
    let busy_time = || {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let fields: Vec<f64> = stat
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|it| it.parse().unwrap())
            .collect();
        [0, 1, 2, 5, 6]
            .iter()
            .map(|&at| fields[at] * TICK)
            .sum::<f64>()
    };
    let before = busy_time();
    let object = json(&place, "-d 2s");
    let most = busy_time() - before;
    let used = number(&object, "used") * number(&object, "seconds");
    assert!(used > 0.0 && used <= most + 4.0 * TICK, "{object} {most}");
    assert!(
        object.contains(&format!("\"pid\":{}", busy.pid())),
        "{object}"
    );
    let lines = text(&place, "-d 2s");
    assert!(lines[0].starts_with("this machine, "), "{lines:?}");
    assert!(has_line(&lines, &["who: ", "prof "]), "{lines:?}");
    assert!(
        has_line(&lines, &["machine: idle ", "steal ", "softirq "]),
        "{lines:?}"
    );
    assert!(has_line(&lines, &["next: prof why -p "]), "{lines:?}");
}

#[test]
fn who_may_not_sample_still_learns_what_the_kernel_counts() {
    if !(is_root() && has("setpriv")) {
        return;
    }
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<i32>().unwrap() < 1 {
        println!("skipped: everybody may sample everything here");
        return;
    }
    let place = Place::new();
    let busy = workload();
    let pid = busy.pid();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let why = [crate::support::PROF, "why", "-p", &pid, "-d", "1s"];
    let ran: Ran = place
        .command("setpriv", &[&nobody[..], &why].concat())
        .output()
        .unwrap()
        .into();
    let lines: Vec<String> = ran.ok().out.lines().map(str::to_owned).collect();
    assert!(
        has_line(&lines, &["used ", " of "]) && !has_line(&lines, &["idle"]),
        "{lines:?}"
    );
    assert!(has_line(&lines, &["not sampled: "]), "{lines:?}");
    assert!(!has_line(&lines, &["CPU: "]), "{lines:?}");
}

#[test]
fn a_command_is_looked_at_until_it_ends_and_typed_as_it_was() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let ran = place.prof(&["why", "--", "sh", "-c", script]).ok();
    let lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("sh -c i=0; while "), "{lines:?}");
    assert!(lines[0].contains(", which has ended, "), "{lines:?}");
    assert!(
        has_line(&lines, &["used ", " of "]) && !has_line(&lines, &["idle"]),
        "{lines:?}"
    );
    if has_line(&lines, &["CPU: "]) {
        let typed = format!("next: prof record -- sh -c '{script}'");
        assert!(has_line(&lines, &[&typed]), "{lines:?}");
    }
}

#[test]
fn who_is_not_there_is_an_error_and_no_answer() {
    let place = Place::new();
    let ran = place
        .prof(&["why", "-p", "2147483646", "-d", "1s"])
        .failed(1);
    assert!(
        ran.out.is_empty() && ran.err.contains("2147483646"),
        "{ran:?}"
    );
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn the_object_has_its_keys_and_the_ticket_its_fence() {
    let place = Place::new();
    let busy = workload();
    let object = json(&place, &format!("-p {} -d 1s", busy.pid()));
    for key in [
        "target",
        "container",
        "seconds",
        "cpus",
        "processes",
        "threads",
        "cpu",
        "quota",
        "ready_without_cpu_seconds",
        "machine",
        "stalls",
        "cgroup_stalls",
        "whole_cpu_threads",
        "looks",
        "looks_with_d_state",
        "waits",
        "samples",
        "lost_samples",
        "paths",
        "kinds",
        "commands",
        "started",
        "memory_bytes",
        "not_sampled",
        "next",
    ] {
        assert!(object.contains(&format!("\"{key}\":")), "{key} in {object}");
    }
    let ticket = place
        .prof(&["why", "-p", &busy.pid(), "-d", "1s", "--md"])
        .ok();
    assert!(ticket.out.starts_with("```text\nprof ") && ticket.out.ends_with("```\n"));
    assert_eq!(place.files(), Vec::<String>::new(), "nothing is written");
}
