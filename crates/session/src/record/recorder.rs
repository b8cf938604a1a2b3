//! What happens to each record while recording, whatever becomes of it afterwards.
//!
//! In: records as the sampler lends them. Out: a profile that grows, and for a [`Destination`] the records
//! as a file has them. Elsewhere: the steps of a sample ([`crate::pipeline`]).

use std::io;
use std::time::{Duration, Instant};

use prof_event::abi::{flag, sample};
use prof_event::{Decoded, Event, EventSet, RawRecord, Record, Tracker, encode_sample};
use prof_model::{ChainEnd, CpuMode, Pid, Tid};
use prof_profile::Detail;
use prof_sampler::{Clock, Sampler, Sink, StackPart, page_size};
use prof_symbolizer::RunningKernel;
use rustc_hash::FxHashMap;

use super::moved::MovedText;
use super::overwritten::Overwritten;
use crate::aggregation::Keep;
use crate::pipeline::Pipeline;
use crate::placing::PlacedChain;
use crate::stack_copy_size::StackCopySize;
use crate::unwinding::SampledThread;
use crate::waits::asleep::Asleep;
use crate::waits::{OFFCPU_TIME, Told, Waits, is_told_otherwise, with_waits};
use crate::wakers::{is_of_wakings, woken};

/// For so long threads are looked at that wait, in each round of the rings.
pub(crate) const LOOKING: Duration = Duration::from_millis(5);
/// The same at the end, when no ring waits.
const LAST_LOOKING: Duration = Duration::from_millis(500);

/// Where the records of a recording go. `()` is for a profile alone.
pub trait Destination {
    /// A sample was taken, and its callchain ended so. Returns where its record is to be written, if
    /// anywhere.
    fn sample(&mut self, end: ChainEnd) -> Option<&mut Vec<u8>>;

    /// A record that is no sample, as the kernel wrote it.
    fn record(&mut self, raw: RawRecord<'_>, record: &Record<'_>);

    /// The record was written: called after each.
    ///
    /// # Errors
    /// Ends the recording.
    fn pass_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Every ring was visited; what comes later is later in time.
    ///
    /// # Errors
    /// Ends the recording.
    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for () {
    fn sample(&mut self, _end: ChainEnd) -> Option<&mut Vec<u8>> {
        None
    }

    fn record(&mut self, _raw: RawRecord<'_>, _record: &Record<'_>) {}
}

/// Takes the sampler's records: unwinds, aggregates, and hands what is left to a destination.
pub struct Recorder<D> {
    /// The profile so far, and what led to it.
    pub pipeline: Pipeline,
    /// Where records go.
    pub destination: D,
    moved: MovedText,
    overwritten: Overwritten,
    waits: Option<Waits>,
    kernel: RunningKernel,
    keeps_pages: bool,                             // that page faults were about
    kernel_starts: FxHashMap<String, Option<u64>>, // of functions that threads were seen to sleep in
    sampled: EventSet,                             // as the kernel sends them, and waits
    written: EventSet,                             // as a file has them
}

impl<D: Destination> Recorder<D> {
    /// A recorder for the events of a sampler that was opened. At most `max_stack` frames are kept of a
    /// user stack.
    pub fn new(sampler: &Sampler, max_stack: usize, destination: D) -> Self {
        let sampled = with_waits(sampler.events());
        let written = file_events(&sampled);
        let copies = StackCopySize::new(sampler.small_copy(), sampler.reads_deep_stacks().is_ok());
        Self {
            pipeline: Pipeline::live(&sampled, &written, max_stack, copies),
            destination,
            moved: MovedText::default(),
            overwritten: Overwritten::default(),
            waits: Waits::of(&sampled, sampler.cpu_count()),
            kernel: RunningKernel::default(),
            keeps_pages: false,
            kernel_starts: FxHashMap::default(),
            written,
            sampled,
        }
    }

    /// The events, as the kernel samples them.
    pub fn events(&self) -> &EventSet {
        &self.sampled
    }

    /// From now on samples of page faults are told apart by the pages that they were about ([`Detail::page`]).
    pub fn keep_pages(&mut self) {
        self.keeps_pages = true;
    }

    /// Takes in records that we made.
    fn take_made(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let raw = RawRecord::parse(bytes).map_err(io::Error::other)?;
            self.record(raw)?;
            bytes = &bytes[raw.bytes.len()..];
        }
        Ok(())
    }

    /// Takes a record in. `end` says why its callchain ended, where it is unwound already.
    fn take(&mut self, raw: RawRecord<'_>, end: Option<ChainEnd>) -> io::Result<()> {
        let Ok(decoded) = self.sampled.decode(raw) else {
            return Ok(()); // of an event that is not ours
        };
        if let Record::Mmap(mmap) = &decoded.record
            && let Some(bytes) = self.overwritten.renumbered(raw, mmap, &mut self.pipeline)
        {
            return self.take_made(&bytes);
        }
        if self.takes_wait(&decoded)? {
            return Ok(());
        }
        let suspect = MovedText::suspect(&decoded, &self.pipeline.tracker);
        let page = faulted_page(&decoded).filter(|_| self.keeps_pages);
        let keep = |_: usize, _: &PlacedChain<'_>, _: &Tracker| match page {
            Some(page) => Keep::Detailed(Detail {
                page,
                ..Detail::default()
            }),
            None => Keep::Sample,
        };
        match self.pipeline.take_as(&self.sampled, &decoded, end, keep) {
            Some(taken) => {
                if let Some(buffer) = self.destination.sample(taken.end) {
                    let attr = &self.written.events()[decoded.event].attr;
                    encode_sample(buffer, raw.misc, &taken.written(), taken.chain, attr)
                        .map_err(io::Error::other)?;
                }
            }
            None => self.destination.record(raw, &decoded.record),
        }
        self.destination.pass_on()?;
        let Some(suspect) = suspect else {
            return Ok(());
        };
        let mut made = Vec::new();
        self.moved.look(suspect, self.sample_type(), &mut made);
        self.take_made(&made)
    }

    /// Whether a record tells of waits alone, so that nothing else becomes of it.
    fn takes_wait(&mut self, decoded: &Decoded<'_>) -> io::Result<bool> {
        let Some(waits) = &mut self.waits else {
            return Ok(false);
        };
        let event = &self.sampled.events()[decoded.event];
        match &decoded.record {
            Record::Sample(sample) if is_of_wakings(event) => {
                return Ok(!woken(sample).is_some_and(|tid| waits.woken(tid)));
            }
            Record::Sample(sample) if waits.is_of_switches(decoded.event) => {
                let chain = self.pipeline.unwind_waiting(event, sample);
                waits.stopped(sample, chain.entries, chain.end);
                return Ok(true);
            }
            Record::Comm { pid, tid, .. } => waits.is_present((*pid, *tid)),
            _ => {}
        }
        let (Some((pid, tid)), Some(time)) = (decoded.id.task, decoded.id.time) else {
            return Ok(false);
        };
        if let Some(told) = waits.take(&decoded.record, (Pid(pid), Tid(tid)), time) {
            self.take_told(&told)?;
        }
        Ok(matches!(decoded.record, Record::Switch { .. }))
    }

    fn take_told(&mut self, told: &Told) -> io::Result<()> {
        let raw = RawRecord::parse(&told.record).map_err(io::Error::other)?;
        self.take(raw, Some(told.end))
    }

    /// Waits are counted from `time` on, in nanoseconds of `clock`, which is the sampler's, where switches are recorded.
    /// Begins to look for threads that sleep already. `kernel` names the functions that they sleep in.
    pub fn begin_waits(&mut self, time: u64, clock: Clock, kernel: &RunningKernel) {
        let Some(waits) = &mut self.waits else {
            return;
        };
        waits.begin(time, |name| kernel.function(name));
        self.kernel = kernel.clone();
        self.look_at_waits(clock, LOOKING);
    }

    /// Whether samples are wanted of threads that stop running.
    pub fn wants_switches(&mut self, now: u64) -> bool {
        let waits = self.waits.as_mut();
        waits.is_none_or(|waits| waits.wants_samples(now))
    }

    /// Looks at threads whose waits last long without a stack that is known, and at those that were there when the
    /// recording began, for as long as this. What is left is for the next time.
    pub(crate) fn look_at_waits(&mut self, clock: Clock, longest: Duration) {
        let Some(waits) = &mut self.waits else {
            return;
        };
        let started = Instant::now();
        let mut long = waits.to_look_at(clock.now());
        while started.elapsed() < longest
            && let Some((pid, tid)) = long.pop().or_else(|| waits.next_present())
        {
            let asleep = Asleep::look(pid, tid);
            let Some(asleep) = asleep else {
                waits.found_awake(tid, clock.now());
                continue;
            };
            let kernel = asleep.kernel.iter().filter_map(|(name, offset)| {
                let starts = &mut self.kernel_starts;
                let start = match starts.get(name) {
                    Some(start) => *start,
                    None => {
                        let start = self.kernel.function(name).map(|range| range.start);
                        *starts.entry(name.clone()).or_insert(start)
                    }
                };
                start.map(|start| start + offset)
            });
            let kernel: Vec<_> = kernel.collect();
            let thread = SampledThread {
                pid,
                tid,
                time: clock.now(),
                mode: CpuMode::Kernel,
            };
            let chain = self.pipeline.unwind_asleep(thread, &kernel, asleep.user);
            // Behind the last look: what ends before that was another wait.
            waits.found_asleep((pid, tid), clock.now(), chain.entries, chain.end);
        }
    }

    /// Tells how long threads have waited until `now`, in nanoseconds of the sampler's clock, that wait on, if that
    /// is due.
    ///
    /// # Errors
    /// The destination's.
    pub(crate) fn tell_waits(&mut self, now: u64) -> io::Result<()> {
        self.tell_parts(now, false)
    }

    /// Tells how long threads have waited until `now` that wait on when the recording ends.
    ///
    /// # Errors
    /// The destination's.
    pub fn end_waits(&mut self, now: u64, clock: Clock) -> io::Result<()> {
        self.look_at_waits(clock, LAST_LOOKING);
        self.tell_parts(now, true)
    }

    fn tell_parts(&mut self, now: u64, is_end: bool) -> io::Result<()> {
        let Some(waits) = &mut self.waits else {
            return Ok(());
        };
        for told in waits.tell_parts(now, is_end) {
            self.take_told(&told)?;
        }
        Ok(())
    }

    /// What every record of these events has at its end.
    fn sample_type(&self) -> u64 {
        let mut events = self.sampled.events().iter();
        events.next().map_or(0, |event| event.attr.sample_type)
    }
}

impl<D: Destination> Sink for Recorder<D> {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.take(raw, None)
    }

    fn skipped(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.pipeline.skip_raw(&self.sampled, raw);
        Ok(())
    }

    fn stack_part(&mut self, part: StackPart<'_>) -> io::Result<()> {
        self.pipeline.take_stack_part(part);
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.pipeline.finish_round();
        let mut made = Vec::new();
        let time = self.pipeline.last_time();
        let sample_type = self.sample_type();
        self.moved.finish_round(time, sample_type, &mut made);
        self.take_made(&made)?;
        self.destination.finish_round()
    }
}

/// The first address of the page that a sample with an address was about.
fn faulted_page(decoded: &Decoded<'_>) -> Option<u64> {
    match &decoded.record {
        Record::Sample(sample) => Some(sample.addr? & !(page_size() as u64 - 1)),
        _ => None,
    }
}

/// The events of the file: registers and stacks are gone, the callchain is whole. That the kernel's
/// own walk of user stacks is excluded says that the user part was unwound, and its callers are call
/// sites. The counters of a group are written as if its events were not inherited: perf before 6.13
/// knows one counter for an event's id.
pub fn file_events(sampled: &EventSet) -> EventSet {
    let sampled = with_waits(sampled);
    let mut written = EventSet::default();
    written.set_groups(sampled.groups().to_vec());
    let all = sampled.events().iter().enumerate();
    let left_out = all.filter(|&(index, _)| is_told_otherwise(&sampled, index));
    let left_out: Vec<u64> = left_out.flat_map(|(_, event)| event.ids.clone()).collect();
    for (index, event) in sampled.events().iter().enumerate() {
        if is_told_otherwise(&sampled, index) {
            continue;
        }
        let mut attr = event.attr.clone();
        attr.set(flag::CONTEXT_SWITCH, false); // switches are told as waits
        if attr.sample_type & sample::STACK_USER != 0 {
            attr.sample_type &= !(sample::REGS_USER | sample::STACK_USER);
            attr.sample_regs_user = 0;
            attr.sample_stack_user = 0;
            attr.set(flag::EXCLUDE_CALLCHAIN_USER, true);
        }
        if attr.sample_type & sample::READ != 0 {
            attr.set(flag::INHERIT, false); // the counters of threads are summed
        }
        let mut ids = event.ids.clone();
        if event.name == OFFCPU_TIME {
            ids.extend(&left_out); // records that are no samples have them
        }
        written.push(Event {
            attr,
            ids,
            ..event.clone()
        });
    }
    written
}

#[cfg(test)]
pub(super) mod tests;
