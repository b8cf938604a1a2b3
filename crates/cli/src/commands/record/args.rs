//! The arguments of `prof record`.

use std::path::PathBuf;
use std::time::Duration;

use crate::command_line::shared::{DrawingArgs, SamplingArgs};
use crate::units;

/// `prof record`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof record -F 99 -p 4121 -d 10s            a process with its children\n  \
    prof record -p nginx -d 10s                 all processes of that name\n  \
    prof record -p :8080 -d 10s                 who listens on that port\n  \
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
