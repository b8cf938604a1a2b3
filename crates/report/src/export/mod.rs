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

use prof_model::{Pid, ProcessTable, Tid};
use prof_profile::{EventInfo, Names, Profile, RecordingFacts, Unit};
use rustc_hash::FxHashSet;

use crate::wait_summary::idle_threads;
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
    /// Whether threads that have nothing to do are drawn, where waiting time is.
    pub idle: bool,
}

/// What time on CPUs and waiting time are together.
const WALL_TIME: &str = "wall-clock time";

/// What pictures show.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// What is counted.
    pub event: EventInfo,
    /// The stacks.
    pub stacks: FoldedStacks,
    /// How many threads have nothing to do and are left out.
    pub idle_threads: usize,
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

    /// What pictures show: the first event that was sampled, or time on CPUs and waiting time together. With
    /// `annotate` the names say what kind of code it is. `None` without samples.
    pub fn drawn(&self, annotate: bool) -> Option<Drawn> {
        let (event, info) = self.first_event()?;
        let mut drawn = Drawn {
            event: info.clone(),
            stacks: FoldedStacks::default(),
            idle_threads: 0,
        };
        let waits = self
            .waits()
            .filter(|_| matches!(info.unit, Unit::CpuTime | Unit::WaitTime));
        let mut left_out = FxHashSet::default();
        if let Some(waits) = waits
            && !self.idle
        {
            let all = (0, self.facts.duration_ns);
            let span = self.facts.sample_times.unwrap_or(all);
            left_out = idle_threads(self.profile, self.names, waits, span);
            drawn.idle_threads = left_out.len();
        }
        drawn.stacks = self.folded(event, annotate, left_out.clone());
        if let Some(waits) = waits.filter(|&waits| waits != event) {
            drawn.event.name = WALL_TIME.to_owned();
            drawn.event.unit = Unit::WaitTime;
            drawn.event.sample_freq = None;
            drawn.stacks = drawn.stacks.and(&self.folded(waits, annotate, left_out));
        }
        Some(drawn)
    }

    /// The event of waiting time, if there is one with samples.
    fn waits(&self) -> Option<u16> {
        let mut events = self.profile.events.iter();
        let index = events.position(|event| event.unit == Unit::WaitTime)?;
        let index = u16::try_from(index).ok()?;
        (self.profile.total(index).samples > 0).then_some(index)
    }

    fn folded(&self, event: u16, annotate: bool, left_out: FxHashSet<(Pid, Tid)>) -> FoldedStacks {
        let options = FoldedOptions {
            annotate,
            left_out,
            inline: self.inline,
            filter: self.filter.clone(),
            ..FoldedOptions::default()
        };
        fold(self.profile, self.names, event, &options)
    }
}
