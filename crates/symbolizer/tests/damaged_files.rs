//! Cut and corrupted files give wrong or no names, but never a panic, a hang or unbounded memory.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{build, dso, found, has, offset_of, offsets_of, resolve, run};
use prof_model::{DsoAddr, DsoId, Resolution};
use prof_symbolizer::{Options, Symbolizer};

/// A small generator with a fixed sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// What is said of some addresses of the damaged file.
fn answers_of(bytes: Vec<u8>) -> Vec<Resolution> {
    let mut symbolizer = Symbolizer::new(Options::default());
    symbolizer.keep(DsoId(0), found(bytes));
    let offsets = (0x1000..0x1400).step_by(0x20).chain([0, 0x2000, u64::MAX]);
    let addrs: Vec<_> = offsets.map(DsoAddr).collect();
    symbolizer.resolve(DsoId(0), &dso(Path::new("/nowhere/program")), &addrs)
}

/// What is said of the whole file, which has names.
fn answers_of_whole(bytes: &[u8]) -> Vec<Resolution> {
    let answers = answers_of(bytes.to_vec());
    let named = answers.iter();
    let named = named.filter(|one| matches!(one, Resolution::Named { .. }));
    assert!(named.count() > 3);
    answers
}

fn survives(whole: &[u8], rounds: usize) {
    let undamaged = answers_of_whole(whole);
    let mut is_read = false; // what was damaged
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut cut = whole.to_vec();
        cut.truncate(random.below(whole.len()));
        is_read |= answers_of(cut) != undamaged;

        let mut flipped = whole.to_vec();
        for _ in 0..1 + random.below(40) {
            let at = random.below(flipped.len());
            flipped[at] = random.below(256) as u8;
        }
        is_read |= answers_of(flipped) != undamaged;
    }
    assert!(is_read);
    // The headers decide about everything else.
    for at in 0..0x400.min(whole.len()) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0xff;
        answers_of(flipped);
    }
}

/// Damages only the named sections, which random bytes of the whole file would hit too rarely.
/// Returns in how many of them that made a difference.
fn survives_in_sections(program: &Path, sections: &[&str], rounds: usize) -> usize {
    let whole = fs::read(program).unwrap();
    let undamaged = answers_of_whole(&whole);
    let mut is_read = vec![false; sections.len()];
    let ranges = section_ranges(program, sections);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..rounds {
        let mut damaged = whole.clone();
        let (start, size) = ranges[round % ranges.len()];
        // a few bytes of Go's large tables are never those that our addresses need
        for _ in 0..1 + random.below(8.max(size / 500)) {
            damaged[start + random.below(size)] = random.below(256) as u8;
        }
        is_read[round % ranges.len()] |= answers_of(damaged) != undamaged;
    }
    is_read.iter().filter(|&&is_read| is_read).count()
}

/// Where sections start in the file, and their sizes.
fn section_ranges(program: &Path, sections: &[&str]) -> Vec<(usize, usize)> {
    let listing = run(Command::new("readelf").args(["-S", "-W"]).arg(program));
    let ranges: Vec<_> = listing
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_once(']')?.1.split_ascii_whitespace().collect();
            let hex = |word: &str| usize::from_str_radix(word, 16).ok();
            sections
                .contains(words.first()?)
                .then(|| Some((hex(words[3])?, hex(words[4])?)))?
        })
        .filter(|&(_, size)| size > 0)
        .collect();
    assert_eq!(ranges.len(), sections.len(), "{listing}");
    ranges
}

#[test]
fn a_damaged_c_program_does_no_harm() {
    if !(has("gcc") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "inlined.c", &["-O2", "-g"]);
    survives(&fs::read(&program).unwrap(), 300);
    let sections = [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_rnglists",
        ".symtab",
        ".strtab",
        ".dynsym",
        ".rela.plt",
        ".note.gnu.build-id",
    ];
    let read = survives_in_sections(&program, &sections, 1500);
    assert!(read >= sections.len() - 1, "{read}"); // the build-id names nothing
}

#[test]
fn a_damaged_cpp_program_does_no_harm() {
    if !(has("g++") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let flags = ["-O1", "-g", "-w", "-DINLINE=__attribute__((always_inline))"];
    for flags in [&flags[..], &[&flags[..], &["-flto"]].concat()] {
        let program = build(dir.path(), "scopes.cc", flags);
        let sections = [".debug_info", ".debug_abbrev"];
        let read = survives_in_sections(&program, &sections, 400);
        assert_eq!(read, sections.len());
    }
}

/// What reads inlined functions calls itself for each one around another.
#[test]
fn functions_that_are_inlined_deeper_than_a_stack_reaches_do_no_harm() {
    if !(has("gcc") && has("nm")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    for (depth, expected) in [(900, 900), (6_000, 0), (200_000, 0)] {
        let program = dir.path().join(format!("deep-{depth}"));
        run(Command::new("gcc")
            .args(["-O2", "-g", &format!("-Wa,--defsym,DEPTH={depth}"), "-o"])
            .arg(&program)
            .args([programs.join("deep.s"), programs.join("inlined.c")]));
        let most_inlined = |name| {
            let offsets = offsets_of(&program, name);
            let found = resolve(Options::default(), &dso(&program), &offsets);
            let counts = found.iter().map(|one| match one {
                Resolution::Named { inlined, .. } => inlined.len(),
                Resolution::Unresolved(reason) => panic!("{reason:?}"),
            });
            counts.max()
        };
        assert_eq!(most_inlined("deep"), Some(expected), "{depth}");
        assert_eq!(most_inlined("outer"), Some(2), "beside {depth}");
    }
}

/// Sections of an object file that is not linked all have the address 0.
#[test]
fn functions_cover_what_was_asked_for_where_sections_share_their_addresses() {
    if !(has("gcc") && has("objcopy")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let object = build(dir.path(), "inlined.c", &["-O2", "-gdwarf-4", "-c"]);
    let nameless = dir.path().join("nameless");
    let without = |what: &[&str], from, to| {
        run(Command::new("objcopy").args(what).args([from, to]));
    };
    without(&["--remove-section=.rela*"], &object, &nameless);
    without(&["--wildcard", "--strip-symbol=*"], &nameless, &nameless);
    let bytes = fs::read(&nameless).unwrap();
    let addrs: Vec<_> = (0..bytes.len() as u64).step_by(7).map(DsoAddr).collect();
    let mut symbolizer = Symbolizer::new(Options::default());
    symbolizer.keep(DsoId(0), found(bytes));
    let resolved = symbolizer.resolve(DsoId(0), &dso(&nameless), &addrs);
    let mut named = 0;
    for (addr, one) in addrs.iter().zip(&resolved) {
        if let Resolution::Named { symbol, .. } = one {
            let range = symbol.start..symbol.start + symbol.size;
            assert!(range.contains(&addr.0), "{symbol:?} for {addr:?}");
            named += 1;
        }
    }
    assert!(named > 3);
}

/// Which symbols are next to an address is decided without their names, as long as few are asked for.
#[test]
fn a_symbol_whose_name_cannot_be_read_leads_to_the_same_answer_each_time() {
    if !(has("gcc") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("labels.s");
    let label = |name| format!(".type {name}, @function\n{name}: .skip 16, 0x90\n");
    let text = [label("first"), label("second"), label("third")].concat();
    fs::write(&source, format!(".text\n{text}")).unwrap();
    let program = dir.path().join("labels");
    run(Command::new("gcc")
        .args(["-shared", "-nostdlib", "-Wl,--build-id=none", "-o"])
        .args([&program, &source]));
    let first = offset_of_label(&program, "first");
    let mut bytes = fs::read(&program).unwrap();
    let entry = symbol_entry(&program, &bytes, first + 16);
    bytes[entry..entry + 4].fill(0xff);

    let mut symbolizer = Symbolizer::new(Options::default());
    symbolizer.keep(DsoId(0), found(bytes));
    let mut name = |distance| {
        let addrs = [DsoAddr(first + distance)];
        match &symbolizer.resolve(DsoId(0), &dso(&program), &addrs)[0] {
            Resolution::Named { symbol, .. } => symbol.raw.to_string(),
            Resolution::Unresolved(_) => String::new(),
        }
    };
    for _ in 0..10 {
        assert_eq!([name(5), name(20), name(40)], ["first", "", "third"]);
    }
}

/// Where a label's code ends is looked up in the sorted table of unwind entries.
#[test]
fn a_table_of_unwind_entries_has_no_more_than_its_bytes_can_hold() {
    if !(has("gcc") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("labels.s");
    let function = |name| {
        let start = format!(".type {name}, @function\n{name}: .cfi_startproc\n");
        start + ".skip 16, 0x90\n.cfi_endproc\n.skip 16, 0x90\n"
    };
    let text = [function("first"), function("second")].concat();
    fs::write(&source, format!(".text\n{text}")).unwrap();
    let program = dir.path().join("labels");
    run(Command::new("gcc")
        .args(["-shared", "-nostdlib", "-o"])
        .args([&program, &source]));
    let first = offset_of_label(&program, "first");
    let mut bytes = fs::read(&program).unwrap();
    let named = |bytes: &[u8]| {
        let mut symbolizer = Symbolizer::new(Options::default());
        symbolizer.keep(DsoId(0), found(bytes.to_vec()));
        let addrs = [DsoAddr(first + 5), DsoAddr(first + 20)];
        let answers = symbolizer.resolve(DsoId(0), &dso(&program), &addrs);
        let is_named = |one: &Resolution| matches!(one, Resolution::Named { .. });
        answers.iter().map(is_named).collect::<Vec<_>>()
    };
    assert_eq!(named(&bytes), [true, false]);
    const COUNT_OF_8_BYTES: u8 = 0x04; // DW_EH_PE_udata8
    let (start, _) = section_ranges(&program, &[".eh_frame_hdr"])[0];
    bytes[start + 2] = COUNT_OF_8_BYTES;
    bytes[start + 8..start + 16].fill(0xff);
    named(&bytes);
}

fn offset_of_label(program: &Path, name: &str) -> u64 {
    let listing = run(Command::new("nm").arg(program));
    let line = listing.lines().find(|line| line.ends_with(name)).unwrap();
    let address = u64::from_str_radix(line.split(' ').next().unwrap(), 16);
    offset_of(program)(address.unwrap())
}

/// Where the entry of `.symtab` with a value is.
fn symbol_entry(program: &Path, bytes: &[u8], value: u64) -> usize {
    let (start, size) = section_ranges(program, &[".symtab"])[0];
    let mut entries = (start..start + size).step_by(24);
    let with_value = |at: &usize| bytes[at + 8..at + 16] == value.to_le_bytes();
    entries.find(with_value).unwrap()
}

#[test]
fn a_damaged_program_with_packed_sections_does_no_harm() {
    if !(has("gcc") && has("objcopy") && has("xz") && has("readelf")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), "inlined.c", &["-O2", "-g", "-gz=zlib"]);
    let mini = dir.path().join("mini");
    run(Command::new("objcopy")
        .arg("--strip-debug")
        .args([&program, &mini]));
    run(Command::new("xz").arg(&mini));
    let (stripped, packed) = (dir.path().join("stripped"), dir.path().join("packed"));
    run(Command::new("objcopy")
        .arg("--strip-all")
        .args([&program, &stripped]));
    let add = format!("--add-section=.gnu_debugdata={}.xz", mini.display());
    run(Command::new("objcopy").arg(add).args([&stripped, &packed]));
    for (file, section) in [(&program, ".debug_info"), (&packed, ".gnu_debugdata")] {
        assert_eq!(survives_in_sections(file, &[section], 300), 1, "{section}");
    }
}

#[test]
fn a_damaged_go_program_does_no_harm() {
    if Command::new("go").arg("version").output().is_err() {
        println!("skipped: go is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/busy.go");
    let program = dir.path().join("busy");
    run(Command::new("go")
        .args(["build", "-ldflags=-s -w", "-o"])
        .args([&program, &source])
        .env("GO111MODULE", "off"));
    assert!(survives_in_sections(&program, &[".gopclntab", ".noptrdata"], 60) > 0);
}
