use std::fs;

use crate::support::{PROF, Place, Ran, gcc, has, workload};

/// 9,999 Hz on two busy threads: nothing is lost, and a sample takes a twentieth of the space that it
/// takes in a file of `perf record --call-graph dwarf`.
#[test]
fn a_high_rate_loses_nothing_and_the_file_stays_small() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = ["record", "-F", "9999", "-p", &pid, "-d", "3s"];
    let ours = place.prof(&record).ok();
    assert!(!ours.err.contains("lost "), "{}", ours.err);
    let samples = place.samples("perf.data");
    assert!(samples > 5_000, "{samples} samples"); // an idle machine gives twelve times as many

    if !has("perf") {
        return;
    }
    let dwarf = "record -q -F 499 --call-graph dwarf -o dwarf.data -p";
    let dwarf: Vec<&str> = dwarf
        .split(' ')
        .chain([pid.as_str(), "--", "sleep", "1"])
        .collect();
    place.perf(&dwarf).ok();
    let size = |name: &str| fs::metadata(place.file(name)).unwrap().len() as usize;
    let ours = size("perf.data") / samples;
    let theirs = size("dwarf.data") / place.samples("dwarf.data").max(1);
    assert!(
        ours * 20 <= theirs,
        "{ours} against {theirs} bytes a sample"
    );
}

#[test]
fn samples_are_lost_out_loud() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    // one page holds no stack copy of 63 KiB at all
    let record = ["record", "-F", "997", "-m", "1", "-p", &pid, "-d", "500ms"];
    place
        .prof(&record)
        .failed(1)
        .says(&["were lost", "did not fit into the ring buffer", "-m 4M"]);
}

#[test]
fn every_fiftieth_page_fault_is_not_every_one() {
    let place = Place::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true $i; done";
    let samples = |period: &str| {
        let record = ["record", "-e", "page-faults", "-c", period];
        place
            .prof(&[&record[..], &["--", "sh", "-c", script]].concat())
            .ok();
        place.samples("perf.data")
    };
    let (each, fiftieth) = (samples("1"), samples("50"));
    // Two runs need nearly as many pages, and what is left over in each process is not sampled.
    assert!(each > 500, "{each}");
    assert!(
        (1..=each * 6 / 5 / 50).contains(&fiftieth),
        "{fiftieth} of {each}"
    );
}

/// How many samples had the smaller copy of the stack, for how many it was too small, and how many
/// percent of all stacks are whole, as `record -v` tells.
fn small_copies(told: &str) -> (usize, usize, f64) {
    let number = |text: &str| -> usize { text.replace(',', "").parse().unwrap() };
    let line = told
        .lines()
        .find_map(|line| line.split_once(" samples with the smaller copy of the stack"));
    let (taken, rest) = line.unwrap_or_else(|| panic!("{told}"));
    let taken = taken.rsplit(' ').next().unwrap();
    let too_small = rest.rsplit(' ').next().unwrap();
    let whole = told.split("stacks: ").nth(1).unwrap();
    let whole = whole.split('%').next().unwrap().parse().unwrap();
    (number(taken), number(too_small), whole)
}

#[test]
fn stacks_that_are_small_are_copied_small() {
    let place = Place::new();
    let target = workload();
    let pid = target.pid();
    let record = ["record", "-v", "-F", "9999", "-p", &pid, "-d", "2s"];
    let (taken, too_small, whole) = small_copies(&place.prof(&record).ok().err);
    let samples = place.samples("perf.data");
    assert!(taken * 2 > samples, "{taken} of {samples}");
    assert!(too_small == 0 && whole > 99.5, "{too_small}, {whole}%");

    // A size that was asked for is the size; and 99 copies in a second cost nothing.
    for other in [
        ["-F", "9999", "--call-graph", "dwarf,32768"],
        ["-F", "99", "--call-graph", "auto"],
    ] {
        let record = ["record", "-v", "-p", &pid, "-d", "1s"];
        let told = place.prof(&[&record[..], &other[..]].concat()).ok().err;
        assert!(!told.contains("while that is enough"), "{told}");
        assert!(!told.contains("smaller copy"), "{told}");
    }
}

/// A recursion that is deeper than the small copies comes every tenth of a second: the first time they
/// are seen to be too small, and that is remembered.
#[test]
fn stacks_that_grow_are_soon_copied_large() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets/turns.c");
    gcc(
        &place,
        &["-O2", "-fomit-frame-pointer", source, "-o", "turns"],
    );
    let target = place.file("turns");
    let record = ["record", "-v", "-F", "9999", "--", target.to_str().unwrap()];
    let ran = place.prof(&[&record[..], &["500", "300"]].concat()).ok();
    let (taken, too_small, whole) = small_copies(&ran.err);
    assert!((1..=taken).contains(&too_small), "{too_small} of {taken}");
    assert!(whole > 95.0, "{}", ran.err); // 99.9% on a free CPU; a fifth of all are deep
    assert!(place.share("perf.data", "bottom") > 10.0);
}

#[test]
fn what_ran_before_the_recorder_in_its_process_is_no_time_that_was_missed() {
    let place = Place::new();
    // as `cargo run` does: it waits for compilers, and becomes prof
    let both = format!("{PROF} workload 2 && exec {PROF} record -F 499 -- {PROF} workload 0.5");
    let ran = Ran::from(place.command("sh", &["-c", &both]).output().unwrap()).ok();
    assert!(!ran.err.contains("were sampled"), "{}", ran.err);
}

/// Each thread has a clock of its own, and none of these lives until its first sample: what the samples
/// leave out is said.
#[test]
fn threads_that_end_before_their_first_sample_are_missed_out_loud() {
    let place = Place::new();
    // The shell itself is sampled, the many that it starts are not.
    let short = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; \
        for i in $(seq 400); do sed s/a/b/ /etc/services /etc/services; done >/dev/null";
    let record = [
        "record",
        "-F",
        "99",
        "-e",
        "cpu-clock",
        "--",
        "sh",
        "-c",
        short,
    ];
    let ran = place.prof(&record).ok();
    assert!(
        ran.err.contains(" s on the CPU were sampled: threads"),
        "{}",
        ran.err
    );
    let record = [
        "record",
        "-F",
        "999",
        "-e",
        "cpu-clock",
        "--",
        PROF,
        "workload",
        "1",
    ];
    let ran = place.prof(&record).ok();
    assert!(!ran.err.contains("were sampled"), "{}", ran.err);
}
