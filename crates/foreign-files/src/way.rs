//! Ways to a directory that is to be written to. In a directory where everybody may make files, such as `/tmp`,
//! a link may have been planted for whoever comes by: it is not followed, as the kernel does not where
//! `fs.protected_symlinks` is set.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use crate::file_systems::is_of_the_kernel;
use crate::inside::{MOST_LINKS, held, kind, reversed};

/// Something that another user put into a directory where everybody may.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is {what} of user {owner}, in a directory that everybody may write to", name.display())]
pub struct Planted {
    /// Its name in that directory.
    pub name: PathBuf,
    /// What it is, with its article.
    pub what: &'static str,
    /// Whose it is.
    pub owner: u32,
}

impl From<Planted> for io::Error {
    fn from(planted: Planted) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, planted)
    }
}

/// Holds the directory at `path`, whose links on the way are nobody's trap.
///
/// # Errors
/// The file system's; [`Planted`] inside one of [`io::ErrorKind::PermissionDenied`].
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let start = |path: &Path| {
        open(
            if path.is_absolute() { "/" } else { "." },
            flags,
            Mode::empty(),
        )
    };
    let mut here = start(path)?;
    let mut parts: Vec<OsString> = reversed(path);
    let mut links = 0;
    while let Some(part) = parts.pop() {
        let found = openat(&here, part.as_os_str(), held(false), Mode::empty())?;
        if kind(&found)? != SFlag::S_IFLNK {
            here = found;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::ELOOP.into());
        }
        if is_of_the_kernel(&found)? {
            here = openat(&here, part.as_os_str(), held(true), Mode::empty())?;
            continue;
        }
        refuse_planted(&here, &part, &fstat(&found)?, "a link")?;
        let target = PathBuf::from(readlinkat(&found, "")?);
        if target.is_absolute() {
            here = start(&target)?;
        }
        parts.extend(reversed(&target));
    }
    match kind(&here)? {
        SFlag::S_IFDIR => Ok(here),
        _ => Err(Errno::ENOTDIR.into()),
    }
}

/// What a name in a directory is, where a link is itself; `None` if there is nothing.
///
/// # Errors
/// The file system's.
pub fn entry(directory: impl AsFd, name: &OsStr) -> io::Result<Option<FileStat>> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what another user put into a directory that everybody may write to.
///
/// # Errors
/// [`Planted`], inside one of [`io::ErrorKind::PermissionDenied`].
pub fn refuse_planted(
    directory: impl AsFd,
    name: &OsStr,
    found: &FileStat,
    what: &'static str,
) -> io::Result<()> {
    let around = fstat(directory)?;
    let is_open_to_all = around.st_mode & 0o002 != 0;
    let owner = found.st_uid;
    if is_open_to_all && owner != geteuid().as_raw() && owner != around.st_uid {
        let name = PathBuf::from(name);
        return Err(Planted { name, what, owner }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    #[test]
    fn links_on_the_way_are_followed_unless_another_user_planted_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("real/inner")).unwrap();
        fs::create_dir(path("all")).unwrap();
        fs::set_permissions(path("all"), Permissions::from_mode(0o1777)).unwrap();
        symlink(path("real"), path("all/link")).unwrap();
        symlink("all/link/inner/..", path("relative")).unwrap();
        for way in ["all/link/inner", "relative", "all/../real"] {
            assert!(directory(&path(way)).is_ok(), "{way}");
        }
        assert!(directory(Path::new("/proc/self/cwd")).is_ok());
        assert!(directory(Path::new("")).is_ok());
        assert_eq!(
            directory(&path("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        if !geteuid().is_root() {
            return println!("skipped: not root");
        }
        lchown(path("all/link"), Some(65534), None).unwrap();
        let error = directory(&path("relative")).unwrap_err();
        let said = "`link` is a link of user 65534, in a directory that everybody may write to";
        assert_eq!(error.to_string(), said);
        fs::set_permissions(path("all"), Permissions::from_mode(0o755)).unwrap();
        assert!(directory(&path("relative")).is_ok());
    }
}
