//! The arguments of `prof report`.

use std::time::Duration;

use crate::command_line::shared::{DrawingArgs, InputArgs};
use crate::units;

/// `prof report`.
#[derive(clap::Args, Debug, Clone)]
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
    #[arg(long, alias = "stdio2")]
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

    /// Rows for branches that the CPU took; usual for a recording of them
    #[arg(short = 'b', long, overrides_with = "no_branch_stack",
        conflicts_with_all = ["svg", "folded"])]
    pub branch_stack: bool,

    /// Rows for samples also of a recording of branches
    #[arg(long)]
    pub no_branch_stack: bool,

    /// Only threads in these states: running, and what is waited for, such as lock, disk, network
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    pub state: Vec<String>,

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
