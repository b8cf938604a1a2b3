//! `prof mem` against what a program knows of its own malloc.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Place, Running, build, is_root};

/// The number behind a key of an object, the first that is there.
fn number(json: &str, key: &str) -> f64 {
    let key = format!("\"{key}\":");
    let (_, rest) = json.split_once(&key).expect(&key);
    let end = rest.find([',', '}', ']']).expect("an end");
    rest[..end].parse().expect(&key)
}

#[test]
fn what_is_freed_and_kept_is_told_from_what_is_in_use() {
    let place = Place::new();
    build(&place, "arenas.c", &["-pthread", "-o", "arenas"]);
    let program = place.file("arenas").to_string_lossy().into_owned();
    let mut command = place.command(&program, &["kept"]);
    let mut target = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let out = target.0.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    let truth: Vec<f64> = line
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect();
    let pid = target.pid();
    let json = place
        .prof(&["mem", "--json", "-d", "1s", "-p", &pid])
        .ok()
        .out;
    let in_use = number(&json, "in_use");
    assert!((in_use / truth[0] - 1.0).abs() < 0.05, "{line}{json}");
    let kept = number(&json, "kept_resident") + number(&json, "kept_not_resident");
    let expected = truth[2] - truth[0];
    assert!((kept / expected - 1.0).abs() < 0.05, "{line}{json}");
    let text = place.prof(&["mem", "-d", "1s", "-p", &pid]).ok().out;
    assert!(text.contains("Not a leak of the program"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() <= 20, "{text}");
    assert!(lines.iter().all(|it| it.chars().count() <= 80), "{text}");
}

#[test]
fn what_grows_is_told_by_who_touches_it_first_and_what_is_given_back_is_not() {
    let place = Place::new();
    if !is_root() {
        return; // whose pages are there is root's to know
    }
    build(
        &place,
        "grows.c",
        &["-g", "-fomit-frame-pointer", "-o", "grows"],
    );
    let program = place.file("grows").to_string_lossy().into_owned();
    let target = Running::start(&program, &[]);
    let ran = place
        .prof(&["mem", "--json", "-d", "4s", "-p", &target.pid()])
        .ok();
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    let (new, grown) = (
        &answer["new_pages"],
        answer["added_bytes"].as_f64().unwrap(),
    );
    assert_eq!(new["gone_not_known"], false, "{}", ran.out);
    let (bytes, samples) = (
        new["bytes"].as_f64().unwrap(),
        new["samples"].as_f64().unwrap(),
    );
    assert!(samples > 300.0, "{}", ran.out);
    // Three megabytes are taken and given back in each round, beside 0.4 that stay.
    assert!((bytes / grown - 1.0).abs() < 0.3, "{}", ran.out);
    let paths = new["first_touched_by"].as_array().unwrap();
    for (function, share) in [("parse", 50.0_f64), ("cache", 30.0), ("session", 20.0)] {
        let is_of = |path: &&Value| {
            let names = path["path"].as_array().unwrap();
            names.iter().any(|name| name == function)
        };
        let told: f64 = paths
            .iter()
            .filter(is_of)
            .map(|it| it["percent"].as_f64().unwrap())
            .sum();
        let bound = 4.0 * (share * (100.0 - share) / samples).sqrt() + 1.0;
        assert!(
            (told - share).abs() < bound,
            "{function}: {told} of {share} ±{bound}: {}",
            ran.out
        );
    }
}
