//! `prof demo`: the whole path on a workload with a known answer.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::commands::record::{self, Plan, RecordArgs};
use crate::commands::report::{self, ReportArgs};
use crate::messages::{CliError, Outcome, failed};
use crate::units;

/// `prof demo`.
#[derive(clap::Args, Debug, Clone)]
pub struct DemoArgs {
    /// How long to record
    #[arg(short, long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub duration: Duration,

    /// Samples per second and CPU
    #[arg(short = 'F', long = "freq", value_name = "HZ", default_value_t = 999)]
    pub frequency: u64,

    /// Where to write the recording
    #[arg(short, long, value_name = "FILE", default_value = "demo.data")]
    pub output: PathBuf,

    /// Where to draw the flame graph
    #[arg(long, value_name = "FILE", default_value = "demo.svg")]
    pub svg: PathBuf,
}

/// Runs `prof demo`.
///
/// # Errors
/// A message.
pub fn run(args: &DemoArgs) -> Outcome {
    let program =
        std::env::current_exe().map_err(failed("could not find this program's own file"))?;
    let seconds = args.duration.as_secs_f64();
    eprintln!(
        "Recording {seconds} s of a workload with two threads, which spend 60% of their time in"
    );
    eprintln!("`checksum`, 30% in `sort_keys` and 10% in `write_log`, a system call.");
    eprintln!("");
    let frequency = args.frequency.to_string();
    let seconds = seconds.to_string();
    let words = ["-F".as_ref(), frequency.as_ref(), "--".as_ref()];
    let workload = [program.as_os_str(), "workload".as_ref(), seconds.as_ref()];
    let mut recording: RecordArgs = arguments(words.into_iter().chain(workload))?;
    recording.output = Some(args.output.clone());
    recording.drawing.svg = Some(args.svg.clone());
    recording.drawing.title = Some("prof demo".to_owned());
    let done = record::record(Plan::new(&recording)?)?;
    if done.samples == 0 {
        return Err(CliError::new("the workload was not sampled").into());
    }
    let words =
        "--stdio --no-children --sort dso,sym --percent-limit 3 --no-inline -g graph,3,callee";
    let words = words.split_whitespace().map(OsStr::new);
    let mut reporting: ReportArgs = arguments(words)?;
    reporting.input.input.clone_from(&args.output);
    report::run(&reporting)?;
    eprintln!(
        "Open {} in a browser. More: `prof --help`",
        args.svg.display()
    );
    Ok(0)
}

/// The arguments of a subcommand as if these words had been typed; what they do not name has its usual
/// value.
fn arguments<'a, A: clap::Args>(words: impl Iterator<Item = &'a OsStr>) -> Result<A, CliError> {
    let command = clap::Command::new("prof demo").no_binary_name(true);
    let matches = A::augment_args(command).try_get_matches_from(words);
    let arguments = matches.and_then(|matches| A::from_arg_matches(&matches));
    arguments.map_err(|error| CliError::new("the demo did not understand itself").cause(error))
}
