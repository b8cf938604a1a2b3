use crate::support::{Place, has};

#[test]
fn an_option_of_perf_that_is_not_offered_is_refused_with_what_to_do_instead() {
    let place = Place::new();
    for (command, words) in [
        ("record -b true", ["`-b`", "branch records"]),
        ("record --all-user -- true", ["`--all-user`", "cycles:u"]),
        (
            "record --affinity=node true",
            ["`--affinity`", "leave it out"],
        ),
        (
            "record --nonsense true",
            ["`--nonsense`", "prof record --help"],
        ),
        ("report -D", ["`-D`", "prof script"]),
        ("script --dlfilter=x.so", ["`--dlfilter`", "prof script"]),
        ("annotate --tui", ["`--tui`", "less"]),
        ("buildid-list -m", ["`-m`", "/proc/kallsyms"]),
        ("report --nonsense", ["unexpected argument", "--nonsense"]),
    ] {
        place.prof(command).failed(2, &words);
    }
}

#[test]
fn script_takes_times_functions_and_cpus_as_perf_does() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("split.c", "split", &["-O2"]);
    place
        .perf("record -q -F 997 -e cpu-clock:u --sample-cpu -o f -- ./split 20")
        .ok();
    for options in [
        "--reltime",
        "--deltatime",
        "--reltime --ns",
        "-S hot_leaf",
        "-C 0",
        "-C 0-1",
        "--reltime -S cold_leaf",
    ] {
        let theirs = place.perf(&format!("script -i f {options}")).ok();
        let ours = place.prof(&format!("script -i f {options}")).ok();
        assert_eq!(ours.out, theirs.out, "{options}");
    }
    let header = place.prof("script -i f --header-only").ok();
    assert!(header.out.starts_with("# ====") && header.out.contains("# cmdline"));
}
