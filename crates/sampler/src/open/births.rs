//! Who started which thread while events are being opened, where that may be watched.
//!
//! In: CPUs. Out: the parent of each thread that was started since, and when. Elsewhere: whether it has
//! inherited events from that (`scopes.rs`).

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, record, software};
use prof_model::{Cpu, Tid};
use rustc_hash::FxHashMap;

use crate::bytes::{i32_at, u64_at};
use crate::options::Clock;
use crate::ring::Ring;
use crate::scope::Scope;
use crate::sys::EventFd;

/// Room for two thousand starts and ends on each CPU, from one look to the next.
const RING: usize = 64 << 10;

/// A thread is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// The thread that started it.
    pub(super) parent: Tid,
    /// When it was complete, in nanoseconds of the clock of the recording.
    pub(super) time: u64,
}

/// The threads that were started since.
#[derive(Debug, Default)]
pub(super) struct Births {
    rings: Vec<(EventFd, Ring)>,
    known: FxHashMap<Tid, Birth>,
}

impl Births {
    /// Watches whole CPUs. Without the permission for that, or for as much locked memory, no births are known.
    pub(super) fn watch(cpus: impl Iterator<Item = Cpu>, clock: Clock) -> Self {
        let attr = EventAttr {
            kind: event_type::SOFTWARE,
            config: software::DUMMY,
            flags: flag::TASK | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::USE_CLOCKID,
            clockid: clock.id,
            ..EventAttr::default()
        };
        let open = |cpu| {
            let event = EventFd::open(&attr, Scope::Everything, cpu, None).ok()?;
            let ring = Ring::map(&event, RING).ok()?;
            Some((event, ring))
        };
        // One CPU alone tells of the threads that were started there.
        let rings = cpus.map_while(open).collect();
        Self {
            rings,
            known: FxHashMap::default(),
        }
    }

    /// Takes in what the kernel has told so far.
    pub(super) fn read(&mut self) {
        let mut scratch = Vec::new();
        for (_, ring) in &mut self.rings {
            let head = ring.head();
            while let Some(raw) = ring.record(ring.tail(), head, &mut scratch) {
                if raw.kind == record::FORK {
                    let parent = Tid(i32_at(raw.bytes, 20));
                    let time = u64_at(raw.bytes, 24);
                    let tid = Tid(i32_at(raw.bytes, 16));
                    self.known.insert(tid, Birth { parent, time });
                }
                let len = raw.bytes.len() as u64;
                ring.release(ring.tail() + len);
            }
        }
    }

    /// Who started a thread. `None` if it was there before, or nobody told.
    pub(super) fn of(&self, tid: Tid) -> Option<Birth> {
        self.known.get(&tid).copied()
    }

    #[cfg(test)]
    pub(super) fn add(&mut self, tid: Tid, birth: Birth) {
        self.known.insert(tid, birth);
    }
}
