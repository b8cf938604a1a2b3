//! Programs of the corpus sample themselves; framehop has the same files and the same stacks. Wherever
//! it comes to an end, it must have the same frames.

mod support;

use std::path::Path;
use std::process::Command;

use prof_model::ChainEnd;
use prof_unwinder::Unwinder;
use support::{Framehop, Recorded, sample};

/// Compares all samples. `whole` percent of the stacks reach their root, and framehop finishes
/// `finished` percent of them.
fn framehop_agrees(recorded: Option<Recorded>, whole: usize, finished: usize) {
    let Some(mut recorded) = recorded else { return };
    let mut unwinder = Unwinder::new();
    let mut framehop = Framehop::new(&recorded);
    let samples = std::mem::take(&mut recorded.samples);
    let (mut ours_whole, mut theirs_whole, mut theirs) = (0, 0, Vec::new());
    for sample in &samples {
        let (ours, end) = recorded.unwind_sample(&mut unwinder, sample, 1000);
        ours_whole += usize::from(end == ChainEnd::Root);
        if framehop.unwind(sample, &mut theirs) {
            theirs_whole += 1;
            assert_eq!(recorded.names(&ours), recorded.names(&theirs), "{end:?}");
            assert_eq!(ours, theirs);
        }
    }
    let all = samples.len();
    println!("{all} samples, {ours_whole} whole, {theirs_whole} by framehop");
    assert!(all >= 100, "{all} samples");
    assert!(ours_whole * 100 >= all * whole, "{ours_whole} of {all}");
    assert!(
        theirs_whole * 100 >= all * finished,
        "{theirs_whole} of {all}"
    );
}

fn compile<'a>(
    compiler: &'a str,
    flags: &'a [&str],
    source: &'a str,
) -> impl FnOnce(&Path, &Path, &Path) -> Command + use<'a> {
    move |sampler, corpus, program| {
        let mut command = Command::new(compiler);
        command.args(flags).arg(corpus.join(source)).arg(sampler);
        command.arg("-o").arg(program);
        command
    }
}

#[test]
fn on_threads_exceptions_and_virtual_calls() {
    let flags = &["-O2", "-pthread"];
    framehop_agrees(sample("gcc", compile("g++", flags, "classes.cpp")), 99, 90);
}

#[test]
fn on_threads_exceptions_and_virtual_calls_of_a_static_program() {
    let flags = &["-O2", "-pthread", "-static"];
    framehop_agrees(sample("gcc", compile("g++", flags, "classes.cpp")), 99, 90);
}

#[test]
fn on_plain_c() {
    framehop_agrees(sample("gcc", compile("gcc", &["-O2"], "split.c")), 99, 90);
    framehop_agrees(sample("gcc", compile("gcc", &["-O0"], "split.c")), 99, 90);
}

#[test]
fn on_system_calls() {
    framehop_agrees(
        sample("gcc", compile("gcc", &["-O2"], "syscalls.c")),
        99,
        90,
    );
}

#[test]
fn on_a_static_program() {
    let flags = &["-O2", "-static-pie"];
    framehop_agrees(sample("gcc", compile("gcc", flags, "syscalls.c")), 99, 90);
}

/// musl itself has no tables, where framehop follows whatever rbp is; so it has a say only up to the
/// first frame there.
#[test]
fn on_musl() {
    for flags in [&["-O2"][..], &["-O2", "-static"]] {
        let recorded = sample("musl-gcc", compile("musl-gcc", flags, "split.c"));
        let Some(mut recorded) = recorded else { return };
        let (mut unwinder, mut framehop) = (Unwinder::new(), Framehop::new(&recorded));
        let samples = std::mem::take(&mut recorded.samples);
        let (mut whole, mut compared, mut theirs) = (0, 0, Vec::new());
        for sample in &samples {
            let (ours, end) = recorded.unwind_sample(&mut unwinder, sample, 1000);
            framehop.unwind(sample, &mut theirs);
            let names = recorded.names(&ours);
            let main = names.iter().position(|name| name == "main");
            let known = main.filter(|_| names[0].ends_with("_leaf"));
            if let Some(main) = known {
                assert_eq!(ours[..=main], theirs[..=main], "{names:?}");
                compared += 1;
            }
            whole += usize::from(end == ChainEnd::Root);
        }
        let all = samples.len();
        println!("{all} samples, {whole} whole, {compared} compared with framehop's");
        assert!(all >= 100 && whole * 100 >= all * 99, "{whole} of {all}");
        assert!(compared * 100 >= all * 70, "{compared} of {all}");
    }
}

#[test]
fn on_rust() {
    let link = |sampler: &Path, corpus: &Path, program: &Path| {
        let mut command = Command::new("rustc");
        command.args(["-O", "--edition", "2024", "-o"]).arg(program);
        command.arg(corpus.join("split.rs"));
        command.arg(format!("-Clink-arg={}", sampler.display()));
        command.env_remove("RUSTFLAGS");
        command
    };
    framehop_agrees(sample("gcc", link), 99, 90);
}
