//! `prof why`: the answer for whoever is on call, in at most fifteen lines.
//!
//! What the kernel counts (`prof-vitals`) and what samples say (`prof-report`), over the same seconds. Each line
//! is a statement that one of them carries.

mod answer; // what was found out, as plain values
mod args; // whom, for how long, in which form
mod counters; // the lines that counters carry
mod json; // one object
mod measure; // sampling and looking, side by side
mod next; // the command to type next
mod samples; // the lines that samples carry
mod text; // all lines, and what is left out if there are too many
pub mod words; // times, sizes and lists

use crate::messages::Outcome;
use crate::printed;
pub use args::WhyArgs;

/// Runs `prof why`.
///
/// # Errors
/// A message: the target is not there, a file cannot be written.
pub fn run(args: &WhyArgs) -> Outcome {
    let answer = measure::measure(args)?;
    let text = match (args.json, args.md) {
        (true, _) => json::object(&answer),
        (_, true) => text::markdown(&answer),
        _ => text::plain(&answer),
    };
    printed::answer(&text, args.json)?;
    Ok(0)
}
