//! The arguments of `prof top`.

use std::time::Duration;

use super::windows::WindowOptions;
use crate::command_line::shared::SamplingArgs;
use crate::units;

/// `prof top`.
#[derive(clap::Args, Debug, Clone)]
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

impl TopArgs {
    /// Which tables or objects are printed.
    pub fn windows(&self) -> WindowOptions {
        WindowOptions {
            every: self.delay,
            count: self.iterations,
            window: self.window,
            rows: self.rows,
        }
    }
}
