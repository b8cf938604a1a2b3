//! `prof script`.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use prof_event::Record;
use prof_event::abi::event_type;
use prof_model::{Cpu, Resolution, VirtAddr};
use prof_perfdata::{Item, Recording, TracingData};
use prof_profile::{ScriptExtras, ScriptFrame, ScriptHead, ScriptSample};
use prof_report::{ScriptFields, ScriptOptions, ScriptWriter};

use crate::args::ScriptArgs;
use crate::error::{CliError, Outcome};
use crate::header;
use crate::input::{self, Input};
use crate::sampling;
use crate::script_events::{self, OtherRecords};
use crate::script_extras::{check_recorded, extras};
use crate::selection::{Selection, Wanted};
use crate::stage::Keep;
use crate::trace::Tracepoints;

/// Samples are handed to the thread that prints them so many at a time.
const BATCH: usize = 256;
/// So many batches may wait for it.
const WAITING: usize = 16;
/// Pipes hold as much.
const OUTPUT: usize = 1 << 16;

/// Runs `prof script`: one pass to find the names, one to print, in which a thread of its own makes
/// text of the samples.
///
/// # Errors
/// A message, or a closed pipe.
pub fn run(args: &ScriptArgs) -> Outcome {
    let cpus = args.cpu.as_deref().map(sampling::cpus).transpose()?;
    if args.header_only {
        let recording = input::open(&args.input)?;
        let mut out = io::stdout().lock();
        for line in header::lines(&recording, &args.input.input, args.show_info) {
            writeln!(out, "{line}")?;
        }
        return Ok(0);
    }
    let Input {
        mut recording,
        stage,
        names,
        namer,
        ..
    } = input::read(&args.input, wanted(args))?;
    let selection = Selection::new(&mut recording, &args.input, Wanted::default())?;
    if let Some(text) = &args.fields {
        check_recorded(text, recording.events().events())?;
    }
    let namer = RefCell::new(namer);
    let profile = stage.profile;
    let options = ScriptOptions {
        fields: args
            .fields
            .as_deref()
            .map(|text| fields(text, &profile))
            .transpose()?,
        inline: !args.input.no_inline,
        callchains: !args.hide_call_graph,
        max_stack: args.input.max_stack,
        nanoseconds: args.ns,
    };
    if args.header {
        let mut out = BufWriter::new(io::stdout().lock());
        for line in header::lines(&recording, &args.input.input, args.show_info) {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    let tracepoints = tracepoints(&recording);
    let writer = ScriptWriter::new(&profile, &names, options);
    let mut stage = input::stage(&recording, &args.input);
    let name = args.input.input.display().to_string();
    let mut clock = Clock {
        is_relative: args.reltime,
        is_delta: args.deltatime,
        start: None,
    };
    let others = OtherRecords::new(args);
    let (comms, pids, tids) = (&args.input.comms, &args.input.pid, &args.input.tid);
    let mut visit = |item: Item<'_>, batch: &mut Vec<Printed>| {
        stage.take_as(item.events, item.decoded, item.chain_end, Keep::Nothing);
        let Record::Sample(sample) = &item.decoded.record else {
            let cpu = item.decoded.id.cpu.map(Cpu);
            let is_on = |cpus: &Vec<Cpu>| cpu.is_some_and(|cpu| cpus.contains(&cpu));
            if others.wants(&item.raw) && cpus.as_ref().is_none_or(is_on) {
                batch.push(Printed::Other {
                    event: item.decoded.event as u16,
                    head: others.head(&item.raw, item.decoded, &stage, &mut clock),
                    text: script_events::text(&item.raw, &item.decoded.record, |addr| {
                        namer.borrow_mut().kernel_function(&stage, addr)
                    }),
                });
            }
            return;
        };
        if !selection.has(sample.time) {
            return;
        }
        let comm = stage.tracker.processes.comm_of(sample.pid, sample.tid);
        let comm_passes = || {
            let name = comm.map(|comm| stage.tracker.processes.comms.display(comm));
            name.is_some_and(|name| comms.iter().any(|wanted| *wanted == name))
        };
        let passes = (comms.is_empty() || comm_passes())
            && (pids.is_empty() || pids.contains(&sample.pid.0))
            && (tids.is_empty() || tids.contains(&sample.tid.0))
            && cpus
                .as_ref()
                .is_none_or(|cpus| sample.cpu.is_some_and(|cpu| cpus.contains(&cpu)));
        if !passes {
            return;
        }
        let event = &item.events.events()[item.decoded.event];
        let named = stage.frames().filter_map(|(key, addr)| {
            let frame = profile.frame_id(key)?;
            Some(ScriptFrame { addr, frame })
        });
        let mut frames = Vec::with_capacity(named.size_hint().1.unwrap_or(0));
        frames.extend(named);
        let is_in = |frame: &ScriptFrame| match names.get(frame.frame) {
            Resolution::Named { symbol, .. } => {
                let mut wanted = args.symbols.iter();
                wanted.any(|name| **name == *symbol.name)
            }
            Resolution::Unresolved(_) => false,
        };
        if !args.symbols.is_empty() && !frames.first().is_some_and(is_in) {
            return;
        }
        let script = ScriptSample {
            event: item.decoded.event as u16,
            pid: sample.pid,
            tid: sample.tid,
            comm,
            cpu: sample.cpu,
            time: sample.time.map(|time| clock.shown(time)),
            period: sample.period,
            ip: sample.ip,
            addr: sample.addr.map(VirtAddr),
            data: stage.data(event, sample).and_then(|(addr, key)| {
                let frame = profile.frame_id(&key)?;
                Some(ScriptFrame { addr, frame })
            }),
            frames,
            trace: (event.attr.kind == event_type::TRACEPOINT).then(|| {
                let raw = sample.raw.unwrap_or_default();
                tracepoints.print(event.attr.config, raw, &|addr| {
                    namer.borrow_mut().kernel_function(&stage, addr)
                })
            }),
            extras: match args.fields {
                Some(_) => extras(sample, &event.attr, &item.raw, &stage.machine),
                None => ScriptExtras::default(),
            },
        };
        batch.push(Printed::Sample(script));
    };
    let printed = thread::scope(|scope| -> Result<io::Result<()>, CliError> {
        let (to_printer, batches) = sync_channel(WAITING);
        let printer = scope.spawn(move || print(&writer, &batches));
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_over = false; // nobody reads on
        input::for_each(&mut recording, &name, |item| {
            if is_over {
                return;
            }
            visit(item, &mut batch);
            if batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                is_over = to_printer.send(full).is_err();
            }
        })?;
        let _ = to_printer.send(batch); // the printer tells why it is gone
        drop(to_printer);
        Ok(printer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    printed?;
    std::mem::forget((profile, names)); // the process ends: tables of all sizes need no taking apart
    Ok(0)
}

/// What is printed.
#[allow(clippy::large_enum_variant)] // nearly all are samples
enum Printed {
    Sample(ScriptSample),
    /// A record beside the samples.
    Other {
        event: u16,
        head: Option<ScriptHead>,
        text: String,
    },
}

fn print(writer: &ScriptWriter<'_>, batches: &Receiver<Vec<Printed>>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(OUTPUT, io::stdout().lock());
    for printed in batches.iter().flatten() {
        match printed {
            Printed::Sample(sample) => writer.write(&mut out, &sample)?,
            Printed::Other { event, head, text } => {
                let start = head.map(|head| writer.start(event, &head));
                writeln!(out, "{}{text}", start.unwrap_or_default())?;
            }
        }
    }
    out.flush()
}

/// What times are counted from.
pub struct Clock {
    is_relative: bool,
    is_delta: bool,
    start: Option<u64>,
}

impl Clock {
    /// A time as it is printed.
    pub fn shown(&mut self, time: u64) -> u64 {
        if !(self.is_relative || self.is_delta) {
            return time;
        }
        let start = self.start.unwrap_or(time);
        if self.is_delta || self.start.is_none() {
            self.start = Some(time);
        }
        time.saturating_sub(start)
    }
}

/// Source lines are what only debug info has.
fn wanted(args: &ScriptArgs) -> Wanted {
    let fields = args.fields.as_deref().unwrap_or_default();
    Wanted {
        lines: fields.contains("srcline"),
        data: fields.contains("addr"),
        only_frames: fields.is_empty(), // else what is usual depends on which events have samples
        ..Wanted::default()
    }
}

/// Changes the usual fields of the first event that has samples.
fn fields(text: &str, profile: &prof_profile::Profile) -> Result<ScriptFields, CliError> {
    let event = profile.events.iter().enumerate();
    let mut event = event.filter(|(index, _)| profile.total(*index as u16).samples > 0);
    let usual = event
        .next()
        .map_or(ScriptFields::default_for(false, true), |(_, event)| {
            ScriptFields::default_for(event.is_tracepoint, event.has_callchain)
        });
    usual
        .apply(text)
        .map_err(|error| CliError::usage(error.to_string()))
}

/// How to print the tracepoints of a recording.
fn tracepoints(recording: &Recording) -> Tracepoints {
    let data = recording.features().tracing_data.as_ref();
    let data = data.and_then(|data| TracingData::parse(data).ok());
    Tracepoints::new(data.unwrap_or_default())
}
