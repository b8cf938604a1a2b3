//! `prof report` on a terminal: the screens of `prof top` over a recording, which is cut into slices of time.
//!
//! Elsewhere: drawing and keys (`prof-tui`), what a live target needs as well (`tui_source`).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prof_event::Record;
use prof_event::abi::record;
use prof_model::{DsoAddr, DsoId, FunctionCode, Tid};
use prof_perfdata::{ChainEnds, StoredNames};
use prof_profile::{SampleKey, Weight};
use prof_report::Filter;
use prof_session::record::Output;
use prof_session::{LoadedRecording, Wanted, event_infos};
use prof_symbolizer::AsmSyntax;
use prof_tui::{Facts, History, Intake, Options, Request, Samples, Source, Window};

use super::args::ReportArgs;
use crate::header;
use crate::input;
use crate::messages::{CliError, Outcome, failed};
use crate::signals::{self, EndRequests};
use crate::terminal;
use crate::tui_source::{self, Signals};
use crate::units::thousands;

/// A recording is divided into about so many slices of time: none is narrower than what a wide
/// terminal can show of the time bar.
pub const SLICES: u64 = 1000;

/// Whether the screens are to be shown: they are asked for, or there is a terminal and nothing that
/// only the printed table has.
///
/// # Errors
/// They are asked for where they cannot be shown.
pub fn wanted(args: &ReportArgs) -> Result<bool, CliError> {
    let printed = printed_only(args);
    if !args.tui {
        use std::io::IsTerminal;
        return Ok(printed.is_none()
            && terminal::can_show_screens()
            && std::io::stdin().is_terminal());
    }
    if let Some(option) = printed {
        return Err(CliError::usage(format!("`--tui` shows no `{option}`"))
            .hint("leave out one of both: without `--tui` the table is printed"));
    }
    if !terminal::can_show_screens() {
        return Err(
            CliError::usage("`--tui` needs a terminal that can move its cursor")
                .hint("without it the table is printed"),
        );
    }
    Ok(true)
}

/// The first option that is about the printed table, or about something that is not a table at all.
fn printed_only(args: &ReportArgs) -> Option<&'static str> {
    let options = [
        (args.stdio, "--stdio"),
        (args.json, "--json"),
        (args.drawing.svg.is_some(), "--svg"),
        (args.drawing.folded.is_some(), "--folded"),
        (args.header, "--header"),
        (args.header_only, "--header-only"),
        (args.show_info, "--show-info"),
        (args.sort.is_some(), "--sort"),
        (args.fields.is_some(), "--fields"),
        (args.call_graph.is_some(), "--call-graph"),
        (args.caller_first, "-G"),
        (args.branch_stack, "--branch-stack"),
        (args.percent_limit.is_some(), "--percent-limit"),
        (args.percentage.is_some(), "--percentage"),
        (args.no_children, "--no-children"),
        (args.show_nr_samples, "--show-nr-samples"),
        (args.show_total_period, "--show-total-period"),
        (args.show_cpu_utilization, "--show-cpu-utilization"),
        (args.hide_unresolved, "--hide-unresolved"),
        (args.field_separator.is_some(), "--field-separator"),
        (!args.column_widths.is_empty(), "--column-widths"),
        (args.no_group, "--no-group"),
        (args.hierarchy, "--hierarchy"),
        (args.ignore_callees.is_some(), "--ignore-callees"),
        (args.parent.is_some(), "--parent"),
        (args.exclude_other, "--exclude-other"),
        (args.threads, "--threads"),
        (args.stdio_color.is_some(), "--stdio-color"),
        (args.quiet, "--quiet"),
        (args.verbose, "--verbose"),
    ];
    let asked = options.into_iter().find(|(asked, _)| *asked);
    asked.map(|(_, option)| option)
}

/// What is noted of each sample for the screens.
pub fn details() -> Wanted {
    Wanted {
        slices: Some(SLICES),
        lines: true,
        ..Wanted::default()
    }
}

/// Shows the screens over a recording that was read with [`details`], until somebody quits.
///
/// # Errors
/// A message.
pub fn run(args: &ReportArgs, input: LoadedRecording, filter: &Filter) -> Outcome {
    let history = history(&input, filter, !args.input.no_inline);
    if history.span().is_none() {
        return Err(CliError::new("no sample passes the filters").into());
    }
    // Only now: until the recording is read, Ctrl-C ends the program.
    let not_listening = failed("could not wait for signals");
    signals::block().map_err(&not_listening)?;
    let stops = tui_source::listen_to_stops().map_err(not_listening)?;
    let requests = EndRequests::listen()?;
    if !tui_source::wait_for_foreground(&requests) {
        return Ok(0);
    }
    let mut browsed = Browsed {
        facts: facts(&args.input.input, &input),
        history,
        path: args.input.input.clone(),
        name: suggested_name(&args.input.input),
        input,
        signals: Signals::new(&requests, Some(stops)),
    };
    let options = Options {
        color: terminal::has_colored_screens(),
        refresh: std::time::Duration::ZERO,
    };
    let shown = prof_tui::run(&mut browsed, &options);
    shown.map_err(failed("could not use the terminal"))?;
    Ok(0)
}

/// `perf` for `perf.data`: what pictures of it are called.
fn suggested_name(path: &Path) -> String {
    match path.file_stem() {
        Some(stem) if path.as_os_str() != "-" => stem.to_string_lossy().into_owned(),
        _ => "recording".to_owned(),
    }
}

/// The samples that pass, slice by slice.
fn history(input: &LoadedRecording, filter: &Filter, inline: bool) -> History {
    let profile = &input.profile;
    let passes = filter.test(profile, &input.names, inline);
    let mut samples: Vec<(u64, SampleKey, Weight)> = (0..profile.events.len() as u16)
        .flat_map(|event| profile.detailed_samples(event))
        .filter(|(key, ..)| passes(key))
        .map(|(key, detail, weight)| (profile.detail(detail).interval, key, weight))
        .collect();
    samples.sort_by_key(|&(at, ..)| at);
    let mut history = History::recorded();
    let (Some(&(first, ..)), Some(&(last, ..))) = (samples.first(), samples.last()) else {
        return history;
    };
    let processes = &input.tracker.processes;
    let names = Samples {
        profile,
        names: &input.names,
        dsos: &profile.dsos,
        comms: &profile.comms,
        inline,
        process_name: &|pid| {
            let comm = processes.comm_of(pid, Tid(pid.0))?;
            Some(processes.comms.display(comm).into_owned())
        },
    };
    let mut intake = Intake::new(&mut history, names);
    let part = input.recorded.and(profile.times()); // not all of it was read
    let (begin, end) = part.or(input.span()).unwrap_or((first, last));
    let first = first.min(begin);
    let length = (end.saturating_sub(first) / SLICES + 1).max(1);
    let mut rest = &samples[..];
    let mut start = first;
    while !rest.is_empty() || start < end {
        let next = start.saturating_add(length);
        let (slice, after) = rest.split_at(rest.partition_point(|&(at, ..)| at < next));
        let span = start.max(begin)..next.min(end.saturating_add(1)).max(start.max(begin) + 1);
        // A slice without samples is a stretch of time, too.
        intake.add(span, slice.iter().map(|&(_, key, weight)| (key, weight)));
        rest = after;
        start = next;
    }
    history
}

/// What the header says: which file, of which machine, by which command.
fn facts(path: &Path, input: &LoadedRecording) -> Facts {
    let features = input.recording.features();
    let words = [
        Some(short_path(path)),
        header::captured(path, features),
        features.hostname.clone(),
        (!features.cmdline.is_empty()).then(|| features.cmdline.join(" ")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let losses = input.profile.losses;
    Facts {
        target: words.join("  "),
        machine_cpus: features.nr_cpus_online,
        events: event_infos(input.recording.events()),
        lost: losses.lost(),
        throttled: losses.throttled,
        clock: features.clock.and_then(|clock| header::local_clock(&clock)),
        notes: input.recording.warnings().to_vec(),
        ..Facts::default()
    }
}

/// A path that leaves room for the rest of the line: of a long one the file's name.
fn short_path(path: &Path) -> String {
    const ROOM: usize = 32;
    let text = path.display().to_string();
    match path.file_name() {
        Some(name) if text.chars().count() > ROOM => format!("…/{}", name.to_string_lossy()),
        _ => text,
    }
}

/// A recording that is looked at.
struct Browsed<'a> {
    input: LoadedRecording,
    history: History,
    facts: Facts,
    path: PathBuf,
    name: String,
    signals: Signals<'a>,
}

impl Source for Browsed<'_> {
    fn is_live(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn version(&self) -> u64 {
        self.history.version()
    }

    fn look(&self, see: &mut dyn FnMut(&History)) {
        see(&self.history);
    }

    fn reset(&mut self) {} // a recording stays what it is

    fn suggested_file(&self) -> String {
        tui_source::suggested_file(&self.name)
    }

    fn write(&mut self, path: &Path, window: &Window<'_>) -> Result<String, String> {
        if tui_source::is_picture(path) {
            return tui_source::draw(path, window, &self.name, &self.facts);
        }
        let written = self.write_records(path, window.span);
        let samples = written.map_err(|error| error.in_one_line())?;
        let samples = thousands(samples);
        let name = path.display();
        Ok(format!(
            "wrote {samples} samples to {name}{}",
            tui_source::without_filters(window)
        ))
    }

    fn code(&mut self, dso: DsoId, address: u64) -> Result<(Arc<str>, FunctionCode), String> {
        let LoadedRecording { namer, profile, .. } = &mut self.input;
        let file = profile.dsos.get(dso);
        let found = namer.resolve(dso, file, &[DsoAddr(address)]).pop();
        tui_source::code(found, |symbol| {
            namer.code(dso, file, symbol, AsmSyntax::Att)
        })
    }

    fn news(&mut self) -> Option<Result<String, String>> {
        None
    }

    fn request(&mut self) -> Option<Request> {
        self.signals.request()
    }

    fn stop(&mut self) {
        self.signals.stop();
    }
}

impl Browsed<'_> {
    /// Writes the samples of a range, and all that is needed to read them; returns how many.
    fn write_records(&mut self, path: &Path, span: &Range<u64>) -> Result<u64, CliError> {
        let whole = self.history.span().is_none_or(|whole| whole == *span);
        let recording = &mut self.input.recording;
        let features = || Ok(recording.features().clone());
        let mut output = Output::file(path, recording.events(), None, features)?;
        let mut stored = recording.stored_names().cloned();
        let mut ends = ChainEnds::default();
        let mut samples = 0;
        let mut written = Ok(());
        input::for_each(recording, &self.path, |item| {
            match &item.decoded.record {
                Record::Sample(sample) => {
                    let inside = sample.time.map_or(whole, |time| span.contains(&time));
                    if !inside {
                        return;
                    }
                    samples += 1;
                    ends.push(item.chain_end.unwrap_or_default());
                }
                _ if item.raw.kind >= record::HEADER_ATTR => return, // not of the kernel
                _ => {}
            }
            output.buffer().extend_from_slice(item.raw.bytes);
            if written.is_ok() {
                written = output.pass_on();
            }
        })?;
        if samples == 0 {
            return Err(CliError::new("there is no sample in this range"));
        }
        if let Some(stored) = &mut stored {
            stored.ends = ends;
            stored.counters.samples = samples;
        }
        let features = recording.features().clone();
        output.finish(features, stored.unwrap_or_else(StoredNames::default))?;
        Ok(samples)
    }
}
