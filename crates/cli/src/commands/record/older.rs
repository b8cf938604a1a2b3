//! The recording that is still there where a new one was to be, which a report would show for it.

use std::path::PathBuf;
use std::time::SystemTime;

use super::plan::OutputPlan;
use crate::input;
use crate::messages::Failure;
use crate::units::roughly;

/// A file that a recording was to take the place of.
pub struct Older {
    path: PathBuf,
    written: SystemTime,
}

impl Older {
    /// The file at the place of a recording that has not begun, if there is one.
    pub fn find(output: &OutputPlan) -> Option<Self> {
        let OutputPlan::File(path) = output else {
            return None;
        };
        let file = path.metadata().ok().filter(|it| it.is_file())?;
        Some(Self {
            written: file.modified().ok()?,
            path: path.clone(),
        })
    }

    /// Adds to a failure that this file is not what was to be recorded, if it is still there.
    pub fn mention(&self, failure: Failure) -> Failure {
        let now = self.path.metadata().and_then(|it| it.modified());
        match (failure, input::age(&self.path)) {
            (Failure::Error(error), Some(age)) if now.is_ok_and(|it| it == self.written) => {
                let (path, age) = (self.path.display(), roughly(age));
                Failure::Error(
                    error.hint(format!("{path} is of an earlier recording, from {age} ago")),
                )
            }
            (failure, _) => failure,
        }
    }
}
