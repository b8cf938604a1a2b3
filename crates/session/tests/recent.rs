//! The newest records, from which a window of time is written.

mod common;

use std::ops::Range;
use std::path::PathBuf;

use common::{
    Elf, IN_KERNEL, KERNEL_MODE, NOBODY, Records, Sampled, TEXT, attr, event_set, one_event,
};
use prof_event::EventSet;
use prof_event::abi::callchain;
use prof_model::{ChainEnd, Resolution};
use prof_perfdata::{Features, StoredNames};
use prof_session::load::load;
use prof_session::record::{Piece, RecentRecords, WrittenWindow};
use prof_session::{LoadedRecording, OutputError, ReadOptions, Wanted};
use tempfile::TempDir;

fn events() -> EventSet {
    one_event(attr(0))
}

fn piece(span: Range<u64>, records: Records, ends: &[ChainEnd]) -> Piece {
    Piece {
        span,
        records: records.bytes,
        ends: ends.to_vec(),
        ..Piece::default()
    }
}

/// A sample whose period tells its time as well.
fn sample_at(time: u64) -> Sampled {
    Sampled {
        time,
        period: time,
        mode: KERNEL_MODE,
        chain: vec![
            callchain::KERNEL,
            IN_KERNEL,
            callchain::USER,
            TEXT.start + 8,
        ],
        ..Sampled::default()
    }
}

/// Three pieces: what there is with a sample, two samples between which a thread gets another name and
/// another program, and one sample.
fn three_pieces() -> RecentRecords {
    let mut first = Records::of_nobody(events());
    first.sample(&sample_at(150));
    let mut second = Records::of(events());
    second.sample(&sample_at(200));
    second.comm(210, (NOBODY, NOBODY), "next", true);
    second.map(211, NOBODY, TEXT, 0, "/bin/next");
    second.sample(&sample_at(250));
    let mut third = Records::of(events());
    third.sample(&sample_at(300));
    let mut recent = RecentRecords::new(events());
    for (span, records, ends) in [
        (100..200, first, &[ChainEnd::Root][..]),
        (200..300, second, &[ChainEnd::TooDeep, ChainEnd::NoRule]),
        (300..400, third, &[ChainEnd::BadFrame]),
    ] {
        recent.push(&mut piece(span, records, ends)).unwrap();
    }
    recent
}

struct Written {
    dir: TempDir,
    path: PathBuf,
}

impl Written {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("window");
        Self { dir, path }
    }

    /// Writes a window, and reads it.
    fn load(&self, recent: &RecentRecords, window: Range<u64>) -> (LoadedRecording, Option<u64>) {
        let WrittenWindow {
            output,
            ends,
            cut_at,
        } = recent.write(&self.path, &window).unwrap();
        let mut names = StoredNames::default();
        names.ends = ends;
        output.finish(Features::default(), names).unwrap();
        let loaded = load(&ReadOptions::new(&self.path), Wanted::default()).unwrap();
        (loaded, cut_at)
    }
}

/// Of each sample the period, the thread's name, the DSO of the program's frame, and why it ends there.
fn samples(loaded: &LoadedRecording) -> Vec<(u64, String, String, ChainEnd)> {
    let profile = &loaded.profile;
    let samples = profile.samples().map(|(key, weight)| {
        let frame = profile.stacks().frames(key.stack).last().unwrap();
        let dso = profile.dsos.get(profile.frame(frame).dso.unwrap());
        let comm = profile.comms.display(key.comm.unwrap()).into_owned();
        (weight.period, comm, dso.long_name().into_owned(), key.end)
    });
    samples.collect()
}

#[test]
fn a_window_has_the_samples_inside_and_what_their_processes_were_by_then() {
    let written = Written::new();
    let (loaded, cut_at) = written.load(&three_pieces(), 250..400);
    let (next, program) = ("next".to_owned(), "/bin/next".to_owned());
    assert_eq!(
        samples(&loaded),
        [
            (250, next.clone(), program.clone(), ChainEnd::NoRule),
            (300, next, program, ChainEnd::BadFrame),
        ]
    );
    assert_eq!(cut_at, None);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_windows_end_is_not_in_it_and_its_start_is() {
    let written = Written::new();
    let (loaded, _) = written.load(&three_pieces(), 200..250);
    let expected = (
        200,
        "nobody".to_owned(),
        "/bin/a".to_owned(),
        ChainEnd::TooDeep,
    );
    assert_eq!(samples(&loaded), [expected]);
}

#[test]
fn a_window_that_begins_before_all_records_lacks_none_of_them() {
    let written = Written::new();
    let (loaded, cut_at) = written.load(&three_pieces(), 0..1000);
    let periods: Vec<_> = samples(&loaded).iter().map(|it| it.0).collect();
    assert_eq!(periods, [150, 200, 250, 300]);
    assert_eq!(cut_at, None);
}

#[test]
fn a_window_without_a_sample_is_no_file() {
    let written = Written::new();
    for window in [400..500, 0..150, 151..200] {
        let error = three_pieces().write(&written.path, &window).err().unwrap();
        assert!(matches!(error, OutputError::NoSample));
        assert_eq!(error.to_string(), "there is no sample in this window");
        assert_eq!(written.dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_window_in_no_folder_is_an_error() {
    let path = PathBuf::from("/no such folder/window");
    let error = three_pieces().write(&path, &(0..1000)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "could not write `/no such folder/window`"
    );
}

#[test]
fn samples_of_all_events_are_in_a_window() {
    let events = event_set([("cycles", attr(0)), ("cs", attr(0))]);
    let mut records = Records::of_nobody(events.clone());
    for id in [1, 2, 2] {
        records.sample(&Sampled {
            id,
            ..sample_at(150)
        });
    }
    let mut recent = RecentRecords::new(events);
    recent
        .push(&mut piece(100..200, records, &[ChainEnd::Root; 3]))
        .unwrap();
    let written = Written::new();
    let (loaded, _) = written.load(&recent, 100..200);
    assert_eq!(common::weights(&loaded.profile), [(1, 150), (2, 300)]);
    assert_eq!(recent.events().events().len(), 2);
}

#[test]
fn a_window_is_named_by_the_files_of_its_programs() {
    let written = Written::new();
    let program = written.dir.path().join("program");
    let mut elf = Elf::default();
    let main = elf.function("main", &[0x90; 16]);
    elf.save(&program);
    let mut before = Records::of_nobody(events());
    before.map(50, NOBODY, TEXT, 0, program.to_str().unwrap());
    let mut records = Records::of(events());
    records.sample(&Sampled {
        time: 250,
        chain: vec![callchain::USER, TEXT.start + main],
        ..Sampled::default()
    });
    let mut recent = RecentRecords::new(events());
    recent.push(&mut piece(100..200, before, &[])).unwrap();
    recent
        .push(&mut piece(200..300, records, &[ChainEnd::Root]))
        .unwrap();
    let (loaded, _) = written.load(&recent, 200..300);
    let (frame, _) = loaded.profile.frames().next().unwrap();
    let name = loaded.names.get(frame);
    assert!(matches!(name, Resolution::Named { symbol, .. } if &*symbol.name == "main"));
}
