use std::fs;

use crate::support::{Place, workload};

#[test]
fn a_flame_graph_needs_no_perf_data() {
    let place = Place::new();
    let target = workload();
    let record = [
        "record",
        "-F",
        "499",
        "-p",
        &target.pid(),
        "-d",
        "1s",
        "--svg",
        "f.svg",
    ];
    place.prof(&record).ok();
    assert_eq!(place.files(), ["f.svg"]);
    let svg = fs::read_to_string(place.file("f.svg")).unwrap();
    for part in [
        "</svg>",
        "prof::workload::checksum (",
        "entry_SYSCALL_64",
        "cpu-clock at 499 Hz",
        "samples",
        &format!("({})", target.pid()),
    ] {
        assert!(svg.contains(part), "`{part}` is missing");
    }
}

#[test]
fn a_recording_is_drawn_in_each_way() {
    let place = Place::new();
    let target = workload();
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "1s"])
        .ok();
    let draw = |more: &[&str]| {
        let report = ["report", "--svg", "f.svg"];
        let ran = place.prof(&[&report[..], more].concat()).ok();
        (fs::read_to_string(place.file("f.svg")).unwrap(), ran.err)
    };
    let (flames, _) = draw(&[]);
    let (named, _) = draw(&["--title", "A <title> & more"]);
    assert!(named.contains("A &lt;title&gt; &amp; more") && !flames.contains("&amp; more"));
    let (icicles, _) = draw(&["--inverted"]);
    let (reversed, _) = draw(&["--reverse"]);
    assert!(flames != icicles && flames != reversed && icicles != reversed);
    let (_, said) = draw(&["--min-width", "5"]);
    assert!(
        said.contains("narrower"),
        "what is left out is said: {said}"
    );
}

/// The folded stacks hold every sample once, root first.
#[test]
fn folded_stacks_add_up() {
    let place = Place::new();
    let target = workload();
    place
        .prof(&["record", "-F", "499", "-p", &target.pid(), "-d", "1s"])
        .ok();
    let folded = place.prof(&["report", "--folded", "-"]).ok();
    let mut total = 0;
    for line in folded.out.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and a count");
        total += count.parse::<usize>().expect("a count");
        let thread = stack.split(';').next().unwrap();
        assert!(
            thread.starts_with("parser") || thread.starts_with("indexer"),
            "{line}"
        );
    }
    assert_eq!(total, place.samples("perf.data"));
    let root = folded.out.find("clone3").unwrap();
    assert!(root < folded.out.find("prof::workload::checksum").unwrap());
}
