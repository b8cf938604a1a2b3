//! Which rows there are, and in which order, for sort keys, columns and filters.

use crate::lab::Lab;

const OPTIONS: &[&str] = &[
    "-s comm,dso,sym",
    "-s sym,comm",
    "-s sym,dso -n",
    "-s dso",
    "-s comm -n",
    "-F comm,overhead,dso",
    "-F sym,sample",
    "-F overhead,sample,period,comm",
    "-F dso,sym,comm,overhead",
    "-s comm --comms one,two",
    "-s sym -d work",
    "-s sym -d work --percentage relative",
    "-s comm,sym -S leaf",
    "-s comm,sym -S leaf,recurse --percentage relative",
    "-s comm,sym --percent-limit 2",
];

/// The lines that are no comments.
fn rows(report: &str) -> Vec<&str> {
    let lines = report.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn keys_columns_and_filters_give_the_rows_of_perf_in_its_order() {
    let Some(lab) = Lab::new() else { return };
    // user code without callchains: no name of the kernel or of a caller can differ
    assert!(lab.record("flat.data", "-F 2999 -e cpu-clock:u"));
    for options in OPTIONS {
        let options = format!("report --stdio --no-inline -g none {options}");
        let ours = lab.prof(&options, "flat.data").ok().out;
        let theirs = lab.perf(&options, "flat.data").ok().out;
        let (ours, theirs) = (rows(&ours), rows(&theirs));
        assert!(!ours.is_empty(), "{options}");
        if ours.iter().chain(&theirs).any(|row| row.contains("@plt")) {
            continue; // perf numbers stubs otherwise
        }
        assert_eq!(ours, theirs, "{options}");
    }
}
