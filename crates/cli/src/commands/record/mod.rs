//! `prof record`: a target's samples into a file, into a flame graph, and into a summary.

mod args; // whom to sample, for how long, into which file
mod older; // what a failed recording leaves in its place
mod plan; // what the arguments ask for
mod progress; // the line on the terminal
mod recording; // its steps, from opening events to the end of the command
mod summary; // the lines at the end
mod usage; // CPU time and quota, in one line
mod watch; // how long it goes on

use crate::messages::{Failure, Outcome, failed};
pub use args::RecordArgs;
use older::Older;
pub use plan::{OutputPlan, Plan};
pub use recording::LiveRecording;
pub use summary::Done;

/// Runs `prof record`.
///
/// # Errors
/// A message; a command's own exit status is none.
pub fn run(args: &RecordArgs) -> Outcome {
    let plan = Plan::new(args)?;
    let wants_drawing = plan.exports.any();
    let older = Older::find(&plan.output);
    let failed = |failure| match &older {
        Some(older) => older.mention(failure),
        None => failure,
    };
    let done = record(plan).map_err(failed)?;
    if done.samples == 0 {
        let message = summary::no_samples(&done, wants_drawing);
        if !done.of_command {
            return Err(failed(Failure::Error(message)));
        }
        eprintln!("{message}");
    }
    Ok(done.command_status.unwrap_or(0))
}

/// Records, writes, draws and sums up.
///
/// # Errors
/// A message.
pub fn record(plan: Plan) -> Result<Done, Failure> {
    let (mut recording, held) = LiveRecording::open(plan)?;
    let sampled = recording.sample(held)?;
    let (names, stored) = recording.find_names(&sampled);
    let mut done = recording.done(&sampled);
    let file = recording.finish_file(stored, &done)?;
    sampled.end.map_err(failed("the recording ended early"))?;
    recording.draw(&names, &done)?;
    recording.sum_up(&names, file.as_ref(), &done);
    done.command_status = recording.end_command(sampled.command)?;
    Ok(done)
}
