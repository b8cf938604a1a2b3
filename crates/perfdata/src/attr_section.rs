//! The attrs of a file: an entry per event, each pointing to the ids of its instances.

use prof_event::{Event, EventAttr, EventSet, Reader, Words};

use crate::Error;
use crate::big_endian;
use crate::header::{FileHeader, Section};
use crate::source::Source;

/// Bytes of an entry that we write: an attr, and where its ids lie.
pub(crate) const STRIDE: u64 = prof_event::WRITTEN_ATTR_SIZE as u64 + 16;

const NAME: &str = "the attrs section";

/// All ids in a row, and the section of each event's, if the first one lies at `offset`.
pub(crate) fn ids_to_bytes(events: &EventSet, offset: u64) -> (Vec<u8>, Vec<Section>) {
    let mut bytes = Vec::new();
    let mut sections = Vec::new();
    for event in events.events() {
        sections.push(Section {
            offset: offset + bytes.len() as u64,
            size: event.ids.len() as u64 * 8,
        });
        bytes.extend(event.ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    (bytes, sections)
}

/// The entries.
pub(crate) fn to_bytes(events: &EventSet, ids: &[Section]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (event, ids) in events.events().iter().zip(ids) {
        bytes.extend(event.attr.to_bytes());
        bytes.extend(ids.to_bytes());
    }
    bytes
}

/// Reads the entries and the ids. The events have no names yet.
pub(crate) fn parse(
    source: &Source,
    header: &FileHeader,
    big_endian: bool,
) -> Result<Vec<Event>, Error> {
    let offset = header.attrs.offset;
    let stride = usize::try_from(header.attr_stride).unwrap_or(usize::MAX);
    let Some(attr_size) = stride.checked_sub(16) else {
        let what = format!("an entry has {stride} bytes, too few for an attr");
        return Err(Error::corrupt(NAME, offset, what));
    };
    let mut bytes = source.section(NAME, header.attrs)?;
    if big_endian {
        for entry in bytes.chunks_exact_mut(stride) {
            let (attr, ids) = entry.split_at_mut(attr_size);
            let turned = big_endian::turn_attr(attr);
            turned.map_err(|error| Error::corrupt(NAME, offset, error.to_string()))?;
            big_endian::turn_words(ids);
        }
    }
    let mut events = Vec::new();
    // The ids of no two events overlap, so all together they fit into the file.
    let mut ids_left = source.len();
    for (index, entry) in bytes.chunks_exact(stride).enumerate() {
        let offset = offset + index as u64 * stride as u64;
        let corrupt = |what: &str| Error::corrupt(NAME, offset, what);
        let (attr, ids) = entry.split_at(attr_size);
        let attr = EventAttr::parse(attr).map_err(|error| corrupt(&error.to_string()))?;
        let ids = Section::read(&mut Reader::new(ids)).unwrap_or_default();
        ids_left = ids_left
            .checked_sub(ids.size)
            .ok_or_else(|| corrupt("the ids of the events do not fit into the file"))?;
        let mut ids = source.section("the ids of an event", ids)?;
        if big_endian {
            big_endian::turn_words(&mut ids);
        }
        events.push(Event {
            attr,
            name: String::new(),
            ids: Words::new(&ids).iter().collect(),
        });
    }
    Ok(events)
}
