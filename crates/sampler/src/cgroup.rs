//! A cgroup as a target: the processes in it and below it, also those that come later.
//!
//! In: its folder. Out: its members, its CPU time, what events are opened on. Elsewhere: which folder is meant
//! (`prof-target`), processes that move into it (`newcomers.rs`).

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, software};
use prof_model::Pid;

use crate::host;
use crate::open::OpenError;
use crate::options::{Note, Options, Target};
use crate::scope::Scope;
use crate::sys::EventFd;

/// Cgroups may lie this deep in each other.
const DEEPEST: usize = 32;

/// A cgroup whose folder is open.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
    folder: Arc<File>,
}

impl PartialEq for Cgroup {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Cgroup {}

impl Cgroup {
    /// Opens the folder of a cgroup, of whatever hierarchy.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            folder: Arc::new(File::open(path)?),
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes that are in it and in the cgroups below it now, in ascending order. Without those that have no
    /// number here.
    pub fn members(&self) -> Vec<Pid> {
        let mut members = Vec::new();
        add_members(&self.path, DEEPEST, &mut members);
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Whether there are processes in it or below it.
    pub(crate) fn has_members(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 1"),
            Err(_) => !self.members().is_empty(), // version 1
        }
    }

    /// CPU time that all its processes have used, also those that have ended. `None` where it is not counted.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        let mut lines = stat.lines();
        let used = lines.find_map(|line| line.strip_prefix("usage_usec "))?;
        used.parse().ok().map(Duration::from_micros)
    }

    /// What events are opened on.
    pub(crate) fn scope(&self) -> Scope {
        Scope::Cgroup(self.folder.as_raw_fd())
    }

    /// Whether events can be opened on it as a whole.
    ///
    /// # Errors
    /// The kernel's: whole CPUs may not be watched, or events do not know its hierarchy.
    pub fn try_as_a_whole(&self) -> io::Result<()> {
        let attr = EventAttr {
            kind: event_type::SOFTWARE,
            config: software::DUMMY,
            flags: flag::DISABLED | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV,
            ..EventAttr::default()
        };
        EventFd::open(&attr, self.scope(), host::online_cpus()[0], None).map(drop)
    }
}

/// Makes a target of a cgroup's processes where it cannot be sampled as a whole, and says so.
pub(crate) fn by_processes_if_needed(options: &mut Options) -> Result<Option<Note>, OpenError> {
    let Target::Cgroup(cgroup) = &options.target else {
        return Ok(None);
    };
    let Err(source) = cgroup.try_as_a_whole() else {
        return Ok(None);
    };
    let members = cgroup.members();
    if members.is_empty() {
        return Err(OpenError::EmptyCgroup {
            path: cgroup.path().to_owned(),
            source,
        });
    }
    let note = Note::CgroupByProcesses {
        count: members.len(),
        no_permission: matches!(source.raw_os_error(), Some(libc::EACCES | libc::EPERM)),
        paranoid: host::paranoid(),
    };
    options.target = Target::Processes(members);
    Ok(Some(note))
}

fn add_members(folder: &Path, depth: usize, members: &mut Vec<Pid>) {
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let pids = procs.lines().filter_map(|line| line.parse().ok());
    members.extend(pids.filter(|&pid| pid > 0).map(Pid));
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_members(&entry.path(), depth, members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_the_cgroups_below_as_well() {
        let root = std::env::temp_dir().join(format!("prof-members-{}", std::process::id()));
        let below = root.join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(root.join("cgroup.procs"), "7\n0\n5\n").unwrap();
        fs::write(below.join("cgroup.procs"), "6\n").unwrap();
        fs::write(root.join("cpu.stat"), "usage_usec 1500\nuser_usec 7\n").unwrap();
        let cgroup = Cgroup::open(&root).unwrap();
        let (members, time, has) = (cgroup.members(), cgroup.cpu_time(), cgroup.has_members());
        fs::write(root.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        let has_none = !cgroup.has_members();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(members, [5, 6, 7].map(Pid));
        assert_eq!(time, Some(Duration::from_micros(1500)));
        assert!(has && has_none);
        assert!(Cgroup::open(&root).is_err());
    }
}
