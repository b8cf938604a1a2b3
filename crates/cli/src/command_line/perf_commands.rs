//! Commands of perf that `prof` does not have, and what to do instead.

use strsim::damerau_levenshtein;

use crate::messages::CliError;

const INSTEAD: &[(&str, &str)] = &[
    (
        "stat",
        "how busy a target is: `prof top -p PID`; counters together: `prof record -e '{a,b}:S'`; \
         plain counts are for `perf stat`",
    ),
    (
        "trace",
        "system calls with their stacks: `prof record -e 'syscalls:sys_enter_*' -c 1`, then \
         `prof script`",
    ),
    (
        "sched",
        "where threads wait, for what and how long: `prof record --off-cpu`, then `prof report`",
    ),
    (
        "lock",
        "who waits for locks, and how long: `prof record --off-cpu`; in the kernel too: `-e lock:contention_begin`",
    ),
    (
        "kmem",
        "who allocates in the kernel: `prof record -e 'kmem:kmalloc' -c 1`, then `prof report`",
    ),
    (
        "c2c",
        "memory accesses are not recorded; misses of a cache are: `prof record -e cache-misses`",
    ),
    (
        "probe",
        "make the probe with `perf probe`; `prof record -e probe:NAME` samples it",
    ),
    ("kvm", "guests are seen from the host: `prof record -a`"),
    (
        "timechart",
        "when it was busy: `prof report --sort time`; a moment of it: `prof report --time 10%-20%`",
    ),
    (
        "bench",
        "`prof demo` shows that sampling works here; benchmarks are for `perf bench`",
    ),
    (
        "archive",
        "leave it out: perf.data has the names, and is read on any machine",
    ),
    (
        "inject",
        "leave it out: jitdumps and build-ids are read anyway; `perf inject` reads our files too",
    ),
    (
        "buildid-cache",
        "leave it out: nothing is copied to a cache; `prof buildid-list` tells build-ids",
    ),
    (
        "data",
        "`prof script` prints text, `prof report --json` JSON; `perf data convert` reads our files \
         too",
    ),
    (
        "ftrace",
        "`prof record -e SYSTEM:NAME -c 1` has each hit of a tracepoint with its stack",
    ),
];

/// The message for a command that `prof` does not have; `known` are those that it has.
pub fn refusal<'a>(command: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    if let Some((_, instead)) = INSTEAD.iter().find(|(name, _)| *name == command) {
        let what = format!("`{command}` is a command of perf that prof does not have");
        return CliError::usage(what).hint(*instead);
    }
    let message = CliError::usage(format!("there is no command `prof {command}`"));
    let near = known.map(|name| (damerau_levenshtein(command, name), name));
    match near.min().filter(|(distance, _)| *distance <= 2) {
        Some((_, name)) => message.hint(format!("did you mean `prof {name}`?")),
        None => message.hint("`prof --help` lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_perf_is_told_from_one_that_is_mistyped() {
        let refused = |command| refusal(command, ["record", "report"].into_iter());
        let stat = refused("stat");
        assert_eq!(
            stat.what,
            "`stat` is a command of perf that prof does not have"
        );
        assert!(stat.hints[0].contains("prof top"), "{:?}", stat.hints);
        assert_eq!(refused("recrod").hints, ["did you mean `prof record`?"]);
        assert_eq!(refused("nonsense").hints, ["`prof --help` lists them"]);
    }

    #[test]
    fn no_command_is_refused_that_is_offered() {
        use clap::CommandFactory;
        let command = crate::command_line::Cli::command();
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            assert!(INSTEAD.iter().all(|(of, _)| *of != name), "{name}");
        }
    }
}
