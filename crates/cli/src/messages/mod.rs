//! What the program says when something went wrong or is missing, and what to do about it.

mod debian; // packages with debug symbols
mod error; // messages in three parts, and how a command ends
pub mod event_errors; // events that are none, or not here
pub mod missing_names; // what to do about frames without names
pub mod open_errors; // why the kernel said no, and what to do
pub mod present; // what is so, and which remedies follow
mod session_errors; // recordings that cannot be read or written
pub mod settings; // of the kernel, as hints ask for them
pub mod target_errors; // nobody is meant

pub use error::{CliError, FAILED, Failure, Outcome, USAGE, failed};
