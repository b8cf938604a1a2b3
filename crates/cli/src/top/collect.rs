//! The sampling thread: takes records in, and hands over what a second has brought.
//!
//! It waits for nobody: while the thread that finds names is busy, the second goes on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use prof_event::{EventSet, RawRecord};
use prof_model::{CommTable, DsoId, DsoTable, Pid};
use prof_profile::Profile;
use prof_sampler::{RunningCommand, Sampler, Sink};
use prof_symbolizer::FoundFile;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::stage::Stage;

/// Samples are handed over this often.
const EVERY: Duration = Duration::from_secs(1);
/// How long the rings may wait if they do not fill: how late a sample may be seen.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// What a second has brought.
pub struct Piece {
    /// From when to when, in nanoseconds of the sampler's clock.
    pub span: std::ops::Range<u64>,
    /// The samples; names are yet to be found.
    pub profile: Profile,
    /// What the frames' modules are.
    pub dsos: Arc<DsoTable>,
    /// What the threads' names are.
    pub comms: Arc<CommTable>,
    /// What the samples' processes are called.
    pub processes: FxHashMap<Pid, String>,
    /// Files that were opened since the last piece.
    pub files: Vec<(DsoId, FoundFile)>,
    /// That there is nothing more to come, and why.
    pub end: Option<End>,
}

/// Why sampling ended.
#[derive(Debug)]
pub enum End {
    /// The target has exited.
    Exited,
    /// The command has ended with this status, as a shell shows it.
    Command(i32),
    /// It was asked for.
    Asked,
    /// It failed.
    Failed(io::Error),
}

/// Takes the sampler's records.
pub struct Collector {
    events: EventSet,
    stage: Stage,
    to_namer: SyncSender<Piece>,
    since: u64,
    dsos: Arc<DsoTable>,
    comms: Arc<CommTable>,
    handed: FxHashSet<DsoId>, // files
}

impl Collector {
    /// One that has nothing yet.
    pub fn new(events: EventSet, stage: Stage, to_namer: SyncSender<Piece>, now: u64) -> Self {
        Self {
            events,
            stage,
            to_namer,
            since: now,
            dsos: Arc::default(),
            comms: Arc::default(),
            handed: FxHashSet::default(),
        }
    }

    /// Samples until the target has ended or `stop` becomes readable.
    pub fn collect(
        mut self,
        mut sampler: Sampler,
        mut command: Option<RunningCommand>,
        stop: &OwnedFd,
    ) -> Option<RunningCommand> {
        let sampled = self.sample(&mut sampler, command.as_mut(), stop);
        let finished = sampler.finish(&mut self);
        let end = match (sampled, finished) {
            (Ok(end), Ok(())) => end,
            (Err(error), _) | (_, Err(error)) => End::Failed(error),
        };
        let mut piece = self.piece(sampler.clock().now());
        piece.end = Some(end);
        // Nothing is sampled any more: now it may wait.
        let _ = self.to_namer.send(piece);
        command
    }

    fn sample(
        &mut self,
        sampler: &mut Sampler,
        mut command: Option<&mut RunningCommand>,
        stop: &OwnedFd,
    ) -> io::Result<End> {
        let exit = command
            .as_deref()
            .map(RunningCommand::exit_fd)
            .transpose()?;
        let mut hurry = false;
        let mut next = Instant::now() + EVERY;
        loop {
            if hurry {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                let left = next.saturating_duration_since(Instant::now());
                let also = exit.iter().map(AsFd::as_fd).chain([stop.as_fd()]);
                let also: Vec<_> = also.collect();
                sampler.wait(left.min(LONGEST_WAIT), &also)?;
            }
            hurry = sampler.round(self)?;
            if let Some(command) = command.as_deref_mut()
                && let Some(status) = command.try_wait()?
            {
                return Ok(End::Command(status.code()));
            }
            if is_readable(stop) {
                return Ok(End::Asked);
            }
            if sampler.target_exited() {
                return Ok(End::Exited);
            }
            let now = Instant::now();
            if now >= next {
                self.hand_over(sampler.clock().now());
                next = (next + EVERY).max(now + EVERY / 2);
            }
        }
    }

    /// Hands the samples so far to the thread that names them, unless that is busy.
    fn hand_over(&mut self, now: u64) {
        let piece = self.piece(now);
        if let Err(TrySendError::Full(piece)) = self.to_namer.try_send(piece) {
            self.take_back(piece);
        }
    }

    fn piece(&mut self, now: u64) -> Piece {
        let processes = &self.stage.tracker.processes;
        if processes.dsos.len() != self.dsos.len() {
            self.dsos = Arc::new(processes.dsos.clone());
        }
        if processes.comms.len() != self.comms.len() {
            self.comms = Arc::new(processes.comms.clone());
        }
        let files: Vec<_> = self
            .stage
            .files
            .opened()
            .filter(|(id, _)| !self.handed.contains(id))
            .map(|(id, file)| (id, file.clone()))
            .collect();
        self.handed.extend(files.iter().map(|(id, _)| *id));
        let empty = Profile::new(self.stage.profile.events.clone());
        let profile = std::mem::replace(&mut self.stage.profile, empty);
        let mut names = FxHashMap::default();
        for (key, _) in profile.samples() {
            names.entry(key.pid).or_insert_with(|| {
                let comm = processes.comm_of(key.pid, prof_model::Tid(key.pid.0));
                comm.map(|comm| processes.comms.display(comm).into_owned())
            });
        }
        let names = names
            .into_iter()
            .filter_map(|(pid, name)| Some((pid, name?)));
        let since = std::mem::replace(&mut self.since, now);
        Piece {
            span: since..now.max(since + 1),
            profile,
            dsos: Arc::clone(&self.dsos),
            comms: Arc::clone(&self.comms),
            processes: names.collect(),
            files,
            end: None,
        }
    }

    fn take_back(&mut self, piece: Piece) {
        self.since = piece.span.start;
        self.stage.profile = piece.profile;
        for (id, _) in piece.files {
            self.handed.remove(&id);
        }
    }
}

impl Sink for Collector {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        if let Ok(decoded) = self.events.decode(raw) {
            self.stage.take(&self.events, &decoded, None);
        }
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
