//! What the arguments of `prof record` ask for, as plain values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prof_sampler::{Clock, Target};

use super::args::RecordArgs;
use crate::export::{Exports, is_stdout};
use crate::messages::CliError;
use crate::sampling::Sampling;

/// Samples per second and CPU, if not told otherwise.
const USUAL_HZ: u64 = 999;

/// Where the records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputPlan {
    /// Nowhere: only a picture is wanted.
    None,
    /// Into a file.
    File(PathBuf),
    /// To stdout.
    Stdout,
}

impl OutputPlan {
    /// Where the arguments want them.
    pub fn of(args: &RecordArgs) -> Self {
        Self::new(args.output.as_deref(), &args.drawing.exports(true))
    }

    fn new(path: Option<&Path>, exports: &Exports) -> Self {
        match path {
            Some(path) if is_stdout(path) => Self::Stdout,
            Some(path) => Self::File(path.to_owned()),
            None if exports.any() => Self::None,
            None => Self::File(PathBuf::from("perf.data")),
        }
    }
}

/// A recording to be made.
#[derive(Debug)]
pub struct Plan {
    /// Whom and how.
    pub sampling: Sampling,
    /// How long to wait before sampling begins.
    pub delay: Duration,
    /// How long to sample; `None` until the target's end.
    pub duration: Option<Duration>,
    /// Where to write.
    pub output: OutputPlan,
    /// The zstd level of its records; `None` for uncompressed ones.
    pub compression: Option<u32>,
    /// What is drawn of the samples.
    pub exports: Exports,
    /// Whether threads that have nothing to do are drawn, too.
    pub draws_idle: bool,
    /// Say nothing but errors.
    pub quiet: bool,
    /// Show on a terminal how far it is.
    pub progress: bool,
    /// Say more.
    pub verbose: bool,
}

impl Plan {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A wrong value, with one that would be right.
    pub fn new(args: &RecordArgs) -> Result<Self, CliError> {
        let clock = clock(&args.clockid)?;
        let mut sampling = Sampling::new(&args.sampling, "record", USUAL_HZ, clock)?;
        let options = &mut sampling.options;
        let is_of_cpus = options.target == Target::System || options.cpus.is_some();
        options.sample_cpu = args.sample_cpu || is_of_cpus;
        let exports = args.drawing.exports(args.quiet);
        Ok(Self {
            sampling,
            delay: Duration::from_millis(args.delay),
            duration: args.duration,
            output: OutputPlan::new(args.output.as_deref(), &exports),
            compression: args.compression,
            exports,
            draws_idle: args.drawing.idle,
            quiet: args.quiet,
            progress: !args.quiet,
            verbose: args.verbose,
        })
    }

    /// Whether what is recorded or drawn goes to stdout, where nothing else may be printed then.
    pub fn uses_stdout(&self) -> bool {
        self.output == OutputPlan::Stdout || self.exports.to_stdout()
    }
}

fn clock(name: &str) -> Result<Clock, CliError> {
    Clock::by_name(name).ok_or_else(|| {
        let names = Clock::ALL
            .map(|clock| format!("`{}`", clock.name))
            .join(", ");
        CliError::usage(format!("there is no clock `{name}`")).hint(format!("one of {names}"))
    })
}
