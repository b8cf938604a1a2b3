//! Samples in, entries, addresses and names out.

use std::sync::Arc;

use prof_model::{
    ChainEnd, Cpu, CpuMode, DsoAddr, DsoId, Pid, Reason, Resolution, Symbol, SymbolSource, Tid,
    VirtAddr,
};
use prof_profile::{EventInfo, FrameKey, Names, PartId, Profile, Sample, StackId, Weight};

fn frame(dso: u32, addr: u64) -> FrameKey {
    FrameKey {
        mode: CpuMode::User,
        dso: Some(DsoId(dso)),
        shown: addr,
        lookup: addr,
    }
}

fn caller(dso: u32, addr: u64) -> FrameKey {
    FrameKey {
        lookup: addr - 1,
        ..frame(dso, addr)
    }
}

fn sample(frames: &[FrameKey]) -> Sample<'_> {
    Sample {
        event: 0,
        pid: Pid(7),
        tid: Tid(8),
        comm: None,
        cpu: None,
        time: None,
        period: 10,
        frames,
        inner: None,
        end: ChainEnd::Root,
    }
}

fn profile(stacks: &[&[FrameKey]]) -> Profile {
    let mut profile = Profile::new(vec![EventInfo::default()]);
    for frames in stacks {
        profile.add(&sample(frames));
    }
    profile
}

fn named(name: &str) -> Resolution {
    Resolution::Named {
        symbol: Symbol {
            name: Arc::from(name),
            raw: Arc::from(name),
            start: 0,
            size: 1,
            source: SymbolSource::Symtab,
        },
        inlined: Vec::new(),
        location: None,
    }
}

#[test]
fn equal_samples_are_one_entry_with_the_sum_of_their_weights() {
    let stack = [frame(0, 0x10), caller(0, 0x20)];
    let profile = profile(&[&stack, &[frame(0, 0x11), caller(0, 0x20)], &stack]);
    let entries = profile.sorted_samples(0);
    let weights: Vec<_> = entries
        .iter()
        .map(|(key, weight)| {
            let inner = profile.stacks().frames(key.stack).next().unwrap();
            (profile.frame(inner).shown, *weight)
        })
        .collect();
    let weight = |samples, period| Weight { samples, period };
    assert_eq!(weights, [(0x10, weight(2, 20)), (0x11, weight(1, 10))]);
    assert_eq!(profile.total(0), weight(3, 30));
    assert_eq!(profile.total(1), weight(0, 0));
}

#[test]
fn what_differs_by_thread_cpu_or_end_stays_apart() {
    let frames = [frame(0, 0x10)];
    let mut profile = profile(&[&frames]);
    profile.add(&Sample {
        tid: Tid(9),
        ..sample(&frames)
    });
    profile.add(&Sample {
        cpu: Some(Cpu(1)),
        ..sample(&frames)
    });
    profile.add(&Sample {
        end: ChainEnd::TruncatedCopy,
        ..sample(&frames)
    });
    assert_eq!(profile.len(), 4);
    assert_eq!(profile.stacks().len(), 2);
    assert_eq!(profile.ends(), [3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_stack_is_found_again_whatever_came_before_it() {
    let stacks: [&[FrameKey]; 4] = [
        &[frame(0, 1), caller(0, 2), caller(0, 3)],
        &[frame(0, 3)],
        &[frame(0, 1), caller(0, 9)],
        &[caller(0, 2), caller(0, 3)],
    ];
    let mut profile = Profile::default();
    let first: Vec<StackId> = stacks.iter().map(|frames| profile.intern(frames)).collect();
    for &from in &stacks {
        for (to, &id) in stacks.iter().zip(&first) {
            profile.intern(from);
            assert_eq!(profile.intern(to), id);
        }
    }
    assert_eq!(
        profile.stacks().split(first[0]).unwrap().1,
        first[3],
        "the callers of a stack are a stack"
    );
}

#[test]
fn a_known_part_makes_the_same_entry_as_its_frames_do() {
    let kernel = |addr| FrameKey {
        mode: CpuMode::Kernel,
        ..frame(1, addr)
    };
    let whole = [kernel(1), kernel(2), frame(0, 3), caller(0, 4)];
    let other = [kernel(1), kernel(2), frame(0, 9)];
    let alone = [kernel(1), kernel(2)];
    let mut profile = Profile::default();
    for frames in [&whole[..], &other, &alone] {
        profile.add(&sample(frames));
        let (inner, callers) = frames.split_at(2);
        // Once known, the frames of a part are not looked at again.
        for inner in [inner, &[]] {
            profile.add(&Sample {
                inner: Some((PartId(3), inner)),
                ..sample(callers)
            });
        }
    }
    let entries = profile.sorted_samples(0);
    let stacks = entries.iter().map(|(key, weight)| {
        assert_eq!(weight.samples, 3);
        let frames = profile.stacks().frames(key.stack);
        frames.map(|id| *profile.frame(id)).collect::<Vec<_>>()
    });
    let stacks: Vec<_> = stacks.collect();
    assert_eq!(stacks.len(), 3);
    for frames in [&whole[..], &other, &alone] {
        assert!(stacks.iter().any(|stack| stack == frames), "{frames:?}");
    }
}

#[test]
fn a_sample_without_frames_counts_as_one_frame_at_zero() {
    let profile = profile(&[&[]]);
    let (key, _) = profile.sorted_samples(0)[0];
    let frames: Vec<_> = profile.stacks().frames(key.stack).collect();
    assert_eq!(frames.len(), 1);
    assert_eq!(*profile.frame(frames[0]), FrameKey::default());
}

#[test]
fn the_first_and_last_time_do_not_depend_on_the_order_of_samples() {
    let mut profile = Profile::default();
    assert_eq!(profile.times(), None);
    for time in [50, 10, 30] {
        profile.add(&Sample {
            time: Some(time),
            ..sample(&[])
        });
    }
    assert_eq!(profile.times(), Some((10, 50)));
}

#[test]
fn periods_that_overflow_stay_at_the_limit() {
    let mut profile = Profile::default();
    for _ in 0..2 {
        profile.add(&Sample {
            period: u64::MAX,
            ..sample(&[])
        });
    }
    assert_eq!(profile.total(0).period, u64::MAX);
    assert_eq!(profile.total(0).samples, 2);
}

#[test]
fn each_address_is_looked_up_once_and_calls_before_their_return_address() {
    let profile = profile(&[
        &[frame(1, 0x30), caller(0, 0x20)],
        &[frame(1, 0x10), caller(0, 0x20)],
        &[frame(0, 0x1f)],
        &[FrameKey {
            dso: None,
            ..frame(0, 0x99)
        }],
    ]);
    let addrs = |addrs: &[u64]| addrs.iter().map(|&addr| DsoAddr(addr)).collect::<Vec<_>>();
    let mut asked = Vec::new();
    Names::build_at_once(&profile, |requests| {
        asked = requests.to_vec();
        Vec::new()
    });
    assert_eq!(
        asked,
        [(DsoId(0), addrs(&[0x1f])), (DsoId(1), addrs(&[0x10, 0x30]))]
    );
}

#[test]
fn answers_reach_the_frames_they_belong_to() {
    let unmapped = FrameKey {
        dso: None,
        ..frame(0, 0x99)
    };
    let mut profile = profile(&[&[frame(1, 0x30), caller(0, 0x20), unmapped]]);
    let ask = |dso: DsoId, addrs: &[DsoAddr]| -> Vec<Resolution> {
        addrs
            .iter()
            .map(|addr| named(&format!("{}:{:x}", dso.0, addr.0)))
            .collect()
    };
    let mut names = Names::build(&profile, ask);
    let get =
        |profile: &Profile, names: &Names, key| names.get(profile.frame_id(&key).unwrap()).clone();
    assert_eq!(get(&profile, &names, frame(1, 0x30)), named("1:30"));
    assert_eq!(get(&profile, &names, caller(0, 0x20)), named("0:1f"));
    assert_eq!(
        get(&profile, &names, unmapped),
        Resolution::Unresolved(Reason::NoMapping)
    );

    profile.add(&sample(&[frame(1, 0x31), caller(0, 0x20)]));
    let late = Resolution::Unresolved(Reason::NoSymbol);
    assert_eq!(get(&profile, &names, frame(1, 0x31)), late);
    let mut asked = Vec::new();
    names.extend(&profile, |dso, addrs| {
        asked.push((dso, addrs.to_vec()));
        Vec::new()
    });
    assert_eq!(asked, [(DsoId(1), vec![DsoAddr(0x31)])]);
    assert_eq!(get(&profile, &names, frame(1, 0x31)), late);
    assert_eq!(get(&profile, &names, frame(1, 0x30)), named("1:30"));
}

#[test]
fn a_log_has_each_sample_as_it_came() {
    let (inner, outer) = (frame(0, 10), caller(1, 20));
    let mut profile = Profile::new(vec![EventInfo::default(); 2]);
    let stack = [inner, outer];
    let first = Sample {
        cpu: Some(Cpu(1)),
        time: Some(0),
        ..sample(&stack)
    };
    let second = Sample {
        event: 1,
        period: 7,
        ..sample(&stack[1..])
    };
    let address = [VirtAddr(5)];
    for _ in 0..300 {
        profile.add_to_log(&first, &[]);
        profile.add_to_log(&second, &address);
    }
    assert!(profile.is_empty()); // nothing is counted
    assert!(profile.has_samples(1));
    let log = profile.log().unwrap();
    let samples = (0..log.len()).flat_map(|block| log.block(block));
    let ids = |frames: &[FrameKey]| -> Vec<_> {
        let ids = frames.iter().map(|key| profile.frame_id(key).unwrap());
        ids.collect()
    };
    let mut count = 0;
    for (number, logged) in samples.enumerate() {
        let (sample, addresses) = match number % 2 {
            0 => (&first, &[][..]),
            _ => (&second, &address[..]),
        };
        assert_eq!(logged.key.event, sample.event);
        assert_eq!((logged.key.pid, logged.key.tid), (sample.pid, sample.tid));
        assert_eq!((logged.key.cpu, logged.time), (sample.cpu, sample.time));
        assert_eq!(logged.period, sample.period);
        assert_eq!(logged.frames.collect::<Vec<_>>(), ids(sample.frames));
        assert_eq!(logged.addresses, addresses);
        count += 1;
    }
    assert_eq!(count, 600);
}

#[test]
fn a_log_that_would_be_too_large_leaves_frames_only() {
    let mut profile = Profile::new(vec![EventInfo::default()]);
    let many = vec![VirtAddr(0); 1 << 20];
    let (before, behind) = ([frame(0, 10)], [frame(0, 20), caller(0, 30)]);
    profile.add_to_log(&sample(&before), &many);
    assert!(profile.log().is_some());
    for _ in 0..4 {
        profile.add_to_log(&sample(&before), &many);
    }
    profile.add_to_log(&sample(&behind), &[]);
    assert!(profile.log().is_none());
    assert!(profile.has_samples(0));
    let frames: Vec<u64> = profile.frames().map(|(_, key)| key.shown).collect();
    assert_eq!(frames, [10, 20, 30]);
}

#[test]
fn a_resolver_that_answers_for_nothing_leaves_frames_without_a_symbol() {
    let unmapped = FrameKey {
        dso: None,
        ..frame(0, 0x99)
    };
    let profile = profile(&[&[frame(1, 0x30), unmapped]]);
    let reason = |names: &Names, key: &FrameKey| match names.get(profile.frame_id(key).unwrap()) {
        Resolution::Unresolved(reason) => *reason,
        named => panic!("{named:?}"),
    };
    for answers in [Vec::new(), vec![Vec::new()]] {
        let names = Names::build_at_once(&profile, |_| answers);
        assert_eq!(reason(&names, &frame(1, 0x30)), Reason::NoSymbol);
        assert_eq!(reason(&names, &unmapped), Reason::NoMapping);
    }
}
