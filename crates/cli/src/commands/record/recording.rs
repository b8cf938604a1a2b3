//! A recording that is being made, and its steps in the order in which `record` takes them.
//!
//! Elsewhere: taking records from the rings, unwinding and writing them (`prof-session`).

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use prof_model::{Pid, Tid};
use prof_perfdata::StoredNames;
use prof_profile::{Names, Profile};
use prof_report::{ExportData, Filter};
use prof_sampler::{HeldCommand, RunningCommand, Sampler};
use prof_session::record::{
    FileDestination, LiveNames, Output, Recorder, RunFor, Shortfall, Started, cpu_time_of_ended,
    drive, end_command, features, file_events, host_features, leftovers, stored_build_ids,
};
use prof_session::recording_facts;
use prof_symbolizer::RunningKernel;
use prof_vitals::Meter;

use super::plan::{OutputPlan, Plan};
use super::progress::Progress;
use super::summary::{self, Done, File};
use super::usage;
use super::watch::Watch;
use crate::child_stdio;
use crate::messages::{CliError, Failure, failed};
use crate::signals::{self, EndRequests};

/// Everything that is open while samples are taken.
pub struct LiveRecording {
    plan: Plan,
    sampler: Sampler,
    recorder: Recorder<FileDestination>,
    requests: EndRequests,
    kernel: RunningKernel,
}

/// What sampling left, apart from the samples.
pub struct Sampled {
    /// The command that was run; it may still do so.
    pub command: Option<RunningCommand>,
    /// The line on the terminal.
    pub progress: Progress,
    /// Why it ended, if not as it should.
    pub end: io::Result<()>,
    /// From when to when was sampled, in nanoseconds of the sampler's clock.
    span: (u64, u64),
    elapsed: Duration,
    cpu_time: Option<Duration>,
    usage: Option<String>,
}

impl LiveRecording {
    /// Opens the events and begins the file. A command is forked and waits.
    ///
    /// # Errors
    /// A message; if there is a command, with the exit status that says it was not run.
    pub fn open(mut plan: Plan) -> Result<(Self, Option<HeldCommand>), CliError> {
        if let OutputPlan::File(path) = &plan.output
            && !plan.quiet
        {
            leftovers(path).iter().for_each(|it| name_leftover(it));
        }
        let drawn = plan.exports.check();
        drawn.map_err(|error| plan.sampling.not_begun(error))?;
        let blocked = signals::block().map_err(failed("could not block signals"));
        blocked.map_err(|error| plan.sampling.not_begun(error))?;
        let held = match plan.uses_stdout() {
            true => child_stdio::away_from_stdout(|| plan.sampling.hold_command())?,
            false => plan.sampling.hold_command()?,
        };
        let kernel = RunningKernel::read();
        let not_begun = |error| plan.sampling.not_begun(error);
        let requests = EndRequests::listen().map_err(not_begun)?;
        let sampler = plan.sampling.open()?;
        let output = begin_file(&plan, &sampler, &requests).map_err(not_begun)?;
        requests.set_unfinished(output.as_ref().and_then(Output::unfinished));
        let destination = FileDestination::new(output);
        let recording = Self {
            recorder: Recorder::new(&sampler, plan.sampling.max_stack, destination),
            plan,
            sampler,
            requests,
            kernel,
        };
        Ok((recording, held))
    }

    /// Samples until the recording is over. The command begins once sampling has.
    ///
    /// # Errors
    /// The command cannot be run. What goes wrong with sampling is in [`Sampled::end`]: what was recorded
    /// until then is not lost.
    pub fn sample(&mut self, held: Option<HeldCommand>) -> Result<Sampled, CliError> {
        let sampling = &self.plan.sampling;
        let raised = self.sampler.raise_priority(sampling.realtime);
        raised.map_err(|error| sampling.no_priority(error))?;
        let follower = sampling.follow(&self.sampler)?;
        let meter = Meter::start_without_threads(self.plan.sampling.subject());
        let cpu_before = self.plan.sampling.cpu_time();
        let ended_before = cpu_time_of_ended();
        let layout = self.kernel.layout().ok();
        let started = Instant::now();
        let began = self.sampler.clock().now() + self.plan.delay.as_nanos() as u64;
        let begun = self
            .sampler
            .start(layout.as_ref(), self.plan.delay, &mut self.recorder);
        let clock = self.sampler.clock();
        self.recorder.begin_waits(began, clock, &self.kernel);
        let mut command = held
            .map(HeldCommand::release)
            .transpose()
            .map_err(|error| self.plan.sampling.not_started(error))?;
        if let Some(command) = &command {
            self.requests.forward_to(command.pid().0);
        }
        self.say_begin();
        let plan = &self.plan;
        let mut watch = Watch {
            progress: Progress::new(plan.duration, plan.progress, self.kernel.clone()),
            requests: &self.requests,
            has_command: command.is_some(),
            follower,
            quiet: plan.quiet,
            time: RunFor::until(
                plan.duration
                    .map(|duration| started + plan.delay + duration),
            ),
        };
        let (sampler, recorder) = (&mut self.sampler, &mut self.recorder);
        let driven = begun.and_then(|()| drive(sampler, recorder, command.as_mut(), &mut watch));
        let progress = watch.progress;
        let elapsed = started.elapsed();
        let cpu_time = match cpu_before.zip(plan.sampling.cpu_time()) {
            Some((before, after)) => Some(after.saturating_sub(before)),
            None => cpu_time_of_command(plan, command.as_mut(), ended_before),
        };
        let usage = usage::line(&meter.finish(), cpu_time, elapsed);
        let ended = sampler.clock().now();
        let end = driven.and_then(|_| sampler.finish(recorder));
        let end = end.and_then(|()| recorder.end_waits(ended, sampler.clock()));
        Ok(Sampled {
            command,
            progress,
            end,
            span: (began, ended.max(began)),
            elapsed,
            cpu_time,
            usage,
        })
    }

    /// Says what was opened, and how it differs from what was asked for.
    fn say_begin(&self) {
        if self.plan.quiet {
            return;
        }
        if let Some(overridden) = self.plan.sampling.overridden {
            eprintln!("prof: {overridden}");
        }
        if let Some(found) = &self.plan.sampling.found {
            eprintln!("prof: {found}");
        }
        for note in self.sampler.notes() {
            eprintln!("prof: {note}");
        }
        if self.plan.verbose {
            summary::print_start(&self.sampler);
        }
    }

    /// Finds the names of all frames, also in the form in which the file keeps them. The records are in the
    /// file before: files of others are read for names.
    pub fn find_names(&mut self, sampled: &mut Sampled) -> (Names, StoredNames) {
        let progress = &sampled.progress;
        let recorder = &mut self.recorder;
        if let Some(output) = &mut recorder.destination.output {
            let _ = output.flush(); // why not is said where the file is finished
        }
        progress.say("finding names ...");
        let LiveNames {
            names,
            mut stored,
            failed,
        } = recorder.find_names(self.kernel.clone());
        stored.ends = recorder.destination.ends.clone();
        stored.counters = recorder.counters();
        stored.counters.notes.extend(sampled.usage.clone());
        stored.span = Some(sampled.span);
        progress.clear();
        if failed && sampled.end.is_ok() {
            sampled.end = Err(io::Error::other(NO_NAMES));
        }
        (names, stored)
    }

    /// From now on samples of page faults are told apart by the pages that they were about.
    pub fn keep_pages(&mut self) {
        self.recorder.keep_pages();
    }

    /// The samples.
    pub fn profile(&self) -> &Profile {
        &self.recorder.pipeline.profile
    }

    /// What a process is called that has not ended yet.
    pub fn process_name(&self, pid: Pid) -> Option<String> {
        let processes = &self.recorder.pipeline.tracker.processes;
        let comm = processes.comm_of(pid, Tid(pid.0))?;
        Some(processes.comms.display(comm).into_owned())
    }

    /// The processes that were started meanwhile; once.
    pub fn take_started(&mut self) -> Vec<Started> {
        std::mem::take(&mut self.recorder.destination.started).finish()
    }

    /// What the recording came to; the command's exit status comes last.
    pub fn done(&self, sampled: &Sampled) -> Done {
        Done {
            samples: self.recorder.samples(),
            lost: self.recorder.lost(),
            cpu_time: sampled.cpu_time,
            usage: sampled.usage.clone(),
            elapsed: sampled.elapsed,
            span: sampled.span,
            of_command: self.plan.sampling.samples_command,
            command_status: None,
            event: self.recorder.pipeline.profile.events[0].name.clone(),
        }
    }

    /// Finishes the file, if there is one. Of a target that was idle there is none: it can be recorded
    /// again, and an older file of this name is worth more. A command is over, and whoever looks at its
    /// file next must not see that of another run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish_file(
        &mut self,
        stored: StoredNames,
        done: &Done,
    ) -> Result<Option<File>, CliError> {
        let Some(output) = self.recorder.destination.output.take() else {
            return Ok(None);
        };
        let name = match output.is_stream() {
            true => "-".to_owned(),
            false => output.name(),
        };
        if done.samples == 0 && !done.of_command && name != "-" {
            return Ok(None);
        }
        // Without the formats of tracepoints a recording is worth more than none.
        let (events, clock) = (self.sampler.events(), self.sampler.clock());
        let mut features = features(events, clock).unwrap_or_else(|error| {
            eprintln!("prof: {}", CliError::from(error).in_one_line());
            host_features(events, clock)
        });
        let pipeline = &self.recorder.pipeline;
        let files = pipeline.files.opened();
        let files = files.filter_map(|(id, file)| Some((id, file.build_id?)));
        features.build_ids = stored_build_ids(files, &pipeline.profile.dsos);
        let sizes = output.finish(features, stored)?;
        self.requests.set_unfinished(None);
        Ok(Some(File {
            name,
            sizes,
            compressed: self.plan.compression.is_some(),
        }))
    }

    /// Draws what is asked for, if there is something to draw.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn draw(&self, names: &Names, done: &Done) -> Result<(), Failure> {
        if done.samples == 0 || !self.plan.exports.any() {
            return Ok(());
        }
        let profile = &self.recorder.pipeline.profile;
        let features = host_features(self.sampler.events(), self.sampler.clock());
        let target = self.plan.sampling.target_name();
        let facts = recording_facts(&features, profile, target, Some(done.elapsed));
        self.plan.exports.write(&ExportData {
            profile,
            names,
            processes: &self.recorder.pipeline.tracker.processes,
            facts: &facts,
            filter: &Filter::default(),
            inline: true,
            idle: self.plan.draws_idle,
        })
    }

    /// Says what was recorded, and what may be missing.
    pub fn sum_up(&self, names: &Names, file: Option<&File>, done: &Done) {
        if self.plan.quiet {
            return;
        }
        summary::print(
            &self.recorder,
            &self.sampler,
            names,
            file,
            done.span,
            done.usage.as_deref(),
            self.plan.verbose,
        );
        let is_all = self.plan.delay.is_zero() && done.samples > 0;
        if let Some(shortfall) = is_all.then(|| self.shortfall(done)).flatten() {
            eprintln!("hint: {shortfall}");
        }
    }

    /// What is missing of the target's CPU time, where the kernel did not say itself that it paused or lost
    /// something.
    fn shortfall(&self, done: &Done) -> Option<Shortfall> {
        let profile = &self.recorder.pipeline.profile;
        if profile.losses.throttled > 0 || done.lost > 0 {
            return None;
        }
        let event = self.recorder.events().events().first()?;
        let seen = Duration::from_nanos(profile.total(0).period);
        let options = &self.plan.sampling.options;
        Shortfall::find(&event.attr, options, seen, done.cpu_time?)
    }

    /// Ends a command that still runs after the recording, and tells the exit status of `prof record`;
    /// `None` without a command.
    ///
    /// # Errors
    /// The kernel's.
    pub fn end_command(&self, command: Option<RunningCommand>) -> Result<Option<u8>, CliError> {
        let Some(mut command) = command else {
            return Ok(None);
        };
        self.requests.forward_to(0);
        let end = end_command(&mut command).map_err(failed("could not wait for the command"))?;
        if end.by_us || !self.plan.sampling.samples_command && self.requests.were_made() {
            return Ok(Some(0)); // its end is not its own doing
        }
        Ok(Some(u8::try_from(end.status.code()).unwrap_or(255)))
    }
}

/// The file, or whatever else the records go into, with its beginning written.
fn begin_file(
    plan: &Plan,
    sampler: &Sampler,
    requests: &EndRequests,
) -> Result<Option<Output>, CliError> {
    let written = file_events(sampler.events());
    let features = || features(sampler.events(), sampler.clock());
    let path = match &plan.output {
        OutputPlan::None => return Ok(None),
        OutputPlan::Stdout => return Ok(Some(Output::stdout(&written, &features()?)?)),
        OutputPlan::File(path) => path,
    };
    let mut is_said = plan.quiet;
    loop {
        match Output::file(path, &written, plan.compression, features) {
            Err(error) if error.has_no_reader() && !requests.were_made() => {
                if !std::mem::replace(&mut is_said, true) {
                    eprintln!("prof: waiting until somebody reads {}", path.display());
                }
                requests.wait(LOOK_FOR_READER_EVERY);
            }
            Err(error) if error.has_no_reader() => {
                let message = format!("nobody has read the FIFO `{}`", path.display());
                return Err(CliError::new(message));
            }
            begun => return Ok(Some(begun?)),
        }
    }
}

/// Why a recording has no names although nothing is wrong with it.
const NO_NAMES: &str = "a fault of prof itself while it looked for names; there are none";

/// The kernel does not say when a FIFO comes to be read.
const LOOK_FOR_READER_EVERY: Duration = Duration::from_millis(50);

/// CPU time of a command that is sampled and has ended. `before` is that of other children: `cargo run` becomes
/// `prof` itself, and has waited for compilers.
fn cpu_time_of_command(
    plan: &Plan,
    command: Option<&mut RunningCommand>,
    before: Option<Duration>,
) -> Option<Duration> {
    let has_ended = matches!(command?.try_wait(), Ok(Some(_)));
    let all = (has_ended && plan.sampling.samples_command).then(cpu_time_of_ended)?;
    Some(all?.saturating_sub(before?))
}

fn name_leftover(file: &Path) {
    let name = file.display();
    eprintln!(
        "prof: {name} is what a recorder that was killed has left: `prof report -i {name}` reads it, \
         `rm {name}` removes it"
    );
}
