//! What goes wrong between records and a named profile. The command makes messages with hints of these.

use std::io;
use std::path::PathBuf;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Stdin could not be read to its end.
    #[error("could not read stdin")]
    Stdin(#[source] io::Error),
    /// The file is missing, no recording, or damaged.
    #[error("could not read the recording `{name}`")]
    Recording {
        /// Its name for messages.
        name: String,
        /// What is wrong with it.
        source: prof_perfdata::Error,
    },
    /// A time of the day was asked for, and the recording does not tell what its clock has to do with it.
    #[error("`{name}` does not tell the time of the day of its samples")]
    NoClock {
        /// Its name for messages.
        name: String,
        /// The parts that were asked for, as given.
        asked: String,
    },
    /// Shares of a recording's time were asked for, and its samples have no times.
    #[error("the samples of `{name}` have no times")]
    NoTimes {
        /// Its name for messages.
        name: String,
        /// The parts that were asked for, as given.
        asked: String,
    },
}

/// Words that are no part of a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no part of a recording")]
pub struct NoTimeSlices(pub String);

/// Why a recording could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file could not be made.
    #[error("could not write `{}`", path.display())]
    Create {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Writing or finishing failed.
    #[error("could not write `{name}`")]
    Write {
        /// The file, or `-`.
        name: String,
        /// Why.
        source: io::Error,
        /// Where what was written until then can be read, if it was kept.
        kept: Option<PathBuf>,
    },
    /// Nobody reads stdout.
    #[error("could not write to stdout")]
    Stdout(#[source] io::Error),
    /// There can be no further thread.
    #[error("could not start a thread")]
    NoThread(#[source] io::Error),
    /// The kernel's descriptions of the sampled tracepoints could not be read.
    #[error("could not read the tracepoints' formats")]
    TracepointFormats(#[source] io::Error),
    /// There is nothing to write.
    #[error("there is no sample in this window")]
    NoSample,
}

impl OutputError {
    /// Whether there is a FIFO, and nobody reads it yet.
    pub fn has_no_reader(&self) -> bool {
        let no_reader = nix::errno::Errno::ENXIO as i32;
        matches!(self, Self::Create { source, .. } if source.raw_os_error() == Some(no_reader))
    }
}
