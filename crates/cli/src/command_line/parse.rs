//! Reads the command line of this process, and ends the program if it is wrong.
//!
//! clap reads it together with the long options that only perf has: so an abbreviation is taken for one of
//! ours only where it could not be one of perf's.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, value_parser};

use super::perf_options::long_options;
use super::{Cli, refusals};
use crate::messages::CliError;

/// The command line of this process. Ends the program with what is wrong about it: for an option of perf
/// with what to do instead, for an abbreviation with what it could be.
pub fn parse() -> Cli {
    match with_options_of_perf().try_get_matches() {
        Ok(matches) => {
            refuse_given(&matches);
            Cli::from_arg_matches(&matches).unwrap_or_else(|error| refuse(&error))
        }
        // Help and suggestions are about our own options.
        Err(error) => refuse(&Cli::try_parse().err().unwrap_or(error)),
    }
}

/// Our command line with perf's long options beside our own: an abbreviation is then of one of them only
/// where it is in perf, too.
fn with_options_of_perf() -> clap::Command {
    Cli::command().mut_subcommands(|subcommand| {
        let options = long_options(subcommand.get_name()).map(|option| {
            Arg::new(option)
                .long(option.trim_start_matches('-'))
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(value_parser!(OsString))
                .action(ArgAction::Append)
                .hide(true)
        });
        let options: Vec<_> = options.collect();
        subcommand.args(options)
    })
}

fn refuse_given(matches: &ArgMatches) {
    let Some((subcommand, given)) = matches.subcommand() else {
        return;
    };
    let mut refused = long_options(subcommand).filter(|option| given.contains_id(option));
    if let Some(option) = refused.next() {
        exit_with(&refusals::unknown(subcommand, option));
    }
}

fn refuse(error: &clap::Error) -> ! {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    let first = first.to_string_lossy();
    let subcommand = if first.starts_with('-') { "" } else { &first };
    match refusals::refusal(error, subcommand) {
        Some(message) => exit_with(&message),
        None => error.exit(),
    }
}

fn exit_with(message: &CliError) -> ! {
    message.say();
    std::process::exit(i32::from(message.status));
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    #[test]
    fn a_value_may_stand_right_behind_its_letter() {
        for (words, command) in [
            ("record -F99 -p4121", &[][..]),
            ("record -F=99 -z=5 -ag ls -l -F99", &["ls", "-l", "-F99"]),
            ("top -p4121 -d2", &[]),
            ("record -g -- ls --all-cpus -Z", &["ls", "--all-cpus", "-Z"]),
        ] {
            let words = format!("prof {words}");
            let cli = Cli::try_parse_from(words.split(' ')).unwrap();
            let sampling = match cli.command {
                Command::Record(args) => args.sampling,
                Command::Top(args) => args.sampling,
                other => panic!("{other:?}"),
            };
            assert_eq!(sampling.command, command, "{words}");
        }
    }

    #[test]
    fn options_of_perf_are_read_without_and_with_a_value_but_not_offered() {
        let given = |words: &str| {
            let words = format!("prof {words}");
            let matches = with_options_of_perf().try_get_matches_from(words.split(' '));
            let (subcommand, given) = matches.unwrap().remove_subcommand().unwrap();
            let options = long_options(&subcommand).filter(|option| given.contains_id(option));
            options.collect::<Vec<_>>()
        };
        assert_eq!(given("record --all-k -- true"), ["--all-kernel"]);
        assert_eq!(given("record --aff=node true"), ["--affinity"]);
        assert_eq!(given("record --max-st 5 -- x --all-kernel"), [""; 0]);
        let mut command = with_options_of_perf();
        let record = command.find_subcommand_mut("record").unwrap();
        let help = record.render_long_help().to_string();
        assert!(!help.contains("--max-size"), "{help}");
    }
}
