use std::fs;

use crate::support::{Place, has, workload};

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
