//! What was read of one process so far, and when.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::blob::{Blob, Header};
use crate::code_heap::CodeHeap;
use crate::layout::Layout;
use crate::memory::{Memory, Reader, Unread};

/// A blob is looked at again after so many nanoseconds: its memory may have become another one's.
const BELIEVED_FOR: u64 = 200_000_000;
/// The heaps grow, and are looked at again after so many nanoseconds at most.
const HEAPS_EVERY: u64 = 50_000_000;
/// Reads that a millisecond allows, and how many are saved up.
const READS_PER_MS: u64 = 50;
const MOST_READS: u32 = 5_000;
/// More blobs than any program has that is not in trouble.
const MOST_BLOBS: usize = 1 << 15;
/// So many bytes of code are kept.
const MOST_BYTES: usize = 32 << 20;

/// The Java virtual machine of one process.
#[derive(Debug)]
pub struct Jvm {
    layout: Layout,
    heaps: Vec<CodeHeap>,
    heaps_at: Option<u64>,
    blobs: BTreeMap<u64, Known>, // by the beginning of their code
    bytes: usize,
    told: Vec<Told>,
    now: u64,
    reads: u32,
}

#[derive(Debug)]
struct Known {
    addr: u64,
    header: Header,
    blob: Arc<Blob>,
    looked_at: u64,
    hit: FxHashSet<u64>, // addresses of it that were told
}

/// What the code at an address was called when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The address.
    pub addr: u64,
    /// The addresses of its code.
    pub code: Range<u64>,
    /// As [`Blob::name`].
    pub name: Arc<str>,
}

/// What is known about an address.
#[derive(Clone, Debug)]
pub enum Found {
    /// It is in this code.
    Blob(Arc<Blob>),
    /// It is in the heaps of code, in a part that is not used.
    Free,
    /// It is in none of the heaps.
    Elsewhere,
    /// Not known yet: there was too much to read. It will be with a later sample.
    NotYet,
}

impl Jvm {
    /// Reads the tables of a virtual machine. `exported` has the addresses of the variables
    /// [`crate::EXPORTED`] in the process. `None` if they are not as those of any known release.
    pub fn open(exported: &[u64; 11], memory: &mut dyn Memory) -> Option<Self> {
        Some(Self {
            layout: Layout::read(exported, memory)?,
            heaps: Vec::new(),
            heaps_at: None,
            blobs: BTreeMap::new(),
            bytes: 0,
            told: Vec::new(),
            now: 0,
            reads: MOST_READS,
        })
    }

    /// The code at an address, at a time in nanoseconds since any moment that never goes back far.
    pub fn blob_at(&mut self, addr: u64, now: u64, memory: &mut dyn Memory) -> Found {
        self.pass_time(now);
        let mut left = std::mem::take(&mut self.reads);
        let mut reader = Reader {
            memory,
            left: &mut left,
        };
        let found = self.find(addr, &mut reader);
        self.reads = left;
        if let Found::Blob(blob) = &found
            && let Some(known) = self.blobs.get_mut(&blob.code.start)
            && known.hit.insert(addr)
        {
            self.told.push(Told {
                addr,
                code: blob.code.clone(),
                name: Arc::clone(&blob.name),
            });
        }
        found
    }

    /// What addresses looked up since the last call are called, each once for as long as it is in the same code, in the
    /// order of time.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn pass_time(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now);
        let reads = passed.saturating_mul(READS_PER_MS) / 1_000_000;
        if reads > 0 || self.now == 0 {
            let reads = u32::try_from(reads).unwrap_or(MOST_READS);
            self.reads = self.reads.saturating_add(reads).min(MOST_READS);
            self.now = now;
        }
    }

    fn find(&mut self, addr: u64, reader: &mut Reader<'_>) -> Found {
        if let Some(known) = self.known(addr) {
            if self.now < known.looked_at.saturating_add(BELIEVED_FOR) {
                return Found::Blob(Arc::clone(&known.blob));
            }
            let header = Header::read(known.addr, &self.layout, reader);
            match header {
                // the process has ended, or there is too much to read: what was read last holds
                Err(_) => return Found::Blob(Arc::clone(&known.blob)),
                Ok(header) if header == known.header => {
                    let (start, now) = (known.blob.code.start, self.now);
                    let known = self.blobs.get_mut(&start);
                    return known.map_or(Found::NotYet, |known| {
                        known.looked_at = now;
                        Found::Blob(Arc::clone(&known.blob))
                    });
                }
                Ok(_) => {
                    let start = known.blob.code.start;
                    self.remove(start);
                }
            }
        }
        match self.read(addr, reader) {
            Ok(Some(blob)) => Found::Blob(blob),
            Ok(None) => Found::Elsewhere,
            Err(Unread::Nothing) => Found::Free,
            Err(Unread::NotYet) => Found::NotYet,
        }
    }

    fn known(&self, addr: u64) -> Option<&Known> {
        let (_, known) = self.blobs.range(..=addr).next_back()?;
        (addr < known.blob.code.end).then_some(known)
    }

    /// Reads the blob at an address; `None` if it is in none of the heaps.
    fn read(&mut self, addr: u64, reader: &mut Reader<'_>) -> Result<Option<Arc<Blob>>, Unread> {
        let Some(heap) = self.heap_of(addr, reader)? else {
            return Ok(None);
        };
        let at = heap.blob_of(addr, &self.layout, reader)?;
        let header = Header::read(at, &self.layout, reader)?;
        let blob = Arc::new(Blob::read(at, &header, &self.layout, reader)?);
        if !blob.code.contains(&addr) {
            return Err(Unread::Nothing);
        }
        self.keep(at, header, &blob);
        Ok(Some(blob))
    }

    fn heap_of(&mut self, addr: u64, reader: &mut Reader<'_>) -> Result<Option<CodeHeap>, Unread> {
        let find = |heaps: &[CodeHeap]| heaps.iter().find(|heap| heap.contains(addr)).copied();
        if let Some(heap) = find(&self.heaps) {
            return Ok(Some(heap));
        }
        let is_new = self
            .heaps_at
            .is_none_or(|at| self.now >= at.saturating_add(HEAPS_EVERY));
        if is_new {
            self.heaps = match CodeHeap::all(&self.layout, reader) {
                Err(Unread::NotYet) => return Err(Unread::NotYet),
                found => found.unwrap_or_default(), // none where they are not made yet
            };
            self.heaps_at = Some(self.now);
        }
        Ok(find(&self.heaps))
    }

    fn keep(&mut self, addr: u64, header: Header, blob: &Arc<Blob>) {
        if self.blobs.len() >= MOST_BLOBS || self.bytes >= MOST_BYTES {
            self.blobs.clear();
            self.bytes = 0;
        }
        let code = &blob.code;
        while let Some((&start, known)) = self.blobs.range(..code.end).next_back()
            && known.blob.code.end > code.start
        {
            self.remove(start);
        }
        self.bytes += blob.bytes.len();
        let known = Known {
            addr,
            header,
            blob: Arc::clone(blob),
            looked_at: self.now,
            hit: FxHashSet::default(),
        };
        self.blobs.insert(code.start, known);
    }

    fn remove(&mut self, start: u64) {
        if let Some(known) = self.blobs.remove(&start) {
            self.bytes = self.bytes.saturating_sub(known.blob.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Frame;

    /// A process with a virtual machine as release 17 lays it out, as far as it is read.
    #[derive(Clone)]
    struct MadeUp {
        bytes: BTreeMap<u64, u8>,
        reads: u32,
    }

    const EXPORTED_AT: u64 = 0x1000;
    const STRUCTS: u64 = 0x2000;
    const TYPES: u64 = 0x4000;
    const TEXTS: u64 = 0x6000;
    const HEAP: u64 = 0x8000;
    const MAP: u64 = 0x9000;
    const CODE: u64 = 0x10_0000;
    const SEGMENT: u64 = 128;
    const METHOD: u64 = 0xa000;

    impl MadeUp {
        fn new() -> Self {
            let mut this = Self {
                bytes: BTreeMap::new(),
                reads: 0,
            };
            let values = [STRUCTS, 48, 0, 8, 16, 32, 40, TYPES, 16, 0, 8];
            for (index, value) in (0..).zip(values) {
                this.put(EXPORTED_AT + 8 * index, value, 8);
            }
            let mut texts = TEXTS;
            let mut text = |this: &mut Self, text: &str| {
                let at = texts;
                this.text(at, text);
                texts += text.len() as u64 + 1;
                at
            };
            let fields = [
                (
                    "CodeCache",
                    "_heaps",
                    "GrowableArray<CodeHeap*>*",
                    0,
                    0x7000,
                ),
                ("GrowableArrayBase", "_len", "int", 0, 0),
                ("GrowableArray<int>", "_data", "int*", 8, 0),
                ("CodeHeap", "_memory", "VirtualSpace", 0, 0),
                ("CodeHeap", "_segmap", "VirtualSpace", 64, 0),
                ("CodeHeap", "_log2_segment_size", "int", 128, 0),
                ("VirtualSpace", "_low", "char*", 16, 0),
                ("VirtualSpace", "_high", "char*", 24, 0),
                ("HeapBlock", "_header", "HeapBlock::Header", 0, 0),
                ("HeapBlock::Header", "_used", "bool", 8, 0),
                ("CodeBlob", "_name", "const char*", 96, 0),
                ("CodeBlob", "_size", "int", 12, 0),
                ("CodeBlob", "_frame_complete_offset", "int", 20, 0),
                ("CodeBlob", "_frame_size", "int", 28, 0),
                ("CodeBlob", "_code_begin", "address", 32, 0),
                ("CompiledMethod", "_method", "Method*", 112, 0),
                ("Method", "_constMethod", "ConstMethod*", 8, 0),
                ("ConstMethod", "_constants", "ConstantPool*", 8, 0),
                ("ConstMethod", "_name_index", "u2", 34, 0),
                ("ConstantPool", "_pool_holder", "InstanceKlass*", 24, 0),
                ("Klass", "_name", "Symbol*", 24, 0),
                ("Symbol", "_length", "u2", 4, 0),
                ("Symbol", "_body[0]", "u1", 6, 0),
                ("Unrelated", "_field", "int", 0, 0),
            ];
            for (index, (ty, field, kind, at, address)) in (0..).zip(fields) {
                let entry = STRUCTS + 48 * index;
                for (at, word) in [(0, ty), (8, field), (16, kind)] {
                    let word = text(&mut this, word);
                    this.put(entry + at, word, 8);
                }
                this.put(entry + 32, at, 8);
                this.put(entry + 40, address, 8);
            }
            for (index, (ty, size)) in (0..).zip([("HeapBlock", 16), ("ConstantPool", 72)]) {
                let name = text(&mut this, ty);
                this.put(TYPES + 16 * index, name, 8);
                this.put(TYPES + 16 * index + 8, size, 8);
            }
            this.put(0x7000, 0x7100, 8); // the list
            this.put(0x7100, 1, 4);
            this.put(0x7108, 0x7200, 8);
            this.put(0x7200, HEAP, 8);
            this.put(HEAP + 16, CODE, 8);
            this.put(HEAP + 24, CODE + 0x1_0000, 8);
            this.put(HEAP + 64 + 16, MAP, 8);
            this.put(HEAP + 64 + 24, MAP + 0x200, 8);
            this.put(HEAP + 128, 7, 4);
            for segment in 0..0x200 {
                this.put(MAP + segment, 0xff, 1);
            }
            this.method(0, 40, "java/util/HashMap", "getNode");
            this
        }

        /// A method of so many segments, from a segment on; its code begins 0x80 bytes behind its blob.
        fn method(&mut self, first: u64, segments: u64, class: &str, name: &str) {
            for segment in 0..segments {
                // small steps: more than one leads to the first segment
                self.put(MAP + first + segment, segment.min(3), 1);
            }
            let block = CODE + first * SEGMENT;
            let blob = block + 16;
            self.put(block + 8, 1, 1);
            let size = segments * SEGMENT - 16;
            self.put(blob + 12, size, 4);
            self.put(blob + 20, 12, 4);
            self.put(blob + 28, 6, 4);
            self.put(blob + 32, blob + 0x80, 8);
            self.text(0xb000, "nmethod");
            self.put(blob + 96, 0xb000, 8);
            let method = METHOD + first * 0x1000;
            self.put(blob + 112, method, 8);
            self.put(method + 8, method + 0x100, 8);
            self.put(method + 0x108, method + 0x200, 8);
            self.put(method + 0x100 + 34, 5, 2);
            self.put(method + 0x200 + 24, method + 0x300, 8);
            self.put(method + 0x200 + 72 + 8 * 5, method + 0x400, 8);
            self.put(method + 0x300 + 24, method + 0x600, 8);
            for (at, text) in [(0x400, name), (0x600, class)] {
                self.put(method + at + 4, text.len() as u64, 2);
                self.text(method + at + 6, text);
            }
            for at in 0x80..size {
                self.put(blob + at, 0x90, 1);
            }
        }

        fn put(&mut self, addr: u64, value: u64, size: u64) {
            for (at, byte) in (0..size).zip(value.to_le_bytes()) {
                self.bytes.insert(addr + at, byte);
            }
        }

        fn text(&mut self, addr: u64, text: &str) {
            for (at, byte) in (addr..).zip(text.bytes().chain([0])) {
                self.bytes.insert(at, byte);
            }
        }

        fn exported() -> [u64; 11] {
            std::array::from_fn(|index| EXPORTED_AT + 8 * index as u64)
        }
    }

    impl Memory for MadeUp {
        fn read(&mut self, addr: u64, into: &mut [u8]) -> usize {
            self.reads += 1;
            let page = |addr: u64| addr & !0xfff;
            let mut count = 0;
            for (byte, addr) in into.iter_mut().zip(addr..) {
                let is_mapped = self
                    .bytes
                    .range(page(addr)..page(addr) + 0x1000)
                    .next()
                    .is_some();
                if !is_mapped {
                    break;
                }
                *byte = self.bytes.get(&addr).copied().unwrap_or(0);
                count += 1;
            }
            count
        }
    }

    fn name(found: &Found) -> &str {
        match found {
            Found::Blob(blob) => &blob.name,
            Found::Free => "free",
            Found::Elsewhere => "elsewhere",
            Found::NotYet => "not yet",
        }
    }

    #[test]
    fn an_address_has_the_method_that_is_there_now() {
        let mut memory = MadeUp::new();
        let mut jvm = Jvm::open(&MadeUp::exported(), &mut memory).unwrap();
        let inside = CODE + 39 * SEGMENT + 5;
        let found = jvm.blob_at(inside, 1, &mut memory);
        let Found::Blob(blob) = &found else {
            panic!("{found:?}");
        };
        assert_eq!(&*blob.name, "java.util.HashMap.getNode");
        assert_eq!(blob.code, CODE + 16 + 0x80..CODE + 40 * SEGMENT);
        assert_eq!(blob.bytes.len() as u64, blob.code.end - blob.code.start);
        let frame = Frame::Fixed {
            size: 48,
            complete_from: 12,
        };
        assert_eq!(blob.frame, frame);
        for (addr, expected) in [(CODE + 41 * SEGMENT, "free"), (0x77, "elsewhere")] {
            assert_eq!(name(&jvm.blob_at(addr, 2, &mut memory)), expected);
        }
        // known again without a look, then by its first bytes alone
        let before = memory.reads;
        jvm.blob_at(inside, 3, &mut memory);
        assert_eq!(memory.reads, before);
        jvm.blob_at(inside, 3 + BELIEVED_FOR, &mut memory);
        assert_eq!(memory.reads, before + 1);
        // other code comes there
        memory.method(0, 20, "A", "first");
        memory.method(20, 20, "B$C", "second");
        let later = 4 + 2 * BELIEVED_FOR;
        assert_eq!(name(&jvm.blob_at(inside, later, &mut memory)), "B$C.second");
        let told: Vec<_> = jvm.take_told();
        let told: Vec<_> = told.iter().map(|told| (told.addr, &*told.name)).collect();
        assert_eq!(
            told,
            [
                (inside, "java.util.HashMap.getNode"),
                (inside, "B$C.second")
            ]
        );
        assert!(jvm.take_told().is_empty());
        // what was read last holds when the process is gone
        let mut gone = |_: u64, _: &mut [u8]| 0;
        assert_eq!(
            name(&jvm.blob_at(inside, later * 2, &mut gone)),
            "B$C.second"
        );
    }

    #[test]
    fn code_of_a_machine_that_has_no_heaps_yet_is_elsewhere() {
        let mut memory = MadeUp::new();
        memory.put(0x7200, 0, 8);
        let mut jvm = Jvm::open(&MadeUp::exported(), &mut memory).unwrap();
        assert_eq!(name(&jvm.blob_at(CODE + 200, 1, &mut memory)), "elsewhere");
        memory.put(0x7200, HEAP, 8);
        let later = jvm.blob_at(CODE + 200, 2 + HEAPS_EVERY, &mut memory);
        assert_eq!(name(&later), "java.util.HashMap.getNode");
    }

    #[test]
    fn reads_are_limited_by_the_time_that_passes() {
        let mut memory = MadeUp::new();
        let mut jvm = Jvm::open(&MadeUp::exported(), &mut memory).unwrap();
        jvm.reads = 10;
        jvm.now = 1;
        let inside = CODE + 39 * SEGMENT + 5;
        assert_eq!(name(&jvm.blob_at(inside, 1, &mut memory)), "not yet");
        let later = jvm.blob_at(inside, 2_000_000, &mut memory);
        assert_eq!(name(&later), "java.util.HashMap.getNode");
    }

    #[test]
    fn whatever_the_memory_holds_the_answer_comes_and_takes_few_reads() {
        let whole = MadeUp::new();
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let addrs: Vec<u64> = whole.bytes.keys().copied().collect();
        let mut opened = 0;
        for _ in 0..300 {
            let mut memory = whole.clone();
            for _ in 0..1 + random(12) {
                let addr = addrs[random(addrs.len() as u64) as usize];
                let byte = [0, 1, 0x7f, 0xff, random(256)][random(5) as usize];
                memory.put(addr, byte, 1);
            }
            let Some(mut jvm) = Jvm::open(&MadeUp::exported(), &mut memory) else {
                continue;
            };
            opened += 1;
            memory.reads = 0;
            for addr in [CODE + 200, CODE + 30 * SEGMENT, CODE + 0xffff, u64::MAX, 0] {
                jvm.blob_at(addr, 1, &mut memory);
            }
            assert!(memory.reads <= MOST_READS, "{}", memory.reads);
        }
        assert!(opened > 100, "{opened}");
    }
}
