//! Files that appear only when they are whole.

mod common;

use std::error::Error as _;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{Records, samples_at};
use prof_event::{RawRecord, Record, abi};
use prof_perfdata::{Features, Recording, StoredNames, Summary};
use prof_session::OutputError;
use prof_session::record::{Output, write_whole};

fn start(path: &Path, records: &Records) -> Output {
    Output::file(path, &records.events, None, || Ok(Features::default())).unwrap()
}

fn finish(output: Output) -> Result<Summary, OutputError> {
    output.finish(Features::default(), StoredNames::default())
}

/// Writes a recording with samples at these times.
fn write(path: &Path, times: &[u64]) -> Summary {
    let records = samples_at(times);
    let mut output = start(path, &records);
    output.buffer().extend(&records.bytes);
    finish(output).unwrap()
}

fn times(path: &Path) -> Vec<u64> {
    let (times, warnings) = told(path);
    assert_eq!(warnings, [""; 0]);
    times
}

/// The times of the samples of a recording, and what is said about it.
fn told(path: &Path) -> (Vec<u64>, Vec<String>) {
    let mut times = Vec::new();
    let mut recording = Recording::open(path).unwrap();
    let read = recording.for_each(|item| -> Result<(), prof_perfdata::Error> {
        if let Record::Sample(sample) = &item.decoded.record {
            times.extend(sample.time);
        }
        Ok(())
    });
    read.unwrap();
    (times, recording.warnings().to_vec())
}

/// The names of what lies in a folder.
fn files(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_file_has_its_name_only_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let records = samples_at(&[100, 200]);
    let mut output = start(&path, &records);
    output.buffer().extend(&records.bytes);
    output.finish_round().unwrap();
    let temporary = files(dir.path()).pop().unwrap();
    assert!(temporary.to_str().unwrap().starts_with(".perf.data."));
    assert_eq!(output.name(), path.to_str().unwrap());
    let mode = fs::metadata(dir.path().join(temporary)).unwrap();
    let mode = mode.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let summary = finish(output).unwrap();
    assert_eq!(files(dir.path()), ["perf.data"]);
    assert_eq!(times(&path), [100, 200]);
    assert_eq!((summary.records, summary.samples), (5, 2));
    assert_eq!(summary.file_bytes, fs::metadata(&path).unwrap().len());
}

#[test]
fn records_of_rounds_that_follow_soon_are_handed_over_together_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let rounds = 500;
    let expected: Vec<u64> = (1..=rounds).collect();
    let records = samples_at(&expected);
    let began = Instant::now();
    let mut output = start(&path, &records);
    let mut rest = &records.bytes[..];
    while let Ok(raw) = RawRecord::parse(rest) {
        output.buffer().extend(raw.bytes);
        output.pass_on().unwrap();
        output.finish_round().unwrap();
        rest = &rest[raw.bytes.len()..];
    }
    finish(output).unwrap();
    let most = 2 + began.elapsed().as_millis() / 100;
    assert_eq!(times(&path), expected);
    let mut ends = 0;
    let mut recording = Recording::open(&path).unwrap();
    let read = recording.for_each(|item| -> Result<(), prof_perfdata::Error> {
        ends += u128::from(item.raw.kind == abi::record::FINISHED_ROUND);
        Ok(())
    });
    read.unwrap();
    assert!((1..=most).contains(&ends), "{ends} of {rounds} rounds");
}

#[test]
fn an_older_file_is_kept_beside_the_new_one_and_no_third_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    for time in [100, 200, 300] {
        write(&path, &[time]);
    }
    assert_eq!(files(dir.path()), ["perf.data", "perf.data.old"]);
    assert_eq!(times(&path), [300]);
    assert_eq!(times(&dir.path().join("perf.data.old")), [200]);
}

#[test]
fn a_recording_that_is_given_up_leaves_nothing_and_the_older_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    write(&path, &[100]);
    let records = samples_at(&[200]);
    let mut output = start(&path, &records);
    output.buffer().extend(&records.bytes);
    drop(output);
    assert_eq!(files(dir.path()), ["perf.data"]);
    assert_eq!(times(&path), [100]);
}

#[test]
fn why_the_writer_failed_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let records = samples_at(&[100]);
    let mut output = start(&path, &records);
    output.buffer().extend([0; 24]); // a record of no bytes
    output.finish_round().unwrap();
    let error = finish(output).unwrap_err();
    let said = format!("could not write `{}`", path.display());
    assert_eq!(error.to_string(), said);
    assert_eq!(error.source().unwrap().to_string(), CUT);
}

#[test]
fn what_was_written_before_the_writer_failed_is_kept_beside_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    write(&path, &[100]);
    let records = samples_at(&[200, 300]);
    let mut output = start(&path, &records);
    output.buffer().extend(&records.bytes);
    output.finish_round().unwrap();
    output.buffer().extend([0; 24]); // a record of no bytes
    let Err(OutputError::Write { kept, .. }) = finish(output) else {
        panic!("written");
    };
    let part = dir.path().join("perf.data.part");
    assert_eq!(kept.as_ref(), Some(&part));
    assert_eq!(files(dir.path()), ["perf.data", "perf.data.part"]);
    assert_eq!(times(&path), [100]);
    let (kept, warnings) = told(&part);
    assert_eq!(kept, [200, 300]);
    assert!(warnings[0].starts_with("the recorder did not finish the file"));
}

const CUT: &str = "record ends too early";

#[test]
fn a_writer_that_has_failed_takes_no_further_records() {
    let dir = tempfile::tempdir().unwrap();
    let records = samples_at(&[100]);
    let mut output = start(&dir.path().join("perf.data"), &records);
    let mut put = || {
        output.buffer().extend([0; 24]);
        output.pass_on()?;
        output.finish_round()
    };
    let error = (0..100_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_micros(100)); // it may have to wait for a CPU
        put().err()
    });
    assert_eq!(error.unwrap().to_string(), "the writer has stopped");
    assert_eq!(
        finish(output).unwrap_err().source().unwrap().to_string(),
        CUT
    );
}

#[test]
fn a_file_that_cannot_take_its_place_is_kept_beside_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    write(&path, &[100]);
    let records = samples_at(&[200]);
    let mut output = start(&path, &records);
    output.buffer().extend(&records.bytes);
    fs::create_dir_all(dir.path().join("perf.data.old/in the way")).unwrap();
    let error = finish(output).unwrap_err();
    assert!(matches!(error, OutputError::Write { name, .. } if name == path.to_str().unwrap()));
    assert_eq!(
        files(dir.path()),
        ["perf.data", "perf.data.old", "perf.data.part"]
    );
    assert_eq!(times(&path), [100]);
    assert_eq!(times(&dir.path().join("perf.data.part")), [200]);
}

#[test]
fn where_the_older_file_cannot_be_kept_nothing_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    fs::create_dir_all(dir.path().join("perf.data.old")).unwrap();
    let begin = || Output::file(&path, &samples_at(&[]).events, None, || unreachable!());
    assert!(begin().is_ok()); // there is none
    fs::write(&path, b"older").unwrap();
    let error = begin().err().unwrap();
    let cause = error.source().unwrap().to_string();
    assert!(cause.ends_with(".old`, which is a directory"), "{cause}");
    assert_eq!(files(dir.path()), ["perf.data", "perf.data.old"]);
}

#[test]
fn a_file_in_no_folder_is_an_error_before_anything_is_recorded() {
    let path = PathBuf::from("/no such folder/perf.data");
    let error = Output::file(&path, &samples_at(&[]).events, None, || unreachable!())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "could not write `/no such folder/perf.data`"
    );
    assert!(matches!(error, OutputError::Create { path: told, .. } if told == path));
}

#[test]
fn what_is_no_regular_file_is_written_to_directly() {
    let records = samples_at(&[100]);
    let mut output = start(Path::new("/dev/null"), &records);
    assert!(output.unfinished().is_none());
    assert_eq!(output.name(), "/dev/null");
    output.buffer().extend(&records.bytes);
    assert_eq!(finish(output).unwrap().samples, 1);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let full = Output::file(Path::new("/dev/full"), &records.events, None, || {
        Ok(Features::default())
    });
    let error = full.err().unwrap();
    assert_eq!(error.to_string(), "could not write `/dev/full`");
    let cause = error.source().unwrap().to_string();
    assert_eq!(cause, "No space left on device (os error 28)");
}

#[test]
fn a_compressed_file_has_the_same_records_in_fewer_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let all: Vec<u64> = (1..=5000).collect();
    let records = samples_at(&all);
    let mut output = Output::file(&path, &records.events, Some(1), || unreachable!()).unwrap();
    for raw in records.iter() {
        output.buffer().extend(raw.bytes);
        output.pass_on().unwrap();
    }
    assert!(output.buffer().len() < 128 << 10); // pieces were handed over
    let summary = finish(output).unwrap();
    assert_eq!(times(&path), all);
    assert_eq!(summary.record_bytes, records.bytes.len() as u64);
    assert!(summary.data_bytes < summary.record_bytes / 10);
}

#[test]
fn a_small_file_replaces_an_older_one_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flame.svg");
    write_whole(&path, |out| out.write_all(b"first")).unwrap();
    let failed = write_whole(&path, |out| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("no more"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no more");
    assert_eq!(files(dir.path()), ["flame.svg"]);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    write_whole(&path, |out| {
        let beside = files(path.parent().unwrap());
        assert_eq!(beside.len(), 2);
        assert_eq!(fs::read(&path)?, b"first");
        out.write_all(b"second")
    })
    .unwrap();
    assert_eq!(files(dir.path()), ["flame.svg"]);
    assert_eq!(fs::read(&path).unwrap(), b"second");
    write_whole(Path::new("/dev/null"), |out| out.write_all(b"third")).unwrap();
}
