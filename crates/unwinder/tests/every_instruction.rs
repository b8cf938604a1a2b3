//! A program single-steps itself. Its call and return instructions, one after the other, tell the
//! true callchain at every instruction, to which the unwinder's is compared.

mod support;

use std::sync::Arc;

use prof_model::ChainEnd;
use prof_unwinder::Unwinder;
use support::{FRAME_POINTER, Framehop, NO_FRAME_POINTER, Recorded, WHOLE, record};

/// The return addresses above each sample, innermost last, by watching calls and returns happen.
/// `outermost` are those above the first sample.
fn true_return_addresses(recorded: &Recorded, outermost: Vec<u64>) -> Vec<Vec<u64>> {
    let mut returns = outermost;
    let mut all = vec![returns.clone()];
    for pair in recorded.samples.windows(2) {
        let [before, after] = pair else {
            unreachable!()
        };
        let code = recorded.code(before.ip());
        let just_behind = before.ip() + 2..before.ip() + 9;
        let pushed = after.word(after.sp()).unwrap_or_default();
        if after.sp() == before.sp() - 8
            && just_behind.contains(&pushed)
            && after.ip() != pushed
            && !just_behind.contains(&after.ip())
        {
            returns.push(pushed);
        } else if matches!(code, [0xc3, ..] | [0xf2 | 0xf3, 0xc3, ..]) {
            assert_eq!(
                Some(after.ip()),
                returns.pop(),
                "returns where it was called"
            );
        }
        all.push(returns.clone());
    }
    all
}

/// The true callchain at each sample.
fn true_chains(recorded: &mut Recorded) -> Vec<Vec<u64>> {
    let (first, end) = recorded.unwind(&mut Unwinder::new(), 0);
    let names = recorded.names(&first);
    assert_eq!(names[..2], ["step", "main"]);
    assert_eq!(
        (names.last().unwrap().as_str(), end),
        ("_start", ChainEnd::Root)
    );
    let outermost = first[1..].iter().rev().map(|site| site + 1).collect();
    let returns = true_return_addresses(recorded, outermost);
    let chain = |(sample, returns): (&support::Sample, Vec<u64>)| {
        let callers = returns.iter().rev().map(|address| address - 1);
        [sample.ip()].into_iter().chain(callers).collect()
    };
    recorded.samples.iter().zip(returns).map(chain).collect()
}

fn every_instruction_is_exact(flags: &[&[&str]]) {
    let Some(mut recorded) = record(&flags.concat(), "step", WHOLE) else {
        return;
    };
    let truth = true_chains(&mut recorded);
    assert_exact(&mut recorded, &truth);
    assert_framehop_agrees(&recorded, &truth);
}

fn assert_exact(recorded: &mut Recorded, truth: &[Vec<u64>]) {
    assert!(truth.len() > 1000);
    let mut unwinder = Unwinder::new();
    for (index, expected) in truth.iter().enumerate() {
        let (chain, end) = recorded.unwind(&mut unwinder, index);
        let code = &recorded.code(expected[0])[..16];
        assert_eq!(
            (recorded.names(&chain), end),
            (recorded.names(expected), ChainEnd::Root),
            "sample {index}, next instruction {code:x?}"
        );
        assert_eq!(&chain, expected, "sample {index}");
    }
}

/// Wherever framehop comes to an end, it must have the same frames, but for what it cannot do:
/// restore rbp by an expression (a realigned stack, the dynamic linker's trampoline), and jump
/// stubs without tables in static programs.
fn assert_framehop_agrees(recorded: &Recorded, truth: &[Vec<u64>]) {
    let mut framehop = Framehop::new(recorded);
    let (mut theirs, mut finished) = (Vec::new(), 0);
    for (sample, truth) in recorded.samples.iter().zip(truth) {
        if !framehop.unwind(sample, &mut theirs) {
            continue;
        }
        finished += 1;
        if theirs != *truth {
            let names = recorded.names(truth);
            let is_beyond_it = |name: &String| {
                name == "realigned" || name.starts_with("ld-linux") || name == "workload"
            };
            assert!(names.iter().any(is_beyond_it), "{names:?}");
        }
    }
    assert!(finished > truth.len() / 3, "{finished} of {}", truth.len());
}

/// Without tables some frames cannot be found, but none may be made up.
fn no_frame_is_invented(flags: &[&[&str]], exact_percent: usize) {
    let Some(mut recorded) = record(&flags.concat(), "step", WHOLE) else {
        return;
    };
    let outermost = vec![
        recorded.samples[0]
            .word(recorded.samples[0].sp())
            .unwrap_or_default(),
    ];
    let returns = true_return_addresses(&recorded, outermost);
    let mut unwinder = Unwinder::new();
    let mut exact = 0;
    for (index, returns) in returns.iter().enumerate() {
        let (chain, end) = recorded.unwind(&mut unwinder, index);
        let sites: Vec<_> = returns[1..]
            .iter()
            .rev()
            .map(|address| address - 1)
            .collect();
        // the frames above the first sample are the same in all
        let known = chain[1..].iter().filter(|site| {
            !["main", "_start", "libc.so.6", "step"].contains(&recorded.name(**site).as_str())
                || sites.contains(site)
        });
        let known: Vec<_> = known.copied().collect();
        let mut rest = sites.iter();
        let is_subsequence = known.iter().all(|site| rest.any(|other| other == site));
        assert!(
            is_subsequence,
            "sample {index}: {end:?} {:?}\n instead of {:?}",
            recorded.names(&chain),
            recorded.names(&sites)
        );
        assert!(
            end != ChainEnd::Root || known == sites,
            "sample {index} has no root there: {:?}",
            recorded.names(&chain)
        );
        exact += usize::from(known == sites && end == ChainEnd::Root);
    }
    let percent = exact * 100 / returns.len();
    assert!(percent >= exact_percent, "only {percent}% are exact");
    println!("{percent}% exact");
}

#[test]
fn without_frame_pointers() {
    every_instruction_is_exact(&[NO_FRAME_POINTER]);
}

#[test]
fn with_frame_pointers() {
    every_instruction_is_exact(&[FRAME_POINTER]);
}

#[test]
fn unoptimized() {
    every_instruction_is_exact(&[&["-O0"]]);
}

#[test]
fn at_a_fixed_address() {
    every_instruction_is_exact(&[NO_FRAME_POINTER, &["-no-pie"]]);
}

#[test]
fn static_at_a_fixed_address() {
    every_instruction_is_exact(&[NO_FRAME_POINTER, &["-static"]]);
}

#[test]
fn static_at_any_address() {
    every_instruction_is_exact(&[NO_FRAME_POINTER, &["-static-pie"]]);
}

#[test]
fn through_the_plt_and_the_dynamic_linker() {
    every_instruction_is_exact(&[NO_FRAME_POINTER, &["-Wl,-z,lazy", "-fcf-protection=none"]]);
}

#[test]
fn through_the_plt_of_control_flow_protection() {
    every_instruction_is_exact(&[
        NO_FRAME_POINTER,
        &["-Wl,-z,lazy", "-fcf-protection=full", "-Wl,-z,ibtplt"],
    ]);
}

#[test]
fn without_the_search_table() {
    every_instruction_is_exact(&[NO_FRAME_POINTER, &["-Wl,--no-eh-frame-hdr"]]);
}

/// framehop reads one kind of table per file, and the start files bring an `.eh_frame`.
fn every_instruction_is_exact_but_not_for_framehop(flags: &[&str]) {
    let flags = [NO_FRAME_POINTER, NO_EH_FRAME, flags].concat();
    let Some(mut recorded) = record(&flags, "step", WHOLE) else {
        return;
    };
    let truth = true_chains(&mut recorded);
    assert_exact(&mut recorded, &truth);
}

#[test]
fn with_debug_frame_only() {
    every_instruction_is_exact_but_not_for_framehop(&["-g"]);
}

#[test]
fn with_a_compressed_debug_frame_only() {
    every_instruction_is_exact_but_not_for_framehop(&["-g", "-gz=zlib"]);
}

#[test]
fn without_section_headers() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "step", WHOLE) else {
        return;
    };
    let truth = true_chains(&mut recorded);
    for file in recorded.files.values_mut() {
        let mut bytes = file.to_vec();
        bytes[0x28..0x30].fill(0); // e_shoff
        bytes[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
        *file = Arc::new(bytes);
    }
    assert_exact(&mut recorded, &truth);
}

const NO_EH_FRAME: &[&str] = &["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];

#[test]
fn without_tables_but_with_frame_pointers_nothing_is_invented() {
    no_frame_is_invented(&[FRAME_POINTER, NO_EH_FRAME], 98);
}

#[test]
fn without_tables_and_frame_pointers_nothing_is_invented() {
    no_frame_is_invented(&[NO_FRAME_POINTER, NO_EH_FRAME], 98);
}
