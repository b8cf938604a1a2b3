//! What recorders that were killed have left beside the place of a new recording.
//!
//! In: the path of a new file. Out: files like its temporary one that nobody writes any more. Elsewhere:
//! how they are named (`new_file.rs`) and locked (`output.rs`).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};

use super::new_file::is_temporary;

/// How perf.data begins.
const MAGIC: &[u8; 8] = b"PERFILE2";

/// The unfinished recordings in the directory of `path` whose recorder is dead: a living one holds a lock.
/// Each can be read up to the last second before its recorder was killed.
pub fn leftovers(path: &Path) -> Vec<PathBuf> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let names = names.filter(|name| name.to_str().is_some_and(is_temporary));
    let mut left: Vec<_> = names
        .map(|name| path.with_file_name(name))
        .filter(|file| is_given_up(file))
        .collect();
    left.sort();
    left
}

fn is_given_up(path: &Path) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let opened = ForeignFile::open(&ForeignPath::at(path), Purpose::Recording);
    let Ok(ForeignFile { mut file, .. }) = opened else {
        return false;
    };
    let mut magic = [0; MAGIC.len()];
    let is_recording = file.read_exact(&mut magic).is_ok() && &magic == MAGIC;
    // Some file systems have no locks, or none for readers: then nobody is said to be dead.
    is_recording && file.try_lock_shared().is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_recording_is_left_once_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let held = path(".perf.data.0000000000000017.tmp");
        fs::write(&held, MAGIC).unwrap();
        let recorder = File::open(&held).unwrap();
        recorder.try_lock().unwrap();
        fs::write(path(".my run.0000000000000018.tmp"), MAGIC).unwrap();
        for (name, bytes) in [
            (".f.svg.0000000000000019.tmp", &b"<svg xmlns"[..]),
            ("perf.data.0000000000000020.tmp", MAGIC),
            (".perf.data.tmp", MAGIC),
            (".perf.data.0000000000000021.tmp", b"PERF"),
            ("perf.data", MAGIC),
        ] {
            fs::write(path(name), bytes).unwrap();
        }
        let new = path("new.data");
        assert_eq!(leftovers(&new), [path(".my run.0000000000000018.tmp")]);
        drop(recorder);
        assert_eq!(
            leftovers(&new),
            [path(".my run.0000000000000018.tmp"), held]
        );
        assert!(leftovers(Path::new("no/such/place")).is_empty());
    }
}
