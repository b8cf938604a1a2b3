//! The events of a recording: which attr a record belongs to.

use rustc_hash::FxHashMap;

use crate::abi::{flag, record, sample};
use crate::attr::EventAttr;
use crate::bytes::Short;
use crate::record::{HEADER_SIZE, RawRecord, Record, SampleId, decode};

/// One event: what was asked of the kernel, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// As given to `perf_event_open`.
    pub attr: EventAttr,
    /// `cycles:u`, `sched:sched_switch` ...
    pub name: String,
    /// The kernel's ids of its instances, one per CPU and thread.
    pub ids: Vec<u64>,
}

/// Events that were counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    /// `{anon_group}` where nobody named it.
    pub name: String,
    /// Index of the first event.
    pub leader: u32,
    /// How many events, the first included.
    pub members: u32,
}

/// The events of a recording, in order. Record layouts and owners are read from here.
#[derive(Clone, Debug, Default)]
pub struct EventSet {
    events: Vec<Event>,
    groups: Vec<EventGroup>,
    by_id: FxHashMap<u64, usize>,
    common_time: Option<TimeField>, // where the records of all events have their time
}

/// Where records have their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeField {
    in_sample: usize,         // from its start
    in_others: Option<usize>, // from the end, where other records than samples have it
}

impl TimeField {
    fn of(attr: &EventAttr) -> Option<Self> {
        let has = |bit: u64| attr.sample_type & bit != 0;
        let size = |fields: u64| (attr.sample_type & fields).count_ones() as usize * 8;
        let from_end = || SampleId::size(attr.sample_type) - size(sample::TID);
        has(sample::TIME).then(|| Self {
            in_sample: HEADER_SIZE + size(sample::IDENTIFIER | sample::IP | sample::TID),
            in_others: attr.has(flag::SAMPLE_ID_ALL).then(from_end),
        })
    }

    /// `None` where a record has no such field.
    fn read(self, raw: RawRecord<'_>) -> Option<u64> {
        let start = match raw.kind {
            record::SAMPLE => self.in_sample,
            ..record::HEADER_ATTR => {
                let start = raw.bytes.len().checked_sub(self.in_others?)?;
                (start >= HEADER_SIZE).then_some(start)?
            }
            _ => return None,
        };
        let field = raw.bytes.get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*field))
    }
}

/// A record that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its last field.
    #[error(transparent)]
    Short(#[from] Short),
    /// It carries the id of no event.
    #[error("event id {0} is not in the header")]
    UnknownId(u64),
    /// There is no event at all.
    #[error("the recording has no event")]
    NoEvents,
}

/// A record with its owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded<'a> {
    /// Index of the event that it belongs to.
    pub event: usize,
    /// Who and when.
    pub id: SampleId,
    /// What.
    pub record: Record<'a>,
}

impl EventSet {
    /// Adds an event; its index is its position.
    pub fn push(&mut self, event: Event) {
        let index = self.events.len();
        let time = TimeField::of(&event.attr);
        self.common_time = time.filter(|_| index == 0 || time == self.common_time);
        self.by_id.extend(event.ids.iter().map(|&id| (id, index)));
        self.events.push(event);
    }

    /// All events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Says which events were opened as groups.
    pub fn set_groups(&mut self, groups: Vec<EventGroup>) {
        self.groups = groups;
    }

    /// Which events were opened as groups. What a recording says of its groups is among its features.
    pub fn groups(&self) -> &[EventGroup] {
        &self.groups
    }

    /// Changes an event's name, which a pipe tells after the attr.
    pub fn rename(&mut self, index: usize, name: String) {
        if let Some(event) = self.events.get_mut(index) {
            event.name = name;
        }
    }

    /// The event that an id belongs to.
    pub fn by_id(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Whether the first event places its id where all do: such records can be told apart.
    fn id_of(&self, raw: RawRecord<'_>) -> Result<Option<u64>, Short> {
        let attr = &self.events[0].attr;
        if self.events.len() == 1 {
            return Ok(None);
        }
        let body = raw.body();
        if raw.kind != record::SAMPLE {
            if !attr.has(flag::SAMPLE_ID_ALL) {
                return Ok(None);
            }
            return SampleId::split(body, attr.sample_type).map(|(_, id)| id.id);
        }
        let types = attr.sample_type;
        let words_before = if types & sample::IDENTIFIER != 0 {
            0
        } else if types & sample::ID != 0 {
            let before = sample::IP | sample::TID | sample::TIME | sample::ADDR;
            (types & before).count_ones() as usize
        } else {
            return Ok(None);
        };
        let bytes = body.get(words_before * 8..).ok_or(Short)?;
        crate::bytes::Reader::new(bytes).u64().map(Some)
    }

    /// The event that a record names; id 0 and no id mean the first.
    #[inline]
    fn event_of(&self, raw: RawRecord<'_>) -> Result<usize, DecodeError> {
        if self.events.is_empty() {
            return Err(DecodeError::NoEvents);
        }
        if raw.kind >= record::HEADER_ATTR {
            return Ok(0);
        }
        match self.id_of(raw)? {
            None | Some(0) => Ok(0),
            Some(id) => self.by_id(id).ok_or(DecodeError::UnknownId(id)),
        }
    }

    /// Decodes a record by the layout of the event that it names.
    ///
    /// # Errors
    /// [`DecodeError`].
    #[inline(always)] // so that a sample is made in its place: it is larger than what is read of it
    pub fn decode<'a>(&self, raw: RawRecord<'a>) -> Result<Decoded<'a>, DecodeError> {
        let event = self.event_of(raw)?;
        let (record, id) = decode(raw, &self.events[event].attr)?;
        Ok(Decoded { event, id, record })
    }

    /// The time of a record, without decoding the rest; `None` where it has none, or 0.
    #[inline]
    pub fn time_of(&self, raw: RawRecord<'_>) -> Option<u64> {
        let field = match self.common_time {
            Some(field) => field,
            None => TimeField::of(&self.events[self.event_of(raw).ok()?].attr)?,
        };
        field.read(raw).filter(|&time| time != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::RecordBuilder;

    fn event(sample_type: u64, id: u64) -> Event {
        Event {
            attr: EventAttr {
                sample_type,
                flags: flag::SAMPLE_ID_ALL | flag::FREQ,
                ..EventAttr::default()
            },
            name: String::new(),
            ids: vec![id],
        }
    }

    #[test]
    fn records_of_events_with_different_layouts_find_their_own() {
        let mut events = EventSet::default();
        let common = sample::IDENTIFIER | sample::IP | sample::TID | sample::TIME;
        events.push(event(common, 5));
        events.push(event(common | sample::CPU | sample::PERIOD, 6));

        let mut bytes = Vec::new();
        let id = SampleId {
            task: Some((1, 2)),
            time: Some(77),
            id: Some(6),
            cpu: Some(3),
        };
        RecordBuilder::new(&mut bytes, record::LOST, 0)
            .u64(6)
            .u64(40)
            .sample_id(events.events()[1].attr.sample_type, &id)
            .finish()
            .unwrap();
        let raw = RawRecord::parse(&bytes).unwrap();
        let decoded = events.decode(raw).unwrap();
        assert_eq!((decoded.event, decoded.id), (1, id));
        assert_eq!(decoded.record, Record::Lost { id: 6, lost: 40 });
        assert_eq!(events.time_of(raw), Some(77));

        let mut sample = Vec::new();
        RecordBuilder::new(&mut sample, record::SAMPLE, 2)
            .u64(9)
            .u64(0)
            .u64(0)
            .u64(0)
            .finish()
            .unwrap();
        let raw = RawRecord::parse(&sample).unwrap();
        assert_eq!(events.decode(raw), Err(DecodeError::UnknownId(9)));
    }
}
