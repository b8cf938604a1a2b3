//! Who is meant by a name, a port, a container, a unit, a cgroup.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PROF, Place, Ran, Running, gcc, has, is_root};

/// Spins; with a port it listens there first, and has a child that does the same.
const SPIN: &str = "
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>
static volatile unsigned long s;
__attribute__((noinline)) void spin(void) { for (;;) s++; }
int main(int count, char **words) {
    if (count > 1) {
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 5)) return 1;
        if (!fork()) prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    spin();
}
";

/// A program that spins, under a name that nobody else has. `None` without a compiler.
fn spinner(place: &Place, name: &str) -> Option<PathBuf> {
    if !has("gcc") {
        return None;
    }
    fs::write(place.file("spin.c"), SPIN).unwrap();
    gcc(place, &["-O2", "-g", "-o", name, "spin.c"]);
    Some(place.file(name))
}

/// A name for this test alone; as long as a name of the kernel's may be.
fn unique(start: &str) -> String {
    format!("{start}{}", std::process::id())
}

fn start(program: &Path) -> Running {
    let running = Running::start(program, &[]);
    let exe = format!("/proc/{}/exe", running.pid());
    wait_until(|| fs::read_link(&exe).is_ok_and(|it| it == program));
    running
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes that samples are of.
fn sampled(place: &Place) -> Vec<String> {
    let pids = place.prof(&["script", "-F", "pid", "-G"]).ok().out;
    let mut pids: Vec<_> = pids.split_whitespace().map(str::to_owned).collect();
    pids.sort();
    pids.dedup();
    pids
}

#[test]
fn a_name_means_all_processes_of_its_program() {
    let place = Place::new();
    let name = unique("one-");
    let Some(program) = spinner(&place, &name) else {
        return;
    };
    let (one, two) = (start(&program), start(&program));
    let mut pids = [one.pid(), two.pid()];
    pids.sort_by_key(|pid| pid.parse::<u32>().unwrap());
    let [a, b] = &pids;
    let args = ["record", "-p", &name, "-d", "1s"];
    let line = format!("prof: sampling 2 processes named {name}: {a} {b}\n");
    place.prof(&args).ok().says(&[&line]);
    let mut both = pids.to_vec();
    both.sort();
    assert_eq!(sampled(&place), both);
    // numbers as pgrep prints them, in one word and in two
    place
        .prof(&["record", "-p", &format!("{a}\n{b}"), "-d", "1s"])
        .ok();
    assert_eq!(sampled(&place), both);
    place
        .prof(&["record", "-p", a, b])
        .failed(2)
        .says(&[&format!("{b} is a process: `-p {a},{b}`")]);
    // `top` says on stderr whom it samples, for its stdout is data
    let top = place.prof(&["top", "-p", &name, "--json", "-n", "1"]).ok();
    assert!(top.err.contains(&line), "{}", top.err);
    let path = program.to_str().unwrap();
    for pid in &pids {
        let start = format!(
            r#"{{"pid":{pid},"name":"{}","arguments":"{path}""#,
            &name[..name.len().min(15)]
        );
        assert!(top.out.contains(&start), "{start} is not in {}", top.out);
    }
    assert!(!top.out.contains(r#""memory_bytes":null"#), "{}", top.out);
    let top = place.prof(&["top", "-p", &name, "--batch", "-n", "1"]).ok();
    let (_, table) = top.out.split_once(" Self%      MB      PID  User").unwrap();
    for (pid, row) in pids.iter().zip([1, 2]) {
        let row = table.lines().nth(row).unwrap();
        assert!(row.contains(path) && row.len() <= 80, "{row}");
        assert!(table.contains(&format!("  {pid:>7}  ")), "{table}");
    }
}

#[test]
fn different_programs_of_one_name_are_listed_with_what_to_type() {
    let place = Place::new();
    let name = unique("two-");
    let Some(program) = spinner(&place, &name) else {
        return;
    };
    fs::create_dir(place.file("other")).unwrap();
    let copy = place.file("other").join(&name);
    fs::copy(&program, &copy).unwrap();
    let (one, two) = (start(&program), start(&copy));
    let ran = place.prof(&["record", "-p", &name, "-d", "1s"]).failed(2);
    let ran = ran.says(&[&format!("`{name}` means 2 programs")]);
    for running in [&one, &two] {
        let rows = ran.err.lines();
        let start = format!("     -p {} ", running.pid());
        let row = rows.into_iter().find(|row| row.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{start}in:\n{}", ran.err));
        assert!(row.contains("% CPU") && row.chars().count() <= 80, "{row}");
    }
    assert!(place.files().iter().all(|file| !file.contains("perf.data")));
    place
        .prof(&["record", "-p", &name, "--", "touch", "ran"])
        .failed(2);
    assert!(!place.file("ran").exists());
    if !has("script") {
        return;
    }
    // on a terminal a number chooses
    let typed = format!("{PROF} record -p {name} -d 1s");
    let mut terminal = place.command("script", &["-qec", &typed, "/dev/null"]);
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"2\n").unwrap();
    let ran: Ran = terminal.wait_with_output().unwrap().into();
    drop(keys);
    assert!(ran.out.contains("which one?"), "{}", ran.out);
    let second = [&one, &two].map(|it| it.pid().parse::<u32>().unwrap());
    let second = second.into_iter().max().unwrap();
    assert_eq!(sampled(&place), [second.to_string()], "{}", ran.out);
}

#[test]
fn who_listens_on_a_port_of_another_network_is_found_with_its_workers() {
    let place = Place::new();
    if !is_root() || !has("unshare") {
        return;
    }
    let name = unique("net-");
    let Some(program) = spinner(&place, &name) else {
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut unshare = place.command("unshare", &["-n"]);
    unshare.arg(&program).arg(&port);
    let server = Running(unshare.spawn().unwrap());
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    wait_until(|| fs::read_to_string(&children).is_ok_and(|it| !it.trim().is_empty()));
    let word = format!(":{port}");
    place
        .prof(&["record", "-p", &word, "-d", "1s"])
        .ok()
        .says(&[&format!("sampling 2 processes listening on {word}: ")]);
    let sampled = sampled(&place);
    assert!(
        sampled.contains(&server.pid()) && sampled.len() == 2,
        "{sampled:?}"
    );
    assert!(place.share("perf.data", "spin") > 90.0);
    drop(server);
    place
        .prof(&["record", "-p", &format!("{word}/udp"), "-d", "1s"])
        .failed(1)
        .says(&["nobody listens on"]);
}

/// A cgroup that goes away with the test, in the hierarchy of version 2 if there is one.
struct TestCgroup {
    folder: PathBuf,
    path: String,
}

impl TestCgroup {
    /// `None` where none can be made, which is said.
    fn new(path: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let Some(mount) = mount.and_then(|line| line.split(' ').nth(4)) else {
            println!("skipped: no hierarchy of cgroups of version 2 is mounted");
            return None;
        };
        let folder = Path::new(mount).join(path);
        if let Err(error) = fs::create_dir(&folder) {
            println!("skipped: no cgroup can be made: {error}");
            return None;
        }
        Some(Self {
            folder,
            path: path.to_owned(),
        })
    }

    fn add(&self, running: &Running) {
        fs::write(self.folder.join("cgroup.procs"), running.pid()).unwrap();
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// CPU time that a process has used, in hundredths of a second.
fn used(running: &Running) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    fields.map(|it| it.parse::<u64>().unwrap()).sum()
}

#[test]
fn who_joins_a_cgroup_is_sampled_with_names_until_all_are_gone() {
    let place = Place::new();
    if !is_root() {
        return;
    }
    let Some(cgroup) = TestCgroup::new(&unique("prof-test-")) else {
        return;
    };
    let (first, later) = (unique("first-"), unique("later-"));
    let Some(program) = spinner(&place, &first) else {
        return;
    };
    let copy = place.file(&later);
    fs::copy(&program, &copy).unwrap();
    let (inside, outside) = (start(&program), start(&copy));
    cgroup.add(&inside);
    let mut record = place.command(PROF, &["record", "-G", &cgroup.path]);
    let mut record = record.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(record.stderr.take().unwrap());
    lines.read_line(&mut said).unwrap(); // it samples by now
    let pid = inside.pid();
    let line = format!("prof: sampling process {pid} of cgroup {}\n", cgroup.path);
    assert_eq!(said, line);
    cgroup.add(&outside);
    let before = used(&outside);
    wait_until(|| used(&outside) > before + 50);
    let pids = [inside.pid(), outside.pid()];
    drop((inside, outside));
    let status = record.wait().unwrap(); // by itself
    std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
    assert!(status.success(), "{said}");
    let mut both = pids.to_vec();
    both.sort();
    assert_eq!(sampled(&place), both, "{said}");
    let lines = place
        .prof(&["script", "-F", "pid,comm,ip,sym", "-G"])
        .ok()
        .out;
    let of_later = lines.lines().filter(|line| line.contains(&later));
    let (all, named): (usize, usize) = of_later.fold((0, 0), |(all, named), line| {
        (all + 1, named + usize::from(line.contains("spin")))
    });
    assert!(all > 100 && 10 * named > 9 * all, "{named} of {all}");
}

#[test]
fn a_container_and_a_unit_are_known_by_their_cgroups() {
    let place = Place::new();
    if !is_root() {
        return;
    }
    let id = format!("{:0>64}", "");
    let id = format!("{:08x}{}", std::process::id(), &id[8..]);
    let unit = unique("prof-test-");
    for (cgroup, args, what) in [
        (
            format!("docker-{id}.scope"),
            vec![
                ["-p", &id[..8]],
                ["--container", &id],
                ["--container", &id[..12]],
            ],
            format!("of container {}", &id[..12]),
        ),
        (
            format!("{unit}.service"),
            vec![["--unit", unit.as_str()]],
            format!("of unit {unit}.service"),
        ),
    ] {
        let Some(cgroup) = TestCgroup::new(&cgroup) else {
            return;
        };
        let Some(program) = spinner(&place, &unique("in-")) else {
            return;
        };
        let running = start(&program);
        cgroup.add(&running);
        for option in args {
            let ran = place.prof(&[&["record", "-d", "1s"][..], &option].concat());
            let line = format!("sampling process {} {what}\n", running.pid());
            ran.ok().says(&[&line]);
            assert_eq!(sampled(&place), [running.pid()]);
            fs::remove_file(place.file("perf.data")).unwrap();
        }
        // this process alone is no cgroup
        let [option, value] = ["--container", &id[..12]];
        if cgroup.path.contains(&id) {
            place
                .prof(&["record", "-i", option, value, "-d", "1s"])
                .ok()
                .says(&[&what]);
        }
    }
}

/// What a recorder says, as it says it.
struct Said(std::io::Lines<BufReader<ChildStderr>>);

impl Said {
    fn of(record: &mut Child) -> Self {
        Self(BufReader::new(record.stderr.take().unwrap()).lines())
    }

    /// The next line with these words.
    fn line_with(&mut self, words: &str) -> String {
        let mut before = Vec::new();
        for line in &mut self.0 {
            let line = line.unwrap();
            if line.contains(words) {
                return line;
            }
            before.push(line);
        }
        panic!("no `{words}` in {before:?}");
    }
}

/// Ends a recording as Ctrl-C does.
fn interrupt(record: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(record.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(record.wait().unwrap().success());
}

#[test]
fn a_further_process_of_a_name_is_sampled_and_a_child_that_inherits_is_not_twice() {
    let place = Place::new();
    let name = unique("more-");
    let Some(program) = spinner(&place, &name) else {
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let first = start(&program);
    let mut record = place.command(PROF, &["record", "-p", &name, "-d", "60s"]);
    let mut record = record.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Said::of(&mut record);
    said.line_with("sampling process");
    // one that nobody of the target starts, and its child, which has the name as well
    let second = Running::start(&program, &[&port]);
    let line = said.line_with("as well");
    let pid = second.pid();
    assert_eq!(
        line,
        format!("prof: sampling process {pid} as well, which came later")
    );
    let child = format!("/proc/{pid}/task/{pid}/children");
    let child = fs::read_to_string(child).unwrap().trim().to_owned();
    let before = used(&second);
    wait_until(|| used(&second) > before + 100);
    interrupt(&mut record);
    let mut all = [first.pid(), pid.clone(), child.clone()];
    all.sort();
    assert_eq!(sampled(&place), all);
    assert!(place.share("perf.data", "spin") > 90.0);
    // of two clocks one would ring within half a period after the other
    let lines = place.prof(&["script", "-F", "pid,time", "-G"]).ok().out;
    let times = lines.lines().filter_map(|line| {
        let (of, time) = line.trim().split_once(' ')?;
        (of == child).then(|| time.trim().trim_end_matches(':').parse().unwrap())
    });
    let times: Vec<f64> = times.collect();
    let gaps = times.windows(2).map(|it| it[1] - it[0]);
    let short = gaps.filter(|gap| *gap < 0.5 / 999.0).count();
    assert!(
        times.len() > 50 && 5 * short < times.len(),
        "{short} of {}",
        times.len()
    );
}

#[test]
fn where_a_cgroup_may_not_be_sampled_as_a_whole_its_processes_are() {
    let place = Place::new();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let level: i32 = paranoid.map_or(9, |it| it.trim().parse().unwrap());
    if !is_root() || !has("setpriv") {
        return;
    }
    if !(1..=2).contains(&level) {
        println!("skipped: kernel.perf_event_paranoid is {level}");
        return;
    }
    let Some(cgroup) = TestCgroup::new(&unique("prof-nobody-")) else {
        return;
    };
    let Some(program) = spinner(&place, &unique("own-")) else {
        return;
    };
    Command::new("chmod")
        .args(["777"])
        .arg(place.path())
        .status()
        .unwrap();
    let as_nobody = [
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ];
    let [own, other] = [(), ()].map(|()| {
        let mut own = Command::new("setpriv");
        let own = Running(own.args(as_nobody).arg(&program).spawn().unwrap());
        let exe = format!("/proc/{}/exe", own.pid());
        wait_until(|| fs::read_link(&exe).is_ok_and(|it| it == program));
        own
    });
    cgroup.add(&own);
    let folder = cgroup.folder.to_str().unwrap();
    fs::copy(PROF, place.file("prof")).unwrap(); // the build's directory may be closed to others
    let record = ["./prof", "record", "--cgroup", folder, "-d", "60s"];
    let mut record = place.command("setpriv", &[&as_nobody[..], &record].concat());
    let mut record = record.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Said::of(&mut record);
    said.line_with("no permission to sample a cgroup as a whole");
    // one that was there before and moves into it
    let line = format!("sampling process {} as well", other.pid());
    cgroup.add(&other);
    said.line_with(&line);
    let before = used(&other);
    wait_until(|| used(&other) > before + 20);
    interrupt(&mut record);
    let mut both = [own.pid(), other.pid()];
    both.sort();
    assert_eq!(sampled(&place), both);
}

#[test]
fn nobody_is_told_by_what_was_looked_for_and_who_is_called_nearly_so() {
    let place = Place::new();
    let name = unique("near-");
    let Some(program) = spinner(&place, &name) else {
        return;
    };
    let _running = start(&program);
    let mistyped = format!("{name}x");
    for (option, value, status, words) in [
        (
            "-p",
            mistyped.as_str(),
            1,
            ["is called", &format!("did you mean {name}?")],
        ),
        (
            "-p",
            "no such, service",
            1,
            ["is called `no such`", "`-p :8080`"],
        ),
        ("-p", ":0", 2, ["`:0` is no port", "`-p :8080`"]),
        (
            "-p",
            ":1/udp",
            1,
            ["nobody listens on `:1/udp`", "network namespaces"],
        ),
        ("-p", "?", 2, ["`?` is no process", "`-p nginx`"]),
        ("--container", "no-such", 1, ["no container", "`no-such`"]),
        ("--unit", "no-such", 1, ["no unit", "`no-such.service`"]),
        (
            "--cgroup",
            "no/such",
            1,
            ["there is no cgroup", "`no/such`"],
        ),
        ("-t", &name, 2, ["no number of a thread", &name]),
    ] {
        let args = ["record", option, value, "-d", "1s"];
        place.prof(&args).failed(status).says(&words);
    }
}
