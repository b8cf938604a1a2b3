//! The branches of samples: counted instead of them, or only placed.

mod common;

use std::path::PathBuf;

use common::{IN_KERNEL, NOBODY, Records, TEXT, attr, one_event};
use prof_event::abi::{misc, record, sample};
use prof_model::{BranchFlags, CpuMode};
use prof_perfdata::Features;
use prof_profile::Profile;
use prof_session::load::load;
use prof_session::{BranchUse, LoadedRecording, ReadOptions, Wanted};
use tempfile::TempDir;

/// From, to and flags.
type Taken = [u64; 3];

const FAR: u64 = TEXT.start + 0x100;
const NEAR: u64 = TEXT.start + 0x200;

/// A recording of a sample for each of the lists, the kernel's part known.
fn recorded(samples: &[&[Taken]], said: bool) -> (TempDir, PathBuf) {
    let mut records = Records::of_nobody(one_event(attr(sample::BRANCH_STACK)));
    for (time, branches) in (1..).zip(samples) {
        records.put(time, (record::SAMPLE, misc::USER), |record| {
            record.u64(1).u64(NEAR).u32(NOBODY).u32(NOBODY).u64(time);
            record.u32(0).u32(0).u64(1000).u64(0); // no callchain
            record.u64(branches.len() as u64);
            for word in branches.iter().flatten() {
                record.u64(*word);
            }
        });
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let features = Features {
        branch_stacks: said,
        ..Features::default()
    };
    records.save(&path, features, None);
    (dir, path)
}

fn loaded(path: &PathBuf, branches: BranchUse) -> LoadedRecording {
    let wanted = Wanted {
        branches,
        ..Wanted::default()
    };
    load(&ReadOptions::new(path), wanted).unwrap()
}

/// Mode and address of both ends, what was noted, and how often.
type Counted = ([(CpuMode, u64); 2], BranchFlags, u64);

fn counted(profile: &Profile) -> Vec<Counted> {
    let samples = profile.detailed_samples(0).into_iter();
    let mut counted: Vec<_> = samples
        .map(|(key, detail, weight)| {
            let frames = profile.stacks().frames(key.stack);
            let frames: Vec<_> = frames.map(|frame| profile.frame(frame)).collect();
            let [to, from] = frames[..] else {
                panic!("two ends: {frames:?}");
            };
            assert_eq!(weight.samples, weight.period);
            let ends = [from, to].map(|end| (end.mode, end.shown));
            (ends, profile.detail(detail).branch, weight.samples)
        })
        .collect();
    counted.sort_unstable();
    counted
}

#[test]
fn each_branch_is_counted_once_and_how_it_went_tells_it_from_others() {
    const KIND: u64 = 3 << 20; // which reports do not tell apart
    let (_dir, path) = recorded(
        &[
            &[[NEAR, FAR, 2 | KIND], [FAR, NEAR, 1 | 30 << 4]],
            &[],
            &[[NEAR, FAR, 2], [NEAR, FAR, 2], [NEAR, FAR, 1]],
        ],
        true,
    );
    let (near, far) = ((CpuMode::User, 0x200), (CpuMode::User, 0x100));
    let recording = loaded(&path, BranchUse::Counted);
    assert_eq!(
        counted(&recording.profile),
        [
            ([far, near], BranchFlags(1 | 30 << 4), 1),
            ([near, far], BranchFlags(1), 1),
            ([near, far], BranchFlags(2), 3),
        ]
    );
    assert!(recording.counts_branches);
}

#[test]
fn an_end_is_the_kernels_or_nobodys_by_what_is_mapped_there() {
    const UNMAPPED: u64 = 0x1234;
    const ABOVE: u64 = 0xffff_ffff_ffff_0000;
    let (_dir, path) = recorded(&[&[[NEAR, IN_KERNEL, 0], [UNMAPPED, ABOVE, 0]]], true);
    let recording = loaded(&path, BranchUse::Counted);
    let none = BranchFlags(0);
    assert_eq!(
        counted(&recording.profile),
        [
            (
                [(CpuMode::Unknown, UNMAPPED), (CpuMode::Unknown, ABOVE)],
                none,
                1
            ),
            (
                [(CpuMode::User, 0x200), (CpuMode::Kernel, IN_KERNEL)],
                none,
                1
            ),
        ]
    );
}

#[test]
fn a_recording_is_counted_by_branches_where_it_says_that_it_is_about_them() {
    for said in [false, true] {
        let (_dir, path) = recorded(&[&[[NEAR, FAR, 2], [FAR, NEAR, 2]]], said);
        let recording = loaded(&path, BranchUse::CountedIfUsual);
        assert_eq!(recording.counts_branches, said);
        let total = recording.profile.total(0);
        let expected = if said { (2, 2) } else { (1, 1000) };
        assert_eq!((total.samples, total.period), expected);
    }
}

#[test]
fn ends_of_branches_are_named_where_only_their_places_are_wanted() {
    let (_dir, path) = recorded(&[&[[FAR, FAR, 0], [FAR, IN_KERNEL, 0]]], true);
    let frames = |branches| {
        let recording = loaded(&path, branches);
        assert_eq!(recording.profile.total(0).samples, 1);
        let mut frames: Vec<_> = recording
            .profile
            .frames()
            .map(|(_, key)| key.shown)
            .collect();
        frames.sort_unstable();
        frames
    };
    assert_eq!(frames(BranchUse::Ignored), [0x200]);
    assert_eq!(frames(BranchUse::Placed), [0x100, 0x200, IN_KERNEL]);
}
