//! Generated code that a perf map describes.

mod common;

use std::fs;
use std::time::Duration;

use common::{CODE, Elf, Process, Records, Sampled, attr, live, one_event, take_all};
use prof_event::abi::callchain;
use prof_model::{DsoKind, Pid, Reason, Resolution, Tid};
use prof_perfdata::Features;
use prof_session::load::load;
use prof_session::{GeneratedCode, ReadOptions, Wanted};

/// A sample of a process in its generated code.
fn records_of(process: &Process) -> Records {
    records_in(process, "//anon", 0)
}

/// A sample in its generated code, which lies in a file from `offset` on.
fn records_in(process: &Process, file: &str, offset: u64) -> Records {
    let mut records = Records::of(one_event(attr(0)));
    records.map(1, process.0, CODE..CODE + 0x1000, offset, file);
    records.sample(&Sampled {
        pid: process.0,
        tid: process.0,
        chain: vec![callchain::USER, CODE + 8],
        ..Sampled::default()
    });
    records
}

/// Whose maps were opened since the last call.
fn taken(generated: &mut GeneratedCode) -> Vec<Pid> {
    let maps = generated.take_maps().into_iter();
    maps.map(|(pid, _)| pid).collect()
}

#[test]
fn a_map_is_opened_once_when_a_sample_hits_its_process() {
    let process = Process::new();
    process.write_map();
    let records = records_of(&process);
    let mut pipeline = live(&records.events);
    assert_eq!(taken(&mut pipeline.generated), []);
    take_all(&mut pipeline, &records);
    assert_eq!(taken(&mut pipeline.generated), [process.pid()]);
    take_all(&mut pipeline, &records);
    assert_eq!(taken(&mut pipeline.generated), []);
}

#[test]
fn a_map_that_comes_after_the_first_sample_is_found_a_tenth_of_a_second_later() {
    let process = Process::new();
    let records = records_of(&process);
    let mut pipeline = live(&records.events);
    take_all(&mut pipeline, &records);
    pipeline.finish_round();
    assert_eq!(taken(&mut pipeline.generated), []);
    process.write_map();
    std::thread::sleep(Duration::from_millis(110)); // it is looked for ten times a second
    pipeline.finish_round();
    assert_eq!(taken(&mut pipeline.generated), [process.pid()]);
}

#[test]
fn the_map_of_a_process_is_looked_for_at_its_end_and_no_more_after_that() {
    let [late, never] = [(); 2].map(|()| Process::new());
    let mut generated = GeneratedCode::live();
    for process in [&late, &never] {
        generated.hit(process.pid());
    }
    late.write_map();
    generated.exited(late.pid());
    generated.exited(never.pid());
    never.write_map(); // another process's, which has the number now
    generated.look_for_maps();
    assert_eq!(taken(&mut generated), [late.pid()]);
}

#[test]
fn a_number_that_is_given_again_has_a_map_of_its_own() {
    let process = Process::new();
    process.write_map();
    let mut generated = GeneratedCode::live();
    generated.hit(process.pid());
    assert_eq!(taken(&mut generated), [process.pid()]);
    generated.forget(process.pid());
    generated.hit(process.pid());
    assert_eq!(taken(&mut generated), [process.pid()]);
}

#[test]
fn files_of_generated_code_are_told_once_and_forgotten_with_their_process() {
    let process = Process::new();
    let records = records_in(&process, "/memfd:doublemapper (deleted)", 0);
    let mut pipeline = live(&records.events);
    take_all(&mut pipeline, &records);
    let files = pipeline.generated.take_files();
    let places: Vec<_> = files.iter().map(|(pid, it)| (*pid, it.start)).collect();
    assert_eq!(places, [(process.pid(), CODE)]);
    take_all(&mut pipeline, &records);
    assert!(pipeline.generated.take_files().is_empty());
    pipeline.generated.put_back_files(files.clone());
    assert_eq!(pipeline.generated.take_files(), files);
    pipeline.forget(process.pid(), Tid(process.0 as i32));
    assert_eq!(pipeline.generated.files().count(), 0);
}

#[test]
fn maps_that_nobody_used_can_be_taken_once_more() {
    let [first, second] = [(); 2].map(|()| Process::new());
    let mut generated = GeneratedCode::live();
    for process in [&first, &second] {
        process.write_map();
        generated.hit(process.pid());
    }
    let maps = generated.take_maps();
    let mut pids: Vec<_> = maps.iter().map(|(pid, _)| *pid).collect();
    pids.sort_unstable();
    assert_eq!(pids, [first.pid(), second.pid()]);
    generated.put_back_maps(maps);
    generated.hit(first.pid());
    let mut again = taken(&mut generated);
    again.sort_unstable();
    assert_eq!(again, pids);
    assert_eq!(taken(&mut generated), []);
}

#[test]
fn a_recording_opens_no_map_while_it_is_read() {
    let process = Process::new();
    process.write_map();
    let mut generated = GeneratedCode::stored(prof_symbolizer::FileFinder::default());
    generated.hit(process.pid());
    assert_eq!(taken(&mut generated), []);
}

#[test]
fn a_recordings_code_has_the_names_of_a_map_that_is_no_younger_than_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let process = Process::new();
    let name = || {
        let loaded = load(&ReadOptions::new(&path), Wanted::default()).unwrap();
        let (frame, _) = loaded.profile.frames().next().unwrap();
        match loaded.names.get(frame) {
            Resolution::Named { symbol, .. } => Ok(symbol.name.to_string()),
            Resolution::Unresolved(reason) => Err(*reason),
        }
    };
    let pause = || std::thread::sleep(Duration::from_millis(20)); // the clock of files is coarse
    records_of(&process).save(&path, Features::default(), None);
    pause();
    process.write_map();
    assert_eq!(name(), Err(Reason::NoPerfMap));
    pause();
    records_of(&process).save(&path, Features::default(), None);
    assert_eq!(name(), Ok("generated".to_owned()));
}

#[test]
fn a_fork_has_the_names_of_its_parents_map_until_code_of_another_program_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let [parent, child] = [(); 2].map(|()| Process::new());
    parent.write_map();
    std::thread::sleep(Duration::from_millis(20)); // the clock of files is coarse
    let sample = Sampled {
        pid: child.0,
        tid: child.0,
        chain: vec![callchain::USER, CODE + 8],
        ..Sampled::default()
    };
    let mut records = Records::of(one_event(attr(0)));
    records.map(1, parent.0, CODE..CODE + 0x1000, 0, "//anon");
    records.fork(2, (child.0, child.0), (parent.0, parent.0));
    records.sample(&sample);
    let names = |records: &Records| {
        records.save(&path, Features::default(), None);
        let loaded = load(&ReadOptions::new(&path), Wanted::default()).unwrap();
        let frames = loaded.profile.frames();
        let names = frames.map(|(frame, key)| {
            let dso = key.dso.map(|dso| loaded.profile.dsos.get(dso).kind);
            assert_eq!(dso, Some(DsoKind::Jit(child.pid())));
            match loaded.names.get(frame) {
                Resolution::Named { symbol, .. } => symbol.name.to_string(),
                Resolution::Unresolved(reason) => format!("{reason:?}"),
            }
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&records), ["generated"]);
    records.comm(200, (child.0, child.0), "next", true);
    assert_eq!(names(&records), ["generated"]);
    records.map(201, child.0, CODE..CODE + 0x1000, 0, "//anon");
    records.sample(&Sampled {
        time: 300,
        ..sample
    });
    assert_eq!(names(&records), ["NoPerfMap"]);
}

/// What a perf map says about memory that a process executed of a file.
#[test]
fn code_in_a_file_that_is_no_program_has_the_names_of_the_perf_map_and_a_program_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("perf.data");
    let (text, program) = (dir.path().join("code"), dir.path().join("program"));
    fs::write(&text, [0x90; 64]).unwrap();
    Elf::default().save(&program);
    let (text, program) = (text.to_str().unwrap(), program.to_str().unwrap());
    let generated = Ok(("generated".to_owned(), 0x3000));
    for (file, expected) in [
        ("/memfd:doublemapper (deleted)", generated.clone()),
        ("/opt/jit/ffiXXXX (deleted)", generated.clone()),
        (text, generated),
        (program, Err(Reason::NoSymbolTable)),
    ] {
        let process = Process::new();
        process.write_map();
        std::thread::sleep(Duration::from_millis(20)); // the clock of files is coarse
        let records = records_in(&process, file, 0x3000);
        records.save(&recording, Features::default(), None);
        let loaded = load(&ReadOptions::new(&recording), Wanted::default()).unwrap();
        let (frame, _) = loaded.profile.frames().next().unwrap();
        let found = match loaded.names.get(frame) {
            Resolution::Named { symbol, .. } => Ok((symbol.name.to_string(), symbol.start)),
            Resolution::Unresolved(reason) => Err(*reason),
        };
        assert_eq!(found, expected, "{file}");

        let mut pipeline = live(&records.events);
        take_all(&mut pipeline, &records);
        let maps = taken(&mut pipeline.generated);
        match file == program {
            true => assert_eq!(maps, []),
            false => assert_eq!(maps, [process.pid()], "{file}"),
        }
    }
}
