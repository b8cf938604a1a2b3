//! A process to look at.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `phases.c`, compiled into `folder`.
pub(crate) fn compile(folder: &Path) -> PathBuf {
    let program = folder.join("phases");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/top_tmux/phases.c");
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-O1", "-g", "-pthread", "-o"])
        .arg(&program)
        .arg(source);
    assert!(compiler.status().expect("gcc runs").success());
    program
}

/// A running `phases`, which ends with the test.
pub(crate) struct Target(Child);

impl Target {
    /// With busy threads.
    pub(crate) fn start(program: &Path, threads: u32) -> Self {
        Self::start_resting(program, threads, 0)
    }

    /// With threads that rest so many milliseconds now and then.
    pub(crate) fn start_resting(program: &Path, threads: u32, rest: u32) -> Self {
        let mut child = Command::new(program)
            .args([threads.to_string(), rest.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the target runs");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("the target lives");
    }

    /// From one function into the other.
    pub(crate) fn switch(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// To sleep, or awake again.
    pub(crate) fn toggle_sleep(&self) {
        self.signal(Signal::SIGUSR2);
    }

    pub(crate) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end();
    }
}
