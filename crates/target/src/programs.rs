//! Which processes belong together.
//!
//! In: processes that are called alike. Out: the same in groups: those of one program, which are meant together.
//! Elsewhere: finding them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use prof_model::Pid;
use prof_sampler::proc;
use rustc_hash::FxHashMap;

use crate::cgroups::text_of;
use crate::containers::full_id;
use crate::facts::arguments;
use crate::names::executable;

/// Programs that are what they are told to run.
const INTERPRETERS: [&str; 13] = [
    "python", "pypy", "node", "bun", "deno", "java", "ruby", "perl", "php", "sh", "bash", "dash",
    "beam.smp",
];

/// What all processes of a program have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// Device and inode; `None` for what may not be read, which is as good as any other of its name.
    file: Option<(u64, u64)>,
    /// What an interpreter runs.
    arguments: Vec<String>,
    container: Option<String>,
    namespace: Option<PathBuf>,
}

impl Identity {
    fn of(pid: Pid) -> Self {
        let task = proc::living_task(pid);
        let file = fs::metadata(format!("/proc/{task}/exe")).ok();
        let name = executable(pid).unwrap_or_default();
        Self {
            file: file.map(|file| (file.dev(), file.ino())),
            arguments: match is_interpreter(&name) {
                true => arguments(pid),
                false => Vec::new(),
            },
            container: full_id(&text_of(task)),
            namespace: fs::read_link(format!("/proc/{task}/ns/pid")).ok(),
        }
    }
}

/// `python3.11` and `php-fpm8.2` are of one kind with `python` and `php`.
fn is_interpreter(executable: &str) -> bool {
    let kind = executable.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&kind) || INTERPRETERS.contains(&executable)
}

/// Groups processes by program: the same executable, with an interpreter the same arguments, in the same container;
/// and whoever is the child of one of them. Groups and processes in ascending order.
pub(crate) fn programs(mut pids: Vec<Pid>) -> Vec<Vec<Pid>> {
    pids.sort_unstable();
    pids.dedup();
    let identities = pids.iter().map(|&pid| Identity::of(pid)).collect();
    let parents = pids.iter().map(|&pid| proc::parent(pid)).collect();
    group(&pids, identities, parents)
}

fn group(pids: &[Pid], identities: Vec<Identity>, parents: Vec<Option<Pid>>) -> Vec<Vec<Pid>> {
    let mut leaders: Vec<_> = (0..pids.len()).collect(); // of its group each has, at last, the first
    let mut join = |one: usize, other: usize| {
        let (from, to) = (leaders[one.max(other)], leaders[one.min(other)]);
        let (from, to) = (from.max(to), from.min(to));
        leaders
            .iter_mut()
            .filter(|it| **it == from)
            .for_each(|it| *it = to);
    };
    let mut first: FxHashMap<Identity, usize> = FxHashMap::default();
    for (index, identity) in identities.into_iter().enumerate() {
        join(index, *first.entry(identity).or_insert(index));
    }
    for (index, parent) in parents.into_iter().enumerate() {
        if let Some(of_parent) = parent.and_then(|it| pids.binary_search(&it).ok()) {
            join(index, of_parent);
        }
    }
    let mut groups: Vec<Vec<Pid>> = vec![Vec::new(); pids.len()];
    for (&pid, &leader) in pids.iter().zip(&leaders) {
        groups[leader].push(pid);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64, arguments: &[&str], container: Option<&str>) -> Identity {
        Identity {
            file: Some((1, inode)),
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            container: container.map(str::to_owned),
            namespace: None,
        }
    }

    #[test]
    fn workers_are_one_program_with_their_parent_and_others_are_not() {
        let pids = [2, 3, 5, 8, 9, 11].map(Pid);
        let identities = vec![
            identity(7, &[], None),
            identity(7, &[], None),      // the same executable
            identity(8, &[], None),      // another executable, but a child of 3
            identity(9, &[], None),      // another one
            identity(7, &[], Some("c")), // in a container
            identity(9, &["b"], None),   // tells an interpreter something else
        ];
        let parents = [1, 2, 3, 1, 1, 1].map(|it| Some(Pid(it))).to_vec();
        let expected = [&[2, 3, 5][..], &[8], &[9], &[11]];
        let groups = group(&pids, identities, parents);
        let groups: Vec<Vec<i32>> = groups
            .into_iter()
            .map(|it| it.into_iter().map(|pid| pid.0).collect())
            .collect();
        assert_eq!(groups, expected);
    }

    #[test]
    fn an_interpreter_is_one_in_every_version() {
        for name in [
            "python3.11",
            "python",
            "node",
            "ruby2.7",
            "beam.smp",
            "bash",
        ] {
            assert!(is_interpreter(name), "{name}");
        }
        for name in ["nginx", "postgres", "pythonic", "", "javac"] {
            assert!(!is_interpreter(name), "{name}");
        }
    }
}
