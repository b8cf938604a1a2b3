//! The kernel and generated code: names by virtual address.

mod common;

use std::fs;
use std::path::Path;

use common::{dso, symbol};
use prof_model::{
    BuildId, Dso, DsoAddr, DsoId, DsoKind, KernelLayout, KernelText, Pid, Reason, Resolution,
    SymbolSource,
};
use prof_symbolizer::{Options, Request, RunningKernel, Symbolizer, running_kernel_build_id};

fn kernel_dso(kind: DsoKind) -> Dso {
    Dso {
        kind,
        ..dso(Path::new("[kernel.kallsyms]"))
    }
}

fn resolve(options: Options, dso: &Dso, addr: u64) -> Resolution {
    let addrs = [DsoAddr(addr)];
    let alone = Symbolizer::new(options.clone()).resolve(DsoId(0), dso, &addrs);
    let request = Request {
        id: DsoId(0),
        dso,
        addrs: &addrs,
    };
    let with_others = Symbolizer::new(options).resolve_all(&[request]);
    assert_eq!(with_others, [alone.as_slice()]);
    alone.into_iter().next().unwrap()
}

const TABLE: &str = "\
ffffffff90000000 T _text
ffffffff90000100 T do_work
ffffffff90000200 T _etext
ffffffffc0200000 t mod_fn\t[mymod]
ffffffffc0300000 t bpf_prog_0123_mine\t[bpf]
ffffffffc0300080 t bpf_prog_4567_other\t[bpf]
";

/// Options for a kernel that has moved by 0x100000 since it was recorded.
fn moved(dir: &Path) -> Options {
    let path = dir.join("kallsyms");
    fs::write(&path, TABLE).unwrap();
    Options {
        kallsyms: Some(path),
        kernel_text: Some(KernelText {
            start: 0xffff_ffff_9010_0000,
            end: 0xffff_ffff_9010_0200,
            reference: "_text".to_owned(),
        }),
        ..Options::default()
    }
}

#[test]
fn functions_of_the_running_kernel_have_their_names() {
    match RunningKernel::read().layout() {
        Err(reason) => println!("skipped: {}", reason.describe()),
        Ok(KernelLayout { text, .. }) => {
            let found = resolve(
                Options::default(),
                &kernel_dso(DsoKind::Kernel),
                text.end - 1,
            );
            let found = symbol(&found);
            assert!(found.start < text.end && found.start + found.size >= text.end);
            let listing = fs::read_to_string("/proc/kallsyms").unwrap();
            let line = format!("{:016x} ", found.start);
            let mut lines = listing.lines().filter(|listed| listed.starts_with(&line));
            assert!(
                lines.any(|listed| listed.split_ascii_whitespace().nth(2) == Some(&found.name))
            );
        }
    }
}

#[test]
fn the_running_kernel_has_a_build_id_and_another_kernels_addresses_are_not_named_with_its_table() {
    let Some(running) = running_kernel_build_id() else {
        println!("skipped: no /sys/kernel/notes");
        return;
    };
    assert_eq!(running.as_bytes().len(), 20);
    let options = Options {
        kernel_build_id: BuildId::new(b"another kernel"),
        ..Options::default()
    };
    assert_eq!(
        resolve(options, &kernel_dso(DsoKind::Kernel), 0xffff_ffff_8100_0000),
        Resolution::Unresolved(Reason::OtherKernel)
    );
}

#[test]
fn a_kernel_that_was_booted_again_is_looked_up_where_it_lies_now() {
    let dir = tempfile::tempdir().unwrap();
    let resolution = resolve(
        moved(dir.path()),
        &kernel_dso(DsoKind::Kernel),
        0xffff_ffff_9010_0123,
    );
    let found = symbol(&resolution);
    assert_eq!(
        (&*found.name, found.start, found.size),
        ("do_work", 0xffff_ffff_9010_0100, 0x100)
    );
    assert_eq!(found.source, SymbolSource::Kallsyms);
    assert_eq!(
        resolve(
            moved(dir.path()),
            &kernel_dso(DsoKind::KernelModule),
            0xffff_ffff_c020_0000
        ),
        Resolution::Unresolved(Reason::OtherKernel)
    );
}

#[test]
fn modules_are_named_from_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        kernel_text: None,
        ..moved(dir.path())
    };
    let resolution = resolve(
        options,
        &kernel_dso(DsoKind::KernelModule),
        0xffff_ffff_c020_0001,
    );
    assert_eq!(&*symbol(&resolution).name, "mod_fn");
}

#[test]
fn a_bpf_program_is_named_by_its_record_and_placed_by_the_kernel_if_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let bpf = |name: &str| Dso {
        kind: DsoKind::KernelSymbol,
        ..dso(Path::new(name))
    };
    let options = || Options {
        kernel_text: None,
        ..moved(dir.path())
    };
    let loaded = resolve(options(), &bpf("bpf_prog_0123_mine"), 0xffff_ffff_c030_0010);
    let loaded = symbol(&loaded);
    assert_eq!(
        (&*loaded.name, loaded.start, loaded.size),
        ("bpf_prog_0123_mine", 0xffff_ffff_c030_0000, 0x80)
    );
    let gone = resolve(options(), &bpf("bpf_prog_89ab_gone"), 0xffff_ffff_c040_0010);
    let gone = symbol(&gone);
    assert_eq!(
        (&*gone.name, gone.start, gone.size),
        ("bpf_prog_89ab_gone", 0, u64::MAX)
    );
}

#[test]
fn hidden_kernel_addresses_are_a_reason_not_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kallsyms");
    fs::write(
        &path,
        "0000000000000000 T _text\n0000000000000000 T do_work\n",
    )
    .unwrap();
    let options = Options {
        kallsyms: Some(path),
        ..Options::default()
    };
    assert_eq!(
        resolve(options, &kernel_dso(DsoKind::Kernel), 0xffff_ffff_8100_0000),
        Resolution::Unresolved(Reason::KernelRestricted)
    );
}

#[test]
fn generated_code_is_named_by_the_perf_map_of_its_process_as_the_map_grows() {
    let pid = Pid(std::process::id() as i32);
    let path = format!("/tmp/perf-{pid}.map");
    struct Remove(String);
    impl Drop for Remove {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
    let _remove = Remove(path.clone());
    let jit = Dso {
        kind: DsoKind::Jit(pid),
        ..dso(Path::new(&path))
    };
    let mut symbolizer = Symbolizer::new(Options::default());
    let addrs = [DsoAddr(0x1008), DsoAddr(0x2000)];
    let nameless = Resolution::Unresolved(Reason::NoPerfMap);
    assert_eq!(
        symbolizer.resolve(DsoId(0), &jit, &addrs),
        [nameless.clone(), nameless.clone()]
    );

    fs::write(&path, "1000 10 LazyCompile:~add /app/a b.js:1\n").unwrap();
    let resolved = symbolizer.resolve(DsoId(0), &jit, &addrs);
    let found = symbol(&resolved[0]);
    assert_eq!(&*found.name, "LazyCompile:~add /app/a b.js:1");
    assert_eq!(
        (found.start, found.size, found.source),
        (0x1000, 0x10, SymbolSource::PerfMap)
    );
    assert_eq!(resolved[1], nameless);

    let grown = "1000 10 LazyCompile:~add /app/a b.js:1\n2000 8 _ZN1A1fIiEEvT_\n";
    fs::write(&path, grown).unwrap();
    let resolved = symbolizer.resolve(DsoId(0), &jit, &addrs);
    assert_eq!(&*symbol(&resolved[1]).name, "A::f<int>");
}

#[test]
fn heap_and_stack_have_no_names() {
    let heap = Dso {
        kind: DsoKind::Memory,
        ..dso(Path::new("[heap]"))
    };
    assert_eq!(
        resolve(Options::default(), &heap, 0x1000),
        Resolution::Unresolved(Reason::NoPerfMap)
    );
}
