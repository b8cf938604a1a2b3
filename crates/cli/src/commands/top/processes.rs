//! The processes of a window, with what is known about each.
//!
//! In: a picture by processes. Out: rows for tables and objects. Elsewhere: the facts themselves (`prof-target`).

use std::collections::HashMap;
use std::sync::Arc;

use prof_model::Pid;
use prof_sampler::proc;
use prof_target::{Facts, resident_bytes};
use prof_tui::{Key, Picture, Process, Row};

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
