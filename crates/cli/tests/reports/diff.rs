use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Place, has};

/// How far the difference of two shares, in percent, may be off: four and a half standard errors,
/// which one run in 100,000 exceeds, and a point for what the program itself is off.
fn tolerance(before: f64, now: f64, samples: (u64, u64)) -> f64 {
    let variance = |percent: f64, samples: u64| {
        let share = percent / 100.0;
        share * (1.0 - share) / samples.max(1) as f64
    };
    450.0 * (variance(before, samples.0) + variance(now, samples.1)).sqrt() + 1.0
}

/// Two recordings of one program: a, b and c take 60, 30 and 10, then 40, 30 and 30 percent.
fn record_both(place: &Place) {
    place.build("shares.c", "shares", &["-O2", "-g"]);
    for (file, shares) in [("before", "60 30 10"), ("now", "40 30 30")] {
        let command = format!("record -q -F 997 -e cpu-clock:u -o {file} -- ./shares 150 {shares}");
        place.prof(&command).ok();
    }
}

#[test]
fn known_shares_differ_by_what_is_known_and_the_test_tells_so() {
    if !has(&["gcc"]) {
        return;
    }
    let place = Place::new();
    record_both(&place);
    let json = place.prof("diff before now --json").ok();
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let event = &json["events"][0];
    let total = |side: &str| event[side]["samples"].as_u64().unwrap();
    let samples = (total("baseline"), total("current"));
    assert!(samples.0 > 500 && samples.1 > 500, "{samples:?}");
    let rows = event["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["symbol"] == name).unwrap();
    for (name, before, now) in [("a", 60.0, 40.0), ("b", 30.0, 30.0), ("c", 10.0, 30.0)] {
        let row = row(name);
        let delta = row["delta_percent"].as_f64().unwrap();
        let allowed = tolerance(before, now, samples);
        let off = (delta - (now - before)).abs();
        assert!(off <= allowed, "{name}: {delta}, off by {off} of {allowed}");
    }
    // 20 points are ten standard errors: no chance has them
    assert_eq!(row("a")["noise"], false);
    assert_eq!(row("c")["noise"], false);
    assert!(row("a")["q_value"].as_f64().unwrap() < 1e-6);

    let shown = place.prof("diff before now --hide-noise").ok();
    assert!(
        shown.out.contains("[.] a\n") && shown.out.contains("[.] c\n"),
        "{}",
        shown.out
    );
    let same = place.prof("diff now now --hide-noise").ok();
    assert!(same.out.contains("# 0 of "), "{}", same.out);
    assert!(
        same.out.lines().all(|line| line.starts_with('#')),
        "{}",
        same.out
    );
}

/// Rows of a table: by module and function, the two numbers.
fn rows(table: &str) -> BTreeMap<String, (String, String)> {
    let lines = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
            let name = format!("{} {}", cells[2], cells[3]);
            (name, (cells[0].to_owned(), cells[1].to_owned()))
        })
        .collect()
}

#[test]
fn the_plain_table_has_the_rows_of_perf() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("shares.c", "shares", &["-O2"]);
    for (file, shares) in [("perf.data.old", "60 30 10"), ("perf.data", "45 55 0")] {
        let command = format!("record -q -F 997 -g -o {file} -- ./shares 60 {shares}");
        place.perf(&command).ok();
    }
    for compute in ["delta-abs", "delta", "ratio", "wdiff:1,2"] {
        let ours = place.run(
            crate::support::PROF,
            &["diff", "--plain", "-c", compute, "-t", "\t"],
        );
        let theirs = place.run("perf", &["diff", "-c", compute, "-t", "\t"]);
        let (ours, theirs) = (rows(&ours.ok().out), rows(&theirs.ok().out));
        assert_eq!(ours.len(), theirs.len(), "{compute}");
        for (name, (baseline, computed)) in &theirs {
            let own = &ours[name];
            assert_eq!(&own.0, baseline, "{compute} of {name}");
            let is_share = compute.starts_with("delta");
            match (&computed[..], is_share) {
                // perf says nothing about what is gone; we say that it is gone
                ("", true) => assert_eq!(own.1, format!("-{baseline}%"), "{name}"),
                ("", false) if own.1 == "0" => {} // nor, here, about what is equal
                _ => assert_eq!(&own.1, computed, "{compute} of {name}"),
            }
        }
    }
    let (ours, theirs) = (place.prof("diff --plain -q"), place.perf("diff -q"));
    let first = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(first(&ours.ok().out), first(&theirs.ok().out));
}

#[test]
fn three_recordings_have_the_columns_of_perf() {
    if !has(&["perf", "gcc"]) {
        return;
    }
    let place = Place::new();
    place.build("shares.c", "shares", &["-O2"]);
    for (file, shares) in [
        ("one", "60 30 10"),
        ("two", "45 55 0"),
        ("three", "40 30 30"),
    ] {
        let command = format!("record -q -F 997 -e cpu-clock:u -o {file} -- ./shares 60 {shares}");
        place.perf(&command).ok();
    }
    let cells = |table: &str| -> BTreeMap<String, Vec<String>> {
        let lines = table.lines().filter(|line| line.contains('\t'));
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let mut cells: Vec<_> = line.split('\t').map(|it| it.trim().to_owned()).collect();
                let symbol = cells.pop().unwrap();
                let dso = cells.pop().unwrap();
                (format!("{dso} {symbol}"), cells)
            })
            .collect()
    };
    for compute in ["delta-abs", "delta", "ratio", "wdiff:1,2"] {
        let args = ["-c", compute, "-t", "\t", "one", "two", "three"];
        let ours = [&["diff", "--plain"][..], &args].concat();
        let theirs = [&["diff"][..], &args].concat();
        let (ours, theirs) = (
            place.run(crate::support::PROF, &ours).ok().out,
            place.run("perf", &theirs).ok().out,
        );
        let head = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with("# "));
            lines.map(|line| line.trim_end().to_owned()).collect()
        };
        assert_eq!(head(&ours), head(&theirs), "{compute}");
        let (ours, theirs) = (cells(&ours), cells(&theirs));
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>(),
            "{compute}"
        );
        for (name, theirs) in &theirs {
            let own = &ours[name];
            assert_eq!(own[0], theirs[0], "{compute} of {name}");
            for (own, other) in own[1..].iter().zip(&theirs[1..]) {
                match (&other[..], &theirs[0][..]) {
                    // where the function is gone, or is in another recording only
                    ("", _) if compute == "ratio" || compute.starts_with("wdiff") => {}
                    ("", "") => assert_eq!(own, ""),
                    ("", before) => assert_eq!(*own, format!("-{before}%"), "{name}"),
                    _ => assert_eq!(own, other, "{compute} of {name}"),
                }
            }
        }
    }
    place
        .prof("diff one two three -o 3")
        .failed(2, &["no recording 3"]);
    place
        .prof("diff one two three --svg d.svg")
        .failed(2, &["compares two recordings"]);
    let json = place.prof("diff one two three --json").ok();
    let json: Value = serde_json::from_str(&json.out).unwrap();
    for (index, name) in ["two", "three"].iter().enumerate() {
        let comparison = &json["comparisons"][index];
        assert_eq!(comparison["baseline"], "one");
        assert_eq!(comparison["current"], *name);
        assert!(
            !comparison["events"][0]["rows"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn the_flame_graph_of_a_comparison_is_red_and_blue() {
    if !has(&["gcc"]) {
        return;
    }
    let place = Place::new();
    record_both(&place);
    place.prof("diff before now --svg d.svg").ok();
    let svg = std::fs::read_to_string(place.file("d.svg")).unwrap();
    assert!(svg.contains("now compared with before: red grew, blue shrank"));
    let color_of = |name: &str| -> Vec<u32> {
        let rest = &svg[svg.find(&format!("<title>{name} (")).unwrap()..];
        let rest = &rest[rest.find("rgb(").unwrap() + 4..];
        let numbers = rest[..rest.find(')').unwrap()].split(',');
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    let (grew, shrank) = (color_of("c"), color_of("a"));
    assert!(grew[0] == 255 && grew[1] < 200, "{grew:?}");
    assert!(shrank[2] == 255 && shrank[0] < 200, "{shrank:?}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    if !has(&["gcc"]) {
        return;
    }
    let place = Place::new();
    place.prof("diff").failed(1, &["perf.data.old"]);
    place.build("shares.c", "shares", &["-O2"]);
    place
        .prof("record -q -e cpu-clock -o clock -- ./shares 5 100")
        .ok();
    place
        .prof("record -q -e page-faults -c 1 -o faults -- ./shares 1 100")
        .ok();
    place
        .prof("diff clock faults")
        .failed(1, &["no event in common", "page-faults"]);
    place
        .prof("diff clock clock -c cycles")
        .failed(2, &["branch records", "delta-abs"]);
    place
        .prof("diff clock clock -s time")
        .failed(2, &["--sort time"]);
}
