//! `prof evlist`: which events a recording has.

use std::io::{self, Write};
use std::path::PathBuf;

use prof_event::Event;
use prof_event::abi::event_type;
use prof_model::printable;
use prof_perfdata::EventGroup;
use prof_session::tracepoints;
use prof_tracepoint::Tracepoints;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::input;
use crate::messages::{CliError, Outcome};
use crate::printed;

/// Counts up when a field of `--json` changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// `prof evlist`.
#[derive(clap::Args, Debug, Clone)]
pub struct EvlistArgs {
    /// The recording; `-` for stdin
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    pub input: PathBuf,

    /// Every field of each event's attr that is set
    #[arg(short, long)]
    pub verbose: bool,

    /// How often each event was sampled
    #[arg(short = 'F', long)]
    pub freq: bool,

    /// Events that were counted together, in braces
    #[arg(short, long, conflicts_with_all = ["verbose", "freq", "trace_fields"])]
    pub group: bool,

    /// The fields of tracepoints
    #[arg(long)]
    pub trace_fields: bool,

    /// All of it as JSON, for other programs
    #[arg(long, conflicts_with_all = ["verbose", "freq", "group", "trace_fields"])]
    pub json: bool,

    /// Accepted because perf has it: read files whoever owns them
    #[arg(short, long)]
    pub force: bool,
}

/// Runs `prof evlist`.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &EvlistArgs) -> Outcome {
    let mut recording = input::open(&args.input)?;
    if recording.records().is_none() {
        // a pipe names its events on the way
        input::for_each(&mut recording, &args.input, |_| {})?;
    }
    let tracepoints = tracepoints::read(&recording).map_err(|it| CliError::from_error(&it))?;
    let events = recording.events().events();
    let mut out = match args.json {
        true => printed::json_stdout(),
        false => printed::stdout(),
    };
    if args.json {
        let list = EventList {
            schema_version: SCHEMA_VERSION,
            command: "evlist",
            events: events
                .iter()
                .map(|event| json(event, &tracepoints))
                .collect(),
            groups: recording.features().groups.iter().map(json_group).collect(),
        };
        serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if args.group {
        for line in grouped(events, &recording.features().groups) {
            writeln!(out, "{}", printable(&line))?;
        }
    } else {
        for event in events {
            let line = line(event, args, &tracepoints);
            writeln!(out, "{}", printable(&line))?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn line(event: &Event, args: &EvlistArgs, tracepoints: &Tracepoints) -> String {
    let name = &event.name;
    if args.trace_fields {
        return match trace_fields(event, tracepoints) {
            Some(fields) => format!("{name}: trace_fields: {}", fields.join(",")),
            None => format!("{name}: (not a tracepoint)"),
        };
    }
    if args.verbose {
        let fields = event.attr.describe().into_iter();
        let fields: Vec<_> = fields.map(|(key, text)| format!("{key}: {text}")).collect();
        return format!("{name}: {}", fields.join(", "));
    }
    if args.freq {
        let period = event.attr.sample_period_or_freq;
        return match event.attr.frequency() {
            Some(frequency) => format!("{name}: sample_freq={frequency}"),
            None => format!("{name}: sample_period={period}"),
        };
    }
    name.clone()
}

/// What a tracepoint tells beyond what all of them do.
fn trace_fields<'a>(event: &Event, tracepoints: &'a Tracepoints) -> Option<Vec<&'a str>> {
    if event.attr.kind != event_type::TRACEPOINT {
        return None;
    }
    let fields = tracepoints.format(event.attr.config)?.own_fields();
    Some(fields.map(|field| field.name.as_str()).collect())
}

/// One line for a group, one for each event outside of groups.
fn grouped(events: &[Event], groups: &[EventGroup]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut next = 0;
    while let Some(event) = events.get(next) {
        let leads = |group: &&EventGroup| group.leader as usize == next && group.members > 0;
        let Some(group) = groups.iter().find(leads) else {
            lines.push(event.name.clone());
            next += 1;
            continue;
        };
        let members = events[next..].iter().take(group.members as usize);
        let names: Vec<_> = members.map(|event| event.name.as_str()).collect();
        let name = group_name(group).unwrap_or_default();
        lines.push(format!("{name}{{{}}}", names.join(",")));
        next += names.len();
    }
    lines
}

fn group_name(group: &EventGroup) -> Option<&str> {
    Some(group.name.as_str()).filter(|name| *name != "{anon_group}")
}

#[derive(Serialize)]
struct EventList<'a> {
    schema_version: u32,
    command: &'static str,
    events: Vec<JsonEvent<'a>>,
    groups: Vec<JsonGroup<'a>>,
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    name: &'a str,
    sample_freq: Option<u64>,
    sample_period: Option<u64>,
    ids: &'a [u64],
    attr: Map<String, Value>,
    trace_fields: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct JsonGroup<'a> {
    name: Option<&'a str>,
    leader: u32,
    members: u32,
}

fn json<'a>(event: &'a Event, tracepoints: &'a Tracepoints) -> JsonEvent<'a> {
    let frequency = event.attr.frequency();
    let fields = event.attr.describe().into_iter();
    JsonEvent {
        name: &event.name,
        sample_freq: frequency,
        sample_period: match frequency {
            Some(_) => None,
            None => Some(event.attr.sample_period_or_freq),
        },
        ids: &event.ids,
        attr: fields
            .map(|(key, text)| (key.to_owned(), Value::from(text)))
            .collect(),
        trace_fields: trace_fields(event, tracepoints),
    }
}

fn json_group(group: &EventGroup) -> JsonGroup<'_> {
    JsonGroup {
        name: group_name(group),
        leader: group.leader,
        members: group.members,
    }
}
