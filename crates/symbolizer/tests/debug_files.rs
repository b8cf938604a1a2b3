//! Stripped programs whose symbols lie elsewhere.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{build, dso, has, nm, offset_of, resolve, run, symbol};
use prof_model::{Dso, Reason, Resolution, SymbolSource};
use prof_symbolizer::{Options, read_build_id};

/// A program, what `nm` says of its `hidden` function, and its debug file.
struct Fixture {
    dir: tempfile::TempDir,
    whole: PathBuf,
    start: u64,
    size: u64,
}

impl Fixture {
    fn new(flags: &[&str]) -> Option<Self> {
        if !(has("gcc") && has("objcopy") && has("nm") && has("readelf")) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let program = build(dir.path(), "inlined.c", flags);
        let hidden = nm(&program)
            .into_iter()
            .find(|f| f.name == "hidden")
            .unwrap();
        let start = offset_of(&program)(hidden.address);
        let whole = dir.path().join("whole");
        fs::rename(program, &whole).unwrap();
        let size = hidden.size;
        Some(Self {
            dir,
            whole,
            start,
            size,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn objcopy(&self, options: &[&str], from: &Path, to: &Path) {
        run(Command::new("objcopy")
            .current_dir(self.dir.path())
            .args(options)
            .args([from, to]));
    }

    fn resolve(&self, dso: &Dso, symfs: Option<PathBuf>) -> Resolution {
        let options = Options {
            symfs,
            ..Options::default()
        };
        resolve(options, dso, &[self.start + self.size / 2]).remove(0)
    }

    /// Asserts that `hidden` is named and, with debug info, has its line.
    fn assert_named(&self, resolution: &Resolution, source: SymbolSource, with_line: bool) {
        let found = symbol(resolution);
        assert_eq!((&*found.name, found.source), ("hidden", source));
        assert_eq!((found.start, found.size), (self.start, self.size));
        let Resolution::Named { location, .. } = resolution else {
            unreachable!();
        };
        let line = location
            .as_ref()
            .map(|place| (place.line / 5, place.file.ends_with("inlined.c")));
        assert_eq!(line, with_line.then_some((5, true))); // lines 28 to 29
    }
}

#[test]
fn a_stripped_program_without_a_debug_file_says_so() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    let stripped = fixture.path("stripped");
    fixture.objcopy(&["--strip-all"], &fixture.whole, &stripped);
    assert_eq!(
        fixture.resolve(&dso(&stripped), None),
        Resolution::Unresolved(Reason::NoSymbolTable)
    );
}

#[test]
fn a_debug_file_is_found_by_its_link_beside_the_program_and_in_dot_debug() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    for place in ["a/program.debug", "b/.debug/program.debug"] {
        let debug = fixture.path(place);
        fixture.objcopy(&["--only-keep-debug"], &fixture.whole, &debug);
        let program = fixture.path(&format!("{}/program", &place[..1]));
        let link = format!("--add-gnu-debuglink={}", debug.display());
        fixture.objcopy(&["--strip-all", &link], &fixture.whole, &program);
        let resolution = fixture.resolve(&dso(&program), None);
        fixture.assert_named(&resolution, SymbolSource::Symtab, true);
    }
}

#[test]
fn without_a_build_id_the_checksum_of_the_linked_file_decides() {
    let Some(fixture) = Fixture::new(&["-O2", "-g", "-Wl,--build-id=none"]) else {
        return;
    };
    let debug = fixture.path("program.debug");
    fixture.objcopy(&["--only-keep-debug"], &fixture.whole, &debug);
    let program = fixture.path("program");
    let link = format!("--add-gnu-debuglink={}", debug.display());
    fixture.objcopy(&["--strip-all", &link], &fixture.whole, &program);
    let resolution = fixture.resolve(&dso(&program), None);
    fixture.assert_named(&resolution, SymbolSource::Symtab, true);

    let mut bytes = fs::read(&debug).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&debug, bytes).unwrap();
    assert_eq!(
        fixture.resolve(&dso(&program), None),
        Resolution::Unresolved(Reason::NoSymbolTable)
    );
}

#[test]
fn a_debug_file_is_found_by_build_id_below_symfs_and_another_build_id_is_not_taken() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    let stripped = fixture.path("symfs/opt/program");
    fixture.objcopy(&["--strip-all"], &fixture.whole, &stripped);
    let id = read_build_id(&fs::read(&fixture.whole).unwrap())
        .unwrap()
        .to_string();
    let place = format!(
        "symfs/usr/lib/debug/.build-id/{}/{}.debug",
        &id[..2],
        &id[2..]
    );
    let debug = fixture.path(&place);
    fixture.objcopy(&["--only-keep-debug"], &fixture.whole, &debug);
    let symfs = fixture.dir.path().join("symfs");
    let dso = dso(Path::new("/opt/program"));
    let resolution = fixture.resolve(&dso, Some(symfs.clone()));
    fixture.assert_named(&resolution, SymbolSource::Symtab, true);

    let other = build(fixture.dir.path(), "inlined.c", &["-O1", "-g"]);
    fs::rename(other, &debug).unwrap();
    assert_eq!(
        fixture.resolve(&dso, Some(symfs)),
        Resolution::Unresolved(Reason::NoSymbolTable)
    );
}

#[test]
fn mini_debug_info_names_what_dynsym_does_not() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    if !has("xz") {
        return;
    }
    let mini = fixture.path("mini");
    fixture.objcopy(
        &["--strip-debug", "--only-keep-debug"],
        &fixture.whole,
        &mini,
    );
    fixture.objcopy(
        &["--strip-debug", "--remove-section=.comment"],
        &fixture.whole,
        &mini,
    );
    run(Command::new("xz").arg(&mini));
    let program = fixture.path("program");
    let add = "--add-section=.gnu_debugdata=mini.xz";
    fixture.objcopy(&["--strip-all", add], &fixture.whole, &program);
    let resolution = fixture.resolve(&dso(&program), None);
    fixture.assert_named(&resolution, SymbolSource::MiniDebugInfo, false);
}

#[test]
fn debug_info_names_functions_when_the_symbol_table_is_gone() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    let program = fixture.path("program");
    let options = ["--wildcard", "--strip-all", "--keep-section=.debug*"];
    fixture.objcopy(&options, &fixture.whole, &program);
    let resolution = fixture.resolve(&dso(&program), None);
    fixture.assert_named(&resolution, SymbolSource::Dwarf, true);
}

#[test]
fn debug_info_that_dwz_shared_with_another_file_is_read_from_there() {
    let Some(fixture) = Fixture::new(&["-O2", "-g"]) else {
        return;
    };
    if !has("dwz") {
        return;
    }
    let first = fixture.path("first");
    let second = fixture.path("second");
    fs::copy(&fixture.whole, &first).unwrap();
    fs::copy(&fixture.whole, &second).unwrap();
    run(Command::new("dwz").current_dir(fixture.dir.path()).args([
        "-m",
        "shared.debug",
        "-M",
        "shared.debug",
        "first",
        "second",
    ]));
    let of = |path: &Path| {
        let offsets: Vec<_> = (fixture.start..fixture.start + fixture.size).collect();
        resolve(Options::default(), &dso(path), &offsets)
    };
    assert_eq!(of(&first), of(&fixture.whole));
    let shared = run(Command::new("readelf").args(["-S", "-W"]).arg(&first));
    assert!(shared.contains(".gnu_debugaltlink"), "{shared}");
}
