//! Holds the bytes of records that wait for their turn.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::source::SharedBytes;

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) chunk: u64,
    pub(crate) at: u32,
}

/// The pieces in which a file was read. A piece stays as long as a record in it waits, so records
/// are never copied; pieces that nobody needs are used again.
#[derive(Default)]
pub(crate) struct Chunks {
    chunks: VecDeque<Chunk>,
    /// Number of the first in `chunks`.
    first: u64,
    spare: Vec<Vec<u8>>,
}

struct Chunk {
    bytes: ChunkBytes,
    holders: u32,
}

/// What was read, or a part of what is mapped.
#[derive(Clone)]
pub(crate) enum ChunkBytes {
    Read(Arc<Vec<u8>>),
    Mapped(SharedBytes, Range<usize>),
}

impl ChunkBytes {
    pub(crate) fn get(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Mapped(bytes, range) => &(**bytes).as_ref()[range.clone()],
        }
    }
}

/// More would only keep memory.
const SPARE: usize = 4;

impl Chunks {
    /// An empty buffer for the next chunk.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Adds a chunk, held once; returns its number.
    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> u64 {
        self.push(ChunkBytes::Read(Arc::new(bytes)))
    }

    /// Adds a part of what is mapped, as [`Self::add`] does.
    pub(crate) fn add_mapped(&mut self, bytes: SharedBytes, range: Range<usize>) -> u64 {
        self.push(ChunkBytes::Mapped(bytes, range))
    }

    fn push(&mut self, bytes: ChunkBytes) -> u64 {
        self.chunks.push_back(Chunk { bytes, holders: 1 });
        self.first + self.chunks.len() as u64 - 1
    }

    /// The bytes of a chunk that is held. They can be looked at while chunks come and go.
    pub(crate) fn bytes(&self, chunk: u64) -> ChunkBytes {
        self.chunks[(chunk - self.first) as usize].bytes.clone()
    }

    /// Keeps a chunk until one more [`Self::release`].
    pub(crate) fn hold(&mut self, chunk: u64) {
        self.chunks[(chunk - self.first) as usize].holders += 1;
    }

    /// Ends so many holds.
    pub(crate) fn release(&mut self, chunk: u64, holds: u32) {
        let chunk = &mut self.chunks[(chunk - self.first) as usize];
        chunk.holders -= holds;
        if chunk.holders == 0 {
            let bytes = std::mem::replace(&mut chunk.bytes, ChunkBytes::Read(Arc::default()));
            if let ChunkBytes::Read(bytes) = bytes
                && self.spare.len() < SPARE
                && let Ok(mut bytes) = Arc::try_unwrap(bytes)
            {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        while self.chunks.front().is_some_and(|chunk| chunk.holders == 0) {
            self.chunks.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_stays_until_its_last_record_is_released() {
        let mut chunks = Chunks::default();
        let first = chunks.add(b"first".to_vec());
        let second = chunks.add(b"second".to_vec());
        chunks.hold(first);
        chunks.hold(first);
        chunks.release(first, 1);
        chunks.release(second, 1);
        assert_eq!(chunks.bytes(first).get(), b"first");
        chunks.release(first, 2);
        assert!(chunks.chunks.is_empty());
        assert_eq!(chunks.spare.len(), 2);
        let third = chunks.add(b"third".to_vec());
        assert_eq!((third, chunks.bytes(third).get()), (2, &b"third"[..]));
    }
}
