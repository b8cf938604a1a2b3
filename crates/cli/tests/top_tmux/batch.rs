use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

use crate::support::{PROF, Place, has};
use crate::target::{Target, compile};

#[test]
fn tables_name_the_function_and_stop_after_n() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = Target::start(&compile(place.path()), 1);
    let pid = target.pid().to_string();
    let ran = place
        .prof(&["top", "-p", &pid, "--batch", "-n", "2", "-F", "99"])
        .ok();
    let tables: Vec<&str> = ran.out.split("\n\n").collect();
    assert_eq!(tables.len(), 2, "{}", ran.out);
    let lines: Vec<&str> = tables[1].lines().collect();
    assert_eq!(lines[0], format!("phases ({pid})"));
    assert!(
        lines[1].contains(" 99 Hz, ") && lines[1].contains("lost 0"),
        "{}",
        lines[1]
    );
    let path = "path: clone3 100.0% > start_thread > thread > serve > burn_first";
    assert!(lines[2].starts_with(path), "{}", lines[2]);
    let title = " Self%  Total%  Change  Function  [Module]";
    let title = lines.iter().position(|line| *line == title).unwrap();
    let hottest = lines[title + 1];
    assert!(hottest.ends_with("burn_first  [phases]"), "{hottest}");
    let serve = lines.iter().find(|line| line.ends_with("serve  [phases]"));
    assert!(
        serve.is_some_and(|line| line.contains("100.00")),
        "{}",
        ran.out
    );
}

#[test]
fn without_a_terminal_and_on_a_dumb_one_there_are_tables() {
    let place = Place::new();
    let command = ["top", "-n", "1", "--", "sh", "-c", "while :; do :; done"];
    let ran = place.prof(&command).ok();
    assert!(ran.out.contains(" Self%  Total%"), "{}", ran.out);
    assert!(!ran.out.contains('\x1b'));
}

#[test]
fn a_commands_own_status_is_the_exit_status_and_its_end_is_said() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 3";
    let ran = place.prof(&["top", "--batch", "--", "sh", "-c", script]);
    assert_eq!(ran.status, Some(3), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("EXITED with status 3"), "{}", ran.out);
}

#[test]
fn a_wrong_argument_is_refused_with_a_good_one() {
    let place = Place::new();
    let ran = place.prof(&["top"]);
    ran.failed(2)
        .says(&["nothing to sample", "prof top -p PID"]);
    let ran = place.prof(&["top", "-a", "-d", "100ms"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("try `1s`"), "{}", ran.err);
    let ran = place.prof(&["top", "-p", "999999999"]);
    ran.failed(1).says(&["no process or thread 999999999"]);
}

/// `prof top --json`, object by object.
struct Objects(
    std::process::Child,
    std::io::Lines<BufReader<std::process::ChildStdout>>,
);

impl Objects {
    fn of(args: &[&str]) -> Self {
        let mut child = Command::new(PROF)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("prof runs");
        let out = child.stdout.take().expect("a pipe");
        Self(child, BufReader::new(out).lines())
    }

    fn next(&mut self) -> Value {
        let line = self.1.next().expect("another object").expect("readable");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_windows_after_a_change_the_new_function_is_the_first() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = Target::start(&compile(place.path()), 2);
    let pid = target.pid().to_string();
    let mut objects = Objects::of(&["top", "-p", &pid, "--json", "--window", "1s", "-F", "99"]);
    let first = |object: &Value| object["functions"][0]["name"].as_str().map(str::to_owned);
    while first(&objects.next()).as_deref() != Some("burn_first") {}
    for function in ["burn_second", "burn_first", "burn_second"] {
        target.switch();
        let switched = SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_secs_f64();
        let mut seen = 0;
        while seen < 2 {
            let object = objects.next();
            assert_eq!(object["schema_version"], 1);
            let (end, length) = (&object["time"], &object["window_seconds"]);
            let (end, length) = (end.as_f64().unwrap(), length.as_f64().unwrap());
            if end - 2.0 * length >= switched && object["samples"].as_u64() > Some(0) {
                assert_eq!(first(&object).as_deref(), Some(function), "{object}");
                seen += 1;
            }
        }
    }
}

#[test]
fn an_idle_process_has_objects_without_functions() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    let target = Target::start(&compile(place.path()), 1);
    target.toggle_sleep();
    let pid = target.pid().to_string();
    let args = ["top", "-p", &pid, "--json", "--window", "1s", "-F", "99"];
    let mut objects = Objects::of(&args);
    // 20 ms at a time it sleeps; what it does in between is seldom seen
    let quiet = (0..20)
        .map(|_| objects.next())
        .find(|it| it["samples"] == 0);
    let quiet = quiet.expect("a second without a sample");
    assert_eq!(quiet["functions"].as_array().map(Vec::len), Some(0));
    assert!(quiet["cpu"]["used"].as_f64() < Some(0.5), "{quiet}");
}

#[test]
fn two_hundred_threads_are_one_target() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    // together about one CPU: others want to use this machine, too
    let target = Target::start_resting(&compile(place.path()), 200, 2000);
    let pid = target.pid().to_string();
    let args = ["top", "-p", &pid, "--json", "--window", "all", "-F", "99"];
    let mut objects = Objects::of(&args);
    let sampled = |object: &Value| object["samples"].as_u64() > Some(10);
    let object = (0..60).map(|_| objects.next()).find(sampled);
    let object = object.expect("more than ten samples in a minute");
    assert_eq!(object["functions"][0]["name"], "burn_first", "{object}");
    let path = object["heaviest_path"].as_array().expect("an array");
    let innermost = path.last().expect("a path");
    assert_eq!(innermost["name"], "burn_first", "{object}");
    assert!(innermost["percent"].as_f64() > Some(90.0), "{object}");
}

#[test]
fn the_whole_system_has_its_idle_time_apart() {
    if !has("gcc") || !crate::support::is_root() {
        return;
    }
    let place = Place::new();
    let target = Target::start(&compile(place.path()), 1);
    let ran = place
        .prof(&[
            "top", "-a", "--json", "-n", "2", "-F", "99", "--rows", "1000",
        ])
        .ok();
    drop(target);
    let last: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    let functions = last["functions"].as_array().unwrap();
    let found = |name: &str| functions.iter().any(|it| it["name"] == name);
    assert!(found("burn_first"), "{last}");
    assert!(
        !found("default_idle") && !found("pv_native_safe_halt"),
        "{last}"
    );
}

#[test]
fn every_line_of_json_parses_and_its_fields_are_documented() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done";
    let command = [
        "top", "--json", "-n", "3", "-F", "99", "--", "sh", "-c", script,
    ];
    let ran = place.prof(&command).ok();
    let page = include_str!("../../../../docs/top.md");
    let is_documented = |field: &String| page.contains(&format!("`{field}`"));
    let mut functions = 0;
    for line in ran.out.lines() {
        let Value::Object(object) = serde_json::from_str(line).expect("an object") else {
            panic!("{line}");
        };
        assert_eq!(object["schema_version"], 1);
        for field in object.keys() {
            assert!(is_documented(field), "{field} is not in docs/top.md");
        }
        let inner = object["functions"].as_array().expect("an array");
        let cpu = [&object["cpu"]];
        functions += inner.len();
        for object in inner.iter().chain(cpu).filter_map(Value::as_object) {
            for field in object.keys() {
                assert!(is_documented(field), "{field} is not in docs/top.md");
            }
        }
    }
    assert!((1..=3).contains(&ran.out.lines().count()), "{}", ran.out);
    assert!(functions > 0, "{}", ran.out);
}
