//! Where a file lies: a path, and the root that it stays in.

use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::open;

/// A path as somebody sees it: this process, one in a container, or whoever copied files below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignPath {
    root: Option<PathBuf>,
    path: PathBuf,
}

impl ForeignPath {
    /// As this process sees it. A path that leads through the root of a process, `/proc/PID/root/...`, is that
    /// process's: it does not leave this root.
    pub fn at(path: &Path) -> Self {
        match process_root(path) {
            Some((root, path)) => Self::below(&root, &path),
            None => Self {
                root: None,
                path: path.to_owned(),
            },
        }
    }

    /// Below a directory, where `path` begins and which neither links nor `..` leave.
    pub fn below(root: &Path, path: &Path) -> Self {
        if root == Path::new("/") {
            return Self {
                root: None,
                path: root.join(path),
            };
        }
        Self {
            root: Some(root.to_owned()),
            path: path.strip_prefix("/").unwrap_or(path).to_owned(),
        }
    }

    /// The place of a path that [`ForeignPath::path`] told, where all that was below `root` is to stay there.
    pub fn known(path: &Path, root: Option<&Path>) -> Self {
        match root.and_then(|root| Some((root, path.strip_prefix(root).ok()?))) {
            Some((root, inside)) => Self::below(root, inside),
            None => Self::at(path),
        }
    }

    /// The whole path, for messages.
    pub fn path(&self) -> PathBuf {
        match &self.root {
            Some(root) => root.join(&self.path),
            None => self.path.clone(),
        }
    }

    /// The directory that it stays in; `None` where that is `/`.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The path inside its root.
    pub fn inside(&self) -> &Path {
        &self.path
    }

    /// What is called `name` as seen from the directory of this file: beside it, and in the same root where
    /// `name` begins with `/`. `None` where the file is known by a name of the kernel's for it only, such as
    /// `/proc/PID/exe`, which lies beside nothing.
    pub fn beside(&self, name: &Path) -> Option<Self> {
        if self.root.is_none() && self.path.starts_with("/proc") {
            return None;
        }
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        Some(match &self.root {
            Some(root) => Self::below(root, &path),
            None => Self { root: None, path },
        })
    }

    /// What is known of what lies there, which is not opened for that.
    ///
    /// # Errors
    /// The file system's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        let held = open::hold(self, true)?;
        std::fs::File::from(held).metadata()
    }
}

/// `/proc/7/root` and `usr/bin/x` of `/proc/7/root/usr/bin/x`.
fn process_root(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = path.components();
    let mut next = || match parts.next()? {
        Component::Normal(part) => part.to_str(),
        Component::RootDir => Some("/"),
        _ => None,
    };
    let (root, proc, pid, name) = (next()?, next()?, next()?, next()?);
    let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let is_root = (root, proc, name) == ("/", "proc", "root") && is_pid;
    is_root.then(|| {
        let root = Path::new("/proc").join(pid).join("root");
        (root, parts.as_path().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> (Option<String>, String) {
        let place = ForeignPath::at(Path::new(path));
        let root = place.root().map(|root| root.display().to_string());
        (root, place.inside().display().to_string())
    }

    #[test]
    fn a_path_through_the_root_of_a_process_stays_in_that_root() {
        let root = Some("/proc/7/root".to_owned());
        for (path, inside) in [
            ("/proc/7/root/usr/bin/x", "usr/bin/x"),
            ("//proc/./7/root//usr", "usr"),
            ("/proc/7/root/../../etc/x", "../../etc/x"),
            ("/proc/7/root", ""),
        ] {
            assert_eq!(split(path), (root.clone(), inside.to_owned()), "{path}");
        }
        for path in ["/proc/7/exe", "/usr/bin/x", "/proc/self/root/x", "x/proc/7"] {
            assert_eq!(split(path), (None, path.to_owned()));
        }
    }

    #[test]
    fn what_lies_beside_a_file_is_in_its_root_however_it_is_called() {
        let program = ForeignPath::at(Path::new("/proc/7/root/usr/bin/x"));
        let beside = |name: &str| program.beside(Path::new(name)).unwrap().path();
        assert_eq!(beside("x.debug"), Path::new("/proc/7/root/usr/bin/x.debug"));
        assert_eq!(beside("/etc/x"), Path::new("/proc/7/root/etc/x"));
        let here = ForeignPath::at(Path::new("/usr/bin/x"));
        let beside = here.beside(Path::new(".debug/y")).unwrap();
        assert_eq!(beside.path(), Path::new("/usr/bin/.debug/y"));
        assert_eq!(
            ForeignPath::at(Path::new("/proc/7/exe")).beside(Path::new("y")),
            None
        );
    }

    #[test]
    fn a_copied_tree_is_a_root() {
        let root = Path::new("/copy");
        let known = ForeignPath::known(Path::new("/copy/usr/bin/x"), Some(root));
        assert_eq!(
            (known.root(), known.inside()),
            (Some(root), Path::new("usr/bin/x"))
        );
        assert_eq!(ForeignPath::below(root, Path::new("/usr/bin/x")), known);
        assert_eq!(
            ForeignPath::known(Path::new("/usr/x"), Some(root)).root(),
            None
        );
        let host = ForeignPath::below(Path::new("/"), Path::new("usr/x"));
        assert_eq!(host, ForeignPath::at(Path::new("/usr/x")));
    }
}
