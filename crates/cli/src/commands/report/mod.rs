//! `prof report`: where the time of a recording went.
//!
//! In: a recording. Out: tables on stdout, flame graphs and folded stacks in files, or screens.
//! Elsewhere: grouping samples into rows and printing them (`prof-report`).

mod args; // what to show, and how
mod interactive; // on a terminal

use std::io::{self, BufWriter, Write};

use prof_event::abi::sample;
use prof_model::printable;
use prof_perfdata::Recording;
use prof_profile::RecordingFacts;
use prof_report::{
    CallGraph, ChainOrder, Column, ExportData, Fields, Filter, JsonExport, Pattern, ReportOptions,
    ThreadState, parse_fields, parse_sort, summarize_waits, write_wait_places, write_wait_states,
};

use prof_profile::Unit;
use prof_session::{BranchUse, LoadedRecording, Wanted};

use crate::export::{self, Exports};
use crate::header;
use crate::input;
use crate::messages::missing_names::remedies;
use crate::messages::{CliError, Failure, Outcome};
use crate::printed;
use crate::sampling;
use crate::terminal;
pub use args::ReportArgs;

/// Runs `prof report`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &ReportArgs) -> Outcome {
    let mut options = options(args)?;
    if args.header_only {
        let recording = input::open(&args.input.input)?;
        return print_lines(&header_lines(args, &recording));
    }
    if interactive::wanted(args)? {
        let input = input::read(&args.input.read_options(), interactive::details())?;
        if input.profile.is_empty() {
            return Err(no_samples(args, &input).into());
        }
        return interactive::run(args, input, &options.filter);
    }
    let input = input::read(&args.input.read_options(), wanted(args, &options))?;
    check_branches(&input, &options)?;
    options.branches = input.counts_branches;
    let features = input.recording.features();
    let topology = features.cpu_topology.iter();
    let cpus = topology.flat_map(|topology| &topology.cpus);
    options.sockets = cpus.map(|&(_, socket)| socket).collect();
    options.groups = match args.no_group {
        true => Vec::new(),
        false => input::event_groups(&input.recording, args.group),
    };
    if let Some(stored) = input.recording.stored_names() {
        options.remarks = stored.counters.notes.clone();
    }
    if args.header && !args.quiet {
        options.header = Some(header_lines(args, &input.recording));
    }
    if input.profile.is_empty() {
        return Err(no_samples(args, &input).into());
    }
    let exports = args.drawing.exports(args.quiet);
    if exports.any() {
        export(&exports, &input, &options, args.drawing.idle)?;
    } else {
        print(args, &input, &options)?;
    }
    if args.verbose {
        verbose(&input);
    }
    std::mem::forget(input); // the process ends: tables of all sizes need no taking apart
    Ok(0)
}

fn header_lines(args: &ReportArgs, recording: &Recording) -> Vec<String> {
    header::lines(recording, &args.input.input, args.show_info)
}

/// What must be noted of each sample for the keys of a report.
fn wanted(args: &ReportArgs, options: &ReportOptions) -> Wanted {
    let has = |key: Column| options.asked_columns().any(|it| it == key);
    // Where all events are tracepoints their text is the usual key.
    let is_usual = options.sort.is_none() && !matches!(options.fields, Some(Fields::Only(_)));
    Wanted {
        interval: has(Column::Time).then_some(args.time_quantum.as_nanos() as u64),
        slices: None,
        text: has(Column::Trace),
        wakers: has(Column::Waker),
        usual_text: is_usual,
        counters: args.threads,
        lines: options.needs_lines(),
        data: false,
        branches: branches(args),
        only_frames: false,
        log: false,
    }
}

/// Which recordings are read by branches: pictures are of stacks.
fn branches(args: &ReportArgs) -> BranchUse {
    let is_picture = args.drawing.exports(args.quiet).any();
    match args.branch_stack {
        true => BranchUse::Counted,
        false if args.no_branch_stack || is_picture => BranchUse::Ignored,
        false => BranchUse::CountedIfUsual,
    }
}

/// Refuses what only branches have where there are none.
fn check_branches(input: &LoadedRecording, options: &ReportOptions) -> Result<(), CliError> {
    let mut events = input.recording.events().events().iter();
    let are_recorded = events.any(|event| event.attr.sample_type & sample::BRANCH_STACK != 0);
    if input.counts_branches && !are_recorded {
        return Err(CliError::new("the recording has no branches")
            .hint("`perf record -b` records them, where the CPU can; prof reads such files"));
    }
    if input.counts_branches && input.profile.is_empty() {
        return Err(CliError::new("no sample of the recording has a branch")
            .hint("`--no-branch-stack` has rows for the samples themselves"));
    }
    let mut of_branches = options.asked_columns().filter(|key| key.is_of_branch());
    match of_branches.next() {
        Some(key) if !input.counts_branches => {
            let what = format!("only branches have the key `{}`", key.name());
            Err(CliError::usage(what)
                .hint("`-b` has rows for them, of what `perf record -b` wrote"))
        }
        _ => Ok(()),
    }
}

fn no_samples(args: &ReportArgs, input: &LoadedRecording) -> CliError {
    let none = input::no_samples(&args.input.input, input, args.input.time.as_ref());
    match input.recorded {
        Some(_) => none,
        None => none.hint("the target may have been idle; record while it works, or for longer"),
    }
}

fn print_lines(lines: &[String]) -> Outcome {
    let mut out = printed::stdout();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(0)
}

fn print(
    args: &ReportArgs,
    input: &LoadedRecording,
    options: &ReportOptions,
) -> Result<(), Failure> {
    if args.json {
        let json = JsonExport {
            options: options.clone(),
        };
        let facts = input.facts();
        let data = export_data(input, &facts, options, false);
        export::write_stdout(&json, &data, printed::json_stdout())?;
        return Ok(());
    }
    let mut out = BufWriter::new(printed::colored_stdout(options.color));
    if !args.quiet {
        states_of_threads(&mut out, input)?;
    }
    let any = prof_report::write_report(&mut out, &input.profile, &input.names, options)?;
    if args.threads {
        counters(&mut out, input)?;
    }
    out.flush()?;
    if !any {
        return Err(CliError::new("no sample passes the filters").into());
    }
    Ok(())
}

/// Of so many places where threads waited it is told who ended that.
const PLACES: usize = 5;

/// What threads did, where their waits were recorded.
fn states_of_threads(out: &mut impl Write, input: &LoadedRecording) -> io::Result<()> {
    let Some((first, last)) = input.span() else {
        return Ok(());
    };
    for (index, event) in input.profile.events.iter().enumerate() {
        if event.unit == Unit::WaitTime {
            let (profile, names) = (&input.profile, &input.names);
            let waits = summarize_waits(profile, names, index as u16, (first, last), PLACES);
            write_wait_states(out, &waits, "# ")?;
            if waits.places.iter().any(|place| place.waker.is_some()) {
                write_wait_places(out, &waits, "# ")?;
            }
        }
    }
    Ok(())
}

/// What each thread counted in all.
fn counters(out: &mut impl Write, input: &LoadedRecording) -> io::Result<()> {
    let events = input.profile.events.iter();
    let events: Vec<_> = events.map(|event| printable(&event.name)).collect();
    let widths: Vec<usize> = events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let counters = input.counters.values();
            let digits = counters.map(|counters| counters[index].to_string().len());
            digits.max().unwrap_or(0).max(event.len())
        })
        .collect();
    let titles = events.iter().zip(&widths);
    let right = |text: &str, width| [&" ".repeat(width - text.len()), text].concat();
    let titles = titles.map(|(event, &width)| right(event, 2 + width));
    writeln!(
        out,
        "# {:>5}  {:>5}{}",
        "PID",
        "TID",
        titles.collect::<String>()
    )?;
    for ((pid, tid), counters) in &input.counters {
        let counters = counters.iter().zip(&widths);
        let counters = counters.map(|(counter, &width)| right(&counter.to_string(), 2 + width));
        writeln!(
            out,
            "  {:>5}  {:>5}{}",
            pid.0,
            tid.0,
            counters.collect::<String>()
        )?;
    }
    Ok(())
}

fn export_data<'a>(
    input: &'a LoadedRecording,
    facts: &'a RecordingFacts,
    options: &'a ReportOptions,
    idle: bool,
) -> ExportData<'a> {
    ExportData {
        profile: &input.profile,
        names: &input.names,
        processes: &input.tracker.processes,
        facts,
        filter: &options.filter,
        inline: options.inline,
        idle,
    }
}

fn export(
    exports: &Exports,
    input: &LoadedRecording,
    options: &ReportOptions,
    idle: bool,
) -> Result<(), Failure> {
    exports.write(&export_data(input, &input.facts(), options, idle))
}

/// What a doubtful reader wants to know: which stacks are cut, what has no name, and why.
fn verbose(input: &LoadedRecording) {
    let profile = &input.profile;
    for event in 0..profile.events.len() as u16 {
        let summary = prof_report::summarize(profile, &input.names, event, 0);
        let _ = prof_report::write_summary(&mut printed::stderr(), &summary);
        for hint in remedies(&summary, &input.tracker.processes) {
            eprintln!("hint: {hint}");
        }
    }
}

fn options(args: &ReportArgs) -> Result<ReportOptions, CliError> {
    let wrong = |error: &dyn std::error::Error| CliError::usage(error.to_string());
    let mut options = ReportOptions {
        children: !args.no_children,
        show_samples: args.show_nr_samples,
        show_period: args.show_total_period,
        show_cpu_utilization: args.show_cpu_utilization,
        separator: args.field_separator.clone(),
        widths: args.column_widths.clone(),
        max_stack: args.input.max_stack,
        quiet: args.quiet,
        filter: filter(args)?,
        relative_percent: args.percentage.as_deref() == Some("relative"),
        hide_unresolved: args.hide_unresolved,
        inline: !args.input.no_inline,
        color: terminal::has_colored_text(args.stdio_color.as_deref()),
        hierarchy: args.hierarchy,
        ignore_callees: pattern(args.ignore_callees.as_deref())?,
        parent: pattern(args.parent.as_deref())?,
        show_parent: args.parent.is_some(),
        exclude_other: args.exclude_other,
        time_slices: args.input.time.as_ref().map(|slices| slices.text.clone()),
        ..ReportOptions::default()
    };
    if let Some(limit) = args.percent_limit {
        if !(0.0..=100.0).contains(&limit) {
            return Err(
                CliError::usage(format!("`--percent-limit {limit}` is no share"))
                    .hint("between 0 and 100"),
            );
        }
        options.set_percent_limit(limit);
    }
    let sort = args
        .sort
        .as_deref()
        .map(|text| text.strip_prefix('+').ok_or(text));
    match sort {
        Some(Ok(more)) => {
            options.also_sort = Some(parse_sort(more).map_err(|error| wrong(&error))?);
        }
        Some(Err(text)) => options.sort = Some(parse_sort(text).map_err(|error| wrong(&error))?),
        None => {}
    }
    if let Some(text) = &args.fields {
        options.fields = Some(parse_fields(text).map_err(|error| wrong(&error))?);
    }
    if let Some(text) = &args.call_graph {
        let min_percent = options.call_graph.min_percent;
        options.call_graph = CallGraph::parse(text).map_err(|error| wrong(&error))?;
        if args.percent_limit.is_some() {
            options.call_graph.min_percent = min_percent;
        }
    }
    if args.caller_first || args.drawing.inverted && !args.drawing.exports(args.quiet).any() {
        options.call_graph.order = Some(ChainOrder::Caller);
    }
    Ok(options)
}

fn filter(args: &ReportArgs) -> Result<Filter, CliError> {
    let part = args.symbol_filter.as_ref().or(args.filter.as_ref());
    let cpus = args.cpu.as_deref().map(sampling::cpus).transpose()?;
    let states = args
        .state
        .iter()
        .map(|name| state(name))
        .collect::<Result<_, _>>()?;
    Ok(Filter {
        states,
        dsos: args.dsos.clone(),
        symbols: args.symbols.clone(),
        symbol_part: part.cloned().unwrap_or_default(),
        cpus: cpus.unwrap_or_default(),
        ..args.input.filter()
    })
}

fn state(name: &str) -> Result<ThreadState, CliError> {
    ThreadState::by_name(name).ok_or_else(|| {
        let known = ThreadState::ALL.map(ThreadState::name).join(", ");
        CliError::usage(format!("`--state {name}` is not known")).hint(format!("one of {known}"))
    })
}

fn pattern(text: Option<&str>) -> Result<Option<Pattern>, CliError> {
    let pattern = text.map(Pattern::new).transpose();
    pattern.map_err(|error| CliError::usage(error.to_string()))
}
