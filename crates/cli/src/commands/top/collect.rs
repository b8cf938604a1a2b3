//! The sampling thread: takes records in, and hands over what a second has brought.
//!
//! It waits for nobody: while the thread that finds names is busy, the second goes on.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use prof_model::{DsoId, FunctionCode, Pid};
use prof_sampler::{Joined, RunningCommand, Sampler};
use prof_session::record::{self, Control, Piece, Pieces, Recorder, drive};
use prof_target::Follower;

/// Samples are handed over this often.
const EVERY: Duration = Duration::from_secs(1);
/// How long the rings may wait if they do not fill: how late a sample may be seen.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// What the thread that finds names is to do.
pub enum Message {
    /// Take these samples. The last ones come with why there are no more.
    Piece(Box<Piece>, Option<End>),
    /// Write the samples of a window to a file, and say so with this remark.
    Write(PathBuf, Range<u64>, &'static str),
    /// A further process is sampled: count its CPU time, too.
    Joined(Pid),
    /// Read the function around an instruction.
    Code(DsoId, u64, SyncSender<CodeAnswer>),
}

/// A function's name and code, or why there is none.
pub type CodeAnswer = Result<(Arc<str>, FunctionCode), String>;

/// Why sampling ended.
#[derive(Debug)]
pub enum End {
    /// The target has ended, or it was asked for.
    Ended(record::End),
    /// It failed.
    Failed(io::Error),
}

/// Hands samples over until the target has ended or it is told to stop.
pub struct Collector<'a> {
    to_namer: &'a SyncSender<Message>,
    stop: &'a OwnedFd, // becomes readable
    next: Instant,
    follower: Option<&'a Follower>,
}

impl<'a> Collector<'a> {
    /// Samples until the target has ended or `stop` becomes readable.
    pub fn collect(
        mut sampler: Sampler,
        mut recorder: Recorder<Pieces>,
        mut command: Option<RunningCommand>,
        to_namer: &'a SyncSender<Message>,
        stop: &'a OwnedFd,
        follower: Option<&'a Follower>,
    ) -> Option<RunningCommand> {
        let mut this = Self {
            to_namer,
            stop,
            next: Instant::now() + EVERY,
            follower,
        };
        let sampled = drive(&mut sampler, &mut recorder, command.as_mut(), &mut this);
        let finished = sampler.finish(&mut recorder);
        let now = sampler.clock().now();
        let finished = finished.and_then(|()| recorder.end_waits(now, sampler.clock()));
        let end = match (sampled, finished) {
            (Ok(end), Ok(())) => End::Ended(end),
            (Err(error), _) | (_, Err(error)) => End::Failed(error),
        };
        let piece = recorder.piece(now);
        // Nothing is sampled any more: now it may wait.
        let _ = to_namer.send(Message::Piece(Box::new(piece), Some(end)));
        command
    }
}

impl Control<Pieces> for Collector<'_> {
    fn longest_wait(&self) -> Option<Duration> {
        let left = self.next.saturating_duration_since(Instant::now());
        Some(left.min(LONGEST_WAIT))
    }

    fn wake_fds<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) {
        fds.push(self.stop.as_fd());
    }

    fn is_asked_to_end(&self) -> bool {
        is_readable(self.stop)
    }

    fn further(&mut self) -> Vec<Pid> {
        self.follower.map_or_else(Vec::new, Follower::found)
    }

    fn joined(&mut self, joined: &Joined) {
        if joined.result.is_ok() {
            let _ = self.to_namer.try_send(Message::Joined(joined.pid));
        }
    }

    /// Hands the samples so far to the thread that names them, unless that is busy.
    fn after_round(&mut self, recorder: &mut Recorder<Pieces>, passed: u64) {
        let now = Instant::now();
        if now < self.next || passed <= recorder.destination.since() {
            return;
        }
        let piece = Message::Piece(Box::new(recorder.piece(passed)), None);
        match self.to_namer.try_send(piece) {
            Err(TrySendError::Full(Message::Piece(piece, _))) => recorder.take_back(*piece),
            _ => recorder.handed_over(),
        }
        self.next = (self.next + EVERY).max(now + EVERY / 2);
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
