//! Files that somebody writes over while they are recorded, as `cp` does.
//!
//! Path and inode stay what they were, so that records of mappings do not tell the new library from the old one.
//! In: such records, before anything is made of them. Out: the same, with the count of how often the file was
//! written over in the upper half of its inode's generation, so that it is another DSO for who reads them.
//! Elsewhere: how a change is known ([`crate::file_stamp`]).

use prof_event::abi::record;
use prof_event::{Mmap, RawRecord};
use prof_model::{CpuMode, FileId};
use rustc_hash::FxHashMap;

use crate::pipeline::Pipeline;

const PROT_EXEC: u32 = 4;
/// Where an MMAP2 record has the generation of the inode.
const GENERATION: usize = 56;

/// How often files were written over, by path and file.
#[derive(Debug, Default)]
pub(super) struct Overwritten {
    times: FxHashMap<(Vec<u8>, FileId), u32>,
}

impl Overwritten {
    /// The record of a mapping as it has to be taken; `None` if that is as it is.
    pub(super) fn renumbered(
        &mut self,
        raw: RawRecord<'_>,
        mmap: &Mmap<'_>,
        pipeline: &mut Pipeline,
    ) -> Option<Vec<u8>> {
        let is_code = mmap.mode == CpuMode::User && mmap.prot & PROT_EXEC != 0;
        let file = mmap.file.filter(|file| is_code && file.inode != 0)?;
        if raw.kind != record::MMAP2 || file != file.written_over(0) {
            return None;
        }
        let key = || (mmap.name.to_vec(), file.without_generation());
        let mut times = match self.times.is_empty() {
            true => 0,
            false => self.times.get(&key()).copied().unwrap_or(0),
        };
        if pipeline.is_written_over(mmap.pid, mmap.name, file.written_over(times)) {
            times += 1;
            self.times.insert(key(), times);
        }
        let mut bytes = raw.bytes.to_vec();
        let generation = file.written_over(times).generation;
        let place = bytes.get_mut(GENERATION..GENERATION + 8)?;
        place.copy_from_slice(&generation.to_ne_bytes());
        (times > 0).then_some(bytes)
    }
}
