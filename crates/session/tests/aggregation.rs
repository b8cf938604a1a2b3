//! Samples that a thread of its own aggregates.

mod common;

use std::sync::Arc;

use common::{KERNEL, KERNEL_MODE, NOBODY, Records, Sampled, TEXT, attr, event_set, live};
use prof_event::EventSet;
use prof_event::abi::{callchain, record};
use prof_model::VirtAddr;
use prof_profile::{Detail, Profile};
use prof_session::{Keep, Pipeline};

/// More than the batches that may wait hold.
const SAMPLES: u64 = 5000;

fn events() -> EventSet {
    event_set([("cycles", attr(0)), ("cs", attr(0))])
}

/// Samples with a few hundred callchains, in and outside the kernel, whose kernel changes on the way.
fn records() -> Records {
    let mut records = Records::of_nobody(events());
    for time in 1..=SAMPLES {
        let kernel = [
            callchain::KERNEL,
            KERNEL.start + time % 7,
            KERNEL.start + time % 5,
        ];
        let user = [
            callchain::USER,
            TEXT.start + time % 11,
            TEXT.start + time % 13,
        ];
        let chain = match time % 4 {
            0 => kernel.to_vec(),
            1 => user.to_vec(),
            _ => [kernel, user].concat(),
        };
        records.sample(&Sampled {
            id: 1 + time % 2,
            mode: KERNEL_MODE,
            tid: NOBODY + (time % 3) as u32,
            period: time,
            time,
            chain,
            ..Sampled::default()
        });
        if time == SAMPLES / 2 {
            records.kernel_text(time, KERNEL.start..KERNEL.start + 6, "[other]");
        }
    }
    records
}

/// What is to become of the sample with that number, which has so many frames.
fn keep(number: u64, frames: usize) -> Keep {
    match number % 9 {
        0..4 => Keep::Sample,
        4..6 => Keep::Detailed(Detail {
            interval: number / 100,
            text: Arc::from(format!("text {}", number % 3)),
            ..Detail::default()
        }),
        6 => Keep::Logged(vec![VirtAddr(number); frames]),
        7 => Keep::Frames,
        _ => Keep::Nothing,
    }
}

fn fill(mut pipeline: Pipeline) -> Profile {
    let records = records();
    let mut number = 0;
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        pipeline.take_as(&records.events, &decoded, None, |_, placed, _| {
            number += 1;
            keep(number, placed.all_frames().count())
        });
    }
    assert_eq!(number, SAMPLES);
    pipeline.finish();
    pipeline.profile
}

#[test]
fn a_profile_is_the_same_whether_it_was_aggregated_beside_or_in_place() {
    let in_place = fill(live(&events()));
    let mut pipeline = live(&events());
    pipeline.aggregate_beside();
    let beside = fill(pipeline);
    assert_eq!(common::entries(&beside), common::entries(&in_place));
    let frames = |profile: &Profile| -> Vec<_> { profile.frames().map(|it| *it.1).collect() };
    assert_eq!(frames(&beside), frames(&in_place));
    for event in 0..2 {
        let details = |profile: &Profile| {
            let detailed = profile.detailed_samples(event).into_iter();
            let detailed =
                detailed.map(|(key, detail, weight)| (key, profile.detail(detail).clone(), weight));
            detailed.collect::<Vec<_>>()
        };
        assert_eq!(details(&beside), details(&in_place));
        assert!(!details(&beside).is_empty());
    }
    assert_eq!(log(&beside), log(&in_place));
    assert_eq!(beside.ends(), in_place.ends());
    assert_eq!(beside.times(), in_place.times());
    assert_eq!(beside.events, in_place.events);
}

/// Time, period and addresses of the samples that were logged, and how many frames they have.
fn log(profile: &Profile) -> Vec<(Option<u64>, u64, Vec<VirtAddr>, usize)> {
    let log = profile.log().unwrap();
    let samples = (0..log.len()).flat_map(|block| log.block(block));
    samples
        .map(|it| (it.time, it.period, it.addresses.to_vec(), it.frames.count()))
        .collect()
}

#[test]
fn what_is_to_become_of_a_sample_decides_where_it_is_counted() {
    let profile = fill(live(&events()));
    let counted = (1..=SAMPLES).filter(|number| number % 9 < 6);
    let mut expected = [(0, 0); 2];
    for number in counted {
        let (samples, period) = &mut expected[(number % 2) as usize];
        *samples += 1;
        *period += number;
    }
    assert_eq!(common::weights(&profile), expected);
    let logged: Vec<_> = (1..=SAMPLES).filter(|number| number % 9 == 6).collect();
    let found = log(&profile);
    let times: Vec<_> = found.iter().map(|it| it.1).collect();
    assert_eq!(times, logged);
    assert_eq!(found[0].2, vec![VirtAddr(6); 4]);
    assert!(
        found
            .iter()
            .all(|(.., addresses, frames)| addresses.len() == *frames)
    );
}

#[test]
fn a_sample_of_which_only_frames_are_kept_is_not_counted_and_one_of_nothing_leaves_none() {
    for (keep, frames) in [(Keep::Frames, 1), (Keep::Nothing, 0)] {
        for is_beside in [false, true] {
            let mut records = Records::of_nobody(events());
            records.sample(&Sampled::default());
            let mut pipeline = live(&records.events);
            if is_beside {
                pipeline.aggregate_beside();
            }
            for raw in records.iter() {
                let decoded = records.events.decode(raw).unwrap();
                pipeline.take_as(&records.events, &decoded, None, |_, _, _| keep.clone());
            }
            pipeline.finish();
            assert_eq!(pipeline.profile.len(), 0);
            assert_eq!(pipeline.profile.frames().len(), frames);
        }
    }
}

#[test]
fn losses_are_counted_beside_the_thread_that_aggregates() {
    let mut records = Records::of_nobody(events());
    records.put(1, (record::LOST, 0), |record| {
        record.u64(1).u64(40);
    });
    records.put(2, (record::LOST_SAMPLES, 0), |record| {
        record.u64(7);
    });
    for kind in [record::THROTTLE, record::UNTHROTTLE, record::THROTTLE] {
        records.put(3, (kind, 0), |record| {
            record.u64(3).u64(1).u64(1);
        });
    }
    let mut pipeline = live(&records.events);
    pipeline.aggregate_beside();
    common::take_all(&mut pipeline, &records);
    pipeline.finish();
    let losses = pipeline.profile.losses;
    let counts = (losses.lost_records, losses.lost_samples, losses.throttled);
    assert_eq!(counts, (40, 7, 2));
    assert_eq!(pipeline.last_time(), 3);
}
