//! Which samples of a recording are read, and what is noted beside them.

mod common;

use std::path::Path;

use common::{NOBODY, Records, Sampled, attr, event_set, one_event, samples_at, saved, weights};
use prof_event::EventAttr;
use prof_event::abi::{event_type, read_format, record, sample};
use prof_model::{CpuMode, Pid, Tid};
use prof_profile::{FrameKey, Profile};
use prof_session::load::load;
use prof_session::{LoadedRecording, ReadOptions, Wanted};

fn load_with(path: &Path, wanted: Wanted) -> LoadedRecording {
    load(&ReadOptions::new(path), wanted).unwrap()
}

/// Start and samples of each interval.
fn intervals(profile: &Profile) -> Vec<(u64, u64)> {
    let detailed = profile.detailed_samples(0).into_iter();
    let mut intervals: Vec<_> = detailed
        .map(|(_, detail, weight)| (profile.detail(detail).interval, weight.samples))
        .collect();
    intervals.sort_unstable();
    intervals
}

#[test]
fn intervals_begin_at_multiples_of_their_length() {
    let (_dir, path) = saved(&samples_at(&[99, 100, 199, 350]));
    let interval = Some(100);
    let loaded = load_with(
        &path,
        Wanted {
            interval,
            ..Wanted::default()
        },
    );
    assert_eq!(intervals(&loaded.profile), [(0, 1), (100, 2), (300, 1)]);
    assert_eq!(weights(&loaded.profile), [(4, 4)]);
}

#[test]
fn slices_share_the_time_from_the_first_sample_to_the_last() {
    let (_dir, path) = saved(&samples_at(&[1000, 1099, 1500, 2000]));
    let slices = Some(10); // of 101 ns
    let loaded = load_with(
        &path,
        Wanted {
            slices,
            ..Wanted::default()
        },
    );
    assert_eq!(
        intervals(&loaded.profile),
        [(909, 1), (1010, 1), (1414, 1), (1919, 1)]
    );
}

#[test]
fn slices_of_a_recording_whose_length_is_not_known_have_10_ms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    samples_at(&[9_999_999, 10_000_000, 25_000_000]).save_as_pipe(&path);
    let slices = Some(10);
    let loaded = load_with(
        &path,
        Wanted {
            slices,
            ..Wanted::default()
        },
    );
    let starts = [(0, 1), (10_000_000, 1), (20_000_000, 1)];
    assert_eq!(intervals(&loaded.profile), starts);
}

#[test]
fn an_interval_that_was_asked_for_wins_over_slices() {
    let (_dir, path) = saved(&samples_at(&[1000, 2000]));
    let wanted = Wanted {
        interval: Some(300),
        slices: Some(10),
        ..Wanted::default()
    };
    let loaded = load_with(&path, wanted);
    assert_eq!(intervals(&loaded.profile), [(900, 1), (1800, 1)]);
}

#[test]
fn a_log_has_the_samples_one_by_one_in_the_order_of_their_times() {
    let (_dir, path) = saved(&samples_at(&[300, 100, 200]));
    let loaded = load_with(
        &path,
        Wanted {
            log: true,
            ..Wanted::default()
        },
    );
    let log = loaded.profile.log().unwrap();
    let times: Vec<_> = log.block(0).map(|it| it.time).collect();
    assert_eq!(times, [Some(100), Some(200), Some(300)]);
    assert_eq!(loaded.profile.len(), 0);
}

#[test]
fn where_only_names_are_wanted_no_sample_is_counted() {
    let (_dir, path) = saved(&samples_at(&[100, 200]));
    let only_frames = true;
    let loaded = load_with(
        &path,
        Wanted {
            only_frames,
            ..Wanted::default()
        },
    );
    assert_eq!(loaded.profile.len(), 0);
    let frames: Vec<_> = loaded.profile.frames().map(|(_, key)| key.shown).collect();
    assert_eq!(frames, [8]);
}

#[test]
fn a_thread_has_counted_what_its_read_records_say_last() {
    let of_read = EventAttr {
        read_format: read_format::ID,
        ..attr(0)
    };
    let events = event_set([("cycles", of_read.clone()), ("cs", of_read)]);
    let mut records = Records::of_nobody(events);
    for (time, tid, value, id) in [(1, 7, 100, 1), (2, 7, 30, 2), (3, 8, 5, 2), (4, 7, 130, 1)] {
        records.put(time, (record::READ, 0), |record| {
            record.u32(NOBODY).u32(tid).u64(value).u64(id);
        });
    }
    let (_dir, path) = saved(&records);
    let counters = true;
    let loaded = load_with(
        &path,
        Wanted {
            counters,
            ..Wanted::default()
        },
    );
    let pid = Pid(NOBODY as i32);
    let counted: Vec<_> = loaded.counters.into_iter().collect();
    let expected = [((pid, Tid(7)), vec![130, 30]), ((pid, Tid(8)), vec![0, 5])];
    assert_eq!(counted, expected);
    assert!(load_with(&path, Wanted::default()).counters.is_empty());
}

#[test]
fn the_data_of_page_faults_is_named_where_that_is_wanted() {
    const DATA: u64 = 0x60_0000;
    let faults = EventAttr {
        config: 2,
        ..attr(sample::ADDR)
    };
    let mut records = Records::of_nobody(one_event(faults));
    records.map(0, NOBODY, DATA..DATA + 0x1000, 0x2000, "/lib/data");
    records.sample(&Sampled {
        addr: DATA + 5,
        ..Sampled::default()
    });
    let (_dir, path) = saved(&records);
    for (data, is_there) in [(true, true), (false, false)] {
        let loaded = load_with(
            &path,
            Wanted {
                data,
                ..Wanted::default()
            },
        );
        let mut dsos = loaded.profile.dsos.iter();
        let (dso, _) = dsos.find(|(_, dso)| dso.path == b"/lib/data").unwrap();
        let place = FrameKey {
            mode: CpuMode::User,
            dso: Some(dso),
            shown: 0x2005,
            lookup: 0x2005,
        };
        assert_eq!(loaded.profile.frame_id(&place).is_some(), is_there);
        assert_eq!(loaded.names.len(), 1 + usize::from(is_there));
    }
}

#[test]
fn what_only_tracepoints_have_is_wanted_of_them_alone_and_a_log_of_others() {
    let tracepoint = EventAttr {
        kind: event_type::TRACEPOINT,
        ..attr(sample::RAW)
    };
    for (attr, is_logged) in [(tracepoint, false), (attr(0), true)] {
        let mut records = Records::of_nobody(one_event(attr));
        records.sample(&Sampled::default());
        let (_dir, path) = saved(&records);
        let wanted = Wanted {
            usual_text: true,
            log: true,
            ..Wanted::default()
        };
        let loaded = load_with(&path, wanted);
        assert_eq!(loaded.profile.log().is_some(), is_logged);
        assert_eq!(
            loaded.profile.detailed_samples(0).len(),
            usize::from(!is_logged)
        );
    }
}
