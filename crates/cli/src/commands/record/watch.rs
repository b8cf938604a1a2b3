//! How long a recording goes on: until its time is over, its target has ended or somebody asks for the end.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use prof_session::record::{Control, FileDestination, Recorder, RunFor};

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

    fn after_round(&mut self, recorder: &mut Recorder<FileDestination>, _passed: u64) {
        self.progress.update(recorder);
    }
}
