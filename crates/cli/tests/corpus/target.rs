//! Builds a target, runs it, records it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::outcome::{Found, Outcome};
use crate::recorded::Recorded;
use crate::second_opinion;
use crate::table::{self, Row};

/// Cycles of 10 ms: about a thousand samples live, fewer where each is a copy of the stack in a file.
const CYCLES: &str = "100";
const STOCK_CYCLES: &str = "50";

/// Builds the target of a row, records it in each way, and compares.
pub(crate) fn check(row: &Row) -> Outcome {
    let mut outcome = Outcome::new(row);
    if let Some(missing) = row.needs.iter().find(|tool| !is_there(tool)) {
        let is_ci = std::env::var_os("CI").is_some();
        outcome.skip(format!("skipped: no {missing}"), is_ci);
        return outcome;
    }
    if row.root && !nix::unistd::geteuid().is_root() {
        outcome.skip("skipped: not root".to_owned(), false);
        return outcome;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("corpus")
        .join(&row.name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    if let Some(condition) = &row.condition
        && let Err(error) = run_script(&folder, condition)
    {
        outcome.skip(format!("skipped: not here: {condition} {error}"), false);
        return outcome;
    }
    if let Err(error) = run_script(&folder, &row.build.join("\n")) {
        let error = format!("build: {error}");
        outcome.skip(error, true);
        return outcome;
    }
    let live = folder.join("prof.data");
    match record(row, &folder, &live) {
        Ok(()) => outcome
            .found
            .push(Found::new("prof", row, row.whole, &Recorded::read(&live))),
        Err(error) => outcome.skip(format!("prof record: {error}"), true),
    }
    if let Some(whole) = row.stock
        && is_there("perf")
    {
        let stock = folder.join("perf.data");
        match record_with_perf(row, &folder, &stock) {
            Ok(()) => {
                let mut found = Found::new("perf", row, whole, &Recorded::read(&stock));
                let addr2line = row.addr2line.as_deref();
                if let Some(addr2line) = addr2line.filter(|tool| is_there(tool)) {
                    let faults = second_opinion::faults(&stock, &folder, addr2line);
                    found.faults.extend(faults);
                }
                outcome.found.push(found);
            }
            Err(error) => outcome.skip(format!("perf record: {error}"), true),
        }
        let _ = fs::remove_file(stock); // large
    }
    outcome
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    tool.contains('/') && Path::new(tool).exists()
        || std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

fn run_script(folder: &Path, script: &str) -> Result<(), String> {
    let mut shell = shell(folder, script, CYCLES);
    let output = shell.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn shell(folder: &Path, script: &str, cycles: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("set -e\n{script}");
    shell.current_dir(folder).args(["-c", &script]);
    shell.env("SRC", table::sources().canonicalize().unwrap());
    shell.env("CYCLES", cycles);
    shell
}

fn record(row: &Row, folder: &Path, file: &Path) -> Result<(), String> {
    let mut prof = Command::new(env!("CARGO_BIN_EXE_prof"));
    prof.args(["record", "-F", "999", "-o"])
        .arg(file)
        .args(&row.record);
    run_recorder(row, folder, prof, CYCLES, &["-d", "1"])
}

/// A tenth of a second for each megabyte: copies of whole stacks.
fn record_with_perf(row: &Row, folder: &Path, file: &Path) -> Result<(), String> {
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "-q",
        "-F",
        "999",
        "--call-graph",
        "dwarf,32768",
        "-e",
        "cpu-clock",
    ]);
    perf.args(["-m", "16M", "-o"]).arg(file).args(&row.perf);
    run_recorder(row, folder, perf, STOCK_CYCLES, &[])
}

fn run_recorder(
    row: &Row,
    folder: &Path,
    mut recorder: Command,
    cycles: &str,
    for_a_while: &[&str],
) -> Result<(), String> {
    recorder.current_dir(folder).env("CYCLES", cycles);
    recorder.env("SRC", table::sources().canonicalize().unwrap());
    let target = if row.attach {
        let target = Running::start(row, folder)?;
        recorder
            .args(["-p", &target.child.id().to_string()])
            .args(for_a_while);
        if for_a_while.is_empty() {
            recorder.args(["--", "sleep", "0.5"]);
        }
        Some(target)
    } else {
        recorder.args(["--", "sh", "-c", &format!("exec {}", row.run)]);
        None
    };
    let output = recorder.output().map_err(|error| error.to_string())?;
    drop(target);
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A target that runs until it is dropped.
struct Running {
    child: Child,
}

impl Running {
    /// Starts it, and waits for a line that says that it works.
    fn start(row: &Row, folder: &Path) -> Result<Self, String> {
        let mut command = shell(folder, &format!("exec {}", row.run), "1000000");
        command.stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut running = Self { child };
        let mut line = String::new();
        let stdout = running.child.stdout.take().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        match read {
            Ok(1..) => Ok(running),
            _ => Err("it ended before it said that it works".to_owned()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
