//! The command line: one enum of all subcommands, and how it is read.
//!
//! Each subcommand has its arguments beside its code in `commands`; those of several are in [`shared`].
//! So that a subcommand can be read without the others, none of them uses this file.

mod abbreviations; // options that are cut short
mod events; // events and their filters
mod parse; // the command line of this process
mod perf_commands; // commands of perf that are not offered
mod perf_options; // options of perf that are not offered
mod refusals; // what is wrong about a command line
pub mod shared; // arguments of several subcommands

use clap::{Parser, Subcommand};

use crate::commands::annotate::AnnotateArgs;
use crate::commands::buildid_list::BuildidListArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::diff::DiffArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::evlist::EvlistArgs;
use crate::commands::list::ListArgs;
use crate::commands::mem::MemArgs;
use crate::commands::record::RecordArgs;
use crate::commands::report::ReportArgs;
use crate::commands::script::ScriptArgs;
use crate::commands::top::TopArgs;
use crate::commands::why::WhyArgs;
pub use parse::parse;

/// A sampling profiler for Linux: finds the function that burns the CPU.
#[derive(Parser, Debug)]
#[command(
    name = "prof",
    version,
    about,
    max_term_width = 80,
    infer_long_args = true, // as perf does
    after_help = "Examples:\n  \
        prof why -p 4121                        why it is slow or busy, in ten seconds\n  \
        prof record -p 4121 -d 10s              sample a process for ten seconds\n  \
        prof record -p 4121 -d 10s --svg f.svg  straight to a flame graph\n  \
        prof record -- ./server --port 80       run a command and sample it\n  \
        prof report                             the table and call trees of perf.data\n  \
        prof doctor                             what works here, and what to do else\n  \
        prof demo                               see it all on a small workload"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Sample a process, a command or the whole system into perf.data
    Record(Box<RecordArgs>),
    /// Say in fifteen lines why a process, or the machine, is slow or busy
    Why(Box<WhyArgs>),
    /// Say what can be sampled here, what is missing, and what to do about it
    Doctor(Box<DoctorArgs>),
    /// Say what a process's memory is, whether it grows, and who adds to it
    Mem(Box<MemArgs>),
    /// Watch what burns the CPU now
    Top(Box<TopArgs>),
    /// Show where the time of a recording went
    Report(Box<ReportArgs>),
    /// Print every sample, as perf script does
    Script(Box<ScriptArgs>),
    /// Show the instructions of a function, with the samples of each
    Annotate(Box<AnnotateArgs>),
    /// Compare two recordings: what grew, what shrank, what is noise
    Diff(Box<DiffArgs>),
    /// List the events of a recording
    Evlist(EvlistArgs),
    /// List the build-ids of a recording
    BuildidList(BuildidListArgs),
    /// List the events that can be sampled here
    List(ListArgs),
    /// Record a small workload with a known answer and show it
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of prof or of a subcommand
    Man {
        /// Which subcommand
        subcommand: Option<String>,
    },
    /// The workload of `prof demo`
    #[command(hide = true)]
    Workload {
        /// Seconds to run
        seconds: f64,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::*;

    /// Each command's help as it is printed where there is no terminal; `prof` itself has no name.
    fn helps() -> BTreeMap<String, String> {
        let mut command = Cli::command();
        command.build();
        let mut helps = BTreeMap::new();
        helps.insert(String::new(), command.render_help().to_string());
        for subcommand in command.get_subcommands_mut() {
            let help = subcommand.render_help().to_string();
            helps.insert(subcommand.get_name().to_owned(), help);
        }
        helps
    }

    #[test]
    fn help_fits_a_terminal_of_80_columns() {
        let helps = helps();
        assert!(helps.len() > 10, "{:?}", helps.keys());
        for (command, help) in helps {
            let mut lines = help.lines();
            let long = lines.find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "prof {command} --help");
        }
    }

    #[test]
    fn the_examples_of_help_are_command_lines() {
        let mut examples = 0;
        for (command, help) in helps() {
            let Some((_, lines)) = help.split_once("Examples:\n") else {
                continue;
            };
            for line in lines.lines().filter(|line| !line.is_empty()) {
                let (typed, what) = line.trim().split_once("  ").expect(line);
                assert!(!what.trim().is_empty(), "{line}");
                let parsed = Cli::try_parse_from(typed.split(' '));
                assert!(parsed.is_ok(), "{typed}: {}", parsed.unwrap_err());
                assert!(typed.starts_with(format!("prof {command}").trim_end()));
                examples += 1;
            }
        }
        assert!(examples > 20, "{examples}");
    }

    #[test]
    fn what_the_comparison_with_perf_calls_the_same_is_in_the_help() {
        let helps = helps();
        let document = include_str!("../../../../docs/perf-compat.md");
        let mut found = 0;
        for section in document.split("\n## ").skip(1) {
            let Some(help) = section.lines().next().and_then(|name| helps.get(name)) else {
                continue;
            };
            let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
            for (options, here) in rows.filter_map(|row| row.split_once(" | ")) {
                let offered = ["same", "accepted", "as for", "on", "0 or 1", "in the order"];
                if !offered.iter().any(|word| here.starts_with(word)) {
                    continue;
                }
                // `-e`, `--header-only`: every second part stands between backquotes
                for option in options.split('`').skip(1).step_by(2) {
                    let name = option.split(' ').next().unwrap_or_default();
                    if !name.starts_with('-') {
                        continue;
                    }
                    let ends = [' ', ',', '=', '[', '\n', ']'];
                    let mut places = help.match_indices(name);
                    let is_there = places.any(|(at, _)| {
                        let before = help[..at].chars().next_back();
                        let after = help[at + name.len()..].chars().next();
                        before.is_none_or(|it| it.is_whitespace())
                            && after.is_none_or(|it| ends.contains(&it))
                    });
                    assert!(is_there, "{name} of\n{help}");
                    found += 1;
                }
            }
        }
        assert!(found > 80, "{found}");
    }
}
