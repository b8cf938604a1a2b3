//! Recordings of stock perf, and what perf says about them.
#![allow(dead_code)] // each test program uses a part

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use prof_event::{Record, Tracker};
use prof_perfdata::{Error, Recording};
use tempfile::TempDir;

/// Two threads with names of their own, and a child process.
const WORKLOAD: &str = r#"
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
volatile unsigned long sink;
__attribute__((noinline)) void leaf(int n) { for (int i = 0; i < n; i++) sink += i * sink; }
__attribute__((noinline)) void middle(int n) { leaf(n); sink++; }
static void *worker(void *name) {
    prctl(PR_SET_NAME, name);
    for (int i = 0; i < 40; i++) middle(1000000);
    return 0;
}
int main(void) {
    pthread_t one, two;
    pid_t child = fork();
    if (child == 0) { worker("a child"); _exit(0); }
    pthread_create(&one, 0, worker, "one");
    pthread_create(&two, 0, worker, "two");
    pthread_join(one, 0);
    pthread_join(two, 0);
    waitpid(child, 0, 0);
    return 0;
}
"#;

/// Stock perf, a program to record, and a folder for the files.
pub(crate) struct Perf {
    pub(crate) folder: TempDir,
}

/// Says why a test does nothing, or fails where every tool must be there.
fn skip(what: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{what} is missing"
    );
    println!("skipped: {what} is missing");
}

impl Perf {
    /// `None` if perf or a C compiler is missing, or perf may not record.
    pub(crate) fn find() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let source = folder.path().join("workload.c");
        std::fs::write(&source, WORKLOAD).expect("a source file");
        let program = folder.path().join("workload");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-fno-omit-frame-pointer", "-pthread", "-o"]);
        cc.args([&program, &source]);
        if !cc.status().is_ok_and(|status| status.success()) {
            skip("a C compiler");
            return None;
        }
        let this = Self { folder };
        static MAY_RECORD: OnceLock<bool> = OnceLock::new();
        let probe = || {
            let args = ["-o", "probe.data", "true"].map(OsStr::new);
            let recorded = this.command("record", &args);
            recorded.is_some_and(|(success, ..)| success)
        };
        if !*MAY_RECORD.get_or_init(probe) {
            skip("perf, or the right to record");
            return None;
        }
        Some(this)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, command: &str, args: &[&OsStr]) -> Option<(bool, String, String)> {
        let output = Command::new("perf")
            .arg(command)
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let success = output.status.success();
        Some((success, text(&output.stdout), text(&output.stderr)))
    }

    /// Records the workload; `options` are separated by blanks.
    pub(crate) fn record(&self, name: &str, options: &str) -> PathBuf {
        let path = self.path(name);
        let mut args: Vec<&OsStr> = options.split_whitespace().map(OsStr::new).collect();
        // Without a copy of the build-ids' files in the user's cache.
        args.extend([OsStr::new("-N"), OsStr::new("-o"), path.as_os_str()]);
        args.extend(["--", "./workload"].map(OsStr::new));
        let (success, _, stderr) = self.command("record", &args).expect("perf runs");
        assert!(success, "perf record {options}: {stderr}");
        path
    }

    /// Records the workload in the form of a pipe.
    pub(crate) fn record_pipe(&self, name: &str, options: &str) -> PathBuf {
        let path = self.path(name);
        let file = std::fs::File::create(&path).expect("an output file");
        let status = Command::new("perf")
            .arg("record")
            .args(options.split_whitespace())
            .args(["-o", "-", "--", "./workload"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()));
        path
    }

    /// What a perf command prints about a file. It must have nothing to complain about.
    pub(crate) fn ask(&self, command: &str, options: &str, file: &Path) -> String {
        let mut args: Vec<&OsStr> = options.split_whitespace().map(OsStr::new).collect();
        args.extend([OsStr::new("-i"), file.as_os_str()]);
        let (success, stdout, stderr) = self.command(command, &args).expect("perf runs");
        let what = format!("perf {command} {options} on {}", file.display());
        assert!(success, "{what}: {stderr}");
        assert_eq!(stderr.trim(), "", "{what}");
        stdout
    }

    /// Every sample in perf's order: name, process, thread, time, event, instruction.
    pub(crate) fn samples(&self, file: &Path) -> Vec<String> {
        let script = self.ask("script", "--ns -G -F comm,pid,tid,time,event,ip", file);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines = script.lines().filter(|line| !line.trim().is_empty());
        lines.map(words).collect()
    }
}

/// The same as [`Perf::samples`], by this crate.
pub(crate) fn our_samples(recording: &mut Recording) -> Vec<String> {
    let mut tracker = Tracker::default();
    tracker
        .processes
        .comm(prof_model::Pid(0), prof_model::Tid(0), b"swapper", false);
    let mut lines = Vec::new();
    recording
        .for_each(|item| -> Result<(), Error> {
            tracker.apply(&item.decoded.record);
            let Record::Sample(sample) = item.decoded.record else {
                return Ok(());
            };
            let thread = tracker.processes.thread(sample.tid);
            let own = thread.filter(|thread| thread.pid == sample.pid);
            let comm = own.and_then(|thread| thread.comm).map_or_else(
                || format!(":{}", sample.tid),
                |comm| tracker.processes.comms.display(comm).into_owned(),
            );
            let time = sample.time.unwrap_or(0);
            let event = &item.events.events()[item.decoded.event].name;
            lines.push(format!(
                "{comm} {}/{} {}.{:09}: {event}: {:x}",
                sample.pid,
                sample.tid,
                time / 1_000_000_000,
                time % 1_000_000_000,
                sample.ip.0
            ));
            Ok(())
        })
        .expect("the records can be read");
    lines
}

/// The same random numbers on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}
