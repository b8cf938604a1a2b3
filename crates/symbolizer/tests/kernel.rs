//! The kernel's names come from the tables that were given, and from no other kernel's.

mod common;

use std::io::Write;
use std::process::Command;

use prof_model::{BuildId, Dso, DsoAddr, DsoId, DsoKind, Reason, Resolution};
use prof_symbolizer::{KernelText, Options, Request, Symbolizer};

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
    spin: .skip 0x20, 0x90
    .type local, @function
    local: .skip 0x20, 0x90
    .data
    .type table, @object
    table: .skip 0x40
";

#[test]
fn the_file_of_a_kernel_names_it_too() {
    if !common::has("gcc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("vmlinux.s");
    std::fs::write(&source, VMLINUX).unwrap();
    let vmlinux = dir.path().join("vmlinux");
    let flags = [
        "-nostdlib",
        "-static",
        "-Wl,-e0",
        "-Wl,-Ttext=0xffffffff81000000",
    ];
    common::run(
        Command::new("gcc")
            .args(flags)
            .arg(&source)
            .arg("-o")
            .arg(&vmlinux),
    );
    let options = Options {
        kallsyms: Some(vmlinux),
        kernel_text: Some(KernelText {
            start: 0xffff_ffff_a000_0000,
            end: 0xffff_ffff_a000_2000,
            reference: "_text".to_owned(),
        }),
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

#[test]
fn another_kernels_address_has_no_name_of_this_one() {
    let options = Options {
        kernel_build_id: BuildId::new(&[0x5a; 20]),
        ..Options::default()
    };
    let resolution = resolve(options, 0xffff_ffff_8100_1010);
    assert_eq!(resolution, Resolution::Unresolved(Reason::OtherKernel));
}
