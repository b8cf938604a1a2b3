//! The `prof` command: arguments, one module per subcommand, messages.
//!
//! `prof-session` makes named profiles of records, `prof-report` and `prof-tui` show them. Only this crate
//! knows of options, prints and exits.
#![deny(unsafe_code)]
#![allow(unreachable_pub)] // a program exports nothing: pub means "for other modules"

/// Prints a line of a message, whatever names are in it. The standard library's ends the program, and with it a
/// recording, where nobody can read it.
macro_rules! eprintln {
    ($($words:tt)*) => {
        $crate::printed::say(format_args!($($words)*))
    };
}

mod child_stdio; // a command's standard streams, where it must not have ours
mod command_line; // what is typed
mod commands; // what is done
mod export; // flame graphs and folded stacks
mod header; // what is known about a recording
#[cfg(target_env = "gnu")]
mod heap; // large pages for commands that read a recording
mod input; // a recording, read and named
mod messages; // errors and hints
mod printed; // stdout and stderr, for text with names of others
mod sampling; // whom to sample, what and how often
mod signals; // Ctrl-C
mod terminal; // what stdout can show
mod tui_source; // what top and report share where they show screens
mod units; // durations and sizes
mod whom; // who is meant, where several are whom the user chooses
mod workload; // what the demo records; up here its functions have short names for people to read

use std::process::ExitCode;

use clap::CommandFactory;

use command_line::{Cli, Command};
use commands::{
    annotate, buildid_list, demo, diff, doctor, evlist, list, mem, record, report, script, top, why,
};
use messages::{CliError, Failure, Outcome};

fn main() -> ExitCode {
    signals::survive_file_limits();
    match run(command_line::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            error.say();
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
        Command::Why(args) => why::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Mem(args) => mem::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Script(args) => script::run(&args),
        Command::Annotate(args) => annotate::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Evlist(args) => evlist::run(&args),
        Command::BuildidList(args) => buildid_list::run(&args),
        Command::List(args) => list::run(&args),
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
