//! Whether a file still has the contents that it had when it was opened.
//!
//! A build overwrites a library in place, `cp` does, and so do installers: the inode stays, and with it
//! everything that tells one file from another. In: a file that was opened, and where it may be by now. Out:
//! whether somebody wrote to it. Elsewhere: finding the file (`prof_symbolizer::FileFinder`).

use std::ffi::OsStr;
use std::fs::Metadata;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prof_foreign_files::ForeignPath;
use prof_model::{Dso, Pid};
use prof_symbolizer::{FoundFile, read_build_id};
use rustc_hash::FxHasher;

/// So many bytes are compared at each end of a file of which nothing else is known: headers.
const END: usize = 4096;

/// What a program's file was like when it was opened. Other files may be written to all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    written: Option<Written>,
    ends: u64,
}

/// When a file was last written to, as far as its file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    file: (u64, u64), // device and inode
    size: u64,
    time: (i64, i64), // seconds and nanoseconds
}

impl Written {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            time: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    fn at(path: &Path) -> Option<Self> {
        Some(Self::of(&ForeignPath::at(path).metadata().ok()?))
    }
}

impl FileStamp {
    /// That of a file which was opened just now; `None` if it is no program.
    pub(crate) fn of(file: &FoundFile) -> Option<Self> {
        file.is_elf().then(|| Self {
            written: Written::at(&file.path),
            ends: ends(file),
        })
    }

    /// Whether `file` has other contents by now. A build-id decides; without one it has if anything was
    /// written to it, at whichever of `paths` it still lies.
    pub(crate) fn has_changed(&self, file: &FoundFile, paths: &[PathBuf]) -> bool {
        if file.build_id.is_some() {
            return read_build_id((*file.image).as_ref()) != file.build_id;
        }
        let is_it = |now: &Written| self.written.is_some_and(|then| then.file == now.file);
        let own = [&file.path].into_iter().chain(paths);
        let mut now = own.filter_map(|path| Written::at(path));
        match now.find(is_it) {
            Some(now) => self.written != Some(now),
            None => self.ends != ends(file),
        }
    }

    /// Whether the file was written to between a time and now. A clock that is ahead says nothing.
    pub(crate) fn is_written_since(&self, time: SystemTime) -> bool {
        let Some(Written {
            time: (seconds, nanos),
            ..
        }) = self.written
        else {
            return false;
        };
        let since = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let written = since.and_then(|(seconds, nanos)| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
        });
        written.is_some_and(|written| time < written && written <= SystemTime::now())
    }
}

/// Where a file may lie, as a process that maps it sees it, and as we do.
pub(crate) fn places(pid: Option<Pid>, dso: &Dso) -> Vec<PathBuf> {
    let path = Path::new(OsStr::from_bytes(&dso.path));
    let inside = path.strip_prefix("/").unwrap_or(path);
    let root = pid.map(|pid| Path::new("/proc").join(pid.to_string()).join("root"));
    let seen = root.map(|root| root.join(inside));
    seen.into_iter().chain([path.to_owned()]).collect()
}

/// The first and the last bytes of a file, as one number.
fn ends(file: &FoundFile) -> u64 {
    let bytes: &[u8] = (*file.image).as_ref();
    let len = bytes.len().min(END);
    let mut hasher = FxHasher::default();
    hasher.write(&bytes[..len]);
    hasher.write(&bytes[bytes.len() - len..]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use prof_model::DsoKind;
    use prof_symbolizer::FileFinder;

    use super::*;
    use crate::common::Elf;

    fn open(path: &Path) -> (FoundFile, FileStamp) {
        let dso = Dso {
            path: path.to_str().unwrap().into(),
            kind: DsoKind::File,
            file: None,
            build_id: None,
        };
        let file = FileFinder::default().open_stored(&dso).unwrap();
        let stamp = FileStamp::of(&file).unwrap();
        (file, stamp)
    }

    /// Writes over a file without another inode.
    fn overwrite(path: &Path, elf: &Elf) {
        let other = path.with_extension("other");
        elf.save(&other);
        let mut file = fs::File::create(path).unwrap();
        file.write_all(&fs::read(other).unwrap()).unwrap();
    }

    #[test]
    fn a_file_has_changed_if_it_was_written_over_and_not_if_another_took_its_place() {
        let dir = tempfile::tempdir().unwrap();
        for with_build_id in [false, true] {
            let path = dir.path().join(format!("program-{with_build_id}"));
            let mut elf = match with_build_id {
                true => Elf::with_build_id(),
                false => Elf::default(),
            };
            elf.save(&path);
            let (file, stamp) = open(&path);
            assert!(!stamp.has_changed(&file, &[]));

            let moved = path.with_extension("moved");
            fs::rename(&path, &moved).unwrap();
            elf.save(&path);
            assert!(!stamp.has_changed(&file, &[]), "another file");
            assert!(!stamp.has_changed(&file, std::slice::from_ref(&moved)));

            std::thread::sleep(Duration::from_millis(20)); // the clock of files is coarse
            overwrite(&moved, &elf);
            // The same build is the same, whenever it was written.
            let has_changed = stamp.has_changed(&file, std::slice::from_ref(&moved));
            assert_eq!(has_changed, !with_build_id);
            elf.function("other", &[0x90; 16]);
            let mut other = Elf::default();
            other.function("other", &[0x90; 16]);
            overwrite(&moved, &other);
            assert!(stamp.has_changed(&file, &[moved]));
            assert!(stamp.has_changed(&file, &[]), "by its bytes");
        }
    }

    #[test]
    fn a_file_was_written_since_a_time_before_and_not_since_one_after_nor_in_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let second = Duration::from_secs(1);
        let before = SystemTime::now() - second;
        Elf::default().save(&path);
        assert!(open(&path).1.is_written_since(before));
        assert!(!open(&path).1.is_written_since(SystemTime::now() + second));
        let ahead = SystemTime::now() + 1000 * second;
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(ahead)
            .unwrap();
        assert!(!open(&path).1.is_written_since(before));
    }
}
