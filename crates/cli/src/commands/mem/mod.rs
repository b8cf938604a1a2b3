//! `prof mem`: what a process's memory is, whether it grows, and who touched what is new, in at most twenty lines.
//!
//! What the kernel and the C library count (`prof-memory`) beside samples of page faults (`prof-session`), over the
//! same seconds. Nothing is stopped, and nothing is put into the target.

mod answer; // what was found out, as plain values
mod args; // whom, for how long, in which form
mod faults; // which new pages are still there
mod json; // one object
mod looks; // readings over time
mod measure; // looking and sampling, side by side
mod text; // the lines

use crate::messages::Outcome;
use crate::printed;
pub use args::MemArgs;

/// Runs `prof mem`.
///
/// # Errors
/// A message: the target is not there, or is none that has memory of its own; a file cannot be written.
pub fn run(args: &MemArgs) -> Outcome {
    let answer = measure::measure(args)?;
    let text = match (args.json, args.md) {
        (true, _) => json::object(&answer),
        (_, true) => text::markdown(&answer),
        _ => text::plain(&answer),
    };
    printed::answer(&text, args.json)?;
    Ok(0)
}
