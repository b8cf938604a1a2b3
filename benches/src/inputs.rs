//! Programs and recordings that the works are about, made once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where everything is, and how long to take.
pub(crate) struct Bench {
    /// Holds `bin` with the peers, and the inputs.
    pub(crate) root: PathBuf,
    /// The program under test.
    pub(crate) prof: PathBuf,
    /// How often each command is run.
    pub(crate) rounds: usize,
    /// Seconds of a recording.
    pub(crate) seconds: u32,
}

impl Bench {
    /// A path below the root.
    pub(crate) fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// Builds a target; with frame pointers or without.
    pub(crate) fn deep(&self, frame_pointers: bool) -> Result<String, String> {
        let (name, flags) = if frame_pointers {
            (
                "deep-fp",
                "-fno-omit-frame-pointer -mno-omit-leaf-frame-pointer",
            )
        } else {
            ("deep", "-fomit-frame-pointer")
        };
        let program = self.path(name);
        if !Path::new(&program).exists() {
            shell(&format!(
                "gcc -O2 -pthread {flags} -o {program} benches/targets/deep.c"
            ))?;
        }
        Ok(program)
    }

    /// A recording by stock perf of the whole system with many short processes, frame pointers.
    pub(crate) fn system_wide(&self) -> Result<String, String> {
        self.recorded("system.data", |file| {
            shell(&format!(
                "perf record -q -a -g -F 4999 -o {file} -- benches/targets/many.sh {}",
                self.seconds * 2
            ))
        })
    }

    /// A recording by stock perf with stack copies, of so many seconds.
    pub(crate) fn dwarf(&self, seconds: u32) -> Result<String, String> {
        let program = self.deep(false)?;
        self.recorded(&format!("dwarf-{seconds}.data"), |file| {
            shell(&format!(
                "perf record -q -F 3000 -m 4096 --call-graph dwarf -o {file} -- {program} {seconds} 2 30"
            ))
        })
    }

    /// A recording by stock perf with stack copies of a program with much debug info: samply, which
    /// reads the system-wide recording.
    pub(crate) fn large_program(&self) -> Result<String, String> {
        let input = self.system_wide()?;
        let samply = self.path("bin/samply");
        self.recorded("large.data", |file| {
            let import = format!("{samply} import --save-only -o /dev/null {input}");
            shell(&format!(
                "perf record -q -F 997 --call-graph dwarf,16384 -o {file} -- {import} >/dev/null"
            ))
        })
    }

    fn recorded(
        &self,
        name: &str,
        record: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<String, String> {
        let path = self.path(name);
        if !Path::new(&path).exists() {
            eprintln!("recording {name}");
            let unfinished = format!("{path}.tmp");
            record(&unfinished)?;
            fs::rename(&unfinished, &path).map_err(|error| error.to_string())?;
        }
        Ok(path)
    }
}

/// Runs a command that must succeed.
pub(crate) fn shell(command: &str) -> Result<(), String> {
    let output = Command::new("bash")
        .args(["-c", command])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("`{command}` failed: {said}"))
}

/// A target that runs meanwhile; it ends with the value.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a target and waits until it says that it is ready.
    pub(crate) fn start(program: &str, args: &str) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let mut byte = [0; 6];
        let out = child.stdout.as_mut().expect("it is piped");
        std::io::Read::read_exact(out, &mut byte).map_err(|error| error.to_string())?;
        Ok(Self(child))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end, and for the units of work that it says it did.
    pub(crate) fn units(mut self) -> Result<f64, String> {
        let mut text = String::new();
        let out = self.0.stdout.as_mut().expect("it is piped");
        std::io::Read::read_to_string(out, &mut text).map_err(|error| error.to_string())?;
        text.trim()
            .parse()
            .map_err(|_| format!("`{text}` is no number"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
