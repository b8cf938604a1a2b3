//! `prof record`.

mod coverage; // whether samples stand for all CPU time
mod output; // the file, written beside the sampling
mod plan; // what the arguments ask for
mod progress; // the line on the terminal
mod recorder; // what happens to each record
mod summary; // the lines at the end

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use prof_event::EventSet;
use prof_event::abi::event_type;
use prof_model::{BuildId, CpuMode, Dso, DsoId, DsoKind, DsoTable, Pid};
use prof_perfdata::{ClockData, Features, StoredBuildId, StoredNames, TracingData};
use prof_profile::Names;
use prof_sampler::{Clock, HeldCommand, RunningCommand, Sampler};
use prof_symbolizer::{RunningKernel, Symbolizer};
use rustc_hash::FxHashMap;

pub use output::{Output, write_whole};
pub use recorder::file_events;

use crate::args::RecordArgs;
use crate::copies::Copies;
use crate::drawing::{self, Facts};
use crate::error::{CliError, Failure, Outcome};
use crate::input;
use crate::sampling;
use crate::signals::{self, EndRequests};
use crate::stage::{Files, SHORT_PAUSE, Stage};
use crate::streams;
use coverage::{Shortfall, cpu_time_of_ended};
use plan::{OutputPlan, Plan};
use progress::Progress;
use recorder::Recorder;

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
    requests.set_unfinished(recorder.output.as_ref().and_then(Output::unfinished));
    let cpu_before = plan.sampling.options.target.cpu_time();

    let text = sampling::kernel_text(&kernel);
    let delay = Duration::from_millis(args.delay);
    let started = Instant::now();
    let begun = sampler.start(text.as_ref(), delay, &mut recorder);
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
    let mut progress = Progress::new(plan.duration, args.quiet, kernel.clone());
    let deadline = plan.duration.map(|duration| started + delay + duration);
    let sampled = begun.and_then(|()| {
        drain(
            &mut sampler,
            &mut recorder,
            &mut progress,
            &requests,
            command.as_mut(),
            deadline,
        )
    });
    let elapsed = started.elapsed();
    let cpu_after = plan.sampling.options.target.cpu_time();
    let cpu_time = match cpu_before.zip(cpu_after) {
        Some((before, after)) => Some(after.saturating_sub(before)),
        None => cpu_time_of_command(&plan, command.as_mut()),
    };
    let written = sampled.and_then(|()| sampler.finish(&mut recorder));

    progress.say("finding names ...");
    recorder.stage.finish();
    let (names, stored) = names(&mut recorder, kernel);
    progress.clear();
    let mut done = Done {
        samples: recorder.samples(),
        lost: recorder.lost(),
        cpu_time,
        elapsed,
        of_command: plan.sampling.samples_command,
        command_status: None,
        event: recorder.stage.profile.events[0].name.clone(),
    };
    let output = finish_file(&mut recorder, stored, &sampler, args, &done)?;
    written.map_err(failed("the recording ended early"))?;
    requests.set_unfinished(None);

    if done.samples > 0 {
        let facts = Facts {
            target: plan.sampling.target_name(),
            event: done.event.clone(),
            frequency: plan_frequency(sampler.events()),
            samples: done.samples,
            seconds: elapsed.as_secs_f64(),
        };
        drawing::draw(
            &recorder.stage.profile,
            &names,
            &args.drawing,
            &facts,
            args.quiet,
        )?;
    }
    if !args.quiet {
        summary::print(&recorder, &names, output.as_ref(), args.verbose);
        let is_all = args.delay == 0 && done.samples > 0;
        if let Some(shortfall) = is_all.then(|| shortfall(&recorder, &plan, &done)).flatten() {
            eprintln!("hint: {shortfall}");
        }
    }
    if let Some(mut command) = command {
        done.command_status = Some(end_command(&mut command, &plan, &requests)?);
    }
    Ok(done)
}

/// CPU time of a command that is sampled and has ended.
fn cpu_time_of_command(plan: &Plan, command: Option<&mut RunningCommand>) -> Option<Duration> {
    let has_ended = matches!(command?.try_wait(), Ok(Some(_)));
    (has_ended && plan.sampling.samples_command).then(cpu_time_of_ended)?
}

/// What is missing of the target's CPU time, where the kernel did not say itself that it paused or lost
/// something.
fn shortfall(recorder: &Recorder, plan: &Plan, done: &Done) -> Option<Shortfall> {
    let profile = &recorder.stage.profile;
    if profile.losses.throttled > 0 || done.lost > 0 {
        return None;
    }
    let (event, options) = (recorder.events().events().first()?, &plan.sampling.options);
    let seen = Duration::from_nanos(profile.total(0).period);
    Shortfall::find(&event.attr, options, seen, done.cpu_time?)
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::new(what).cause(error)
}

fn recorder(plan: &Plan, args: &RecordArgs, sampler: &Sampler) -> Result<Recorder, CliError> {
    let sampled = sampler.events().clone();
    let written = recorder::file_events(&sampled);
    let output = match &plan.output {
        OutputPlan::None => None,
        OutputPlan::File(path) => Some(Output::file(path, &written, args.compression)?),
        OutputPlan::Stdout => {
            let features = features(&sampled, sampler.clock())?;
            Some(Output::stdout(&written, &features)?)
        }
    };
    let mut stage = Stage::new(&sampled, Files::live(), args.sampling.max_stack);
    stage.copies = Copies::new(sampler.small_copy());
    Ok(Recorder::new(sampled, stage, output))
}

/// Samples until the time is over, the target or the command has ended, or somebody asks.
fn drain(
    sampler: &mut Sampler,
    recorder: &mut Recorder,
    progress: &mut Progress,
    requests: &EndRequests,
    mut command: Option<&mut RunningCommand>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let exit = command
        .as_deref()
        .map(RunningCommand::exit_fd)
        .transpose()?;
    let mut hurry = recorder.stage.races();
    loop {
        let left = match deadline {
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) => left,
                None => return Ok(()),
            },
            None => LONGEST_WAIT,
        };
        if let Some(pause) = hurry {
            // What is in the rings now may be passed on in the next round.
            std::thread::sleep(pause);
        } else {
            let mut also = Vec::new();
            also.extend(exit.as_ref().map(AsFd::as_fd));
            if requests.count() == 0 {
                also.push(requests.wake_fd());
            }
            let longest = recorder.stage.longest_wait(LONGEST_WAIT);
            sampler.wait(left.min(longest), &also)?;
        }
        let has_more = sampler.round(recorder)?;
        sampler.use_small_copies(recorder.stage.copies.are_small())?;
        hurry = recorder.stage.races().or(has_more.then_some(SHORT_PAUSE));
        progress.update(recorder);
        if let Some(command) = command.as_deref_mut() {
            // Ctrl-C reached the command as well; it decides when to end.
            if command.try_wait()?.is_some() {
                return Ok(());
            }
        } else if requests.count() > 0 {
            return Ok(());
        }
        if sampler.target_exited() {
            return Ok(());
        }
    }
}

/// Ends a command that still runs after the recording: what it was started for is over.
fn end_command(
    command: &mut RunningCommand,
    plan: &Plan,
    requests: &EndRequests,
) -> Result<u8, CliError> {
    let wait = failed("could not wait for the command");
    let ended = command.try_wait().map_err(&wait)?;
    let by_us = ended.is_none();
    if by_us {
        requests.forward_to(0);
        command.signal(nix::sys::signal::Signal::SIGTERM);
    }
    let status = command.wait().map_err(&wait)?;
    if by_us || !plan.sampling.samples_command && requests.count() > 0 {
        return Ok(0); // its end is not its own doing
    }
    Ok(u8::try_from(status.code()).unwrap_or(255))
}

/// Names every address that samples hit, once.
fn names(recorder: &mut Recorder, kernel: RunningKernel) -> (Names, StoredNames) {
    let mut symbolizer = Symbolizer::new(prof_symbolizer::Options::default());
    symbolizer.expect_kernel(kernel);
    recorder.stage.files.give_to(&mut symbolizer);
    let generated = &mut recorder.stage.generated;
    generated.refresh();
    for (id, dump) in generated.dumps() {
        symbolizer.keep(id, dump);
    }
    for (pid, map) in generated.take_maps() {
        symbolizer.use_perf_map(pid, map);
    }
    let mut stored = StoredNames::default();
    stored.callers_are_call_sites = true;
    stored.ends = recorder.ends.clone();
    stored.counters = recorder.counters();
    let Stage {
        profile,
        generated,
        files,
        ..
    } = &mut recorder.stage;
    let build_ids: FxHashMap<DsoId, BuildId> = files
        .opened()
        .filter_map(|(id, file)| Some((id, file.build_id?)))
        .collect();
    let dsos = &profile.dsos;
    let names = Names::build_at_once(profile, |hits| {
        let requests = input::requests(hits, dsos);
        let mut answers = symbolizer.resolve_all(&requests);
        for (request, answers) in requests.iter().zip(&answers) {
            if !generated.is_dump(request.id) {
                let dso = Dso {
                    build_id: build_ids.get(&request.id).copied(), // a path may not tell it
                    ..request.dso.clone()
                };
                stored.add(&dso, request.addrs, answers);
            }
        }
        generated.settle(&requests, &mut answers, dsos, &mut symbolizer, &mut stored);
        answers
    });
    (names, stored)
}

/// What is known about this host, this command and the events.
///
/// # Errors
/// A tracepoint's format cannot be read.
pub fn features(events: &EventSet, clock: Clock) -> Result<Features, CliError> {
    let wall = Clock::by_name("realtime").map_or(0, Clock::now);
    let mut features = Features {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        cmdline: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        clock: Some(ClockData {
            clockid: clock.id as u32,
            wall_ns: wall,
            clock_ns: clock.now(),
        }),
        groups: events.groups().to_vec(),
        ..Features::of_this_host()
    };
    let tracepoints: Vec<_> = events
        .events()
        .iter()
        .filter(|event| event.attr.kind == event_type::TRACEPOINT)
        .filter_map(|event| {
            let mut words = event.name.split(':');
            Some((words.next()?, words.next()?))
        })
        .collect();
    if !tracepoints.is_empty() {
        let data = TracingData::collect(&tracepoints)
            .map_err(failed("could not read the tracepoints' formats"))?;
        features.tracing_data = Some(data);
    }
    Ok(features)
}

/// Finishes the file, if there is one. Of a target that was idle there is none: it can be recorded
/// again, and an older file of this name is worth more. A command is over, and whoever looks at its
/// file next must not see that of another run.
fn finish_file(
    recorder: &mut Recorder,
    stored: StoredNames,
    sampler: &Sampler,
    args: &RecordArgs,
    done: &Done,
) -> Result<Option<summary::File>, CliError> {
    let Some(output) = recorder.output.take() else {
        return Ok(None);
    };
    let name = output.name();
    if done.samples == 0 && !done.of_command && name != "-" {
        return Ok(None);
    }
    let mut features = features(sampler.events(), sampler.clock())?;
    let files = recorder.stage.files.opened();
    let files = files.filter_map(|(id, file)| Some((id, file.build_id?)));
    features.build_ids = build_ids(files, &recorder.stage.profile.dsos);
    let written = output.finish(features, stored)?;
    Ok(Some(summary::File {
        name,
        sizes: written.summary,
        compressed: args.compression.is_some(),
    }))
}

/// The build-ids of what samples hit, so that a reader can tell the right files.
pub fn build_ids(
    files: impl Iterator<Item = (DsoId, BuildId)>,
    dsos: &DsoTable,
) -> Vec<StoredBuildId> {
    let mut build_ids: Vec<_> = files
        .map(|(id, build_id)| StoredBuildId {
            mode: CpuMode::User,
            pid: Pid(-1),
            build_id,
            path: dsos.get(id).path.clone(),
        })
        .collect();
    build_ids.sort_by(|a, b| a.path.cmp(&b.path));
    let kernel = dsos.iter().find(|(_, dso)| dso.kind == DsoKind::Kernel);
    if let (Some((_, dso)), Some(build_id)) = (kernel, prof_symbolizer::running_kernel_build_id()) {
        build_ids.insert(
            0,
            StoredBuildId {
                mode: CpuMode::Kernel,
                pid: Pid(-1),
                build_id,
                path: dso.path.clone(),
            },
        );
    }
    build_ids
}

fn plan_frequency(events: &EventSet) -> Option<u64> {
    events.events().first()?.attr.frequency()
}
