//! Runs `prof` and stock `perf` on real processes, each test in a directory of its own.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

/// The program under test.
pub(crate) const PROF: &str = env!("CARGO_BIN_EXE_prof");

/// Sampling tests take turns: two busy threads each on a machine with two cores leave none for a
/// third, and a starved recorder is another test's subject.
static TURN: Mutex<()> = Mutex::new(());

/// A directory that goes away with the test, and the test's turn.
pub(crate) struct Place {
    dir: TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// What it printed.
    pub(crate) out: String,
    /// What it complained about.
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// It must have succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    /// It must have failed with this status and a message in parts, without a panic.
    pub(crate) fn failed(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.out, self.err);
        assert!(
            self.err.contains("prof: ") && !self.err.contains("panicked"),
            "{}",
            self.err
        );
        self
    }

    /// Every one of these words must be in its messages.
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.err.contains(word),
                "`{word}` is missing in:\n{}",
                self.err
            );
        }
        self
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock();
        Self {
            dir: TempDir::new().expect("a temporary directory"),
            _turn: turn.unwrap_or_else(|poisoned| poisoned.into_inner()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The names of the files here.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// A command that runs here.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn prof(&self, args: &[&str]) -> Ran {
        self.command(PROF, args).output().unwrap().into()
    }

    /// Stock perf.
    pub(crate) fn perf(&self, args: &[&str]) -> Ran {
        self.command("perf", args).output().unwrap().into()
    }

    /// The functions of a recording, hottest first, and their shares in percent.
    pub(crate) fn functions(&self, file: &str) -> Vec<(String, f64)> {
        let args = ["report", "-i", file, "--no-children", "-g", "none"];
        let sorted = ["--sort", "sym", "-q", "-t", "\t"];
        let report = self.prof(&[&args[..], &sorted].concat()).ok();
        let rows = report
            .out
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                let (percent, symbol) = line.split_once('\t').expect("two columns");
                let percent = percent.trim().trim_end_matches('%').parse();
                let symbol = symbol.trim();
                let name = symbol.split_once("] ").map_or(symbol, |(_, name)| name);
                (name.to_owned(), percent.expect("a share"))
            });
        rows.collect()
    }

    /// The share of one function in percent.
    pub(crate) fn share(&self, file: &str, function: &str) -> f64 {
        let functions = self.functions(file);
        let found = functions.iter().find(|(name, _)| name == function);
        found.map_or(0.0, |&(_, percent)| percent)
    }

    /// How many samples a recording has.
    pub(crate) fn samples(&self, file: &str) -> usize {
        let script = self.prof(&["script", "-i", file, "-G"]).ok();
        script.out.lines().filter(|line| !line.is_empty()).count()
    }
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The workload of `prof demo`: two threads, 60% `checksum`, 30% `sort_keys`, 10% `write_log`.
pub(crate) fn workload() -> Running {
    Running::start(PROF, &["workload", "60"])
}

/// Compiles with these arguments.
pub(crate) fn gcc(place: &Place, args: &[&str]) {
    let ran: Ran = place.command("gcc", args).output().unwrap().into();
    ran.ok();
}

/// Builds a target of the corpus here.
pub(crate) fn build(place: &Place, source: &str, args: &[&str]) {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets");
    let source = format!("{sources}/{source}");
    let include = format!("-I{sources}");
    let mut gcc = place.command("gcc", &["-O2", &include, &source]);
    let ran: Ran = gcc.args(args).output().unwrap().into();
    ran.ok();
}

/// How far a share, in percent, may be off with so many samples: four and a half standard errors,
/// which one run in 100,000 exceeds, and half a point for what the workload itself is off.
pub(crate) fn tolerance(percent: f64, samples: usize) -> f64 {
    let share = percent / 100.0;
    450.0 * (share * (1.0 - share) / samples.max(1) as f64).sqrt() + 0.5
}

/// Whether a tool is here. Where everything can be installed it has to be.
pub(crate) fn has(tool: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
    });
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{tool} is not installed");
        println!("skipped: no {tool}");
    }
    found
}

/// Whether this process is root, which other tests need.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: not root");
    }
    root
}

/// A setting of the kernel that is put back.
pub(crate) struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    pub(crate) fn set(path: &'static str, value: &str) -> Option<Self> {
        let before = std::fs::read_to_string(path).ok()?;
        std::fs::write(path, value).ok()?;
        Some(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = std::fs::write(self.path, self.before.trim());
    }
}

/// Symbols of the kernel that share an address, by name: the first of them stands for all.
pub(crate) struct Aliases(HashMap<String, String>);

impl Aliases {
    pub(crate) fn of_this_kernel() -> Self {
        let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let mut first: HashMap<&str, &str> = HashMap::new();
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(address), _, Some(name)) = (words.next(), words.next(), words.next()) {
                let first = first.entry(address).or_insert(name);
                names.entry(name.to_owned()).or_insert((*first).to_owned());
            }
        }
        Self(names)
    }

    /// The name that stands for all names of this address.
    pub(crate) fn plain<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

/// A text with one name for each address of the kernel.
pub(crate) fn with_plain_names(text: &str) -> String {
    let aliases = Aliases::of_this_kernel();
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..]
            .find(|c| !is_name(c))
            .map_or(rest.len(), |len| start + len);
        plain.push_str(&rest[..start]);
        plain.push_str(aliases.plain(&rest[start..end]));
        rest = &rest[end..];
    }
    plain + rest
}
