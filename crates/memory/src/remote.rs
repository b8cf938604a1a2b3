//! Words of a process that runs.

use prof_model::{Pid, Tid, VirtAddr};
use prof_sampler::read_memory;
use rustc_hash::FxHashMap;

const PAGE: u64 = 4096;
/// So many pages are remembered: 16 MiB.
const REMEMBERED: usize = 4096;

/// Reads the memory of a process. What is read twice is read anew, unless through [`Remote::cached_word`].
#[derive(Debug)]
pub(crate) struct Remote {
    pid: i32,
    pages: FxHashMap<u64, Box<[u8]>>,
}

impl Remote {
    pub(crate) fn new(pid: i32) -> Self {
        Self {
            pid,
            pages: FxHashMap::default(),
        }
    }

    /// Fills `into` from an address on; how many bytes could be read.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        read_memory(Pid(self.pid), Tid(self.pid), VirtAddr(at), into).unwrap_or(0)
    }

    /// The word at an address.
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(at, &mut bytes) == 8).then(|| u64::from_ne_bytes(bytes))
    }

    /// The same, and what lies around it is remembered.
    pub(crate) fn cached_word(&mut self, at: u64) -> Option<u64> {
        if self.pages.len() >= REMEMBERED {
            self.pages.clear();
        }
        let start = at & !(PAGE - 1);
        if !self.pages.contains_key(&start) {
            let mut page = vec![0; PAGE as usize].into_boxed_slice();
            let read = self.read(start, &mut page);
            if read < page.len() {
                return self.word(at);
            }
            self.pages.insert(start, page);
        }
        word_at(self.pages.get(&start)?, (at - start) as usize)
    }

    /// Forgets what it remembers.
    pub(crate) fn forget(&mut self) {
        self.pages.clear();
    }
}

/// The word at an offset.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}
