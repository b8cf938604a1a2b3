//! Generated code that a jitdump describes.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{CODE, JitDump, NOBODY, Records, Sampled, Taken, attr, live, one_event, take_all};
use prof_event::EventAttr;
use prof_event::abi::{callchain, flag};
use prof_model::{Dso, DsoAddr, DsoKind, JitLoad, Resolution, SymbolSource};
use prof_perfdata::{Features, StoredNames};
use prof_session::load::load;
use prof_session::{LoadedRecording, ReadOptions, Wanted};
use tempfile::TempDir;

const PERF_MAP: &str = "/tmp/perf-5000000.map";

/// A dump that announces `first` at [`CODE`], `other` behind it, and later `second` in the place of the
/// first.
struct Dumped {
    dir: TempDir,
    dump: PathBuf,
    first: u64,
    other: u64,
    second: u64,
}

impl Dumped {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dump = dir.path().join("jit-7.dump");
        let mut jitdump = JitDump::new();
        let first = jitdump.load(100, CODE, 0x40, "first");
        let other = jitdump.load(110, CODE + 0x40, 0x40, "other");
        let second = jitdump.load(200, CODE, 0x40, "second");
        jitdump.save(&dump);
        Self {
            dir,
            dump,
            first,
            other,
            second,
        }
    }

    /// Records of a process that has mapped the dump, and memory for its code.
    fn records(&self, attr: EventAttr) -> Records {
        let mut records = Records::of_nobody(one_event(attr));
        records.map(1, NOBODY, CODE..CODE + 0x1000, 0, "//anon");
        let dump = self.dump.to_str().unwrap();
        records.map(2, NOBODY, 0x5000_0000..0x5000_1000, 0, dump);
        records
    }

    fn load(&self, records: &Records, names: Option<&StoredNames>) -> LoadedRecording {
        let path = self.dir.path().join("perf.data");
        records.save(&path, Features::default(), names);
        load(&ReadOptions::new(path), Wanted::default()).unwrap()
    }

    /// A frame of the code that lies there in the dump.
    fn frame(&self, place: u64) -> (&str, (u64, u64)) {
        (self.dump.to_str().unwrap(), (place, place))
    }
}

/// A sample of a process in its generated code.
fn sample_at(time: u64, pid: u32, addr: u64) -> Sampled {
    Sampled {
        time,
        pid,
        tid: pid,
        chain: vec![callchain::USER, addr],
        ..Sampled::default()
    }
}

/// The DSO and the address of each sample's only frame.
fn places(taken: &[Taken]) -> Vec<(&str, (u64, u64))> {
    let places = taken.iter().map(|it| (it.paths()[0], it.addresses()[0]));
    places.collect()
}

/// Names by frame, in the order in which samples hit them; what has none has an empty one.
fn names(loaded: &LoadedRecording) -> Vec<String> {
    let frames = loaded.profile.frames();
    let names = frames.map(|(frame, _)| match loaded.names.get(frame) {
        Resolution::Named { symbol, .. } => symbol.name.to_string(),
        Resolution::Unresolved(_) => String::new(),
    });
    names.collect()
}

#[test]
fn a_dump_that_others_may_write_to_is_not_believed() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    for (mode, name) in [(0o666, ""), (0o644, "first")] {
        fs::set_permissions(&dumped.dump, Permissions::from_mode(mode)).unwrap();
        let is_known = take_all(&mut live(&records.events), &records)[0].paths()[0] != PERF_MAP;
        assert_eq!(is_known, !name.is_empty(), "{mode:o}");
        assert_eq!(names(&dumped.load(&records, None)), [name], "{mode:o}");
    }
}

#[test]
fn code_has_the_place_in_the_dump_of_what_lay_there_when_it_was_sampled() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    for time in [50, 150, 250] {
        records.sample(&sample_at(time, NOBODY, CODE + 8));
    }
    let expected = [
        (PERF_MAP, (CODE + 8, CODE + 8)),
        dumped.frame(dumped.first + 8),
        dumped.frame(dumped.second + 8),
    ];
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(places(&taken), expected);
    let loaded = dumped.load(&records, None);
    assert_eq!(names(&loaded), ["", "first", "second"]);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_caller_in_generated_code_is_looked_up_before_its_return_address() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    let mut sampled = sample_at(150, NOBODY, CODE + 8);
    sampled.chain.push(CODE + 0x40); // `first` ends with the call
    let taken = take_all(&mut live(&records.events), records.sample(&sampled));
    let return_address = (dumped.first + 0x40, dumped.first + 0x3f);
    assert_eq!(taken[0].addresses()[1], return_address);
}

#[test]
fn a_child_has_its_parents_code_as_it_was_at_the_fork() {
    const CHILD: u32 = NOBODY + 1;
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    records.fork(160, (CHILD, CHILD), (NOBODY, NOBODY));
    records.sample(&sample_at(170, CHILD, CODE + 8));
    for time in [250, 260] {
        records.sample(&sample_at(time, NOBODY, CODE + 8));
        records.sample(&sample_at(time, CHILD, CODE + 8)); // the parent's `second` is not there
        records.sample(&sample_at(time, CHILD, CODE + 0x48));
    }
    let taken = take_all(&mut live(&records.events), &records);
    let (first, second) = (dumped.first + 8, dumped.second + 8);
    let later = [
        dumped.frame(second),
        ("/tmp/perf-5000001.map", (CODE + 8, CODE + 8)),
        dumped.frame(dumped.other + 8),
    ];
    let until_fork = [dumped.frame(first), dumped.frame(first)];
    assert_eq!(places(&taken), [&until_fork[..], &later, &later].concat());
}

#[test]
fn what_a_child_tells_itself_is_newer_than_what_its_parent_told() {
    const CHILD: u32 = NOBODY + 1;
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    let own = dumped.dir.path().join("jit-8.dump");
    let mut jitdump = JitDump::new();
    let place = jitdump.load(180, CODE, 0x40, "own");
    jitdump.save(&own);
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    records.fork(160, (CHILD, CHILD), (NOBODY, NOBODY));
    let range = 0x5100_0000..0x5100_1000;
    records.map(170, CHILD, range, 0, own.to_str().unwrap());
    for time in [175, 190] {
        records.sample(&sample_at(time, CHILD, CODE + 8));
    }
    let taken = take_all(&mut live(&records.events), &records);
    let first = dumped.frame(dumped.first + 8);
    let own = (own.to_str().unwrap(), (place + 8, place + 8));
    assert_eq!(places(&taken), [first, first, own]);
}

#[test]
fn another_program_has_none_of_the_code_of_the_one_before() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    records.comm(140, (NOBODY, NOBODY), "next", true);
    records.map(141, NOBODY, CODE..CODE + 0x1000, 0, "//anon");
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(places(&taken), [(PERF_MAP, (CODE + 8, CODE + 8))]);
}

#[test]
fn a_file_that_is_mapped_where_code_lay_is_what_runs_there() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    records.map(140, NOBODY, CODE..CODE + 0x1000, 0, "/lib/plugin");
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(places(&taken), [("/lib/plugin", (8, 8))]);
}

#[test]
fn by_another_clock_only_an_address_with_one_name_has_it() {
    let dumped = Dumped::new();
    let mut records = dumped.records(EventAttr {
        flags: attr(0).flags & !flag::USE_CLOCKID,
        ..attr(0)
    });
    records.sample(&sample_at(50, NOBODY, CODE + 8));
    records.sample(&sample_at(50, NOBODY, CODE + 0x48));
    let loaded = dumped.load(&records, None);
    assert_eq!(names(&loaded), ["", "other"]);
}

#[test]
fn what_the_recorder_kept_of_a_dump_serves_when_the_file_is_gone() {
    let dumped = Dumped::new();
    let mut records = dumped.records(attr(0));
    records.sample(&sample_at(150, NOBODY, CODE + 8));
    records.sample(&sample_at(250, NOBODY, CODE + 8));
    let dso = Dso {
        path: dumped.dump.to_str().unwrap().into(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    };
    let load = |time, offset| JitLoad {
        time,
        start: CODE,
        size: 0x40,
        offset,
    };
    let places = [dumped.first + 8, dumped.second + 8].map(DsoAddr);
    let answers = ["kept first", "kept second"];
    let answers = answers.map(|name| common::symbol((name, name), SymbolSource::Jitdump));
    let mut stored = StoredNames::default();
    stored.add(&dso, &places, &answers);
    let loads = vec![load(100, dumped.first), load(200, dumped.second)];
    stored.add_loads(&dso, loads);
    std::fs::remove_file(&dumped.dump).unwrap();
    let loaded = dumped.load(&records, Some(&stored));
    assert_eq!(names(&loaded), ["kept first", "kept second"]);
    assert_eq!(names(&dumped.load(&records, None)), [""]);
}
