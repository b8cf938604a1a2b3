//! `prof mem` against what a program knows of its own malloc.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Place, Running, build};

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
