use crate::support::{Place, has};

#[test]
fn an_option_of_perf_that_is_not_offered_is_refused_with_what_to_do_instead() {
    let place = Place::new();
    for (command, words) in [
        ("record -b true", ["`-b`", "branches are not recorded"]),
        ("record --all-user -- true", ["`--all-user`", "cycles:u"]),
        (
            "record --affinity=node true",
            ["`--affinity`", "leave it out"],
        ),
        (
            "record --nonsense true",
            ["`--nonsense`", "prof record --help"],
        ),
        ("record --all-k -- true", ["`--all-kernel`", "cycles:u"]),
        (
            "record --switch-out=1G -p 1",
            ["`--switch-output`", "--time"],
        ),
        ("report --max-s 5 --stats", ["`--stats`", "prof script"]),
        ("script --scr x.py", ["`--script`", "./mine.py"]),
        ("report -D", ["`-D`", "prof script"]),
        ("script --dlfilter=x.so", ["`--dlfilter`", "prof script"]),
        ("annotate --tui", ["`--tui`", "less"]),
        ("buildid-list -m", ["`-m`", "/proc/kallsyms"]),
        (
            "report --nonsense",
            ["`prof report` has no option `--nonsense`", "--nonsense"],
        ),
    ] {
        place.prof(command).failed(2, &words);
    }
}

#[test]
fn options_may_be_cut_short_where_that_leaves_no_doubt() {
    if !has(&["perf"]) {
        return;
    }
    let place = Place::new();
    // What follows the command is the command's own, however it begins.
    let command = "sh -c true --call-g --o";
    place
        .prof(&format!(
            "record -q --eve page-faults -c 1 --call-g fp --out f {command}"
        ))
        .ok();
    let cmdline = place.prof("script -i f --header-only").ok();
    let is_cmdline = |line: &&str| line.starts_with("# cmdline");
    let cmdline = cmdline.out.lines().find(is_cmdline).unwrap_or_default();
    assert!(cmdline.trim_end().ends_with(command), "{cmdline}");
    for (short, long) in [
        ("script --fie comm,tid", "script --fields comm,tid"),
        ("report --stdio --comm sh", "report --stdio --comms sh"),
        ("evlist --verb", "evlist --verbose"),
    ] {
        let long = format!("{long} -i f");
        let ours = place.prof(&format!("{short} -i f")).ok().out;
        assert_eq!(ours, place.prof(&long).ok().out, "{short}");
        // perf ends with a tip, another one each second
        let perf = |command: &str| -> Vec<String> {
            let printed = place.perf(command).ok().out;
            let lines = printed.lines().filter(|line| !line.starts_with("# (Tip"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(perf(&format!("{short} -i f")), perf(&long), "{short}");
    }
}

#[test]
fn an_option_that_others_begin_with_is_itself() {
    let place = Place::new();
    place.prof("record -q -e page-faults -c 1 -o f true").ok();
    let sections = |args: &str| {
        let printed = place.prof(args).ok().out;
        (
            printed.contains("# cmdline"),
            printed.contains("# Samples:"),
        )
    };
    assert_eq!(sections("report --stdio -i f --header"), (true, true));
    assert_eq!(sections("report --stdio -i f --header-o"), (true, false));
}

#[test]
fn an_option_that_could_be_several_is_refused_with_what_it_could_be() {
    let place = Place::new();
    for (command, words) in [
        (
            "report --head",
            ["`--head`", "`--header` or `--header-only`"],
        ),
        (
            "script --head=x",
            ["`--head`", "`--header` or `--header-only`"],
        ),
        ("record --s true", ["`--s`", "`--svg` or `--sample-cpu`"]),
        (
            "record --max-s 5 -- true",
            ["`--max-stack`", "`--max-size`"],
        ),
        ("record --in -- true", ["`--inverted`", "`--intr-regs`"]),
        ("record --re true", ["`--reverse`", "`--realtime`"]),
        ("report --r", ["`--reverse`", "`--raw-trace`"]),
        ("diff --m", ["`--min-width`", "`--modules`"]),
        ("annotate --m", ["`--max-stack`", "`--modules`"]),
    ] {
        place.prof(command).failed(2, &words);
    }
    assert!(!place.file("perf.data").exists());
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
        let theirs = place.perf(&format!("script -i f {options}")).ok().out;
        let ours = place.prof(&format!("script -i f {options}")).ok().out;
        // perf calls the first instruction of a stub by the function in front of all stubs.
        let as_perf = |(ours, theirs): (&str, &str)| match theirs.split_once(" _init+") {
            Some((before, _)) if ours.contains("@plt+0x0 ") && ours.starts_with(before) => {
                theirs.to_owned()
            }
            _ => ours.to_owned(),
        };
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{options}");
        let lines = ours.lines().zip(theirs.lines());
        let ours: Vec<_> = lines.map(as_perf).collect();
        assert_eq!(ours, theirs.lines().collect::<Vec<_>>(), "{options}");
    }
    let header = place.prof("script -i f --header-only").ok();
    assert!(header.out.starts_with("# ====") && header.out.contains("# cmdline"));
}
