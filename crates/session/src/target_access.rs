//! What the unwinder asks of a process: bytes of its files, and of its memory while it runs.
//!
//! In: a process and the files held for it. Out: [`Images`] and [`LiveMemory`]. Elsewhere: reading
//! another process's memory (`prof_sampler::read_memory`), finding files ([`Files`]).

use std::io::ErrorKind;
use std::sync::Arc;

use prof_model::{AddressSpace, DsoId, DsoTable, Pid, Tid, VirtAddr};
use prof_sampler::read_memory;
use prof_unwinder::{Bytes, Images, LiveMemory, RuntimeCode, Watched};

use crate::files::Files;
use crate::polled_memory::PolledMemory;
use crate::runtimes::Runtime;

/// The files that one process has mapped.
pub(crate) struct MappedImages<'a> {
    pub(crate) files: &'a mut Files,
    pub(crate) pid: Pid,
    pub(crate) space: &'a AddressSpace,
    pub(crate) dsos: &'a DsoTable,
}

impl Images for MappedImages<'_> {
    fn image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = self.files.get(self.pid, self.space, self.dsos, dso)?;
        Some(Arc::clone(&file.image) as _)
    }

    fn debug_image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = self.files.get(self.pid, self.space, self.dsos, dso)?;
        let file = file.clone();
        let debug = self.files.finder().open_debug(&file, self.dsos.get(dso))?;
        Some(debug.image as _)
    }

    fn is_probe_page(&self, dso: DsoId) -> bool {
        self.dsos.get(dso).path == b"[uprobes]"
    }
}

/// The memory of a running process, for one of its samples.
pub(crate) struct TargetMemory<'a> {
    pid: Pid,
    tid: Tid,
    time: u64,
    polled: &'a mut PolledMemory,
    runtime: &'a mut Runtime,
    /// Whether the stack was read: it goes on beyond the copy.
    pub(crate) was_read: bool,
    /// Whether the kernel did not let us read.
    pub(crate) was_refused: bool,
}

impl<'a> TargetMemory<'a> {
    /// The memory of `pid` for a sample of `tid` that was taken at `time`, in nanoseconds of the
    /// recording's clock.
    pub(crate) fn new(
        pid: Pid,
        tid: Tid,
        time: u64,
        polled: &'a mut PolledMemory,
        runtime: &'a mut Runtime,
    ) -> Self {
        Self {
            pid,
            tid,
            time,
            polled,
            runtime,
            was_read: false,
            was_refused: false,
        }
    }
}

impl LiveMemory for TargetMemory<'_> {
    fn thread(&self) -> u64 {
        self.tid.0 as u64 // no thread is in two processes at once
    }

    fn sampled_at(&self) -> u64 {
        self.time
    }

    fn now(&self) -> Option<u64> {
        self.polled.now()
    }

    fn read(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        self.was_read = true;
        self.read_code(addr, into)
    }

    fn read_code(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        read_memory(self.pid, self.tid, addr, into).unwrap_or_else(|error| {
            self.was_refused |= error.kind() == ErrorKind::PermissionDenied;
            0
        })
    }

    fn runtime_code(&mut self, addr: VirtAddr) -> Option<RuntimeCode<'_>> {
        let thread = (self.pid, self.tid);
        self.runtime.code(thread, addr.0, self.time)
    }

    fn watch(&mut self, addr: VirtAddr) {
        self.polled.watch((self.pid, self.tid), addr);
    }

    fn watched(&mut self) -> Option<Watched> {
        let (pid, tid) = (self.pid, self.tid);
        let mut read = |addr, into: &mut [u8]| read_memory(pid, tid, addr, into).unwrap_or(0);
        self.was_read = true;
        self.polled.at((pid, tid), self.time, &mut read)
    }
}
