//! Code that a program makes while it runs.
#![cfg(target_arch = "x86_64")]

use std::time::Duration;

use crate::support::{Place, Running, build, has, tolerance};

/// The perf maps of the processes of `prefork.c`, which go with the test.
struct Maps(Vec<String>);

impl Maps {
    fn of(place: &Place) -> Self {
        let pids = ["master", "manager", "worker"];
        Self(pids.map(|name| pid(place, name)).to_vec())
    }

    fn remove(&self) {
        for pid in &self.0 {
            let _ = std::fs::remove_file(format!("/tmp/perf-{pid}.map"));
        }
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What a process of `prefork.c` wrote into the file with its name, once it is there.
fn pid(place: &Place, name: &str) -> String {
    loop {
        match std::fs::read_to_string(place.file(name)) {
            Ok(pid) if !pid.is_empty() => return pid,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The shares of the worker's functions among its own samples are those of `prefork.c`.
fn has_the_shares_of_the_worker(place: &Place) {
    let functions = place.functions("perf.data");
    let of = |name: &str| {
        let found = functions.iter().find(|(it, _)| it == name);
        found.map_or(0.0, |&(_, percent)| percent)
    };
    let expected = [
        ("from_master", 25.0),
        ("from_manager", 25.0),
        ("from_worker", 50.0),
    ];
    let worker: f64 = expected.iter().map(|(name, _)| of(name)).sum();
    let samples = place.samples("perf.data") as f64 * worker / 100.0;
    assert!(samples > 100.0, "{functions:?}");
    for (name, percent) in expected {
        let share = of(name) * 100.0 / worker;
        let off = (share - percent).abs();
        assert!(off < tolerance(percent, samples as usize), "{functions:?}");
    }
    let unnamed: f64 = functions
        .iter()
        .filter(|(name, _)| name.starts_with("0x"))
        .map(|(_, percent)| percent)
        .sum();
    assert!(unnamed < 2.0, "{functions:?}");
}

#[test]
fn a_forked_workers_code_has_the_names_of_its_own_map_and_then_of_those_it_was_forked_from() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    build(&place, "prefork.c", &["-o", "prefork"]);
    let args = ["record", "-F", "499", "--", "./prefork", "100"];
    let recorded = place.prof(&args).ok();
    let maps = Maps::of(&place);
    maps.remove(); // the names are in the file
    has_the_shares_of_the_worker(&place);
    let once = place.share("perf.data", "from_manager_once");
    assert!((25.0..40.0).contains(&once), "{once}");
    for name in ["from_worker", "from_master"] {
        let is_row = |row: &str| row.split_whitespace().skip(2).eq(["[JIT]", name]);
        assert!(recorded.err.lines().any(is_row), "{}", recorded.err);
    }
    let rows = [
        "report",
        "-q",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "pid,sym",
    ];
    let rows = place.prof(&rows).ok().out;
    let worker = format!(" {}:", maps.0[2]);
    let is_wrong = |row: &&str| row.contains(&worker) && row.contains("from_manager_once");
    assert_eq!(rows.lines().find(is_wrong), None);
}

#[test]
fn a_worker_that_is_attached_to_alone_has_the_names_of_those_it_was_forked_from() {
    if !has("gcc") {
        return;
    }
    let place = Place::new();
    build(&place, "prefork.c", &["-o", "prefork"]);
    let mut server = place.command("./prefork", &["100000"]);
    let _server = Running(server.spawn().unwrap());
    let worker = pid(&place, "worker");
    let maps = Maps::of(&place);
    place
        .prof(&["record", "-q", "-F", "499", "-d", "1", "-p", &worker])
        .ok();
    for pid in maps.0.iter().rev() {
        // The server would wait for them.
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    maps.remove();
    has_the_shares_of_the_worker(&place);
    assert_eq!(place.share("perf.data", "from_manager_once"), 0.0);
}
