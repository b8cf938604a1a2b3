use crate::support::{Place, has, is_root};

/// Recordings of stock perf of many kinds: options of `perf record`, and whether they need root.
const KINDS: [(&str, &str, bool); 9] = [
    ("fp", "-F 999 -g", false),
    ("period", "-c 1000000 -k mono --call-graph dwarf", false),
    ("two", "-F 499 -e cpu-clock,page-faults", false),
    ("group", "-F 499 -e {cpu-clock,page-faults}", false),
    ("switches", "-F 499 --switch-events --namespaces", false),
    ("compressed", "-F 499 -z", false),
    ("folder", "-F 499 --threads", false),
    ("system", "-F 99 -a -g", true),
    ("tracepoint", "-a -e sched:sched_switch -e cpu-clock", true),
];

#[test]
fn evlist_and_buildid_list_print_what_perf_prints() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2"]);
    for (name, options, needs_root) in KINDS {
        if needs_root && !is_root() {
            continue;
        }
        let record = format!("record -q {options} -o {name} -- ./split 20");
        place.perf(&record).ok();
        for list in [
            "evlist",
            "evlist -v",
            "evlist -F",
            "evlist -g",
            "evlist --trace-fields",
        ] {
            let theirs = place.perf(&format!("{list} -i {name}")).ok().out;
            let theirs: Vec<&str> = theirs
                .lines()
                .filter(|line| !line.starts_with("# Tip:"))
                .collect();
            let ours = place.prof(&format!("{list} -i {name}")).ok().out;
            assert_eq!(ours.lines().collect::<Vec<_>>(), theirs, "{list} of {name}");
        }
        for list in ["buildid-list", "buildid-list -H"] {
            let theirs = place.perf(&format!("{list} -i {name}")).ok().out;
            let theirs = without_copies_of_the_vdso(&theirs);
            let ours = place.prof(&format!("{list} -i {name}")).ok().out;
            assert_eq!(ours, theirs, "{list} of {name}");
            if name != "system" {
                assert!(ours.contains("/split\n"), "{list} of {name}: {ours}");
            }
        }
    }
}

/// perf names the vDSO by the file into which it has copied its own for reading the recording
/// (`/tmp/perf-vdso.so-XXXXXX`), if a sample lies in it.
fn without_copies_of_the_vdso(list: &str) -> String {
    let line = |line: &str| match line.split_once("/tmp/perf-vdso.so-") {
        Some((before, _)) => format!("{before}[vdso]\n"),
        None => format!("{line}\n"),
    };
    list.lines().map(line).collect()
}

#[test]
fn a_pipe_tells_its_events_and_its_files() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2"]);
    let record = "perf record -q -F 999 -o - ./split 20 > piped";
    place.run("sh", &["-c", record]).ok();
    let theirs = place.perf("evlist -v -i piped").ok();
    assert_eq!(place.prof("evlist -v -i piped").ok().out, theirs.out);
    // perf lists no files of a pipe
    let files = place.prof("buildid-list -i piped").ok();
    assert!(files.out.contains("/split\n"), "{files:?}");
}

#[test]
fn evlist_as_json_has_the_attr_and_the_groups() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2"]);
    place
        .perf("record -q -F 499 -e {cpu-clock,page-faults} -e task-clock -o f -- ./split 5")
        .ok();
    let json = place.prof("evlist --json -i f").ok();
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["schema_version"], 1);
    let events = json["events"].as_array().unwrap();
    let names: Vec<_> = events.iter().map(|event| event["name"].as_str()).collect();
    let expected = ["cpu-clock", "page-faults", "task-clock"].map(Some);
    assert_eq!(names, expected);
    assert_eq!(events[0]["sample_freq"], 499);
    assert_eq!(events[1]["attr"]["config"], "0x2");
    assert_eq!(json["groups"][0]["members"], 2);
}

#[test]
fn buildid_list_reads_files_and_the_kernel() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build(
        "split.c",
        "split",
        &["-O2", "-Wl,--build-id=0x0123456789abcdef"],
    );
    place.build("split.c", "nameless", &["-O2", "-Wl,--build-id=none"]);
    let of_file = place.prof("buildid-list -i split").ok();
    assert_eq!(of_file.out, "0123456789abcdef\n");
    let kernel = place.prof("buildid-list -k").ok();
    assert_eq!(kernel.out, place.perf("buildid-list -k").ok().out);
    place
        .prof("buildid-list -i nameless")
        .failed(1, &["no build-id", "hint"]);
    place.prof("buildid-list -i absent").failed(1, &["absent"]);
}

#[test]
fn build_ids_of_every_length_name_the_file_that_ran_from_perfs_copy() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    for kind in ["md5", "sha1", "uuid"] {
        let flag = format!("-Wl,--build-id={kind}");
        place.build("split.c", "split", &["-O2", &flag]);
        let own = place.prof("buildid-list -i split").ok().out;
        assert_eq!(
            own.trim().len(),
            if kind == "sha1" { 40 } else { 32 },
            "{kind}"
        );
        // perf copies what it has recorded; the program itself goes.
        place
            .perf("record -q -F 999 -e cpu-clock:u -o f -- ./split 30")
            .ok();
        place.run("rm", &["split"]).ok();
        let listed = place.prof("buildid-list -i f").ok().out;
        assert_eq!(listed, place.perf("buildid-list -i f").ok().out, "{kind}");
        assert!(listed.contains(own.trim()), "{kind}: {listed}");
        let rows = place.prof("report -i f --stdio -q -s sym").ok().out;
        assert!(rows.contains("hot_leaf"), "{kind}: {rows}");
    }
}
