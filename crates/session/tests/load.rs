//! A recording, read into a profile and named, and what a reader is told about it.

mod common;

use std::error::Error;
use std::fs;

use common::{
    Elf, JitDump, KERNEL_MODE, NOBODY, Records, STACK, Sampled, TEXT, attr, event_set, regs,
    unwound_attr, weights,
};
use prof_event::EventAttr;
use prof_event::abi::{callchain, flag, record};
use prof_model::{ChainEnd, Reason, Resolution};
use prof_perfdata::{Features, StoredNames};
use prof_session::load::load;
use prof_session::{LoadedRecording, ReadOptions, Wanted, Warning};

/// What each frame of the profile is called.
fn names(loaded: &LoadedRecording) -> Vec<Result<String, Reason>> {
    let frames = loaded.profile.frames();
    let names = frames.map(|(id, _)| match loaded.names.get(id) {
        Resolution::Named { symbol, .. } => Ok(symbol.name.to_string()),
        Resolution::Unresolved(reason) => Err(*reason),
    });
    names.collect()
}

fn texts(loaded: &LoadedRecording) -> Vec<String> {
    loaded.warnings.iter().map(Warning::to_string).collect()
}

#[test]
fn warnings_come_in_the_order_in_which_they_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (program, dump) = (path("program"), path("jit-7.dump"));
    let mut elf = Elf::default();
    let main = elf.function("main", &[0x90; 16]);
    elf.save(program.as_ref());
    let mut jitdump = JitDump::new();
    jitdump.load(5, 0x7000_0000, 0x40, "generated");
    jitdump.save(dump.as_ref());
    let of_another_clock = EventAttr {
        flags: attr(0).flags & !flag::USE_CLOCKID,
        ..unwound_attr()
    };
    let mut records = Records::of_nobody(event_set([("cpu-clock", of_another_clock)]));
    records.map(1, NOBODY, TEXT, 0, &program);
    records.map(2, NOBODY, 0x5000_0000..0x5000_1000, 0, &dump);
    records.put(3, (99, 0), |_| {}); // of no known kind
    records.sample(&Sampled {
        regs: regs(0, STACK, 0),
        stack: vec![0; 64],
        chain: vec![callchain::USER, TEXT.start + main],
        ..Sampled::default()
    });
    let features = Features {
        arch: Some("riscv64".to_owned()),
        ..Features::default()
    };
    records.save(path("perf.data").as_ref(), features, None);
    let loaded = load(&ReadOptions::new(path("perf.data")), Wanted::default()).unwrap();
    assert_eq!(
        loaded.warnings,
        [
            Warning::ForeignStacks {
                samples: 1,
                machine: "riscv64".to_owned()
            },
            Warning::File(
                "1 records of unknown types were skipped; the first has type 99".to_owned()
            ),
            Warning::WithoutBuildId(vec![program.clone()]),
            Warning::UnorderedDump(dump.clone()),
        ]
    );
    assert_eq!(
        texts(&loaded),
        [
            "the user stacks of 1 samples are of riscv64 and are not unwound here".to_owned(),
            "1 records of unknown types were skipped; the first has type 99".to_owned(),
            format!(
                "no build-id is recorded for {program}: the names are those of the files there now"
            ),
            format!(
                "its times are not those of `{dump}`: code that shared an address with other code \
                 has no name; record with `-k mono`"
            ),
        ]
    );
}

#[test]
fn of_many_files_without_a_build_id_three_are_named() {
    let files = |count| Warning::WithoutBuildId((0..count).map(|it| format!("/{it}")).collect());
    let there_now = "the names are those of the files there now";
    let text = |count| files(count).to_string();
    assert_eq!(
        text(3),
        format!("no build-id is recorded for /0, /1, /2: {there_now}")
    );
    let more = format!("no build-id is recorded for /0, /1, /2 and 2 more: {there_now}");
    assert_eq!(text(5), more);
}

#[test]
fn a_recording_that_lacks_nothing_brings_no_warning() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut elf = Elf::with_build_id();
    let main = elf.function("main", &[0x90; 16]);
    elf.save(&program);
    let mut records = Records::of_nobody(event_set([("cpu-clock", attr(0))]));
    records.map(1, NOBODY, TEXT, 0, program.to_str().unwrap());
    records.sample(&Sampled {
        chain: vec![callchain::USER, TEXT.start + main],
        ..Sampled::default()
    });
    let mut features = Features::default();
    features.build_ids.push(common::stored_build_id(&program));
    let path = dir.path().join("perf.data");
    records.save(&path, features, None);
    let loaded = load(&ReadOptions::new(path), Wanted::default()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(names(&loaded), [Ok("main".to_owned())]);
    let dsos: Vec<_> = loaded
        .profile
        .dsos
        .iter()
        .map(|(_, dso)| dso.build_id)
        .collect();
    assert!(dsos.contains(&Elf::build_id()));
}

#[test]
fn a_profile_has_the_samples_the_names_of_threads_and_what_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let mut records = Records::of_nobody(event_set([("cycles", attr(0)), ("cs", attr(0))]));
    records.sample(&Sampled::default()).sample(&Sampled {
        id: 2,
        mode: KERNEL_MODE,
        period: 9,
        chain: vec![callchain::USER, 0x10],
        ..Sampled::default()
    });
    records.put(200, (record::LOST, 0), |record| {
        record.u64(1).u64(3);
    });
    let mut stored = StoredNames::default();
    stored.ends.push(ChainEnd::TooDeep);
    stored.ends.push(ChainEnd::Root);
    records.save(&path, Features::default(), Some(&stored));
    let loaded = load(&ReadOptions::new(path), Wanted::default()).unwrap();
    assert_eq!(weights(&loaded.profile), [(1, 1), (1, 9)]);
    let ends = loaded.profile.ends();
    assert_eq!(ends[ChainEnd::TooDeep as usize], 1);
    assert_eq!(ends[ChainEnd::Root as usize], 1);
    assert_eq!(loaded.profile.losses.lost_records, 3);
    let comms = loaded.profile.samples().map(|(key, _)| {
        let comm = key.comm.unwrap();
        loaded.profile.comms.display(comm).into_owned()
    });
    assert_eq!(comms.collect::<Vec<_>>(), ["nobody"; 2]);
    let events = loaded.profile.events.iter().map(|it| &it.name[..]);
    assert_eq!(events.collect::<Vec<_>>(), ["cycles", "cs"]);
    assert_eq!(
        names(&loaded),
        [Err(Reason::FileMissing), Err(Reason::NoMapping)]
    );
    assert_eq!(loaded.profile.times(), Some((100, 100)));
}

#[test]
fn the_names_of_a_pipes_events_are_those_that_it_told_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let mut records = Records::of_nobody(event_set([("first", attr(0)), ("second", attr(0))]));
    records.sample(&Sampled {
        id: 2,
        ..Sampled::default()
    });
    records.put(200, (record::EVENT_UPDATE, 0), |record| {
        const NAME: u64 = 2;
        record.u64(NAME).u64(2).c_string(b"renamed");
    });
    records.save_as_pipe(&path);
    let loaded = load(&ReadOptions::new(path), Wanted::default()).unwrap();
    let events = loaded.profile.events.iter().map(|it| &it.name[..]);
    assert_eq!(events.collect::<Vec<_>>(), ["first", "renamed"]);
    assert_eq!(weights(&loaded.profile), [(0, 0), (1, 1)]);
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_name_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(
        path("text"),
        "no recording at all, but a text that is long enough",
    )
    .unwrap();
    let no_file = format!("could not read {}", path("missing"));
    for (name, cause) in [
        (path("missing"), &no_file[..]),
        (path("text"), "not a perf.data file: it is text"),
    ] {
        let error = load(&ReadOptions::new(&name), Wanted::default())
            .err()
            .unwrap();
        let said = format!("could not read the recording `{name}`");
        assert_eq!(error.to_string(), said);
        assert_eq!(error.source().unwrap().to_string(), cause);
    }
}
