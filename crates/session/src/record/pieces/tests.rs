use std::path::Path;

use prof_event::EventSet;
use prof_event::abi::{callchain, record};

use super::super::recorder::tests::{record_all, recorder};
use super::*;
use crate::common::{
    CODE, Elf, Process, Records, Sampled, TEXT, attr, entries, one_event, weights,
};

fn events() -> EventSet {
    one_event(attr(0))
}

fn pieces() -> Recorder<Pieces> {
    recorder(&events(), Pieces::new(1000))
}

/// What there is of a process that runs `program` and generated code.
fn of_process(process: u32, program: &Path) -> Records {
    let mut records = Records::of(events());
    records.comm(1, (process, process), "runs", false);
    records.map(1, process, TEXT, 0, program.to_str().unwrap());
    records.map(1, process, CODE..CODE + 0x1000, 0, "//anon");
    records
}

fn hits(pid: u32, addresses: &[u64]) -> Sampled {
    Sampled {
        pid,
        tid: pid,
        chain: [&[callchain::USER], addresses].concat(),
        ..Sampled::default()
    }
}

fn save_program(dir: &Path, name: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    Elf::default().save(&path);
    path
}

/// All of a piece that can be compared.
fn told(piece: &Piece) -> impl PartialEq + std::fmt::Debug + use<> {
    let files: Vec<_> = piece.files.iter().map(|(id, _)| *id).collect();
    let maps: Vec<_> = piece.perf_maps.iter().map(|(pid, _)| *pid).collect();
    let processes: Vec<_> = piece.processes.clone().into_iter().collect();
    let bytes = (piece.records.clone(), piece.ends.clone());
    let entries = entries(&piece.profile);
    (bytes, entries, processes, files, maps, piece.closed.clone())
}

#[test]
fn a_piece_has_what_came_since_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let program = save_program(dir.path(), "program");
    let process = Process::new();
    process.write_map();
    let mut records = of_process(process.0, &program);
    records.sample(&hits(process.0, &[CODE, TEXT.start + 1]));
    let mut recorder = pieces();
    record_all(&mut recorder, &records);
    let piece = recorder.piece(2000);
    assert_eq!(piece.span, 1000..2000);
    assert_eq!(piece.records, records.bytes);
    assert_eq!(piece.ends, [ChainEnd::Unknown]);
    assert_eq!(weights(&piece.profile), [(1, 1)]);
    let processes: Vec<_> = piece.processes.into_iter().collect();
    assert_eq!(processes, [(process.pid(), "runs".to_owned())]);
    let files = piece
        .files
        .iter()
        .map(|(id, _)| piece.dsos.get(*id).long_name());
    assert_eq!(files.collect::<Vec<_>>(), [program.to_str().unwrap()]);
    let maps: Vec<_> = piece.perf_maps.iter().map(|it| it.0).collect();
    assert_eq!(maps, [process.pid()]);

    let next = recorder.piece(3000);
    assert_eq!(next.span, 2000..3000);
    assert_eq!((next.records.len(), next.ends.len()), (0, 0));
    assert_eq!((next.files.len(), next.perf_maps.len()), (0, 0));
    assert_eq!(next.profile.len(), 0);
    assert!(Arc::ptr_eq(&next.dsos, &piece.dsos)); // nothing new
    assert!(Arc::ptr_eq(&next.comms, &piece.comms));
}

#[test]
fn a_piece_that_was_taken_back_comes_again_with_what_has_come_since() {
    let dir = tempfile::tempdir().unwrap();
    let program = save_program(dir.path(), "program");
    let process = Process::new();
    process.write_map();
    let mut recorder = pieces();
    let records = of_process(process.0, &program);
    record_all(&mut recorder, &records);
    let mut samples = Records::of(events());
    samples.sample(&hits(process.0, &[CODE, TEXT.start + 1]));
    record_all(&mut recorder, &samples);
    recorder.destination.closed = vec![DsoId(77)];
    let piece = recorder.piece(2000);
    let before = told(&piece);
    recorder.take_back(piece);
    assert_eq!(recorder.destination.since(), 1000);
    let again = recorder.piece(2500);
    assert_eq!(told(&again), before);
    assert_eq!(again.span, 1000..2500);

    recorder.take_back(again);
    record_all(&mut recorder, &samples);
    let more = recorder.piece(3000);
    assert_eq!(more.span, 1000..3000);
    let all = [&records.bytes[..], &samples.bytes, &samples.bytes].concat();
    assert_eq!(more.records, all);
    assert_eq!(more.ends, [ChainEnd::Unknown; 2]);
    assert_eq!(weights(&more.profile), [(2, 2)]);
    assert_eq!((more.files.len(), more.perf_maps.len()), (1, 1));
    assert_eq!(more.closed, [DsoId(77)]);
}

#[test]
fn records_that_wait_too_long_have_an_end_for_each_of_their_samples_and_no_other() {
    let mut recorder = pieces();
    let addresses = vec![TEXT.start; 1000];
    let mut records = Records::of(events());
    for _ in 0..10 {
        records.sample(&hits(7, &addresses));
    }
    let count = MAX_WAITING as u64 / 8000 + 20;
    for _ in 0..count / 10 {
        record_all(&mut recorder, &records);
    }
    let mut exit = Records::of(events());
    record_all(&mut recorder, exit.exit(200, (7, 7)));
    let piece = recorder.piece(2000);
    assert!(piece.records.len() < MAX_WAITING + 10_000);
    let mut kinds: FxHashMap<u32, usize> = FxHashMap::default();
    let mut rest = &piece.records[..];
    while let Ok(raw) = RawRecord::parse(rest) {
        *kinds.entry(raw.kind).or_default() += 1;
        rest = &rest[raw.bytes.len()..];
    }
    assert_eq!(rest, [0; 0]);
    assert_eq!(kinds[&record::SAMPLE], piece.ends.len());
    assert_eq!(kinds[&record::EXIT], 1); // what processes are is kept
    let all = count / 10 * 10;
    assert!((piece.ends.len() as u64) < all);
    assert_eq!(weights(&piece.profile), [(all, all)]);
    record_all(&mut recorder, &records);
    assert_eq!(recorder.piece(3000).ends.len(), 10);
}

#[test]
fn a_thread_is_forgotten_some_pieces_after_its_end_unless_its_number_came_again() {
    let mut recorder = pieces();
    let mut records = Records::of(events());
    for tid in [70, 71] {
        records.comm(1, (7, tid), "ends", false);
        records.exit(2, (7, tid));
    }
    records.fork(3, (7, 71), (7, 7));
    record_all(&mut recorder, &records);
    for pieces in 1..=LATE + 1 {
        let known = |tid| {
            recorder
                .pipeline
                .tracker
                .processes
                .thread(Tid(tid))
                .is_some()
        };
        assert!(known(70) && known(71), "{pieces}");
        drop(recorder.piece(2000));
        recorder.handed_over();
    }
    let known = |tid| {
        recorder
            .pipeline
            .tracker
            .processes
            .thread(Tid(tid))
            .is_some()
    };
    assert!(!known(70) && known(71));
}

#[test]
fn a_file_that_nothing_hits_is_closed_once_and_opened_again_when_it_is_hit() {
    let dir = tempfile::tempdir().unwrap();
    let program = save_program(dir.path(), "program");
    let mut recorder = pieces();
    let mut records = of_process(7, &program);
    records.sample(&hits(7, &[TEXT.start]));
    record_all(&mut recorder, &records);
    let file = recorder.piece(2000).files[0].0;
    let mut closed = Vec::new();
    for number in 1..=2 * UNUSED_AFTER + 2 {
        recorder.handed_over();
        let piece = recorder.piece(3000);
        assert_eq!(piece.files.len(), 0);
        closed.extend(piece.closed.into_iter().map(|id| (number, id)));
    }
    assert_eq!(closed, [(2 * UNUSED_AFTER, file)]); // it was hit before the first look
    let mut again = Records::of(events());
    record_all(&mut recorder, again.sample(&hits(7, &[TEXT.start])));
    let files: Vec<_> = recorder
        .piece(4000)
        .files
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(files, [file]);
}

#[test]
fn of_very_many_files_only_those_of_the_last_piece_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = pieces();
    let mut records = Records::of(events());
    let starts: Vec<u64> = (1..=MAX_FILES as u64 + 1).map(|it| it << 16).collect();
    for &start in &starts {
        let program = save_program(dir.path(), &format!("{start:x}"));
        let range = start..start + 0x1000;
        records.map(1, 7, range, 0, program.to_str().unwrap());
        records.sample(&hits(7, &[start]));
    }
    record_all(&mut recorder, &records);
    assert_eq!(recorder.piece(2000).files.len(), MAX_FILES + 1);
    recorder.handed_over();
    let mut one = Records::of(events());
    record_all(&mut recorder, one.sample(&hits(7, &starts[..1])));
    assert_eq!(recorder.piece(3000).closed, []);
    recorder.handed_over();
    assert_eq!(recorder.piece(4000).closed.len(), MAX_FILES);
    assert_eq!(recorder.pipeline.files.opened().count(), 1);
}
