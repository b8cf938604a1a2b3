use prof_event::{EventSet, Reader, Short, WRITTEN_ATTR_SIZE};

use crate::fields::{Put, string};

pub(super) fn to_bytes(events: &EventSet) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_u32(events.events().len() as u32);
    payload.put_u32(WRITTEN_ATTR_SIZE as u32);
    for event in events.events() {
        payload.extend(event.attr.to_bytes());
        payload.put_u32(event.ids.len() as u32);
        payload.put_string(event.name.as_bytes());
        event.ids.iter().for_each(|&id| payload.put_u64(id));
    }
    payload
}

/// Reads the names of the events, in the order of the attrs section, which has the rest.
pub(crate) fn parse(payload: &[u8]) -> Result<Vec<String>, Short> {
    let mut reader = Reader::new(payload);
    let (count, attr_size) = (reader.u32()?, reader.u32()? as usize);
    let mut names = Vec::new();
    for _ in 0..count {
        reader.bytes(attr_size)?;
        let ids = reader.u32()?;
        names.push(string(&mut reader)?);
        reader.words(u64::from(ids))?;
    }
    Ok(names)
}
