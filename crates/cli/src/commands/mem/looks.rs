//! Readings of resident memory and of where threads have their stacks, about twenty over the time.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prof_memory::{Growth, resident_now, stack_pointers};

use crate::messages::{CliError, open_errors};

const READINGS: u32 = 20;
/// Exact readings walk over all pages: only where one takes no longer.
const LONGEST_READING: Duration = Duration::from_millis(10);

/// What was read.
#[derive(Debug, Default)]
pub struct Looked {
    /// Of all processes.
    pub growth: Growth,
    /// Stack pointers of threads, for each process.
    pub stacks: Vec<Vec<u64>>,
}

impl Looked {
    fn look(&mut self, pids: &[i32], exact: &mut bool) {
        let started = Instant::now();
        if let Some(resident) = resident_now(pids, *exact) {
            self.growth.add(started, resident);
        }
        if started.elapsed() > LONGEST_READING && self.growth.readings() == 1 && *exact {
            *exact = false;
            self.growth = Growth::default(); // both ways do not mix
            if let Some(resident) = resident_now(pids, *exact) {
                self.growth.add(started, resident);
            }
        }
        for (pid, stacks) in pids.iter().zip(&mut self.stacks) {
            stacks.extend(stack_pointers(*pid));
            stacks.sort_unstable();
            stacks.dedup();
        }
    }
}

/// A thread that reads.
pub struct Looks {
    stop: Sender<()>,
    thread: JoinHandle<Looked>,
}

impl Looks {
    /// Begins with a first reading.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(pids: Vec<i32>, duration: Duration) -> Result<Self, CliError> {
        let (stop, stopped) = channel::<()>();
        let look = move || {
            let mut exact = true;
            let mut looked = Looked {
                stacks: vec![Vec::new(); pids.len()],
                ..Looked::default()
            };
            looked.look(&pids, &mut exact);
            let pause = (duration / READINGS).max(Duration::from_millis(20));
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                looked.look(&pids, &mut exact);
            }
            looked
        };
        let thread = std::thread::Builder::new().name("prof-looks".to_owned());
        let thread = thread.spawn(look).map_err(open_errors::no_thread)?;
        Ok(Self { stop, thread })
    }

    /// All readings.
    pub fn finish(self) -> Looked {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}
