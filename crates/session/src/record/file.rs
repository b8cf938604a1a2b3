//! Records on their way into a file, or into none.

use std::io;

use prof_event::{RawRecord, Record};
use prof_model::ChainEnd;
use prof_perfdata::{ChainEnds, Counters};

use super::output::Output;
use super::recorder::{Destination, Recorder};
use super::started::StartedProcesses;

/// Hands records to the writer of a file, and counts samples.
#[derive(Default)]
pub struct FileDestination {
    /// Where records are written, if anywhere.
    pub output: Option<Output>,
    /// Why each sample's callchain ended.
    pub ends: ChainEnds,
    /// Processes that started meanwhile.
    pub started: StartedProcesses,
}

impl FileDestination {
    /// Into `output`, if there is one.
    pub fn new(output: Option<Output>) -> Self {
        Self {
            output,
            ends: ChainEnds::default(),
            started: StartedProcesses::default(),
        }
    }
}

impl Destination for FileDestination {
    fn sample(&mut self, end: ChainEnd) -> Option<&mut Vec<u8>> {
        self.ends.push(end);
        self.output.as_mut().map(Output::buffer)
    }

    fn record(&mut self, raw: RawRecord<'_>, record: &Record<'_>) {
        self.started.take(record);
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

#[cfg(test)]
mod tests {
    use prof_event::abi::record;
    use prof_perfdata::{Features, Recording, StoredNames};
    use prof_sampler::Sink;

    use super::super::recorder::tests::{record_all, recorder};
    use super::*;
    use crate::common::{Program, Records, Sampled, attr, one_event, samples_at};

    #[test]
    fn the_counts_for_the_end_of_a_file_are_those_of_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Program::save(dir.path()).records(100);
        records.sample(&Sampled::default()); // without registers
        for (kind, words) in [
            (record::LOST, &[1, 40][..]),
            (record::LOST_SAMPLES, &[50]),
            (record::THROTTLE, &[0, 1, 1]),
        ] {
            records.put(200, (kind, 0), |record| {
                for &word in words {
                    record.u64(word);
                }
            });
        }
        let mut recorder = recorder(&records.events, FileDestination::default());
        record_all(&mut recorder, &records);
        let mut chain_ends = vec![0; ChainEnd::ALL.len()];
        chain_ends[ChainEnd::Root as usize] = 1;
        chain_ends[ChainEnd::NoUserState as usize] = 1;
        assert_eq!(
            recorder.counters(),
            Counters {
                lost: 40,
                lost_samples: 50,
                throttled: 1,
                samples: 2,
                chain_ends,
                stack_copy: 256,
                used_event: "cpu-clock".to_owned(),
                frequency: 99,
                ..Counters::default()
            }
        );
        assert_eq!((recorder.samples(), recorder.lost()), (2, 50));
        let ends = [0, 1].map(|sample| recorder.destination.ends.get(sample));
        assert_eq!(ends, [ChainEnd::Root, ChainEnd::NoUserState]);
    }

    #[test]
    fn a_file_has_all_records_and_the_ends_of_rounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perf.data");
        let records = samples_at(&[300, 200]);
        let output = Output::file(&path, &records.events, None, || unreachable!()).unwrap();
        let mut recorder = recorder(&records.events, FileDestination::new(Some(output)));
        record_all(&mut recorder, &records);
        for _ in 0..3 {
            recorder.finish_round().unwrap(); // two without anything new
        }
        let output = recorder.destination.output.take().unwrap();
        output
            .finish(Features::default(), StoredNames::default())
            .unwrap();
        let mut kinds = Vec::new();
        let mut recording = Recording::open(&path).unwrap();
        let read = recording.for_each(|item| -> Result<(), prof_perfdata::Error> {
            kinds.push(item.raw.kind);
            Ok(())
        });
        read.unwrap();
        let told = [record::MMAP, record::COMM, record::MMAP2];
        let rest = [record::FINISHED_ROUND, record::SAMPLE, record::SAMPLE];
        kinds.sort_unstable();
        let mut expected = [told, rest].concat();
        expected.sort_unstable();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn without_an_output_samples_are_counted_all_the_same() {
        let mut records = Records::of_nobody(one_event(attr(0)));
        records.sample(&Sampled::default());
        let mut recorder = recorder(&records.events, FileDestination::new(None));
        record_all(&mut recorder, &records);
        recorder.finish_round().unwrap();
        assert_eq!(recorder.samples(), 1);
    }
}
