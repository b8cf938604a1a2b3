//! Writes a seekable file.
//!
//! ```text
//! header | ids | attrs | data: records | feature table | features | late ids | names
//! ```

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use prof_event::abi::record;
use prof_event::{EventSet, HEADER_SIZE, RawRecord};

use crate::attr_section::{self, STRIDE};
use crate::compression::{Compressor, LARGEST_BATCH};
use crate::feature::{Compressed, Features};
use crate::header::{FILE_SIZE, FileHeader, Section};
use crate::names::StoredNames;
use crate::sink::{RecordSink, whole_record};

/// Bytes collected for one write.
const BUFFER: usize = 256 << 10;

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterOptions {
    /// zstd's level, 1 to 22; `None`: not compressed.
    pub compression: Option<u32>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// Bytes of all records, compressed where they are.
    pub data_bytes: u64,
    /// Bytes of all records before compression.
    pub record_bytes: u64,
    /// All records, round ends not counted.
    pub records: u64,
    /// SAMPLE records.
    pub samples: u64,
}

/// Writes perf.data to anything that can seek.
///
/// The file is of use from the start: a reader of a file whose writer died reads the records up to
/// the end and says that the rest is missing.
pub struct Writer<W: Write + Seek> {
    out: BufWriter<W>,
    events: EventSet,
    header: FileHeader,
    ids_are_late: bool,
    compression: Option<(u32, Compressor)>,
    compressed: Vec<u8>,
    sample_time: Option<(u64, u64)>,
    summary: Summary,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes the header with `events`. `out` must be empty and at its start.
    ///
    /// # Errors
    /// What `out` says.
    pub fn create(out: W, events: &EventSet, options: WriterOptions) -> io::Result<Self> {
        let (ids, id_sections) = attr_section::ids_to_bytes(events, FILE_SIZE);
        let attrs = Section {
            offset: FILE_SIZE + ids.len() as u64,
            size: STRIDE * events.events().len() as u64,
        };
        let header = FileHeader {
            attr_stride: STRIDE,
            attrs,
            data: Section {
                offset: attrs.end(),
                size: 0,
            },
            features: [0; 4],
        };
        let compressor = |level: u32| -> io::Result<_> {
            let zstd_level = i32::try_from(level).unwrap_or(i32::MAX);
            Ok((level, Compressor::new(zstd_level)?))
        };
        let mut this = Self {
            out: BufWriter::with_capacity(BUFFER, out),
            events: events.clone(),
            header,
            ids_are_late: false,
            compression: options.compression.map(compressor).transpose()?,
            compressed: Vec::new(),
            sample_time: None,
            summary: Summary::default(),
        };
        this.out.write_all(&header.to_bytes())?;
        this.out.write_all(&ids)?;
        this.out
            .write_all(&attr_section::to_bytes(events, &id_sections))?;
        this.out.flush()?;
        Ok(this)
    }

    /// Notes instances of events that were opened after the file was. They are written at the end.
    pub fn set_events(&mut self, events: &EventSet) {
        self.ids_are_late = true;
        self.events = events.clone();
    }

    /// How many bytes of records were written so far.
    pub fn data_bytes(&self) -> u64 {
        self.header.data.size
    }

    /// How many samples were written so far: the number of the next one in [`crate::ChainEnds`].
    pub fn samples(&self) -> u64 {
        self.summary.samples
    }

    /// Leaves nothing in memory: a reader of the file finds every record so far.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flush_compressed()?;
        self.out.flush()
    }

    /// Writes features, `names` and the final header. The times of samples and the compression
    /// need not be filled in.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(
        mut self,
        mut features: Features,
        names: Option<&StoredNames>,
    ) -> io::Result<Summary> {
        self.flush_compressed()?;
        if features.sample_time.is_none() {
            features.sample_time = self.sample_time;
        }
        features.compressed = self
            .compression
            .as_ref()
            .map(|(level, compressor)| Compressed {
                level: *level,
                ratio: compressor.ratio(),
                mmap_len: LARGEST_BATCH,
            });
        self.write_features(&features)?;
        if self.ids_are_late {
            self.write_late_ids()?;
        }
        if let Some(names) = names {
            self.out.write_all(&names.to_trailer().into_bytes())?;
        }
        self.summary.file_bytes = self.out.stream_position()?;
        self.summary.data_bytes = self.header.data.size;
        self.out.rewind()?;
        self.out.write_all(&self.header.to_bytes())?;
        self.out.flush()?;
        Ok(self.summary)
    }

    fn write_features(&mut self, features: &Features) -> io::Result<()> {
        let payloads = features.payloads(&self.events);
        let table = payloads.len() as u64 * 16;
        let mut offset = self.header.data.end() + table;
        for (bit, payload) in &payloads {
            self.header.set_feature(*bit);
            let section = Section {
                offset,
                size: payload.len() as u64,
            };
            self.out.write_all(&section.to_bytes())?;
            offset = section.end();
        }
        for (_, payload) in &payloads {
            self.out.write_all(payload)?;
        }
        Ok(())
    }

    /// Writes all ids once more, and the attrs so that they point here.
    fn write_late_ids(&mut self) -> io::Result<()> {
        let at = self.out.stream_position()?;
        let (ids, sections) = attr_section::ids_to_bytes(&self.events, at);
        self.out.write_all(&ids)?;
        self.out.seek(SeekFrom::Start(self.header.attrs.offset))?;
        let attrs = attr_section::to_bytes(&self.events, &sections);
        let room = self.header.attrs.size as usize; // events cannot be added late, only ids
        self.out.write_all(&attrs[..room.min(attrs.len())])?;
        self.out.seek(SeekFrom::Start(at + ids.len() as u64))?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.header.data.size += bytes.len() as u64;
        Ok(())
    }

    fn flush_compressed(&mut self) -> io::Result<()> {
        if let Some((_, compressor)) = &mut self.compression {
            compressor.flush(&mut self.compressed)?;
        }
        self.write_compressed()
    }

    fn write_compressed(&mut self) -> io::Result<()> {
        let compressed = std::mem::take(&mut self.compressed);
        self.write(&compressed)?;
        self.compressed = compressed;
        self.compressed.clear();
        Ok(())
    }

    fn note_time(&mut self, raw: RawRecord<'_>) {
        if let Some(time) = self.events.time_of(raw) {
            let (first, last) = self.sample_time.unwrap_or((time, time));
            self.sample_time = Some((first.min(time), last.max(time)));
        }
    }
}

impl<W: Write + Seek> RecordSink for Writer<W> {
    fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        let raw = whole_record(bytes)?;
        self.summary.records += 1;
        self.summary.record_bytes += bytes.len() as u64;
        if raw.kind == record::SAMPLE {
            self.summary.samples += 1;
            self.note_time(raw);
        }
        match &mut self.compression {
            Some((_, compressor)) if raw.kind < record::HEADER_ATTR => {
                compressor.push(bytes, &mut self.compressed)?;
                self.write_compressed()
            }
            _ => {
                self.flush_compressed()?;
                self.write(bytes)
            }
        }
    }

    fn finish_round(&mut self) -> io::Result<()> {
        self.flush_compressed()?;
        self.write(&finished_round())
    }
}

/// The record that ends a round.
pub(crate) fn finished_round() -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    bytes[..4].copy_from_slice(&record::FINISHED_ROUND.to_le_bytes());
    bytes[6..].copy_from_slice(&(HEADER_SIZE as u16).to_le_bytes());
    bytes
}
