//! The processes of a window, with what is known about each.
//!
//! In: a picture by processes. Out: rows for tables and objects. Elsewhere: the facts themselves (`prof-target`).

use std::collections::HashMap;
use std::sync::Arc;

use prof_model::Pid;
use prof_sampler::proc;
use prof_target::{Facts, resident_bytes};
use prof_tui::{Key, Picture, Process, Row};

/// So many processes that were seen are not forgotten.
const MOST_SEEN: usize = 1024;

/// A process and its share of a window.
#[derive(Debug)]
pub struct ProcessRow<'a> {
    /// Its number and name.
    pub process: &'a Process,
    /// Where it ran.
    pub row: &'a Row,
    /// `None` if it had ended by the time that it was asked for.
    pub facts: Option<&'a Facts>,
    /// Its memory now; `None` if it has ended.
    pub memory_bytes: Option<u64>,
}

/// What the screens say of a process beside its name.
#[derive(Debug, Default)]
pub struct Details {
    facts: HashMap<Pid, (String, Facts)>, // and under which name it was looked at
}

impl Details {
    /// `root  18 MB  3f2a91c04d5e  /srv/server --port 80`; `None` of what has ended and was never seen.
    pub fn of(&mut self, pid: Pid, name: &str) -> Option<String> {
        if self.facts.len() > MOST_SEEN {
            self.facts.clear();
        }
        let is_known = self.facts.get(&pid).is_some_and(|(under, _)| under == name);
        if !is_known {
            proc::process_of(pid.0)?;
            self.facts.insert(pid, (name.to_owned(), Facts::of(pid)));
        }
        let (_, facts) = self.facts.get(&pid)?;
        let memory = resident_bytes(pid).map(|bytes| format!("{:.0} MB", bytes as f64 / 1e6));
        let words = [
            Some(facts.user.clone()),
            memory,
            facts.container.clone(),
            Some(facts.arguments.clone()),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        let visible = |c: char| if c.is_control() { '?' } else { c };
        Some(words.join("  ").chars().map(visible).collect())
    }
}

/// What is known about processes that were seen. One that has ended keeps its command line.
#[derive(Debug, Default)]
pub struct SeenProcesses {
    facts: HashMap<(Pid, Arc<str>), Option<Facts>>, // another name: another program
}

impl SeenProcesses {
    /// The rows of a picture by processes. Forgets those that are in it no more.
    pub fn rows<'a>(&'a mut self, picture: &'a Picture) -> Vec<ProcessRow<'a>> {
        let processes = picture.rows.iter().filter_map(|row| match &row.key {
            Key::Process(process) => Some((process, row)),
            _ => None,
        });
        let processes: Vec<_> = processes.collect();
        let key = |process: &Process| (process.pid, Arc::clone(&process.name));
        let mut before = std::mem::take(&mut self.facts);
        for (process, _) in &processes {
            let key = key(process);
            let facts = before.remove(&key).unwrap_or_else(|| {
                let is_there = proc::process_of(process.pid.0).is_some();
                is_there.then(|| Facts::of(process.pid))
            });
            self.facts.insert(key, facts);
        }
        let rows = processes.into_iter().map(|(process, row)| ProcessRow {
            process,
            row,
            facts: self.facts.get(&key(process)).and_then(Option::as_ref),
            memory_bytes: resident_bytes(process.pid),
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_of_the_program_that_has_the_name_and_outlive_it() {
        let mut child = std::process::Command::new("sleep");
        let mut child = child.arg("60").spawn().unwrap();
        let pid = Pid(child.id() as i32);
        let mut details = Details::default();
        while !details.of(pid, "sleep").unwrap().ends_with("sleep 60") {
            details = Details::default(); // it is about to become that
        }
        let running = details.of(pid, "sleep").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = details.of(pid, "sleep").unwrap();
        assert!(running.contains(" MB  ") && !ended.contains(" MB  "));
        assert!(ended.ends_with("  sleep 60"), "{ended}");
        assert_eq!(details.of(pid, "other"), None);
    }
}
