//! Errors of `prof-session` as messages: what can be done where a recording cannot be read or written.

use std::io;

use prof_perfdata::Error;
use prof_session::{LoadError, OutputError};

use super::present::Present;
use super::{CliError, Failure, open_errors};

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let message = Self::from_error(&error);
        match &error {
            LoadError::Recording {
                source: Error::Io { source, .. },
                ..
            } => match source.kind() {
                io::ErrorKind::NotFound => message
                    .hint("record one: `prof record -p PID -d 10s`")
                    .hint("or name it: `-i FILE`"),
                io::ErrorKind::PermissionDenied => message.hint(match Present::look().as_root() {
                    Some(root) => format!(
                        "recordings belong to the user who made them; {root}, or have it chowned"
                    ),
                    None => "recordings belong to the user who made them: be that user".to_owned(),
                }),
                _ => message,
            },
            LoadError::NoTimes { asked, .. } => Self::usage(format!("`--time {asked}`: {error}")),
            LoadError::NoClock { asked, .. } => Self::usage(format!("`--time {asked}`: {error}"))
                .hint("perf notes it with `perf record -k mono`; `prof record` always does")
                .hint("seconds from the start, `--time 0,10`, or shares, `--time 10%-20%`, do without"),
            LoadError::Recording { .. } | LoadError::Stdin(_) => message,
        }
    }
}

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::NoThread(error) => open_errors::no_thread(error),
            OutputError::Create { .. } => {
                Self::from_error(&error).hint("choose another place with `-o FILE`")
            }
            OutputError::Write {
                kept: Some(ref part),
                ..
            } => {
                let part = part.display();
                Self::from_error(&error).hint(format!(
                    "what was written until then: `prof report -i {part}`"
                ))
            }
            _ => Self::from_error(&error),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Error(error.into())
    }
}
