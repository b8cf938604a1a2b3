//! What comes through pipes, and through `perf inject` on its way.

use crate::lab::Lab;

const ROWS: &str = "--stdio --no-children -g none -n -q --no-inline --sort comm,dso,sym";

/// The lines of a table or a script, without what fills up columns.
fn lines(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().map(words);
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort(); // rows of equal shares have another order
    lines
}

/// What both print must be the same, and something.
fn same(lab: &Lab, ours: &str, theirs: &str) {
    let (ours, theirs) = (lab.shell(ours).ok(), lab.shell(theirs).ok());
    let aliases = crate::rules::Aliases::of_this_kernel();
    let plain = |text: &str| {
        let lines = lines(text).into_iter();
        lines
            .map(|line| {
                let words = line.split(' ').map(|word| aliases.plain(word).to_owned());
                words.collect::<Vec<_>>().join(" ")
            })
            .filter(|line| !line.contains("@plt"))
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(&ours.out), plain(&theirs.out));
    assert!(lines(&ours.out).len() > 5, "{}", ours.out);
}

#[test]
fn registers_come_through_a_pipe() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("regs.pipe", "-F 2999 -e cpu-clock:u --intr-regs=di,ax,ip"));
    let print = "-F ip,sym,iregs";
    same(
        &lab,
        &format!("\"$PROF\" script -i - {print} --no-inline <regs.pipe"),
        &format!("perf script -i - {print} <regs.pipe"),
    );
}

#[test]
fn what_perf_injects_is_read_from_pipes_and_files() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.pipe", "-F 2999 -e cpu-clock:u"));
    assert!(lab.record("fp.data", "-F 2999 -e cpu-clock:u"));
    for (inject, file) in [
        ("perf inject -b -i - -o - <fp.pipe", "fp.pipe"),
        ("perf inject -b -f -i fp.data -o -", "fp.data"),
        (
            "perf inject -b -f -i fp.data -o injected && cat injected",
            "fp.data",
        ),
    ] {
        lab.shell(&format!("{inject} >through")).ok();
        let print = format!("\"$PROF\" report {ROWS} -i");
        let direct = lab.shell(&format!("{print} {file}")).ok().out;
        let through = lab.shell(&format!("{print} through")).ok().out;
        let piped = lab.shell(&format!("{print} - <through")).ok().out;
        assert_eq!(lines(&through), lines(&direct), "{inject}");
        assert_eq!(piped, through, "{inject}");
        assert!(direct.contains("leaf"), "{direct}");
    }
}

#[test]
fn records_say_the_same_packed_and_unpacked() {
    let Some(lab) = Lab::new() else { return };
    for options in ["-z -F 2999 -g", "-z -F 999 -e cpu-clock -e page-faults"] {
        assert!(lab.record("packed", options), "{options}");
        lab.shell("perf inject -f -i packed -o unpacked").ok();
        for print in ["report --stdio --header-only", "script"] {
            let packed = lab.prof(print, "packed").ok().out;
            assert_eq!(
                packed.contains("# compressed"),
                print.contains("header"),
                "{options}: {print}"
            );
        }
        let rows = |file| lab.prof(&format!("report {ROWS}"), file).ok().out;
        assert_eq!(rows("packed"), rows("unpacked"), "{options}");
        let script = |file| lab.prof("script", file).ok().out;
        assert!(script("packed") == script("unpacked"), "{options}");
    }
}
