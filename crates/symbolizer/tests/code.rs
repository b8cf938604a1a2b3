//! The instructions of functions, held against those of other disassemblers.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::{build, dso, has, nm, offset_of_symbol, run, symbol};
use prof_model::{Dso, DsoAddr, DsoId, DsoKind, FunctionCode, Pid};
use prof_symbolizer::{AsmSyntax, NoCode, Options, Symbolizer};

/// The code of the function with this name.
fn code_of(program: &Path, name: &str) -> FunctionCode {
    let mut symbolizer = Symbolizer::new(Options::default());
    let (id, dso) = (DsoId(0), dso(program));
    let offset = DsoAddr(offset_of_symbol(program, name));
    let resolved = symbolizer.resolve(id, &dso, &[offset]);
    let function = symbol(&resolved[0]).clone();
    symbolizer
        .code(id, &dso, &function, AsmSyntax::Att)
        .unwrap()
}

/// What another disassembler makes of all of a file: the text by address.
fn listing(tool: &str, program: &Path) -> BTreeMap<u64, String> {
    let mut command = Command::new(tool);
    command.args(["-d", "--no-show-raw-insn"]).arg(program);
    let lines = run(&mut command);
    let lines = lines.lines().filter_map(|line| {
        let (address, text) = line.split_once(':')?;
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        Some((address, text.trim().to_owned()))
    });
    lines.collect()
}

/// Without names of targets and fill.
fn bare_text(text: &str) -> String {
    let text = text.split(['#', '<']).next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn mnemonic(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[test]
fn x86_code_is_what_objdump_makes_of_it() {
    if !(has("gcc") && has("objdump") && has("nm") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "inlined.c", &["-O2", "-g"]);
    let listing = listing("objdump", &program);
    let mut compared = 0;
    for function in nm(&program).iter().filter(|it| it.size > 0) {
        let code = code_of(&program, &function.name);
        assert_eq!(
            code.section.as_deref().map(|name| name.starts_with('.')),
            Some(true)
        );
        let mut address = function.address;
        for instruction in &code.instructions {
            assert_eq!(instruction.address, address);
            let theirs = &listing[&address];
            assert_eq!(
                bare_text(&instruction.text),
                bare_text(theirs),
                "{}",
                function.name
            );
            address += instruction.bytes.len() as u64;
            compared += 1;
        }
        assert_eq!(address, function.address + function.size);
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn code_for_aarch64_is_shown_on_any_machine() {
    if !(has("clang") && has("ld.lld") && has("llvm-objdump") && has("nm") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("arm");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/arm.c");
    run(Command::new("clang")
        .args([
            "--target=aarch64-linux-gnu",
            "-O2",
            "-g",
            "-nostdlib",
            "-static",
        ])
        .args(["-ffreestanding", "-fuse-ld=lld", "-o"])
        .args([&program, &source]));
    let listing = listing("llvm-objdump", &program);
    for name in ["work", "scale", "_start"] {
        let code = code_of(&program, name);
        assert!(code.instructions.len() > 2, "{name}");
        for instruction in &code.instructions {
            let theirs = &listing[&instruction.address];
            assert_eq!(instruction.bytes.len(), 4);
            assert_eq!(
                mnemonic(&instruction.text),
                mnemonic(theirs),
                "{name}: {theirs}"
            );
        }
    }
    let code = code_of(&program, "work");
    let text: Vec<&str> = code
        .instructions
        .iter()
        .map(|it| it.text.as_str())
        .collect();
    let calls = text
        .iter()
        .any(|text| text.starts_with("bl ") && text.ends_with(" <scale>"));
    assert!(calls, "{text:#?}");
    let inlined = |it: &prof_model::Instruction| {
        it.place
            .as_ref()
            .is_some_and(|place| &*place.function == "mix" && place.line == 9)
    };
    assert!(code.instructions.iter().any(inlined));
    let source = code.sources[0].lines.as_ref().unwrap();
    assert!(source[8].contains("(a << 3)"), "{source:?}");
}

#[test]
fn what_is_no_function_of_a_file_has_no_code() {
    let mut symbolizer = Symbolizer::new(Options::default());
    let mut code = |kind: DsoKind, path: &str, size: u64| {
        let dso = Dso {
            kind,
            ..dso(Path::new(path))
        };
        let function = prof_model::Symbol {
            name: "f".into(),
            raw: "f".into(),
            start: 0,
            size,
            source: prof_model::SymbolSource::Symtab,
        };
        let id = DsoId(path.len() as u32 + kind.is_kernel() as u32);
        symbolizer.code(id, &dso, &function, AsmSyntax::Att)
    };
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    assert_eq!(
        code(DsoKind::KernelSymbol, "bpf_prog_0123456789abcdef", 16),
        Err(NoCode::KernelProgram)
    );
    assert_eq!(
        code(DsoKind::Jit(Pid(7)), "/tmp/perf-7.map", 16),
        Err(NoCode::Generated)
    );
    assert_eq!(code(DsoKind::File, own, u64::MAX), Err(NoCode::NoBytes));
    assert_eq!(code(DsoKind::File, own, 0), Err(NoCode::NoBytes));
    let missing = code(DsoKind::File, "/nowhere/at/all", 16);
    assert_eq!(missing, Err(NoCode::File(prof_model::Reason::FileMissing)));
}
