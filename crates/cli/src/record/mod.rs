//! `prof record`.

mod plan; // what the arguments ask for
mod progress; // the line on the terminal
mod summary; // the lines at the end

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use prof_perfdata::StoredNames;
use prof_profile::Names;
use prof_report::{ExportData, Filter};
use prof_sampler::{HeldCommand, RunningCommand, Sampler};
use prof_session::record::{
    Control, FileDestination, LiveNames, Output, Recorder, Shortfall, cpu_time_of_ended, drive,
    end_command, features, file_events, leftovers, stored_build_ids,
};
use prof_session::recording_facts;
use prof_symbolizer::RunningKernel;

use crate::args::RecordArgs;
use crate::drawing;
use crate::error::{CliError, Failure, Outcome};
use crate::signals::{self, EndRequests};
use crate::streams;
use plan::{OutputPlan, Plan};
use progress::Progress;

/// A recording on its way into a file, or into none.
type FileRecorder = Recorder<FileDestination>;

/// How long a wait for records lasts at most: what is shown and asked meanwhile is not older.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Runs `prof record`.
///
/// # Errors
/// A message; a command's own exit status is none.
pub fn run(args: &RecordArgs) -> Outcome {
    let done = record(args)?;
    if done.samples == 0 {
        let message = summary::no_samples(&done, args.drawing.any());
        if !done.of_command {
            return Err(Failure::Error(message));
        }
        eprintln!("{message}");
    }
    Ok(done.command_status.unwrap_or(0))
}

/// What a recording came to.
pub struct Done {
    /// Samples taken.
    pub samples: u64,
    /// Samples that the kernel could not store.
    pub lost: u64,
    /// CPU time of the target while it was recorded, where it could be read.
    pub cpu_time: Option<Duration>,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether a command was sampled, which is over then and cannot be asked again.
    pub of_command: bool,
    /// The exit status of the command that was run.
    pub command_status: Option<u8>,
    /// The event that was sampled.
    pub event: String,
}

/// Records, writes, draws and sums up.
///
/// # Errors
/// A message.
pub fn record(args: &RecordArgs) -> Result<Done, Failure> {
    let mut plan = Plan::new(args)?;
    if let OutputPlan::File(path) = &plan.output
        && !args.quiet
    {
        leftovers(path).iter().for_each(|it| name_leftover(it));
    }
    let blocked = signals::block().map_err(failed("could not block signals"));
    blocked.map_err(|error| plan.sampling.not_begun(error))?;
    let held = match plan.output == OutputPlan::Stdout || args.drawing.to_stdout() {
        true => streams::away_from_stdout(|| plan.sampling.hold_command())?,
        false => plan.sampling.hold_command()?,
    };
    let kernel = RunningKernel::read();
    let not_begun = |error| plan.sampling.not_begun(error);
    let requests = EndRequests::listen().map_err(not_begun)?;
    let mut sampler = plan.sampling.open()?;
    let mut recorder = recorder(&plan, args, &sampler).map_err(not_begun)?;
    let unfinished = recorder.destination.output.as_ref();
    requests.set_unfinished(unfinished.and_then(Output::unfinished));
    let cpu_before = plan.sampling.cpu_time();

    let layout = kernel.layout().ok();
    let delay = Duration::from_millis(args.delay);
    let started = Instant::now();
    let begun = sampler.start(layout.as_ref(), delay, &mut recorder);
    let mut command = held
        .map(HeldCommand::release)
        .transpose()
        .map_err(|error| plan.sampling.not_started(error))?;
    if let Some(command) = &command {
        requests.forward_to(command.pid().0);
    }
    if !args.quiet {
        sampler
            .notes()
            .iter()
            .for_each(|note| eprintln!("prof: {note}"));
        if args.verbose {
            summary::print_start(&sampler);
        }
    }
    let mut watch = Watch {
        progress: Progress::new(plan.duration, args.quiet, kernel.clone()),
        requests: &requests,
        has_command: command.is_some(),
        deadline: plan.duration.map(|duration| started + delay + duration),
    };
    let sampled =
        begun.and_then(|()| drive(&mut sampler, &mut recorder, command.as_mut(), &mut watch));
    let progress = watch.progress;
    let elapsed = started.elapsed();
    let cpu_after = plan.sampling.cpu_time();
    let cpu_time = match cpu_before.zip(cpu_after) {
        Some((before, after)) => Some(after.saturating_sub(before)),
        None => cpu_time_of_command(&plan, command.as_mut()),
    };
    let written = sampled.and_then(|_| sampler.finish(&mut recorder));

    progress.say("finding names ...");
    recorder.pipeline.finish();
    let LiveNames { names, mut stored } = recorder.find_names(kernel);
    stored.ends = recorder.destination.ends.clone();
    stored.counters = recorder.counters();
    progress.clear();
    let mut done = Done {
        samples: recorder.samples(),
        lost: recorder.lost(),
        cpu_time,
        elapsed,
        of_command: plan.sampling.samples_command,
        command_status: None,
        event: recorder.pipeline.profile.events[0].name.clone(),
    };
    let output = finish_file(&mut recorder, stored, &sampler, args, &done)?;
    written.map_err(failed("the recording ended early"))?;
    requests.set_unfinished(None);

    if done.samples > 0 && args.drawing.any() {
        export(&recorder, &names, args, &plan, &done, &sampler)?;
    }
    if !args.quiet {
        let ring_bytes = sampler.ring_bytes();
        summary::print(&recorder, &names, output.as_ref(), ring_bytes, args.verbose);
        let is_all = args.delay == 0 && done.samples > 0;
        if let Some(shortfall) = is_all.then(|| shortfall(&recorder, &plan, &done)).flatten() {
            eprintln!("hint: {shortfall}");
        }
    }
    if let Some(mut command) = command {
        done.command_status = Some(status_of_command(&mut command, &plan, &requests)?);
    }
    Ok(done)
}

/// Writes the files that are made of the recording.
fn export(
    recorder: &FileRecorder,
    names: &Names,
    args: &RecordArgs,
    plan: &Plan,
    done: &Done,
    sampler: &Sampler,
) -> Result<(), Failure> {
    let profile = &recorder.pipeline.profile;
    let features = features(sampler.events(), sampler.clock()).map_err(CliError::from)?;
    let target = plan.sampling.target_name();
    let facts = recording_facts(&features, profile, target, done.samples, Some(done.elapsed));
    let data = ExportData {
        profile,
        names,
        processes: &recorder.pipeline.tracker.processes,
        facts: &facts,
        filter: &Filter::default(),
        inline: true,
    };
    drawing::export_all(&args.drawing, &data, args.quiet)
}

/// CPU time of a command that is sampled and has ended.
fn cpu_time_of_command(plan: &Plan, command: Option<&mut RunningCommand>) -> Option<Duration> {
    let has_ended = matches!(command?.try_wait(), Ok(Some(_)));
    (has_ended && plan.sampling.samples_command).then(cpu_time_of_ended)?
}

/// What is missing of the target's CPU time, where the kernel did not say itself that it paused or lost
/// something.
fn shortfall(recorder: &FileRecorder, plan: &Plan, done: &Done) -> Option<Shortfall> {
    let profile = &recorder.pipeline.profile;
    if profile.losses.throttled > 0 || done.lost > 0 {
        return None;
    }
    let (event, options) = (recorder.events().events().first()?, &plan.sampling.options);
    let seen = Duration::from_nanos(profile.total(0).period);
    Shortfall::find(&event.attr, options, seen, done.cpu_time?)
}

fn name_leftover(file: &Path) {
    let name = file.display();
    eprintln!(
        "prof: {name} is what a recorder that was killed has left: `prof report -i {name}` reads it, \
         `rm {name}` removes it"
    );
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::new(what).cause(error)
}

fn recorder(plan: &Plan, args: &RecordArgs, sampler: &Sampler) -> Result<FileRecorder, CliError> {
    let written = file_events(sampler.events());
    let output = match &plan.output {
        OutputPlan::None => None,
        OutputPlan::File(path) => Some(Output::file(path, &written, args.compression)?),
        OutputPlan::Stdout => {
            let features = features(sampler.events(), sampler.clock())?;
            Some(Output::stdout(&written, &features)?)
        }
    };
    let destination = FileDestination::new(output);
    Ok(Recorder::new(sampler, args.sampling.max_stack, destination))
}

/// Watches over a recording: shows how far it is, and ends it when its time is over or somebody asks.
struct Watch<'a> {
    progress: Progress,
    requests: &'a EndRequests,
    has_command: bool,
    deadline: Option<Instant>,
}

impl Control<FileDestination> for Watch<'_> {
    fn longest_wait(&self) -> Option<Duration> {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.checked_duration_since(Instant::now())?;
                Some(left.min(LONGEST_WAIT))
            }
            None => Some(LONGEST_WAIT),
        }
    }

    fn wake_fds<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) {
        if self.requests.count() == 0 {
            fds.push(self.requests.wake_fd());
        }
    }

    fn is_asked_to_end(&self) -> bool {
        // Ctrl-C reached the command as well; it decides when to end.
        !self.has_command && self.requests.count() > 0
    }

    fn after_round(&mut self, recorder: &mut FileRecorder, _passed: u64) {
        self.progress.update(recorder);
    }
}

/// Ends a command that still runs after the recording, and tells the exit status of `prof record`.
fn status_of_command(
    command: &mut RunningCommand,
    plan: &Plan,
    requests: &EndRequests,
) -> Result<u8, CliError> {
    requests.forward_to(0);
    let end = end_command(command).map_err(failed("could not wait for the command"))?;
    if end.by_us || !plan.sampling.samples_command && requests.count() > 0 {
        return Ok(0); // its end is not its own doing
    }
    Ok(u8::try_from(end.status.code()).unwrap_or(255))
}

/// Finishes the file, if there is one. Of a target that was idle there is none: it can be recorded
/// again, and an older file of this name is worth more. A command is over, and whoever looks at its
/// file next must not see that of another run.
fn finish_file(
    recorder: &mut FileRecorder,
    stored: StoredNames,
    sampler: &Sampler,
    args: &RecordArgs,
    done: &Done,
) -> Result<Option<summary::File>, CliError> {
    let Some(output) = recorder.destination.output.take() else {
        return Ok(None);
    };
    let name = output.name();
    if done.samples == 0 && !done.of_command && name != "-" {
        return Ok(None);
    }
    let mut features = features(sampler.events(), sampler.clock())?;
    let files = recorder.pipeline.files.opened();
    let files = files.filter_map(|(id, file)| Some((id, file.build_id?)));
    features.build_ids = stored_build_ids(files, &recorder.pipeline.profile.dsos);
    Ok(Some(summary::File {
        name,
        sizes: output.finish(features, stored)?,
        compressed: args.compression.is_some(),
    }))
}
