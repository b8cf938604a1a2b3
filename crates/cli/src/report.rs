//! `prof report`.

use std::io::{self, BufWriter, IsTerminal, Write};

use prof_model::{Cpu, Pid, Tid};
use prof_report::{CallGraph, ChainOrder, Filter, ReportOptions, parse_fields, parse_sort};

use crate::args::{InputArgs, ReportArgs};
use crate::drawing::{self, Facts};
use crate::error::{CliError, Failure, Outcome};
use crate::header;
use crate::input::{self, Input};
use crate::sampling;

/// Runs `prof report`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &ReportArgs) -> Outcome {
    let mut options = options(args)?;
    if args.header_only {
        let recording = input::open(&args.input)?;
        return print_lines(&header::lines(&recording, &args.input.input, false));
    }
    let input = input::read(&args.input)?;
    if args.header && !args.quiet {
        options.header = Some(header::lines(&input.recording, &args.input.input, false));
    }
    if input.stage.profile.is_empty() {
        return Err(no_samples(&args.input).into());
    }
    if args.drawing.any() {
        draw(args, &input, &options)?;
    } else {
        print(&input, &options)?;
    }
    if args.verbose {
        verbose(&input);
    }
    Ok(0)
}

fn no_samples(args: &InputArgs) -> CliError {
    CliError::new(format!(
        "the recording `{}` has no samples",
        args.input.display()
    ))
    .hint("the target may have been idle; record while it works, or for longer")
}

fn print_lines(lines: &[String]) -> Outcome {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(0)
}

fn print(input: &Input, options: &ReportOptions) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let any = prof_report::write_report(&mut out, &input.stage.profile, &input.names, options)?;
    out.flush()?;
    if !any {
        return Err(CliError::new("no sample passes the filters").into());
    }
    Ok(())
}

fn draw(args: &ReportArgs, input: &Input, options: &ReportOptions) -> Result<(), Failure> {
    let profile = &input.stage.profile;
    let features = input.recording.features();
    let seconds = profile
        .times()
        .map_or(0.0, |(first, last)| (last - first) as f64 / 1e9);
    let event = &profile.events[0];
    let facts = Facts {
        target: features
            .hostname
            .clone()
            .unwrap_or_else(|| "flame graph".to_owned()),
        event: event.name.clone(),
        frequency: event.sample_freq,
        samples: (0..profile.events.len())
            .map(|event| profile.total(event as u16).samples)
            .sum(),
        seconds,
    };
    drawing::draw_filtered(
        profile,
        &input.names,
        &args.drawing,
        &facts,
        &options.filter,
        options.inline,
        args.quiet,
    )
}

/// What a doubtful reader wants to know: which stacks are cut, what has no name, and why.
fn verbose(input: &Input) {
    let profile = &input.stage.profile;
    for event in 0..profile.events.len() as u16 {
        let summary = prof_report::summarize(profile, &input.names, event, 0);
        let _ = prof_report::write_summary(&mut io::stderr(), &summary);
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
        color: wants_color(),
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
    if let Some(text) = &args.sort {
        options.sort = Some(parse_sort(text).map_err(|error| wrong(&error))?);
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
    if args.caller_first || args.drawing.inverted && !args.drawing.any() {
        options.call_graph.order = Some(ChainOrder::Caller);
    }
    Ok(options)
}

fn filter(args: &ReportArgs) -> Result<Filter, CliError> {
    let part = args.symbol_filter.as_ref().or(args.filter.as_ref());
    let cpus: Vec<Cpu> = args
        .cpu
        .as_deref()
        .map(sampling::cpus)
        .transpose()?
        .unwrap_or_default();
    Ok(Filter {
        comms: args.input.comms.clone(),
        dsos: args.dsos.clone(),
        symbols: args.symbols.clone(),
        symbol_part: part.cloned().unwrap_or_default(),
        pids: args.input.pid.iter().copied().map(Pid).collect(),
        tids: args.input.tid.iter().copied().map(Tid).collect(),
        cpus,
    })
}

fn wants_color() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("CLICOLOR_FORCE") {
        return true;
    }
    io::stdout().is_terminal() && !set("NO_COLOR")
}
