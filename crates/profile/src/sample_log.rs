use prof_model::VirtAddr;

use crate::{SampleKey, StackFrames, StackId, StackTable};

/// A log takes no more memory, in bytes: about a million samples.
const MOST: usize = 32 << 20;
/// So many samples lie in one block.
const BLOCK: usize = 256;
/// What a stack costs beside the log: a node and its number in a hash table of some vacancy.
const STACK: usize = 16;

/// Samples one by one in the order in which they came, as small as they can be.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleLog {
    blocks: Vec<Block>,
    addresses: usize, // of all blocks
    is_lost: bool,
}

#[derive(Clone, Debug)]
struct Block {
    samples: Vec<Entry>,
    addresses: Vec<VirtAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64, // 0 if it has none
    period: u64,
    context: u32, // its number in the profile, and in the highest bits what follows
    stack: StackId,
}

const _: () = assert!(size_of::<Entry>() == 24); // one per sample

const HAS_TIME: u32 = 1 << 31;
const HAS_ADDRESSES: u32 = 1 << 30; // the next ones of the block, one for each frame

/// A sample of a log.
#[derive(Clone, Debug)]
pub struct LoggedSample<'a> {
    /// What it has in common with others of its thread and stack.
    pub key: SampleKey,
    /// When, in nanoseconds of the recording's clock, if recorded.
    pub time: Option<u64>,
    /// How many events it stands for.
    pub period: u64,
    /// Innermost first.
    pub frames: StackFrames<'a>,
    /// Of the frames, or none.
    pub addresses: &'a [VirtAddr],
}

impl SampleLog {
    /// Takes in a sample with its context's number.
    pub(crate) fn push(
        &mut self,
        (context, stack): (u32, StackId),
        (time, period): (Option<u64>, u64),
        addresses: &[VirtAddr],
    ) {
        if self.blocks.last().is_none_or(Block::is_full) {
            self.blocks.push(Block {
                samples: Vec::with_capacity(BLOCK),
                addresses: Vec::new(),
            });
        }
        let Some(block) = self.blocks.last_mut() else {
            return;
        };
        let mut flags = 0;
        if time.is_some() {
            flags |= HAS_TIME;
        }
        if !addresses.is_empty() {
            flags |= HAS_ADDRESSES;
            block.addresses.extend_from_slice(addresses);
            self.addresses += addresses.len();
        }
        block.samples.push(Entry {
            time: time.unwrap_or(0),
            period,
            context: context | flags,
            stack,
        });
    }

    /// Whether it takes too much memory together with so many stacks.
    pub(crate) fn is_too_large(&self, stacks: usize) -> bool {
        let samples = self.blocks.len() * BLOCK;
        samples * size_of::<Entry>() + self.addresses * size_of::<VirtAddr>() + stacks * STACK
            > MOST
    }

    /// Forgets all samples for good.
    pub(crate) fn give_up(&mut self) {
        *self = Self {
            is_lost: true,
            ..Self::default()
        };
    }

    /// Whether it has given up.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl Block {
    fn is_full(&self) -> bool {
        self.samples.len() == BLOCK
    }
}

/// The log of a profile: several threads can read it.
#[derive(Clone, Copy, Debug)]
pub struct LogReader<'a> {
    pub(crate) log: &'a SampleLog,
    pub(crate) contexts: &'a [SampleKey],
    pub(crate) stacks: &'a StackTable,
}

impl<'a> LogReader<'a> {
    /// Into how many blocks, of some hundred each, the samples are divided.
    pub fn len(&self) -> usize {
        self.log.blocks.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The samples of a block in their order.
    pub fn block(self, index: usize) -> impl Iterator<Item = LoggedSample<'a>> {
        let block = &self.log.blocks[index];
        let mut addresses = &block.addresses[..];
        block.samples.iter().map(move |entry| {
            let number = entry.context & !(HAS_TIME | HAS_ADDRESSES);
            let context = &self.contexts[number as usize];
            let frames = self.stacks.frames(entry.stack);
            let mut own = &[][..];
            if entry.context & HAS_ADDRESSES != 0 {
                let count = frames.clone().count().min(addresses.len());
                (own, addresses) = addresses.split_at(count);
            }
            LoggedSample {
                key: SampleKey {
                    stack: entry.stack,
                    ..*context
                },
                time: (entry.context & HAS_TIME != 0).then_some(entry.time),
                period: entry.period,
                frames,
                addresses: own,
            }
        })
    }
}
