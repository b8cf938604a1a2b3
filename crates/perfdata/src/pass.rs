//! One pass over the records: cut out of bytes, unpacked, put into time order, delivered.

use prof_event::abi::record;
use prof_event::{Decoded, EventSet, HEADER_SIZE, RawRecord, RoundQueue};
use prof_model::ChainEnd;

use crate::Error;
use crate::chunks::{Chunks, Place};
use crate::compression::Inflater;
use crate::feature::Features;
use crate::names::ChainEnds;
use crate::pipe;
use crate::source::{CHUNK, Feed};

const SECTION: &str = "the records";
/// Formats of tracepoints take some hundred KiB.
const TRACING_DATA_LIMIT: u64 = 256 << 20;
/// The last kind of record that the kernel writes today.
const LAST_KERNEL_KIND: u32 = record::AUX_OUTPUT_HW_ID;

/// A record of a recording, at its turn.
///
/// A sample with the counters of a group is one item, of the event that it names: `prof-session` makes a
/// sample of each event of it.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The events so far; in a pipe they can come late.
    pub events: &'a EventSet,
    /// Its bytes.
    pub raw: RawRecord<'a>,
    /// What they say.
    pub decoded: &'a Decoded<'a>,
    /// For a sample: how many precede it in the file. Elsewhere 0.
    pub sample: u64,
    /// For a sample: why its callchain ended, where the recorder stored that.
    pub chain_end: Option<ChainEnd>,
}

/// What the records change or need while they are read.
pub(crate) struct Context<'r> {
    pub(crate) events: &'r mut EventSet,
    pub(crate) features: &'r mut Features,
    pub(crate) ends: Option<&'r ChainEnds>,
    /// Whether records define the events.
    pub(crate) is_pipe: bool,
    /// Records in front of this offset have told their events and facts before.
    pub(crate) known_until: u64,
    /// Whether the recorder died, so that the end may be torn.
    pub(crate) unfinished: bool,
}

/// The state of one pass.
pub(crate) struct Pass<'r, F> {
    chunks: Chunks,
    queue: RoundQueue<Waiting>,
    samples: u64,
    delivery: Delivery<'r, F>,
}

/// What becomes of a record at its turn.
struct Delivery<'r, F> {
    context: Context<'r>,
    tally: Tally,
    visit: F,
}

/// A record in the queue.
struct Waiting {
    place: Place,
    sample: u64,
}

/// Where the records in compressed records, and the bytes behind records, are found.
struct Outside<'f> {
    feed: Feed<'f>,
    inflater: Option<Inflater>,
}

/// Why a chunk has no further record.
enum Stop {
    /// The rest, from here on, is the start of a record.
    Rest(usize),
    /// What follows are not records.
    Torn,
}

impl<'r, F, E> Pass<'r, F>
where
    F: FnMut(Item<'_>) -> Result<(), E>,
    E: From<Error>,
{
    pub(crate) fn new(context: Context<'r>, visit: F) -> Self {
        Self {
            chunks: Chunks::default(),
            queue: RoundQueue::default(),
            samples: 0,
            delivery: Delivery {
                context,
                tally: Tally::default(),
                visit,
            },
        }
    }

    /// Reads a stream of records to its end. Those of several streams are put in order together.
    pub(crate) fn run(&mut self, feed: Feed<'_>) -> Result<(), E> {
        let mut outside = Outside {
            feed,
            inflater: None,
        };
        let mut carry = Vec::new();
        while let Some((bytes, range)) = outside.feed.window() {
            let start = outside.feed.offset();
            let len = range.len();
            outside.feed.skip(len as u64)?;
            let chunk = self.chunks.add_mapped(bytes, range);
            let stop = self.scan(chunk, start, Some(&mut outside))?;
            self.chunks.release(chunk, 1);
            match stop {
                Stop::Rest(0) => {
                    self.delivery.tally.torn_at = Some(start);
                    return Ok(());
                }
                Stop::Rest(at) => outside.feed.back((len - at) as u64),
                Stop::Torn => return Ok(()),
            }
        }
        loop {
            let start = outside.feed.offset() - carry.len() as u64;
            let mut bytes = self.chunks.buffer();
            bytes.append(&mut carry);
            if outside.feed.fill(&mut bytes, CHUNK)? == 0 {
                let inner = outside.inflater.map_or(0, |inflater| inflater.carry.len());
                if !bytes.is_empty() || inner != 0 {
                    self.delivery.tally.torn_at = Some(start);
                }
                return Ok(());
            }
            let chunk = self.chunks.add(bytes);
            let stop = self.scan(chunk, start, Some(&mut outside))?;
            if let Stop::Rest(at) = stop {
                carry.extend_from_slice(&self.chunks.bytes(chunk).get()[at..]);
            }
            self.chunks.release(chunk, 1);
            if let Stop::Torn = stop {
                return Ok(());
            }
        }
    }

    /// Delivers what still waits. Returns what a reader should be told.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, E> {
        let waiting = self.queue.finish();
        self.delivery.deliver_all(waiting, &mut self.chunks)?;
        Ok(self.delivery.tally.into_warnings())
    }

    /// Takes in all records of a chunk that starts at `start` of the file. The records in a
    /// compressed one have nothing outside, and the offset of that one.
    fn scan(
        &mut self,
        chunk: u64,
        start: u64,
        mut outside: Option<&mut Outside<'_>>,
    ) -> Result<Stop, E> {
        let inside = outside.is_none();
        let held = self.chunks.bytes(chunk);
        let bytes = held.get();
        let mut at = 0;
        loop {
            let offset = if inside { start } else { start + at as u64 };
            let raw = match cut(&bytes[at..]) {
                Cut::Record(raw) => raw,
                Cut::Partial => return Ok(Stop::Rest(at)),
                Cut::Nonsense(_) if self.delivery.context.unfinished => {
                    self.delivery.tally.torn_at = Some(offset);
                    return Ok(Stop::Torn);
                }
                Cut::Nonsense(size) => {
                    let what = format!("a record says that it has {size} bytes, less than 8");
                    return Err(Error::corrupt(SECTION, offset, what).into());
                }
            };
            let place = Place {
                chunk,
                at: at as u32,
            };
            at += raw.bytes.len();
            match (raw.kind, outside.as_deref_mut()) {
                (record::COMPRESSED | record::COMPRESSED2, Some(outside)) => {
                    self.inflate(raw, offset, outside)?;
                }
                (record::AUXTRACE | record::HEADER_TRACING_DATA, Some(outside)) => {
                    at += self.pass_over(raw, &bytes[at..], offset, outside)?;
                }
                (
                    record::COMPRESSED
                    | record::COMPRESSED2
                    | record::AUXTRACE
                    | record::HEADER_TRACING_DATA,
                    None,
                ) => {
                    let what = format!("a record of type {} inside a compressed one", raw.kind);
                    return Err(Error::corrupt(SECTION, offset, what).into());
                }
                _ => self.record(raw, place, offset)?,
            }
        }
    }

    /// Takes in the records of a compressed one.
    fn inflate(
        &mut self,
        raw: RawRecord<'_>,
        offset: u64,
        outside: &mut Outside<'_>,
    ) -> Result<(), E> {
        let inflater = match &mut outside.inflater {
            Some(inflater) => inflater,
            none => none.insert(Inflater::new()?),
        };
        let mut plain = self.chunks.buffer();
        inflater.inflate(raw, offset, &mut plain)?;
        let chunk = self.chunks.add(plain);
        if let Stop::Rest(at) = self.scan(chunk, offset, None)? {
            inflater
                .carry
                .extend_from_slice(&self.chunks.bytes(chunk).get()[at..]);
        }
        self.chunks.release(chunk, 1);
        Ok(())
    }

    /// Handles the bytes that follow a record, are not part of it, and start with `behind`. Returns how
    /// many of these they are.
    fn pass_over(
        &mut self,
        raw: RawRecord<'_>,
        behind: &[u8],
        offset: u64,
        outside: &mut Outside<'_>,
    ) -> Result<usize, E> {
        let size = pipe::bytes_behind(raw)
            .map_err(|short| Error::corrupt(SECTION, offset, short.to_string()))?;
        let len = behind.len();
        let here = &behind[..usize::try_from(size).unwrap_or(len).min(len)];
        let left = size - here.len() as u64;
        let wanted = raw.kind == record::HEADER_TRACING_DATA && size <= TRACING_DATA_LIMIT;
        if wanted {
            let mut data = here.to_vec();
            outside.feed.take(&mut data, left)?;
            self.delivery.context.features.tracing_data = Some(data);
        } else {
            outside.feed.skip(left)?;
        }
        Ok(here.len())
    }

    /// Takes in a record that is no container.
    fn record(&mut self, raw: RawRecord<'_>, place: Place, offset: u64) -> Result<(), E> {
        let Delivery { context, tally, .. } = &mut self.delivery;
        match raw.kind {
            record::FINISHED_ROUND => return self.finish_round(raw),
            record::HEADER_ATTR
            | record::HEADER_FEATURE
            | record::HEADER_BUILD_ID
            | record::HEADER_EVENT_TYPE => {
                context.learn(raw, offset, tally);
                return Ok(());
            }
            record::EVENT_UPDATE => context.learn(raw, offset, tally),
            kind if !is_known(kind) => {
                tally.unknown(kind);
                return Ok(());
            }
            _ => {}
        }
        let mut sample = 0;
        if raw.kind == record::SAMPLE {
            sample = self.samples;
            self.samples += 1;
        }
        if let Some(time) = context.events.time_of(raw) {
            self.chunks.hold(place.chunk);
            self.queue.push(time, Waiting { place, sample });
            return Ok(());
        }
        self.delivery.deliver(raw, sample)
    }

    /// Delivers what a round lets out, and then the record that ends it.
    fn finish_round(&mut self, end: RawRecord<'_>) -> Result<(), E> {
        let waiting = self.queue.finish_round();
        self.delivery.deliver_all(waiting, &mut self.chunks)?;
        if self.delivery.context.events.events().is_empty() {
            return Ok(());
        }
        self.delivery.deliver(end, 0)
    }
}

impl<F, E> Delivery<'_, F>
where
    F: FnMut(Item<'_>) -> Result<(), E>,
{
    /// Delivers records that have waited, and releases them.
    fn deliver_all(
        &mut self,
        waiting: impl Iterator<Item = Waiting>,
        chunks: &mut Chunks,
    ) -> Result<(), E> {
        let mut waiting = waiting.peekable();
        while let Some(&Waiting { place, .. }) = waiting.peek() {
            let chunk = chunks.bytes(place.chunk);
            let bytes = chunk.get();
            let mut count = 0;
            let is_here = |waiting: &Waiting| waiting.place.chunk == place.chunk;
            while let Some(Waiting { place, sample }) = waiting.next_if(is_here) {
                if let Cut::Record(raw) = cut(&bytes[place.at as usize..]) {
                    self.deliver(raw, sample)?;
                }
                count += 1;
            }
            drop(chunk); // so that its buffer can be used again
            chunks.release(place.chunk, count);
        }
        Ok(())
    }

    /// Hands a record over.
    fn deliver(&mut self, raw: RawRecord<'_>, sample: u64) -> Result<(), E> {
        let Self {
            context,
            tally,
            visit,
        } = self;
        let decoded = match context.events.decode(raw) {
            Ok(decoded) => decoded,
            Err(error) => {
                tally.undecodable(raw, &error.to_string());
                return Ok(());
            }
        };
        let is_sample = raw.kind == record::SAMPLE;
        let ends = context.ends.filter(|_| is_sample);
        let item = Item {
            events: context.events,
            raw,
            decoded: &decoded,
            sample,
            chain_end: ends.map(|ends| ends.get(sample)),
        };
        visit(item)
    }
}

impl Context<'_> {
    /// Takes in what a record says about the recording itself.
    fn learn(&mut self, raw: RawRecord<'_>, offset: u64, tally: &mut Tally) {
        let defines = matches!(raw.kind, record::HEADER_ATTR | record::HEADER_FEATURE);
        if offset < self.known_until || (defines && !self.is_pipe) {
            return;
        }
        if let Err(error) = pipe::apply(raw, self.events, self.features) {
            tally.undecodable(raw, &error.to_string());
        }
    }
}

fn is_known(kind: u32) -> bool {
    let of_kernel = record::MMAP..=LAST_KERNEL_KIND;
    let of_perf = record::HEADER_ATTR..=record::COMPRESSED2;
    of_kernel.contains(&kind) || of_perf.contains(&kind)
}

/// What lies at the start of some bytes.
enum Cut<'a> {
    Record(RawRecord<'a>),
    /// The start of a record.
    Partial,
    /// A record of an impossible size.
    Nonsense(usize),
}

fn cut(bytes: &[u8]) -> Cut<'_> {
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        return Cut::Partial;
    };
    let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
    match RawRecord::parse(bytes) {
        Ok(raw) => Cut::Record(raw),
        Err(_) if size < HEADER_SIZE => Cut::Nonsense(size),
        Err(_) => Cut::Partial,
    }
}

/// What a reader should be told afterwards.
#[derive(Default)]
struct Tally {
    unknown: u64,
    first_unknown: u32,
    undecodable: u64,
    first_undecodable: String,
    torn_at: Option<u64>,
}

impl Tally {
    fn unknown(&mut self, kind: u32) {
        if self.unknown == 0 {
            self.first_unknown = kind;
        }
        self.unknown += 1;
    }

    fn undecodable(&mut self, raw: RawRecord<'_>, why: &str) {
        if self.undecodable == 0 {
            self.first_undecodable = format!("type {}, {why}", raw.kind);
        }
        self.undecodable += 1;
    }

    fn into_warnings(self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(at) = self.torn_at {
            warnings.push(format!(
                "the records end within a record at offset {at:#x}; the recording is not complete"
            ));
        }
        if self.unknown != 0 {
            warnings.push(format!(
                "{} records of unknown types were skipped; the first has type {}",
                self.unknown, self.first_unknown
            ));
        }
        if self.undecodable != 0 {
            warnings.push(format!(
                "{} records could not be decoded; the first: {}",
                self.undecodable, self.first_undecodable
            ));
        }
        warnings
    }
}
