//! Other standard streams for a command that is forked here, where ours are taken: by screens, or by the
//! records that go to stdout.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::unistd::{dup, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::messages::CliError;

/// Our own streams, while a child is to get others.
struct Saved([OwnedFd; 3]);

impl Saved {
    fn now() -> nix::Result<Self> {
        Ok(Self([
            dup(io::stdin())?,
            dup(io::stdout())?,
            dup(io::stderr())?,
        ]))
    }

    fn restore(&self) -> nix::Result<()> {
        let [stdin, stdout, stderr] = &self.0;
        dup2_stdin(stdin)?;
        dup2_stdout(stdout)?;
        dup2_stderr(stderr)
    }
}

/// Runs `fork` with the standard streams on /dev/null: what a command prints would go across the
/// screens, and what it reads would be keys.
///
/// # Errors
/// The streams could not be switched; or those of `fork`.
pub fn away_from_terminal<T>(fork: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    let nowhere = File::options().read(true).write(true).open("/dev/null");
    let nowhere = nowhere.map_err(failed)?;
    let switch = || {
        dup2_stdin(&nowhere)?;
        dup2_stdout(&nowhere)?;
        dup2_stderr(&nowhere)
    };
    with_others(switch, fork)
}

/// Runs `fork` with stdout where stderr is: what a command prints would lie between the records that
/// go to ours.
///
/// # Errors
/// As [`away_from_terminal`].
pub fn away_from_stdout<T>(fork: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    with_others(|| dup2_stdout(io::stderr()), fork)
}

fn with_others<T>(
    switch: impl FnOnce() -> nix::Result<()>,
    fork: impl FnOnce() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let saved = Saved::now().map_err(|error| failed(error.into()))?;
    let switched = switch();
    let forked = switched
        .map_err(|error| failed(error.into()))
        .and_then(|()| fork());
    saved.restore().map_err(|error| failed(error.into()))?;
    forked
}

fn failed(error: io::Error) -> CliError {
    CliError::new("could not give a command other standard streams").cause(error)
}
