use crate::support::{Place, has, with_plain_names, workload};

/// Rows of a table by function: `percent name`.
fn rows(report: &str) -> Vec<String> {
    let report = with_plain_names(report);
    let rows = report.lines().filter(|line| line.contains("%"));
    let mut rows: Vec<String> = rows
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    rows.sort();
    rows
}

#[test]
fn stock_perf_reads_our_file_and_says_the_same() {
    if !has("perf") {
        return;
    }
    let place = Place::new();
    let target = workload();
    let record = ["record", "-F", "499", "-p", &target.pid(), "-d", "1s"];
    place.prof(&record).ok();

    let table = "report -i perf.data --stdio --no-children -g none -n -q --sort comm,dso,sym";
    let table: Vec<&str> = table.split(' ').collect();
    let ours = place.prof(&[&table[..], &["--no-inline"]].concat()).ok();
    let theirs = place.perf(&[&table[..], &["--no-inline"]].concat()).ok();
    assert_eq!(rows(&ours.out), rows(&theirs.out));
    assert!(rows(&ours.out).len() > 2, "{}", ours.out);
    assert_eq!(theirs.err, "");

    let ours = place
        .prof(&["script", "-i", "perf.data", "--no-inline"])
        .ok();
    let theirs = place
        .perf(&["script", "-i", "perf.data", "--no-inline"])
        .ok();
    // Several symbols have one address: perf takes the last of the kernel's list, `prof` the best.
    assert!(
        with_plain_names(&ours.out) == with_plain_names(&theirs.out),
        "prof script and perf script differ"
    );
    assert!(ours.out.lines().count() > 1000);

    for command in ["evlist", "buildid-list"] {
        let ran = place.perf(&[command, "-i", "perf.data"]).ok();
        assert!(!ran.out.trim().is_empty() && ran.err.is_empty(), "{ran:?}");
    }
}

#[test]
fn what_is_piped_is_read_by_prof_and_by_perf() {
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
        "-o",
        "-",
    ];
    let piped = place
        .command(crate::support::PROF, &record)
        .output()
        .unwrap();
    assert!(piped.status.success());
    std::fs::write(place.file("piped"), &piped.stdout).unwrap();
    let mut rest = &piped.stdout[16..]; // behind the header
    while !rest.is_empty() {
        let size = usize::from(u16::from_le_bytes([rest[6], rest[7]]));
        assert!(size >= 8 && size % 8 == 0, "a record of {size} bytes");
        rest = &rest[size..];
    }
    let shell = |command: &str| -> crate::support::Ran {
        place
            .command("sh", &["-c", command])
            .output()
            .unwrap()
            .into()
    };
    let prof = crate::support::PROF;
    let ours = shell(&format!("{prof} report -i - -g none -q --sort sym < piped")).ok();
    assert!(ours.out.contains("prof::workload::checksum"), "{ours:?}");
    if has("perf") {
        let theirs = shell("perf report -i - --stdio -g none -q --sort sym < piped").ok();
        assert!(
            theirs.out.contains("prof::workload::checksum"),
            "{theirs:?}"
        );
    }
}
