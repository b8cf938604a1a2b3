//! `prof script`: every sample of a recording as text.
//!
//! Names are known only after all samples have been seen once. What the usual fields print is kept in that
//! first pass; for more fields, and for other records, a second pass reads the recording again.
//! Elsewhere: the text of a sample (`prof-report`).

mod args; // what to print of which samples
mod extras; // what few samples have
mod filter; // which samples are printed
mod kept_samples; // printing what the first pass kept
mod other_records; // the records beside the samples
mod second_pass; // printing in a second one
mod times; // as they are printed

use std::io::{self, BufWriter, Write};

use prof_perfdata::Recording;
use prof_profile::Profile;
use prof_report::{Filter, ScriptFields, ScriptOptions, ScriptWriter};

use prof_session::{BranchUse, LoadedRecording, Wanted};

use crate::header;
use crate::input;
use crate::messages::{CliError, Failure, Outcome};
use crate::printed;
pub use args::ScriptArgs;
use extras::check_recorded;
use filter::SampleFilter;
use other_records::OtherRecords;
use second_pass::Known;
use times::TimeOrigin;

/// Runs `prof script`: one pass to find the names. If it could keep what is printed of the samples,
/// that is printed then, else there is a second one.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &ScriptArgs) -> Outcome {
    let filter = args.filter()?;
    if args.header_only {
        write_header(&input::open(&args.input.input)?, args)?;
        return Ok(0);
    }
    let mut input = input::read(&args.input.read_options(), wanted(args))?;
    let profile = std::mem::take(&mut input.profile);
    print(args, filter, &profile, &mut input)?;
    std::mem::forget((profile, input)); // the process ends: tables of all sizes need no taking apart
    Ok(0)
}

/// Prints the samples of what was read that pass, and the records beside them that are asked for.
fn print(
    args: &ScriptArgs,
    filter: Filter,
    profile: &Profile,
    input: &mut LoadedRecording,
) -> Result<(), Failure> {
    let LoadedRecording {
        recording,
        names,
        namer,
        ..
    } = input;
    let fields = args.fields.as_deref();
    if let Some(text) = fields {
        check_recorded(text, recording.events().events())?;
    }
    let options = ScriptOptions {
        fields: fields.map(|text| fields_of(text, profile)).transpose()?,
        inline: !args.input.no_inline,
        callchains: !args.hide_call_graph,
        max_stack: args.input.max_stack,
        nanoseconds: args.ns,
    };
    if args.header {
        write_header(recording, args)?;
    }
    let writer = ScriptWriter::new(profile, names, options);
    let filter = SampleFilter::new(filter, profile, names);
    let has_text = profile.events.iter().any(|event| event.is_tracepoint);
    if let Some(log) = profile.log().filter(|_| !has_text) {
        return Ok(kept_samples::print(log, &writer, &filter)?);
    }
    let options = second_pass::Options {
        read: args.input.read_options(),
        others: OtherRecords::new(args.show.kinds()),
        time_origin: args.time_origin(),
        has_extras: fields.is_some() || profile.events.iter().any(|event| event.is_memory),
        branches: branches(fields.unwrap_or_default()),
    };
    let known = Known {
        profile,
        namer,
        filter: &filter,
    };
    Ok(second_pass::print(recording, options, known, &writer)??)
}

fn write_header(recording: &Recording, args: &ScriptArgs) -> io::Result<()> {
    let mut out = BufWriter::new(printed::stdout());
    for line in header::lines(recording, &args.input.input, args.show_info) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Source lines are what only debug info has.
fn wanted(args: &ScriptArgs) -> Wanted {
    let fields = args.fields.as_deref().unwrap_or_default();
    Wanted {
        lines: fields.contains("srcline"),
        data: fields.contains("addr"),
        branches: branches(fields),
        only_frames: true,
        log: can_be_kept(args, fields),
        ..Wanted::default()
    }
}

/// Branches have functions or modules where these are asked for.
fn branches(fields: &str) -> BranchUse {
    let has_modules = fields.contains("brstack") && fields.contains("dso");
    match has_modules || fields.contains("brstacksym") {
        true => BranchUse::Placed,
        false => BranchUse::Ignored,
    }
}

/// Whether all that is printed of a sample is what a log has.
fn can_be_kept(args: &ScriptArgs, fields: &str) -> bool {
    const KEPT: [&str; 12] = [
        "comm", "tid", "pid", "time", "cpu", "event", "ip", "sym", "dso", "symoff", "srcline",
        "period",
    ];
    let mut words = fields.split(',').filter(|word| !word.is_empty());
    let is_kept = |word: &str| KEPT.contains(&word.trim_start_matches(['+', '-']));
    let has_address_alone = args.hide_call_graph; // where there is a callchain only that is kept
    let counts_time = args.time_origin() != TimeOrigin::Clock; // from one sample to the next
    let prints_others = !args.show.kinds().is_empty();
    words.all(is_kept) && !has_address_alone && !counts_time && !prints_others
}

/// Changes the usual fields of the first event that has samples.
fn fields_of(text: &str, profile: &Profile) -> Result<ScriptFields, CliError> {
    let event = profile.events.iter().enumerate();
    let mut event = event.filter(|(index, _)| profile.has_samples(*index as u16));
    let usual = event
        .next()
        .map_or(ScriptFields::default_for(false, true), |(_, event)| {
            ScriptFields::usual(event)
        });
    usual
        .apply(text)
        .map_err(|error| CliError::usage(error.to_string()))
}
