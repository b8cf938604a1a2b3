//! How long a recording goes on: until its time is over, its target has ended or somebody asks for the end.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use prof_session::record::{Control, FileDestination, Recorder};

use super::progress::Progress;
use crate::signals::EndRequests;

/// How long a wait for records lasts at most: what is shown and asked meanwhile is not older.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Watches over a recording: shows how far it is, and ends it when its time is over or somebody asks.
pub struct Watch<'a> {
    /// The line on the terminal.
    pub progress: Progress,
    /// Whether somebody asks for the end.
    pub requests: &'a EndRequests,
    /// Whether a command runs, which decides itself when to end.
    pub has_command: bool,
    /// When the time is over.
    pub deadline: Option<Instant>,
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
        // Ctrl-C reached the command as well.
        !self.has_command && self.requests.count() > 0
    }

    fn after_round(&mut self, recorder: &mut Recorder<FileDestination>, _passed: u64) {
        self.progress.update(recorder);
    }
}
