//! Flame graphs and folded stacks of a profile.

use std::io::{self, Write};
use std::path::Path;

use prof_profile::{Names, Profile};
use prof_report::{
    Filter, FlameGraphOptions, FoldedOptions, FoldedStacks, StackWeight, fold, write_flame_graph,
};

use prof_session::record::write_whole;

use crate::command_line::shared::DrawingArgs;
use crate::messages::{CliError, Failure};
use crate::units::thousands;

/// What stands below the title.
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

/// Draws what `args` ask for.
///
/// # Errors
/// A file could not be written.
pub fn draw(
    profile: &Profile,
    names: &Names,
    args: &DrawingArgs,
    facts: &Facts,
    quiet: bool,
) -> Result<(), Failure> {
    draw_filtered(profile, names, args, facts, &Filter::default(), true, quiet)
}

/// Draws the samples that a filter lets through.
///
/// # Errors
/// As [`draw`].
pub fn draw_filtered(
    profile: &Profile,
    names: &Names,
    args: &DrawingArgs,
    facts: &Facts,
    filter: &Filter,
    inline: bool,
    quiet: bool,
) -> Result<(), Failure> {
    if !args.any() {
        return Ok(());
    }
    let Some(event) =
        (0..profile.events.len() as u16).find(|&event| profile.total(event).samples > 0)
    else {
        return Ok(());
    };
    let info = &profile.events[usize::from(event)];
    // Time is sampled evenly, so samples are what people count; other events weigh what they count.
    let weight = if info.is_time_like || info.sample_period.is_some() {
        StackWeight::Samples
    } else {
        StackWeight::Period
    };
    let folded = |annotate| {
        let options = FoldedOptions {
            annotate,
            inline,
            filter: filter.clone(),
        };
        fold(profile, names, event, &options)
    };
    if let Some(path) = &args.folded {
        write_folded(&folded(false), path, weight)?;
    }
    if let Some(path) = &args.svg {
        let options = FlameGraphOptions {
            title: args.title.clone().unwrap_or_else(|| facts.target.clone()),
            subtitle: subtitle(facts),
            reverse: args.reverse,
            inverted: args.inverted,
            min_width: args.min_width,
            count_name: match weight {
                StackWeight::Samples => "samples".to_owned(),
                StackWeight::Period => info.name.clone(),
            },
            weight,
        };
        let stacks = folded(true);
        if stacks.is_empty() {
            return Err(CliError::new("no sample passes the filters: nothing to draw").into());
        }
        let mut narrow = 0;
        write_whole(path, |out| {
            narrow = write_flame_graph(out, &stacks, &options)?;
            Ok(())
        })
        .map_err(|error| cannot_write(path, error))?;
        if !quiet {
            let left_out = match narrow {
                0 => String::new(),
                count => format!(
                    "; {} frames narrower than {}% are left out (--min-width 0 draws all)",
                    thousands(count as u64),
                    args.min_width
                ),
            };
            eprintln!("flame graph: {}{left_out}", path.display());
        }
    }
    Ok(())
}

fn write_folded(stacks: &FoldedStacks, path: &Path, weight: StackWeight) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        let mut out = io::BufWriter::new(io::stdout().lock());
        stacks.write(&mut out, weight)?;
        return Ok(out.flush()?);
    }
    write_whole(path, |out| stacks.write(out, weight))
        .map_err(|error| cannot_write(path, error).into())
}

fn cannot_write(path: &Path, error: io::Error) -> CliError {
    CliError::new(format!("could not write `{}`", path.display())).cause(error)
}

fn subtitle(facts: &Facts) -> String {
    let rate = facts
        .frequency
        .map_or_else(String::new, |hz| format!(" at {hz} Hz"));
    let samples = thousands(facts.samples);
    format!(
        "{}{rate}, {samples} samples, {:.1} s",
        facts.event, facts.seconds
    )
}
