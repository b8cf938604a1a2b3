//! Stripped Go programs: what `.gopclntab` says against the symbols and debug info before stripping.

mod common;

use std::path::Path;
use std::process::Command;

use common::{dso, nm, offset_of, resolve, run, symbol};
use prof_model::{Resolution, SymbolSource};
use prof_symbolizer::Options;

/// Whether Go is there. It is large, so that CI may lack it.
fn has_go() -> bool {
    let found = Command::new("go").arg("version").output().is_ok();
    if !found {
        println!("skipped: go is not installed");
    }
    found
}

fn build_go(dir: &Path, flags: &[&str]) -> std::path::PathBuf {
    let program = dir.join("busy");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/busy.go");
    run(Command::new("go")
        .arg("build")
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .env("GOFLAGS", "-mod=mod")
        .env("GOPATH", dir.join("go"))
        .env("GO111MODULE", "off"));
    program
}

fn agrees_with_the_unstripped_program(flags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let program = build_go(dir.path(), flags);
    let stripped = dir.path().join("stripped");
    run(Command::new("strip").arg("-o").args([&stripped, &program]));
    let to_offset = offset_of(&program);
    let functions = nm(&program);
    let go_functions: Vec<_> = functions
        .iter()
        .filter(|function| {
            function.name.starts_with("runtime.m") || function.name.starts_with("main.")
        })
        .filter(|function| function.size > 0)
        .collect();
    assert!(go_functions.len() > 50);

    let starts: Vec<_> = go_functions.iter().map(|f| to_offset(f.address)).collect();
    let resolved = resolve(Options::default(), &dso(&stripped), &starts);
    for (function, resolution) in go_functions.iter().zip(&resolved) {
        let found = symbol(resolution);
        // The linker's symbol table has `abi0` wrappers under a name of their own.
        let name = function.name.trim_end_matches(".abi0");
        assert_eq!(
            (&*found.name, found.start),
            (name, to_offset(function.address))
        );
        assert_eq!(found.source, SymbolSource::GoPclntab);
    }

    let spin = functions
        .iter()
        .find(|function| function.name == "main.spin")
        .unwrap();
    let offsets: Vec<_> = (spin.address..spin.address + spin.size)
        .map(&to_offset)
        .collect();
    let frames = |program: &Path| {
        let resolved = resolve(Options::default(), &dso(program), &offsets);
        resolved
            .into_iter()
            .map(|resolution| match resolution {
                Resolution::Named {
                    inlined, location, ..
                } => {
                    let line = |place: &Option<prof_model::SourceLine>| {
                        let place = place.as_ref().unwrap();
                        (
                            place.file.rsplit('/').next().unwrap().to_owned(),
                            place.line,
                        )
                    };
                    let inlined: Vec<_> = inlined
                        .iter()
                        .map(|frame| (frame.name.to_string(), line(&frame.location)))
                        .collect();
                    (inlined, line(&location))
                }
                Resolution::Unresolved(reason) => panic!("{reason:?}"),
            })
            .collect::<Vec<_>>()
    };
    let expected = frames(&program);
    assert!(expected.iter().any(|(inlined, _)| inlined.len() == 2));
    assert_eq!(frames(&stripped), expected);
}

#[test]
fn a_stripped_go_program_keeps_its_names_lines_and_inline_frames() {
    if has_go() {
        agrees_with_the_unstripped_program(&[]);
    }
}

#[test]
fn a_stripped_position_independent_go_program_keeps_them_too() {
    if has_go() {
        agrees_with_the_unstripped_program(&["-buildmode=pie"]);
    }
}

/// The C linker puts the table into a section with other data.
#[test]
fn a_stripped_go_program_that_the_c_linker_made_position_independent_keeps_them_too() {
    if has_go() && Command::new("gcc").arg("--version").output().is_ok() {
        agrees_with_the_unstripped_program(&["-buildmode=pie", "-ldflags=-linkmode=external"]);
    }
}
