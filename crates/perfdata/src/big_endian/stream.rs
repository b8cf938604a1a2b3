use std::io::{self, Read};

use prof_event::abi::record;
use prof_event::{HEADER_SIZE, RawRecord};

use super::{Layouts, feature, tracepoints};
use crate::compression::Inflater;
use crate::feature::bit;
use crate::pipe;

/// The records of a big-endian stream as little-endian ones. Those in compressed records come out
/// plain, in the place of the compressed one.
pub(crate) struct BigEndianReader<R> {
    inner: R,
    layouts: Layouts,
    inflater: Option<Inflater>,
    /// Turned, and not read yet from `at` on.
    ready: Vec<u8>,
    at: usize,
    /// Bytes that follow as they are.
    as_it_is: u64,
    /// Nothing that follows can be taken for records.
    is_torn: bool,
}

/// Formats of tracepoints take some hundred KiB.
const TRACING_DATA_LIMIT: u64 = 256 << 20;

impl<R: Read> BigEndianReader<R> {
    pub(crate) fn new(inner: R, layouts: Layouts) -> Self {
        Self {
            inner,
            layouts,
            inflater: None,
            ready: Vec::new(),
            at: 0,
            as_it_is: 0,
            is_torn: false,
        }
    }

    /// Takes the next record from the stream and turns it.
    fn next_record(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        let mut bytes = Vec::new();
        self.take(HEADER_SIZE as u64, &mut bytes)?;
        let size = turn_record_header(&mut bytes);
        let body = size.saturating_sub(HEADER_SIZE);
        self.take(body as u64, &mut bytes)?;
        if size < HEADER_SIZE || bytes.len() < size {
            self.is_torn = true;
            if bytes.is_empty() {
                // The end, but for the start of a compressed record whose rest never came.
                let inflater = self.inflater.as_mut();
                bytes = inflater.map_or(bytes, |it| std::mem::take(&mut it.carry));
            }
            self.ready = bytes;
            return Ok(());
        }
        let kind = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // What is too short is left to who decodes it: he will find the same.
        let _ = self.layouts.turn_record(&mut bytes);
        match kind {
            record::COMPRESSED | record::COMPRESSED2 => return self.inflate(&bytes),
            record::HEADER_TRACING_DATA => self.tracing_data(&mut bytes)?,
            record::AUXTRACE => {
                let raw = RawRecord::parse(&bytes).map_err(io::Error::other)?;
                self.as_it_is = pipe::bytes_behind(raw).unwrap_or(0);
            }
            _ => {}
        }
        self.ready = bytes;
        Ok(())
    }

    fn take(&mut self, count: u64, into: &mut Vec<u8>) -> io::Result<()> {
        (&mut self.inner).take(count).read_to_end(into).map(drop)
    }

    /// The formats of tracepoints lie behind their record.
    fn tracing_data(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let raw = RawRecord::parse(bytes).map_err(io::Error::other)?;
        let size = pipe::bytes_behind(raw).unwrap_or(0);
        if size > TRACING_DATA_LIMIT {
            self.as_it_is = size;
            return Ok(());
        }
        let mut formats = Vec::new();
        self.take(size, &mut formats)?;
        let _ = feature::turn(bit::TRACING_DATA, &mut formats);
        self.layouts.tracepoints = tracepoints(&formats);
        bytes.append(&mut formats);
        Ok(())
    }

    fn inflate(&mut self, bytes: &[u8]) -> io::Result<()> {
        let inflater = match &mut self.inflater {
            Some(inflater) => inflater,
            none => none.insert(Inflater::new().map_err(io::Error::other)?),
        };
        let raw = RawRecord::parse(bytes).map_err(io::Error::other)?;
        let mut plain = Vec::new();
        let inflated = inflater.inflate(raw, 0, &mut plain);
        inflated.map_err(io::Error::other)?;
        let mut at = 0;
        while let Some(header) = plain[at..].first_chunk::<HEADER_SIZE>() {
            let size = usize::from(u16::from_be_bytes([header[6], header[7]]));
            let Some(record) = plain[at..].get_mut(..size.max(HEADER_SIZE)) else {
                break;
            };
            turn_record_header(record);
            let _ = self.layouts.turn_record(record);
            at += record.len();
        }
        inflater.carry.extend_from_slice(&plain[at..]);
        plain.truncate(at);
        self.ready = plain;
        Ok(())
    }
}

/// Turns type, misc and size; returns the size, 0 where there is no whole header.
fn turn_record_header(bytes: &mut [u8]) -> usize {
    let Some(header) = bytes.first_chunk_mut::<HEADER_SIZE>() else {
        return 0;
    };
    header[..4].reverse();
    header[4..6].reverse();
    header[6..].reverse();
    usize::from(u16::from_le_bytes([header[6], header[7]]))
}

impl<R: Read> Read for BigEndianReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.at < self.ready.len() {
                let read = (&self.ready[self.at..]).read(&mut into[filled..])?;
                self.at += read;
                filled += read;
            } else if self.as_it_is > 0 {
                let mut inner = (&mut self.inner).take(self.as_it_is);
                let read = inner.read(&mut into[filled..])?;
                filled += read;
                // Where the stream ends, nothing follows.
                self.as_it_is = if read == 0 {
                    0
                } else {
                    self.as_it_is - read as u64
                };
            } else if self.is_torn {
                break;
            } else {
                self.next_record()?;
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Compressor;
    use prof_event::abi::{misc, sample};
    use prof_event::{Decoded, Event, EventAttr, Record};
    use prof_model::VirtAddr;

    const SAMPLES: u64 = 3000;

    fn layouts() -> Layouts {
        let mut layouts = Layouts::default();
        layouts.events.push(Event {
            attr: EventAttr {
                sample_type: sample::IP | sample::TID | sample::TIME,
                ..EventAttr::default()
            },
            name: String::new(),
            ids: Vec::new(),
        });
        layouts
    }

    /// Samples as a big-endian machine has them, their addresses counted up.
    fn samples() -> Vec<Vec<u8>> {
        let one = |number: u64| {
            let mut bytes = record::SAMPLE.to_be_bytes().to_vec();
            bytes.extend(misc::USER.to_be_bytes());
            bytes.extend(32u16.to_be_bytes());
            bytes.extend((0x1000 + number).to_be_bytes());
            bytes.extend([7u32, 8].map(u32::to_be_bytes).concat());
            bytes.extend((100 + number).to_be_bytes());
            bytes
        };
        (0..SAMPLES).map(one).collect()
    }

    /// What a sample of the turned stream says.
    fn addresses(mut turned: &[u8]) -> Vec<u64> {
        let layouts = layouts();
        let mut addresses = Vec::new();
        while let Ok(raw) = RawRecord::parse(turned) {
            let decoded = layouts.events.decode(raw).unwrap();
            let Decoded {
                record: Record::Sample(it),
                ..
            } = decoded
            else {
                panic!("{decoded:?}");
            };
            assert_eq!((it.pid.0, it.tid.0), (7, 8));
            assert_eq!(it.time, Some(it.ip.0 - 0x1000 + 100));
            let VirtAddr(ip) = it.ip;
            addresses.push(ip);
            turned = &turned[raw.bytes.len()..];
        }
        assert_eq!(turned, b"");
        addresses
    }

    fn turned(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader = BigEndianReader::new(bytes, layouts());
        reader.read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn records_come_out_turned_whether_they_were_compressed_or_not() {
        let expected: Vec<u64> = (0..SAMPLES).map(|number| 0x1000 + number).collect();
        assert_eq!(addresses(&turned(&samples().concat())), expected);

        let mut compressed = Vec::new();
        let mut compressor = Compressor::new(1).unwrap();
        // Pieces that end within a record.
        for piece in samples().concat().chunks(40_001) {
            compressor.push(piece, &mut compressed).unwrap();
            compressor.flush(&mut compressed).unwrap();
        }
        let mut at = 0;
        while at < compressed.len() {
            let size = turn_record_header(&mut compressed[at..]);
            let size = u16::from_be(size as u16); // it was little-endian before
            at += usize::from(size);
        }
        assert_eq!(addresses(&turned(&compressed)), expected);
    }

    #[test]
    fn a_stream_that_is_cut_gives_what_precedes_the_cut_and_the_start_of_the_next() {
        let whole = samples()[..2].concat();
        for cut in 0..whole.len() {
            let turned = turned(&whole[..cut]);
            assert_eq!(turned.len(), cut);
            assert_eq!(addresses(&turned[..cut / 32 * 32]).len(), cut / 32);
        }
    }
}
