//! What the arguments of `prof record` ask for.

use std::path::PathBuf;
use std::time::Duration;

use prof_sampler::{Clock, Target};

use super::args::RecordArgs;
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

/// A recording to be made.
#[derive(Debug)]
pub struct Plan {
    /// Whom and how.
    pub sampling: Sampling,
    /// When to end.
    pub duration: Option<Duration>,
    /// Where to write.
    pub output: OutputPlan,
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
        Ok(Self {
            sampling,
            duration: args.duration,
            output: output(args),
        })
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

fn output(args: &RecordArgs) -> OutputPlan {
    match &args.output {
        Some(path) if path.as_os_str() == "-" => OutputPlan::Stdout,
        Some(path) => OutputPlan::File(path.clone()),
        None if args.drawing.any() => OutputPlan::None,
        None => OutputPlan::File(PathBuf::from("perf.data")),
    }
}
