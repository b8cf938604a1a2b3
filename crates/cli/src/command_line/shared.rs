//! Arguments that several commands have in the same words, and what they are as plain values.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use prof_model::{Pid, Tid};
use prof_report::{Filter, FlameGraphExport, FoldedExport};
use prof_session::{InlinedFunctions, NoTimeSlices, ReadOptions, TimeSlices};

use super::events::EventArgs;
use crate::export::Exports;
use crate::units;

/// Whom to sample, what and how often; for `record`, `why` and `top`.
#[derive(Args, Debug, Clone)]
pub struct SamplingArgs {
    /// Processes to sample, with their threads and children: 4121, nginx, :8080 (who listens there), :53/udp,
    /// a container's id
    #[arg(short, long, value_name = "PID|NAME|:PORT,...", value_delimiter = ',')]
    pub pid: Vec<String>,

    #[command(flatten)]
    pub groups: GroupArgs,

    /// Threads to sample
    #[arg(
        short,
        long,
        value_name = "TID,...",
        value_delimiter = ',',
        conflicts_with_all = ["cgroup", "container", "unit"]
    )]
    pub tid: Vec<String>,

    /// Sample everything on all CPUs; with -p or -t these alone, as in perf
    #[arg(short, long)]
    pub all_cpus: bool,

    /// Only on these CPUs, as in 0-3,8
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// Samples per second and CPU, or `max`. Default: 999, in why and top 99
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

    #[command(flatten)]
    pub events: EventArgs,

    /// Sample waiting time as well: where threads wait, for how long, and in what
    #[arg(long, conflicts_with = "off_cpu")]
    pub wall: bool,

    /// Sample waiting time alone
    #[arg(long, conflicts_with_all = ["event", "filter", "frequency", "count"])]
    pub off_cpu: bool,

    /// Of waits that the target's own threads end, also who ends them: which function holds a lock
    #[arg(long)]
    pub waker: bool,

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

    /// Empty the rings with this real-time priority, 1 to 99 (`SCHED_FIFO`); as far before others as is
    /// permitted without it
    #[arg(short, long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub realtime: Option<u8>,

    /// Only this process or thread: not what it has started, nor what it starts later
    #[arg(short = 'i', long)]
    pub no_inherit: bool,

    /// A command to run and sample; with -p, -t or -a it is only the clock
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Groups of processes to sample, also those that join them meanwhile.
#[derive(Args, Debug, Clone)]
pub struct GroupArgs {
    /// A cgroup to sample: its path in its hierarchy, or its folder
    #[arg(short = 'G', long, value_name = "PATH")]
    pub cgroup: Option<String>,

    /// A container to sample: its name, its id or the beginning of that
    #[arg(long, value_name = "NAME|ID")]
    pub container: Option<String>,

    /// A unit of systemd to sample: nginx.service, or nginx
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
}

impl GroupArgs {
    /// Whether one is asked for.
    pub fn any(&self) -> bool {
        self.cgroup.is_some() || self.container.is_some() || self.unit.is_some()
    }
}

/// Flame graphs and folded stacks, for `record` and `report`.
#[derive(Args, Debug, Clone)]
pub struct DrawingArgs {
    /// Draw a flame graph; `-` for stdout
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

    /// Draw also threads that have nothing to do, where waiting time is drawn
    #[arg(long)]
    pub idle: bool,

    /// Leave out frames narrower than this, in percent; how many is said
    #[arg(long, value_name = "PERCENT", default_value_t = 0.01)]
    pub min_width: f64,
}

impl DrawingArgs {
    /// Which files are wanted; with `quiet`, nothing is said about them.
    pub fn exports(&self, quiet: bool) -> Exports {
        let flame_graph = FlameGraphExport {
            title: self.title.clone(),
            reverse: self.reverse,
            inverted: self.inverted,
            min_width: self.min_width,
        };
        Exports::new(quiet)
            .add(self.folded.as_ref(), FoldedExport)
            .add(self.svg.as_ref(), flame_graph)
    }
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

    /// Only this part: from,to in seconds of its clock, or from its start; 03:12:05,03:13; 10%-20%
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
    #[arg(long, value_name = "FRAMES", default_value_t = prof_session::DEFAULT_MAX_STACK)]
    pub max_stack: usize,

    /// Accepted because perf has it: read files whoever owns them
    #[arg(short, long)]
    pub force: bool,
}

impl InputArgs {
    /// The samples that are wanted, by thread name, process and thread.
    pub fn filter(&self) -> Filter {
        Filter {
            comms: self.comms.clone(),
            pids: self.pid.iter().copied().map(Pid).collect(),
            tids: self.tid.iter().copied().map(Tid).collect(),
            ..Filter::default()
        }
    }

    /// How the recording is read.
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

/// Reads a part of a recording: `1513.3,1513.4` or `10%-20%`.
pub fn time_slices(text: &str) -> Result<TimeSlices, String> {
    TimeSlices::parse(text).map_err(|NoTimeSlices(text)| {
        format!(
            "`--time {text}` names no part of a recording; for example `--time 0,10` or \
             `--time 1513.3,1513.4` in seconds, `--time 03:12:05,03:12:10`, or `--time 10%-20%`"
        )
    })
}
