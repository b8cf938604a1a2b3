//! Options of perf that `prof` does not have, and what to do instead.
//!
//! People type them from habit. That they are unknown is less than what we can say: that perf has them, and
//! how the same is done here. Elsewhere: how the command line comes here (`parse`).

/// By subcommand and option. `docs/perf-compat.md` has the whole list.
const INSTEAD: &[(&str, &[&str], &str)] = &[
    (
        "record",
        &["-b", "--branch-any", "-j", "--branch-filter"],
        "branches are not recorded; `--call-graph auto` needs none for whole stacks. `prof report -b` reads \
         those of `perf record -b`",
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
        &["--switch-events"],
        "`--off-cpu` has a stack for each time a thread stops running, and how long that lasts",
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
        &["--max-size"],
        "say how long: `-d 10s`; `-z` makes the file smaller",
    ),
    (
        "report",
        &["--branch-history", "--total-cycles", "--stitch-lbr"],
        "`-b` has a row for each branch: from where, to where, how many cycles; `prof script -F \
         ip,brstacksym` has the branches of each sample in their order",
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
        "report",
        &["--gtk"],
        "screens are on the terminal, `--tui`; pictures for a browser are `--svg FILE`",
    ),
    (
        "script",
        &["flamegraph"],
        "`prof report --svg flame.svg`, or at once `prof record -p PID -d 10s --svg flame.svg`",
    ),
    ("script", &["record"], "`prof record`, then `prof script`"),
    (
        "script",
        &["report"],
        "a flame graph is `prof report --svg flame.svg`; scripts read stdout: `prof script | ./mine.py`",
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
        "branch records are not compared; `--svg` compares whole stacks",
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

/// The long options that only perf's subcommand has.
pub fn long_options(subcommand: &str) -> impl Iterator<Item = &'static str> {
    let known = INSTEAD.iter().filter(move |(of, _, _)| *of == subcommand);
    let options = known.flat_map(|(_, options, _)| options.iter().copied());
    options.filter(|option| option.starts_with("--"))
}

/// What to do instead of an option, or of a word that perf takes for a script; `None` if it is not one of
/// perf that is missing here.
pub fn instead(subcommand: &str, option: &str) -> Option<&'static str> {
    let mut known = INSTEAD.iter();
    let found = known.find(|(of, options, _)| *of == subcommand && options.contains(&option));
    found.map(|(_, _, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
}
