use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use prof_model::{DsoId, FunctionCode};

use crate::{Facts, History, Paths};

/// Where the screens get their profile from, and who does what they cannot.
pub trait Source {
    /// Whether samples keep coming.
    fn is_live(&self) -> bool;

    /// What the header says.
    fn facts(&self) -> Facts;

    /// Changes when there is something new to see.
    fn version(&self) -> u64;

    /// Shows the history, which may be locked as long as `see` runs.
    fn look(&self, see: &mut dyn FnMut(&History));

    /// Forgets all samples so far.
    fn reset(&mut self);

    /// A name for [`Source::write`] that no file has yet.
    fn suggested_file(&self) -> String;

    /// Writes a picture of a window or its samples, as the file's extension says. Returns a message
    /// about what was written, or is being written.
    ///
    /// # Errors
    /// A message.
    fn write(&mut self, path: &Path, window: &Window<'_>) -> Result<String, String>;

    /// The function around an instruction of a module: its name and its code.
    ///
    /// # Errors
    /// A message.
    fn code(&mut self, dso: DsoId, address: u64) -> Result<(Arc<str>, FunctionCode), String>;

    /// What became of something that took longer.
    fn news(&mut self) -> Option<Result<String, String>>;

    /// What was asked for from outside since the last call.
    fn request(&mut self) -> Option<Request>;

    /// Stops this process until somebody lets it go on.
    fn stop(&mut self);
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Which event.
    pub event: u16,
    /// From when to when.
    pub span: &'a Range<u64>,
    /// The stacks that are shown.
    pub paths: &'a Paths,
    /// What the filters are, in words; empty for none.
    pub filters: &'a str,
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End.
    Quit,
    /// Stop as Ctrl-Z does.
    Suspend,
    /// Somebody has let this process go on; the terminal may have changed meanwhile.
    Resumed,
}
