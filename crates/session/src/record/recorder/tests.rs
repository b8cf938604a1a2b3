use prof_event::{EventAttr, EventGroup};

use super::*;
use crate::common::{
    self, KERNEL_MODE, NOBODY, Program, Records, Sampled, TEXT, attr, event_set, one_event,
    unwound_attr,
};

/// A recorder without a sampler.
pub(in crate::record) fn recorder<D>(events: &EventSet, destination: D) -> Recorder<D> {
    Recorder {
        pipeline: common::live(events),
        destination,
        moved: MovedText::default(),
        waits: Waits::of(events, 1),
        kernel: RunningKernel::default(),
        kernel_starts: FxHashMap::default(),
        overwritten: Overwritten::default(),
        keeps_pages: false,
        written: file_events(events),
        sampled: events.clone(),
    }
}

/// Hands all records over.
pub(in crate::record) fn record_all(recorder: &mut impl Sink, records: &Records) {
    for raw in records.iter() {
        recorder.record(raw).unwrap();
    }
}

/// Keeps all that it gets; fails to pass it on if told to.
#[derive(Default)]
struct Kept {
    samples: Vec<u8>,
    ends: Vec<ChainEnd>,
    others: Vec<u8>,
    passed_on: u32,
    rounds: u32,
    fails: bool,
}

impl Destination for Kept {
    fn sample(&mut self, end: ChainEnd) -> Option<&mut Vec<u8>> {
        self.ends.push(end);
        Some(&mut self.samples)
    }

    fn record(&mut self, raw: RawRecord<'_>, _record: &Record<'_>) {
        self.others.extend(raw.bytes);
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.passed_on += 1;
        match self.fails {
            true => Err(io::Error::other("full")),
            false => Ok(()),
        }
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.rounds += 1;
        Ok(())
    }
}

#[test]
fn a_samples_record_has_the_whole_callchain_and_neither_registers_nor_stack() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let records = program.records(77);
    let mut recorder = recorder(&records.events, Kept::default());
    record_all(&mut recorder, &records);
    let kept = &recorder.destination;
    assert_eq!(kept.ends, [ChainEnd::Root]);
    let raw = RawRecord::parse(&kept.samples).unwrap();
    assert_eq!(raw.bytes.len(), kept.samples.len());
    let written = file_events(&records.events);
    let decoded = written.decode(raw).unwrap();
    let Record::Sample(sample) = decoded.record else {
        panic!("a sample");
    };
    let chain: Vec<_> = sample.callchain.unwrap().iter().collect();
    assert_eq!(chain, program.chain());
    assert_eq!((sample.user_regs, sample.user_stack), (None, None));
    let who = (sample.pid.0 as u32, sample.time, sample.period);
    assert_eq!(who, (NOBODY, Some(77), 1));
}

#[test]
fn other_records_are_handed_over_as_the_kernel_wrote_them_and_each_is_passed_on() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    let others = records.bytes.clone();
    records.sample(&Sampled::default());
    let mut recorder = recorder(&records.events, Kept::default());
    record_all(&mut recorder, &records);
    recorder.finish_round().unwrap();
    let kept = &recorder.destination;
    assert_eq!(kept.others, others);
    assert_eq!((kept.passed_on, kept.rounds), (4, 1));
}

#[test]
fn a_destination_that_cannot_take_a_record_ends_the_recording() {
    let records = Records::of_nobody(one_event(attr(0)));
    let kept = Kept {
        fails: true,
        ..Kept::default()
    };
    let mut recorder = recorder(&records.events, kept);
    let error = recorder.record(records.iter().next().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "full");
}

#[test]
fn a_record_of_an_event_that_is_not_ours_is_nobodys() {
    let ours = event_set([("cycles", attr(0)), ("cs", attr(0))]);
    let three = event_set([("cycles", attr(0)), ("cs", attr(0)), ("other", attr(0))]);
    let mut records = Records::of(three);
    records.sample(&Sampled {
        id: 3,
        ..Sampled::default()
    });
    let mut recorder = recorder(&ours, Kept::default());
    record_all(&mut recorder, &records);
    assert_eq!(recorder.destination.passed_on, 0);
    assert_eq!(recorder.pipeline.profile.len(), 0);
}

#[test]
fn without_a_destination_there_is_a_profile_all_the_same() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&Sampled::default());
    let mut recorder = recorder(&records.events, ());
    record_all(&mut recorder, &records);
    recorder.finish_round().unwrap();
    assert_eq!(common::weights(&recorder.pipeline.profile), [(1, 1)]);
}

#[test]
fn what_a_group_counted_before_the_start_is_written_for_no_sample() {
    let events = event_set([("a", attr(sample::READ)), ("b", attr(sample::READ))]);
    let mut records = Records::of(events);
    for (time, counters) in [(1, [(100, 1), (7, 2)]), (2, [(150, 1), (8, 2)])] {
        records.sample(&Sampled {
            time,
            counters: counters.to_vec(),
            ..Sampled::default()
        });
    }
    let mut recorder = recorder(&records.events, Kept::default());
    let mut raw = records.iter();
    recorder.skipped(raw.next().unwrap()).unwrap();
    recorder.record(raw.next().unwrap()).unwrap();
    let raw = RawRecord::parse(&recorder.destination.samples).unwrap();
    let decoded = records.events.decode(raw).unwrap();
    let Record::Sample(sample) = decoded.record else {
        panic!("a sample");
    };
    let counters: Vec<_> = sample.read.unwrap().iter().collect();
    assert_eq!(counters, [(50, Some(1)), (1, Some(2))]);
    let weights = common::weights(&recorder.pipeline.profile);
    assert_eq!(weights, [(1, 50), (1, 1)]);
}

#[test]
fn the_mode_of_a_sample_is_written_with_it() {
    let mut records = Records::of(one_event(attr(0)));
    records.sample(&Sampled {
        mode: KERNEL_MODE,
        chain: vec![TEXT.start],
        ..Sampled::default()
    });
    let mut recorder = recorder(&records.events, Kept::default());
    record_all(&mut recorder, &records);
    assert_eq!(recorder.destination.samples, records.bytes);
}

#[test]
fn a_files_event_says_that_its_stacks_were_unwound_and_its_counters_are_sums() {
    let inherited = |attr: EventAttr| EventAttr {
        flags: attr.flags | flag::INHERIT,
        ..attr
    };
    let sampled = [unwound_attr(), attr(sample::READ), attr(0)].map(inherited);
    let [unwound, counted, plain] = sampled.clone();
    let mut events = event_set([("a", unwound), ("b", counted), ("c", plain)]);
    let group = EventGroup {
        name: "{anon_group}".to_owned(),
        leader: 1,
        members: 2,
    };
    events.set_groups(vec![group.clone()]);
    let written = file_events(&events);
    let [unwound, counted, plain] = sampled;
    let expected = [
        EventAttr {
            sample_type: attr(0).sample_type,
            sample_regs_user: 0,
            sample_stack_user: 0,
            flags: unwound.flags | flag::EXCLUDE_CALLCHAIN_USER,
            ..unwound
        },
        EventAttr {
            flags: counted.flags & !flag::INHERIT,
            ..counted
        },
        plain,
    ];
    let attrs: Vec<_> = written.events().iter().map(|it| it.attr.clone()).collect();
    assert_eq!(attrs, expected);
    let named = |events: &EventSet| -> Vec<_> {
        let events = events.events().iter();
        events.map(|it| (it.name.clone(), it.ids.clone())).collect()
    };
    assert_eq!(named(&written), named(&events));
    assert_eq!(written.groups(), [group]);
    assert_eq!(written.by_id(2), Some(1));
}
