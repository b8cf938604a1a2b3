//! A program that forks, execs, starts threads, recurses, sleeps and touches memory; and the commands
//! that record it and print about it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{PROF, Place, Ran, has};

/// The names of the workload's threads and processes.
pub(crate) const COMMS: [&str; 5] = ["work", "a child", "after exec", "one", "two"];

/// A directory with recordings, the workload in it, and the test's turn.
pub(crate) struct Lab {
    pub(crate) place: Place,
}

impl Lab {
    /// `None`, with the reason printed, where perf or a compiler is missing or perf may not record.
    pub(crate) fn new() -> Option<Self> {
        if !has("perf") || !has("gcc") {
            return None;
        }
        let place = Place::new();
        std::fs::copy(program(), place.file("work")).unwrap();
        set_build_id(&place.file("work"));
        let lab = Self { place };
        if lab.record("probe.data", "-F 99") {
            return Some(lab);
        }
        assert!(std::env::var_os("CI").is_none(), "perf may not record");
        println!("skipped: perf may not record");
        None
    }

    /// Records the workload with stock perf; `false` where perf cannot. Files are not copied into the
    /// user's cache. An output named `*.pipe` is what perf writes into a pipe.
    pub(crate) fn record(&self, name: &str, options: &str) -> bool {
        let mut perf = Command::new("perf");
        perf.args(["record", "-N", "-q"]).args(options.split(' '));
        let is_pipe = name.ends_with(".pipe");
        perf.args(["-o", if is_pipe { "-" } else { name }]);
        perf.args(["--", "./work", "60"]);
        perf.current_dir(self.place.path());
        perf.stdin(Stdio::null()).stderr(Stdio::null());
        if is_pipe {
            perf.stdout(File::create(self.place.file(name)).unwrap());
        }
        perf.status().unwrap().success()
    }

    /// Records the workload with `prof`.
    pub(crate) fn prof_record(&self, name: &str, options: &str) -> Ran {
        let mut args = vec!["record", "-o", name];
        args.extend(options.split(' '));
        args.extend(["--", "./work", "60"]);
        self.place.prof(&args)
    }

    /// What perf prints about a file.
    pub(crate) fn perf(&self, args: &str, file: &str) -> Ran {
        let args: Vec<&str> = args.split(' ').chain(["-f", "-i", file]).collect();
        self.place.perf(&args)
    }

    /// What `prof` prints about a file.
    pub(crate) fn prof(&self, args: &str, file: &str) -> Ran {
        let args: Vec<&str> = args.split(' ').chain(["-i", file]).collect();
        self.place.prof(&args)
    }

    /// What a shell prints. `$PROF` is the program under test.
    pub(crate) fn shell(&self, command: &str) -> Ran {
        let mut shell = self.place.command("sh", &["-c", command]);
        shell.env("PROF", PROF).output().unwrap().into()
    }
}

/// The compiled workload.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<TempDir> = OnceLock::new();
    let folder = PROGRAM.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("work.c"), include_str!("workload.c")).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-fno-omit-frame-pointer", "-pthread", "-o", "work"]);
        gcc.arg("work.c").current_dir(folder.path());
        assert!(gcc.status().unwrap().success());
        folder
    });
    Box::leak(folder.path().join("work").into_boxed_path())
}

/// Gives a copy of a program a build-id of its own. Of two paths with one build-id perf knows the first,
/// and recordings of the whole system see the workloads of other tests.
fn set_build_id(path: &Path) {
    const NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let mut program = std::fs::read(path).unwrap();
    let at = program.windows(NOTE.len()).position(|bytes| bytes == NOTE);
    let at = at.expect("gcc notes a build-id") + NOTE.len();
    let own = path.as_os_str().as_encoded_bytes();
    for (to, from) in program[at..at + 20]
        .iter_mut()
        .zip(own.iter().rev().cycle())
    {
        *to ^= from;
    }
    std::fs::write(path, program).unwrap();
}
