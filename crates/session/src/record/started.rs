//! Processes that started while they were recorded: who started what, and how much of it ended again.
//!
//! In: records of tasks and names. Out: [`Started`], by parent and program. Elsewhere: which processes there are
//! ([`prof_model::ProcessTable`]).

use std::collections::BTreeMap;

use prof_event::Record;
use prof_model::Pid;
use rustc_hash::FxHashMap;

/// Counts processes that start, by their parents.
#[derive(Debug, Default)]
pub struct StartedProcesses {
    names: FxHashMap<Pid, Box<[u8]>>,
    running: FxHashMap<Pid, Birth>,
    counts: BTreeMap<ParentAndProgram, StartedAndEnded>,
}

type ParentAndProgram = (Box<[u8]>, Box<[u8]>);
type StartedAndEnded = (u64, u64);

#[derive(Debug)]
struct Birth {
    parent: Box<[u8]>,
    program: Option<Box<[u8]>>, // once it runs one of its own
}

/// Processes of one program that processes of one name have started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The parents' name.
    pub parent: String,
    /// The name of the program that they ran last, or of the parent where they ran none of their own.
    pub program: String,
    /// How many.
    pub count: u64,
    /// How many of them ended again.
    pub ended: u64,
}

/// Where nothing has told a name.
const UNKNOWN: &[u8] = b"?";

impl StartedProcesses {
    /// Takes a record that is no sample.
    pub fn take(&mut self, record: &Record<'_>) {
        match record {
            Record::Comm {
                pid,
                tid,
                exec,
                name,
            } if pid.0 == tid.0 => {
                self.names.insert(*pid, Box::from(*name));
                if let Some(birth) = self.running.get_mut(pid).filter(|_| *exec) {
                    birth.program = Some(Box::from(*name));
                }
            }
            Record::Fork(task)
                if task.pid != task.ppid && !task.made_up && task.pid.0 == task.tid.0 =>
            {
                // each thread of the parent's, and each of its events, may have told it
                if self.running.contains_key(&task.pid) {
                    return;
                }
                let parent = self.names.get(&task.ppid).cloned();
                let parent = parent.unwrap_or_else(|| Box::from(UNKNOWN));
                self.names.insert(task.pid, parent.clone());
                let program = None;
                self.running.insert(task.pid, Birth { parent, program });
            }
            Record::Exit(task) if task.pid.0 == task.tid.0 => {
                if let Some(birth) = self.running.remove(&task.pid) {
                    self.count(birth, true);
                }
                self.names.remove(&task.pid);
            }
            _ => {}
        }
    }

    fn count(&mut self, birth: Birth, ended: bool) {
        let program = birth.program.unwrap_or_else(|| birth.parent.clone());
        let count = self.counts.entry((birth.parent, program)).or_default();
        count.0 += 1;
        count.1 += u64::from(ended);
    }

    /// What was started, most often first.
    pub fn finish(mut self) -> Vec<Started> {
        for (_, birth) in std::mem::take(&mut self.running) {
            self.count(birth, false);
        }
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let counts = self.counts.iter();
        let started = counts.map(|((parent, program), &(count, ended))| Started {
            parent: text(parent),
            program: text(program),
            count,
            ended,
        });
        let mut started: Vec<Started> = started.collect();
        started.sort_by_key(|started| std::cmp::Reverse(started.count));
        started
    }
}

#[cfg(test)]
mod tests {
    use prof_event::Task;
    use prof_model::Tid;

    use super::*;

    fn comm(pid: i32, exec: bool, name: &str) -> Record<'_> {
        Record::Comm {
            pid: Pid(pid),
            tid: Tid(pid),
            exec,
            name: name.as_bytes(),
        }
    }

    fn task(pid: i32, tid: i32, ppid: i32) -> Task {
        Task {
            pid: Pid(pid),
            tid: Tid(tid),
            ppid: Pid(ppid),
            ptid: Tid(ppid),
            time: 0,
            made_up: false,
        }
    }

    #[test]
    fn children_are_counted_by_parent_and_by_the_program_that_they_ran() {
        let mut started = StartedProcesses::default();
        started.take(&comm(1, false, "sh"));
        for pid in [10, 11, 12] {
            started.take(&Record::Fork(task(pid, pid, 1)));
            started.take(&Record::Fork(task(pid, pid, 1))); // told twice
            if pid != 12 {
                started.take(&comm(pid, true, "cc1"));
            }
            started.take(&Record::Fork(task(pid, pid + 100, pid))); // a thread
            if pid != 11 {
                started.take(&Record::Exit(task(pid, pid + 100, pid)));
                started.take(&Record::Exit(task(pid, pid, 1)));
            }
        }
        started.take(&Record::Fork(Task {
            made_up: true,
            ..task(20, 20, 1)
        }));
        let told: Vec<_> = started.finish();
        let told: Vec<_> = told
            .iter()
            .map(|it| (it.parent.as_str(), it.program.as_str(), it.count, it.ended))
            .collect();
        assert_eq!(told, [("sh", "cc1", 2, 1), ("sh", "sh", 1, 1)]);
    }
}
