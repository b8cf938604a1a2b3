//! Recordings with branches, which no machine of ours can make: a recording of a real process, to whose samples
//! branches between the places that it was sampled at are added.

use std::collections::HashMap;

use prof_event::abi::{branch, record, sample};
use prof_event::{EventAttr, Record, Sample};
use prof_model::CpuMode;
use prof_perfdata::Recording;

use crate::big_endian::turned;
use crate::handmade::Handmade;
use crate::lab::Lab;

/// How such a recording is made.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// The index in the hardware's stack stands in front of the branches.
    has_index: bool,
    /// Samples lie nowhere, so that perf loads no file because of them.
    nowhere: bool,
    /// perf does not say that it is about branches.
    unsaid: bool,
    /// Only what Linux knew of branches before 6.1.
    is_old: bool,
}

/// Records with stock perf and writes the same with branches.
fn record(lab: &Lab, name: &str, kind: Kind) {
    assert!(lab.record("plain.data", "-F 999"));
    let mut plain = Recording::open(&lab.place.file("plain.data")).unwrap();
    let event = plain.events().events()[0].clone();
    let attr = EventAttr {
        sample_type: event.attr.sample_type | sample::BRANCH_STACK,
        branch_sample_type: 1 << 3 | if kind.has_index { branch::HW_INDEX } else { 0 }, // any
        ..event.attr
    };
    let mut features = plain.features().clone();
    features.branch_stacks = !kind.unsaid;
    let mut places: HashMap<i32, Vec<u64>> = HashMap::new();
    each(&mut plain, |_, record| {
        if let Record::Sample(sample) = record {
            let of_process = places.entry(sample.pid.0).or_insert_with(Vec::new);
            of_process.extend(user_code(sample));
        }
    });
    places
        .values_mut()
        .for_each(|it| it.extend(kernel_function()));
    let mut branches = Handmade::create(lab.place.file(name), &event.name, attr);
    let mut number = 0;
    each(&mut plain, |bytes, record| {
        let Record::Sample(sample) = record else {
            branches.put_whole(bytes);
            return;
        };
        if user_code(sample).is_none() {
            return;
        }
        number += 1;
        let places = &places[&sample.pid.0];
        branches.put(record::SAMPLE, 2, |out| {
            let ip = if kind.nowhere { 0 } else { sample.ip.0 };
            out.u64(ip).bytes(&bytes[16..]); // only the instruction stands in front
            out.u64(number % 5);
            if kind.has_index {
                out.u64(number.wrapping_sub(3));
            }
            for index in 0..number % 5 {
                let [from, to, mut flags] = branch_of(number * 5 + index, places);
                if kind.is_old {
                    flags &= (1 << 23) - 1;
                }
                out.u64(from).u64(to).u64(flags);
            }
        });
    });
    branches.finish(features);
}

/// The instruction of a sample in user code: the kernel's may have two names.
fn user_code(sample: &Sample<'_>) -> Option<u64> {
    (sample.mode == CpuMode::User).then_some(sample.ip.0)
}

/// A function of the kernel with one name, unless it hides them.
fn kernel_function() -> Option<u64> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").ok()?;
    let mut lines = symbols.lines().map(|line| line.split_once(' ').unwrap());
    let known = lines.clone().map(|(address, _)| address);
    let uses = known.fold(HashMap::new(), |mut uses: HashMap<_, u32>, address| {
        *uses.entry(address).or_default() += 1;
        uses
    });
    let found = lines.find(|(address, name)| name.starts_with("T vfs_") && uses[address] == 1);
    u64::from_str_radix(found?.0, 16).ok()
}

/// From, to and flags: nearly all of the process's own places, some from nowhere or into the kernel, and of
/// each kind. Always predicted or not: of others perf prints what it printed last.
fn branch_of(seed: u64, places: &[u64]) -> [u64; 3] {
    let place = |seed: u64| match seed % 23 {
        22 => 0,
        21 => 0x1234,
        20 => 0xffff_ffff_ffff_0000,
        19 => places[places.len() - 1], // the kernel's
        _ => places[seed as usize % 7 % places.len()],
    };
    let flags = 1 << (seed % 2) | seed % 3 / 2 << 2 | seed % 7 / 6 << 3;
    let cycles = [0, 1, 30, 65_535][seed as usize % 4];
    [
        place(seed),
        place(seed * 3 + 1),
        flags | cycles << 4 | seed % 16 << 20 | seed % 8 << 26,
    ]
}

/// Visits the records that the kernel writes.
fn each(recording: &mut Recording, mut visit: impl FnMut(&[u8], &Record<'_>)) {
    const FIRST_OF_PERF: u32 = 64;
    let result: Result<(), prof_perfdata::Error> = recording.for_each(|item| {
        if item.raw.kind < FIRST_OF_PERF {
            visit(item.raw.bytes, &item.decoded.record);
        }
        Ok(())
    });
    result.unwrap();
}

/// The same lines; says which one is not.
fn assert_same(ours: &str, theirs: &str, what: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
}

#[test]
fn branches_are_printed_by_address_function_and_offset_as_perf_prints_them() {
    let Some(lab) = Lab::new() else { return };
    let index = Kind {
        has_index: true,
        ..Kind::default()
    };
    let nowhere = Kind {
        nowhere: true,
        ..Kind::default()
    };
    let mut fields = vec![
        "ip,brstack",
        "comm,tid,time,brstacksym",
        "ip,sym,brstacksym",
        "ip,sym,symoff,dso,brstacksym",
        "ip,dso,brstack",
        "brstack,brstacksym",
        "brstackoff,brstacksym",
    ];
    for (name, kind) in [
        ("branches.data", Kind::default()),
        ("index.data", index),
        ("nowhere.data", nowhere),
    ] {
        record(&lab, name, kind);
        if kind.nowhere {
            fields = vec!["comm,brstackoff"]; // perf gives addresses for offsets in files that it loaded
        }
        for fields in &fields {
            let options = format!("script -F {fields}");
            let ours = lab.prof(&options, name).ok().out;
            let theirs = lab.perf(&options, name).ok().out;
            assert!(ours.contains("/P/-/-/"), "{ours}");
            assert_same(&ours, &theirs, &format!("{name} {fields}"));
        }
    }
}

#[test]
fn branches_of_a_big_endian_machine_are_the_same() {
    let Some(lab) = Lab::new() else { return };
    let old = Kind {
        is_old: true, // the kinds of newer ones perf does not turn
        ..Kind::default()
    };
    record(&lab, "branches.data", old);
    turned(&lab.place.file("branches.data"), &lab.place.file("turned"));
    let script = "script -F ip,brstack";
    let theirs = lab.perf(script, "branches.data").ok().out;
    assert_eq!(lab.perf(script, "turned").ok().out, theirs, "by perf");
    assert_eq!(lab.prof(script, "turned").ok().out, theirs);
}

#[test]
fn branches_that_were_not_recorded_are_refused_with_how_to_record_them() {
    let Some(lab) = Lab::new() else { return };
    for command in ["script -F ip,brstacksym", "script -F brstackoff"] {
        let ran = lab.prof(command, "probe.data").failed(1);
        ran.says(&["brstack", "perf record -b"]);
    }
}
