//! Directories, targets and recordings of these tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

/// The program under test.
pub(crate) const PROF: &str = env!("CARGO_BIN_EXE_prof");

/// One at a time: tests that record at high rates take the CPUs from each other.
static TURN: Mutex<()> = Mutex::new(());

/// A directory that goes away with the test, and the test's turn.
pub(crate) struct Place {
    dir: TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
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

    /// It must have failed with this status and say these words, without a panic.
    pub(crate) fn failed(self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{}\n{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for word in words {
            assert!(
                self.err.contains(word),
                "`{word}` is missing in:\n{}",
                self.err
            );
        }
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

    /// Runs a command here. perf keeps its caches here, too.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path());
        command.env("HOME", self.path()).stdin(Stdio::null());
        command.output().unwrap().into()
    }

    /// Runs `prof` here, given its arguments with blanks between.
    pub(crate) fn prof(&self, args: &str) -> Ran {
        self.run(PROF, &args.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs stock perf here.
    pub(crate) fn perf(&self, args: &str) -> Ran {
        self.run("perf", &args.split_whitespace().collect::<Vec<_>>())
    }

    /// Compiles a C program of this folder, or of `tests/targets`, with these flags.
    pub(crate) fn build(&self, source: &str, program: &str, flags: &[&str]) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let targets = here.join("../../tests/targets");
        let own = here.join("tests/reports").join(source);
        let source = match own.exists() {
            true => own,
            false => targets.join(source),
        };
        let include = format!("-I{}", targets.display());
        let source = source.display().to_string();
        let mut args = vec![&include[..], &source, "-o", program];
        args.extend(flags);
        self.run("gcc", &args).ok();
    }
}

/// Whether tools are here. Where everything can be installed they have to be.
pub(crate) fn has(tools: &[&str]) -> bool {
    tools.iter().all(|tool| {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
        });
        if !found {
            assert!(std::env::var_os("CI").is_none(), "{tool} is not installed");
            println!("skipped: no {tool}");
        }
        found
    })
}

/// Whether this process is root, which other tests need.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: not root");
    }
    root
}
