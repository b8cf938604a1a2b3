//! A program of aarch64 in an emulator, instruction by instruction. Its call and return instructions
//! tell the true callchain at each, to which the unwinder's is compared.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSection};
use prof_model::{ChainEnd, Mapping, VirtAddr};
use prof_unwinder::{Arch, Regs, Unwinder};
use support::emulator::{
    Emulator, Moment, SIGTRAP, build, every_instruction, maps, true_return_addresses,
};
use support::{FramehopAarch64, Recorded, Sample};

// as debuggers number them
const SIGUSR1: u8 = 30;
const SIGSEGV: u8 = 11;

fn sample(moment: &Moment) -> Sample {
    Sample {
        regs: Regs::from_perf(Arch::Aarch64, (1 << 33) - 1, moment.registers),
        is_inside_handler: false,
        stack: moment.stack.clone(),
        is_cut: false,
        kernel_chain: Vec::new(),
    }
}

/// Every instruction from the program's first `brk` to its second, and the callers at each that it
/// called since.
fn stepped(flags: &[&str]) -> Option<(Recorded, Vec<Vec<u64>>)> {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), flags)?;
    let mut emulator = Emulator::start(&program, dir.path());
    let moments = every_instruction(&mut emulator);
    assert!(moments.len() > 2000, "{}", moments.len());
    let samples = moments.iter().map(sample).collect();
    let returns = true_return_addresses(&moments);
    let calls = |returns: Vec<u64>| returns.iter().map(|address| address - 1).collect();
    let maps = maps(dir.path());
    let recorded = Recorded::new(dir, &maps, samples);
    Some((recorded, returns.into_iter().map(calls).collect()))
}

/// Says in how many of a hundred framehop has the same.
fn every_instruction_is_exact(flags: &[&str]) -> Option<usize> {
    let (mut recorded, calls) = stepped(flags)?;
    let mut unwinder = Unwinder::new();
    let mut framehop = FramehopAarch64::new(&recorded);
    let (first, _) = recorded.unwind(&mut unwinder, 0);
    let names = recorded.names(&first);
    assert_eq!(names, ["step", "main", "libc.so.6", "libc.so.6", "_start"]);
    let (mut theirs, mut alike) = (Vec::new(), 0);
    for (index, calls) in calls.iter().enumerate() {
        let ip = recorded.samples[index].ip();
        let expected = [&[ip], &calls[..], &first[1..]].concat();
        let (chain, end) = recorded.unwind(&mut unwinder, index);
        let code = &recorded.code(ip)[..4];
        assert_eq!(
            (recorded.names(&chain), end),
            (recorded.names(&expected), ChainEnd::Root),
            "sample {index} at {ip:#x}, next instruction {code:x?}"
        );
        assert_eq!(chain, expected, "sample {index}");
        let is_whole = framehop.unwind(&recorded.samples[index], &mut theirs);
        alike += usize::from(is_whole && theirs == chain);
    }
    Some(alike * 100 / calls.len())
}

fn framehop_has_the_same(alike: Option<usize>) {
    assert!(alike.is_none_or(|percent| percent >= 97), "{alike:?}%");
}

#[test]
fn optimized() {
    framehop_has_the_same(every_instruction_is_exact(&["-O2", "-Wl,-z,now"]));
}

#[test]
fn unoptimized() {
    framehop_has_the_same(every_instruction_is_exact(&["-O0", "-Wl,-z,now"]));
}

#[test]
fn without_frame_pointers() {
    let flags = &["-O2", "-fomit-frame-pointer", "-Wl,-z,now"];
    framehop_has_the_same(every_instruction_is_exact(flags));
}

#[test]
fn through_the_plt_and_the_dynamic_linker() {
    framehop_has_the_same(every_instruction_is_exact(&["-O2", "-Wl,-z,lazy"]));
}

/// Of which framehop cannot read the tables.
#[test]
fn with_signed_return_addresses() {
    for protection in ["standard", "pac-ret+leaf"] {
        let flag = format!("-mbranch-protection={protection}");
        every_instruction_is_exact(&["-O2", &flag, "-Wl,-z,now"]);
    }
}

/// Of which framehop reads the start files' only.
#[test]
fn with_debug_frame_only() {
    let flags = [&["-O2", "-g", "-Wl,-z,now"], NO_EH_FRAME].concat();
    every_instruction_is_exact(&flags);
}

const NO_EH_FRAME: &[&str] = &["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];

/// Without tables some frames cannot be found, but none may be made up.
fn no_frame_is_invented(flags: &[&str], exact_percent: usize) {
    let flags = [flags, NO_EH_FRAME].concat();
    let Some((mut recorded, calls)) = stepped(&flags) else {
        return;
    };
    let mut unwinder = Unwinder::new();
    let mut exact = 0;
    for (index, calls) in calls.iter().enumerate() {
        let (chain, end) = recorded.unwind(&mut unwinder, index);
        let names = recorded.names(&chain);
        let is_outer = |name: &String| ["main", "_start"].contains(&name.as_str());
        let inner = names.iter().position(is_outer).unwrap_or(names.len());
        let found = &chain[1..inner.max(1)];
        let mut rest = calls.iter();
        assert!(
            found.iter().all(|site| rest.any(|other| other == site)),
            "sample {index}: {end:?} {names:?}\n instead of {:?}",
            recorded.names(calls)
        );
        exact += usize::from(found == calls && end == ChainEnd::Root);
    }
    let percent = exact * 100 / calls.len();
    println!("{percent}% exact");
    assert!(percent >= exact_percent, "only {percent}% are exact");
}

#[test]
fn without_tables_but_with_frame_pointers_nothing_is_invented() {
    no_frame_is_invented(&["-O2", "-fno-omit-frame-pointer", "-Wl,-z,now"], 98);
    no_frame_is_invented(&["-O0", "-Wl,-z,now"], 98);
}

#[test]
fn without_tables_and_frame_pointers_nothing_is_invented() {
    no_frame_is_invented(&["-O2", "-fomit-frame-pointer", "-Wl,-z,now"], 0);
}

/// In functions that run on a stack of `makecontext`, in a signal handler, and in one with a stack of
/// its own.
fn special_moments() -> Option<Recorded> {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), &["-O2", "-Wl,-z,now"])?;
    let mut emulator = Emulator::start(&program, dir.path());
    let mut go_on = |signal, expected| {
        if signal == 0 {
            emulator.skip_stop();
        }
        assert_eq!(emulator.go_on(signal), Some(expected));
        sample(&emulator.moment(u64::MAX))
    };
    go_on(0, SIGTRAP); // the end of `step`
    let in_context = go_on(0, SIGTRAP);
    go_on(0, SIGUSR1);
    let in_handler = go_on(SIGUSR1, SIGTRAP);
    go_on(0, SIGSEGV);
    let elsewhere = go_on(SIGSEGV, SIGTRAP);
    let maps = maps(dir.path());
    let samples = vec![in_context, in_handler, elsewhere];
    Some(Recorded::new(dir, &maps, samples))
}

#[test]
fn a_stack_of_makecontext_begins_with_its_function() {
    let Some(mut recorded) = special_moments() else {
        return;
    };
    let (chain, end) = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!(recorded.names(&chain), ["in_context", "libc.so.6"]);
    assert_eq!(end, ChainEnd::Root);
}

/// The handlers and what they interrupted. The trampoline, at the address returned, has no name.
fn handlers_lead_on(recorded: &mut Recorded) -> u64 {
    let mut unwinder = Unwinder::new();
    let (chain, end) = recorded.unwind(&mut unwinder, 1);
    let names = recorded.names(&chain);
    assert_eq!(names[..2], ["in_handler", "on_signal"]);
    let raising = [
        "libc.so.6",
        "libc.so.6",
        "main",
        "libc.so.6",
        "libc.so.6",
        "_start",
    ];
    assert_eq!(names[3..], raising, "{end:?}");
    assert_eq!(end, ChainEnd::Root);
    let trampoline = chain[2];
    // in `raise` behind its system call
    assert_eq!(
        recorded.code(chain[3] - 4)[..4],
        0xd400_0001_u32.to_le_bytes()
    );

    // the interrupted stack was not copied
    let (chain, end) = recorded.unwind(&mut unwinder, 2);
    let names = recorded.names(&chain);
    assert_eq!(names[..2], ["in_handler", "on_signal"]);
    assert_eq!(names[3..], ["interrupted", "faults"]);
    assert_eq!((chain[2], end), (trampoline, ChainEnd::TruncatedCopy));
    // the very instruction: str xzr, [x0]
    assert_eq!(recorded.code(chain[3])[..4], 0xf900_001f_u32.to_le_bytes());
    trampoline
}

#[test]
fn a_signal_handler_leads_on_to_what_it_interrupted() {
    let Some(mut recorded) = special_moments() else {
        return;
    };
    // The emulator's trampoline is the first thing in its page; a vDSO has something before.
    let handler = recorded.samples[1].regs.sp().unwrap();
    let trampoline = recorded.samples[1].word(handler + 8).unwrap();
    let mapping = *recorded.space.find(VirtAddr(trampoline)).unwrap();
    let mapping = Mapping {
        start: mapping.start - 4096,
        dso_start: mapping.dso_start - 4096,
        ..mapping
    };
    recorded.space.insert(mapping);
    // It has no file: what the kernel puts above its frame proves it.
    assert_eq!(handlers_lead_on(&mut recorded), trampoline);
    // With one, its instructions do.
    let dir = tempfile::tempdir().unwrap();
    let vdso = build_vdso(dir.path());
    let object = object::File::parse(&*vdso).unwrap();
    let text = object.section_by_name(".text").unwrap();
    let before = trampoline - mapping.start;
    recorded.space.insert(Mapping {
        dso_start: text.file_range().unwrap().0.wrapping_sub(before),
        ..mapping
    });
    recorded.files.insert(mapping.dso, Arc::new(vdso.clone()));
    assert_eq!(handlers_lead_on(&mut recorded), trampoline);
    // With one that has other instructions there, nothing does.
    let other = vdso
        .iter()
        .map(|byte| byte ^ u8::from(*byte == 0x68))
        .collect();
    recorded.files.insert(mapping.dso, Arc::new(other));
    let (chain, end) = recorded.unwind(&mut Unwinder::new(), 1);
    assert_eq!(recorded.names(&chain)[..2], ["in_handler", "on_signal"]);
    assert_ne!(end, ChainEnd::Root);
}

/// A file with the trampoline as its text.
fn build_vdso(dir: &Path) -> Vec<u8> {
    let (source, file) = (dir.join("vdso.s"), dir.join("vdso.so"));
    fs::write(&source, "mov x8, #139\nsvc #0\n").unwrap();
    let output = Command::new("clang")
        .args([
            "--target=aarch64-linux-gnu",
            "-fuse-ld=lld",
            "-nostdlib",
            "-shared",
            "-o",
        ])
        .args([&file, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(file).unwrap()
}
