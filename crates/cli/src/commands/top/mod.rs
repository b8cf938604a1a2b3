//! `prof top`: what burns the CPU now.
//!
//! Three threads: one samples and waits for nobody, one finds names and fills the history, this one
//! draws or prints.

mod args; // whom, how often, in which form
mod collect; // the sampling thread
mod facts; // what the header says
mod json; // one object a line
mod live; // what the screens see
mod namer; // the thread that finds names
mod plain; // tables
mod processes; // what is known about each
mod windows; // what tables and objects are about

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use prof_sampler::{HeldCommand, Options, Rate, RunningCommand, StackCapture, online_cpus};
use prof_session::record::{Pieces, RecentRecords, Recorder, end_command, file_events};
use prof_symbolizer::RunningKernel;

use crate::child_stdio;
use crate::messages::{CliError, Failure, Outcome, failed, open_errors};
use crate::sampling::Sampling;
use crate::signals::{self, EndRequests};
use crate::terminal;
use crate::tui_source;
pub use args::TopArgs;
use collect::{Collector, Message};
use facts::Meters;
pub use facts::container_of;
use live::Live;
use namer::{Namer, Shared};

/// Samples per second and CPU, if not told otherwise: a live view runs for long.
const USUAL_HZ: u64 = 99;
/// Pieces that may wait for their names.
const WAITING: usize = 4;

/// How the pictures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Screens,
    Tables,
    Objects,
}

/// Runs `prof top`.
///
/// # Errors
/// A message.
pub fn run(args: &TopArgs) -> Outcome {
    let form = form(args);
    let clock = prof_sampler::Clock::MONOTONIC;
    let mut sampling = Sampling::new(&args.sampling, "top", USUAL_HZ, clock)?;
    let ring_bytes = ring_bytes(&sampling.options);
    sampling.options.ring_bytes.get_or_insert(ring_bytes);
    // Before any thread starts: one that does not block a signal would take it.
    let stops = block_signals(form).map_err(|error| sampling.not_begun(error))?;
    let held = match form {
        Form::Screens => child_stdio::away_from_terminal(|| sampling.hold_command())?,
        Form::Tables | Form::Objects => sampling.hold_command()?,
    };
    let requests = EndRequests::listen().map_err(|error| sampling.not_begun(error))?;
    if form == Form::Screens && !tui_source::wait_for_foreground(&requests) {
        return Ok(0);
    }
    if let (Form::Tables | Form::Objects, Some(found)) = (form, &sampling.found) {
        eprintln!("prof: {found}");
    }
    let watch = Watch::start(form, &sampling, held)?;
    let shown = match form {
        Form::Screens => live::show(Live::new(&watch, &requests, stops), args.delay),
        Form::Tables => plain::print(&watch.shared, &requests, &args.windows()),
        Form::Objects => json::print(&watch.shared, &requests, &args.windows()),
    };
    let failure = watch.shared.lock().failure.take();
    let status = watch.stop(&sampling, &requests)?;
    shown?;
    match failure {
        Some(error) => Err(CliError::new("sampling ended early").cause(error).into()),
        None => Ok(status),
    }
}

fn form(args: &TopArgs) -> Form {
    match args {
        TopArgs { json: true, .. } => Form::Objects,
        TopArgs { batch: true, .. } => Form::Tables,
        _ if args.iterations.is_some() || !terminal::can_show_screens() => Form::Tables,
        _ => Form::Screens,
    }
}

/// Keeps signals from ending the program. On screens, those that stop it and let it go on are listened to.
fn block_signals(form: Form) -> Result<Option<SignalFd>, CliError> {
    let not_blocked = failed("could not block signals");
    signals::block().map_err(&not_blocked)?;
    match form {
        Form::Screens => tui_source::listen_to_stops().map(Some).map_err(not_blocked),
        Form::Tables | Form::Objects => Ok(None),
    }
}

/// Rings for half a second: a live view should wake up seldom, and lose nothing on a busy machine.
fn ring_bytes(options: &Options) -> usize {
    const MOST: usize = 64 << 20; // on all CPUs together
    const LEAST: usize = 512 << 10;
    let stack = match options.stacks {
        StackCapture::Copy(bytes) | StackCapture::CopyAsNeeded { large: bytes, .. } => {
            u64::from(bytes)
        }
        StackCapture::FramePointers | StackCapture::None => 0,
    };
    let hz = match options.rate {
        Rate::Frequency(hz) => hz,
        Rate::MaxFrequency | Rate::Period(_) => 4000,
    };
    let bytes = (stack + 1024).saturating_mul(hz) / 2;
    let bytes = usize::try_from(bytes).unwrap_or(MOST);
    let most = MOST / online_cpus().len();
    bytes.min(most).max(LEAST).next_power_of_two()
}

/// The threads that sample and find names.
struct Watch {
    shared: Arc<Shared>,
    sampler: JoinHandle<Option<RunningCommand>>,
    to_namer: SyncSender<Message>,
    title: String,
    stop: OwnedFd, // closed, it ends the sampling
}

impl Watch {
    fn start(form: Form, sampling: &Sampling, held: Option<HeldCommand>) -> Result<Self, Failure> {
        let not_begun = |error| sampling.not_begun(error);
        let no_thread = |error| not_begun(open_errors::no_thread(error));
        let kernel = RunningKernel::read();
        let mut sampler = sampling.open()?;
        let shared = Shared::new(facts::at_start(sampling, &sampler));
        let meters = Meters::new(sampling);
        let (to_namer, messages) = sync_channel(WAITING);
        let recent =
            (form == Form::Screens).then(|| RecentRecords::new(file_events(sampler.events())));
        let pieces = Pieces::new(sampler.clock().now());
        let mut recorder = Recorder::new(&sampler, sampling.max_stack, pieces);
        let layout = kernel.layout().ok();
        sampler
            .start(layout.as_ref(), Duration::ZERO, &mut recorder)
            .map_err(failed("could not start sampling"))
            .map_err(not_begun)?;
        let now = sampler.clock().now();
        recorder.begin_waits(now, sampler.clock(), &kernel);
        shared.lock().facts.notes = facts::at_start(sampling, &sampler).notes;

        let namer = Namer::new(Arc::clone(&shared), meters, recent, kernel, sampler.clock());
        let (stopped, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|error| not_begun(failed("could not make a pipe")(error.into())))?;
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("prof-namer")
            .spawn(move || namer.run(messages))
            .map_err(no_thread)?;
        // Only once both threads are there does the command begin.
        let (begin, begun) = sync_channel(1);
        let pieces_to = to_namer.clone();
        let (raised, is_raised) = sync_channel(1);
        let realtime = sampling.realtime;
        let follower = sampling.follow(&sampler)?;
        let collect = move || {
            let _ = raised.send(sampler.raise_priority(realtime));
            let command = begun.recv().ok()?;
            Collector::collect(
                sampler,
                recorder,
                command,
                &pieces_to,
                &stopped,
                follower.as_ref(),
            )
        };
        let sampler = thread("prof-sampler").spawn(collect).map_err(no_thread)?;
        if let Ok(Err(error)) = is_raised.recv() {
            return Err(sampling.no_priority(error).into());
        }
        let command = held
            .map(HeldCommand::release)
            .transpose()
            .map_err(|error| sampling.not_started(error))?;
        let _ = begin.send(command);
        Ok(Self {
            shared,
            sampler,
            to_namer,
            title: sampling.target_name(),
            stop,
        })
    }

    /// Ends the sampling, and the command if it still runs: what it was started for is over.
    fn stop(self, sampling: &Sampling, requests: &EndRequests) -> Result<u8, CliError> {
        drop(self.stop);
        let Ok(Some(mut command)) = self.sampler.join() else {
            return Ok(0);
        };
        let end = end_command(&mut command).map_err(failed("could not wait for the command"))?;
        if end.by_us || !sampling.samples_command || requests.were_made() {
            return Ok(0); // its end is not its own doing
        }
        Ok(u8::try_from(end.status.code()).unwrap_or(255))
    }
}
