//! Damaged files: an error or fewer records, never a panic.

mod common;

use std::io::Cursor;

use common::Random;
use prof_event::abi::{flag, record, sample};
use prof_event::{Event, EventAttr, EventSet, RawRecord, RecordBuilder, SampleId};
use prof_model::{BuildId, ChainEnd, CpuMode, Dso, DsoAddr, DsoKind, Pid, Reason, Resolution};
use prof_perfdata::{
    CpuTopology, Error, Features, PipeWriter, RecordSink, Recording, StoredBuildId, StoredNames,
    Writer, WriterOptions,
};

const TYPE: u64 = sample::IDENTIFIER
    | sample::IP
    | sample::TID
    | sample::TIME
    | sample::PERIOD
    | sample::CALLCHAIN;
const SAMPLES: u64 = 200;

fn events() -> EventSet {
    let mut events = EventSet::default();
    for (name, ids) in [("cpu-clock", vec![1, 2]), ("page-faults", vec![3, 4])] {
        events.push(Event {
            attr: EventAttr {
                kind: 1,
                sample_type: TYPE,
                flags: flag::SAMPLE_ID_ALL | flag::FREQ,
                ..EventAttr::default()
            },
            name: name.to_owned(),
            ids,
        });
    }
    events
}

fn features() -> Features {
    Features {
        hostname: Some("box".into()),
        arch: Some("x86_64".into()),
        nr_cpus_available: Some(2),
        nr_cpus_online: Some(2),
        cmdline: vec!["prof".into(), "record".into()],
        cpu_topology: Some(CpuTopology {
            core_siblings: vec!["0-1".into()],
            thread_siblings: vec!["0".into(), "1".into()],
            cpus: vec![(0, 0), (1, 0)],
        }),
        pmu_mappings: vec![(1, "software".into())],
        build_ids: vec![StoredBuildId {
            mode: CpuMode::User,
            pid: Pid(-1),
            build_id: BuildId::new(&[7; 20]).unwrap(),
            path: b"/bin/true".to_vec(),
        }],
        tracing_data: Some(vec![0x17; 90]),
        ..Features::default()
    }
}

fn names() -> StoredNames {
    let mut names = StoredNames::default();
    let dso = Dso {
        path: b"/bin/true".to_vec(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    };
    let addresses: Vec<_> = (0..50).map(DsoAddr).collect();
    let answers = vec![Resolution::Unresolved(Reason::NoSymbol); 50];
    names.add(&dso, &addresses, &answers);
    (0..SAMPLES).for_each(|_| names.ends.push(ChainEnd::TooDeep));
    names
}

/// A name, then samples in rounds of 50 whose times go up and down.
fn write_records(sink: &mut impl RecordSink) {
    let mut bytes = Vec::new();
    let id = SampleId {
        task: Some((5, 5)),
        ..SampleId::default()
    };
    RecordBuilder::new(&mut bytes, record::COMM, 0)
        .u32(5)
        .u32(5)
        .c_string(b"name")
        .sample_id(TYPE, &id)
        .finish()
        .unwrap();
    sink.record(&bytes).unwrap();
    for number in 0..SAMPLES {
        bytes.clear();
        RecordBuilder::new(&mut bytes, record::SAMPLE, 2)
            .u64(1 + number % 4)
            .u64(0x40_1000 + number)
            .u32(5)
            .u32(5)
            .u64(1000 + (number ^ 3))
            .u64(1)
            .u64(2)
            .u64(0x40_1000 + number)
            .u64(0x40_2000)
            .finish()
            .unwrap();
        sink.record(&bytes).unwrap();
        if number % 50 == 49 {
            sink.finish_round().unwrap();
        }
    }
}

fn file(compression: Option<u32>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut writer = Writer::create(&mut out, &events(), WriterOptions { compression }).unwrap();
    write_records(&mut writer);
    let summary = writer.finish(features(), Some(&names())).unwrap();
    assert_eq!((summary.samples, summary.records), (SAMPLES, SAMPLES + 1));
    assert_eq!(summary.file_bytes, out.get_ref().len() as u64);
    out.into_inner()
}

fn pipe() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PipeWriter::create(&mut out, &events(), &features()).unwrap();
    write_records(&mut writer);
    writer.finish(&features().build_ids).unwrap();
    out
}

/// Times of the samples.
fn read(bytes: Vec<u8>) -> Result<(Vec<u64>, Recording), Error> {
    let mut recording = Recording::from_bytes(bytes)?;
    let mut times = Vec::new();
    recording.for_each(|item| -> Result<(), Error> {
        if item.raw.kind == record::SAMPLE {
            times.extend(item.decoded.id.time);
        }
        Ok(())
    })?;
    Ok((times, recording))
}

fn all_forms() -> [(&'static str, Vec<u8>); 3] {
    [
        ("file", file(None)),
        ("compressed", file(Some(1))),
        ("pipe", pipe()),
    ]
}

#[test]
fn every_form_gives_all_samples_in_time_order_and_all_facts() {
    for (form, bytes) in all_forms() {
        let (times, recording) = read(bytes).unwrap();
        assert_eq!(times, (1000..1000 + SAMPLES).collect::<Vec<_>>(), "{form}");
        assert_eq!(recording.warnings(), [""; 0]);
        assert_eq!(recording.events().events(), events().events());
        let mut found = recording.features().clone();
        let mut expected = features();
        if form != "pipe" {
            assert_eq!(found.sample_time.take(), Some((1000, 999 + SAMPLES)));
            assert_eq!(recording.stored_names(), Some(&names()));
        } else {
            // Padded to a multiple of 8.
            expected.tracing_data.as_mut().unwrap().resize(96, 0);
        }
        assert_eq!(found.compressed.take().is_some(), form == "compressed");
        assert_eq!(found, expected, "{form}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_of_one_line_or_the_start_of_the_recording() {
    for (form, bytes) in all_forms() {
        for cut in 0..bytes.len() {
            match read(bytes[..cut].to_vec()) {
                Err(error) => assert!(!error.to_string().contains('\n')),
                Ok((times, recording)) => {
                    assert!(times.len() as u64 <= SAMPLES);
                    let whole = times.len() as u64 == SAMPLES;
                    let told = !recording.warnings().is_empty();
                    // A pipe may end between any two records.
                    assert!(whole || told || form == "pipe", "{form} {cut}");
                }
            }
        }
    }
}

#[test]
fn a_file_with_changed_bytes_never_panics() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (form, bytes) in all_forms() {
        let (mut are_read, mut are_refused) = (0, 0);
        let mut read = |damaged| match read(damaged) {
            Ok(_) => are_read += 1,
            Err(_) => are_refused += 1,
        };
        for _ in 0..800 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(damaged.len());
                damaged[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    _ => random.below(256) as u8,
                };
            }
            read(damaged);
        }
        // The header, attrs and tables more often than their size would have it.
        for _ in 0..800 {
            let mut damaged = bytes.clone();
            let at = random.below(500.min(damaged.len()));
            damaged[at] = random.below(256) as u8;
            read(damaged);
        }
        assert!(
            are_read > 30 && are_refused > 30,
            "{form} {are_read} {are_refused}"
        );
    }
}

#[test]
fn records_of_unknown_types_are_passed_over_and_counted() {
    let mut out = Cursor::new(Vec::new());
    let mut writer = Writer::create(&mut out, &events(), WriterOptions::default()).unwrap();
    for kind in [40, 90, 0x8000_0000] {
        let mut bytes = Vec::new();
        RecordBuilder::new(&mut bytes, kind, 0)
            .u64(7)
            .finish()
            .unwrap();
        writer.record(&bytes).unwrap();
    }
    write_records(&mut writer);
    assert!(writer.record(&[0; 7]).is_err());
    writer.finish(features(), None).unwrap();
    let (times, recording) = read(out.into_inner()).unwrap();
    assert_eq!(times.len() as u64, SAMPLES);
    assert_eq!(
        recording.warnings(),
        ["3 records of unknown types were skipped; the first has type 40"]
    );
}

#[test]
fn an_aux_area_is_passed_over_with_the_bytes_behind_it() {
    for behind in [24, 3 << 20] {
        let mut out = Cursor::new(Vec::new());
        let mut writer = PipeWriter::create(&mut out, &events(), &features()).unwrap();
        let mut bytes = Vec::new();
        RecordBuilder::new(&mut bytes, record::AUXTRACE, 0)
            .u64(behind)
            .bytes(&[0; 32])
            .finish()
            .unwrap();
        writer.record(&bytes).unwrap();
        writer.finish_round().unwrap();
        writer.finish(&[]).unwrap();
        let mut bytes = out.into_inner();
        bytes.truncate(bytes.len() - 8); // the end of the round
        bytes.resize(bytes.len() + behind as usize, 0);
        let mut rest = pipe();
        let records = rest.len() - records_of_pipe();
        bytes.extend(rest.drain(records..));
        let (times, recording) = read(bytes.clone()).unwrap();
        assert_eq!(times.len() as u64, SAMPLES, "{behind}");
        assert_eq!(recording.warnings(), [""; 0]);

        let mut stream = Recording::from_stream(Cursor::new(bytes)).unwrap();
        let mut count = 0;
        stream
            .for_each(|item| -> Result<(), Error> {
                count += u64::from(item.raw.kind == record::SAMPLE);
                Ok(())
            })
            .unwrap();
        assert_eq!(count, SAMPLES, "{behind}");
    }
}

/// Bytes of the records at the end of [`pipe`].
fn records_of_pipe() -> usize {
    struct Count(usize);
    impl RecordSink for Count {
        fn record(&mut self, record: &[u8]) -> std::io::Result<()> {
            self.0 += record.len();
            Ok(())
        }
        fn finish_round(&mut self) -> std::io::Result<()> {
            self.0 += 8;
            Ok(())
        }
    }
    let mut count = Count(0);
    write_records(&mut count);
    let build_id = 8 + 28 + 64 + 4;
    count.0 + build_id
}

#[test]
fn an_event_that_a_pipe_tells_late_is_late_in_each_pass() {
    let mut bytes = pipe();
    let first = 16; // behind the header
    let second = first + RawRecord::parse(&bytes[first..]).unwrap().bytes.len();
    let raw = RawRecord::parse(&bytes[second..]).unwrap();
    assert_eq!(raw.kind, record::HEADER_ATTR);
    let end = second + raw.bytes.len();
    let attr: Vec<u8> = bytes.drain(second..end).collect();
    bytes.extend(attr);

    let mut recording = Recording::from_bytes(bytes).unwrap();
    let mut told = || {
        let mut told = Vec::new();
        let read = recording.for_each(|item| -> Result<(), Error> {
            told.push((item.decoded.event, item.decoded.id.time));
            Ok(())
        });
        read.unwrap();
        told
    };
    let first = told();
    assert_eq!(told(), first);
    assert_eq!(recording.events().events().len(), 2);
}
