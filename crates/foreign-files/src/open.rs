//! Opening.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::file_systems::is_of_the_kernel;
use crate::inside;
use crate::{ForeignPath, Refused};

/// What a file is opened for. That says how large it may be, and whether its name may be a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A program, a library, or their debug info: mapped, and read where something is looked up.
    Program,
    /// A perf map: text of which every line is kept. It lies where anybody may plant a link.
    PerfMap,
    /// A jitdump: mapped.
    Jitdump,
    /// A copy of `/proc/kallsyms`, which is read as a whole.
    KernelTable,
    /// A source file.
    Source,
    /// A line of text, as in `/etc/hostname`.
    Line,
    /// A part of a recording, which the user has named.
    Recording,
}

impl Purpose {
    /// More bytes no such file has.
    pub fn largest(self) -> u64 {
        match self {
            Self::Program => 16 << 30, // browsers with all debug info have 5 GB
            Self::PerfMap => 512 << 20,
            Self::Jitdump => 4 << 30,
            Self::KernelTable => 256 << 20, // that of a kernel with all modules has 20 MB
            Self::Source => 64 << 20,
            Self::Line => 4 << 10,
            Self::Recording => u64::MAX,
        }
    }

    fn follows_links(self) -> bool {
        self != Self::PerfMap
    }
}

/// A regular file of a real file system, open for reading.
#[derive(Debug)]
pub struct ForeignFile {
    /// The open file.
    pub file: File,
    /// Its bytes when it was opened.
    pub len: u64,
}

impl ForeignFile {
    /// Opens what lies at a place.
    ///
    /// # Errors
    /// If nothing does, or what does is not what is read for this purpose. It was not opened then: no FIFO
    /// has got a reader, no device was touched.
    pub fn open(place: &ForeignPath, purpose: Purpose) -> Result<Self, Refused> {
        let held = hold(place, purpose.follows_links())?;
        let stat = fstat(&held)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Err(Refused::NotRegular(name(kind)));
        }
        if is_of_the_kernel(&held)? {
            return Err(Refused::OfTheKernel);
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        if len > purpose.largest() {
            return Err(Refused::TooLarge(len));
        }
        let file = open_held(&held, &stat, place)?;
        Ok(Self { file, len })
    }

    /// All of it, as far as its purpose lets it be long.
    ///
    /// # Errors
    /// The file system's.
    pub fn read_whole(&self, purpose: Purpose) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&self.file)
            .take(purpose.largest())
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Holds what lies at a place without opening it.
pub(crate) fn hold(place: &ForeignPath, follow: bool) -> nix::Result<OwnedFd> {
    match place.root() {
        Some(root) => inside::hold(root, place.inside(), follow),
        None => open(place.inside(), inside::held(follow), Mode::empty()),
    }
}

/// Opens what is held. Where there is no `/proc` of ours, by its path, if that still leads to it.
fn open_held(held: &OwnedFd, stat: &FileStat, place: &ForeignPath) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let own = format!("/proc/self/fd/{}", held.as_raw_fd());
    let file = match open(Path::new(&own), flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR) if place.root().is_none() => {
            open(place.inside(), flags, Mode::empty())?
        }
        opened => opened?,
    };
    let opened = fstat(&file)?;
    match (opened.st_dev, opened.st_ino) == (stat.st_dev, stat.st_ino) {
        true => Ok(file.into()),
        false => Err(Errno::ENOENT),
    }
}

fn name(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFLNK => "a link",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::unistd::mkfifo;

    use super::*;

    fn open_at(path: &Path, purpose: Purpose) -> Result<ForeignFile, Refused> {
        ForeignFile::open(&ForeignPath::at(path), purpose)
    }

    fn refused(path: &str) -> String {
        open_at(Path::new(path), Purpose::Program)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn only_regular_files_of_real_file_systems_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("/proc/self/pagemap", path("pagemap")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        let file = open_at(&path("link"), Purpose::Program).unwrap();
        assert_eq!(file.len, 4);
        assert_eq!(file.read_whole(Purpose::Program).unwrap(), b"text");
        let of_kernel = "it is no regular file but one of the kernel's";
        for path in ["/proc/self/pagemap", "/proc/self/maps", "/sys/kernel/notes"] {
            assert_eq!(refused(path), of_kernel);
        }
        assert_eq!(refused(path("pagemap").to_str().unwrap()), of_kernel);
        assert_eq!(refused("/dev/zero"), "it is no regular file but a device");
        assert_eq!(refused("/tmp"), "it is no regular file but a directory");
        assert_eq!(refused("/none/x"), "there is no such file");
        assert_eq!(refused("/dev/null/x"), "there is no such file");
        let fifo = path("fifo");
        assert_eq!(
            refused(fifo.to_str().unwrap()),
            "it is no regular file but a FIFO"
        );
        // The kernel's links lead to real files.
        assert!(open_at(Path::new("/proc/self/exe"), Purpose::Program).is_ok());
        let whole = format!(
            "/proc/{}/root{}",
            std::process::id(),
            path("file").display()
        );
        assert_eq!(open_at(Path::new(&whole), Purpose::Program).unwrap().len, 4);
    }

    #[test]
    fn a_fifo_that_is_refused_has_got_no_reader() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert!(open_at(&fifo, Purpose::Program).is_err());
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK;
        assert_eq!(open(&fifo, flags, Mode::empty()).err(), Some(Errno::ENXIO));
    }

    #[test]
    fn a_file_is_no_larger_than_its_purpose_needs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        for purpose in [Purpose::Program, Purpose::PerfMap, Purpose::Jitdump] {
            file.set_len(purpose.largest()).unwrap();
            assert!(open_at(&path, purpose).is_ok());
            file.set_len(purpose.largest() + 1).unwrap();
            let refused = open_at(&path, purpose).unwrap_err();
            assert!(matches!(refused, Refused::TooLarge(_)), "{refused}");
        }
    }

    #[test]
    fn a_perf_map_is_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("perf-7.map");
        fs::write(dir.path().join("map"), "1 1 x\n").unwrap();
        symlink("map", &link).unwrap();
        let refused = open_at(&link, Purpose::PerfMap).unwrap_err();
        assert_eq!(refused.to_string(), "it is no regular file but a link");
        assert!(open_at(&link, Purpose::Program).is_ok());
    }
}
