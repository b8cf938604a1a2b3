//! One shape for everything that is made of a recording for others: a picture, folded stacks, a format.
//!
//! In: [`ExportData`], the same for a live recording and a file. Out: bytes. Elsewhere: which file they go
//! to, and how it is asked for (`prof-cli`).
//!
//! A new format is a file beside this one with a type that implements [`Export`], and a line in the list of
//! those that the command offers
//! (`DrawingArgs::exports` in `cli/src/command_line/shared.rs`).

mod flame_graph; // SVG
mod folded; // a line a stack
mod json; // a table's rows

pub use flame_graph::FlameGraphExport;
pub use folded::FoldedExport;
pub use json::JsonExport;

use std::io::{self, Write};

use prof_model::ProcessTable;
use prof_profile::{EventInfo, Names, Profile, RecordingFacts};

use crate::{Filter, FoldedOptions, FoldedStacks, fold};

/// What there is to make something of.
#[derive(Clone, Copy)]
pub struct ExportData<'a> {
    /// The samples. Its DSOs have their build-ids, where these are known; its events tell the unit of
    /// what they count.
    pub profile: &'a Profile,
    /// What the frames are called.
    pub names: &'a Names,
    /// The mappings of each process, as they were at the end.
    pub processes: &'a ProcessTable,
    /// What else is known.
    pub facts: &'a RecordingFacts,
    /// Which samples are wanted.
    pub filter: &'a Filter,
    /// Whether inlined functions are frames of their own.
    pub inline: bool,
}

/// A kind of file that can be made of a recording.
pub trait Export {
    /// What it is for people: `flame graph`. `None` if it is for other programs and nobody has to be told
    /// that it was written.
    fn title(&self) -> Option<&'static str>;

    /// Writes all of it. Returns what the user should be told about it, if anything.
    ///
    /// # Errors
    /// [`ExportError`].
    fn write(
        &self,
        data: &ExportData<'_>,
        out: &mut dyn Write,
    ) -> Result<Option<String>, ExportError>;
}

/// Why a file could not be made of a recording.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No sample passes the filters.
    #[error("no sample passes the filters")]
    Nothing,
    /// The file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<'a> ExportData<'a> {
    /// The first event that was sampled, with its index: what pictures of one event show.
    pub fn first_event(&self) -> Option<(u16, &'a EventInfo)> {
        let events = 0..self.profile.events.len() as u16;
        let mut sampled = events.filter(|&event| self.profile.total(event).samples > 0);
        let event = sampled.next()?;
        Some((event, &self.profile.events[usize::from(event)]))
    }

    /// The stacks of an event; with `annotate` the names say what kind of code it is.
    pub fn folded(&self, event: u16, annotate: bool) -> FoldedStacks {
        let options = FoldedOptions {
            annotate,
            inline: self.inline,
            filter: self.filter.clone(),
        };
        fold(self.profile, self.names, event, &options)
    }
}
