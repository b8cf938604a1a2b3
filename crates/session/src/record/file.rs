//! Records on their way into a file, or into none.

use std::io;

use prof_event::{RawRecord, Record};
use prof_model::ChainEnd;
use prof_perfdata::{ChainEnds, Counters};

use super::output::Output;
use super::recorder::{Destination, Recorder};

/// Hands records to the writer of a file, and counts samples.
#[derive(Default)]
pub struct FileDestination {
    /// Where records are written, if anywhere.
    pub output: Option<Output>,
    /// Why each sample's callchain ended.
    pub ends: ChainEnds,
}

impl FileDestination {
    /// Into `output`, if there is one.
    pub fn new(output: Option<Output>) -> Self {
        Self {
            output,
            ends: ChainEnds::default(),
        }
    }
}

impl Destination for FileDestination {
    fn sample(&mut self, end: ChainEnd) -> Option<&mut Vec<u8>> {
        self.ends.push(end);
        self.output.as_mut().map(Output::buffer)
    }

    fn record(&mut self, raw: RawRecord<'_>, _record: &Record<'_>) {
        if let Some(output) = &mut self.output {
            output.buffer().extend_from_slice(raw.bytes);
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.output.as_mut().map_or(Ok(()), Output::pass_on)
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.output.as_mut().map_or(Ok(()), Output::finish_round)
    }
}

impl Recorder<FileDestination> {
    /// Samples so far.
    pub fn samples(&self) -> u64 {
        self.destination.ends.samples()
    }

    /// What was lost so far: samples where the kernel counts them, else records of any kind.
    pub fn lost(&self) -> u64 {
        self.pipeline.profile.losses.lost()
    }

    /// The counts for the end of the file.
    pub fn counters(&self) -> Counters {
        let profile = &self.pipeline.profile;
        let event = self.events().events().first();
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
