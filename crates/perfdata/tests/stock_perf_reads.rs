//! What this crate writes, stock perf reads, without a word of complaint.

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use common::Perf;
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use prof_event::RawRecord;
use prof_event::abi::record;
use prof_model::{ChainEnd, Dso, DsoAddr, DsoKind, Resolution, SourceLine, Symbol, SymbolSource};
use prof_perfdata::{
    Error, PipeWriter, RecordSink, Recording, StoredNames, Summary, TracingData, Writer,
    WriterOptions,
};

/// Copies all records; a round ends every 100.
fn copy_records(from: &mut Recording, sink: &mut impl RecordSink) {
    let mut count = 0;
    from.for_each(|item| -> Result<(), Error> {
        sink.record(item.raw.bytes).unwrap();
        count += 1;
        if count % 100 == 0 {
            sink.finish_round().unwrap();
        }
        Ok(())
    })
    .unwrap();
}

fn copy(from: &Path, to: &Path, compression: Option<u32>, names: Option<&StoredNames>) -> Summary {
    let mut from = Recording::open(from).unwrap();
    let file = File::create(to).unwrap();
    let options = WriterOptions { compression };
    let mut writer = Writer::create(file, from.events(), options).unwrap();
    copy_records(&mut from, &mut writer);
    let summary = writer.finish(from.features().clone(), names).unwrap();
    assert_eq!(summary.file_bytes, to.metadata().unwrap().len());
    assert!(summary.samples > 20 && summary.records > summary.samples);
    summary
}

fn copy_to_pipe(from: &Path, to: &Path) {
    let mut from = Recording::open(from).unwrap();
    let file = File::create(to).unwrap();
    let mut writer = PipeWriter::create(file, from.events(), from.features()).unwrap();
    copy_records(&mut from, &mut writer);
    writer.finish(&from.features().build_ids).unwrap();
}

/// Sizes of the records of a pipe, from its header on.
fn sizes_in_pipe(bytes: &[u8]) -> Vec<(u32, usize)> {
    const PIPE_HEADER: usize = 16;
    let mut sizes = Vec::new();
    let mut rest = &bytes[PIPE_HEADER..];
    while !rest.is_empty() {
        let raw = RawRecord::parse(rest).unwrap();
        let behind = match raw.kind {
            record::HEADER_TRACING_DATA => u32::from_le_bytes(*raw.body().first_chunk().unwrap()),
            _ => 0,
        };
        sizes.push((raw.kind, raw.bytes.len()));
        assert_eq!(behind % 8, 0);
        rest = &rest[raw.bytes.len() + behind as usize..];
    }
    sizes
}

/// What perf says about a file, but for the random tip at the end of a report.
fn all_answers(perf: &Perf, file: &Path) -> [String; 4] {
    let report = perf.ask("report", "--stdio", file);
    let report: Vec<_> = report
        .lines()
        .filter(|line| !line.contains("Tip:"))
        .collect();
    [
        report.join("\n"),
        perf.ask("script", "--ns", file),
        perf.ask("evlist", "-v", file),
        perf.ask("buildid-list", "", file),
    ]
}

fn assert_same_answers(perf: &Perf, original: &Path, copy: &Path) {
    let originals = all_answers(perf, original);
    let copies = all_answers(perf, copy);
    for (original, copy) in originals.iter().zip(&copies) {
        assert!(
            original == copy,
            "perf says\n{original}\n---- and of the copy\n{copy}"
        );
    }
}

fn names_of(file: &Path) -> StoredNames {
    let mut recording = Recording::open(file).unwrap();
    let mut names = StoredNames::default();
    names.callers_are_call_sites = true;
    let mut samples = 0; // the copy has them in time order
    recording
        .for_each(|item| -> Result<(), Error> {
            if item.raw.kind == record::SAMPLE {
                assert_eq!(item.chain_end, None);
                let odd = samples % 2 == 1;
                samples += 1;
                names.ends.push(if odd {
                    ChainEnd::NoRule
                } else {
                    ChainEnd::Root
                });
            }
            Ok(())
        })
        .unwrap();
    let dso = Dso {
        path: b"./workload".to_vec(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    };
    let leaf = Resolution::Named {
        symbol: Symbol {
            name: Arc::from("leaf"),
            raw: Arc::from("leaf"),
            start: 0x1000,
            size: 64,
            source: SymbolSource::Symtab,
        },
        inlined: Vec::new(),
        location: Some(SourceLine {
            file: Arc::from("workload.c"),
            line: 8,
        }),
    };
    names.add(&dso, &[DsoAddr(0x1010)], &[leaf]);
    names
}

#[test]
fn a_copy_is_read_like_the_original_with_and_without_stored_names_and_compression() {
    let Some(perf) = Perf::find() else { return };
    let original = perf.record("fp.data", "-F 999 -g");
    let path = perf.path("copy.data");
    copy(&original, &path, None, None);
    assert_same_answers(&perf, &original, &path);

    let names = names_of(&original);
    copy(&original, &path, None, Some(&names));
    assert_same_answers(&perf, &original, &path);
    let mut recording = Recording::open(&path).unwrap();
    assert_eq!(recording.stored_names(), Some(&names));
    recording
        .for_each(|item| -> Result<(), Error> {
            let odd = item.sample % 2 == 1;
            let end = if odd {
                ChainEnd::NoRule
            } else {
                ChainEnd::Root
            };
            let expected = (item.raw.kind == record::SAMPLE).then_some(end);
            assert_eq!(item.chain_end, expected);
            Ok(())
        })
        .unwrap();
    assert_eq!(recording.warnings(), [""; 0]);

    let summary = copy(&original, &path, Some(3), Some(&names));
    assert!(summary.data_bytes * 2 < summary.record_bytes);
    assert_same_answers(&perf, &original, &path);
    let compressed = Recording::open(&path)
        .unwrap()
        .features()
        .compressed
        .unwrap();
    assert_eq!(compressed.level, 3);
    assert!(compressed.ratio >= 2);
}

#[test]
fn copies_of_stack_copies_several_events_and_tracepoints_are_read_like_the_originals() {
    let Some(perf) = Perf::find() else { return };
    for (options, compression) in [
        ("-F 299 --call-graph dwarf,32768", Some(1)),
        ("-F 499 -g -e cpu-clock:u -e task-clock", None),
        ("-e sched:sched_switch -a", None),
    ] {
        let original = perf.record("original.data", options);
        let path = perf.path("copy.data");
        copy(&original, &path, compression, None);
        assert_same_answers(&perf, &original, &path);
    }
}

#[test]
fn a_pipe_is_read_like_the_file_it_was_made_from() {
    let Some(perf) = Perf::find() else { return };
    for options in [
        "-F 999 -g",
        "-F 499 -e cpu-clock -e task-clock",
        "-e sched:sched_switch -a",
    ] {
        let original = perf.record("original.data", options);
        let path = perf.path("copy.pipe");
        copy_to_pipe(&original, &path);
        let script = |file: &Path| perf.ask("script", "--ns", file);
        assert!(script(&original) == script(&path), "{options}");
        let build_ids = |file: &Path| {
            let mut recording = Recording::open(file).unwrap();
            recording.for_each(|_| Ok::<(), Error>(())).unwrap();
            assert_eq!(recording.warnings(), [""; 0]);
            recording.features().build_ids.clone()
        };
        assert_eq!(build_ids(&original), build_ids(&path));
        let report = perf.ask("report", "--stdio", &path);
        assert!(report.contains("# Samples: "));
    }
}

/// perf 7.2 refuses a record of another size.
#[test]
fn the_size_of_every_record_is_a_multiple_of_8() {
    let Some(perf) = Perf::find() else { return };
    let original = perf.record("original.data", "-e sched:sched_switch -g -a");
    let pipe = perf.path("copy.pipe");
    copy_to_pipe(&original, &pipe);
    let sizes = sizes_in_pipe(&std::fs::read(&pipe).unwrap());
    for kind in [
        record::HEADER_ATTR,
        record::HEADER_FEATURE,
        record::HEADER_TRACING_DATA,
        record::HEADER_BUILD_ID,
        record::EVENT_UPDATE,
        record::SAMPLE,
    ] {
        assert!(sizes.iter().any(|(found, _)| *found == kind), "no {kind}");
    }
    sizes
        .iter()
        .for_each(|(kind, size)| assert_eq!(size % 8, 0, "{kind}"));

    let file = perf.path("copy.data");
    for compression in [None, Some(1)] {
        copy(&original, &file, compression, None);
        let bytes = std::fs::read(&file).unwrap();
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        let (data, size) = (word(40), word(48)); // the header's section of records
        let mut rest = &bytes[data..data + size];
        while !rest.is_empty() {
            let raw = RawRecord::parse(rest).unwrap();
            assert_eq!(raw.bytes.len() % 8, 0, "{}", raw.kind);
            rest = &rest[raw.bytes.len()..];
        }
    }
}

#[test]
fn the_times_of_samples_are_written_so_that_a_share_of_the_recording_can_be_asked_for() {
    let Some(perf) = Perf::find() else { return };
    let original = perf.record("fp.data", "-F 999 -g");
    let path = perf.path("copy.data");
    let mut from = Recording::open(&original).unwrap();
    let file = File::create(&path).unwrap();
    let mut writer = Writer::create(file, from.events(), WriterOptions::default()).unwrap();
    copy_records(&mut from, &mut writer);
    let mut features = from.features().clone();
    let times = features.sample_time.take();
    writer.finish(features, None).unwrap();
    assert_eq!(
        Recording::open(&path).unwrap().features().sample_time,
        times
    );
    let half = |file: &Path| perf.ask("script", "--ns --time 0%-50%", file);
    assert!(half(&original) == half(&path));
}

#[test]
fn ids_that_come_late_are_read_by_perf() {
    let Some(perf) = Perf::find() else { return };
    let original = perf.record("two.data", "-F 499 -e cpu-clock:u -e task-clock");
    let path = perf.path("copy.data");
    let mut from = Recording::open(&original).unwrap();
    let events = from.events().clone();
    let mut fewer = prof_event::EventSet::default();
    for event in events.events() {
        let mut event = event.clone();
        event.ids.truncate(1);
        fewer.push(event);
    }
    let file = File::create(&path).unwrap();
    let mut writer = Writer::create(file, &fewer, WriterOptions::default()).unwrap();
    writer.set_events(&events);
    copy_records(&mut from, &mut writer);
    let names = StoredNames::default();
    writer
        .finish(from.features().clone(), Some(&names))
        .unwrap();
    assert_same_answers(&perf, &original, &path);
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.events().events(), events.events());
    assert_eq!(recording.stored_names(), Some(&names));
}

#[test]
fn the_formats_of_tracepoints_are_those_that_perf_collects() {
    let Some(perf) = Perf::find() else { return };
    let Ok(ours) = TracingData::collect(&[("sched", "sched_switch")]) else {
        println!("skipped: tracefs is not readable");
        return;
    };
    let original = perf.record("original.data", "-e sched:sched_switch -a");
    let mut from = Recording::open(&original).unwrap();
    let theirs = from.features().tracing_data.clone().unwrap();
    let ours_parsed = TracingData::parse(&ours).unwrap();
    assert_eq!(ours_parsed, TracingData::parse(&theirs).unwrap());

    let path = perf.path("copy.data");
    let file = File::create(&path).unwrap();
    let mut writer = Writer::create(file, from.events(), WriterOptions::default()).unwrap();
    copy_records(&mut from, &mut writer);
    let mut features = from.features().clone();
    features.tracing_data = Some(ours);
    writer.finish(features, None).unwrap();
    assert_same_answers(&perf, &original, &path);
}

#[test]
fn linux_perf_data_finds_the_same_records_in_our_files() {
    let Some(perf) = Perf::find() else { return };
    let original = perf.record("fp.data", "-F 999 -g");
    let path = perf.path("copy.data");
    for compression in [None, Some(1)] {
        copy(&original, &path, compression, None);
        let mut ours = 0;
        let mut recording = Recording::open(&path).unwrap();
        recording
            .for_each(|item| -> Result<(), Error> {
                ours += u32::from(item.raw.kind < record::HEADER_ATTR);
                Ok(())
            })
            .unwrap();
        let file = std::io::BufReader::new(File::open(&path).unwrap());
        let PerfFileReader {
            mut record_iter,
            mut perf_file,
        } = PerfFileReader::parse_file(file).unwrap();
        let mut theirs = 0;
        while let Some(record) = record_iter.next_record(&mut perf_file).unwrap() {
            theirs += u32::from(matches!(record, PerfFileRecord::EventRecord { .. }));
        }
        assert_eq!(ours, theirs, "compression {compression:?}");
    }
}
