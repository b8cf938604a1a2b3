//! Files of `prof record` read by others: perf's commands end well and have nothing to warn of.

use crate::lab::{COMMS, Lab};
use crate::script;
use crate::table::Subject;

/// A file of ours, and how it is recorded.
const KINDS: &[(&str, &str)] = &[
    ("auto.data", "-F 499"),
    ("fp.data", "-F 499 --call-graph fp"),
    ("flat.data", "-F 499 --call-graph none"),
    ("all.data", "-F 199 -a"),
    ("zstd.data", "-F 999 -z"),
    ("two.data", "-F 499 -e cpu-clock:u -e page-faults"),
    ("group.data", "-F 499 -e {cpu-clock,page-faults}"),
    ("sampling-group.data", "-F 999 -e {cpu-clock,page-faults}:S"),
    (
        "sampling-group-of-cpus.data",
        "-F 499 -a -e {cpu-clock,page-faults}:S",
    ),
    ("trace.data", "-e sched:sched_switch"),
    ("period.data", "-c 1000000 -e task-clock"),
];

/// What a perf command prints about a file; it must succeed without a word on stderr. But that records
/// were lost is true on a machine that is too busy for its recorder.
fn quiet(lab: &Lab, command: &str, file: &str) -> String {
    let ran = lab.perf(command, file).ok();
    assert_eq!(complaints(&ran.err), [""; 0], "perf {command} on {file}");
    ran.out
}

/// What perf says on stderr, but for losses.
fn complaints(err: &str) -> Vec<&str> {
    let of_loss = ["Warning:", "Processed ", "Check IO/CPU overload!"];
    let lines = err.lines().filter(|line| !line.trim().is_empty());
    let is_loss = |line: &&str| of_loss.iter().any(|start| line.starts_with(start));
    lines.filter(|line| !is_loss(line)).collect()
}

#[test]
fn perf_reads_what_prof_records_and_has_nothing_to_warn_of() {
    let Some(lab) = Lab::new() else { return };
    for (file, options) in KINDS {
        lab.prof_record(file, options).ok();
        for command in ["report --stdio", "script", "evlist -v"] {
            assert_ne!(quiet(&lab, command, file), "", "{command} on {file}");
        }
        quiet(&lab, "buildid-list", file);
        quiet(&lab, "report --stdio --header-only -I", file);
        quiet(&lab, "report --stdio --tasks", file);
        let differs = lab.place.perf(&["diff", "-f", file, file]).ok();
        assert_eq!(complaints(&differs.err), [""; 0], "perf diff on {file}");
        let injected = lab.perf("inject -o injected", file).ok();
        assert_eq!(complaints(&injected.err), [""; 0], "perf inject on {file}");
        let rows = "report --stdio --no-children -g none -n -q";
        assert_eq!(quiet(&lab, rows, "injected"), quiet(&lab, rows, file));
        if !file.starts_with("trace") {
            let annotated = quiet(&lab, "annotate --stdio -s leaf", file);
            assert!(annotated.contains("Disassembly of"), "{annotated}");
        }
    }
}

#[test]
fn perf_says_the_same_about_what_prof_records() {
    let Some(lab) = Lab::new() else { return };
    for (file, options) in KINDS {
        lab.prof_record(file, options).ok();
        let explained = script::compare(&lab, file);
        let subject = Subject {
            lab: &lab,
            file,
            is_alone: !options.split(' ').any(|option| option == "-a"),
            explained: &explained,
        };
        subject.compare_rows();
        let groups = |out: String| -> Vec<String> { out.lines().map(str::to_owned).collect() };
        let theirs = groups(lab.perf("evlist -g", file).ok().out);
        let is_tip = |line: &String| !line.starts_with("# Tip");
        let theirs: Vec<_> = theirs.into_iter().filter(is_tip).collect();
        assert_eq!(groups(lab.prof("evlist -g", file).ok().out), theirs);
    }
}

#[test]
fn a_sampled_group_counts_in_every_thread_and_process_of_the_target() {
    let Some(lab) = Lab::new() else { return };
    // Both events count the same: a sample of the first is taken before the second counts on.
    let events = "-c 1 -m 16M -e {page-faults,minor-faults}:S";
    lab.prof_record("ours.data", events).ok();
    let out = lab.prof("report --no-group -g none", "ours.data").ok().out;
    let count = |line: &str| {
        let (_, count) = line.split_once("# Event count (approx.): ")?;
        count.parse::<u64>().ok()
    };
    let counts: Vec<u64> = out.lines().filter_map(count).collect();
    let [all, minor] = counts[..] else {
        panic!("two tables in {out}")
    };
    assert!(
        minor <= all && all - minor <= 64,
        "{all} faults, {minor} of them minor"
    );
    let is_whole = COMMS.iter().all(|comm| out.contains(&format!(" {comm} ")));
    assert!(is_whole, "{COMMS:?} in {out}");
}

#[test]
fn perf_reads_what_prof_writes_into_a_pipe() {
    let Some(lab) = Lab::new() else { return };
    for options in [
        "-F 499",
        "-e sched:sched_switch",
        "-F 499 -e cpu-clock -e page-faults",
    ] {
        let record = format!("\"$PROF\" record {options} -o - -- ./work 60 2>/dev/null >ours.pipe");
        lab.shell(&record).ok();
        let rows = "--stdio --no-children -g none -n -q --sort comm,dso,sym";
        let piped = lab
            .shell(&format!("perf report -i - {rows} <ours.pipe"))
            .ok();
        assert_eq!(piped.err, "", "{options}");
        assert_eq!(
            piped.out,
            quiet(&lab, &format!("report {rows}"), "ours.pipe")
        );
        let explained = script::compare(&lab, "ours.pipe");
        let subject = Subject {
            lab: &lab,
            file: "ours.pipe",
            is_alone: true,
            explained: &explained,
        };
        subject.compare_rows();
    }
}

#[test]
fn inferno_folds_the_script_into_the_stacks_that_prof_folds() {
    let Some(lab) = Lab::new() else { return };
    lab.prof_record("perf.data", "-F 999").ok();
    let script = lab.prof("script --no-inline", "perf.data").ok().out;
    let mut folded = Vec::new();
    let mut folder = inferno::collapse::perf::Folder::default();
    inferno::collapse::Collapse::collapse(&mut folder, script.as_bytes(), &mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let weight: u64 = folded
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    let samples = script::heads(&script);
    let periods = samples.iter().map(|head| {
        let mut words = head.split_whitespace().rev().skip(1); // without the event's name
        words.next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(weight, periods.sum::<u64>());
    assert!(folded.contains(";worker;middle;leaf "), "{folded}");
}
