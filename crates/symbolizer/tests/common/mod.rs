//! Builds small programs and asks other tools about them.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, FileId, Resolution, Symbol};
use prof_symbolizer::{FoundFile, MappedFile, Options, Symbolizer, read_build_id};

/// Whether a tool is there; says so and fails under CI if not.
pub fn has(tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{tool} is not installed");
        println!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a command that must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Compiles `tests/programs/SOURCE` to `dir/program`.
pub fn build(dir: &Path, source: &str, flags: &[&str]) -> PathBuf {
    let program = dir.join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(source);
    let compiler = match source.extension().unwrap().to_str().unwrap() {
        "c" => "gcc",
        "cc" => "g++",
        "rs" => "rustc",
        other => panic!("no compiler for .{other}"),
    };
    run(Command::new(compiler)
        .current_dir(dir)
        .args(flags)
        .arg(&source)
        .arg("-o")
        .arg(&program));
    program
}

/// What a recorder would note of a mapped file.
pub fn dso(path: &Path) -> Dso {
    use std::os::unix::ffi::OsStrExt;
    Dso {
        path: path.as_os_str().as_bytes().to_vec(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    }
}

/// The same with device and inode.
pub fn dso_with_inode(path: &Path) -> Dso {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).unwrap();
    Dso {
        file: Some(FileId {
            major: libc::major(metadata.dev()),
            minor: libc::minor(metadata.dev()),
            inode: metadata.ino(),
            generation: 0,
        }),
        ..dso(path)
    }
}

/// A file held as the recorder would.
pub fn found(bytes: Vec<u8>) -> FoundFile {
    let build_id = read_build_id(&bytes);
    FoundFile {
        image: Arc::new(MappedFile::from_bytes(bytes)),
        path: PathBuf::from("/nowhere/program"),
        build_id,
    }
}

/// Resolves offsets in one file.
pub fn resolve(options: Options, dso: &Dso, offsets: &[u64]) -> Vec<Resolution> {
    let addrs: Vec<_> = offsets.iter().map(|&offset| DsoAddr(offset)).collect();
    Symbolizer::new(options).resolve(DsoId(0), dso, &addrs)
}

/// The symbol of a resolution that has one.
pub fn symbol(resolution: &Resolution) -> &Symbol {
    match resolution {
        Resolution::Named { symbol, .. } => symbol,
        Resolution::Unresolved(reason) => panic!("unresolved: {reason:?}"),
    }
}

/// A line of `nm`.
#[derive(Debug)]
pub struct NmSymbol {
    pub address: u64,
    pub size: u64,
    pub kind: char,
    pub name: String,
}

/// The functions that `nm` lists, with their sizes.
pub fn nm(path: &Path) -> Vec<NmSymbol> {
    let listing = run(Command::new("nm").args(["--defined-only", "-S"]).arg(path));
    let symbols = listing.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| u64::from_str_radix(word, 16).unwrap();
        let [address, size, kind, name] = words[..] else {
            return None; // no size
        };
        let kind = kind.chars().next()?;
        "TtWwi".contains(kind).then(|| NmSymbol {
            address: number(address),
            size: number(size),
            kind,
            name: name.to_owned(),
        })
    });
    symbols.collect()
}

/// Converts an address to a file offset with the segments that `readelf` lists.
pub fn offset_of(path: &Path) -> impl Fn(u64) -> u64 {
    let listing = run(Command::new("readelf").arg("-lW").arg(path));
    let mut segments = Vec::new();
    for line in listing.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if words.first() == Some(&"LOAD") {
            let number = |word: &str| u64::from_str_radix(&word[2..], 16).unwrap();
            segments.push((number(words[1]), number(words[2]), number(words[4])));
        }
    }
    move |address| {
        let covers =
            |&&(_, start, size): &&(u64, u64, u64)| (start..start + size).contains(&address);
        let &(offset, start, _) = segments.iter().find(covers).unwrap();
        address - start + offset
    }
}

/// The offset of the symbol with this name.
pub fn offset_of_symbol(path: &Path, name: &str) -> u64 {
    let symbol = nm(path)
        .into_iter()
        .find(|symbol| symbol.name == name)
        .unwrap();
    offset_of(path)(symbol.address)
}

/// All offsets of a function.
pub fn offsets_of(program: &Path, function: &str) -> Vec<u64> {
    let functions = nm(program);
    let mut functions = functions.iter();
    let function = functions.find(|found| found.name == function).unwrap();
    let start = offset_of(program)(function.address);
    (start..start + function.size).collect()
}
