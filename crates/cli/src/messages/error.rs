//! What goes wrong, told in three parts: what was tried, why it failed, what to do; and how a subcommand
//! ends.

use std::fmt;
use std::io;

/// An error for the user.
#[derive(Debug)]
pub struct CliError {
    /// What was tried, on what.
    pub what: String,
    /// Why it failed, outermost first.
    pub causes: Vec<String>,
    /// What to do about it, best first.
    pub hints: Vec<String>,
    /// Lines of a list that the last hint speaks of.
    pub lines: Vec<String>,
    /// The exit status.
    pub status: u8,
}

/// Exit status of an error.
pub const FAILED: u8 = 1;
/// Exit status of a wrong argument, as clap has it.
pub const USAGE: u8 = 2;

impl CliError {
    /// An error with nothing but its first part.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            lines: Vec::new(),
            status: FAILED,
        }
    }

    /// A wrong argument.
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            status: USAGE,
            ..Self::new(what)
        }
    }

    /// An error of a library, with all its causes.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut this = Self::new(error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            this = this.cause(cause);
            source = cause.source();
        }
        this
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds hints, as far as there are any.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Adds a line to the list that the last hint speaks of.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Without hints, for where there is room for one line.
    pub fn in_one_line(&self) -> String {
        let parts = std::iter::once(&self.what).chain(&self.causes);
        parts.map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// Prints it on stderr, each part in a line.
    pub fn say(&self) {
        eprintln!("prof: {}", self.what);
        for cause in &self.causes {
            eprintln!("  cause: {cause}");
        }
        for hint in &self.hints {
            eprintln!("  hint: {hint}");
        }
        for line in &self.lines {
            eprintln!("     {line}");
        }
    }

    /// Sets the exit status.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

/// Makes messages of the kernel's errors: what was tried, and the error as the cause.
pub fn failed(what: &'static str) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::new(what).cause(error)
}

/// How a subcommand ends.
pub enum Failure {
    /// With a message.
    Error(CliError),
    /// Quietly: whoever read our output has stopped reading.
    ClosedPipe,
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

/// For writing results to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::Error(CliError::new("could not write the result").cause(error))
    }
}

/// The result of a subcommand: its exit status.
pub type Outcome = Result<u8, Failure>;
