//! Where a new file may be made, and what else a path may lead to that can be written to.
//!
//! In: a path, as the user gave it. Out: [`Found`], or why nothing is written there. Elsewhere: making the file
//! (`new_file.rs`).
//!
//! The directory may be one where everybody can make files, and we may be root. So no link is followed that
//! another user has planted, neither on the way (`prof_foreign_files::directory`) nor at its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use nix::unistd::geteuid;
use prof_foreign_files::{directory, entry, refuse_planted};

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, or a file or link whose place a new file takes.
    Place(NewPlace),
    /// Somewhere where bytes go: `/dev/stdout` or another descriptor, a terminal.
    Sink,
    /// `/dev/null` and its like, where any place of a file may be written to.
    Null,
    /// A FIFO.
    Fifo,
}

/// A name in a directory, for a file that is to be made.
#[derive(Clone, Debug)]
pub(super) struct NewPlace {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: OsString,
    pub(super) path: PathBuf, // for messages
}

/// Looks what a path leads to, without opening it.
///
/// # Errors
/// No file can be written there: it is a directory or a device, or its place is in no directory, or another
/// user has planted something there. The file system's.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    if is_descriptor(path) {
        return Ok(Found::Sink);
    }
    let is_directory = || io::Error::from(Errno::EISDIR);
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let name = path.file_name().filter(|_| !ends_in_slash);
    let name = name.ok_or_else(is_directory)?;
    let directory = directory(path.parent().unwrap_or(Path::new("")))?;
    let place = NewPlace {
        name: name.to_owned(),
        path: path.to_owned(),
        directory: Arc::new(directory),
    };
    let Some(mut found) = entry(&*place.directory, name)? else {
        return Ok(Found::Place(place));
    };
    if kind(found.st_mode) == SFlag::S_IFLNK {
        refuse_planted(&*place.directory, name, &found, "a link")?;
        match nix::sys::stat::stat(path) {
            Ok(behind) if kind(behind.st_mode) == SFlag::S_IFDIR => return Err(is_directory()),
            Ok(behind) if kind(behind.st_mode) != SFlag::S_IFREG => found = behind,
            _ => {} // the file takes the place of the link
        }
    }
    match kind(found.st_mode) {
        SFlag::S_IFREG | SFlag::S_IFLNK => {
            place.can_be_taken_from(found.st_uid)?;
            Ok(Found::Place(place))
        }
        SFlag::S_IFDIR => Err(is_directory()),
        SFlag::S_IFIFO => {
            refuse_planted(&*place.directory, name, &found, "a FIFO")?;
            Ok(Found::Fifo)
        }
        SFlag::S_IFCHR if is_null(found.st_rdev) => Ok(Found::Null),
        SFlag::S_IFCHR if is_terminal(found.st_rdev) => Ok(Found::Sink),
        SFlag::S_IFSOCK => Err(io::Error::other("it is a socket")),
        _ => Err(io::Error::other("it is a device")),
    }
}

/// The names of our own descriptors: what they lead to is open already, and no place of a file.
fn is_descriptor(path: &Path) -> bool {
    let streams = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    let folders = ["/dev/fd", "/proc/self/fd"].map(Path::new);
    streams.contains(&path) || path.parent().is_some_and(|it| folders.contains(&it))
}

/// `/dev/null`, `/dev/zero`, `/dev/full`.
fn is_null(device: u64) -> bool {
    matches!((major(device), minor(device)), (1, 3 | 5 | 7))
}

fn is_terminal(device: u64) -> bool {
    matches!(major(device), 4 | 5 | 136..=143)
}

fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

/// Opens what is no place of a file, to write to it and to do what `access` says. A FIFO that nobody reads is
/// [`Errno::ENXIO`].
///
/// # Errors
/// The system's.
pub(super) fn open_sink(path: &Path, access: OFlag) -> io::Result<File> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(nix::fcntl::open(path, flags, Mode::empty())?);
    if !file.is_terminal() {
        // From here on it may wait for its reader.
        let flags = OFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    }
    Ok(file)
}

impl NewPlace {
    /// In a directory that keeps each user's files, such as `/tmp`, another user's stay where they are.
    fn can_be_taken_from(&self, owner: u32) -> io::Result<()> {
        let around = fstat(&*self.directory)?;
        let keeps = around.st_mode & 0o1000 != 0;
        let user = geteuid();
        let ours = [owner, around.st_uid].contains(&user.as_raw()) || user.is_root();
        match keeps && !ours {
            true => Err(Errno::EPERM.into()),
            false => Ok(()),
        }
    }

    /// Whether anything lies there.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn is_taken(&self) -> io::Result<bool> {
        Ok(entry(&*self.directory, &self.name)?.is_some())
    }

    /// Where an older file is kept: `FILE.old`.
    pub(super) fn old(&self) -> OsString {
        with(&self.name, ".old")
    }

    /// Whether an older file can be kept.
    ///
    /// # Errors
    /// [`Errno::EISDIR`] where `FILE.old` is a directory.
    pub(super) fn check_old(&self) -> io::Result<()> {
        let old = entry(&*self.directory, &self.old())?;
        let is_directory = old.is_some_and(|old| kind(old.st_mode) == SFlag::S_IFDIR);
        match is_directory && self.is_taken()? {
            true => Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                format!(
                    "an older file is kept as `{}.old`, which is a directory",
                    self.path.display()
                ),
            )),
            false => Ok(()),
        }
    }
}

pub(super) fn with(name: &OsStr, end: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(end);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_for_a_file_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| find(path).unwrap_err().to_string();
        let slash = dir.path().join("d/");
        assert_eq!(said(&slash), "Is a directory (os error 21)");
        assert_eq!(said(dir.path()), "Is a directory (os error 21)");
        let missing = dir.path().join("d/x");
        assert_eq!(said(&missing), "No such file or directory (os error 2)");
        assert_eq!(said(Path::new("/dev/random")), "it is a device");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(said(&socket), "it is a socket");
        assert!(matches!(find(Path::new("/dev/null")), Ok(Found::Null)));
        for sink in ["/dev/tty", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/2"] {
            assert!(matches!(find(Path::new(sink)), Ok(Found::Sink)), "{sink}");
        }
    }
}
