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
            let own = ours.get(address);
            let own = own.unwrap_or_else(|| panic!("{command}: nothing at {address}: {text}"));
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
fn kernel_functions_have_no_file_and_that_is_said() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let busy = "dd if=/dev/zero of=/dev/null bs=1 count=2000000 2>&1";
    place
        .run(
            crate::support::PROF,
            &["record", "-q", "-o", "f", "--", "sh", "-c", busy],
        )
        .ok();
    let table = place
        .prof("report -i f --no-children -g none --sort sym -q")
        .ok();
    let kernel = table.out.lines().find_map(|line| line.split_once("[k] "));
    let Some((_, function)) = kernel else {
        panic!("no kernel function is known: {}", table.out);
    };
    place
        .prof(&format!("annotate -i f {function}"))
        .failed(1, &["kernel's code", "hint"]);
}
