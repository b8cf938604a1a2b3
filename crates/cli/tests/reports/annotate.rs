use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::support::{Place, has, is_root};

/// Instructions of annotated code: number and text by address, of all functions.
fn instructions(code: &str) -> BTreeMap<String, (String, String)> {
    let lines = code.lines().filter_map(|line| {
        let (number, rest) = line.split_once(" : ")?;
        let (address, text) = rest.split_once(":  ")?;
        let is_address = address.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = number.trim();
        (is_address && !number.is_empty()).then(|| {
            let value = (number.to_owned(), text.trim().to_owned());
            (address.trim().to_owned(), value)
        })
    });
    lines.collect()
}

/// Without the names of targets, and without how objdump fills up columns.
fn bare(text: &str) -> String {
    let text = text.split(['#', '<']).next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first page of a program's code has `_init` and the stubs of the linker. What hits a stub perf gives to `_init`,
/// which has no size in its table, and here it is the stub's.
const END_OF_STUBS: u64 = 0x2000;

#[test]
fn every_address_has_the_share_that_perf_gives_it() {
    if !has(&["perf", "gcc", "objdump"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2", "-g"]);
    place.build("tree.c", "tree", &["-O0"]);
    let (mut same, mut all) = (0, 0);
    for command in ["./split 60", "./tree 60", "gcc -O2 -S split.c -o split.s"] {
        if command.starts_with("gcc") {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets/split.c");
            let text = std::fs::read_to_string(source).unwrap();
            let text = text.replace("\"burn.h\"", "<stdio.h>");
            std::fs::write(place.file("split.c"), text).unwrap();
        }
        let record = format!("record -q -F 1999 -e cpu-clock:u -o f -- {command}");
        place.perf(&record); // whatever the command makes of it
        let theirs = place.perf("annotate --stdio -i f --no-source").out;
        let ours = place
            .prof("annotate -i f --no-source --percent-limit 0")
            .ok();
        let (theirs, ours) = (instructions(&theirs), instructions(&ours.out));
        assert!(theirs.len() > 10, "{command}: {theirs:?}");
        for (address, (share, text)) in &theirs {
            let Some(own) = ours.get(address) else {
                let at = u64::from_str_radix(address, 16).unwrap();
                assert!(at < END_OF_STUBS, "{command}: nothing at {address}: {text}");
                continue;
            };
            // addresses of two files may be equal, then one of them is left in the table
            all += 1;
            same += usize::from(own.0 == *share && bare(&own.1) == bare(text));
        }
    }
    assert!(same as f64 > 0.97 * all as f64, "{same} of {all}");
}

#[test]
fn one_function_is_shown_as_perf_shows_it_number_by_number() {
    if !has(&["perf", "gcc", "objdump"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2", "-g"]);
    place
        .perf("record -q -F 1999 -e cpu-clock:u -o f -- ./split 60")
        .ok();
    for options in [
        "",
        "-M intel",
        "-n",
        "--show-total-period",
        "--percent-type local-hits",
    ] {
        let command = format!("annotate --stdio -i f -s hot_leaf --no-source {options}");
        let theirs = place.perf(&command).ok().out;
        let ours = place.prof(&command).ok().out;
        let first_lines = |text: &str| text.lines().take(2).collect::<Vec<_>>().join("\n");
        assert_eq!(first_lines(&ours), first_lines(&theirs), "{options}");
        assert_eq!(instructions(&ours), instructions(&theirs), "{options}");
        assert!(instructions(&ours).len() > 5, "{ours}");
    }
    let global = place.prof("annotate -i f hot_leaf --no-source --percent-type global-hits");
    let global = instructions(&global.ok().out);
    let shares = global
        .values()
        .map(|(share, _)| share.parse::<f64>().unwrap());
    let share: f64 = shares.sum();
    assert!((60.0..85.0).contains(&share), "{share}"); // three quarters of all
}

#[test]
fn events_of_a_group_have_columns_side_by_side_as_in_perf() {
    if !has(&["perf", "gcc", "objdump"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2", "-g"]);
    for events in [
        "-e {cpu-clock:u,page-faults:u}",
        "-e {cpu-clock:u,page-faults,cs}:S",
        "-e cpu-clock:u -e task-clock:u",
    ] {
        let record = format!("record -q -F 1999 {events} -o f -- ./split 60");
        place.perf(&record).ok();
        for options in ["", "-n", "--show-total-period", "--group"] {
            let command = format!("annotate --stdio -i f -s hot_leaf --no-source {options}");
            let theirs = place.perf(&command).ok().out;
            let ours = place.prof(&command).ok().out;
            let titles = |text: &str| -> Vec<String> {
                let lines = text
                    .lines()
                    .filter(|line| line.contains("Disassembly of split"));
                lines.map(str::to_owned).collect()
            };
            let what = format!("{events} {options}");
            assert_eq!(titles(&ours), titles(&theirs), "{what}");
            let is_apart = events.contains("-e task-clock") && options != "--group";
            assert_eq!(titles(&ours).len(), if is_apart { 2 } else { 1 }, "{what}");
            assert_eq!(instructions(&ours), instructions(&theirs), "{what}");
        }
    }
    // A line for both events.
    let lines = place.prof("annotate -i f hot_leaf -l --group").ok().out;
    let hottest = lines.lines().find(|line| line.contains("burn.h:"));
    let columns = hottest.unwrap().split_whitespace().count();
    assert_eq!(columns, 3, "{lines}");
}

#[test]
fn source_stands_between_the_instructions_and_what_is_inlined_has_its_own() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2", "-g"]);
    place.prof("record -q -F 997 -o f -- ./split 30").ok();
    let shown = place.prof("annotate -i f hot_leaf").ok();
    let lines: Vec<&str> = shown.out.lines().map(str::trim).collect();
    let index = |text: &str| {
        let found = lines.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("`{text}` is missing in:\n{}", shown.out))
    };
    // in the order of the code: the loop is inlined, what follows it is not
    let order = [
        "<hot_leaf>:",
        "burn(): burn.h",
        "x = x * 3 + 1;",
        "lea ",
        "hot_leaf(): split.c",
        "NOINLINE void hot_leaf(void)",
    ];
    let places: Vec<usize> = order.iter().map(|text| index(text)).collect();
    assert!(places.is_sorted(), "{places:?}\n{}", shown.out);
    // the loop of three instructions has all samples, if not one hit its way in
    let hot = place.prof("annotate -i f hot_leaf -l").ok();
    let hottest = hot
        .out
        .lines()
        .find(|line| line.contains("burn.h:"))
        .unwrap();
    let share: f64 = hottest.split_whitespace().next().unwrap().parse().unwrap();
    assert!(share > 30.0, "{}", hot.out);
    let paths = place.prof("annotate -i f hot_leaf -l -P").ok();
    assert!(
        paths.out.contains("/tests/targets/burn.h:"),
        "{}",
        paths.out
    );
}

#[test]
fn source_that_is_gone_or_newer_is_not_shown_and_that_is_said() {
    if !has(&["gcc"]) {
        return;
    }
    let place = Place::new();
    let text = "int main(int n, char **v) { volatile unsigned x = 1;\n\
                for (long i = 0; i < 400000000; i++) x = x * 3 + 1;\n return 0; }\n";
    let source = place.file("own.c");
    std::fs::write(&source, text).unwrap();
    place.run("gcc", &["-O1", "-g", "own.c", "-o", "own"]).ok();
    place
        .prof("record -q -F 997 -e cpu-clock:u -o f -- ./own")
        .ok();
    let shown = place.prof("annotate -i f main").ok();
    assert!(shown.out.contains("x = x * 3 + 1;"), "{}", shown.out);
    let later = SystemTime::now() + Duration::from_secs(3600);
    File::options()
        .append(true)
        .open(&source)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let newer = place.prof("annotate -i f main").ok();
    assert!(!newer.out.contains("x = x * 3 + 1;"), "{}", newer.out);
    assert!(
        newer
            .err
            .contains("was changed after the program was built"),
        "{}",
        newer.err
    );
    std::fs::remove_file(&source).unwrap();
    let gone = place.prof("annotate -i f main").ok();
    assert!(gone.err.contains("own.c is not here"), "{}", gone.err);
    assert_eq!(instructions(&gone.out), instructions(&shown.out));

    // another program at the same path has other code
    std::fs::remove_file(place.file("own")).unwrap();
    place.build("split.c", "own", &["-O2"]);
    place.prof("annotate -i f main").failed(
        1,
        &["instructions of `main`", "not the one that ran", "--symfs"],
    );
}

#[test]
fn what_cannot_be_shown_is_told_with_its_reason() {
    if !has(&["gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2", "-Wl,--build-id=none"]);
    place
        .prof("record -q -F 997 -e cpu-clock -o f -- ./split 30")
        .ok();
    place
        .prof("annotate -i f hot_lef")
        .failed(1, &["no sample lies in a function `hot_lef`", "`hot_leaf`"]);
    place
        .prof("annotate -i f -d libm.so")
        .failed(1, &["no sample passes"]);
    let bare = place.prof("annotate -i f hot_leaf").ok();
    assert!(bare.err.contains("no source lines"), "{}", bare.err);
    place
        .prof("annotate -i f hot_leaf --percent-type all")
        .failed(2, &["local-period"]);
    let hottest = place.prof("annotate -i f --percent-limit 20").ok();
    assert!(hottest.out.contains("<hot_leaf>:") && hottest.out.contains("<cold_leaf>:"));
    assert!(hottest.err.contains("are left out"), "{}", hottest.err);
}

#[test]
fn the_kernels_code_is_shown_from_its_memory_or_its_file() {
    if !is_root() || !has(&["gcc", "objdump"]) {
        return;
    }
    let place = Place::new();
    // What a write to /dev/null ends in: no page is copied.
    let busy = "dd if=/dev/zero of=/dev/null bs=1 count=2000000 2>&1";
    let record = ["record", "-q", "-o", "f", "--", "sh", "-c", busy];
    place.run(crate::support::PROF, &record).ok();
    let table = place.prof("report -i f --no-children -g none --sort sym -q");
    let table = table.ok().out;
    let mut kernel = table.lines().filter_map(|line| line.split_once("[k] "));
    let (_, function) = kernel.next().expect("a kernel function");
    let function = function.trim();

    let annotate = format!("annotate -i f {function}");
    if std::fs::File::open("/proc/kcore").is_ok() {
        let shown = place.prof(&annotate).ok();
        assert!(instructions(&shown.out).len() > 2, "{}", shown.out);
    } else {
        let tried = [
            "kernel's code",
            "/proc/kcore",
            "no vmlinux with build-id",
            "--vmlinux FILE",
        ];
        place.prof(&annotate).failed(1, &tried);
    }

    // A kernel's file in which this function lies as far from `_text`, elsewhere.
    let (start, end) = kernel_function(function);
    let (text, _) = kernel_function("_text");
    let source = format!(
        ".globl _text, {function}\n.text\n_text: .skip {}\n.type {function}, @function\n\
         {function}: .rept {}\n pause\n .endr\n jmp _text\n\
         behind: .skip 4096\n",
        start - text,
        (end - start) / 2
    );
    std::fs::write(place.file("v.s"), source).unwrap();
    let flags = "-nostdlib -static -Wl,-e0 -Wl,--build-id=none -Wl,-Ttext=0xffffffffb0000000";
    let flags: Vec<&str> = flags.split(' ').chain(["v.s", "-o", "vmlinux"]).collect();
    place.run("gcc", &flags).ok();
    let shown = place
        .prof(&format!("{annotate} --vmlinux vmlinux --stdio"))
        .ok();
    let ours = instructions(&shown.out);
    let disassemble = format!("--disassemble={function}");
    let listing = place.run(
        "objdump",
        &["-d", "--no-show-raw-insn", &disassemble, "vmlinux"],
    );
    let theirs = listing.ok().out;
    let theirs: BTreeMap<&str, &str> = theirs
        .lines()
        .filter_map(|line| line.trim().split_once(":\t"))
        .collect();
    assert!(ours.len() > 2);
    let mut shares = 0.0;
    for (address, (share, text)) in &ours {
        assert_eq!(bare(theirs[&**address]), bare(text), "{address}");
        shares += share.parse::<f64>().unwrap();
    }
    assert!((99.0..101.0).contains(&shares), "{shares}%");
}

/// Where a function of the running kernel begins and ends.
fn kernel_function(name: &str) -> (u64, u64) {
    let tables = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let symbols = tables.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        words.next()?;
        Some((address, words.next()?))
    });
    let symbols: Vec<_> = symbols.collect();
    let (start, _) = *symbols.iter().find(|(_, other)| *other == name).unwrap();
    let later = symbols.iter().map(|&(address, _)| address);
    let end = later.filter(|&address| address > start).min().unwrap();
    (start, end)
}
