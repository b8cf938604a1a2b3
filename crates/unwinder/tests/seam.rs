//! What knows a CPU is in its folder, and nowhere else: so a third one is a third folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What gives away a CPU: its name, or that of one of its registers.
const WORDS: [&str; 8] = ["x86", "aarch64", "rbp", "rsp", "rip", "%r", "x29", "x30"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path())
}

/// All files below a folder, but for those of the CPUs.
fn neutral_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.ends_with("arch") {
            continue;
        }
        match path.is_dir() {
            true => neutral_files(&path, files),
            false => files.push(path),
        }
    }
}

#[test]
fn no_code_outside_arch_names_a_cpu() {
    let mut files = Vec::new();
    neutral_files(&source(), &mut files);
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter_map(|line| line.split("//").next());
        for line in code {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '%');
            let names = |word: &str| {
                let word = word.to_ascii_lowercase();
                WORDS.iter().any(|name| word.starts_with(name))
            };
            let named: Vec<_> = words.filter(|word| names(word)).collect();
            assert!(named.is_empty(), "{}: {line}", file.display());
        }
    }
}

#[test]
fn both_cpus_have_files_of_the_same_names() {
    let names = |cpu: &str| -> BTreeSet<_> {
        let paths = entries(&source().join("arch").join(cpu));
        paths
            .filter_map(|path| Some(path.file_stem()?.to_owned()))
            .collect()
    };
    assert_eq!(names("x86_64"), names("aarch64"));
    assert!(names("x86_64").len() > 5);
}
