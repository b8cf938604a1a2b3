//! What happens to each record while recording, whatever becomes of it afterwards.
//!
//! In: records as the sampler lends them. Out: a profile that grows, and for a [`Destination`] the records
//! as a file has them. Elsewhere: the steps of a sample ([`crate::pipeline`]).

use std::io;

use prof_event::abi::{flag, sample};
use prof_event::{Event, EventSet, RawRecord, Record, encode_sample};
use prof_model::ChainEnd;
use prof_sampler::{Sampler, Sink, StackPart};

use super::moved::MovedText;
use super::overwritten::Overwritten;
use crate::pipeline::Pipeline;
use crate::stack_copy_size::StackCopySize;

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
    sampled: EventSet, // as the kernel sends them
    written: EventSet, // as a file has them
}

impl<D: Destination> Recorder<D> {
    /// A recorder for the events of a sampler that was opened. At most `max_stack` frames are kept of a
    /// user stack.
    pub fn new(sampler: &Sampler, max_stack: usize, destination: D) -> Self {
        let sampled = sampler.events().clone();
        let copies = StackCopySize::new(sampler.small_copy(), sampler.reads_deep_stacks().is_ok());
        Self {
            pipeline: Pipeline::live(&sampled, max_stack, copies),
            destination,
            moved: MovedText::default(),
            overwritten: Overwritten::default(),
            written: file_events(&sampled),
            sampled,
        }
    }

    /// The events, as the kernel samples them.
    pub fn events(&self) -> &EventSet {
        &self.sampled
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

    /// What every record of these events has at its end.
    fn sample_type(&self) -> u64 {
        let mut events = self.sampled.events().iter();
        events.next().map_or(0, |event| event.attr.sample_type)
    }
}

impl<D: Destination> Sink for Recorder<D> {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        let Ok(decoded) = self.sampled.decode(raw) else {
            return Ok(()); // of an event that is not ours
        };
        if let Record::Mmap(mmap) = &decoded.record
            && let Some(bytes) = self.overwritten.renumbered(raw, mmap, &mut self.pipeline)
        {
            return self.take_made(&bytes);
        }
        let suspect = MovedText::suspect(&decoded, &self.pipeline.tracker);
        match self.pipeline.take(&self.sampled, &decoded, None) {
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

/// The events of the file: registers and stacks are gone, the callchain is whole. That the kernel's
/// own walk of user stacks is excluded says that the user part was unwound, and its callers are call
/// sites. The counters of a group are written as if its events were not inherited: perf before 6.13
/// knows one counter for an event's id.
pub fn file_events(sampled: &EventSet) -> EventSet {
    let mut written = EventSet::default();
    written.set_groups(sampled.groups().to_vec());
    for event in sampled.events() {
        let mut attr = event.attr.clone();
        if attr.sample_type & sample::STACK_USER != 0 {
            attr.sample_type &= !(sample::REGS_USER | sample::STACK_USER);
            attr.sample_regs_user = 0;
            attr.sample_stack_user = 0;
            attr.set(flag::EXCLUDE_CALLCHAIN_USER, true);
        }
        if attr.sample_type & sample::READ != 0 {
            attr.set(flag::INHERIT, false); // the counters of threads are summed
        }
        written.push(Event {
            attr,
            ..event.clone()
        });
    }
    written
}

#[cfg(test)]
pub(super) mod tests;
