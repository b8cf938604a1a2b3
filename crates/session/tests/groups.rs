//! A sample of a group of events tells the counters of all of them.

mod common;

use common::{NOBODY, Records, Sampled, attr, event_set, live, take_all, weights};
use prof_event::abi::{flag, sample};
use prof_event::{EventAttr, EventSet, Record};
use prof_perfdata::Features;
use prof_session::load::load;
use prof_session::{ReadOptions, TimeSlices, Wanted};

/// Two events of one group, with the ids 1 and 2.
fn group(flags: u64) -> EventSet {
    let member = || {
        let attr = attr(sample::READ);
        EventAttr {
            flags: attr.flags | flags,
            ..attr
        }
    };
    event_set([("cycles", member()), ("instructions", member())])
}

/// A sample of the leader, at which the counters stood at `first` and `second`.
fn counted(time: u64, tid: u32, [first, second]: [u64; 2]) -> Sampled {
    Sampled {
        time,
        tid,
        chain: vec![0x40_0010],
        counters: vec![(first, 1), (second, 2)],
        ..Sampled::default()
    }
}

/// Three samples, at the second of which only the leader has counted on.
fn three_samples() -> Records {
    let mut records = Records::of_nobody(group(0));
    records.sample(&counted(100, NOBODY, [100, 7]));
    records.sample(&counted(200, NOBODY, [250, 7]));
    records.sample(&counted(300, NOBODY, [260, 9]));
    records
}

#[test]
fn a_groups_sample_makes_one_finished_sample_for_each_event_that_counted() {
    let records = three_samples();
    let mut pipeline = live(&records.events);
    let taken = take_all(&mut pipeline, &records);
    let each: Vec<_> = taken.into_iter().map(|taken| taken.weights).collect();
    assert_eq!(
        each,
        [
            vec![(0, 100), (1, 7)],
            vec![(0, 150)],
            vec![(0, 10), (1, 2)]
        ]
    );
    assert_eq!(weights(&pipeline.profile), [(3, 260), (2, 9)]);
}

#[test]
fn a_file_makes_the_same_of_groups_as_a_recording_that_runs() {
    let records = three_samples();
    let mut pipeline = live(&records.events);
    take_all(&mut pipeline, &records);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    records.save(&path, Features::default(), None);
    let loaded = load(&ReadOptions::new(path), Wanted::default()).unwrap();
    let entries = common::entries(&loaded.profile);
    assert_eq!(entries, common::entries(&pipeline.profile));
    assert_eq!(weights(&loaded.profile), [(3, 260), (2, 9)]);
}

#[test]
fn what_was_counted_by_a_sample_that_is_not_selected_is_in_no_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    three_samples().save(&path, Features::default(), None);
    let options = ReadOptions {
        time: Some(TimeSlices::parse("0.000000200,").unwrap()),
        ..ReadOptions::new(path)
    };
    let loaded = load(&options, Wanted::default()).unwrap();
    assert_eq!(weights(&loaded.profile), [(2, 160), (1, 2)]);
}

#[test]
fn what_was_counted_before_a_recording_began_is_in_none_of_its_samples() {
    let records = three_samples();
    let mut pipeline = live(&records.events);
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        match decoded.record {
            Record::Sample(sample) if sample.time == Some(100) => {
                pipeline.skip_raw(&records.events, raw);
            }
            _ => drop(pipeline.take(&records.events, &decoded, None)),
        }
    }
    assert_eq!(weights(&pipeline.profile), [(2, 160), (1, 2)]);
}

#[test]
fn each_thread_of_an_inherited_group_counts_for_itself_and_a_new_one_from_0() {
    let mut records = Records::of_nobody(group(flag::INHERIT));
    records.sample(&counted(100, NOBODY, [100, 1]));
    records.sample(&counted(110, 7, [40, 1]));
    records.exit(120, (NOBODY, 7));
    records.sample(&counted(130, 7, [10, 1])); // another thread with the number
    records.fork(140, (NOBODY, NOBODY), (NOBODY, 7));
    records.sample(&counted(150, NOBODY, [5, 1]));
    let taken = take_all(&mut live(&records.events), &records);
    let each: Vec<_> = taken.into_iter().map(|taken| taken.weights).collect();
    let both = |first| vec![(0, first), (1, 1)];
    assert_eq!(each, [both(100), both(40), both(10), both(5)]);
}

#[test]
fn a_file_gets_the_counters_of_all_threads_together() {
    let mut records = Records::of_nobody(group(flag::INHERIT));
    records.sample(&counted(100, NOBODY, [100, 7]));
    records.sample(&counted(110, 7, [40, 0]));
    let mut pipeline = live(&records.events);
    let mut written = Vec::new();
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        if let Some(taken) = pipeline.take(&records.events, &decoded, None) {
            let counters = taken.written().read.unwrap();
            written.push(counters.iter().map(|(value, _)| value).collect::<Vec<_>>());
        }
    }
    assert_eq!(written, [[100, 7], [140, 7]]);
}

#[test]
fn a_sample_without_counters_weighs_its_period() {
    let mut records = Records::of_nobody(event_set([("cycles", attr(0)), ("cs", attr(0))]));
    let sampled = Sampled {
        id: 2,
        period: 12_345,
        ..Sampled::default()
    };
    records.sample(&sampled);
    let mut pipeline = live(&records.events);
    let taken = take_all(&mut pipeline, &records);
    assert_eq!(taken[0].weights, [(1, 12_345)]);
    assert_eq!(weights(&pipeline.profile), [(0, 0), (1, 12_345)]);
}
