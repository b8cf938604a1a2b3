//! A process with a perf map.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use prof_model::Pid;

use super::NOBODY;

/// Where code is generated.
pub(crate) const CODE: u64 = 0x7000_0000;

/// A process that does not run, and whose perf map goes with it.
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NOBODY + std::process::id() * 100 + number)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.0 as i32)
    }

    pub(crate) fn map(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/perf-{}.map", self.0))
    }

    /// Announces `generated`, at [`CODE`].
    pub(crate) fn write_map(&self) {
        fs::write(self.map(), format!("{CODE:x} 40 generated\n")).expect("a file in /tmp");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.map());
    }
}
