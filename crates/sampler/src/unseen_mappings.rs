//! Mappings that no record tells, because who makes them is not sampled: other threads of a process of which
//! some are sampled, another process that shares its memory.
//!
//! In: processes. Out: records of what is newly mapped there, seen in `/proc` from time to time. Elsewhere:
//! which processes share memory (`shared_memory.rs`).

use std::time::{Duration, Instant};

use prof_model::Pid;

use crate::proc::{self, MapLine};
use crate::synthesize::Synthesizer;

/// From one look to the next, and how many times as long as the look itself takes.
const PAUSE: Duration = Duration::from_millis(100);
const TIMES: u32 = 100;

/// Processes that are looked at again and again.
#[derive(Debug, Default)]
pub(crate) struct UnseenMappings {
    processes: Vec<(Pid, Vec<MapLine>)>,
    next: Option<Instant>,
}

impl UnseenMappings {
    /// Looks at these processes from now on. The first look tells all, for something may have been mapped since
    /// they were looked at before.
    pub(crate) fn of(pids: Vec<Pid>) -> Self {
        Self {
            processes: pids.into_iter().map(|pid| (pid, Vec::new())).collect(),
            next: None,
        }
    }

    /// Tells what is new, if it is time for a look. A process that is gone, or can no more be read, is forgotten.
    pub(crate) fn look(&mut self, out: &mut Synthesizer<'_>) {
        let began = Instant::now();
        if self.next.is_some_and(|next| began < next) {
            return;
        }
        self.processes.retain_mut(|(pid, known)| {
            let before = std::mem::replace(known, proc::maps(*pid).unwrap_or_default());
            known.retain(MapLine::is_executable);
            let new = known.iter().filter(|map| !before.contains(map));
            new.for_each(|map| out.mmap(*pid, map));
            !known.is_empty()
        });
        self.next = Some(Instant::now() + PAUSE.max(began.elapsed() * TIMES));
    }
}
