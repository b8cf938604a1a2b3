//! Recordings with branches, which no machine of ours can make: a recording of a real process, to whose samples
//! branches between the places that it was sampled at are added.

use std::collections::{BTreeMap, HashMap};

use prof_event::abi::{branch, record, sample};
use prof_event::{EventAttr, Record, Sample};
use prof_model::CpuMode;
use prof_perfdata::Recording;

use crate::big_endian::turned;
use crate::handmade::Handmade;
use crate::lab::Lab;

/// How such a recording is made.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// The index in the hardware's stack stands in front of the branches.
    has_index: bool,
    /// Samples lie nowhere, so that perf loads no file because of them.
    nowhere: bool,
    /// perf does not say that it is about branches.
    unsaid: bool,
    /// Only what Linux knew of branches before 6.1.
    is_old: bool,
}

/// Records with stock perf and writes the same with branches.
fn record(lab: &Lab, name: &str, kind: Kind) {
    assert!(lab.record("plain.data", "-F 999"));
    let mut plain = Recording::open(&lab.place.file("plain.data")).unwrap();
    let event = plain.events().events()[0].clone();
    let attr = EventAttr {
        sample_type: event.attr.sample_type | sample::BRANCH_STACK,
        branch_sample_type: 1 << 3 | if kind.has_index { branch::HW_INDEX } else { 0 }, // any
        ..event.attr
    };
    let mut features = plain.features().clone();
    features.branch_stacks = !kind.unsaid;
    let mut places: HashMap<i32, Vec<u64>> = HashMap::new();
    each(&mut plain, |_, record| {
        if let Record::Sample(sample) = record {
            let of_process = places.entry(sample.pid.0).or_default();
            of_process.extend(user_code(sample));
        }
    });
    places
        .values_mut()
        .for_each(|it| it.extend(kernel_function()));
    let mut branches = Handmade::create(lab.place.file(name), &event.name, attr);
    let mut number = 0;
    each(&mut plain, |bytes, record| {
        let Record::Sample(sample) = record else {
            branches.put_whole(bytes);
            return;
        };
        if user_code(sample).is_none() {
            return;
        }
        number += 1;
        let places = &places[&sample.pid.0];
        branches.put(record::SAMPLE, 2, |out| {
            let ip = if kind.nowhere { 0 } else { sample.ip.0 };
            out.u64(ip).bytes(&bytes[16..]); // only the instruction stands in front
            out.u64(number % 5);
            if kind.has_index {
                out.u64(number.wrapping_sub(3));
            }
            for index in 0..number % 5 {
                let [from, to, mut flags] = branch_of(number * 5 + index, places);
                if kind.is_old {
                    flags &= (1 << 23) - 1;
                }
                out.u64(from).u64(to).u64(flags);
            }
        });
    });
    branches.finish(features);
}

/// The instruction of a sample in user code: the kernel's may have two names.
fn user_code(sample: &Sample<'_>) -> Option<u64> {
    (sample.mode == CpuMode::User).then_some(sample.ip.0)
}

/// A function of the kernel with one name, unless it hides them.
fn kernel_function() -> Option<u64> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").ok()?;
    let mut lines = symbols.lines().map(|line| line.split_once(' ').unwrap());
    let known = lines.clone().map(|(address, _)| address);
    let uses = known.fold(HashMap::new(), |mut uses: HashMap<_, u32>, address| {
        *uses.entry(address).or_default() += 1;
        uses
    });
    let found = lines.find(|(address, name)| name.starts_with("T vfs_") && uses[address] == 1);
    u64::from_str_radix(found?.0, 16).ok()
}

/// From, to and flags: nearly all of the process's own places, some from nowhere or into the kernel, and of
/// each kind. Always predicted or not: of others perf prints what it printed last.
fn branch_of(seed: u64, places: &[u64]) -> [u64; 3] {
    let place = |seed: u64| match seed % 23 {
        22 => 0,
        21 => 0x1234,
        20 => 0xffff_ffff_ffff_0000,
        19 => places[places.len() - 1], // the kernel's
        _ => places[seed as usize % 7 % places.len()],
    };
    let flags = 1 << (seed % 2) | (seed % 3 / 2) << 2 | (seed % 7 / 6) << 3;
    let cycles = [0, 1, 30, 30_000][seed as usize % 4];
    [
        place(seed),
        place(seed * 3 + 1),
        flags | cycles << 4 | (seed % 16) << 20 | (seed % 8) << 26,
    ]
}

/// Visits the records that the kernel writes.
fn each(recording: &mut Recording, mut visit: impl FnMut(&[u8], &Record<'_>)) {
    const FIRST_OF_PERF: u32 = 64;
    let result: Result<(), prof_perfdata::Error> = recording.for_each(|item| {
        if item.raw.kind < FIRST_OF_PERF {
            visit(item.raw.bytes, &item.decoded.record);
        }
        Ok(())
    });
    result.unwrap();
}

/// The same lines; says which one is not.
fn assert_same(ours: &str, theirs: &str, what: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
}

#[test]
fn branches_are_printed_by_address_function_and_offset_as_perf_prints_them() {
    let Some(lab) = Lab::new() else { return };
    let index = Kind {
        has_index: true,
        ..Kind::default()
    };
    let nowhere = Kind {
        nowhere: true,
        ..Kind::default()
    };
    let mut fields = vec![
        "ip,brstack",
        "comm,tid,time,brstacksym",
        "ip,sym,brstacksym",
        "ip,sym,symoff,dso,brstacksym",
        "ip,dso,brstack",
        "brstack,brstacksym",
        "brstackoff,brstacksym",
    ];
    for (name, kind) in [
        ("branches.data", Kind::default()),
        ("index.data", index),
        ("nowhere.data", nowhere),
    ] {
        record(&lab, name, kind);
        if kind.nowhere {
            fields = vec!["comm,brstackoff"]; // perf gives addresses for offsets in files that it loaded
        }
        for fields in &fields {
            let options = format!("script -F {fields}");
            let ours = lab.prof(&options, name).ok().out;
            let theirs = lab.perf(&options, name).ok().out;
            assert!(ours.contains("/P/-/-/"), "{ours}");
            assert_same(&ours, &theirs, &format!("{name} {fields}"));
        }
    }
}

#[test]
fn branches_of_a_big_endian_machine_are_the_same() {
    let Some(lab) = Lab::new() else { return };
    let old = Kind {
        is_old: true, // the kinds of newer ones perf does not turn
        ..Kind::default()
    };
    record(&lab, "branches.data", old);
    turned(&lab.place.file("branches.data"), &lab.place.file("turned"));
    let script = "script -F ip,brstack";
    let theirs = lab.perf(script, "branches.data").ok().out;
    assert_eq!(lab.perf(script, "turned").ok().out, theirs, "by perf");
    assert_eq!(lab.prof(script, "turned").ok().out, theirs);
}

#[test]
fn branches_that_were_not_recorded_are_refused_with_how_to_record_them() {
    let Some(lab) = Lab::new() else { return };
    for command in ["script -F ip,brstacksym", "script -F brstackoff"] {
        let ran = lab.prof(command, "probe.data").failed(1);
        ran.says(&["brstack", "perf record -b"]);
    }
}

/// What perf prints in front of its tip.
fn table(report: &str) -> &str {
    report.split("\n#\n# (Tip: ").next().unwrap_or_default()
}

#[test]
fn a_recording_of_branches_has_rows_for_them_as_in_perf() {
    let Some(lab) = Lab::new() else { return };
    record(&lab, "branches.data", Kind::default());
    // perf dies of `symbol` in small letters where no cycles are shown.
    for options in [
        "",
        "-b -n --show-total-period",
        "-s comm,dso_from,dso_to,cycles",
        "-s SYMBOL_FROM,SYMBOL_TO",
        "-s SYMBOL_TO,comm,cycles",
        "-s +dso_to",
        "-s dso",
        "-s comm,dso -n",
        "-F SYMBOL_FROM",
        "-F overhead,sample,dso_from,SYMBOL_TO",
        "-F cycles,overhead",
        "-t ; -n",
        "--comms one,two",
        "--comms work --percentage relative",
        "--percent-limit 1",
        "--hierarchy",
        "-w 8,6,4,5",
        "-w 8,6,4,5,9,3",
        "--children -G",
        "--no-branch-stack",
    ] {
        let options = format!("report --stdio --no-inline {options}");
        let options = options.trim_end();
        let ours = lab.prof(options, "branches.data").ok().out;
        let theirs = lab.perf(options, "branches.data").ok().out;
        assert_same(ours.trim_end(), table(&theirs).trim_end(), options);
    }
}

/// What perf counts for each text in the last column. It has no order for these columns, and so several rows
/// of one text.
fn sums(report: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let rows = report.lines().filter(|line| !line.starts_with('#'));
    for row in rows {
        let mut words = row.split_whitespace().skip(1);
        if let Some((samples, text)) = words.next().zip(words.next()) {
            *sums.entry(text.to_owned()).or_default() += samples.parse::<u64>().unwrap();
        }
    }
    sums
}

#[test]
fn predictions_and_transactions_are_counted_as_in_perf_each_in_one_row() {
    let Some(lab) = Lab::new() else { return };
    record(&lab, "branches.data", Kind::default());
    for (key, texts) in [
        ("mispredict", ["N", "Y"]),
        ("in_tx", [".", "T"]),
        ("abort", [".", "A"]),
    ] {
        let options = format!("report --stdio -n -s {key}");
        let ours = lab.prof(&options, "branches.data").ok().out;
        let theirs = lab.perf(&options, "branches.data").ok().out;
        assert_eq!(sums(&ours), sums(table(&theirs)), "{options}");
        assert!(sums(&ours).keys().eq(texts), "{ours}");
        let rows = ours.lines().filter(|line| line.contains('%'));
        assert_eq!(rows.count(), 2, "{ours}");
        let title = |report: &str| {
            let mut lines = report.lines().map(str::to_owned);
            lines.find(|line| line.starts_with("# Overhead"))
        };
        assert_eq!(title(&ours), title(&theirs));
    }
}

#[test]
fn without_a_word_in_the_file_rows_are_of_branches_only_when_asked_for() {
    let Some(lab) = Lab::new() else { return };
    let unsaid = Kind {
        unsaid: true,
        ..Kind::default()
    };
    record(&lab, "branches.data", unsaid);
    for options in ["--no-children", "-b"] {
        let options = format!("report --stdio {options}");
        let ours = lab.prof(&options, "branches.data").ok().out;
        let theirs = lab.perf(&options, "branches.data").ok().out;
        assert_same(ours.trim_end(), table(&theirs).trim_end(), &options);
    }
}

#[test]
fn a_filter_of_code_is_for_where_branches_led_and_both_ends_want_names() {
    let Some(lab) = Lab::new() else { return };
    record(&lab, "branches.data", Kind::default());
    let count = |options: &str| {
        let options = format!("report --stdio -q -n -F sample,symbol_from,symbol_to {options}");
        let report = lab.prof(options.trim_end(), "branches.data").ok().out;
        let rows = report.lines().filter(|line| !line.is_empty());
        let rows = rows.map(|row| {
            let (samples, ends) = row.trim_start().split_once(' ').unwrap();
            (samples.parse::<u64>().unwrap(), ends.to_owned())
        });
        rows.collect::<Vec<_>>()
    };
    let all = count("");
    let total = |rows: &[(u64, String)]| rows.iter().map(|(samples, _)| samples).sum::<u64>();
    let into_leaf: Vec<_> = all
        .iter()
        .filter(|(_, ends)| ends.ends_with("] leaf"))
        .collect();
    assert_eq!(
        total(&count("-S leaf")),
        into_leaf.iter().map(|it| it.0).sum::<u64>()
    );
    let named: Vec<_> = all
        .iter()
        .filter(|(_, ends)| !ends.contains("] 0"))
        .cloned()
        .collect();
    assert_eq!(total(&count("-U")), total(&named));
    assert!(total(&named) < total(&all));
}

#[test]
fn what_only_branches_have_is_refused_where_there_are_none() {
    let Some(lab) = Lab::new() else { return };
    let ran = lab.prof("report --stdio -b", "probe.data").failed(1);
    ran.says(&["no branches", "perf record -b"]);
    let ran = lab.prof("report --stdio -s symbol,cycles", "probe.data");
    ran.failed(2).says(&["`cycles`", "-b"]);
    record(&lab, "branches.data", Kind::default());
    let ran = lab.prof("report --no-branch-stack -s mispredict", "branches.data");
    ran.failed(2).says(&["`mispredict`"]);
    for option in ["--branch-history", "--total-cycles"] {
        let ran = lab
            .prof(&format!("report {option}"), "branches.data")
            .failed(2);
        ran.says(&[option, "brstacksym"]);
    }
}

#[test]
fn rows_of_branches_are_objects_with_both_ends() {
    let Some(lab) = Lab::new() else { return };
    record(&lab, "branches.data", Kind::default());
    let keys = "symbol_from,symbol_to,dso_to,cycles,mispredict,in_tx";
    let report = lab
        .prof(&format!("report --json -s {keys}"), "branches.data")
        .ok()
        .out;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let table = &report["tables"][0];
    assert_eq!(table["keys"].as_array().unwrap().len(), 6);
    let rows = table["rows"].as_array().unwrap();
    let samples = |row: &serde_json::Value| row["counts"][0]["self"]["samples"].as_u64().unwrap();
    let total = table["events"][0]["samples"].as_u64().unwrap();
    assert_eq!(rows.iter().map(samples).sum::<u64>(), total);
    let mut into_leaf = rows.iter().filter(|row| row["symbol_to"] == "leaf");
    assert!(into_leaf.all(|row| row["dso_to"] == "work" && row["mispredict"].is_boolean()));
    let unmapped = rows
        .iter()
        .find(|row| row["address_from"] == "0x1234")
        .unwrap();
    assert!(unmapped["symbol_from"].is_null());
    let uncounted = rows.iter().any(|row| row["cycles"].is_null());
    assert!(uncounted && rows.iter().any(|row| row["cycles"] == 30_000));
}
