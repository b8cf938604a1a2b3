//! Parts of a recording, chosen by its times.

mod common;

use common::{Records, Sampled, attr, one_event, samples_at, saved, weights};
use prof_event::EventAttr;
use prof_event::abi::sample;
use prof_perfdata::{Features, Recording, StoredNames};
use prof_session::load::{Warning, load};
use prof_session::{LoadError, ReadOptions, Selection, TimeSlices, Wanted};

#[test]
fn only_samples_from_the_chosen_parts_are_counted() {
    let (_dir, path) = saved(&samples_at(&[1000, 1199, 1200, 1900, 2000]));
    for (parts, samples) in [
        ("0.0000012,", 3),
        (",0.000001199", 2),
        ("0.000001199,0.0000012 0.000002,", 3),
        ("20%-90%", 1),
        ("90%-100%", 2),
        ("3,4", 0),
    ] {
        let options = ReadOptions {
            time: Some(TimeSlices::parse(parts).unwrap()),
            ..ReadOptions::new(&path)
        };
        let loaded = load(&options, Wanted::default()).unwrap();
        assert_eq!(weights(&loaded.profile), [(samples, samples)], "{parts}");
    }
}

#[test]
fn times_before_a_recording_are_seconds_from_its_beginning_and_that_is_told() {
    let second = 1_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let records = samples_at(&[5002 * second, 5003 * second, 5009 * second]);
    let mut names = StoredNames::default();
    names.span = Some((5000 * second, 5010 * second));
    records.save(&path, Features::default(), Some(&names));
    let loaded = |parts: &str| {
        let options = ReadOptions {
            time: Some(TimeSlices::parse(parts).unwrap()),
            ..ReadOptions::new(&path)
        };
        load(&options, Wanted::default()).unwrap()
    };
    for (parts, samples) in [("0,1", 0), ("2,3", 2), ("3,", 2), ("0,4000", 3)] {
        let loaded = loaded(parts);
        assert_eq!(loaded.profile.total(0).samples, samples, "{parts}");
        let recorded = (5000 * second, 5010 * second);
        assert_eq!(loaded.recorded, Some(recorded));
        assert_eq!(loaded.warnings, [Warning::FromStart { recorded }]);
    }
    let by_its_clock = loaded("5002,5003");
    assert_eq!(by_its_clock.profile.total(0).samples, 2);
    assert_eq!(by_its_clock.warnings, []);
    assert_eq!(by_its_clock.facts().duration_ns, second); // of what was asked for
    let all = load(&ReadOptions::new(&path), Wanted::default()).unwrap();
    assert_eq!(all.facts().duration_ns, 10 * second);
}

#[test]
fn a_time_of_the_day_needs_a_recording_that_knows_it() {
    let (_dir, path) = saved(&samples_at(&[1000, 2000]));
    let options = ReadOptions {
        time: Some(TimeSlices::parse("03:12:05,03:12:10").unwrap()),
        ..ReadOptions::new(&path)
    };
    let error = load(&options, Wanted::default()).err().unwrap();
    assert!(matches!(error, LoadError::NoClock { asked, .. } if asked == "03:12:05,03:12:10"));
}

#[test]
fn shares_of_a_pipes_time_are_found_in_its_samples() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    samples_at(&[1000, 1500, 2000]).save_as_pipe(&path);
    let options = ReadOptions {
        time: Some(TimeSlices::parse("50%-100%").unwrap()),
        ..ReadOptions::new(path)
    };
    let loaded = load(&options, Wanted::default()).unwrap();
    assert_eq!(weights(&loaded.profile), [(2, 2)]);
}

#[test]
fn shares_of_a_recording_without_times_cannot_be_chosen_and_of_its_times_nothing_is() {
    let timeless = EventAttr {
        sample_type: attr(0).sample_type & !sample::TIME,
        ..attr(0)
    };
    let mut records = Records::of(one_event(timeless));
    records.sample(&Sampled::default());
    let (_dir, path) = saved(&records);
    let mut options = ReadOptions {
        time: Some(TimeSlices::parse("10%-20%").unwrap()),
        ..ReadOptions::new(&path)
    };
    let error = load(&options, Wanted::default()).err().unwrap();
    let said = format!("the samples of `{}` have no times", path.display());
    assert_eq!(error.to_string(), said);
    assert!(matches!(error, LoadError::NoTimes { asked, .. } if asked == "10%-20%"));
    options.time = Some(TimeSlices::parse("0,").unwrap());
    let loaded = load(&options, Wanted::default()).unwrap();
    assert_eq!(weights(&loaded.profile), [(0, 0)]);
    options.time = None;
    let loaded = load(&options, Wanted::default()).unwrap();
    assert_eq!(weights(&loaded.profile), [(1, 1)]);
}

#[test]
fn without_a_choice_samples_without_times_are_wanted_and_with_one_they_are_not() {
    let (_dir, path) = saved(&samples_at(&[1000]));
    let has = |parts: Option<&str>, time| {
        let options = ReadOptions {
            time: parts.map(|parts| TimeSlices::parse(parts).unwrap()),
            ..ReadOptions::new(&path)
        };
        let mut recording = Recording::open(&path).unwrap();
        let selection = Selection::new(&mut recording, &options, Wanted::default());
        selection.unwrap().has(time)
    };
    assert!(has(None, None) && has(None, Some(7)));
    assert!(!has(Some("0,"), None) && has(Some("0,"), Some(7)));
}

#[test]
fn words_that_are_no_part_of_a_recording_are_told() {
    let error = TimeSlices::parse("yesterday").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`yesterday` names no part of a recording"
    );
}
