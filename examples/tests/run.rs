//! The examples run and print what they say.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prof_event::EventSpec;
use prof_model::Pid;
use prof_sampler::{Options, Rate, Sampler, StackCapture, Target};

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether this process may sample itself.
fn may_sample() -> bool {
    let events = EventSpec::parse("cpu-clock:u").unwrap();
    let target = Target::Processes(vec![Pid(std::process::id() as i32)]);
    let opened = Sampler::open(Options {
        events: events.into(),
        stacks: StackCapture::None,
        ..Options::new(target, Rate::Frequency(99))
    });
    opened.is_ok()
}

/// The service, built and running.
struct Service {
    folder: tempfile::TempDir,
    process: Child,
}

impl Service {
    /// `None`, with a word about it, without a compiler or without permission to sample.
    fn start() -> Option<Self> {
        let missing = |what: &str| {
            assert!(std::env::var_os("CI").is_none(), "{what}");
            println!("skipped: {what}");
        };
        if Command::new("gcc").arg("--version").output().is_err() {
            missing("no gcc");
            return None;
        }
        if !may_sample() {
            missing("no permission for perf events");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("service");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("service.c");
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (program_text, source) = (text(&program), text(&source));
        run(
            "gcc",
            &["-O2", "-g", "-o", &program_text, &source, "-lpthread"],
        );
        let process = Command::new(program).stdout(Stdio::null()).spawn().unwrap();
        Some(Self { folder, process })
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn what_is_recorded_is_read_and_most_samples_are_in_the_service() {
    let Some(service) = Service::start() else {
        return;
    };
    let file = service.folder.path().join("perf.data");
    let file = file.to_str().unwrap();
    let said = run(env!("CARGO_BIN_EXE_record"), &[&service.pid(), file]);
    assert!(said.contains(" records, "), "{said}");
    let hottest = run(env!("CARGO_BIN_EXE_hottest-addresses"), &[file]);
    assert_eq!(hottest.lines().count(), 10, "{hottest}");
    let samples = |line: &str| -> u64 { line.split_whitespace().next().unwrap().parse().unwrap() };
    assert!(
        hottest
            .lines()
            .is_sorted_by(|a, b| samples(a) >= samples(b)),
        "{hottest}"
    );
    assert!(
        hottest.lines().next().unwrap().contains("service+0x"),
        "{hottest}"
    );
}

#[test]
fn the_library_alone_names_the_function_that_the_service_spends_its_time_in() {
    let Some(service) = Service::start() else {
        return;
    };
    let said = run(env!("CARGO_BIN_EXE_hottest-functions"), &[&service.pid()]);
    let hottest = said.lines().next().unwrap();
    assert!(hottest.ends_with("parse  service"), "{said}");
}

#[test]
fn a_stack_of_the_service_leads_to_its_start_and_its_addresses_have_names() {
    let Some(service) = Service::start() else {
        return;
    };
    let stack = run(env!("CARGO_BIN_EXE_unwind"), &[&service.pid()]);
    assert!(stack.ends_with("whole\n"), "{stack}");
    let program = service.folder.path().join("service");
    let names: Vec<String> = stack
        .lines()
        .filter_map(|line| line.split_once("service+"))
        .map(|(_, offset)| {
            let args = [program.to_str().unwrap(), offset];
            run(env!("CARGO_BIN_EXE_symbolize"), &args)
        })
        .collect();
    let has = |function: &str| names.iter().any(|name| name.contains(function));
    assert!(has("worker"), "{stack} {names:?}");
    assert!(has("handle_request"), "{stack} {names:?}");
    assert!(
        names.iter().any(|name| name.contains("service.c:")),
        "{names:?}"
    );
}

#[test]
fn a_flame_graph_is_drawn_without_a_recording() {
    let svg = run(env!("CARGO_BIN_EXE_draw"), &[]);
    assert!(svg.contains("parse (70 samples, 70.00%)"), "{svg}");
    assert!(svg.trim_end().ends_with("</svg>"));
}
