//! `prof demo`: the whole path on a workload with a known answer.

use clap::Parser;

use crate::command_line::{Cli, Command, DemoArgs};
use crate::commands::{record, report};
use crate::messages::{CliError, Outcome};

/// Runs `prof demo`.
///
/// # Errors
/// A message.
pub fn run(args: &DemoArgs) -> Outcome {
    let program = std::env::current_exe()
        .map_err(|error| CliError::new("could not find this program's own file").cause(error))?;
    let seconds = args.duration.as_secs_f64();
    eprintln!(
        "Recording {seconds} s of a workload with two threads, which spend 60% of their time in\n\
         `checksum`, 30% in `sort_keys` and 10% in `write_log`, a system call.\n"
    );
    let frequency = args.frequency.to_string();
    let words: [&std::ffi::OsStr; 13] = [
        "prof".as_ref(),
        "record".as_ref(),
        "-F".as_ref(),
        frequency.as_ref(),
        "-o".as_ref(),
        args.output.as_os_str(),
        "--svg".as_ref(),
        args.svg.as_os_str(),
        "--title".as_ref(),
        "prof demo".as_ref(),
        "--".as_ref(),
        program.as_os_str(),
        "workload".as_ref(),
    ];
    let seconds = seconds.to_string();
    let words = words.iter().copied().chain([seconds.as_ref()]);
    let Command::Record(recording) = Cli::parse_from(words).command else {
        return Err(CliError::new("the demo did not understand itself").into());
    };
    let done = record::record(&recording)?;
    if done.samples == 0 {
        return Err(CliError::new("the workload was not sampled").into());
    }
    let words = "prof report --stdio --no-children --sort dso,sym --percent-limit 3 \
                 --no-inline -g graph,3,callee -i";
    let words = words.split_whitespace().map(std::ffi::OsStr::new);
    let words = words.chain([args.output.as_os_str()]);
    let Command::Report(reporting) = Cli::parse_from(words).command else {
        return Err(CliError::new("the demo did not understand itself").into());
    };
    report::run(&reporting)?;
    eprintln!(
        "Open {} in a browser. More: `prof --help`",
        args.svg.display()
    );
    Ok(0)
}
