use crate::support::{Place, tolerance};

#[test]
fn the_demo_finds_the_function_that_takes_60_percent() {
    let place = Place::new();
    let demo = place.prof(&["demo", "-d", "2s"]).ok();
    let rows: Vec<&str> = demo
        .out
        .lines()
        .filter(|line| line.contains("[.]"))
        .collect();
    assert!(rows[0].contains("prof::workload::checksum"), "{}", demo.out);
    assert!(demo.out.contains("prof::workload::handle_request"));
    assert_eq!(place.files(), ["demo.data", "demo.svg"]);

    let samples = place.samples("demo.data");
    // two threads for two seconds at 999 Hz; less on a machine that has other work
    assert!(samples > 800, "{samples} samples");
    let share = place.share("demo.data", "prof::workload::checksum");
    let off = (share - 60.0).abs();
    assert!(off <= tolerance(60.0, samples), "{share}% of {samples}");
    assert!(demo.err.contains("stacks: 100.0% whole") || demo.err.contains("stacks: 99."));
}

#[test]
fn the_demos_threads_and_its_system_call_are_in_the_report() {
    let place = Place::new();
    place.prof(&["demo", "-d", "1s"]).ok();
    let by_thread = [
        "report",
        "-i",
        "demo.data",
        "--sort",
        "comm",
        "-g",
        "none",
        "-q",
    ];
    let report = place.prof(&by_thread).ok();
    for thread in ["parser", "indexer"] {
        assert!(report.out.contains(thread), "{}", report.out);
    }
    let folded = place
        .prof(&["report", "-i", "demo.data", "--folded", "-"])
        .ok();
    let in_kernel = |line: &str| {
        let log = line.find("prof::workload::write_log");
        let kernel = line.find("entry_SYSCALL_64");
        log.is_some() && log < kernel
    };
    assert!(folded.out.lines().any(in_kernel), "{}", folded.out);
}
