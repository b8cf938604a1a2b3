//! `prof doctor`: what works here and what does not, before anything is recorded; with the least remedy.
//!
//! What can be tried is tried: events are opened as `record` opens them, and closed again.

mod args; // of whom, in which form
mod check; // one thing that works or does not
mod json; // one object
mod limits; // files, memory, rates
mod machine; // what this machine and user can do
mod modules; // the files that a target runs
mod places; // /proc, /sys, namespaces, filters
mod target; // what can be told of a target
mod text; // tables and remedies

use crate::messages::Outcome;
use crate::messages::present::{Capability, Present};
use crate::printed;
pub use args::DoctorArgs;

/// Runs `prof doctor`. The exit status is 0 where recording will work.
///
/// # Errors
/// A message: the target is not there, or several may be meant.
pub fn run(args: &DoctorArgs) -> Outcome {
    let present = Present {
        together: &[
            Capability::PERFMON,
            Capability::SYS_PTRACE,
            Capability::SYSLOG,
        ],
        ..Present::look()
    };
    let target = target::look(args, &present)?;
    let checks = machine::checks(&present);
    let works = match &target {
        Some(target) => target.recording.state != check::State::No,
        None => machine::can_record(&checks),
    };
    let text = match args.json {
        true => json::object(&checks, target.as_ref(), works),
        false => text::plain(&checks, target.as_ref()),
    };
    printed::answer(&text, args.json)?;
    Ok(if works { 0 } else { crate::messages::FAILED })
}
