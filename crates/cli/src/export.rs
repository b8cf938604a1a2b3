//! Files that show a profile to other programs: flame graphs and folded stacks.
//!
//! In: a profile with its names, and which files are wanted. Out: these files. Elsewhere: how stacks are
//! folded and drawn (`prof-report`), the flame graph of a window on the screens (`tui_source`).

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prof_profile::{EventInfo, Names, Profile};
use prof_report::{
    Filter, FlameGraphOptions, FoldedOptions, FoldedStacks, StackWeight, fold, write_flame_graph,
};
use prof_session::record::write_whole;

use crate::messages::{CliError, Failure};
use crate::units::thousands;

/// Which files are wanted, and how the flame graph looks.
#[derive(Clone, Debug)]
pub struct Exports {
    /// Where to draw a flame graph.
    pub svg: Option<PathBuf>,
    /// Where to write folded stacks; `-` for stdout.
    pub folded: Option<PathBuf>,
    /// How the flame graph looks.
    pub look: FlameGraphLook,
    /// Say nothing about files that were written.
    pub quiet: bool,
}

impl Exports {
    /// Whether any file is wanted.
    pub fn any(&self) -> bool {
        self.svg.is_some() || self.folded.is_some()
    }

    /// Whether folded stacks go to stdout.
    pub fn to_stdout(&self) -> bool {
        self.folded
            .as_ref()
            .is_some_and(|path| path.as_os_str() == "-")
    }
}

/// How a flame graph looks, whatever it shows.
#[derive(Clone, Debug)]
pub struct FlameGraphLook {
    /// The title; `None` for one that says what was recorded.
    pub title: Option<String>,
    /// Stacks begin with the innermost frame.
    pub reverse: bool,
    /// The root is at the top.
    pub inverted: bool,
    /// Narrower frames are left out, in percent of the whole width.
    pub min_width: f64,
}

impl FlameGraphLook {
    /// The same for the samples of an event, with a title for where none is given.
    pub fn options(&self, event: &EventInfo, title: &str, subtitle: String) -> FlameGraphOptions {
        let weight = weight_of(event);
        FlameGraphOptions {
            title: self.title.as_deref().unwrap_or(title).to_owned(),
            subtitle,
            reverse: self.reverse,
            inverted: self.inverted,
            min_width: self.min_width,
            count_name: match weight {
                StackWeight::Samples => "samples".to_owned(),
                StackWeight::Period => event.name.clone(),
            },
            weight,
        }
    }
}

/// Time is sampled evenly, so samples are what people count; other events weigh what they count.
fn weight_of(event: &EventInfo) -> StackWeight {
    match event.is_time_like || event.sample_period.is_some() {
        true => StackWeight::Samples,
        false => StackWeight::Period,
    }
}

/// The samples that are exported.
#[derive(Clone, Copy)]
pub struct Exported<'a> {
    /// All samples.
    pub profile: &'a Profile,
    /// The names of their frames.
    pub names: &'a Names,
    /// Which of them are exported.
    pub filter: &'a Filter,
    /// Whether inlined functions are frames of their own.
    pub inline: bool,
    /// What stands below the title.
    pub facts: &'a Facts,
}

/// What a flame graph says about its recording.
pub struct Facts {
    /// Whom.
    pub target: String,
    /// What was sampled.
    pub event: String,
    /// How often, in Hz.
    pub frequency: Option<u64>,
    /// How many samples.
    pub samples: u64,
    /// How long.
    pub seconds: f64,
}

impl Facts {
    fn subtitle(&self) -> String {
        let rate = self
            .frequency
            .map_or_else(String::new, |hz| format!(" at {hz} Hz"));
        let samples = thousands(self.samples);
        format!(
            "{}{rate}, {samples} samples, {:.1} s",
            self.event, self.seconds
        )
    }
}

impl Exported<'_> {
    /// Writes the files that are wanted, of the first event that has samples.
    ///
    /// # Errors
    /// A file could not be written, or no sample passes the filter.
    pub fn write(&self, exports: &Exports) -> Result<(), Failure> {
        if !exports.any() {
            return Ok(());
        }
        let profile = self.profile;
        let mut events = 0..profile.events.len() as u16;
        let Some(event) = events.find(|&event| profile.total(event).samples > 0) else {
            return Ok(());
        };
        if let Some(path) = &exports.folded {
            self.write_folded(event, path)?;
        }
        if let Some(path) = &exports.svg {
            self.write_svg(event, path, exports)?;
        }
        Ok(())
    }

    fn fold(&self, event: u16, annotate: bool) -> FoldedStacks {
        let options = FoldedOptions {
            annotate,
            inline: self.inline,
            filter: self.filter.clone(),
        };
        fold(self.profile, self.names, event, &options)
    }

    fn write_folded(&self, event: u16, path: &Path) -> Result<(), Failure> {
        let stacks = self.fold(event, false);
        let weight = weight_of(&self.profile.events[usize::from(event)]);
        if path.as_os_str() == "-" {
            let mut out = io::BufWriter::new(io::stdout().lock());
            stacks.write(&mut out, weight)?;
            return Ok(out.flush()?);
        }
        let written = write_whole(path, |out| stacks.write(out, weight));
        Ok(written.map_err(|error| cannot_write(path, error))?)
    }

    fn write_svg(&self, event: u16, path: &Path, exports: &Exports) -> Result<(), Failure> {
        let stacks = self.fold(event, true);
        if stacks.is_empty() {
            return Err(CliError::new("no sample passes the filters: nothing to draw").into());
        }
        let info = &self.profile.events[usize::from(event)];
        let facts = self.facts;
        let options = exports.look.options(info, &facts.target, facts.subtitle());
        let mut narrow = 0;
        let written = write_whole(path, |out| {
            narrow = write_flame_graph(out, &stacks, &options)?;
            Ok(())
        });
        written.map_err(|error| cannot_write(path, error))?;
        if !exports.quiet {
            let left_out = match narrow {
                0 => String::new(),
                count => format!(
                    "; {} frames narrower than {}% are left out (--min-width 0 draws all)",
                    thousands(count as u64),
                    options.min_width
                ),
            };
            eprintln!("flame graph: {}{left_out}", path.display());
        }
        Ok(())
    }
}

/// The message for a file that could not be written.
pub fn cannot_write(path: &Path, error: io::Error) -> CliError {
    CliError::new(format!("could not write `{}`", path.display())).cause(error)
}
