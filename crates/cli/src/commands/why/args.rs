//! The arguments of `prof why`.

use std::path::PathBuf;
use std::time::Duration;

use crate::command_line::shared::SamplingArgs;
use crate::units;

/// `prof why`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof why -p 4121            why a process is slow or busy\n  \
    prof why                    the whole machine: who, and why\n  \
    prof why -p 4121 -d 30s     look for longer: smaller errors\n  \
    prof why -p 4121 -o f.data  keep the samples for `prof report`\n  \
    prof why -p 4121 --md       to paste into a ticket\n  \
    prof why -- ./batch-job     a command until it ends")]
pub struct WhyArgs {
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// How long to look. Default: 10s, a command until it ends
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,

    /// Keep the samples in this file; otherwise nothing is written
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// One JSON object
    #[arg(long, conflicts_with = "md")]
    pub json: bool,

    /// Markdown, to paste into a ticket
    #[arg(long)]
    pub md: bool,
}
