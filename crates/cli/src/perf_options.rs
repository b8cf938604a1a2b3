//! Options of perf that `prof` does not have: what to do instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::abbreviations;
use crate::args::{Cli, Command};
use crate::error::CliError;

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

/// Ends the program with what clap has to say, for an option of perf with what to do instead, and for an
/// abbreviation with what it could be.
pub fn refuse(error: clap::Error) -> ! {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(subcommand) = std::env::args().nth(1)
        && let Some(message) = refusal(&subcommand, option)
    {
        exit_with(&message);
    }
    error.exit()
}

/// Where a command is expected an option that is not known would be taken for it.
pub fn refuse_as_command(cli: &Cli) {
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

fn refusal(subcommand: &str, option: &str) -> Option<CliError> {
    let Some(instead) = instead(subcommand, option) else {
        return abbreviations::ambiguous(subcommand, option);
    };
    let name = option.split('=').next().unwrap_or(option);
    let what = format!("`{name}` is an option of perf that prof does not have");
    Some(CliError::usage(what).hint(instead))
}

/// What to do instead of an option, given as typed.
fn instead(subcommand: &str, option: &str) -> Option<&'static str> {
    let name = option.split('=').next().unwrap_or(option);
    let mut known = INSTEAD.iter();
    let found = known.find(|(of, options, _)| *of == subcommand && options.contains(&name));
    found.map(|(_, _, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_option_is_refused_that_is_offered() {
        let command = crate::args::Cli::command();
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
    fn an_option_is_found_with_and_without_its_value() {
        assert!(instead("record", "-b").is_some());
        assert!(instead("record", "--affinity=node").is_some());
        assert!(instead("report", "--nonsense").is_none());
    }
}
