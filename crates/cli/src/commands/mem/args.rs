//! The arguments of `prof mem`.

use std::path::PathBuf;
use std::time::Duration;

use crate::command_line::shared::GroupArgs;
use crate::units;

/// `prof mem`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
    `in use` is what the program asked for and has not freed: where that grows,\n\
    the program keeps it. `freed and kept` is what malloc has not given back.\n\
    See docs/memory.md for how each number is read.\n\n\
    Examples:\n  \
    prof mem -p 4121            what its memory is, and who adds to it\n  \
    prof mem -p nginx           all processes of a name\n  \
    prof mem -p 4121 -d 5m      slow growth: smaller errors\n  \
    prof mem -p 4121 -o f.data  keep the page faults for `prof report`\n  \
    prof mem -p 4121 --md       to paste into a ticket")]
pub struct MemArgs {
    /// Processes to look at: 4121, nginx, :8080 (who listens there), :53/udp, a container's id
    #[arg(short, long, value_name = "PID|NAME|:PORT,...", value_delimiter = ',')]
    pub pid: Vec<String>,

    #[command(flatten)]
    pub groups: GroupArgs,

    /// How long to look
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub duration: Duration,

    /// Keep the samples of page faults in this file; otherwise nothing is written
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// One JSON object
    #[arg(long, conflicts_with = "md")]
    pub json: bool,

    /// Markdown, to paste into a ticket
    #[arg(long)]
    pub md: bool,
}
