//! `prof record`: a target's samples into a file, into a flame graph, and into a summary.

mod args; // whom to sample, for how long, into which file
mod older; // what a failed recording leaves in its place
mod plan; // what the arguments ask for
mod progress; // the line on the terminal
mod recording; // its steps, from opening events to the end of the command
mod summary; // the lines at the end
mod usage; // CPU time and quota, in one line
mod watch; // how long it goes on

use crate::messages::{Failure, Outcome, USAGE, failed};
pub use args::RecordArgs;
use older::Older;
pub use plan::{OutputPlan, Plan};
pub use recording::LiveRecording;
use recording::Sampled;
pub use summary::Done;

/// Runs `prof record`.
///
/// # Errors
/// A message; a command's own exit status is none.
pub fn run(args: &RecordArgs) -> Outcome {
    let older = Older::find(&OutputPlan::of(args));
    let failed = |failure| match &older {
        Some(older) => older.mention(failure),
        None => failure,
    };
    let plan = Plan::new(args).map_err(|error| match error.status {
        USAGE => Failure::Error(error),
        _ => failed(Failure::Error(error)),
    })?;
    let wants_drawing = plan.exports.any();
    let done = record(plan).map_err(failed)?;
    if done.samples == 0 {
        let message = summary::no_samples(&done, wants_drawing);
        if !done.of_command {
            return Err(failed(Failure::Error(message)));
        }
        message.say();
    }
    Ok(done.command_status.unwrap_or(0))
}

/// Records, writes, draws and sums up.
///
/// # Errors
/// A message.
pub fn record(plan: Plan) -> Result<Done, Failure> {
    let (mut recording, held) = LiveRecording::open(plan)?;
    let mut sampled = recording.sample(held)?;
    let command = sampled.command.take();
    let concluded = conclude(&mut recording, sampled);
    // Whatever went wrong, it was started for a recording that is over.
    let command_status = recording.end_command(command)?;
    Ok(Done {
        command_status,
        ..concluded?
    })
}

/// Makes all there can be of the samples. That one thing cannot be written keeps no other from being.
fn conclude(recording: &mut LiveRecording, mut sampled: Sampled) -> Result<Done, Failure> {
    let (names, stored) = recording.find_names(&mut sampled);
    let done = recording.done(&sampled);
    let file = recording.finish_file(stored, &done);
    let drawn = recording.draw(&names, &done);
    let written = file.as_ref().ok().and_then(Option::as_ref);
    recording.sum_up(&names, written, &done);
    file?; // it says more than that the recording ended for it
    sampled.end.map_err(failed("the recording ended early"))?;
    drawn?;
    Ok(done)
}
