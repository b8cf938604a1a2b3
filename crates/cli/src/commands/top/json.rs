//! `--json`: one object a line.

use std::io::Write;
use std::sync::Arc;

use prof_profile::EventInfo;
use prof_sampler::Clock;
use prof_tui::{Key, Picture};
use serde::Serialize;

use super::namer::{Shared, State};
use super::processes::SeenProcesses;
use super::windows::{Stretch, WindowOptions, for_each_window, path_of};
use crate::messages::Failure;
use crate::printed;
use crate::signals::EndRequests;

/// Grows when a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    schema_version: u32,
    time: f64, // of the window's end, in seconds since 1970
    target: &'a str,
    container: Option<&'a str>,
    ended: Option<&'a str>,
    event: &'a str,
    rate: String,
    window_seconds: f64,
    samples: u64,
    idle_samples: u64,
    lost: u64,
    throttled: u64,
    whole_stacks_percent: Option<f64>,
    cpu: Option<Cpu>,
    prof_cpu_percent: Option<f64>,
    prof_memory_bytes: Option<u64>,
    notes: &'a [String],
    heaviest_path: Vec<Step>,
    functions: Vec<Function<'a>>,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Cpu {
    used: f64,
    available: f64,
    quota: Option<f64>,
    throttled_ms_per_second: Option<f64>,
}

#[derive(Serialize)]
struct Step {
    name: String,
    times: usize,
    percent: f64,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    module: &'a str,
    kind: &'a str,
    self_percent: f64,
    total_percent: f64,
    self_samples: u64,
    total_samples: u64,
    change_points: Option<f64>,
    change_significant: Option<bool>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: i32,
    name: &'a str,
    arguments: Option<&'a str>,
    user: Option<&'a str>,
    container: Option<&'a str>,
    memory_bytes: Option<u64>,
    self_percent: f64,
    self_samples: u64,
}

/// Prints an object after every delay.
///
/// # Errors
/// Nobody reads it any more.
pub fn print(
    shared: &Arc<Shared>,
    requests: &EndRequests,
    options: &WindowOptions,
) -> Result<(), Failure> {
    let mut seen = SeenProcesses::default();
    for_each_window(shared, requests, options, |state, stretch, _| {
        let mut line = serde_json::to_vec(&object(state, stretch, &mut seen))?;
        line.push(b'\n');
        let mut out = printed::json_stdout();
        out.write_all(&line)?;
        out.flush()
    })
}

fn object<'a>(state: &'a State, stretch: &'a Stretch, seen: &'a mut SeenProcesses) -> Object<'a> {
    let picture = &stretch.functions;
    let facts = &state.facts;
    let event = facts.events.first();
    Object {
        schema_version: SCHEMA_VERSION,
        time: wall_time(picture.span.end),
        target: &facts.target,
        container: facts.container.as_deref(),
        ended: facts.ended.as_deref(),
        event: event.map_or("", |event| &event.name),
        rate: event.map_or_else(String::new, EventInfo::rate),
        window_seconds: picture.seconds(),
        samples: picture.all.samples,
        idle_samples: picture.idle.samples,
        lost: facts.lost,
        throttled: facts.throttled,
        whole_stacks_percent: (picture.known > 0)
            .then(|| 100.0 * picture.whole as f64 / picture.known as f64),
        cpu: facts.cpu.map(|cpu| Cpu {
            used: cpu.used,
            available: cpu.available,
            quota: cpu.quota,
            throttled_ms_per_second: cpu.throttled.map(|time| time.as_secs_f64() * 1e3),
        }),
        prof_cpu_percent: facts.cost.map(|cost| cost.cpu_percent),
        prof_memory_bytes: facts.cost.map(|cost| cost.memory_bytes),
        notes: &facts.notes,
        heaviest_path: heaviest_path(picture),
        functions: functions(picture),
        processes: processes(&stretch.processes, seen),
    }
}

/// A time of the sampler's clock in seconds since 1970.
fn wall_time(at: u64) -> f64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let now = now.map_or(0.0, |time| time.as_secs_f64());
    now - Clock::MONOTONIC.now().saturating_sub(at) as f64 / 1e9
}

fn heaviest_path(picture: &Picture) -> Vec<Step> {
    let steps = path_of(picture).into_iter().map(|step| Step {
        name: step.name,
        times: step.times,
        percent: step.percent,
    });
    steps.collect()
}

fn functions(picture: &Picture) -> Vec<Function<'_>> {
    let functions = picture.rows.iter().filter_map(|row| {
        let Key::Function(function) = &row.key else {
            return None;
        };
        let change = picture.change(row);
        Some(Function {
            name: &function.name,
            module: &function.module,
            kind: function.kind.word(),
            self_percent: picture.percent(row.own),
            total_percent: picture.percent(row.total),
            self_samples: row.own.samples,
            total_samples: row.total.samples,
            change_points: change.map(|(change, _)| change),
            change_significant: change.map(|(_, significant)| significant),
        })
    });
    functions.collect()
}

fn processes<'a>(picture: &'a Picture, seen: &'a mut SeenProcesses) -> Vec<Process<'a>> {
    let rows = seen.rows(picture).into_iter().map(|row| Process {
        pid: row.process.pid.0,
        name: &row.process.name,
        arguments: row.facts.map(|it| it.arguments.as_str()),
        user: row.facts.map(|it| it.user.as_str()),
        container: row.facts.and_then(|it| it.container.as_deref()),
        memory_bytes: row.memory_bytes,
        self_percent: picture.percent(row.row.own),
        self_samples: row.row.own.samples,
    });
    rows.collect()
}
