//! Reads a recording once more to print it: what is printed is more than its first pass has kept.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Builder};

use prof_event::Record;
use prof_event::abi::event_type;
use prof_model::{Cpu, VirtAddr};
use prof_perfdata::{Item, Recording};
use prof_profile::{Profile, ScriptExtras, ScriptHead, ScriptSample};
use prof_report::ScriptWriter;
use prof_tracepoint::Tracepoints;

use crate::args::ScriptArgs;
use crate::error::CliError;
use crate::hints;
use crate::input;
use crate::names::Namer;
use crate::script_events::{self, OtherRecords};
use crate::script_extras::extras;
use crate::script_filter::Filter;
use crate::selection::{Selection, Wanted};
use crate::stage::{Keep, Stage};
use crate::tracepoints;

/// Samples are handed to the thread that prints them so many at a time.
const BATCH: usize = 256;
/// So many batches may wait for it.
const WAITING: usize = 16;
/// Pipes hold as much.
const OUTPUT: usize = 1 << 16;

/// What is known from the first pass.
pub struct Known<'a> {
    /// The arguments.
    pub args: &'a ScriptArgs,
    /// The frames, and which events there are.
    pub profile: &'a Profile,
    /// Names for further addresses.
    pub namer: &'a mut Namer,
    /// Which samples are wanted.
    pub filter: &'a Filter<'a>,
}

/// Prints a recording, read anew; a thread of its own makes text of what this one reads.
///
/// # Errors
/// A message, or why writing ended.
pub fn print(
    recording: &mut Recording,
    known: Known<'_>,
    writer: &ScriptWriter<'_>,
) -> Result<io::Result<()>, CliError> {
    let input = &known.args.input;
    let selection = Selection::new(recording, input, Wanted::default())?;
    let mut reading = Reading {
        selection,
        stage: input::stage(recording, input),
        others: OtherRecords::new(known.args),
        clock: Clock {
            is_relative: known.args.reltime,
            is_delta: known.args.deltatime,
            start: None,
        },
        tracepoints: tracepoints::read(recording).unwrap_or_default(),
        namer: RefCell::new(known.namer),
        args: known.args,
        profile: known.profile,
        filter: known.filter,
    };
    let name = input.input.display().to_string();
    thread::scope(|scope| {
        let (to_printer, batches) = sync_channel(WAITING);
        let printer = Builder::new().spawn_scoped(scope, move || write(writer, &batches));
        let printer = printer.map_err(hints::no_thread)?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_over = false; // nobody reads on
        input::for_each(recording, &name, |item| {
            if is_over {
                return;
            }
            batch.extend(reading.printed(item));
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
    })
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

/// The state of the pass.
struct Reading<'a> {
    selection: Selection,
    stage: Stage,
    others: OtherRecords,
    clock: Clock,
    tracepoints: Tracepoints,
    namer: RefCell<&'a mut Namer>,
    args: &'a ScriptArgs,
    profile: &'a Profile,
    filter: &'a Filter<'a>,
}

impl Reading<'_> {
    /// What is printed of a record, if it is.
    fn printed(&mut self, item: Item<'_>) -> Option<Printed> {
        let Self { stage, namer, .. } = self;
        stage.take_as(item.events, item.decoded, item.chain_end, Keep::Nothing);
        let kernel_function = |addr| namer.borrow_mut().kernel_function(stage, addr);
        let Record::Sample(sample) = &item.decoded.record else {
            let cpu = item.decoded.id.cpu.map(Cpu);
            if !self.others.wants(&item.raw) || !self.filter.has_cpu(cpu) {
                return None;
            }
            let head = self
                .others
                .head(&item.raw, item.decoded, stage, &mut self.clock);
            return Some(Printed::Other {
                event: item.decoded.event as u16,
                head,
                text: script_events::text(&item.raw, &item.decoded.record, kernel_function),
            });
        };
        let comm = stage.tracker.processes.comm_of(sample.pid, sample.tid);
        let thread = (sample.pid, sample.tid);
        if !self.selection.has(sample.time) || !self.filter.has_thread(comm, thread, sample.cpu) {
            return None;
        }
        let named = stage.frames();
        let named = named.filter_map(|(key, _)| self.profile.frame_id(key));
        let mut frames = Vec::with_capacity(named.size_hint().1.unwrap_or(0));
        frames.extend(named);
        if !self.filter.has_stack(&frames) {
            return None;
        }
        let event = &item.events.events()[item.decoded.event];
        let data = stage.data(event, sample);
        Some(Printed::Sample(ScriptSample {
            event: item.decoded.event as u16,
            pid: sample.pid,
            tid: sample.tid,
            comm,
            cpu: sample.cpu,
            time: sample.time.map(|time| self.clock.shown(time)),
            period: sample.period,
            ip: sample.ip,
            addr: sample.addr.map(VirtAddr),
            data: data.and_then(|(_, key)| self.profile.frame_id(&key)),
            frames,
            addresses: stage.own_addresses(event),
            trace: (event.attr.kind == event_type::TRACEPOINT).then(|| {
                let raw = sample.raw.unwrap_or_default();
                let tracepoints = &self.tracepoints;
                tracepoints.print(event.attr.config, raw, &kernel_function)
            }),
            extras: match self.args.fields {
                Some(_) => extras(sample, &event.attr, &item.raw, &stage.machine),
                None => ScriptExtras::default(),
            },
        }))
    }
}

fn write(writer: &ScriptWriter<'_>, batches: &Receiver<Vec<Printed>>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut text = Vec::with_capacity(OUTPUT);
    for printed in batches.iter().flatten() {
        match printed {
            Printed::Sample(sample) => writer.write(&mut text, &sample),
            Printed::Other {
                event,
                head,
                text: what,
            } => {
                if let Some(head) = head {
                    writer.write_head(&mut text, event, &head);
                }
                writeln!(text, "{what}")?;
            }
        }
        if text.len() >= OUTPUT {
            out.write_all(&text)?;
            text.clear();
        }
    }
    out.write_all(&text)?;
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
