//! Programs that move their text into anonymous memory, as for huge pages.
#![cfg(target_arch = "x86_64")]

use std::time::Duration;

use crate::support::{Place, Ran, Running, build, has, tolerance};

/// `hugify.c`, without frame pointers: its stacks need the tables of the file.
fn hugify(place: &Place) {
    build(place, "hugify.c", &["-fomit-frame-pointer", "-o", "hugify"]);
}

/// The shares of `hugify.c`, with whole stacks and nothing without a name; stock perf finds the names, too.
fn has_all_names(place: &Place, recorded: &Ran) {
    assert!(!recorded.err.contains("JIT"), "{}", recorded.err);
    assert!(!recorded.err.contains("unnamed"), "{}", recorded.err);
    let is_whole = ["stacks: 100.0% whole", "stacks: 99."];
    let is_whole = is_whole.iter().any(|it| recorded.err.contains(it));
    assert!(is_whole, "{}", recorded.err);
    has_names(place, 2.0); // the kernel's part
}

/// The same where so many percent may have other names or none.
fn has_names(place: &Place, others: f64) {
    let samples = place.samples("perf.data");
    for (name, percent) in [("hot", 75.0), ("cold", 25.0)] {
        let share = place.share("perf.data", name);
        let off = (share - percent).abs();
        assert!(
            off < tolerance(percent, samples) + others,
            "{name}: {share}"
        );
    }
    let folded = place.prof(&["report", "--folded", "-", "-q"]).ok().out;
    assert!(folded.contains(";main;part;hot"), "{folded}");
    if has("perf") {
        let args = ["report", "--stdio", "-q", "--no-children", "-g", "none"];
        let report = place.perf(&[&args[..], &["--sort", "sym"]].concat()).ok();
        let mut words = report.out.split_whitespace();
        let first: Vec<_> = words.by_ref().take(3).collect();
        assert_eq!(first[1..], ["[.]", "hot"], "{}", report.out);
        let share: f64 = first[0].trim_end_matches('%').parse().unwrap();
        let off = (share - 75.0).abs();
        assert!(off < tolerance(75.0, samples) + others, "{}", report.out);
    }
}

#[test]
fn text_that_was_moved_into_anonymous_memory_before_the_recording_has_its_names_and_stacks() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    hugify(&place);
    let mut program = place.command("./hugify", &["100000", "100000"]);
    let program = Running(program.spawn().unwrap());
    while !place.file("moved").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let args = ["record", "-F", "499", "-d", "1", "-p", &program.pid()];
    let recorded = place.prof(&args).ok();
    has_all_names(&place, &recorded);
}

#[test]
fn text_that_is_moved_into_anonymous_memory_while_it_is_recorded_keeps_its_names_and_stacks() {
    if !has("gcc") {
        return;
    }
    for is_slow in [false, true] {
        let place = Place::new();
        hugify(&place);
        let how: &[&str] = if is_slow { &["slow"] } else { &[] };
        let args = ["record", "-F", "499", "--", "./hugify", "200", "170"];
        let recorded = place.prof(&[&args[..], how].concat()).ok();
        assert!(place.file("moved").exists());
        match is_slow {
            false => has_all_names(&place, &recorded),
            // nothing tells of the end of the copying but a look ten times a second
            true => has_names(&place, 12.0),
        }
    }
}

#[test]
fn node_with_its_text_in_large_pages_has_the_names_of_its_functions() {
    if !has("node") {
        return;
    }
    let place = Place::new();
    // much of it in C++ and in code that is built in
    let script = "const end = Date.now() + 1000; let s = 0; \
        while (Date.now() < end) s += JSON.stringify([1, 'a', { b: [2.5] }]).length; \
        const maps = require('fs').readFileSync('/proc/self/maps', 'latin1').split('\\n'); \
        const at = maps.findIndex(it => /r-xp 0+ 00:00 0 *$/.test(it)); \
        process.exit(/node/.test(maps[at - 1]) && /node/.test(maps[at + 1]) ? 0 : 9);";
    let args = [
        "record",
        "-q",
        "-F",
        "499",
        "--",
        "node",
        "--use-largepages=on",
        "-e",
        script,
    ];
    let recorded = place.prof(&args);
    if recorded.status == Some(9) {
        return println!("skipped: this node does not move its text");
    }
    recorded.ok();
    let rows = [
        "report",
        "-q",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "dso",
        "-t",
        "\t",
    ];
    let rows = place.prof(&rows).ok().out;
    let share = rows.lines().find_map(|row| {
        let (percent, dso) = row.split_once('\t')?;
        (dso.trim() == "node").then(|| percent.trim().trim_end_matches('%').parse::<f64>().ok())?
    });
    assert!(share.is_some_and(|share| share > 50.0), "{rows}");
    let stringify = place.functions("perf.data");
    let has_it =
        |(name, percent): &(String, f64)| name.contains("JsonStringifier") && *percent > 3.0;
    assert!(stringify.iter().any(has_it), "{stringify:?}");
}
