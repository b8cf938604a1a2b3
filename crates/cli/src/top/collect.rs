//! The sampling thread: takes records in, and hands over what a second has brought.
//!
//! It waits for nobody: while the thread that finds names is busy, the second goes on.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use prof_event::{EventSet, RawRecord, Record, encode_sample};
use prof_model::{ChainEnd, CommTable, DsoId, DsoTable, FunctionCode, Pid, Tid};
use prof_profile::Profile;
use prof_sampler::{RunningCommand, Sampler, Sink};
use prof_symbolizer::{FoundFile, PerfMap};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::record::file_events;
use crate::stage::{SHORT_PAUSE, Stage};

/// Samples are handed over this often.
const EVERY: Duration = Duration::from_secs(1);
/// How long the rings may wait if they do not fill: how late a sample may be seen.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Files that no sample has hit for so many pieces are closed: during a build new ones come without
/// end, and what is known of each takes memory.
const UNUSED_AFTER: u32 = 60;
/// With more files than this, those that the last piece did not hit are closed.
const MAX_FILES: usize = 512;
/// A thread that has ended is forgotten so many pieces later: the last of its samples may be late.
const LATE: u32 = 3;
/// Samples that may wait to be kept for a file, in bytes.
const MAX_WAITING: usize = 16 << 20;

/// What the thread that finds names is to do.
pub enum Message {
    /// Take these samples.
    Piece(Box<Piece>),
    /// Write the samples of a window to a file, and say so with this remark.
    Write(PathBuf, Range<u64>, &'static str),
    /// Read the function around an instruction.
    Code(DsoId, u64, SyncSender<CodeAnswer>),
}

/// A function's name and code, or why there is none.
pub type CodeAnswer = Result<(Arc<str>, FunctionCode), String>;

/// What a second has brought.
pub struct Piece {
    /// From when to when, in nanoseconds of the sampler's clock.
    pub span: Range<u64>,
    /// The records, as a file has them.
    pub records: Vec<u8>,
    /// Why the callchain of each sample in `records` ended.
    pub ends: Vec<ChainEnd>,
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
    /// Perf maps that were opened since the last piece.
    pub perf_maps: Vec<(Pid, PerfMap)>,
    /// Files that were closed before these were opened.
    pub closed: Vec<DsoId>,
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
    sampled: EventSet, // as the kernel sends them
    written: EventSet, // as a file has them
    stage: Stage,
    to_namer: SyncSender<Message>,
    since: u64,
    passed: [u64; 2], // when the last two rounds began: what came before the first is passed on
    records: Vec<u8>,
    ends: Vec<ChainEnd>,
    pieces: u32,
    ended: FxHashMap<Tid, (Pid, u32)>, // threads, and in which piece they did
    closed: Vec<DsoId>,
    dsos: Arc<DsoTable>,
    comms: Arc<CommTable>,
    handed: FxHashSet<DsoId>, // files
}

impl Collector {
    /// One that has nothing yet.
    pub fn new(sampled: EventSet, stage: Stage, to_namer: SyncSender<Message>, now: u64) -> Self {
        Self {
            written: file_events(&sampled),
            sampled,
            stage,
            to_namer,
            since: now,
            passed: [now; 2],
            records: Vec::new(),
            ends: Vec::new(),
            pieces: 0,
            ended: FxHashMap::default(),
            closed: Vec::new(),
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
        let _ = self.to_namer.send(Message::Piece(Box::new(piece)));
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
        let mut hurry = self.stage.races();
        let mut next = Instant::now() + EVERY;
        loop {
            if let Some(pause) = hurry {
                std::thread::sleep(pause);
            } else {
                let left = next.saturating_duration_since(Instant::now());
                let also = exit.iter().map(AsFd::as_fd).chain([stop.as_fd()]);
                let also: Vec<_> = also.collect();
                let longest = self.stage.longest_wait(LONGEST_WAIT);
                sampler.wait(left.min(longest), &also)?;
            }
            self.passed = [self.passed[1], sampler.clock().now()];
            let has_more = sampler.round(self)?;
            sampler.use_small_copies(self.stage.copies.are_small())?;
            hurry = self.stage.races().or(has_more.then_some(SHORT_PAUSE));
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
            if now >= next && self.passed[0] > self.since {
                self.hand_over();
                next = (next + EVERY).max(now + EVERY / 2);
            }
        }
    }

    /// Hands the samples so far to the thread that names them, unless that is busy.
    fn hand_over(&mut self) {
        let piece = Message::Piece(Box::new(self.piece(self.passed[0])));
        match self.to_namer.try_send(piece) {
            Err(TrySendError::Full(Message::Piece(piece))) => return self.take_back(*piece),
            _ => self.pieces += 1,
        }
        self.forget_ended();
        if self.pieces.is_multiple_of(UNUSED_AFTER) || self.handed.len() > MAX_FILES {
            self.closed = self.stage.close_unused_files();
            for id in &self.closed {
                self.handed.remove(id);
            }
        }
    }

    fn forget_ended(&mut self) {
        let Self {
            ended,
            stage,
            pieces,
            ..
        } = self;
        ended.retain(|tid, (pid, piece)| {
            let is_late = *piece + LATE < *pieces;
            if is_late {
                stage.tracker.processes.forget(*pid, *tid);
            }
            !is_late
        });
    }

    /// What has come up to `until`, the time before which every record has been passed on.
    fn piece(&mut self, until: u64) -> Piece {
        let processes = &self.stage.tracker.processes;
        if processes.dsos.len() != self.dsos.len() {
            self.dsos = Arc::new(processes.dsos.clone());
        }
        if processes.comms.len() != self.comms.len() {
            self.comms = Arc::new(processes.comms.clone());
        }
        let mut files: Vec<_> = self
            .stage
            .files
            .opened()
            .filter(|(id, _)| !self.handed.contains(id))
            .map(|(id, file)| (id, file.clone()))
            .collect();
        self.handed.extend(files.iter().map(|(id, _)| *id));
        files.extend(self.stage.generated.dumps()); // each time: they grow
        let empty = Profile::new(self.stage.profile.events.clone());
        let profile = std::mem::replace(&mut self.stage.profile, empty);
        let mut names = FxHashMap::default();
        for (key, _) in profile.samples() {
            names.entry(key.pid).or_insert_with(|| {
                let comm = processes.comm_of(key.pid, Tid(key.pid.0));
                comm.map(|comm| processes.comms.display(comm).into_owned())
            });
        }
        let names = names
            .into_iter()
            .filter_map(|(pid, name)| Some((pid, name?)));
        let since = std::mem::replace(&mut self.since, until);
        Piece {
            span: since..until.max(since + 1),
            records: std::mem::take(&mut self.records),
            ends: std::mem::take(&mut self.ends),
            profile,
            dsos: Arc::clone(&self.dsos),
            comms: Arc::clone(&self.comms),
            processes: names.collect(),
            files,
            perf_maps: self.stage.generated.take_maps(),
            closed: std::mem::take(&mut self.closed),
            end: None,
        }
    }

    fn take_back(&mut self, piece: Piece) {
        self.since = piece.span.start;
        self.stage.profile = piece.profile;
        self.records = piece.records;
        self.ends = piece.ends;
        self.closed = piece.closed;
        for (id, _) in piece.files {
            self.handed.remove(&id);
        }
    }
}

impl Sink for Collector {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        let Ok(decoded) = self.sampled.decode(raw) else {
            return Ok(()); // of an event that is not ours
        };
        let end = self.stage.take(&self.sampled, &decoded, None);
        match &decoded.record {
            Record::Sample(sample) => {
                if self.records.len() < MAX_WAITING {
                    let attr = &self.written.events()[decoded.event].attr;
                    let (chain, sample) = self.stage.written(sample);
                    encode_sample(&mut self.records, raw.misc, &sample, chain, attr)
                        .map_err(io::Error::other)?;
                    self.ends.push(end.unwrap_or_default());
                }
                return Ok(());
            }
            Record::Exit(task) => {
                self.ended.insert(task.tid, (task.pid, self.pieces));
            }
            Record::Fork(task) => {
                self.ended.remove(&task.tid);
            }
            _ => {}
        }
        self.records.extend_from_slice(raw.bytes);
        Ok(())
    }

    fn skipped(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.stage.skip(&self.sampled, raw);
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.stage.finish_round();
        Ok(())
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
