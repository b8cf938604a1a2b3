//! The kernel's names come from the tables that were given, and from no other kernel's.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use prof_model::{
    BuildId, Dso, DsoAddr, DsoId, DsoKind, FunctionCode, KernelText, Reason, Resolution, Symbol,
    SymbolSource,
};
use prof_symbolizer::{
    AsmSyntax, NoCode, Options, Request, RunningKernel, Symbolizer, read_build_id,
};

fn kernel() -> Dso {
    Dso {
        path: b"[kernel.kallsyms]".to_vec(),
        kind: DsoKind::Kernel,
        file: None,
        build_id: None,
    }
}

/// Looks an address up beside one of a file, as reports do.
fn resolve(options: Options, addr: u64) -> Resolution {
    let file = Dso {
        path: b"/gone/program".to_vec(),
        kind: DsoKind::File,
        ..kernel()
    };
    let (addrs, kernel) = ([DsoAddr(addr)], kernel());
    let request = |id, dso| Request {
        id: DsoId(id),
        dso,
        addrs: &addrs,
    };
    let requests = [request(0, &file), request(1, &kernel)];
    let answers = Symbolizer::new(options).resolve_all(&requests);
    answers[1][0].clone()
}

#[test]
fn given_tables_name_the_kernel_of_the_recording_wherever_it_lay() {
    let mut tables = tempfile::NamedTempFile::new().unwrap();
    let text = "ffffffff81000000 T _text\nffffffff81001000 T given\nffffffff81002000 T _etext\n";
    tables.write_all(text.as_bytes()).unwrap();
    let options = Options {
        kallsyms: Some(tables.path().to_owned()),
        kernel_text: Some(KernelText {
            start: 0xffff_ffff_a000_0000,
            end: 0xffff_ffff_a000_2000,
            reference: "_text".to_owned(),
        }),
        ..Options::default()
    };
    let Resolution::Named { symbol, .. } = resolve(options, 0xffff_ffff_a000_1010) else {
        panic!("no name");
    };
    assert_eq!(&*symbol.name, "given");
    assert_eq!(symbol.start, 0xffff_ffff_a000_1000);
}

/// A kernel's file: `_text`, two functions and data, linked where kernels are.
const VMLINUX: &str = "
    .globl _text, spin, table
    .text
    _text: .skip 0x1000, 0x90
    .type spin, @function
    spin:
        call local
        ret
        .skip 0x1a, 0x90
    .type local, @function
    local: .skip 0x20, 0x90
    .data
    .type table, @object
    table: .skip 0x40
";

/// Where the kernel lay that was recorded; its file has `_text` elsewhere.
fn recorded_text() -> Option<KernelText> {
    Some(KernelText {
        start: 0xffff_ffff_a000_0000,
        end: 0xffff_ffff_a000_2000,
        reference: "_text".to_owned(),
    })
}

/// Builds the file of a kernel.
fn build(vmlinux: &Path) {
    let source = vmlinux.with_extension("s");
    std::fs::write(&source, VMLINUX).unwrap();
    let flags = [
        "-nostdlib",
        "-static",
        "-Wl,-e0",
        "-Wl,-Ttext=0xffffffff81000000",
        "-Wl,--build-id=sha1",
    ];
    let mut gcc = Command::new("gcc");
    common::run(gcc.args(flags).arg(&source).arg("-o").arg(vmlinux));
}

#[test]
fn the_file_of_a_kernel_names_it_too() {
    if !common::has("gcc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let vmlinux = dir.path().join("vmlinux");
    build(&vmlinux);
    let options = Options {
        kallsyms: Some(vmlinux),
        kernel_text: recorded_text(),
        ..Options::default()
    };
    let place = |addr| match resolve(options.clone(), addr) {
        Resolution::Named { symbol, .. } => (symbol.name.to_string(), symbol.start),
        unresolved => panic!("{addr:#x}: {unresolved:?}"),
    };
    let spin = 0xffff_ffff_a000_1000;
    assert_eq!(place(spin + 0x1f), ("spin".to_owned(), spin));
    assert_eq!(place(spin + 0x20), ("local".to_owned(), spin + 0x20));
    assert_eq!(place(spin - 1).0, "_text");
}

/// A function of the recorded kernel or of a module.
fn code(
    options: &Options,
    kind: DsoKind,
    name: &str,
    start: u64,
    size: u64,
) -> Result<FunctionCode, NoCode> {
    let dso = Dso { kind, ..kernel() };
    let symbol = Symbol {
        name: name.into(),
        raw: name.into(),
        start,
        size,
        source: SymbolSource::Kallsyms,
    };
    let mut symbolizer = Symbolizer::new(options.clone());
    symbolizer.code(DsoId(0), &dso, &symbol, AsmSyntax::Att)
}

/// Where samples are looked up, what is shown as the address, and the text.
fn lines(code: &FunctionCode) -> Vec<(u64, u64, &str)> {
    let instructions = code.instructions.iter();
    let lines = instructions.map(|it| (it.offset, it.address, it.text.as_str()));
    lines.collect()
}

#[test]
fn the_file_of_a_kernel_has_its_code_wherever_the_kernel_lay() {
    if !common::has("gcc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let vmlinux = dir.path().join("vmlinux");
    build(&vmlinux);
    let spin = 0xffff_ffff_a000_1000;
    let in_file = 0xffff_ffff_8100_1000;
    let expected = [
        (spin, in_file, "call   ffffffff81001020 <local>"),
        (spin + 5, in_file + 5, "ret"),
    ];
    let given = Options {
        kallsyms: Some(vmlinux.clone()),
        kernel_text: recorded_text(),
        ..Options::default()
    };
    let found = code(&given, DsoKind::Kernel, "spin", spin, 6).unwrap();
    assert_eq!(lines(&found), expected);
    assert_eq!(found.section.as_deref(), Some(".text"));

    // By its build-id, in one of the places for it.
    let build_id = read_build_id(&std::fs::read(&vmlinux).unwrap()).unwrap();
    let places = dir.path().join("usr/lib/debug/boot");
    std::fs::create_dir_all(&places).unwrap();
    std::fs::rename(&vmlinux, places.join("vmlinux-6.0.0")).unwrap();
    let installed = Options {
        symfs: Some(dir.path().to_owned()),
        kernel_build_id: Some(build_id),
        kernel_release: Some("6.0.0".to_owned()),
        kernel_text: recorded_text(),
        ..Options::default()
    };
    let found = code(&installed, DsoKind::Kernel, "spin", spin, 6).unwrap();
    assert_eq!(lines(&found), expected);

    // Of another build, neither is taken; a module is not in it.
    let other = BuildId::new(&[0x5a; 20]);
    for options in [given, installed] {
        let options = Options {
            kernel_build_id: other,
            kallsyms: options.kallsyms.map(|_| places.join("vmlinux-6.0.0")),
            ..options
        };
        let refused = code(&options, DsoKind::Kernel, "spin", spin, 6).unwrap_err();
        let NoCode::Kernel(tried) = &refused else {
            panic!("{refused:?}");
        };
        assert!(tried.last().unwrap().contains("build-id"), "{tried:?}");
        let module = code(&options, DsoKind::KernelModule, "spin", spin, 6);
        assert!(matches!(module, Err(NoCode::Kernel(_))), "{module:?}");
    }
}

/// A core file with one piece of memory.
fn core(start: u64, memory: &[u8]) -> tempfile::NamedTempFile {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..58].copy_from_slice(&[56, 0, 1, 0]);
    bytes.extend([1, 0, 0, 0, 7, 0, 0, 0]); // PT_LOAD
    let size = memory.len() as u64;
    for field in [120, start, 0, size, size, 0x1000] {
        bytes.extend(u64::to_le_bytes(field));
    }
    bytes.extend(memory);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

#[test]
fn the_running_kernels_memory_has_its_code_wherever_it_lies_since_the_last_boot() {
    let running = match RunningKernel::read().layout() {
        Ok(layout) => layout.text,
        Err(reason) => return println!("skipped: {}", reason.describe()),
    };
    let tables = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let line = tables.lines().find(|line| line.ends_with(" T schedule"));
    let address = line.and_then(|line| u64::from_str_radix(&line[..16], 16).ok());
    let schedule = address.expect("every kernel has it");
    // `call` of the kernel's first function, a jump in this one, and what is no code of its file.
    let mut memory = vec![0xe8];
    let distance = running.start.wrapping_sub(schedule + 5) as u32;
    memory.extend(distance.to_le_bytes());
    memory.extend([0xeb, 0xf9, 0xc3]);
    let core = core(
        schedule - 16,
        &[&[0x90; 16], &memory[..], &[0x90; 16]].concat(),
    );
    let moved = 0x20_0000;
    let options = Options {
        kcore: core.path().to_owned(),
        kernel_text: Some(KernelText {
            start: running.start + moved,
            end: running.end + moved,
            reference: running.reference.clone(),
        }),
        kernel_build_id: prof_symbolizer::running_kernel_build_id(),
        ..Options::default()
    };
    let recorded = schedule + moved;
    let found = code(&options, DsoKind::Kernel, "schedule", recorded, 8).unwrap();
    let lines = lines(&found);
    let places: Vec<_> = lines
        .iter()
        .map(|&(offset, address, _)| (offset, address))
        .collect();
    let at = |distance| (recorded + distance, schedule + distance);
    assert_eq!(places, [at(0), at(5), at(7)]);
    let call = format!("call   {:x} <", running.start);
    assert!(lines[0].2.starts_with(&call), "{lines:x?}");
    assert_eq!(lines[1].2, format!("jmp    {schedule:x} <schedule>"));
    assert_eq!(lines[2].2, "ret");

    // More than there is, of another kernel, and a module that is not there.
    let refused = |options: &Options, kind, name: &str, start, size| {
        let refused = code(options, kind, name, start, size).unwrap_err();
        refused.to_string()
    };
    let long = refused(&options, DsoKind::Kernel, "schedule", recorded, 200);
    assert!(long.contains("it has no memory at"), "{long}");
    let other = Options {
        kernel_build_id: BuildId::new(&[0x5a; 20]),
        ..options.clone()
    };
    let other = refused(&other, DsoKind::Kernel, "schedule", recorded, 8);
    assert!(other.contains("another kernel"), "{other}");
    let here = Options {
        kernel_text: Some(running),
        ..options.clone()
    };
    let module = DsoKind::KernelModule;
    assert!(code(&here, module, "schedule", schedule, 8).is_ok());
    for (options, name, start) in [(&here, "gone", schedule), (&options, "schedule", recorded)] {
        let gone = refused(options, module, name, start, 8);
        assert!(gone.contains("the module is not where it was"), "{gone}");
    }
}

#[test]
fn another_kernels_address_has_no_name_of_this_one() {
    let options = Options {
        kernel_build_id: BuildId::new(&[0x5a; 20]),
        ..Options::default()
    };
    let resolution = resolve(options, 0xffff_ffff_8100_1010);
    assert_eq!(resolution, Resolution::Unresolved(Reason::OtherKernel));
}
