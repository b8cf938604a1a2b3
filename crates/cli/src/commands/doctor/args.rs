//! The arguments of `prof doctor`.

use crate::command_line::shared::SamplingArgs;

/// `prof doctor`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Everything is tried: events are opened as `prof record` opens them, and closed again. Nothing is \
sampled, changed or installed. Exit status: 0 where recording will work, 1 where it will not.

Examples:\n  \
    prof doctor                       what this machine permits this user
  prof doctor -p 4121               of a process also: stacks, names, cost
  prof doctor -p :8080              who listens there, as -p of record has it
  prof doctor -p nginx -F max       with the options that record is to have
  prof doctor --json                one object for programs")]
pub struct DoctorArgs {
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// One JSON object
    #[arg(long)]
    pub json: bool,
}
