//! The form without offsets: attrs and features are records in front of the others.

use std::io::{self, BufWriter, Write};

use prof_event::abi::record;
use prof_event::{
    Event, EventAttr, EventSet, HEADER_SIZE, RawRecord, Reader, RecordBuilder, Short,
    WRITTEN_ATTR_SIZE, Words, derive_name,
};

use crate::feature::{Features, StoredBuildId, bit, parse_build_ids, parse_event_names};
use crate::header::pipe_header;
use crate::sink::{RecordSink, whole_record};
use crate::writer::finished_round;

/// Ids that fit into an attr's record.
const MOST_IDS: usize = (u16::MAX as usize - HEADER_SIZE - WRITTEN_ATTR_SIZE) / 8;
/// The kind of update that tells a name.
const UPDATE_NAME: u64 = 2;

/// Writes perf.data to anything, in order and without seeking.
pub struct PipeWriter<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> PipeWriter<W> {
    /// Writes what precedes the records.
    ///
    /// Facts that are known only at the end, and names, have no place in a pipe.
    ///
    /// # Errors
    /// What `out` says; [`io::ErrorKind::InvalidInput`] if one of several events has more
    /// instances than a record can name.
    pub fn create(out: W, events: &EventSet, features: &Features) -> io::Result<Self> {
        let mut bytes = pipe_header();
        for event in events.events() {
            put_attr(event, events.events().len() == 1, &mut bytes)?;
        }
        for (bit, mut payload) in features.payloads(events) {
            if is_streamed(bit) {
                if let Some(topology) = features.cpu_topology.as_ref()
                    && bit == bit::CPU_TOPOLOGY
                {
                    topology.put_no_dies(&mut payload);
                }
                put_feature(bit, &payload, &mut bytes);
            }
        }
        put_feature(bit::PIPE_END, &[], &mut bytes);
        if let Some(data) = &features.tracing_data {
            put_tracing_data(data, &mut bytes)?;
        }
        for event in events.events() {
            put_name(event, &mut bytes)?;
        }
        let mut out = BufWriter::with_capacity(64 << 10, out);
        out.write_all(&bytes)?;
        Ok(Self { out })
    }

    /// Writes the build-ids of the files that samples hit, and ends the stream.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self, build_ids: &[StoredBuildId]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for build_id in build_ids {
            let (misc, body) = build_id.to_body();
            RecordBuilder::new(&mut bytes, record::HEADER_BUILD_ID, misc)
                .bytes(&body)
                .finish()
                .map_err(io::Error::other)?;
        }
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

impl<W: Write> RecordSink for PipeWriter<W> {
    fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        whole_record(bytes)?;
        self.out.write_all(bytes)
    }

    /// Passes on what was written: somebody may be watching at the other end.
    fn finish_round(&mut self) -> io::Result<()> {
        self.out.write_all(&finished_round())?;
        self.out.flush()
    }
}

/// Whether a feature is known before the records, and complete in one record.
fn is_streamed(bit: u32) -> bool {
    !matches!(
        bit,
        bit::TRACING_DATA | bit::BUILD_ID | bit::SAMPLE_TIME | bit::COMPRESSED
    )
}

fn put_attr(event: &Event, alone: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let mut ids = &event.ids[..];
    if ids.len() > MOST_IDS {
        if !alone {
            let what = format!(
                "`{}` has {} instances, a pipe can name {MOST_IDS}",
                event.name,
                ids.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        ids = &ids[..MOST_IDS]; // all records belong to it, whatever their ids
    }
    let mut builder = RecordBuilder::new(out, record::HEADER_ATTR, 0);
    builder.bytes(&event.attr.to_bytes());
    ids.iter().for_each(|&id| {
        builder.u64(id);
    });
    builder.finish().map_err(io::Error::other)
}

/// A feature that does not fit into a record is left out: nobody depends on it.
fn put_feature(bit: u32, payload: &[u8], out: &mut Vec<u8>) {
    let _ = RecordBuilder::new(out, record::HEADER_FEATURE, 0)
        .u64(u64::from(bit))
        .bytes(payload)
        .finish();
}

fn put_tracing_data(data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let padded = data.len().next_multiple_of(8);
    RecordBuilder::new(out, record::HEADER_TRACING_DATA, 0)
        .u32(padded as u32)
        .u32(0)
        .finish()
        .map_err(io::Error::other)?;
    let end = out.len() + padded;
    out.extend(data);
    out.resize(end, 0);
    Ok(())
}

fn put_name(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    RecordBuilder::new(out, record::EVENT_UPDATE, 0)
        .u64(UPDATE_NAME)
        .u64(event.ids.first().copied().unwrap_or(0))
        .c_string(event.name.as_bytes())
        .finish()
        .map_err(io::Error::other)
}

/// Takes in a record that tells an event or a fact. Others say nothing here.
///
/// # Errors
/// [`Short`] if it ends too early; it is then passed over.
pub(crate) fn apply(
    raw: RawRecord<'_>,
    events: &mut EventSet,
    features: &mut Features,
) -> Result<(), Short> {
    let mut reader = Reader::new(raw.body());
    match raw.kind {
        record::HEADER_ATTR => events.push(parse_attr(raw.body())?),
        record::HEADER_FEATURE => {
            let bit = u32::try_from(reader.u64()?).unwrap_or(bit::PIPE_END);
            if bit == bit::EVENT_DESC {
                let names = parse_event_names(reader.rest())?;
                for (index, name) in names.into_iter().enumerate() {
                    events.rename(index, name);
                }
            } else {
                features.parse(bit, reader.rest())?;
            }
        }
        record::EVENT_UPDATE => {
            let (kind, id) = (reader.u64()?, reader.u64()?);
            let name = String::from_utf8_lossy(reader.c_string()).into_owned();
            let alone = (events.events().len() == 1).then_some(0);
            let index = events.by_id(id).or(alone);
            if let Some(index) = index.filter(|_| kind == UPDATE_NAME && !name.is_empty()) {
                events.rename(index, name);
            }
        }
        record::HEADER_BUILD_ID => features.build_ids.extend(parse_build_ids(raw.bytes)?),
        _ => {}
    }
    Ok(())
}

fn parse_attr(body: &[u8]) -> Result<Event, Short> {
    let mut reader = Reader::new(body);
    let _kind = reader.u32()?;
    let size = match reader.u32()? as usize {
        0 => prof_event::MIN_ATTR_SIZE,
        size => size,
    };
    let (attr, ids) = body.split_at_checked(size).ok_or(Short)?;
    let attr = EventAttr::parse(attr)?;
    Ok(Event {
        name: derive_name(&attr),
        attr,
        ids: Words::new(ids).iter().collect(),
    })
}

/// What follows a record outside its size, in bytes.
pub(crate) fn bytes_behind(raw: RawRecord<'_>) -> Result<u64, Short> {
    let mut reader = Reader::new(raw.body());
    match raw.kind {
        record::HEADER_TRACING_DATA => reader.u32().map(u64::from),
        record::AUXTRACE => reader.u64(),
        _ => Ok(0),
    }
}
