//! How long a recording goes on: until its time is over, its target has ended or somebody asks for the end.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use prof_model::Pid;
use prof_sampler::{Joined, OpenError};
use prof_session::record::{Control, FileDestination, Recorder, RunFor};
use prof_target::Follower;

use super::progress::Progress;
use crate::signals::EndRequests;

/// Watches over a recording: shows how far it is, and ends it when its time is over or somebody asks.
pub struct Watch<'a> {
    /// The line on the terminal.
    pub progress: Progress,
    /// Whether somebody asks for the end.
    pub requests: &'a EndRequests,
    /// Whether a command runs, which decides itself when to end.
    pub has_command: bool,
    /// When the time is over.
    pub time: RunFor,
    /// Looks for processes that come later.
    pub follower: Option<Follower>,
    /// Whether nothing is said but errors.
    pub quiet: bool,
}

impl Control<FileDestination> for Watch<'_> {
    fn longest_wait(&self) -> Option<Duration> {
        Control::<FileDestination>::longest_wait(&self.time)
    }

    fn wake_fds<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) {
        if !self.requests.were_made() {
            fds.push(self.requests.wake_fd());
        }
    }

    fn is_asked_to_end(&self) -> bool {
        // Ctrl-C reached the command as well.
        !self.has_command && self.requests.were_made()
    }

    fn further(&mut self) -> Vec<Pid> {
        self.follower
            .as_ref()
            .map_or_else(Vec::new, Follower::found)
    }

    fn joined(&mut self, Joined { pid, result }: &Joined) {
        if self.quiet {
            return;
        }
        self.progress.clear();
        match result {
            Ok(()) => eprintln!("prof: sampling process {pid} as well, which came later"),
            Err(OpenError::NoSuchTask(_)) => {} // it has ended by now
            Err(error) => eprintln!("prof: process {pid}, which came later, is left out: {error}"),
        }
    }

    fn after_round(&mut self, recorder: &mut Recorder<FileDestination>, _passed: u64) {
        self.progress.update(recorder);
    }
}
