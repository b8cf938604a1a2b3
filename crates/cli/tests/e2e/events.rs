use crate::support::{Place, Running, has, is_root, workload};

#[test]
fn an_event_may_say_between_slashes_how_it_is_sampled() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = |events: &str| {
        let record = ["record", "-p", &pid, "-d", "1s", "-e", events];
        place.prof(&record).ok();
        place.prof(&["evlist", "-v"]).ok().out
    };
    let attrs = record("cpu-clock/freq=97,name=mine/u,task-clock/period=5000000,call-graph=no/");
    let (first, second) = attrs.trim().split_once('\n').expect("two events");
    for (attr, words) in [
        (
            first,
            &[
                "mine: ",
                "sample_freq }: 97",
                "freq: 1",
                "exclude_kernel: 1",
            ][..],
        ),
        (
            second,
            &[
                "task-clock/period=5000000,call-graph=no/: ",
                "sample_freq }: 5000000",
            ],
        ),
    ] {
        let missing = words.iter().find(|word| !attr.contains(**word));
        assert_eq!(missing, None, "{attr}");
    }
    assert!(
        first.contains("CALLCHAIN") && !second.contains("CALLCHAIN"),
        "{attrs}"
    );
    let script = place.prof(&["script"]).ok().out;
    let stacks = |event: &str| {
        let of_event = script.split("\n\n").flat_map(|it| it.split_inclusive('\n'));
        of_event.filter(|line| line.contains(event)).count()
    };
    assert!(stacks("mine") > 5 && stacks("task-clock/") > 5, "{script}");
    assert!(record("cpu/cycles/").contains("cycles") || record("cycles").contains("cpu-clock"));
    if has("perf") {
        place.perf(&["script", "-i", "perf.data"]).ok();
    }

    let refused = |events: &str| place.prof(&["record", "-p", &pid, "-d", "1", "-e", events]);
    refused("cpu-clock/frob=1/")
        .failed(2)
        .says(&["`frob` says nothing about the event `cpu-clock`", "freq=HZ"]);
    refused("frobnicator/event=1/")
        .failed(1)
        .says(&["no PMU `frobnicator`", "`software`"]);
    refused("software/umask=1/")
        .failed(1)
        .says(&["the PMU `software` knows no `umask`"]);
}

#[test]
fn a_pattern_stands_for_all_tracepoints_that_match() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let record = |pattern: &str| place.prof(&["record", "-e", pattern, "-c", "1", "--", "ls", "/"]);
    record("syscalls:sys_enter_open*").ok();
    let evlist = place.prof(&["evlist"]).ok();
    let opened: Vec<_> = evlist
        .out
        .lines()
        .filter(|line| line.contains("open"))
        .collect();
    assert!(
        opened.contains(&"syscalls:sys_enter_openat"),
        "{}",
        evlist.out
    );
    assert!(opened.len() > 2, "{}", evlist.out);
    let script = place.prof(&["script", "-G"]).ok();
    assert!(
        script.out.contains("syscalls:sys_enter_openat:"),
        "{}",
        script.out
    );
    if has("perf") {
        let lines = ["script", "-G", "-F", "comm,tid,time,event,trace"];
        let perfs = place.perf(&lines).ok();
        assert_eq!(perfs.out, place.prof(&lines).ok().out);
    }
    record("sched:*").ok();
    record("*:*")
        .failed(125)
        .says(&["tracepoints, and at most 1000 are opened", "hint: "]);
    record("sched:nothing_like_*")
        .failed(125)
        .says(&["no tracepoint", "prof list 'sched:*'"]);
}

#[test]
fn a_filter_lets_some_hits_of_a_tracepoint_through() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let switches = |filter: &str| {
        let events = ["-e", "sched:sched_switch", "--filter", filter];
        let command = ["-a", "-c", "1", "-d", "300ms"];
        place.prof(&[&["record"], &events[..], &command[..]].concat())
    };
    let _target = Running::start("sh", &["-c", "while :; do sleep 0.01; done"]);
    switches("prev_comm == \"sleep\"").ok();
    let script = place.prof(&["script", "-G", "-F", "trace"]).ok();
    let mut lines = script.out.lines().filter(|line| !line.trim().is_empty());
    assert!(
        lines.all(|line| line.contains("prev_comm=sleep ")),
        "{}",
        script.out
    );
    switches("frob > 1").failed(1).says(&[
        "refuses the filter `frob > 1` for event `sched:sched_switch`",
        "Invalid argument",
        "`prev_comm`, `prev_pid`",
    ]);
    place
        .prof(&[
            "record",
            "-e",
            "cpu-clock",
            "--filter",
            "pid > 1",
            "--",
            "true",
        ])
        .failed(2)
        .says(&["`cpu-clock` is no tracepoint"]);
    place
        .prof(&["record", "--filter", "pid > 1", "--", "true"])
        .failed(2)
        .says(&["has no event before it"]);
}

#[test]
fn the_events_that_are_here_are_listed_and_can_be_sampled() {
    let place = Place::new();
    let software = place.prof(&["list", "sw"]).ok();
    let names = software.out.lines().map(|line| {
        assert!(
            line.ends_with("[Software event]") && line.len() <= 80,
            "{line}"
        );
        line.split_whitespace().next().unwrap()
    });
    let names: Vec<_> = names.collect();
    assert!(
        names.contains(&"cpu-clock") && names.contains(&"page-faults"),
        "{names:?}"
    );
    for event in names {
        let record = ["record", "-e", event, "-F", "99", "--svg", "f.svg", "true"];
        place.prof(&record).ok();
    }
    let hardware = place.prof(&["list", "hw"]).ok();
    let has_pmu = place
        .prof(&["record", "-e", "instructions:u", "true"])
        .status
        == Some(0);
    assert_eq!(
        hardware.out.contains("instructions"),
        has_pmu,
        "{}",
        hardware.out
    );
    if is_root() {
        let scheduler = place.prof(&["list", "sched:*"]).ok().out;
        assert!(scheduler.contains("  sched:sched_switch "), "{scheduler}");
        assert!(
            scheduler.lines().all(|line| line.starts_with("  sched:")),
            "{scheduler}"
        );
    }
    place
        .prof(&["list", "frobnicate"])
        .failed(1)
        .says(&["no event here is like `frobnicate`"]);
    let help = place.prof(&["list", "--frob"]).failed(2);
    help.says(&["`prof list` has no option `--frob`"]);
}
