//! Paths inside a root that is not ours: every link and every `..` there means what it means to those who
//! have that root.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::file_systems::is_of_the_kernel;

/// As many links as the kernel follows.
pub(crate) const MOST_LINKS: usize = 40;
/// How often a path is looked up again that somebody has changed meanwhile.
const ATTEMPTS: usize = 3;

/// Holds what lies at `path` below `root` without opening it. Where `follow` is not set, a link in the last
/// place is held itself.
///
/// # Errors
/// The file system's; `ELOOP` for too many links, and for those of the kernel such as `/proc/PID/fd/3`.
pub(crate) fn hold(root: &Path, path: &Path, follow: bool) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(root, flags, Mode::empty())?;
    for _ in 0..ATTEMPTS {
        match by_kernel(&root, path, follow) {
            Err(Errno::EAGAIN) => {} // a directory on the way was moved
            // Before Linux 5.6, and where a filter of system calls does not know it.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => break,
            held => return held,
        }
    }
    by_steps(root, path, follow)
}

fn by_kernel(root: &OwnedFd, path: &Path, follow: bool) -> nix::Result<OwnedFd> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let how = OpenHow::new()
        .flags(held(follow))
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

/// Flags that hold a file and do not open it.
pub(crate) fn held(follow: bool) -> OFlag {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    match follow {
        true => flags,
        false => flags | OFlag::O_NOFOLLOW,
    }
}

/// What the kernel does, one part of the path after the other: links are read and their parts taken in their
/// place, and `..` is the directory that we came from.
fn by_steps(root: OwnedFd, path: &Path, follow: bool) -> nix::Result<OwnedFd> {
    let mut way = vec![root]; // from the root to where we are
    let mut last = None; // what was found, if it is no directory
    let mut parts: Vec<OsString> = reversed(path);
    let mut links = 0;
    while let Some(part) = parts.pop() {
        if last.is_some() {
            return Err(Errno::ENOTDIR);
        }
        if part == OsStr::new("..") {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let Some(here) = way.last() else {
            return Err(Errno::ENOENT);
        };
        let found = openat(here, part.as_os_str(), held(false), Mode::empty())?;
        match kind(&found)? {
            SFlag::S_IFDIR => way.push(found),
            SFlag::S_IFLNK if follow || !parts.is_empty() => {
                links += 1;
                if links > MOST_LINKS || is_of_the_kernel(&found)? {
                    return Err(Errno::ELOOP);
                }
                let target = PathBuf::from(readlinkat(&found, "")?);
                if target.is_absolute() {
                    way.truncate(1);
                }
                parts.extend(reversed(&target));
            }
            _ => last = Some(found),
        }
    }
    last.or_else(|| way.pop()).ok_or(Errno::ENOENT)
}

pub(crate) fn kind(file: impl AsFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(file)?.st_mode) & SFlag::S_IFMT)
}

/// The parts of a path, the last one first.
pub(crate) fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path
        .as_os_str()
        .as_bytes()
        .split(|&byte| byte == b'/')
        .rev();
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    type Hold = fn(&Path, &Path, bool) -> nix::Result<OwnedFd>;

    /// Both ways must agree.
    const WAYS: [Hold; 2] = [
        |root, path, follow| hold(root, path, follow),
        |root, path, follow| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            by_steps(open(root, flags, Mode::empty())?, path, follow)
        },
    ];

    fn text(held: OwnedFd) -> String {
        use std::os::fd::AsRawFd;
        let mut text = String::new();
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        fs::File::open(path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    #[test]
    fn links_and_dots_do_not_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        fs::write(root.join("secret"), "inside").unwrap();
        fs::write(root.join("etc/x"), "x").unwrap();
        let outside = dir.path().join("secret");
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../../secret", root.join("relative")).unwrap();
        symlink("/etc", root.join("usr/etc")).unwrap();
        symlink("../etc/../usr/etc/x", root.join("usr/lib/deep")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root", root.join("out")).unwrap();
        for (number, hold) in WAYS.iter().enumerate() {
            let read = |path: &str| hold(&root, Path::new(path), true).map(text);
            assert_eq!(read("relative"), Ok("inside".into()), "{number}");
            assert_eq!(read("../../secret"), Ok("inside".into()));
            assert_eq!(read("/usr/../../secret"), Ok("inside".into()));
            assert_eq!(read("usr/etc/x"), Ok("x".into()));
            assert_eq!(read("usr/lib/deep"), Ok("x".into()));
            assert_eq!(read("absolute"), Err(Errno::ENOENT));
            assert_eq!(read("out/etc"), Err(Errno::ENOENT)); // there is no /proc in this root
            assert_eq!(read("loop"), Err(Errno::ELOOP));
            assert_eq!(read("secret/x"), Err(Errno::ENOTDIR));
            assert_eq!(read("usr/none/x"), Err(Errno::ENOENT));
            let link = hold(&root, Path::new("relative"), false).unwrap();
            assert_eq!(kind(link), Ok(SFlag::S_IFLNK));
            let own = hold(&root, Path::new(""), true).unwrap();
            assert_eq!(kind(own), Ok(SFlag::S_IFDIR));
        }
    }

    #[test]
    fn links_of_the_kernel_are_not_followed() {
        for hold in WAYS {
            let held = hold(Path::new("/"), Path::new("proc/self/root/etc"), true);
            assert_eq!(held.err(), Some(Errno::ELOOP));
        }
    }
}
