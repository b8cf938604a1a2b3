//! Names, lines and inline frames against `nm` and `addr2line`.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{build, dso, has, nm, offset_of, offset_of_symbol, offsets_of, resolve, run, symbol};
use prof_model::{DsoAddr, DsoId, Reason, Resolution, SourceLine, SymbolSource};
use prof_symbolizer::{Options, Request, Symbolizer};

fn raw_names() -> Options {
    Options {
        demangle: false,
        ..Options::default()
    }
}

/// Every function of the program, by `nm`, is found at its first and last byte.
fn agrees_with_nm(source: &str, flags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), source, flags);
    let to_offset = offset_of(&program);
    let functions = nm(&program);
    assert!(functions.len() > 2, "{functions:?}");
    let mut names: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for function in &functions {
        names
            .entry(function.address)
            .or_default()
            .push(&function.name);
    }
    let first: Vec<_> = functions
        .iter()
        .map(|function| to_offset(function.address))
        .collect();
    let last: Vec<_> = functions
        .iter()
        .zip(&first)
        .map(|(function, offset)| offset + function.size - 1)
        .collect();
    let no_debug_info = || Options {
        inline: false,
        lines: false,
        ..raw_names()
    };
    let at_first = resolve(no_debug_info(), &dso(&program), &first);
    let at_last = resolve(no_debug_info(), &dso(&program), &last);
    for (index, function) in functions.iter().enumerate() {
        let found = symbol(&at_first[index]);
        assert_eq!(found.start, first[index], "{function:?}");
        assert_eq!(found.size, function.size, "{function:?}");
        assert!(
            names[&function.address].contains(&&*found.raw),
            "{found:?} {function:?}"
        );
        assert_eq!(found.source, SymbolSource::Symtab);
        assert_eq!(found, symbol(&at_last[index]));
    }
}

#[test]
fn every_function_of_a_c_program_lies_where_nm_says() {
    if has("gcc") && has("nm") {
        agrees_with_nm("inlined.c", &["-O2", "-g"]);
        agrees_with_nm("inlined.c", &["-O2", "-no-pie", "-Wl,-z,noseparate-code"]);
    }
}

#[test]
fn every_function_of_a_cpp_program_lies_where_nm_says() {
    if has("g++") && has("nm") {
        agrees_with_nm("templates.cc", &["-O1"]);
    }
}

#[test]
fn every_function_of_a_rust_program_lies_where_nm_says() {
    if has("rustc") && has("nm") {
        agrees_with_nm("generic.rs", &["-O"]);
    }
}

/// (function, file name, line), innermost first.
type Frames = Vec<(String, String, u32)>;

/// Stands for the name of the physical function: the symbol table and debug info may know it by
/// different names (aliases, C++ constructors).
const PHYSICAL: &str = "(physical)";

fn addr2line(program: &std::path::Path, addresses: &[u64]) -> Vec<Frames> {
    let list = addresses.iter().map(|address| format!("{address:#x}"));
    let output = run(Command::new("addr2line")
        .args(["-a", "-f", "-i", "-e"])
        .arg(program)
        .args(list));
    let mut all: Vec<Frames> = Vec::new();
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(Frames::new());
            continue;
        }
        let place = lines.next().unwrap().split(" (disc").next().unwrap();
        let (file, number) = place.rsplit_once(':').unwrap();
        let file = file.rsplit('/').next().unwrap();
        let frame = (
            line.to_owned(),
            file.to_owned(),
            number.parse().unwrap_or(0),
        );
        all.last_mut().unwrap().push(frame);
    }
    for frames in &mut all {
        frames.last_mut().unwrap().0 = PHYSICAL.to_owned();
    }
    all
}

fn frames(resolution: &Resolution) -> Frames {
    let Resolution::Named {
        symbol,
        inlined,
        location,
    } = resolution
    else {
        return Frames::new();
    };
    let place = |name: &str, location: &Option<SourceLine>| {
        let (file, line) = match location {
            Some(place) => (
                place.file.rsplit('/').next().unwrap().to_owned(),
                place.line,
            ),
            None => ("??".to_owned(), 0),
        };
        (name.to_owned(), file, line)
    };
    let mut frames: Frames = inlined
        .iter()
        .map(|frame| place(&frame.name, &frame.location))
        .collect();
    frames.push(place(PHYSICAL, location));
    assert!(!symbol.raw.is_empty());
    frames
}

/// Every instruction of the named functions has the frames that `addr2line` gives it.
fn agrees_with_addr2line(source: &str, flags: &[&str], is_chosen: fn(&str) -> bool) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), source, flags);
    let to_offset = offset_of(&program);
    let mut addresses: Vec<u64> = nm(&program)
        .iter()
        .filter(|function| is_chosen(&function.name))
        .flat_map(|function| function.address..function.address + function.size)
        .collect();
    addresses.dedup();
    assert!(!addresses.is_empty());
    let offsets: Vec<_> = addresses
        .iter()
        .map(|&address| to_offset(address))
        .collect();
    let expected = addr2line(&program, &addresses);
    let resolved = resolve(raw_names(), &dso(&program), &offsets);
    let mut deepest = 0;
    for ((address, expected), resolution) in addresses.iter().zip(&expected).zip(&resolved) {
        let found = frames(resolution);
        deepest = deepest.max(found.len());
        assert_eq!(&found, expected, "at {address:#x}");
    }
    deepest
}

#[test]
fn inline_frames_and_lines_of_c_are_those_of_addr2line() {
    if has("gcc") && has("addr2line") {
        let chosen = |name: &str| ["outer", "hidden", "main"].contains(&name);
        assert_eq!(
            agrees_with_addr2line("inlined.c", &["-O2", "-g"], chosen),
            3
        );
        assert_eq!(
            agrees_with_addr2line("inlined.c", &["-O2", "-g", "-gdwarf-4"], chosen),
            3
        );
        assert_eq!(
            agrees_with_addr2line("inlined.c", &["-O2", "-g", "-gz=zlib"], chosen),
            3
        );
    }
}

#[test]
fn packed_debug_info_gives_the_same_frames_however_it_is_packed() {
    if !(has("gcc") && has("nm") && has("objcopy")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "inlined.c", &["-O2", "-g"]);
    let offsets = offsets_of(&program, "outer");
    let whole = resolve(Options::default(), &dso(&program), &offsets);
    assert!(whole.iter().any(|resolution| frames(resolution).len() == 3));
    for (kind, section) in [
        ("zlib", ".debug_info"),
        ("zlib-gnu", ".zdebug_info"),
        ("zstd", ".debug_info"),
    ] {
        let packed = dir.path().join(kind);
        run(Command::new("objcopy")
            .arg(format!("--compress-debug-sections={kind}"))
            .args([&program, &packed]));
        let sections = run(Command::new("readelf").args(["-SW"]).arg(&packed));
        assert!(sections.contains(section), "{sections}");
        assert_eq!(
            resolve(Options::default(), &dso(&packed), &offsets),
            whole,
            "{kind}"
        );
    }
}

#[test]
fn inline_frames_and_lines_of_cpp_are_those_of_addr2line() {
    if has("g++") && has("addr2line") {
        let chosen = |name: &str| name.contains("total") || name.contains("shapes");
        assert!(agrees_with_addr2line("templates.cc", &["-O2", "-g"], chosen) > 2);
    }
}

#[test]
fn inline_frames_and_lines_of_rust_are_those_of_addr2line() {
    if has("rustc") && has("addr2line") {
        let chosen = |name: &str| name.contains("churn") || name.contains("area");
        assert!(agrees_with_addr2line("generic.rs", &["-O", "-g"], chosen) > 2);
        let flags = ["-O", "-g", "-Csymbol-mangling-version=v0"];
        assert!(agrees_with_addr2line("generic.rs", &flags, chosen) > 2);
    }
}

#[test]
fn split_debug_info_gives_the_same_frames_as_whole() {
    if !(has("gcc") && has("nm")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let resolve_outer = |flags: &[&str]| {
        let program = build(dir.path(), "inlined.c", flags);
        let outer = nm(&program)
            .into_iter()
            .find(|function| function.name == "outer")
            .unwrap();
        let start = offset_of(&program)(outer.address);
        let offsets: Vec<_> = (start..start + outer.size).collect();
        resolve(Options::default(), &dso(&program), &offsets)
    };
    let whole = resolve_outer(&["-O2", "-g"]);
    let split = resolve_outer(&["-O2", "-g", "-gsplit-dwarf"]);
    assert!(whole.iter().any(|resolution| frames(resolution).len() == 3));
    let frames = |all: &[Resolution]| all.iter().map(frames).collect::<Vec<_>>();
    assert_eq!(frames(&split), frames(&whole));
}

/// A program whose split debug info lies in a package beside it and nowhere else, and what is found
/// there for each offset of its function `outer`.
fn packaged(
    dir: &Path,
    compiler: &str,
    version: &str,
    packager: &str,
) -> (PathBuf, Vec<Resolution>) {
    let flags = ["-O2", "-g", "-gsplit-dwarf", version];
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/inlined.c");
    run(Command::new(compiler)
        .current_dir(dir)
        .args(flags)
        .args([source, "-o", "program"]));
    let program = dir.join("program");
    let offsets = offsets_of(&program, "outer");
    let split = resolve(Options::default(), &dso(&program), &offsets);
    run(Command::new(packager)
        .current_dir(dir)
        .args(["-e", "program", "-o", "program.dwp"]));
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "dwo") {
            std::fs::remove_file(path).unwrap();
        }
    }
    (program, split)
}

#[test]
fn split_debug_info_in_a_package_beside_the_program_is_found() {
    for (compiler, version, packager) in [
        ("gcc", "-gdwarf-4", "dwp"),
        ("clang", "-gdwarf-4", "llvm-dwp"),
        ("clang", "-gdwarf-5", "llvm-dwp"),
    ] {
        if !(has(compiler) && has(packager)) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (program, split) = packaged(dir.path(), compiler, version, packager);
        let offsets = offsets_of(&program, "outer");
        let resolved = resolve(Options::default(), &dso(&program), &offsets);
        assert_eq!(resolved, split, "{version} {packager}");
        assert!(resolved.iter().any(|found| frames(found).len() == 3));
    }
}

#[test]
fn a_damaged_package_costs_inline_frames_but_no_name() {
    if !(has("clang") && has("llvm-dwp")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (program, split) = packaged(dir.path(), "clang", "-gdwarf-5", "llvm-dwp");
    let package = dir.path().join("program.dwp");
    let whole = std::fs::read(&package).unwrap();
    let offsets = offsets_of(&program, "outer");
    let keeps_names = |bytes: &[u8]| {
        std::fs::write(&package, bytes).unwrap();
        let resolved = resolve(Options::default(), &dso(&program), &offsets);
        let names =
            |all: &[Resolution]| all.iter().map(|it| symbol(it).clone()).collect::<Vec<_>>();
        assert_eq!(names(&resolved), names(&split));
    };
    for cut in (0..whole.len()).step_by(whole.len() / 50) {
        keeps_names(&whole[..cut]);
    }
    let mut damaged = whole.clone();
    for at in (0..whole.len()).step_by(11) {
        damaged[at] = damaged[at].wrapping_mul(31).wrapping_add(0x55);
        if at % 7 == 0 {
            keeps_names(&damaged);
        }
    }
}

#[test]
fn stubs_are_named_after_what_they_call() {
    if !(has("gcc") && has("objdump")) {
        return;
    }
    for flags in [
        &["-O2"][..],
        &["-O2", "-fcf-protection=full", "-Wl,-z,ibtplt"],
        &["-O2", "-fcf-protection=none", "-Wl,-z,now", "-no-pie"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let program = build(dir.path(), "inlined.c", flags);
        let listing = run(Command::new("objdump")
            .args(["-d", "--no-show-raw-insn"])
            .arg(&program));
        // "0000000000001030 <printf@plt>:"
        let stubs = listing.lines().filter_map(|line| {
            let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
            let name = name.strip_suffix("@plt")?;
            Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
        });
        let to_offset = offset_of(&program);
        let mut seen = 0;
        for (address, name) in stubs {
            let resolved = resolve(
                Options::default(),
                &dso(&program),
                &[to_offset(address) + 1],
            );
            let symbol = symbol(&resolved[0]);
            assert_eq!(&*symbol.name, format!("{name}@plt"), "{flags:?}");
            assert_eq!(symbol.source, SymbolSource::Plt);
            assert_eq!(symbol.start, to_offset(address));
            seen += 1;
        }
        assert!(seen >= 2, "{flags:?} {listing}");
    }
}

#[test]
fn cpp_and_rust_names_read_as_in_the_source() {
    if !(has("g++") && has("rustc")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let all_names = |source, flags: &[&str]| {
        let program = build(dir.path(), source, flags);
        let to_offset = offset_of(&program);
        let functions = nm(&program);
        let offsets: Vec<_> = functions.iter().map(|f| to_offset(f.address)).collect();
        let resolved = resolve(Options::default(), &dso(&program), &offsets);
        resolved
            .iter()
            .map(|r| symbol(r).name.to_string())
            .collect::<Vec<_>>()
    };
    let cpp = all_names("templates.cc", &["-O1"]);
    for name in [
        "shapes::Box<double>::area",
        "total<long>",
        "main::{lambda(int)#1}::operator()",
        "non-virtual thunk to shapes::Box<double>::sides",
    ] {
        assert!(cpp.iter().any(|found| found == name), "{name} in {cpp:#?}");
    }
    let rust = all_names("generic.rs", &["-O", "-Csymbol-mangling-version=v0"]);
    for name in [
        "<generic::Square<u32> as generic::Area>::area",
        "generic::churn",
        "generic::show::<&str>",
    ] {
        assert!(
            rust.iter().any(|found| found == name),
            "{name} in {rust:#?}"
        );
    }
}

#[test]
fn an_alias_has_one_name_and_it_is_the_one_that_perf_prints() {
    if !has("gcc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "inlined.c", &["-O2"]);
    let offset = offset_of_symbol(&program, "outer");
    let resolved = resolve(Options::default(), &dso(&program), &[offset + 3]);
    assert_eq!(&*symbol(&resolved[0]).name, "alias_of_outer"); // the longer of two equals
}

/// The names that debug info alone gives inlined functions are those that symbols give them elsewhere.
#[test]
fn an_inlined_cpp_function_has_the_name_that_it_has_where_it_is_not_inlined() {
    if !(has("g++") && has("nm")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let define = |how: &str| format!("-DINLINE=__attribute__(({how}))");
    let whole = build(dir.path(), "scopes.cc", &["-O1", &define("noinline")]);
    let addresses: Vec<_> = nm(&whole).iter().map(|it| it.address).collect();
    let offsets: Vec<_> = addresses.into_iter().map(offset_of(&whole)).collect();
    let named = resolve(Options::default(), &dso(&whole), &offsets);
    let names = named.iter().map(|found| symbol(found).name.to_string());
    let own = |name: &String| name.starts_with("app::") || name.starts_with("run(");
    let expected: BTreeSet<String> = names.filter(own).collect();
    assert!(expected.len() >= 13, "{expected:#?}");

    // With -flto functions and types are in other units than the code.
    for flags in [&[][..], &["-gdwarf-4"], &["-flto"], &["-gsplit-dwarf"]] {
        let always = define("always_inline");
        let flags = [&["-O1", "-g", "-w", &always], flags].concat();
        let inlined = build(dir.path(), "scopes.cc", &flags);
        let offsets = offsets_of(&inlined, "_Z3runl");
        let found = resolve(Options::default(), &dso(&inlined), &offsets);
        let mut names = BTreeSet::new();
        for found in &found {
            if let Resolution::Named { inlined, .. } = found {
                names.extend(inlined.iter().map(|frame| frame.name.to_string()));
            }
        }
        names.retain(|name| !name.starts_with("std::") && !name.starts_with("operator"));
        assert_eq!(names, expected, "{flags:?}");
    }
}

/// Debug info says in a few hundred bytes what takes gigabytes to write down.
#[test]
fn a_name_that_would_never_end_is_left_out() {
    if !(has("g++") && has("nm")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inlined = build(dir.path(), "endless_name.cc", &["-O1", "-g"]);
    let offsets = offsets_of(&inlined, "main");
    let found = resolve(Options::default(), &dso(&inlined), &offsets);
    let mut names = BTreeSet::new();
    for found in &found {
        names.extend(frames(found).into_iter().map(|(name, ..)| name));
    }
    assert!(names.contains("held"), "{names:?}");
}

/// What only a full symbol table names is unnamed in a stripped file, whatever symbol without a size
/// lies before it.
#[test]
fn a_symbol_without_size_covers_nothing_that_something_else_knows_to_be_another_function() {
    if !(has("gcc") && has("nm") && has("strip")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for flags in [&[][..], &["-Wl,--no-eh-frame-hdr"]] {
        let flags = [&["-O1", "-rdynamic", "-fno-toplevel-reorder"][..], flags].concat();
        let program = build(dir.path(), "sizeless.c", &flags);
        let listing = run(Command::new("nm").arg(&program));
        let address = |name: &str| {
            let mut lines = listing.lines();
            let line = lines
                .find(|line| line.ends_with(&format!(" {name}")))
                .unwrap();
            u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
        };
        let to_offset = offset_of(&program);
        let offset = |name: &str| to_offset(address(name));
        let expected = [
            (offset("bare"), Some("bare")),
            (offset("bare") + 1, Some("bare")),
            (offset("behind_bare"), None),
            (offset("described"), Some("described")),
            (offset("label_inside"), Some("label_inside")),
            (offset("label_inside") + 2, Some("label_inside")),
            (offset("undescribed"), None),
            (offset("behind_described"), None),
            (offset("last"), Some("last")),
            (offset("last") + 1, None),
        ];
        run(Command::new("strip").arg(&program));
        let offsets = expected.map(|(offset, _)| offset);
        let mut asked_often = Symbolizer::new(raw_names());
        for _ in 0..4 {
            let addrs = offsets.map(DsoAddr);
            let found = asked_often.resolve(DsoId(0), &dso(&program), &addrs);
            for ((offset, name), found) in expected.iter().zip(&found) {
                match name {
                    Some(name) => assert_eq!(&*symbol(found).name, *name, "{offset:#x}"),
                    None => {
                        let stripped = Resolution::Unresolved(Reason::NoSymbolTable);
                        assert_eq!(*found, stripped, "{offset:#x}");
                    }
                }
            }
        }
    }
}

/// A table of the symbols around a few addresses names these as a table of all symbols does: sized,
/// unsized, nested, stubs and gaps.
#[test]
fn a_few_symbols_give_the_same_names_as_all() {
    let exe = std::env::current_exe().unwrap();
    let mut files = vec![exe, "/bin/sh".into(), "/usr/bin/perl".into()];
    files.extend(lasting_files_mapped_here());
    files.sort();
    files.dedup();
    let mut compared = 0;
    for file in files {
        let Ok(image) = std::fs::read(&file) else {
            continue;
        };
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            DsoAddr((state >> 33) % image.len() as u64)
        };
        let dso = dso(&file);
        let mut all = Symbolizer::new(raw_names());
        for _ in 0..3 {
            all.resolve(DsoId(0), &dso, &[random()]); // who asks often gets all symbols
        }
        for _ in 0..20 {
            let mut addrs: Vec<_> = (0..40).map(|_| random()).collect();
            addrs.sort();
            let few = Symbolizer::new(raw_names()).resolve(DsoId(0), &dso, &addrs);
            let all = all.resolve(DsoId(0), &dso, &addrs);
            for ((few, all), addr) in few.iter().zip(&all).zip(&addrs) {
                assert_eq!(few, all, "{} {:#x}", file.display(), addr.0);
                compared += usize::from(matches!(all, Resolution::Named { .. }));
            }
        }
    }
    assert!(compared > 500, "{compared} names");
}

/// Returns the paths of this program and its libraries, in order. The files that tests of the same
/// process write into the temporary directory are left out, since they are mapped and deleted at
/// any moment.
fn lasting_files_mapped_here() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.starts_with('/'))
        .map(Into::into)
        .filter(|path: &PathBuf| !path.starts_with(std::env::temp_dir()))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn files_asked_for_at_once_have_the_names_of_files_asked_for_one_by_one() {
    let dsos: Vec<_> = lasting_files_mapped_here()
        .iter()
        .map(|path| dso(path))
        .collect();
    assert!(dsos.len() > 2, "the test and its libraries");
    let addrs: Vec<_> = (0..200)
        .map(|index| DsoAddr(0x2_0000 + 777 * index))
        .collect();
    let requests: Vec<_> = (0..)
        .zip(&dsos)
        .map(|(id, dso)| Request {
            id: DsoId(id),
            dso,
            addrs: &addrs,
        })
        .collect();
    let mut symbolizer = Symbolizer::new(raw_names());
    let mut one_by_one = Symbolizer::new(raw_names());
    for _ in 0..2 {
        let at_once = symbolizer.resolve_all(&requests);
        assert_eq!(at_once.len(), dsos.len());
        for (request, answers) in requests.iter().zip(at_once) {
            let alone = one_by_one.resolve(request.id, request.dso, request.addrs);
            assert_eq!(alone, answers, "{}", request.dso.long_name());
        }
    }
}
