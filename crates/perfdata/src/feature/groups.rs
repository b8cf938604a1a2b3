pub use prof_event::EventGroup;

use prof_event::{Reader, Short};

use crate::fields::{Put, string};

pub(super) fn to_bytes(groups: &[EventGroup]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    payload.put_u32(groups.len() as u32);
    for group in groups {
        payload.put_string(group.name.as_bytes());
        payload.put_u32(group.leader);
        payload.put_u32(group.members);
    }
    (!groups.is_empty()).then_some(payload)
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Vec<EventGroup>, Short> {
    let count = reader.u32()?;
    let group = |_| {
        Ok(EventGroup {
            name: string(reader)?,
            leader: reader.u32()?,
            members: reader.u32()?,
        })
    };
    (0..count).map(group).collect()
}
