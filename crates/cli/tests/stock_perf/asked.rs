//! What `prof record` asks of the kernel for each option, beside what perf asks; and what comes of it.

use std::collections::BTreeMap;

use prof_event::Record;
use prof_perfdata::{Error, Recording};

use crate::lab::Lab;

/// An attr's fields by name, as `perf evlist -v` prints them, and the event's name.
fn attr(lab: &Lab, file: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let out = lab.perf("evlist -v", file).ok().out;
    // A dummy counts nothing: it tells of processes.
    let is_event = |line: &&str| !line.starts_with('#') && !line.starts_with("dummy");
    let events = out.lines().filter(is_event);
    let event = |line: &str| {
        let (name, fields) = line.split_once(": type: ").expect("an attr");
        let fields = format!("type: {fields}").replace("{ sample_period, sample_freq }", "rate");
        let fields = fields
            .split(", ")
            .filter_map(|field| field.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (name.to_owned(), fields.collect())
    };
    events.map(event).collect()
}

/// Fields that decide what is counted, and when. Guests are left out always; perf leaves them out
/// unless a mode is asked for.
const COUNTED: &[&str] = &[
    "type",
    "config",
    "rate",
    "freq",
    "inherit",
    "enable_on_exec",
    "exclude_user",
    "exclude_kernel",
    "exclude_hv",
    "sample_id_all",
];

#[test]
fn an_option_means_to_the_kernel_what_it_means_to_perf() {
    let Some(lab) = Lab::new() else { return };
    for options in [
        "-F 499 -e cpu-clock",
        "-F 499 -e cpu-clock:u",
        "-F 499 -e cpu-clock:k",
        "-c 500000 -e task-clock",
        "-c 50 -e page-faults",
        "-c 1 -e sched:sched_switch",
        "-c 1 -e context-switches",
        "-F 499 -e cpu-clock -e page-faults",
        "-i -F 499 -e cpu-clock",
        "-F 499 -e {cpu-clock,page-faults}",
        "-F 499 -e {cpu-clock,page-faults}:u",
        "-F 499 -e {cpu-clock:k,page-faults}:u",
        "-F 499 -e {cpu-clock,page-faults,cs}:S",
        "-c 100000 -e {cpu-clock,page-faults}:uS",
        "-c 1 -e two{sched:sched_switch,page-faults}:S,cs",
    ] {
        lab.prof_record("ours.data", options).ok();
        assert!(lab.record("theirs.data", options), "perf record {options}");
        let (ours, theirs) = (attr(&lab, "ours.data"), attr(&lab, "theirs.data"));
        assert_eq!(ours.len(), theirs.len(), "{options}");
        for ((name, ours), (their_name, theirs)) in ours.iter().zip(&theirs) {
            assert_eq!(name, their_name, "{options}");
            for field in COUNTED {
                assert_eq!(ours.get(*field), theirs.get(*field), "{field} of {options}");
            }
            let has = |fields: &BTreeMap<_, String>, field: &str, flag: &str| {
                fields[field].split('|').any(|set| set == flag)
            };
            for (field, flag) in [("sample_type", "READ"), ("read_format", "GROUP")] {
                let ours = has(ours, field, flag);
                assert_eq!(ours, has(theirs, field, flag), "{flag} of {options}");
            }
            let on_exec = |fields: &BTreeMap<String, String>| fields.get("disabled").cloned();
            assert_eq!(on_exec(ours), on_exec(theirs), "disabled, {options}");
        }
    }
}

#[test]
fn samples_carry_what_the_options_ask_for() {
    let Some(lab) = Lab::new() else { return };
    let common = ["IP", "TID", "TIME", "PERIOD"];
    for (options, more, flags) in [
        (
            "-F 499 -e cpu-clock",
            &["CALLCHAIN"][..],
            &["exclude_callchain_user"][..],
        ),
        ("-F 499 -e cpu-clock --call-graph fp", &["CALLCHAIN"], &[]),
        ("-F 499 -e cpu-clock --call-graph none", &[], &[]),
        (
            "-F 499 -e cpu-clock --call-graph none --sample-cpu",
            &["CPU"],
            &[],
        ),
        ("-F 499 -e cpu-clock --call-graph none -C 0", &["CPU"], &[]),
        (
            "-F 499 -e cpu-clock,page-faults --call-graph none",
            &["IDENTIFIER"],
            &[],
        ),
        (
            "-c 1 -e sched:sched_switch",
            &["CALLCHAIN", "CPU", "RAW"],
            &["exclude_callchain_user"],
        ),
    ] {
        lab.prof_record("ours.data", options).ok();
        let (_, fields) = &attr(&lab, "ours.data")[0];
        let mut types: Vec<_> = fields["sample_type"].split('|').collect();
        let mut expected = [&common[..], more].concat();
        types.sort_unstable();
        expected.sort_unstable();
        assert_eq!(types, expected, "{options}");
        let tracking = [
            "mmap",
            "mmap2",
            "comm",
            "comm_exec",
            "task",
            "ksymbol",
            "use_clockid",
        ];
        for flag in tracking.iter().chain(flags) {
            assert_eq!(
                fields.get(*flag).map(String::as_str),
                Some("1"),
                "{flag}, {options}"
            );
        }
        let is_unwound = flags.contains(&"exclude_callchain_user");
        assert_eq!(
            fields.contains_key("exclude_callchain_user"),
            is_unwound,
            "{options}"
        );
    }
}

#[test]
fn a_command_is_seen_to_start_once_to_map_its_files_and_time_only_rises() {
    let Some(lab) = Lab::new() else { return };
    // With a second argument the workload neither forks nor runs another program.
    let record = "\"$PROF\" record -F 999 -o ours.data -- ./work alone 60";
    lab.shell(record).ok();
    let mut recording = Recording::open(&lab.place.file("ours.data")).unwrap();
    let (mut started, mut mapped) = (Vec::new(), Vec::new());
    let (mut last, mut samples) = (0, 0);
    let result = recording.for_each(|item| -> Result<(), Error> {
        let time = item.decoded.id.time.unwrap_or(0);
        assert!(time == 0 || time >= last, "{time} after {last}");
        last = last.max(time);
        match item.decoded.record {
            Record::Comm {
                exec: true, name, ..
            } => started.push(text(name)),
            Record::Mmap(mmap) => mapped.push(text(mmap.name)),
            Record::Sample(_) => samples += 1,
            _ => {}
        }
        Ok(())
    });
    result.unwrap();
    assert_eq!(started, ["work"]);
    for file in ["/work", "/libc.so.6", "/ld-linux", "[vdso]"] {
        let is_there = mapped.iter().any(|name| name.contains(file));
        assert!(is_there, "{file} in {mapped:?}");
    }
    assert!(samples > 10);
}

#[test]
fn every_thread_ends_once_and_a_sample_of_a_clock_stands_for_more_than_one_event() {
    let Some(lab) = Lab::new() else { return };
    for options in [
        "-F 999 -e cpu-clock",
        "-D 30 -F 999 -e cpu-clock",
        "-F 999 -e task-clock",
    ] {
        lab.prof_record("ours.data", options).ok();
        let mut recording = Recording::open(&lab.place.file("ours.data")).unwrap();
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        let (mut started, mut first) = (None, None);
        let mut periods = Vec::new();
        let result = recording.for_each(|item| -> Result<(), Error> {
            let time = item.decoded.id.time;
            match item.decoded.record {
                Record::Fork(task) => begun.push(task.tid),
                Record::Exit(task) => ended.push(task.tid),
                Record::Comm { exec: true, .. } if started.is_none() => started = time,
                Record::Sample(sample) => {
                    periods.push(sample.period);
                    first = first.or(sample.time);
                }
                _ => {}
            }
            Ok(())
        });
        result.unwrap();
        // A child, one that becomes another program, and two threads; and the first process itself.
        assert_eq!(begun.len(), 4, "{options}");
        assert_eq!(ended.len(), 5, "{options}");
        ended.sort();
        ended.dedup();
        assert_eq!(ended.len(), 5, "{options}");
        assert!(begun.iter().all(|tid| ended.contains(tid)), "{options}");
        assert!(periods.iter().all(|&period| period > 1), "{periods:?}");
        // What happens before sampling begins is told.
        let waited = first.unwrap() - started.expect("a command");
        let delay = if options.starts_with("-D") {
            29_000_000
        } else {
            0
        };
        assert!(waited >= delay, "{options}: {waited} ns");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
