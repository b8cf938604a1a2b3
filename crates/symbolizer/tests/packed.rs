//! Sections that stand for far more than they are. The only test here, for it looks at the most memory
//! that this process ever had.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{dso, has, resolve, run};
use prof_model::{Reason, Resolution};
use prof_symbolizer::Options;

const MIB: u64 = 1 << 20;

/// An object file without symbols, with sections of so many zeros.
fn packed(dir: &Path, kind: &str, sections: &[&str], size: u64) -> PathBuf {
    let path = |end: &str| dir.join(format!("{kind}-{}{end}", sections.len()));
    let (source, object) = (path(".s"), path(".o"));
    let zeros = |name: &&str| {
        format!(
            ".section {name}, \"\", @progbits\n.fill {}, 8, 0\n",
            size / 8
        )
    };
    let sections: String = sections.iter().map(zeros).collect();
    fs::write(&source, format!(".text\n.skip 64, 0x90\n{sections}")).unwrap();
    run(Command::new("as")
        .arg(format!("--compress-debug-sections={kind}"))
        .args([&source, Path::new("-o"), &object]));
    let keep = ["--wildcard", "--strip-all", "--keep-section=.*debug*"];
    run(Command::new("objcopy").args(keep).arg(&object));
    assert!(fs::metadata(&object).unwrap().len() < 2 * MIB);
    object
}

/// The same with an xz stream of so many zeros.
fn packed_by_xz(dir: &Path, size: u64) -> PathBuf {
    let object = packed(dir, "none", &[], 0);
    let zeros = dir.join("zeros");
    fs::File::create(&zeros).unwrap().set_len(size).unwrap();
    run(Command::new("xz").arg(&zeros));
    let add = format!("--add-section=.gnu_debugdata={}.xz", zeros.display());
    run(Command::new("objcopy").arg(add).arg(&object));
    object
}

/// The most memory that was ever in use, in bytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

#[test]
fn what_unpacks_to_more_than_debug_info_does_is_left_out_with_a_reason() {
    if !(has("as") && has("objcopy") && has("xz")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let one = &[".debug_info"][..];
    let many: Vec<String> = (0..20).map(|n| format!(".debug_{n}")).collect();
    let many: Vec<&str> = one
        .iter()
        .copied()
        .chain(many.iter().map(String::as_str))
        .collect();
    let bombs = [
        packed(dir.path(), "zlib", one, 64 * MIB),
        packed(dir.path(), "zlib-gnu", one, 64 * MIB),
        packed(dir.path(), "zstd", one, 64 * MIB),
        packed(dir.path(), "zlib", &many, 15 * MIB), // each by itself is not too large
        packed_by_xz(dir.path(), 64 * MIB),
    ];
    for bomb in bombs {
        let before = most_memory();
        let found = resolve(Options::default(), &dso(&bomb), &[0x50]);
        let expected = Resolution::Unresolved(Reason::TooLarge);
        assert_eq!(found, [expected], "{}", bomb.display());
        let more = most_memory() - before;
        assert!(more < 40 * MIB, "{}: {more} bytes", bomb.display());
    }
    // What is large by itself is not taken for that.
    let small = packed(dir.path(), "zlib", one, 15 * MIB);
    let found = resolve(Options::default(), &dso(&small), &[0x50]);
    let expected = Resolution::Unresolved(Reason::NoSymbolTable);
    assert_eq!(found, [expected]);
}
