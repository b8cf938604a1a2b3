//! What stock perf records, this crate reads as `perf script` does.

mod common;

use std::path::Path;

use common::{Perf, our_samples};
use prof_perfdata::Recording;
use prof_tracepoint::TracepointFormat;

/// Reads a recording with perf and with this crate.
fn assert_same_samples(perf: &Perf, file: &Path) -> Recording {
    let theirs = perf.samples(file);
    let mut recording = Recording::open(file).unwrap();
    let ours = our_samples(&mut recording);
    assert!(
        ours.len() > 20,
        "{} has {} samples",
        file.display(),
        ours.len()
    );
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "sample {index} of {}", file.display());
    }
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(recording.warnings(), [""; 0]);
    assert!(recording.stored_names().is_none());
    recording
}

#[test]
fn frame_pointer_recordings_give_the_samples_that_perf_script_prints() {
    let Some(perf) = Perf::find() else { return };
    let file = perf.record("fp.data", "-F 999 -g");
    let mut recording = assert_same_samples(&perf, &file);
    let first = our_samples(&mut recording);
    assert_eq!(our_samples(&mut recording), first); // a file can be read again

    let features = recording.features();
    let header = perf.ask("report", "--header-only", &file);
    let line = |key: &str, value: &str| {
        let line = format!("# {key} : {value}");
        assert!(header.contains(&line), "{line}");
    };
    line("hostname", features.hostname.as_ref().unwrap());
    line("os release", features.os_release.as_ref().unwrap());
    line("arch", features.arch.as_ref().unwrap());
    line("cpudesc", features.cpu_desc.as_ref().unwrap());
    line("cpuid", features.cpu_id.as_ref().unwrap());
    line(
        "nrcpus online",
        &features.nr_cpus_online.unwrap().to_string(),
    );
    line(
        "total memory",
        &format!("{} kB", features.total_mem_kb.unwrap()),
    );
    line("cmdline", &features.cmdline.join(" "));

    let listed = perf.ask("buildid-list", "", &file);
    let ours: Vec<_> = features
        .build_ids
        .iter()
        .map(|id| format!("{} {}", id.build_id, String::from_utf8_lossy(&id.path)))
        .collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), ours);
}

#[test]
fn what_this_host_says_is_what_perf_wrote() {
    let Some(perf) = Perf::find() else { return };
    let theirs = Recording::open(&perf.record("host.data", "-F 99")).unwrap();
    let theirs = theirs.features();
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    let online: Vec<_> = (0..cpus).map(prof_model::Cpu).collect();
    let ours = prof_perfdata::Features::of_this_host(&online);
    assert_eq!(ours.hostname, theirs.hostname);
    assert_eq!(ours.os_release, theirs.os_release);
    assert_eq!(ours.arch, theirs.arch);
    assert_eq!(ours.nr_cpus_available, theirs.nr_cpus_available);
    assert_eq!(ours.nr_cpus_online, theirs.nr_cpus_online);
    assert_eq!(ours.cpu_desc, theirs.cpu_desc);
    assert_eq!(ours.cpu_id, theirs.cpu_id);
    assert_eq!(ours.total_mem_kb, theirs.total_mem_kb);
    assert_eq!(ours.cpu_topology, theirs.cpu_topology);
    let mut pmus = theirs.pmu_mappings.clone();
    pmus.sort();
    assert_eq!(ours.pmu_mappings, pmus);
    assert_eq!(ours.numa.len(), theirs.numa.len());
}

#[test]
fn stack_copies_compressed_and_several_events_give_the_same_samples() {
    let Some(perf) = Perf::find() else { return };
    let dwarf = perf.record("dwarf.data", "-F 499 --call-graph dwarf,16384");
    assert_same_samples(&perf, &dwarf);
    let compressed = perf.record("zstd.data", "-F 4999 -g -z");
    let recording = assert_same_samples(&perf, &compressed);
    assert!(recording.features().compressed.is_some());
    let two = perf.record("two.data", "-F 499 -g -e cpu-clock:u -e task-clock");
    let recording = assert_same_samples(&perf, &two);
    let names: Vec<_> = recording
        .events()
        .events()
        .iter()
        .map(|e| &e.name)
        .collect();
    assert_eq!(names, ["cpu-clock:u", "task-clock"]);
}

#[test]
fn pipes_give_the_same_samples_from_a_file_and_from_a_stream() {
    let Some(perf) = Perf::find() else { return };
    for options in ["-F 999 -g", "-F 499 -e cpu-clock -e task-clock"] {
        let file = perf.record_pipe("pipe.data", options);
        assert_same_samples(&perf, &file);
        let stream = std::fs::File::open(&file).unwrap();
        let mut recording = Recording::from_stream(stream).unwrap();
        assert_eq!(our_samples(&mut recording), perf.samples(&file));
        let again = recording.for_each(|_| Ok::<(), prof_perfdata::Error>(()));
        let message = again.unwrap_err().to_string();
        assert_eq!(
            message,
            "the records came from a pipe and were read already"
        );
    }
}

#[test]
fn tracepoints_of_all_cpus_and_folders_give_the_same_samples() {
    let Some(perf) = Perf::find() else { return };
    let tracepoint = perf.record("tracepoint.data", "-e sched:sched_switch -a");
    let recording = assert_same_samples(&perf, &tracepoint);
    let blob = recording.features().tracing_data.as_ref().unwrap();
    let data = prof_perfdata::TracingData::parse(blob).unwrap();
    let [format] = &data.formats[..] else {
        panic!("{data:?}");
    };
    let format = TracepointFormat::parse(&format.system, &format.text);
    let event = &recording.events().events()[0];
    assert_eq!(format.id, event.attr.config);
    assert_eq!((&*format.system, &*format.name), ("sched", "sched_switch"));
    let field = format
        .fields
        .iter()
        .find(|f| f.name == "prev_comm")
        .unwrap();
    assert_eq!(
        (field.kind.as_str(), field.offset, field.size),
        ("char[16]", 8, 16)
    );

    let pipe = perf.record_pipe("tracepoint.pipe", "-e sched:sched_switch -a");
    let recording = assert_same_samples(&perf, &pipe);
    let blob = recording.features().tracing_data.as_ref().unwrap();
    assert_eq!(prof_perfdata::TracingData::parse(blob).unwrap(), data);

    let folder = perf.record("folder.data", "-F 999 -a --threads");
    assert_same_samples(&perf, &folder);
    let folder = perf.record("folder-zstd.data", "-F 999 -a -z --threads");
    assert_same_samples(&perf, &folder);
}

#[test]
fn a_file_whose_recorder_died_is_read_to_its_end() {
    let Some(perf) = Perf::find() else { return };
    let file = perf.record("fp.data", "-F 999 -g");
    let whole = our_samples(&mut Recording::open(&file).unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    let data_end = {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (word(40) + word(48)) as usize
    };
    bytes.truncate(data_end - 1);
    bytes[48..56].fill(0); // data.size
    bytes[72..104].fill(0); // features
    let mut recording = Recording::from_bytes(bytes).unwrap();
    let samples = our_samples(&mut recording);
    assert!(whole.starts_with(&samples));
    assert!(samples.len() + 1 >= whole.len());
    let warnings = recording.warnings();
    assert!(warnings[0].starts_with("the recorder did not finish the file"));
    assert!(warnings[1].starts_with("the records end within a record at offset 0x"));
}
