//! What happens to each record while recording.

use std::io;

use prof_event::abi::{flag, sample};
use prof_event::{Event, EventSet, RawRecord, Record, encode_sample};
use prof_perfdata::{ChainEnds, Counters};
use prof_sampler::Sink;

use super::output::Output;
use crate::stage::Stage;

/// Takes the sampler's records: unwinds, aggregates, and hands what is left to the writer.
pub struct Recorder {
    /// The profile so far.
    pub stage: Stage,
    /// Where records are written, if anywhere.
    pub output: Option<Output>,
    /// Why each sample's callchain ended.
    pub ends: ChainEnds,
    sampled: EventSet, // as the kernel sends them
    written: EventSet, // as the file has them
}

impl Recorder {
    /// A recorder for events as the sampler opened them.
    pub fn new(sampled: EventSet, stage: Stage, output: Option<Output>) -> Self {
        Self {
            stage,
            output,
            ends: ChainEnds::default(),
            written: file_events(&sampled),
            sampled,
        }
    }

    /// The events, as the kernel samples them.
    pub fn events(&self) -> &EventSet {
        &self.sampled
    }

    /// Samples so far.
    pub fn samples(&self) -> u64 {
        self.ends.samples()
    }

    /// What was lost so far: samples where the kernel counts them, else records of any kind.
    pub fn lost(&self) -> u64 {
        let losses = self.stage.profile.losses;
        losses.lost_samples.max(losses.lost_records)
    }

    /// The counts for the end of the file.
    pub fn counters(&self) -> Counters {
        let profile = &self.stage.profile;
        let event = self.sampled.events().first();
        Counters {
            lost: profile.losses.lost_records,
            lost_samples: profile.losses.lost_samples,
            throttled: profile.losses.throttled,
            samples: self.samples(),
            chain_ends: profile.ends().to_vec(),
            stack_copy: event.map_or(0, |event| event.attr.sample_stack_user),
            used_event: event.map_or_else(String::new, |event| event.name.clone()),
            frequency: event.and_then(|event| event.attr.frequency()).unwrap_or(0),
            ..Counters::default()
        }
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

impl Sink for Recorder {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        let Ok(decoded) = self.sampled.decode(raw) else {
            return Ok(()); // of an event that is not ours
        };
        let end = self.stage.take(&self.sampled, &decoded, None);
        if let Some(end) = end {
            self.ends.push(end);
        }
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        match &decoded.record {
            Record::Sample(sample) => {
                let attr = &self.written.events()[decoded.event].attr;
                let (chain, sample) = self.stage.written(sample);
                encode_sample(output.buffer(), raw.misc, &sample, chain, attr)
                    .map_err(io::Error::other)?;
            }
            _ => output.buffer().extend_from_slice(raw.bytes),
        }
        output.pass_on()
    }

    fn skipped(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.stage.skip(&self.sampled, raw);
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.stage.finish_round();
        self.output.as_mut().map_or(Ok(()), Output::finish_round)
    }
}
