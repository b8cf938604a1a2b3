use std::fs;

use crate::support::{PROF, Place, Running, is_root, tolerance, workload};

const HOT: &str = "prof::workload::checksum";

#[test]
fn a_command_is_sampled_from_its_first_instruction_and_its_status_passed_on() {
    let place = Place::new();
    let shell = format!("{PROF} workload 0.5; exit 7");
    let ran = place.prof(&["record", "-F", "1999", "--", "sh", "-c", &shell]);
    assert_eq!(ran.status, Some(7), "{}", ran.err);
    assert!(place.share("perf.data", HOT) > 30.0);
    let first = place.prof(&["script", "-F", "comm,time"]).ok();
    assert!(
        first
            .out
            .lines()
            .next()
            .is_some_and(|line| line.contains("sh"))
    );
}

#[test]
fn a_command_is_the_clock_for_a_process() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    for clock in [&["--", "sleep", "0.5"][..], &["sleep", "0.5"]] {
        let record = ["record", "-F", "499", "-p", &pid];
        place.prof(&[&record[..], clock].concat()).ok();
        let script = place.prof(&["script", "-F", "comm"]).ok();
        let is_of_target = |line: &str| line.contains("parser") || line.contains("indexer");
        let comms = script.out.lines().filter(|line| !line.trim().is_empty());
        assert!(comms.clone().count() > 50);
        assert!(comms.clone().all(is_of_target), "{}", script.out);
    }
}

#[test]
fn several_processes_and_one_thread_of_one() {
    let place = Place::new();
    let (one, two) = (workload(), workload());
    let pids = format!("{},{}", one.pid(), two.pid());
    place
        .prof(&["record", "-F", "499", "-p", &pids, "-d", "1s"])
        .ok();
    let by_pid = [
        "report",
        "--sort",
        "pid",
        "--no-children",
        "-g",
        "none",
        "-q",
    ];
    let report = place.prof(&by_pid).ok();
    for pid in [one.pid(), two.pid()] {
        assert!(report.out.contains(&pid), "{}", report.out);
    }

    let tasks = fs::read_dir(format!("/proc/{}/task", one.pid())).unwrap();
    let mut tids: Vec<_> = tasks
        .map(|task| task.unwrap().file_name().into_string().unwrap())
        .filter(|tid| *tid != one.pid())
        .collect();
    tids.sort();
    place
        .prof(&["record", "-F", "499", "-t", &tids[0], "-d", "500ms"])
        .ok();
    let script = place.prof(&["script", "-G", "-F", "tid"]).ok();
    let mut others = script.out.lines().filter(|line| !line.trim().is_empty());
    assert!(others.all(|line| line.trim() == tids[0]), "{}", script.out);
}

#[test]
fn the_whole_system_and_one_cpu_of_it() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let _target = workload();
    place.prof(&["record", "-F", "499", "-a", "-d", "1s"]).ok();
    assert!(place.share("perf.data", HOT) > 5.0);
    place
        .prof(&["record", "-F", "499", "-a", "-C", "0", "-d", "500ms"])
        .ok();
    let cpus = place.prof(&["script", "-G", "-F", "cpu"]).ok();
    let mut cpus = cpus.out.lines().filter(|line| !line.trim().is_empty());
    assert!(cpus.all(|line| line.trim() == "[000]"));
}

#[test]
fn every_way_to_walk_the_stack() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    for (mode, is_whole) in [
        ("auto", true),
        ("dwarf", true),
        ("dwarf,65528", true),
        ("fp", false),
    ] {
        let record = ["record", "-F", "499", "-p", &pid, "-d", "500ms"];
        place
            .prof(&[&record[..], &["--call-graph", mode]].concat())
            .ok();
        let script = place.prof(&["script"]).ok();
        let stacks: Vec<&str> = script.out.split("\n\n").collect();
        let to_root = stacks
            .iter()
            .filter(|stack| stack.contains("clone3"))
            .count();
        assert_eq!(to_root * 100 > stacks.len() * 95, is_whole, "{mode}");
    }
    let none = [
        "record",
        "-F",
        "499",
        "-p",
        &pid,
        "-d",
        "500ms",
        "--call-graph",
        "none",
    ];
    place.prof(&none).ok();
    let script = place.prof(&["script"]).ok();
    assert!(
        script.out.lines().all(|line| !line.starts_with('\t')),
        "{}",
        script.out
    );
}

#[test]
fn periods_events_and_modifiers() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = ["record", "-p", &pid, "-d", "500ms"];
    // one sample for each 5 ms of CPU time
    place
        .prof(&[&record[..], &["-e", "cpu-clock", "-c", "5000000"]].concat())
        .ok();
    let script = place.prof(&["script", "-G", "-F", "period,event"]).ok();
    let mut lines = script.out.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.clone().count() > 20);
    assert!(lines.all(|line| line.split_whitespace().next() == Some("5000000")));

    place
        .prof(&[&record[..], &["-e", "cpu-clock:u", "-F", "499"]].concat())
        .ok();
    assert!(
        place
            .functions("perf.data")
            .iter()
            .all(|(name, _)| !name.contains("syscall"))
    );
    place
        .prof(&[&record[..], &["-e", "cpu-clock:k", "-F", "499"]].concat())
        .ok();
    assert_eq!(place.share("perf.data", HOT), 0.0);

    place
        .prof(&[&record[..], &["-e", "cpu-clock,page-faults", "-F", "499"]].concat())
        .ok();
    let evlist = place.prof(&["report", "-g", "none"]).ok();
    assert!(
        evlist.out.contains("of event 'cpu-clock'"),
        "{}",
        evlist.out
    );
    if is_root() {
        let command = ["record", "-e", "sched:sched_process_exec", "--", "true"];
        place.prof(&command).ok();
        let script = place.prof(&["script", "-G"]).ok();
        assert!(script.out.contains("filename=/"), "{}", script.out);
    }
}

#[test]
fn compression_makes_the_file_smaller_and_changes_nothing_else() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = ["record", "-F", "999", "-p", &pid, "-d", "1s"];
    place
        .prof(&[&record[..], &["-o", "plain.data"]].concat())
        .ok();
    place
        .prof(&[&record[..], &["-z", "-o", "small.data"]].concat())
        .ok();
    let size = |name: &str| fs::metadata(place.file(name)).unwrap().len() as usize;
    let (plain, small) = (place.samples("plain.data"), place.samples("small.data"));
    assert!(size("small.data") / small < size("plain.data") / plain / 3);
    let share = place.share("small.data", HOT);
    assert!((share - 60.0).abs() <= tolerance(60.0, small), "{share}");
}

#[test]
fn children_are_sampled_unless_told_otherwise() {
    let place = Place::new();
    let shell = format!("{PROF} workload 1 & wait");
    let command = ["--", "sh", "-c", shell.as_str()];
    place
        .prof(&[&["record", "-F", "499"], &command[..]].concat())
        .ok();
    assert!(place.share("perf.data", HOT) > 30.0);
    let ran = place.prof(&[&["record", "-F", "4999", "--no-inherit"], &command[..]].concat());
    let read = ran.err.contains("no samples") || place.share("perf.data", HOT) == 0.0;
    assert!(read, "{ran:?}");
}

#[test]
fn delay_clock_and_silence() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = ["record", "-F", "499", "-p", &pid, "-d", "300ms", "-q"];
    let ran = place
        .prof(&[&record[..], &["-D", "200", "-k", "realtime"]].concat())
        .ok();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    let script = place.prof(&["script", "-G", "-F", "time"]).ok();
    let first: f64 = script
        .out
        .trim_start()
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let since_1970 = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    assert!((0.0..60.0).contains(&(since_1970 - first)), "{first}");
}

#[test]
fn a_process_started_in_the_middle_is_sampled_with_its_own_names() {
    let place = Place::new();
    // the shell starts other programs all the time
    let target = Running::start("sh", &["-c", "while :; do sed s/a/b/ /etc/passwd; done"]);
    place
        .prof(&["record", "-F", "1999", "-p", &target.pid(), "-d", "1s"])
        .ok();
    let by_comm = [
        "report",
        "--sort",
        "comm",
        "--no-children",
        "-g",
        "none",
        "-q",
    ];
    let report = place.prof(&by_comm).ok();
    assert!(report.out.contains("sed"), "{}", report.out);
}

#[test]
fn a_process_overrides_all_cpus_as_in_perf_and_that_is_said() {
    let place = Place::new();
    let target = workload();
    let other = workload();
    let pid = target.pid();
    let record = ["record", "-F", "499", "-a", "-g", "-p", &pid, "-d", "300ms"];
    let ran = place.prof(&record).ok();
    let ran = ran.says(&["prof: -p overrides -a: sampling these processes only"]);
    assert!(!ran.err.contains("error"), "{}", ran.err);
    let script = place.prof(&["script", "-G", "-F", "pid"]).ok();
    let mut pids = script.out.lines().filter(|line| !line.trim().is_empty());
    assert!(pids.clone().count() > 20, "{}", script.out);
    assert!(pids.all(|line| line.trim() == pid), "{}", script.out);
    drop(other);
    let quiet = place.prof(&[&record[..], &["-q"]].concat()).ok();
    assert_eq!(quiet.err, "");
}

#[test]
fn fields_to_leave_out_may_stand_behind_a_space() {
    let place = Place::new();
    let target = workload();
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "200ms"])
        .ok();
    let lines = |fields: &[&str]| {
        let script = place.prof(&[&["script", "-G"], fields].concat()).ok();
        script.out
    };
    let without = lines(&["-F", "-cpu,-comm"]);
    assert!(without.contains("cpu-clock") || without.contains("cycles"));
    assert!(!without.contains("parser") && !without.contains("[00"));
    assert_eq!(without, lines(&["-F-cpu,-comm"]));
    assert_eq!(without, lines(&["--fields=-cpu,-comm"]));
}
