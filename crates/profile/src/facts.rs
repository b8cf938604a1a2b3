//! What is known about a recording beside its samples.

use std::time::SystemTime;

/// What is known about a recording beside its samples, live or from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingFacts {
    /// Whom: `nginx (4121)`, a command line, a host.
    pub target: String,
    /// The name of the machine.
    pub hostname: Option<String>,
    /// Its architecture, as `uname -m` has it.
    pub arch: Option<String>,
    /// The kernel's release.
    pub kernel_release: Option<String>,
    /// The command that recorded.
    pub command: Vec<String>,
    /// How long was recorded, in nanoseconds.
    pub duration_ns: u64,
    /// When the first and the last sample were taken, in nanoseconds of the recording's clock, if
    /// samples have times.
    pub sample_times: Option<(u64, u64)>,
    /// What the wall clock showed at the first sample, if the recording's clock is known.
    pub began: Option<SystemTime>,
}

impl RecordingFacts {
    /// How long was recorded, in seconds.
    pub fn seconds(&self) -> f64 {
        self.duration_ns as f64 / 1e9
    }
}
