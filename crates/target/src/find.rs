//! From what is asked to who is meant.

use std::path::{Path, PathBuf};

use prof_model::Pid;
use prof_sampler::{Cgroup, proc};

use crate::cgroups::{self, Hierarchy, groups, text_of};
use crate::containers::{self, is_container, short};
use crate::listeners::{Port, listeners};
use crate::names::{near, processes_named};
use crate::not_found::NotFound;
use crate::programs::programs;
use crate::runtimes::{self, Named};

/// The fewest digits that are taken for the id of a container, where nothing says that one is meant.
const FEWEST_DIGITS: usize = 6;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The number of a process or thread, a name, `:8080`, the id of a container.
    Word(String),
    /// A cgroup, by its folder or its path in a hierarchy.
    Cgroup(String),
    /// A container by its name, its id or the beginning of that.
    Container(String),
    /// A unit of systemd; without a suffix it is a service.
    Unit(String),
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What they have in common: `named nginx`, `of container 3f2a91c04d5e`; `None` for a number.
    pub what: Option<String>,
    /// Those who may be meant, each a program or a container of its own. At least one.
    pub candidates: Vec<Candidate>,
}

/// One who may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its processes; of a cgroup that may be none so far.
    pub processes: Vec<Pid>,
    /// The folder of the cgroup that they are all there is in, if they are meant by that.
    pub cgroup: Option<PathBuf>,
}

/// Looks for who is meant.
///
/// # Errors
/// [`NotFound`]: nobody is.
pub fn find(wanted: &Wanted) -> Result<Found, NotFound> {
    match wanted {
        Wanted::Word(word) => by_word(word),
        Wanted::Cgroup(path) => by_cgroup(path),
        Wanted::Container(text) => by_container(text),
        Wanted::Unit(name) => by_unit(name),
    }
}

/// Whether a word is the number of a process or thread that runs.
pub fn is_process(word: &str) -> bool {
    number(word).is_some_and(|number| proc::process_of(number).is_some())
}

fn number(word: &str) -> Option<i32> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|&it| is_number && it > 0)
}

fn by_word(word: &str) -> Result<Found, NotFound> {
    if let Some(port) = word.strip_prefix(':') {
        return by_port(word, port);
    }
    if let Some(number) = number(word)
        && let Some(process) = proc::process_of(number)
    {
        return Ok(Found {
            what: None,
            candidates: vec![Candidate {
                processes: vec![process],
                cgroup: None,
            }],
        });
    }
    let named = match word {
        "" => Vec::new(),
        word => processes_named(word),
    };
    if !named.is_empty() {
        return Ok(of_programs(format!("named {word}"), named));
    }
    if is_hex(word, FEWEST_DIGITS)
        && let Some(found) = containers_with(|id| id.starts_with(word), &[])
    {
        return Ok(found);
    }
    Err(match number(word) {
        Some(number) => NotFound::Number(number),
        None if !word.chars().any(char::is_alphabetic) => NotFound::Word(word.to_owned()),
        None => NotFound::Name {
            name: word.to_owned(),
            near: near(word),
        },
    })
}

fn is_hex(word: &str, fewest: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (fewest..=64).contains(&word.len()) && word.bytes().all(is_digit)
}

fn of_programs(what: String, processes: Vec<Pid>) -> Found {
    let candidates = programs(processes).into_iter();
    Found {
        what: Some(what),
        candidates: candidates
            .map(|processes| Candidate {
                processes,
                cgroup: None,
            })
            .collect(),
    }
}

fn by_port(word: &str, port: &str) -> Result<Found, NotFound> {
    let port = Port::parse(port).ok_or_else(|| NotFound::Port(word.to_owned()))?;
    let found = listeners(port);
    let port = word.to_owned();
    match found.processes.is_empty() {
        false => Ok(of_programs(format!("listening on {word}"), found.processes)),
        true if found.are_hidden => Err(NotFound::HiddenListener { port }),
        true => Err(NotFound::Listener {
            port,
            others: found.ports,
        }),
    }
}

fn by_container(text: &str) -> Result<Found, NotFound> {
    const FEWEST: usize = 3; // as people type them where an id is expected
    let named = runtimes::all(Path::new("/"));
    let is_prefix = is_hex(text, FEWEST);
    let is_it = |id: &str| id == text || (is_prefix && id.starts_with(text));
    let of_name = |it: &&Named| it.names.iter().any(|name| name == text);
    let ids: Vec<_> = named.iter().filter(of_name).map(|it| &it.id).collect();
    let found = containers_with(|id| ids.iter().any(|it| *it == id), &named);
    found
        .or_else(|| containers_with(is_it, &named))
        .ok_or_else(|| NotFound::Container {
            text: text.to_owned(),
            known: containers::all()
                .keys()
                .map(|id| container_name(id, &named))
                .collect(),
        })
}

/// `3f2a91c04d5e (web)`
fn container_name(id: &str, named: &[Named]) -> String {
    let named = named.iter().find(|it| it.id == id);
    match named.and_then(|it| it.names.last()) {
        Some(name) => format!("{} ({name})", short(id)),
        None => short(id).to_owned(),
    }
}

/// The containers whose full id is one of those.
fn containers_with(is_it: impl Fn(&str) -> bool, named: &[Named]) -> Option<Found> {
    let mut all = containers::all();
    all.retain(|id, _| is_it(id));
    let names: Vec<_> = all.keys().map(|id| container_name(id, named)).collect();
    let hierarchies = Hierarchy::mounted();
    let candidates = all.into_values().map(|processes| {
        let text = processes.first().map(|pid| text_of(pid.0));
        let folder = cgroups::folder(&hierarchies, &text.unwrap_or_default(), is_container);
        Candidate {
            cgroup: folder,
            processes,
        }
    });
    (!names.is_empty()).then(|| Found {
        what: Some(format!("of container {}", names.join(", "))),
        candidates: candidates.collect(),
    })
}

fn by_unit(name: &str) -> Result<Found, NotFound> {
    const SUFFIXES: [&str; 5] = [".service", ".scope", ".slice", ".socket", ".mount"];
    let has_suffix = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    let name = match has_suffix {
        true => name.to_owned(),
        false => format!("{name}.service"),
    };
    let mut processes = Vec::new();
    let mut folder = None;
    let mut units: Vec<String> = Vec::new();
    let hierarchies = Hierarchy::mounted();
    for pid in proc::processes().unwrap_or_default() {
        let text = text_of(pid.0);
        if groups(&text).any(|group| group.path.split('/').any(|part| part == name)) {
            processes.push(pid);
            folder = folder.or_else(|| cgroups::folder(&hierarchies, &text, |it| it == name));
        }
        let parts = groups(&text).flat_map(|group| group.path.split('/'));
        units.extend(
            parts
                .filter(|it| it.ends_with(".service"))
                .map(str::to_owned),
        );
    }
    if processes.is_empty() {
        units.sort();
        units.dedup();
        let plain = name.trim_end_matches(".service");
        units.retain(|unit| unit.contains(plain) || strsim::damerau_levenshtein(unit, &name) <= 2);
        return Err(NotFound::Unit { name, near: units });
    }
    Ok(Found {
        what: Some(format!("of unit {name}")),
        candidates: vec![Candidate {
            processes,
            cgroup: folder,
        }],
    })
}

fn by_cgroup(path: &str) -> Result<Found, NotFound> {
    let hierarchies = Hierarchy::mounted();
    let is_folder = |folder: &PathBuf| folder.join("cgroup.procs").exists();
    let mut tried: Vec<_> = hierarchies.iter().map(|it| it.folder(path)).collect();
    let is_whole = hierarchies
        .iter()
        .any(|it| Path::new(path).starts_with(it.mount()));
    if is_whole {
        tried = vec![PathBuf::from(path)];
    }
    let Some(folder) = tried.iter().find(|it| is_folder(it)).cloned() else {
        return Err(NotFound::Cgroup {
            path: path.to_owned(),
            tried,
        });
    };
    let cgroup = Cgroup::open(&folder).map_err(|source| NotFound::Unreadable {
        path: folder.clone(),
        source,
    })?;
    Ok(Found {
        what: Some(format!("of cgroup {}", containers::with_short_ids(path))),
        candidates: vec![Candidate {
            processes: cgroup.members(),
            cgroup: Some(folder),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process_before_it_is_anything_else() {
        let own = std::process::id();
        let found = find(&Wanted::Word(own.to_string())).unwrap();
        assert_eq!(found.what, None);
        assert_eq!(found.candidates[0].processes, [Pid(own as i32)]);
        assert!(is_process(&own.to_string()));
        for none in ["", "-1", "0", "+1", "999999999", "99999999999", "x"] {
            assert!(!is_process(none), "{none}");
        }
    }

    #[test]
    fn nobody_is_told_by_what_was_looked_for() {
        for (word, message) in [
            ("999999999", "there is no process or thread 999999999"),
            ("no-such-service", "no process is called `no-such-service`"),
            ("fedcba987654", "no process is called `fedcba987654`"),
            ("-1", "`-1` is no process"),
            ("", "`` is no process"),
            (":http", "`:http` is no port"),
            (":1/udp", "nobody listens on `:1/udp`"),
        ] {
            let error = find(&Wanted::Word(word.to_owned())).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        let error = find(&Wanted::Unit("no-such".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "no unit `no-such.service` has processes");
        let error = find(&Wanted::Cgroup("no/such".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "there is no cgroup `no/such`");
        let error = find(&Wanted::Container("no-such".to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no container that runs has the id or name `no-such`"
        );
    }
}
