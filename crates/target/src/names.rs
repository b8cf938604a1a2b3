//! What a process may be called.
//!
//! In: a name. Out: the processes that have it, or one that is much like it. Elsewhere: other ways to say who is
//! meant (`find.rs`).

use std::fs;
use std::path::Path;

use prof_model::{Pid, Tid};
use prof_sampler::proc;

use crate::facts::arguments;

/// So many processes with a name that is much like another are worth naming.
const NEAR: usize = 5;

/// The processes that are called so, exactly: by the kernel's name of their first thread, by their executable, by
/// the first word of their command line. Neither those that have ended and wait for their parent, nor this
/// process; nor what has started it, a shell or `sudo`, if others are called so as well.
pub(crate) fn processes_named(name: &str) -> Vec<Pid> {
    let ancestors = ancestors();
    let all = proc::processes().unwrap_or_default().into_iter();
    let named = all.filter(|&pid| is_named(pid, name) && proc::is_running(pid));
    let (above, mut others): (Vec<_>, Vec<_>) = named.partition(|pid| ancestors.contains(pid));
    if others.is_empty() {
        others = above;
    }
    others.retain(|&pid| pid != ourselves());
    others
}

/// Whether a process is called so.
pub(crate) fn is_named(pid: Pid, name: &str) -> bool {
    comm(pid) == name
        || executable(pid).is_some_and(|it| it == name)
        || arguments(pid).first().is_some_and(|it| base(it) == name)
}

fn comm(pid: Pid) -> String {
    let comm = proc::comm(pid, Tid(pid.0)).unwrap_or_default();
    String::from_utf8_lossy(&comm).into_owned()
}

/// The base name of the file that a process runs. `None` if that may not be read, and for the kernel's threads.
pub(crate) fn executable(pid: Pid) -> Option<String> {
    let path = fs::read_link(format!("/proc/{}/exe", proc::living_task(pid))).ok()?;
    let path = path.to_string_lossy();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    Some(base(path).to_owned())
}

fn base(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(path)
}

fn ourselves() -> Pid {
    Pid(std::process::id() as i32)
}

/// This process, what has started it, and so on.
pub(crate) fn ancestors() -> Vec<Pid> {
    let mut ancestors = vec![ourselves()];
    while let Some(parent) = ancestors.last().and_then(|&pid| proc::parent(pid)) {
        if parent.0 <= 0 || ancestors.contains(&parent) {
            break;
        }
        ancestors.push(parent);
    }
    ancestors
}

/// Processes whose names are much like this one, at most five, each with its name.
pub fn near(name: &str) -> Vec<(Pid, String)> {
    let wanted = name.to_lowercase();
    let is_near = |name: &str| {
        let name = name.to_lowercase();
        !wanted.is_empty()
            && (name.contains(&wanted) || strsim::damerau_levenshtein(&name, &wanted) <= 2)
    };
    let all = proc::processes().unwrap_or_default().into_iter();
    let others = all.filter(|&pid| pid != ourselves());
    let near = others.filter_map(|pid| {
        let names = [Some(comm(pid)), executable(pid)].into_iter().flatten();
        let name = names.into_iter().find(|name| is_near(name))?;
        Some((pid, name))
    });
    near.take(NEAR).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A copy of `sleep` under another name, that sleeps.
    fn sleeper(folder: &Path, name: &str) -> Child {
        let sleep = ["/usr/bin/sleep", "/bin/sleep"]
            .into_iter()
            .find(|it| Path::new(it).exists());
        let program = folder.join(name);
        fs::copy(sleep.unwrap(), &program).unwrap();
        let child = Command::new(&program).arg("60").spawn().unwrap();
        while executable(Pid(child.id() as i32)).is_none_or(|it| it != name) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn a_process_is_called_by_its_executable_also_where_that_is_longer_than_a_comm() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("a-rather-long-service-{}", std::process::id());
        let mut child = sleeper(folder.path(), &name);
        let pid = Pid(child.id() as i32);
        let by_name = processes_named(&name);
        let by_comm = processes_named(&name[..15]);
        fs::remove_file(folder.path().join(&name)).unwrap();
        let deleted = processes_named(&name);
        let mistyped = near(&name[1..]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(by_name, [pid]);
        assert!(by_comm.contains(&pid));
        assert_eq!(deleted, [pid]);
        assert_eq!(mistyped, [(pid, name.clone())]);
        assert_eq!(processes_named(&name), []);
    }

    #[test]
    fn this_process_is_nobody_that_is_meant_by_its_name() {
        let own = executable(ourselves()).unwrap();
        assert!(!processes_named(&own).contains(&ourselves()));
        assert!(ancestors().len() > 1);
    }
}
