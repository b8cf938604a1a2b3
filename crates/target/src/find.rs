//! From what is asked to who is meant.
//!
//! In: a word, or a group by its name. Out: those who may be meant. Elsewhere: groups (`groups.rs`), names, ports.

use std::path::PathBuf;

use prof_model::Pid;
use prof_sampler::proc;

use crate::groups::{by_cgroup, by_container, by_unit, containers_with};
use crate::listeners::{Port, listeners};
use crate::names::{near, processes_named};
use crate::not_found::NotFound;
use crate::programs::programs;

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

/// Whether a word may be the beginning of an id, with so many digits at least.
pub(crate) fn is_hex(word: &str, fewest: usize) -> bool {
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
