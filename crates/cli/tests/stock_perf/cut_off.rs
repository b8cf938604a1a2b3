//! Recordings whose recorder did not end well: read as far as they go, and how far is said.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::support::{PROF, Running, is_root};

/// Waits until the file has so many bytes; fails after a minute.
fn until_written(folder: &Path, name: &str, bytes: u64) -> String {
    let start = Instant::now();
    loop {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{name} stays short"
        );
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        for entry in entries {
            let file = entry.file_name().into_string().unwrap();
            let len = entry.metadata().map_or(0, |metadata| metadata.len());
            if file.contains(name) && len > bytes {
                return file;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a torn file: its samples are there, and the warning says that it is torn.
fn assert_read(lab: &Lab, file: &str) {
    let report = lab
        .prof("report --stdio --no-children -g none -n", file)
        .ok();
    let names_leaf = report.out.lines().any(|line| line.contains("] leaf"));
    assert!(names_leaf, "not the function that runs:\n{}", report.out);
    let len = std::fs::metadata(lab.place.file(file)).unwrap().len();
    let warning = "the recorder did not finish the file; the ";
    let (_, said) = report.err.split_once(warning).expect("a warning");
    let bytes: u64 = said.split(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 20_000 && bytes < len, "{}", report.err);
    assert!(!report.err.contains("feature"), "{}", report.err);
    let script = lab.prof("script", file).ok();
    assert!(script.out.contains("leaf+0x"));
}

#[test]
fn a_recorder_that_was_killed_leaves_what_it_has_written() {
    let Some(lab) = Lab::new() else { return };
    // With a second argument the workload starts nothing that would outlive it.
    let target = Running::start(lab.place.file("work"), &["alone", "100000"]);
    for (program, name) in [("perf", "theirs.data"), (PROF, "ours.data")] {
        let mut recorder = Command::new(program);
        let options = [
            "record",
            "-F",
            "9999",
            "-g",
            "-o",
            name,
            "-p",
            &target.pid(),
        ];
        recorder.args(options).current_dir(lab.place.path());
        recorder
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let recorder = Running(recorder.spawn().unwrap());
        let file = until_written(lab.place.path(), name, 300_000);
        drop(recorder); // SIGKILL
        assert_read(&lab, &file);
    }
}

/// A file system of 4 MiB that goes away with the test. perf empties one ring, of 512 KiB, after the
/// other: what the first one says about mappings must not be all that fits.
struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_what_fitted_on_it() {
    let Some(lab) = Lab::new() else { return };
    if !is_root() {
        return;
    }
    let folder = lab.place.file("small");
    std::fs::create_dir(&folder).unwrap();
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(&folder);
    if !mount.status().is_ok_and(|status| status.success()) {
        println!("skipped: may not mount");
        return;
    }
    let _disk = SmallDisk(&folder);
    let perf = "perf record -N -q -F 9999 -g -o small/perf.data -- ./work 4000 2>/dev/null";
    let recorded = lab.shell(perf);
    assert_ne!(recorded.status, Some(0), "the disk was large enough");
    assert_read(&lab, "small/perf.data");
    std::fs::remove_file(folder.join("perf.data")).unwrap();

    let record = "\"$PROF\" record -F 9999 -o small/perf.data -- ./work 4000";
    let recorded = lab.shell(record).failed(1);
    recorded.says(&["small/perf.data", "No space left on device"]);
}

/// Whether a record of a pipe ends at an offset. A pipe's header has 16 bytes, a record its size in the
/// last two of its first eight.
fn is_between_records(pipe: &[u8], offset: usize) -> bool {
    let mut at = 16;
    while at < offset {
        at += usize::from(u16::from_le_bytes([pipe[at + 6], pipe[at + 7]])).max(8);
    }
    at == offset
}

#[test]
fn a_file_that_was_cut_is_read_to_the_cut_in_every_form() {
    let Some(lab) = Lab::new() else { return };
    let kinds = [
        ("fp.data", "-F 999 -g"),
        ("dwarf.data", "-F 199 --call-graph dwarf"),
        ("zstd.data", "-F 999 -g -z"),
        ("trace.data", "-e sched:sched_switch -g"),
        ("pipe.pipe", "-F 999 -g"),
    ];
    for (file, options) in kinds {
        assert!(lab.record(file, options), "perf record {options}");
        // Names and mappings may be behind the cut: they are left out.
        let samples = "script --ns -G -F tid,time,period,ip";
        let whole = lab.prof(samples, file).ok().out;
        let bytes = std::fs::read(lab.place.file(file)).unwrap();
        for part in 1..=8 {
            let mut cut = bytes.len() * part / 9;
            if file == "pipe.pipe" && is_between_records(&bytes, cut) {
                cut += 1; // nobody can tell that more should have come
            }
            std::fs::write(lab.place.file("cut"), &bytes[..cut]).unwrap();
            let ran = lab.prof(samples, "cut");
            assert!(!ran.err.contains("panicked"), "{}", ran.err);
            if ran.status != Some(0) {
                ran.failed(1);
                continue;
            }
            // The same samples as of the whole file, and fewer.
            let mut lines = whole.lines();
            let is_part = ran.out.lines().all(|line| lines.any(|it| it == line));
            assert!(is_part, "{file} cut at {cut}");
            let is_shorter = ran.out.len() < whole.len();
            assert!(!is_shorter || !ran.err.is_empty(), "{file} cut at {cut}");
        }
    }
}
