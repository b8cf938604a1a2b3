//! The one way in which files are written: under a random name beside their place, which they take when they
//! are whole.
//!
//! In: a place, or a path. Out: a file that is for the user alone. Elsewhere: which places there are
//! (`new_place.rs`), what is written (`output.rs`, and the exports of the commands).
//!
//! Nothing that is there is ever written to, so that nobody can have chosen what that is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::new_place::{Found, NewPlace, find, open_sink, with};

/// A file that is being written under another name. Unless it is put into its place or kept it is removed.
#[derive(Debug)]
pub(super) struct NewFile {
    unfinished: Option<Unfinished>,
}

/// The name of a file that is being written, which may be read as far as it is.
#[derive(Clone, Debug)]
pub struct Unfinished {
    place: NewPlace,
    name: OsString,
}

impl Unfinished {
    /// Gives it the name that it would have got, with `.part` behind, and returns that.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep(&self) -> io::Result<PathBuf> {
        self.rename(&with(&self.place.name, ".part"))?;
        Ok(with(self.place.path.as_os_str(), ".part").into())
    }

    fn rename(&self, to: &OsStr) -> io::Result<()> {
        let directory = &*self.place.directory;
        Ok(renameat(directory, self.name.as_os_str(), directory, to)?)
    }
}

impl NewFile {
    /// Begins one: readable and writable for the user alone.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn create(place: &NewPlace) -> io::Result<(Self, File)> {
        const ATTEMPTS: usize = 100;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut attempts = 0;
        loop {
            let name = temporary_name(&place.name);
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            match openat(&*place.directory, name.as_os_str(), flags, mode) {
                Err(Errno::EEXIST) if attempts < ATTEMPTS => attempts += 1,
                opened => {
                    let file = File::from(opened?);
                    let place = place.clone();
                    let unfinished = Some(Unfinished { place, name });
                    return Ok((Self { unfinished }, file));
                }
            }
        }
    }

    /// Its name until it is finished.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.unfinished.clone()
    }

    /// Puts it into its place. What lies there is kept as `FILE.old`, if `keep_old` is set.
    ///
    /// # Errors
    /// The file system's; the file keeps its name.
    pub(super) fn finish(&mut self, keep_old: bool) -> io::Result<()> {
        let Some(unfinished) = self.unfinished.take() else {
            return Ok(());
        };
        let place = &unfinished.place;
        let directory = &*place.directory;
        let put = || {
            if keep_old && place.is_taken()? {
                let old = place.old();
                renameat(
                    directory,
                    place.name.as_os_str(),
                    directory,
                    old.as_os_str(),
                )?;
            }
            unfinished.rename(&place.name)
        };
        let done = put();
        if done.is_err() {
            self.unfinished = Some(unfinished);
        }
        done
    }

    /// Leaves it as it is, under the name that [`Unfinished::keep`] gives it.
    ///
    /// # Errors
    /// The file system's; it is removed then.
    pub(super) fn keep(mut self) -> io::Result<Option<PathBuf>> {
        let kept = self.unfinished.as_ref().map(Unfinished::keep).transpose()?;
        self.unfinished = None;
        Ok(kept)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(Unfinished { place, name }) = &self.unfinished {
            let _ = unlinkat(
                &*place.directory,
                name.as_os_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}

/// `.perf.data.0f3a9c5d71e2b846.tmp`: nobody can know it before.
fn temporary_name(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let random = RandomState::new().build_hasher().finish(); // its keys are the system's random bytes
    hidden.push(format!(".{random:016x}.tmp"));
    hidden
}

/// Whether a file may be the unfinished one of a recording.
pub(super) fn is_temporary(name: &str) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|it| it.strip_suffix(".tmp"));
    let parts = inner.and_then(|inner| inner.rsplit_once('.'));
    let is_random =
        |random: &str| random.len() == 16 && random.bytes().all(|it| it.is_ascii_hexdigit());
    parts.is_some_and(|(of, random)| !of.is_empty() && is_random(random))
}

/// Tries whether [`write_whole`] could write there, before what is to be written is known.
///
/// # Errors
/// That nothing may be written there, and the file system's.
pub fn try_place(path: &Path) -> io::Result<()> {
    match find(path)? {
        Found::Place(place) => NewFile::create(&place).map(drop),
        Found::Sink | Found::Null | Found::Fifo => Ok(()),
    }
}

/// Writes a small file as a whole: under another name first. What takes bytes as they come gets them so.
///
/// # Errors
/// That nothing may be written there, and the file system's. Nothing is left of the file then.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let (mut new, file) = match find(path)? {
        Found::Place(place) => {
            let (new, file) = NewFile::create(&place)?;
            (Some(new), file)
        }
        Found::Sink | Found::Null | Found::Fifo => (None, open_sink(path, OFlag::O_WRONLY)?),
    };
    let mut out = BufWriter::new(file);
    let written = write(&mut out).and_then(|()| out.flush());
    let _ = out.into_parts(); // what could not be written is not tried again
    written?;
    new.as_mut().map_or(Ok(()), |new| new.finish(false))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::geteuid;

    use super::*;

    fn put(path: &Path) -> io::Result<()> {
        write_whole(path, |out| out.write_all(b"new"))
    }

    #[test]
    fn a_file_takes_a_links_place_and_is_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("precious"), "old").unwrap();
        symlink("precious", path("link")).unwrap();
        put(&path("link")).unwrap();
        assert_eq!(fs::read(path("precious")).unwrap(), b"old");
        assert_eq!(fs::read(path("link")).unwrap(), b"new");
        let made = fs::symlink_metadata(path("link")).unwrap();
        assert!(made.is_file());
        assert_eq!(made.mode() & 0o777, 0o600);
        put(Path::new("/dev/null")).unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn what_another_user_planted_where_everybody_may_is_refused() {
        if !geteuid().is_root() {
            return println!("skipped: not root");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        let path = |name: &str| dir.path().join(name);
        symlink("/dev/null", path("link")).unwrap();
        put(&path("link")).unwrap();
        for name in ["link", "dangling"] {
            let _ = symlink("nowhere", path(name));
            lchown(path(name), Some(65534), None).unwrap();
            let error = put(&path(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(
                error.to_string().contains("a link of user 65534"),
                "{error}"
            );
        }
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        assert!(matches!(find(&path("fifo")), Ok(Found::Fifo)));
        lchown(path("fifo"), Some(65534), None).unwrap();
        assert!(
            find(&path("fifo"))
                .unwrap_err()
                .to_string()
                .contains("a FIFO of user 65534")
        );
        // A plain file of another user: a new one takes its place, and it cannot be read by them.
        fs::write(path("file"), "theirs").unwrap();
        lchown(path("file"), Some(65534), None).unwrap();
        put(&path("file")).unwrap();
        assert_eq!(fs::metadata(path("file")).unwrap().uid(), 0);
    }

    #[test]
    fn a_fifo_without_a_reader_is_an_error_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let error = put(&fifo).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENXIO as i32));
    }

    #[test]
    fn temporary_names_are_known_as_such_and_each_is_another() {
        let names = [0, 1].map(|_| temporary_name(OsStr::new("perf.data")));
        assert_ne!(names[0], names[1]);
        assert!(
            names
                .iter()
                .all(|name| is_temporary(name.to_str().unwrap()))
        );
        for other in [
            ".perf.data.tmp",
            "perf.data.0123456789abcdef.tmp",
            ".x.12.tmp",
        ] {
            assert!(!is_temporary(other), "{other}");
        }
    }
}
