//! Options of perf that `prof` does not have: what to do instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, value_parser};

use crate::command_line::abbreviations::Meant;
use crate::command_line::{Cli, Command};
use crate::messages::CliError;

/// By subcommand and option. `docs/perf-compat.md` has the whole list.
const INSTEAD: &[(&str, &[&str], &str)] = &[
    (
        "record",
        &["-b", "--branch-any", "-j", "--branch-filter"],
        "branch records are not read; `--call-graph auto` needs none for whole stacks",
    ),
    (
        "record",
        &["--all-user", "--all-kernel"],
        "name the event with `:u` or `:k`, as in `-e cycles:u`",
    ),
    (
        "record",
        &["-u", "--uid"],
        "name the processes: `-p $(pgrep -d, -u USER)`",
    ),
    (
        "record",
        &["-B", "--no-buildid", "-N", "--no-buildid-cache"],
        "leave it out: nothing is copied to ~/.debug, and build-ids cost nothing",
    ),
    (
        "record",
        &["-R", "--raw-samples", "-T", "--timestamp", "-P", "--period"],
        "leave it out: what can be recorded of a sample always is",
    ),
    (
        "record",
        &["--data", "--phys-data", "-W", "--weight"],
        "memory accesses are not recorded; `perf mem record` does it",
    ),
    (
        "record",
        &["-s", "--stat", "--per-thread"],
        "leave it out: `prof report --sort tid` tells threads apart",
    ),
    (
        "record",
        &["--user-callchains", "--kernel-callchains"],
        "name the event with `:u` or `:k`, as in `-e cycles:u`",
    ),
    (
        "record",
        &["--switch-events", "--off-cpu"],
        "`-e sched:sched_switch -c 1` has a stack for each time a thread goes to sleep",
    ),
    (
        "record",
        &["-G", "--cgroup"],
        "`prof top` has a column for cgroups; for a file name the processes with -p",
    ),
    (
        "record",
        &["--switch-output", "--overwrite", "--snapshot", "-S"],
        "parts of a recording are chosen when it is read: `prof report --time`",
    ),
    (
        "record",
        &["--threads", "--aio", "--affinity", "--mmap-flush"],
        "leave it out: writing is on a thread of its own",
    ),
    (
        "record",
        &["-I", "--intr-regs", "--user-regs"],
        "registers are not recorded; `prof script` prints those of perf's files",
    ),
    (
        "record",
        &["-r", "--realtime"],
        "prof runs as whoever starts it: `chrt -f 1 prof record -p PID`",
    ),
    (
        "record",
        &["--max-size"],
        "say how long: `-d 10s`; `-z` makes the file smaller",
    ),
    (
        "report",
        &[
            "-b",
            "--branch-stack",
            "--branch-history",
            "--total-cycles",
            "--stitch-lbr",
        ],
        "branch records are not read",
    ),
    (
        "report",
        &["--mem-mode"],
        "memory accesses are not read; `perf mem report` does it",
    ),
    (
        "report",
        &["-D", "--dump-raw-trace", "--stats", "--tasks", "--mmaps"],
        "`prof script` prints the samples; the other records only `perf report -D`, which reads our \
         files too",
    ),
    (
        "report",
        &[
            "-M",
            "--disassembler-style",
            "--objdump",
            "--asm-raw",
            "--source",
        ],
        "instructions are shown by `prof annotate`",
    ),
    (
        "report",
        &["-o", "--output"],
        "write stdout into a file: `prof report > FILE`",
    ),
    (
        "report",
        &["--raw-trace"],
        "leave it out: `--sort trace` prints what the kernel's format makes of the fields",
    ),
    (
        "report",
        &["-m", "--modules"],
        "leave it out: modules of the kernel that runs are named anyway",
    ),
    (
        "script",
        &["-D", "--dump-raw-trace", "--dump-unsorted-raw-trace"],
        "`perf script -D` reads our files too",
    ),
    (
        "script",
        &[
            "-s",
            "--script",
            "-g",
            "--gen-script",
            "-l",
            "--list",
            "--dlfilter",
        ],
        "scripts read stdout: `prof script | ./mine.py`",
    ),
    (
        "script",
        &["--per-event-dump"],
        "filter stdout by the event's name",
    ),
    (
        "script",
        &[
            "--insn-trace",
            "--call-trace",
            "--call-ret-trace",
            "--itrace",
            "--xed",
        ],
        "traces of processors are not read",
    ),
    (
        "diff",
        &["--stream", "--cycles-hist"],
        "branch records are not read; `--svg` compares whole stacks",
    ),
    (
        "diff",
        &["-D", "--dump-raw-trace"],
        "`prof script` prints the samples",
    ),
    (
        "annotate",
        &["--tui"],
        "`prof annotate` prints; page it with `| less -R`",
    ),
    (
        "annotate",
        &["--prefix", "--prefix-strip"],
        "`--symfs DIR` looks for sources below a directory, too",
    ),
    (
        "buildid-list",
        &["-m", "--kernel-maps"],
        "`-k` has the kernel's build-id; where it lies, /proc/kallsyms tells",
    ),
];

/// The command line of this process. Ends the program with what is wrong about it: for an option of perf
/// with what to do instead, for an abbreviation with what it could be.
pub fn parse() -> Cli {
    match with_options_of_perf().try_get_matches() {
        Ok(matches) => {
            refuse_given(&matches);
            let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| refuse(&error));
            refuse_as_command(&cli);
            cli
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

/// The long options that only perf's subcommand has.
pub fn long_options(subcommand: &str) -> impl Iterator<Item = &'static str> {
    let known = INSTEAD.iter().filter(move |(of, _, _)| *of == subcommand);
    let options = known.flat_map(|(_, options, _)| options.iter().copied());
    options.filter(|option| option.starts_with("--"))
}

fn refuse_given(matches: &ArgMatches) {
    let Some((subcommand, given)) = matches.subcommand() else {
        return;
    };
    let mut refusals = long_options(subcommand)
        .filter(|option| given.contains_id(option))
        .filter_map(|option| refusal(subcommand, option));
    if let Some(message) = refusals.next() {
        exit_with(&message);
    }
}

fn refuse(error: &clap::Error) -> ! {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(subcommand) = std::env::args_os().nth(1)
        && let Some(message) = refusal(&subcommand.to_string_lossy(), option)
    {
        exit_with(&message);
    }
    error.exit()
}

/// Where a command is expected an option that is not known would be taken for it.
fn refuse_as_command(cli: &Cli) {
    let (subcommand, sampling) = match &cli.command {
        Command::Record(args) => ("record", &args.sampling),
        Command::Top(args) => ("top", &args.sampling),
        _ => return,
    };
    let Some(option) = sampling.command.first().and_then(|first| first.to_str()) else {
        return;
    };
    if !option.starts_with('-') {
        return;
    }
    exit_with(&refusal(subcommand, option).unwrap_or_else(|| {
        CliError::usage(format!("unknown option `{option}`"))
            .hint(format!("`prof {subcommand} --help`"))
    }))
}

fn exit_with(message: &CliError) -> ! {
    eprintln!("{message}");
    std::process::exit(i32::from(message.status));
}

/// The message for an option, given as typed; `None` if it is neither perf's nor an abbreviation.
fn refusal(subcommand: &str, option: &str) -> Option<CliError> {
    let name = option.split('=').next().unwrap_or(option);
    let meant = Meant::by(subcommand, name);
    let option = meant.only_perfs().unwrap_or(name);
    let Some(instead) = instead(subcommand, option) else {
        return meant.ambiguous(name);
    };
    let what = format!("`{option}` is an option of perf that prof does not have");
    Some(CliError::usage(what).hint(instead))
}

/// What to do instead of an option.
fn instead(subcommand: &str, option: &str) -> Option<&'static str> {
    let mut known = INSTEAD.iter();
    let found = known.find(|(of, options, _)| *of == subcommand && options.contains(&option));
    found.map(|(_, _, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_refused_that_is_offered() {
        let command = crate::command_line::Cli::command();
        for (of, options, _) in INSTEAD {
            let mut subcommands = command.get_subcommands();
            let subcommand = subcommands.find(|it| it.get_name() == *of).unwrap();
            for argument in subcommand.get_arguments() {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                for name in long.iter().chain(&short) {
                    let is_begun_by = |option: &&str| name.starts_with(option);
                    assert!(!options.iter().any(is_begun_by), "{of} {name}");
                }
            }
        }
    }

    #[test]
    fn an_option_is_found_with_and_without_its_value_and_cut_short() {
        let what = |subcommand, option| refusal(subcommand, option).map(|it| it.what);
        let of_perf = |option| {
            Some(format!(
                "`{option}` is an option of perf that prof does not have"
            ))
        };
        assert_eq!(what("record", "-b"), of_perf("-b"));
        assert_eq!(what("record", "--affinity=node"), of_perf("--affinity"));
        assert_eq!(what("record", "--all-k"), of_perf("--all-kernel"));
        assert_eq!(what("script", "--scr"), of_perf("--script"));
        assert_eq!(what("report", "--nonsense"), None);
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
