//! The runtimes that generate code in the sampled processes, and tell about it: Java virtual machines.
//!
//! In: a process, its mappings and its memory. Out: what the code at an address is ([`RuntimeCode`]), and what it is called
//! ([`Told`]). Elsewhere: how HotSpot keeps its code (`prof-hotspot`), what frames of it mean (`prof-unwinder`).

use std::sync::Arc;

use prof_hotspot::{Blob, Found, Frame, Jvm, Told, exported};
use prof_model::{AddressSpace, DsoTable, Mapping, Pid, Tid};
use prof_sampler::read_memory;
use prof_unwinder::{RuntimeCode, RuntimeFrame};
use rustc_hash::FxHashMap;

use crate::files::Files;

/// A process in which no runtime was found is looked at again after so many nanoseconds.
const LOOK_EVERY: u64 = 500_000_000;
/// What a Java virtual machine's file is called.
const LIBJVM: &[u8] = b"/libjvm.so";

/// The runtimes of all sampled processes.
#[derive(Default)]
pub(crate) struct Runtimes {
    of_process: FxHashMap<Pid, Runtime>,
}

/// The runtime of one process.
pub(crate) struct Runtime {
    jvm: Option<Box<Jvm>>,
    /// When it was last looked for.
    looked_at: u64,
    /// A sample has hit generated code since then.
    is_wanted: bool,
    last: Option<Arc<Blob>>,
}

impl Runtimes {
    /// The runtime of a process, for a sample at a time in nanoseconds.
    pub(crate) fn of(&mut self, pid: Pid) -> &mut Runtime {
        self.of_process.entry(pid).or_insert_with(|| Runtime {
            jvm: None,
            looked_at: 0,
            is_wanted: false,
            last: None,
        })
    }

    /// The first thread of a process has ended, and mostly the process: nothing is kept of one without a runtime.
    pub(crate) fn exited(&mut self, pid: Pid) {
        if self
            .of_process
            .get(&pid)
            .is_some_and(|runtime| runtime.jvm.is_none())
        {
            self.of_process.remove(&pid);
        }
    }

    /// A process runs another program, or has ended long ago.
    pub(crate) fn forget(&mut self, pid: Pid) {
        self.of_process.remove(&pid);
    }

    /// What the runtimes told since the last call.
    pub(crate) fn take_told(&mut self) -> impl Iterator<Item = (Pid, Told)> {
        self.of_process.iter_mut().flat_map(|(&pid, runtime)| {
            let told = runtime.jvm.as_mut().map(|jvm| jvm.take_told());
            told.into_iter().flatten().map(move |told| (pid, told))
        })
    }
}

impl Runtime {
    /// Looks for the runtime if its code was hit and it is not known yet.
    pub(crate) fn look(
        &mut self,
        (pid, tid): (Pid, Tid),
        time: u64,
        space: &AddressSpace,
        (files, dsos): (&mut Files, &DsoTable),
    ) {
        if !std::mem::take(&mut self.is_wanted) {
            return;
        }
        self.looked_at = time;
        let is_libjvm = |mapping: &&Mapping| dsos.get(mapping.dso).path.ends_with(LIBJVM);
        let Some(mapping) = space.iter().find(is_libjvm) else {
            return;
        };
        let Some(file) = files.get(pid, space, dsos, mapping.dso) else {
            return;
        };
        let image: &[u8] = (*file.image).as_ref();
        if let Some(exported) = exported(image, mapping.start, mapping.dso_start) {
            let mut memory = |addr, into: &mut [u8]| read(pid, tid, addr, into);
            self.jvm = Jvm::open(&exported, &mut memory).map(Box::new);
        }
    }

    /// What the code at an address is. `None` if no runtime has it.
    pub(crate) fn code(
        &mut self,
        (pid, tid): (Pid, Tid),
        addr: u64,
        time: u64,
    ) -> Option<RuntimeCode<'_>> {
        let Some(jvm) = &mut self.jvm else {
            self.is_wanted |=
                self.looked_at == 0 || time >= self.looked_at.saturating_add(LOOK_EVERY);
            return None;
        };
        let mut memory = |addr, into: &mut [u8]| read(pid, tid, addr, into);
        let blob = match jvm.blob_at(addr, time, &mut memory) {
            Found::Elsewhere => return None,
            Found::Free => return Some(RuntimeCode::Unused),
            Found::NotYet => return Some(RuntimeCode::NotYet),
            Found::Blob(blob) => self.last.insert(blob),
        };
        Some(RuntimeCode::Piece {
            bytes: &blob.bytes,
            at: usize::try_from(addr - blob.code.start).ok()?,
            frame: match blob.frame {
                Frame::Fixed {
                    size,
                    complete_from,
                } => RuntimeFrame::Fixed {
                    size,
                    complete_from,
                },
                Frame::Interpreter => RuntimeFrame::Record,
                Frame::None => RuntimeFrame::None,
                Frame::Unknown => RuntimeFrame::Unknown,
            },
        })
    }
}

fn read(pid: Pid, tid: Tid, addr: u64, into: &mut [u8]) -> usize {
    read_memory(pid, tid, prof_model::VirtAddr(addr), into).unwrap_or(0)
}
