//! Reads a recording once more to print it: what is printed is more than its first pass has kept.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Builder};

use prof_event::Tracker;
use prof_event::abi::event_type;
use prof_model::{Cpu, VirtAddr};
use prof_perfdata::{Item, Recording};
use prof_profile::{Profile, ScriptExtras, ScriptHead, ScriptSample};
use prof_report::ScriptWriter;
use prof_session::{
    BranchUse, Keep, Machine, Namer, Pipeline, ReadOptions, Selection, TakenSample, Wanted,
    faulted_data, load, tracepoints,
};
use prof_tracepoint::Tracepoints;

use super::extras::{branches, extras};
use super::filter::SampleFilter;
use super::other_records::{self, OtherRecords};
use super::times::{PrintedTimes, TimeOrigin};
use crate::input;
use crate::messages::{CliError, open_errors};
use crate::printed;

/// Samples are handed to the thread that prints them so many at a time.
const BATCH: usize = 256;
/// So many batches may wait for it.
const WAITING: usize = 16;
/// Pipes hold as much.
const OUTPUT: usize = 1 << 16;

/// What is printed, and how.
pub struct Options {
    /// The recording.
    pub read: ReadOptions,
    /// The records beside the samples that are printed.
    pub others: OtherRecords,
    /// What times count from.
    pub time_origin: TimeOrigin,
    /// Whether fields are printed that few samples have.
    pub has_extras: bool,
    /// What becomes of the branches of samples.
    pub branches: BranchUse,
}

/// What is known from the first pass.
pub struct Known<'a> {
    /// The frames, and which events there are.
    pub profile: &'a Profile,
    /// Names for further addresses.
    pub namer: &'a mut Namer,
    /// Which samples are wanted.
    pub filter: &'a SampleFilter<'a>,
}

/// Prints a recording, read anew; a thread of its own makes text of what this one reads.
///
/// # Errors
/// A message, or why writing ended.
pub fn print(
    recording: &mut Recording,
    options: Options,
    known: Known<'_>,
    writer: &ScriptWriter<'_>,
) -> Result<io::Result<()>, CliError> {
    let read = options.read;
    let selection = Selection::new(recording, &read, Wanted::default())?;
    let mut pipeline = load::pipeline(recording, &read);
    pipeline.use_branches(options.branches);
    let mut printing = Printing {
        selection,
        machine: pipeline.machine().clone(),
        others: options.others,
        times: PrintedTimes::new(options.time_origin),
        tracepoints: tracepoints::read(recording).unwrap_or_default(),
        namer: RefCell::new(known.namer),
        has_extras: options.has_extras,
        profile: known.profile,
        filter: known.filter,
    };
    thread::scope(|scope| {
        let (to_printer, batches) = sync_channel(WAITING);
        let printer = Builder::new().spawn_scoped(scope, move || write(writer, &batches));
        let printer = printer.map_err(open_errors::no_thread)?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_over = false; // nobody reads on
        input::for_each(recording, &read.path, |item| {
            if is_over {
                return;
            }
            printing.print(&mut pipeline, item, &mut batch);
            if batch.len() >= BATCH {
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

/// What is printed of which record.
struct Printing<'a> {
    selection: Selection,
    machine: Machine,
    others: OtherRecords,
    times: PrintedTimes,
    tracepoints: Tracepoints,
    namer: RefCell<&'a mut Namer>,
    has_extras: bool,
    profile: &'a Profile,
    filter: &'a SampleFilter<'a>,
}

impl Printing<'_> {
    /// Adds to `printed` what is printed of a record that `pipeline` takes in, if something is.
    fn print(&mut self, pipeline: &mut Pipeline, item: Item<'_>, printed: &mut Vec<Printed>) {
        let (events, decoded) = (item.events, item.decoded);
        let taken = pipeline.take_as(events, decoded, item.chain_end, |_, _, _| Keep::Nothing);
        match taken {
            Some(taken) => self.print_sample(&item, &taken, printed),
            None => printed.extend(self.other(&item, &pipeline.tracker)),
        }
    }

    /// What is printed of a record beside the samples.
    fn other(&mut self, item: &Item<'_>, tracker: &Tracker) -> Option<Printed> {
        let cpu = item.decoded.id.cpu.map(Cpu);
        if !self.others.wants(&item.raw) || !self.filter.has_cpu(cpu) {
            return None;
        }
        let kernel_function = |addr| self.namer.borrow_mut().kernel_function(tracker, addr);
        Some(Printed::Other {
            event: item.decoded.event as u16,
            text: other_records::text(&item.raw, &item.decoded.record, kernel_function),
            head: self
                .others
                .head(&item.raw, item.decoded, tracker, &mut self.times),
        })
    }

    /// Adds the finished samples of a sample that passes.
    fn print_sample(
        &mut self,
        item: &Item<'_>,
        taken: &TakenSample<'_>,
        printed: &mut Vec<Printed>,
    ) {
        let (sample, tracker) = (taken.sample, taken.tracker);
        let comm = tracker.processes.comm_of(sample.pid, sample.tid);
        let thread = (sample.pid, sample.tid);
        if !self.selection.has(sample.time) || !self.filter.has_thread(comm, thread, sample.cpu) {
            return;
        }
        let named = taken.placed.all_frames();
        let named = named.filter_map(|(key, _)| self.profile.frame_id(key));
        let mut frames = Vec::with_capacity(named.size_hint().1.unwrap_or(0));
        frames.extend(named);
        if !self.filter.has_stack(&frames) {
            return;
        }
        let kernel_function = |addr| self.namer.borrow_mut().kernel_function(tracker, addr);
        for (left, &(index, period)) in (0..taken.weights.len()).rev().zip(taken.weights) {
            let event = &item.events.events()[index];
            let data = faulted_data(tracker, event, sample);
            printed.push(Printed::Sample(ScriptSample {
                event: index as u16,
                pid: sample.pid,
                tid: sample.tid,
                comm,
                cpu: sample.cpu,
                time: sample.time.map(|time| self.times.printed(time)),
                period,
                ip: sample.ip,
                addr: sample.addr.map(VirtAddr),
                data: data.and_then(|(_, key)| self.profile.frame_id(&key)),
                frames: match left {
                    0 => std::mem::take(&mut frames),
                    _ => frames.clone(),
                },
                addresses: taken.placed.own_addresses(event, &tracker.processes.dsos),
                trace: (event.attr.kind == event_type::TRACEPOINT).then(|| {
                    let raw = sample.raw.unwrap_or_default();
                    let tracepoints = &self.tracepoints;
                    tracepoints.print(event.attr.config, raw, &kernel_function)
                }),
                extras: match self.has_extras {
                    true => ScriptExtras {
                        branches: branches(taken, self.profile),
                        ..extras(sample, &event.attr, &item.raw, &self.machine)
                    },
                    false => ScriptExtras::default(),
                },
            }));
        }
    }
}

fn write(writer: &ScriptWriter<'_>, batches: &Receiver<Vec<Printed>>) -> io::Result<()> {
    let mut out = printed::stdout();
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
