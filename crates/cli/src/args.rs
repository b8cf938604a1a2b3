//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use prof_session::{InlinedFunctions, NoTimeSlices, ReadOptions, TimeSlices};

use crate::annotate::AnnotateArgs;
use crate::buildid_list::BuildidListArgs;
use crate::diff::DiffArgs;
use crate::error::CliError;
use crate::evlist::EvlistArgs;
use crate::units;

/// A sampling profiler for Linux: finds the function that burns the CPU.
#[derive(Parser, Debug)]
#[command(
    name = "prof",
    version,
    about,
    max_term_width = 80,
    infer_long_args = true, // as perf does
    after_help = "Examples:\n  \
        prof record -p 4121 -d 10s              sample a process for ten seconds\n  \
        prof record -p 4121 -d 10s --svg f.svg  straight to a flame graph\n  \
        prof record -- ./server --port 80       run a command and sample it\n  \
        prof report                             the table and call trees of perf.data\n  \
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

/// `prof record`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof record -F 99 -p 4121 -d 10s            a process with its children\n  \
    prof record -a -d 5s                        everything on this machine\n  \
    prof record -p 4121 --svg flame.svg -d 10s  a flame graph and no perf.data\n  \
    prof record -p 4121 -- sleep 10             as perf users type it\n  \
    prof record -e page-faults -c 1 -- ./prog   each page fault of a command")]
pub struct RecordArgs {
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// How long: 10s, 500ms, 2m; a bare number is seconds. Until Ctrl-C or the target's exit
    /// otherwise
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,

    /// Where to write; `-` for stdout. Default: perf.data, or nothing with --svg or --folded
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub drawing: DrawingArgs,

    /// Note the CPU of each sample, which -a and -C do anyway
    #[arg(long)]
    pub sample_cpu: bool,

    /// Compress the records with zstd
    #[arg(
        short = 'z',
        long = "compression-level",
        value_name = "LEVEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=22)
    )]
    pub compression: Option<u32>,

    /// The clock of all times: monotonic, monotonic_raw, realtime, boottime, tai
    #[arg(short = 'k', long, value_name = "CLOCK", default_value = "monotonic")]
    pub clockid: String,

    /// Milliseconds to wait before sampling begins
    #[arg(short = 'D', long, value_name = "MS", default_value_t = 0)]
    pub delay: u64,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more: each event, rings, how stacks ended
    #[arg(short, long)]
    pub verbose: bool,
}

/// `prof top`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof top -p 4121                a process, its threads and children\n  \
    prof top -a                     everything on this machine\n  \
    prof top -- ./server --port 80  run a command and watch it\n  \
    prof top -p 4121 --batch -n 5   five plain tables, for a log\n  \
    prof top -p 4121 --json         one object a line, for a program")]
pub struct TopArgs {
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// Time between two pictures, at least 1s
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = units::refresh)]
    pub delay: Duration,

    /// Plain tables instead of screens; so it is without a terminal
    #[arg(short, long)]
    pub batch: bool,

    /// One JSON object a line instead of screens
    #[arg(long, conflicts_with = "batch")]
    pub json: bool,

    /// So many tables or objects, then end
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,

    /// The window of tables and objects: 1s, 10s, 60s or all
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::window)]
    pub window: units::Window,

    /// Rows of a table or an object
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub rows: usize,
}

/// Whom to sample, what and how often; for `record` and `top`.
#[derive(Args, Debug, Clone)]
pub struct SamplingArgs {
    /// Processes to sample, with their threads and children
    #[arg(short, long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<String>,

    /// Threads to sample
    #[arg(
        short,
        long,
        value_name = "TID,...",
        value_delimiter = ',',
        conflicts_with = "pid"
    )]
    pub tid: Vec<String>,

    /// Sample everything on all CPUs
    #[arg(short, long, conflicts_with_all = ["pid", "tid"])]
    pub all_cpus: bool,

    /// Only on these CPUs, as in 0-3,8
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// Samples per second and CPU, or `max`. Default: 999, in top 99
    #[arg(
        short = 'F',
        long = "freq",
        value_name = "HZ",
        conflicts_with = "count"
    )]
    pub frequency: Option<String>,

    /// One sample after so many events
    #[arg(short, long, value_name = "PERIOD", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// What to sample: cycles, cpu-clock, page-faults, sched:sched_switch, r1a8; with :u or :k only
    /// user or kernel code; '{a,b}' counts both at the same times, with :S only the first is sampled
    /// and tells what the others counted. Default: cycles, and cpu-clock where there is no PMU
    #[arg(short, long, value_name = "EVENT,...")]
    pub event: Vec<String>,

    /// Record callchains: this is the default, and accepted because perf has it
    #[arg(short = 'g')]
    pub call_graph_flag: bool,

    /// How stacks are walked: auto, dwarf, dwarf,BYTES, fp, none
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub call_graph: String,

    /// The most frames kept of a stack
    #[arg(long, value_name = "FRAMES", default_value_t = prof_session::DEFAULT_MAX_STACK)]
    pub max_stack: usize,

    /// Ring buffer per CPU: 8M, 512K; a bare number is pages
    #[arg(short, long, value_name = "SIZE", value_parser = units::ring_size)]
    pub mmap_pages: Option<usize>,

    /// Only this process or thread: not what it has started, nor what it starts later
    #[arg(short = 'i', long)]
    pub no_inherit: bool,

    /// A command to run and sample; with -p, -t or -a it is only the clock
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
}

/// Flame graphs and folded stacks, for `record` and `report`.
#[derive(Args, Debug, Clone, Default)]
pub struct DrawingArgs {
    /// Draw a flame graph
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Write folded stacks, one line per stack; `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub folded: Option<PathBuf>,

    /// The flame graph's title
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,

    /// Flame graph from the leaves: merge what is innermost
    #[arg(long)]
    pub reverse: bool,

    /// Flame graph upside down (icicle)
    #[arg(long = "inverted", visible_alias = "icicle")]
    pub inverted: bool,

    /// Leave out frames narrower than this, in percent; how many is said
    #[arg(long, value_name = "PERCENT", default_value_t = 0.01)]
    pub min_width: f64,
}

/// Where to read from, and which names to give; for `report` and `script`.
#[derive(Args, Debug, Clone)]
pub struct InputArgs {
    /// The recording; `-` for stdin
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    pub input: PathBuf,

    /// Look for files below this directory
    #[arg(long, value_name = "DIR")]
    pub symfs: Option<PathBuf>,

    /// Name kernel addresses by this copy of /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    pub kallsyms: Option<PathBuf>,

    /// Name kernel addresses by this vmlinux, and read the kernel's code from it
    #[arg(short = 'k', long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,

    /// Do not show inlined functions
    #[arg(long, overrides_with = "inline")]
    pub no_inline: bool,

    /// Show inlined functions also in callchains that the kernel walked; in those that were unwound
    /// they are shown anyway
    #[arg(long)]
    pub inline: bool,

    /// Names as the symbol table has them
    #[arg(long, overrides_with = "demangle")]
    pub no_demangle: bool,

    /// Names as in the source (the default)
    #[arg(long)]
    pub demangle: bool,

    /// Only this part: from,to in seconds of the recording's clock, or 10%-20%
    #[arg(long, value_name = "FROM,TO", value_parser = time_slices)]
    pub time: Option<TimeSlices>,

    /// Only these threads' names
    #[arg(short = 'c', long, value_name = "COMM,...", value_delimiter = ',')]
    pub comms: Vec<String>,

    /// Only these processes
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<i32>,

    /// Only these threads
    #[arg(long, value_name = "TID,...", value_delimiter = ',')]
    pub tid: Vec<i32>,

    /// The most frames shown of a callchain
    #[arg(long, value_name = "FRAMES", default_value_t = 1024)]
    pub max_stack: usize,

    /// Accepted because perf has it: read files whoever owns them
    #[arg(short, long)]
    pub force: bool,
}

impl InputArgs {
    /// The same as the library has it.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            path: self.input.clone(),
            symfs: self.symfs.clone(),
            kallsyms: self.kallsyms.clone(),
            vmlinux: self.vmlinux.clone(),
            inlined: match (self.no_inline, self.inline) {
                (true, _) => InlinedFunctions::Nowhere,
                (_, true) => InlinedFunctions::Everywhere,
                _ => InlinedFunctions::WhereUnwound,
            },
            demangle: !self.no_demangle,
            time: self.time.clone(),
            max_stack: self.max_stack,
        }
    }
}

/// `prof report`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof report                              on a terminal: screens, with keys\n  \
    prof report --stdio                      rows and call trees\n  \
    prof report --no-children -g none        just the functions, hottest first\n  \
    prof report --sort dso,sym -n            by library, with sample counts\n  \
    prof report -g caller,0.5 --comms nginx  call trees of one thread name\n  \
    prof report --svg flame.svg              a flame graph")]
pub struct ReportArgs {
    #[command(flatten)]
    pub input: InputArgs,

    #[command(flatten)]
    pub drawing: DrawingArgs,

    /// Print the table, also on a terminal
    #[arg(long)]
    pub stdio: bool,

    /// Show the screens of prof top; so it is on a terminal without options for the table
    #[arg(long)]
    pub tui: bool,

    /// Rows for callers too, with what they called (the default)
    #[arg(long, overrides_with = "no_children")]
    pub children: bool,

    /// Only where the CPU was, not who called
    #[arg(long)]
    pub no_children: bool,

    /// A column with the number of samples
    #[arg(short = 'n', long)]
    pub show_nr_samples: bool,

    /// A column with the sum of periods
    #[arg(long)]
    pub show_total_period: bool,

    /// Columns with kernel and user shares
    #[arg(long)]
    pub show_cpu_utilization: bool,

    /// Group and sort by: comm, dso, symbol, pid, tid, cpu, srcline ...; `+key` adds one
    #[arg(short, long, value_name = "KEY,...")]
    pub sort: Option<String>,

    /// Exactly these columns: overhead, sample, period and the sort keys
    #[arg(short = 'F', long, value_name = "FIELD,...")]
    pub fields: Option<String>,

    /// Call trees: graph, fractal, flat, folded or none; smallest share; caller or callee;
    /// function or address; percent, period or count
    #[arg(
        short = 'g',
        long = "call-graph",
        value_name = "SPEC",
        num_args = 0..=1,
        default_missing_value = ""
    )]
    pub call_graph: Option<String>,

    /// Call trees from the outermost function
    #[arg(short = 'G')]
    pub caller_first: bool,

    /// Leave out rows and branches with a smaller share, in percent
    #[arg(long, value_name = "PERCENT")]
    pub percent_limit: Option<f64>,

    /// Shares of what the filters let through (relative) or of all samples (absolute)
    #[arg(long, value_name = "OF", value_parser = ["relative", "absolute"])]
    pub percentage: Option<String>,

    /// Only these libraries and programs
    #[arg(short, long, value_name = "DSO,...", value_delimiter = ',')]
    pub dsos: Vec<String>,

    /// Only these functions
    #[arg(short = 'S', long, value_name = "SYMBOL,...", value_delimiter = ',')]
    pub symbols: Vec<String>,

    /// Only functions with this in their names
    #[arg(long, value_name = "TEXT")]
    pub symbol_filter: Option<String>,

    /// Only samples on these CPUs
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// Leave out what has no name
    #[arg(short = 'U', long)]
    pub hide_unresolved: bool,

    /// Separate columns with this, for other programs
    #[arg(short = 't', long, value_name = "TEXT")]
    pub field_separator: Option<String>,

    /// Widths of the columns
    #[arg(short = 'w', long, value_name = "N,...", value_delimiter = ',')]
    pub column_widths: Vec<usize>,

    /// One table for the events of a group (the default)
    #[arg(long, overrides_with = "no_group")]
    pub group: bool,

    /// A table for each event of a group
    #[arg(long)]
    pub no_group: bool,

    /// Rows as a tree with a level for each sort key
    #[arg(long)]
    pub hierarchy: bool,

    /// Length of the intervals of the `time` key
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = units::interval)]
    pub time_quantum: Duration,

    /// Count what these functions call as theirs
    #[arg(long, value_name = "REGEX")]
    pub ignore_callees: Option<String>,

    /// A column with the innermost caller that matches
    #[arg(short, long, value_name = "REGEX")]
    pub parent: Option<String>,

    /// Only samples that have such a caller
    #[arg(short = 'x', long)]
    pub exclude_other: bool,

    /// At the end what each thread counted, of a recording made with perf's -s
    #[arg(short = 'T', long)]
    pub threads: bool,

    /// Colours: always, never, or auto, which is only on a terminal
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true,
        default_missing_value = "always", value_parser = ["always", "never", "auto"])]
    pub stdio_color: Option<String>,

    /// The rows as JSON, for other programs
    #[arg(long, conflicts_with_all = ["svg", "folded", "hierarchy"])]
    pub json: bool,

    /// First what is known about the recording
    #[arg(long)]
    pub header: bool,

    /// Only what is known about the recording
    #[arg(long)]
    pub header_only: bool,

    /// With --header also CPUs and memory nodes
    #[arg(short = 'I', long)]
    pub show_info: bool,

    /// No lines that begin with #
    #[arg(short, long)]
    pub quiet: bool,

    /// Say why stacks were cut and names are missing
    #[arg(short, long)]
    pub verbose: bool,

    /// Only functions with this in their names
    #[arg(value_name = "SYMBOL")]
    pub filter: Option<String>,
}

/// `prof script`.
#[derive(Args, Debug, Clone)]
pub struct ScriptArgs {
    #[command(flatten)]
    pub input: InputArgs,

    /// Fields: comm, tid, pid, time, cpu, misc, period, event, trace, addr, ip, sym, symoff, dso,
    /// srcline; where they were recorded: iregs, uregs, brstack, weight, ins_lat, phys_addr,
    /// data_page_size, code_page_size
    #[arg(short = 'F', long, value_name = "FIELD,...")]
    pub fields: Option<String>,

    /// No callchains
    #[arg(short = 'G', long)]
    pub hide_call_graph: bool,

    /// Times with nanoseconds
    #[arg(long)]
    pub ns: bool,

    /// Times from the first sample that is printed
    #[arg(long, conflicts_with = "deltatime")]
    pub reltime: bool,

    /// Times from the sample before
    #[arg(long)]
    pub deltatime: bool,

    /// Only samples in these functions
    #[arg(short = 'S', long, value_name = "SYMBOL,...", value_delimiter = ',')]
    pub symbols: Vec<String>,

    /// Only samples on these CPUs
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// First what is known about the recording
    #[arg(long)]
    pub header: bool,

    /// Only what is known about the recording
    #[arg(long)]
    pub header_only: bool,

    /// With --header also CPUs and memory nodes
    #[arg(short = 'I', long)]
    pub show_info: bool,

    #[command(flatten)]
    pub show: ShowArgs,
}

/// Which records `prof script` prints beside the samples.
#[derive(Args, Debug, Clone)]
pub struct ShowArgs {
    /// Also names, starts and ends of threads
    #[arg(long = "show-task-events")]
    pub task_events: bool,

    /// Also what is mapped
    #[arg(long = "show-mmap-events")]
    pub mmap_events: bool,

    /// Also how many records were lost
    #[arg(long = "show-lost-events")]
    pub lost_events: bool,

    /// Also which threads were put on a CPU or taken off it
    #[arg(long = "show-switch-events")]
    pub switch_events: bool,

    /// Also in which namespaces threads live
    #[arg(long = "show-namespace-events")]
    pub namespace_events: bool,

    /// Also BPF programs and other code that the kernel made
    #[arg(long = "show-bpf-events")]
    pub bpf_events: bool,

    /// Also control groups
    #[arg(long = "show-cgroup-events")]
    pub cgroup_events: bool,

    /// Also where the kernel changed its code
    #[arg(long = "show-text-poke-events")]
    pub text_poke_events: bool,

    /// Also where a round of reading the rings ended
    #[arg(long = "show-round-events")]
    pub round_events: bool,
}

/// `prof demo`.
#[derive(Args, Debug, Clone)]
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

pub(crate) fn time_slices(text: &str) -> Result<TimeSlices, String> {
    TimeSlices::parse(text).map_err(|NoTimeSlices(text)| {
        let message = format!("`--time {text}` names no part of a recording");
        let hint = "for example `--time 1513.3,1513.4` in seconds, or `--time 10%-20%`";
        CliError::usage(message).hint(hint).to_string()
    })
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
        let document = include_str!("../../../docs/perf-compat.md");
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
