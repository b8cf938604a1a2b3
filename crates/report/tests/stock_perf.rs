//! Reports and scripts are, byte for byte, those that stock perf printed about the same recording.
//! `fixtures/cg/rebuild.sh` made the files, and has perf's arguments for each.

mod common;

use std::path::{Path, PathBuf};

use common::{Recording, parse_script};
use prof_model::VirtAddr;
use prof_report::{
    CallGraph, ChainOrder, ReportOptions, ScriptField, ScriptFields, ScriptOptions, ScriptWriter,
    parse_fields, parse_sort, write_report,
};

/// What a file name stands for.
type Change = fn(&mut ReportOptions);

fn graph(options: &mut ReportOptions, text: &str) {
    options.call_graph = CallGraph::parse(text).unwrap();
}

fn sort(options: &mut ReportOptions, text: &str) {
    options.sort = Some(parse_sort(text).unwrap());
}

fn fields(options: &mut ReportOptions, text: &str) {
    options.fields = Some(parse_fields(text).unwrap());
}

const REPORTS: &[(&str, Change)] = &[
    ("default", |_| {}),
    ("no-children", |it| it.children = false),
    ("no-graph", |it| graph(it, "none")),
    ("caller-no-children", |it| {
        graph(it, "caller");
        it.children = false;
    }),
    ("callee", |it| graph(it, "callee")),
    ("inverted-limit-5", |it| {
        it.call_graph.order = Some(ChainOrder::Caller);
        it.set_percent_limit(5.0);
    }),
    ("fractal-3", |it| graph(it, "fractal,3")),
    ("fractal-20-no-children", |it| {
        graph(it, "fractal,20");
        it.children = false;
    }),
    ("fractal-count-10", |it| graph(it, "fractal,10,count")),
    ("flat-3", |it| graph(it, "flat,3")),
    ("flat-no-children", |it| {
        graph(it, "flat");
        it.children = false;
    }),
    ("folded-count", |it| {
        graph(it, "folded,count");
        it.children = false;
    }),
    ("graph-period", |it| graph(it, "graph,5,period")),
    ("graph-three-entries", |it| {
        graph(it, "graph,0.5,3,caller");
        it.children = false;
    }),
    ("samples-and-period", |it| {
        graph(it, "none");
        it.children = false;
        it.show_samples = true;
        it.show_period = true;
    }),
    ("cpu-utilization", |it| {
        graph(it, "none");
        it.show_cpu_utilization = true;
    }),
    ("sort-symbol", |it| {
        sort(it, "sym");
        it.children = false;
    }),
    ("sort-symbol-children", |it| {
        sort(it, "sym");
        it.set_percent_limit(4.0);
    }),
    ("sort-comm", |it| {
        graph(it, "none");
        sort(it, "comm");
    }),
    ("sort-dso", |it| {
        graph(it, "none");
        sort(it, "dso");
    }),
    ("sort-thread", |it| {
        graph(it, "none");
        it.children = false;
        sort(it, "tid,sym"); // perf's `pid` is the thread
    }),
    ("sort-samples", |it| {
        graph(it, "none");
        sort(it, "sample,comm");
    }),
    ("limit-5", |it| it.set_percent_limit(5.0)),
    ("max-stack-3", |it| {
        it.max_stack = 3;
        it.children = false;
    }),
    ("only-comm", |it| it.filter.comms = vec!["cg".into()]),
    ("only-comm-relative", |it| {
        graph(it, "none");
        it.filter.comms = vec!["cg".into()];
        it.relative_percent = true;
    }),
    ("only-symbol", |it| {
        it.filter.symbols = vec!["leaf_a".into()];
        it.children = false;
    }),
    ("separator", |it| {
        graph(it, "none");
        it.separator = Some(",".into());
    }),
    ("separator-folded", |it| {
        graph(it, "folded,2");
        it.separator = Some(";".into());
        it.show_samples = true;
    }),
    ("widths", |it| {
        graph(it, "none");
        it.widths = vec![8, 8, 4, 4, 8];
    }),
    ("fields", |it| {
        graph(it, "none");
        fields(it, "sym,overhead,sample,dso");
    }),
    ("fields-and-sort", |it| {
        graph(it, "none");
        it.children = false;
        fields(it, "overhead,comm");
        sort(it, "sym");
    }),
    ("more-fields", |it| {
        graph(it, "none");
        fields(it, "+period");
    }),
    ("quiet", |it| {
        graph(it, "caller,5");
        it.quiet = true;
    }),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cg")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn report(recording: &Recording, change: Change) -> String {
    let mut options = ReportOptions::default();
    change(&mut options);
    let mut out = Vec::new();
    let Recording { profile, names, .. } = recording;
    assert!(write_report(&mut out, profile, names, &options).unwrap());
    String::from_utf8(out).unwrap()
}

/// The first line that differs, with its number.
fn first_difference(ours: &str, perf: &str) -> String {
    let lines = ours.lines().zip(perf.lines()).enumerate();
    match lines.into_iter().find(|(_, (ours, perf))| ours != perf) {
        Some((index, (ours, perf))) => format!("line {}:\n {ours}\n {perf}", index + 1),
        None => format!("lengths {} and {}", ours.len(), perf.len()),
    }
}

#[test]
fn reports_are_those_of_perf() {
    let recording = parse_script(&read("script.txt"));
    let mut wrong = Vec::new();
    for (name, change) in REPORTS {
        let perf = read(&format!("{name}.report"));
        let ours = report(&recording, *change).replace("    Tid:", "    Pid:");
        if ours != perf {
            wrong.push(format!("{name}: {}", first_difference(&ours, &perf)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_report_in_the_folder_is_compared() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".report").map(str::to_owned))
        .collect();
    files.sort_unstable();
    let mut names: Vec<String> = REPORTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

#[test]
fn callchains_are_scripted_as_perf_does() {
    use ScriptField::{Comm, Dso, Event, Ip, Period, Pid, Sym, SymOff, Tid, Time};
    let text = read("script.txt");
    let recording = parse_script(&text);
    let options = ScriptOptions {
        fields: Some(ScriptFields::of([
            Comm, Pid, Tid, Time, Period, Event, Ip, Sym, SymOff, Dso,
        ])),
        ..ScriptOptions::default()
    };
    let writer = ScriptWriter::new(&recording.profile, &recording.names, options);
    let mut out = Vec::new();
    for sample in &recording.samples {
        writer.write(&mut out, sample);
    }
    let ours = String::from_utf8(out).unwrap();
    assert!(ours == text, "{}", first_difference(&ours, &text));
}

#[test]
fn single_addresses_are_scripted_as_perf_does() {
    let text = read("script-G.txt");
    let mut recording = parse_script(&read("script.txt"));
    for (sample, line) in recording.samples.iter_mut().zip(text.lines()) {
        let address = line.split(": ").last().unwrap().split_whitespace().next();
        sample.ip = VirtAddr(u64::from_str_radix(address.unwrap(), 16).unwrap());
    }
    let options = ScriptOptions {
        callchains: false,
        ..ScriptOptions::default()
    };
    let writer = ScriptWriter::new(&recording.profile, &recording.names, options);
    let mut out = Vec::new();
    for sample in &recording.samples {
        writer.write(&mut out, sample);
    }
    let ours = String::from_utf8(out).unwrap();
    assert!(ours == text, "{}", first_difference(&ours, &text));
}
