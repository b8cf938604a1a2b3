//! The file behind a mapping: replaced, deleted, renamed, in memory only.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{build, dso, dso_with_inode, has, offset_of_symbol, symbol};
use prof_model::{Dso, DsoAddr, DsoId, DsoKind, FileId, Pid, Reason, Resolution};
use prof_symbolizer::{FileFinder, FoundFile, Options, Symbolizer, read_build_id};

/// A program that runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(program: &Path, arguments: &[&Path]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready 1\n");
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id() as i32)
    }

    /// The executable mapping whose name contains `name`, as a recorder reads it.
    fn mapping(&self, name: &str) -> (u64, u64, Dso) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let line = maps
            .lines()
            .find(|line| line.contains("r-xp") && line.contains(name))
            .unwrap();
        let words: Vec<_> = line.splitn(6, ' ').collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = words[0].split_once('-').unwrap();
        let (major, minor) = words[3].split_once(':').unwrap();
        let file = FileId {
            major: hex(major) as u32,
            minor: hex(minor) as u32,
            inode: words[4]
                .parse()
                .unwrap_or_else(|_| words[4].trim().parse().unwrap()),
            generation: 0,
        };
        let path = line.split_once('/').map(|(_, path)| format!("/{path}"));
        let is_vdso = line.ends_with("[vdso]");
        let dso = Dso {
            path: path.unwrap_or("[vdso]".to_owned()).into_bytes(),
            kind: if is_vdso {
                DsoKind::Vdso
            } else {
                DsoKind::File
            },
            file: (!is_vdso).then_some(file),
            build_id: None,
        };
        (hex(start), hex(end), dso)
    }

    fn open(&self, name: &str) -> Result<FoundFile, Reason> {
        let (start, end, dso) = self.mapping(name);
        FileFinder::default().open_live(self.pid(), start, end, &dso)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn has_tools() -> bool {
    has("gcc") && has("nm") && has("readelf")
}

/// The name at an offset of a file that was found while its process ran.
fn name_in(found: FoundFile, dso: &Dso, offset: u64) -> String {
    let mut symbolizer = Symbolizer::new(Options::default());
    symbolizer.keep(DsoId(3), found);
    let resolved = symbolizer.resolve(DsoId(3), dso, &[DsoAddr(offset)]);
    symbol(&resolved[0]).name.to_string()
}

#[test]
fn a_running_program_is_found_and_named() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "spin.c", &[]);
    let running = Running::start(&program, &[]);
    let found = running.open("/program").unwrap();
    assert_eq!((*found.image).as_ref(), fs::read(&program).unwrap());
    assert_eq!(found.build_id, read_build_id(&fs::read(&program).unwrap()));
    let offset = offset_of_symbol(&program, "spin");
    assert_eq!(name_in(found, &dso(&program), offset), "spin");
}

#[test]
fn a_deleted_program_is_found_while_it_runs_and_stays_readable() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "spin.c", &[]);
    let offset = offset_of_symbol(&program, "spin");
    let running = Running::start(&program, &[]);
    fs::remove_file(&program).unwrap();
    let (_, _, dso) = running.mapping("/program");
    assert!(dso.path.ends_with(b" (deleted)"));
    let found = running.open("/program").unwrap();
    drop(running);
    assert_eq!(name_in(found, &dso, offset), "spin");
}

#[test]
fn a_program_that_was_replaced_while_it_runs_is_not_confused_with_the_new_one() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "spin.c", &[]);
    let old = fs::read(&program).unwrap();
    let recorded = dso_with_inode(&program);
    let running = Running::start(&program, &[]);
    fs::rename(&program, dir.path().join("kept")).unwrap(); // so that the inode is not used again
    build(dir.path(), "spin.c", &["-O2"]);
    let found = running.open("/kept").unwrap();
    assert_eq!((*found.image).as_ref(), old);

    let resolve = |dso: &Dso| common::resolve(Options::default(), dso, &[0x1100]).remove(0);
    let replaced = Resolution::Unresolved(Reason::FileReplaced);
    assert_eq!(resolve(&recorded), replaced);
    let by_build_id = Dso {
        build_id: read_build_id(&old),
        file: None,
        ..recorded.clone()
    };
    assert_eq!(resolve(&by_build_id), replaced);
    assert!(matches!(resolve(&dso(&program)), Resolution::Named { .. }));
    let now = read_build_id(&fs::read(&program).unwrap());
    let same_build_elsewhere = Dso {
        build_id: now,
        ..recorded
    };
    assert!(matches!(
        resolve(&same_build_elsewhere),
        Resolution::Named { .. }
    ));
}

#[test]
fn a_file_without_a_build_id_is_not_taken_for_one_that_had_it() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "spin.c", &[]);
    let recorded = Dso {
        build_id: read_build_id(&fs::read(&program).unwrap()),
        ..dso(&program)
    };
    build(dir.path(), "spin.c", &["-Wl,--build-id=none"]);
    let finder = FileFinder::default();
    assert_eq!(
        finder.open_stored(&recorded).unwrap_err(),
        Reason::FileReplaced
    );
    fs::remove_file(&program).unwrap();
    assert_eq!(
        finder.open_stored(&recorded).unwrap_err(),
        Reason::FileMissing
    );
}

#[test]
fn a_library_that_was_upgraded_is_found_where_the_kernel_lets_us_look() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libspin.so");
    let built = build(dir.path(), "spin.c", &["-shared", "-fPIC"]);
    fs::rename(built, &library).unwrap();
    let old = fs::read(&library).unwrap();
    let program = build(dir.path(), "spin.c", &[]);
    let running = Running::start(&program, &[&library]);
    fs::remove_file(&library).unwrap();
    fs::write(&library, b"another file").unwrap();
    let (start, end, _) = running.mapping("libspin");
    let link = format!("/proc/{}/map_files/{start:x}-{end:x}", running.pid());
    match (running.open("libspin"), fs::File::open(link)) {
        (Ok(found), Ok(_)) => assert_eq!((*found.image).as_ref(), old),
        (Err(reason), Err(_)) => assert_eq!(reason, Reason::FileReplaced),
        (found, link) => panic!("{found:?} although the kernel's link gives {link:?}"),
    }
}

#[test]
fn the_vdso_of_a_process_is_ours_and_names_its_functions() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(&build(dir.path(), "spin.c", &[]), &[]);
    let (_, _, dso) = running.mapping("[vdso]");
    let found = running.open("[vdso]").unwrap();
    let file = dir.path().join("vdso.so");
    fs::write(&file, (*found.image).as_ref()).unwrap();
    let listing = common::run(
        Command::new("readelf")
            .args(["--dyn-syms", "-W"])
            .arg(&file),
    );
    let mut functions = listing.lines().filter_map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let name = words.get(7)?.split('@').next()?;
        (words[3] == "FUNC").then(|| (u64::from_str_radix(words[1], 16).unwrap(), name.to_owned()))
    });
    let (offset, name) = functions
        .find(|(_, name)| name == "__vdso_gettimeofday")
        .unwrap();
    let found = name_in(found, &dso, offset + 1);
    assert!(name.ends_with(&found), "{found} is an alias of {name}"); // gettimeofday

    let other = Dso {
        build_id: prof_model::BuildId::new(b"another"),
        ..dso
    };
    assert_eq!(
        FileFinder::default().open_stored(&other).unwrap_err(),
        Reason::FileReplaced
    );
}

#[test]
fn a_fifo_at_the_path_does_not_make_us_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    common::run(Command::new("mkfifo").arg(&path));
    assert_eq!(
        FileFinder::default().open_stored(&dso(&path)).unwrap_err(),
        Reason::NotRegular
    );
}

#[test]
fn memory_without_a_file_and_kernel_code_are_not_looked_up_as_files() {
    let finder = FileFinder::default();
    let memory = Dso {
        kind: DsoKind::Memory,
        ..dso(Path::new("[heap]"))
    };
    assert_eq!(finder.open_stored(&memory).unwrap_err(), Reason::NoPerfMap);
    let kernel = Dso {
        kind: DsoKind::Kernel,
        ..dso(Path::new("[kernel.kallsyms]"))
    };
    assert_eq!(
        finder.open_stored(&kernel).unwrap_err(),
        Reason::FileMissing
    );
}
