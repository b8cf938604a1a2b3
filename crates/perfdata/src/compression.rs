//! Compressed records: all of a file (or of one `data.N`) are one zstd stream, flushed at the end
//! of each batch of records. A record may begin in one and end in the next.

use std::io;

use prof_event::abi::record;
use prof_event::{HEADER_SIZE, RECORD_ALIGN, RawRecord, Reader, Short};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

use crate::Error;

/// Uncompressed bytes that we collect before we compress them.
const BATCH: usize = 128 << 10;
/// The most that one compressed record of ours holds: a batch and the record that filled it. perf
/// reserves as much for each.
pub(crate) const LARGEST_BATCH: u32 = (BATCH + (64 << 10)) as u32;
/// A block of zstd's that holds nothing, and is not the last one. A stream may have as many as it likes
/// between two others.
const EMPTY_BLOCK: [u8; 3] = [0; 3];
/// Bytes of a record behind its header, at most, before empty blocks fill it up.
const PAYLOAD: usize = (u16::MAX as usize - HEADER_SIZE - RECORD_ALIGN * EMPTY_BLOCK.len()) & !7;
/// What a single compressed record of a file may become: far more than perf and we put into one.
const INFLATED_LIMIT: usize = 16 << 20;
/// What all of a file's may become, beside so many times their size: stacks that are copied again and again
/// become fifty times smaller.
const SMALL_INFLATED: u64 = 64 << 20;
const HIGHEST_RATIO: u64 = 64;

/// Makes compressed records out of records.
pub(crate) struct Compressor {
    encoder: Encoder<'static>,
    plain: Vec<u8>,
    /// Bytes that went in and came out.
    pub(crate) plain_bytes: u64,
    pub(crate) compressed_bytes: u64,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::new(level)?,
            plain: Vec::new(),
            plain_bytes: 0,
            compressed_bytes: 0,
        })
    }

    /// Takes a record; appends compressed records to `out` when a batch is full.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.plain.extend_from_slice(bytes);
        if self.plain.len() >= BATCH {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Compresses what was taken since the last batch.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let before = out.len();
        let mut input = InBuffer::around(&self.plain);
        loop {
            let start = out.len();
            out.extend(record::COMPRESSED.to_le_bytes());
            out.extend([0; 4]);
            out.resize(start + HEADER_SIZE + PAYLOAD, 0);
            let mut output = OutBuffer::around(&mut out[start + HEADER_SIZE..]);
            let mut unwritten = 1;
            while output.pos() < PAYLOAD && unwritten != 0 {
                if input.pos() < self.plain.len() {
                    self.encoder.run(&mut input, &mut output)?;
                } else {
                    unwritten = self.encoder.flush(&mut output)?;
                }
            }
            let end = start + HEADER_SIZE + output.pos();
            out.truncate(end);
            // A record that is full has this size already; the others end with a block.
            while !(out.len() - start).is_multiple_of(RECORD_ALIGN) {
                out.extend(EMPTY_BLOCK);
            }
            let size = out.len() - start;
            out[start + 6..start + 8].copy_from_slice(&(size as u16).to_le_bytes());
            if unwritten == 0 {
                break;
            }
        }
        self.plain_bytes += self.plain.len() as u64;
        self.compressed_bytes += (out.len() - before) as u64;
        self.plain.clear();
        Ok(())
    }

    /// How many times smaller the records became.
    pub(crate) fn ratio(&self) -> u32 {
        let ratio = self.plain_bytes as f64 / self.compressed_bytes.max(1) as f64;
        ratio.round() as u32
    }
}

/// Takes the records out of compressed ones.
pub(crate) struct Inflater {
    decoder: Decoder<'static>,
    /// Bytes that went in and came out so far.
    packed: u64,
    plain: u64,
    /// The start of a record whose rest is in the next compressed one.
    pub(crate) carry: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            decoder: Decoder::new().map_err(|source| Error::io("compressed records", source))?,
            packed: 0,
            plain: 0,
            carry: Vec::new(),
        })
    }

    /// Appends to `out` what was carried over and what `raw`, which lies at `offset`, holds.
    pub(crate) fn inflate(
        &mut self,
        raw: RawRecord<'_>,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let corrupt = |what: String| Error::corrupt("a compressed record", offset, what);
        let payload = payload(raw).map_err(|error| corrupt(error.to_string()))?;
        out.append(&mut self.carry);
        self.packed += payload.len() as u64;
        let mut input = InBuffer::around(payload);
        let mut start = out.len();
        loop {
            out.resize(start + BATCH, 0);
            let mut output = OutBuffer::around(&mut out[start..]);
            let result = self.decoder.run(&mut input, &mut output);
            let written = output.pos();
            start += written;
            out.truncate(start);
            result.map_err(|error| corrupt(error.to_string()))?;
            self.plain += written as u64;
            if start > INFLATED_LIMIT {
                let most = INFLATED_LIMIT >> 20;
                return Err(corrupt(format!("it holds more than {most} MiB")));
            }
            if self.plain > SMALL_INFLATED.saturating_add(self.packed * HIGHEST_RATIO) {
                let ratio = self.plain / self.packed.max(1);
                let what = format!("it and those before hold {ratio} times their size");
                return Err(corrupt(what));
            }
            // A full buffer may leave output in the decoder although all input was taken.
            if input.pos() == payload.len() && written < BATCH {
                return Ok(());
            }
        }
    }
}

fn payload(raw: RawRecord<'_>) -> Result<&[u8], Short> {
    if raw.kind == record::COMPRESSED {
        return Ok(raw.body());
    }
    let mut reader = Reader::new(raw.body());
    let size = usize::try_from(reader.u64()?).map_err(|_| Short)?;
    reader.bytes(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that hardly compress.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    #[test]
    fn what_goes_in_comes_out_across_batches_and_records() {
        let mut compressor = Compressor::new(1).unwrap();
        let mut compressed = Vec::new();
        let plain = noise(700_000);
        for part in plain.chunks(50_000) {
            compressor.push(part, &mut compressed).unwrap();
        }
        compressor.flush(&mut compressed).unwrap();
        assert_eq!(compressor.compressed_bytes, compressed.len() as u64);

        let mut inflater = Inflater::new().unwrap();
        let mut rest = &compressed[..];
        let mut inflated = Vec::new();
        let mut records = 0;
        while !rest.is_empty() {
            let raw = RawRecord::parse(rest).unwrap();
            assert_eq!(raw.bytes.len() % RECORD_ALIGN, 0);
            let before = inflated.len();
            inflater.inflate(raw, 0, &mut inflated).unwrap();
            assert!(inflated.len() - before <= LARGEST_BATCH as usize);
            rest = &rest[raw.bytes.len()..];
            records += 1;
        }
        assert!(records > 10);
        assert!(inflated == plain);
    }

    /// A compressed record of so many zeros, many times.
    fn inflated(zeros: usize, times: usize) -> (usize, Result<(), String>) {
        let mut inflater = Inflater::new().unwrap();
        let mut most = 0;
        for _ in 0..times {
            let frame = zstd::bulk::compress(&vec![0; zeros], 1).unwrap();
            let bytes = [&[0; HEADER_SIZE], &frame[..]].concat();
            let raw = RawRecord {
                kind: record::COMPRESSED,
                misc: 0,
                bytes: &bytes,
            };
            let mut out = Vec::new();
            let result = inflater.inflate(raw, 0, &mut out);
            most = most.max(out.len());
            if let Err(error) = result {
                return (most, Err(error.to_string()));
            }
        }
        (most, Ok(()))
    }

    #[test]
    fn a_small_record_holds_no_gigabytes_and_many_of_them_neither() {
        assert_eq!(inflated(15 << 20, 4), (15 << 20, Ok(())));
        let (most, error) = inflated(1 << 30, 1);
        assert!(error.unwrap_err().ends_with("it holds more than 16 MiB"));
        assert!(most <= INFLATED_LIMIT + BATCH, "{most}");
        let (_, error) = inflated(15 << 20, 6);
        let error = error.unwrap_err();
        assert!(error.contains("it and those before hold "), "{error}");
    }

    #[test]
    fn bytes_that_are_not_zstd_are_an_error_with_their_offset() {
        let raw = RawRecord {
            kind: record::COMPRESSED,
            misc: 0,
            bytes: b"headerxxthis is not zstd",
        };
        let error = Inflater::new()
            .unwrap()
            .inflate(raw, 0x1234, &mut Vec::new());
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("a compressed record at offset 0x1234: "));
    }
}
