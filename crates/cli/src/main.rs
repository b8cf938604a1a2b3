//! The `prof` command: arguments, one module per subcommand, messages.
//!
//! `prof-session` makes named profiles of records, `prof-report` and `prof-tui` show them. Only this crate
//! knows of options, prints and exits.
#![deny(unsafe_code)]
#![allow(unreachable_pub)] // a program exports nothing: pub means "for other modules"

mod abbreviations; // of options
mod annotate; // a function's instructions
mod args; // the command line
mod browse; // report on a terminal
mod buildid_list;
mod demo; // a workload with a known answer
mod diff; // two recordings
mod drawing; // flame graphs and folded stacks
mod error; // messages in three parts
mod evlist;
mod header; // what is known about a recording
#[cfg(target_env = "gnu")]
mod heap; // of commands that read a recording
mod hints; // why the kernel said no, and what to do
mod input; // a recording, read and named
mod perf_options; // options of perf that are not offered; the command line is read here
mod record;
mod remedies; // what to do about frames without names
mod report;
mod sampling; // whom to sample, what and how often
mod screens; // what top and report share on a terminal
mod script;
mod script_events; // the records beside the samples
mod script_extras; // what few samples have
mod script_filter; // which samples are printed
mod script_log; // printing what the first pass kept
mod script_pass; // printing in a second one
mod settings; // what hints ask for
mod signals; // Ctrl-C
mod streams; // of a command
mod top;
mod units; // durations and sizes
mod workload; // what the demo records

use std::process::ExitCode;

use clap::CommandFactory;

use args::{Cli, Command};
use error::{CliError, Failure, Outcome};

fn main() -> ExitCode {
    match run(perf_options::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            eprintln!("{error}");
            ExitCode::from(error.status)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    #[cfg(target_env = "gnu")]
    if let Command::Report(_) | Command::Script(_) | Command::Annotate(_) | Command::Diff(_) =
        cli.command
    {
        heap::use_large_pages();
    }
    match cli.command {
        Command::Record(args) => record::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Script(args) => script::run(&args),
        Command::Annotate(args) => annotate::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Evlist(args) => evlist::run(&args),
        Command::BuildidList(args) => buildid_list::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Workload { seconds } => workload::run(seconds),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "prof", &mut text);
            print_bytes(&text)
        }
        Command::Man { subcommand } => man(subcommand.as_deref()),
    }
}

fn man(subcommand: Option<&str>) -> Outcome {
    let mut command = Cli::command();
    command.build();
    let command = match subcommand {
        None => command,
        Some(name) => {
            let found = command
                .get_subcommands()
                .find(|command| command.get_name() == name);
            found
                .cloned()
                .ok_or_else(|| CliError::usage(format!("there is no subcommand `{name}`")))?
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    print_bytes(&text)
}

fn print_bytes(text: &[u8]) -> Outcome {
    std::io::Write::write_all(&mut std::io::stdout().lock(), text)?;
    Ok(0)
}
