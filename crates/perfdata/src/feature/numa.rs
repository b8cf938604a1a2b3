use prof_event::{Reader, Short};

use crate::fields::{Put, string};

/// A memory node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub node: u32,
    /// Its memory, KiB.
    pub total_kb: u64,
    /// What of it was free, KiB.
    pub free_kb: u64,
    /// Its CPUs, as in `0-3,8`.
    pub cpus: String,
}

pub(super) fn to_bytes(nodes: &[NumaNode]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    payload.put_u32(nodes.len() as u32);
    for node in nodes {
        payload.put_u32(node.node);
        payload.put_u64(node.total_kb);
        payload.put_u64(node.free_kb);
        payload.put_string(node.cpus.as_bytes());
    }
    (!nodes.is_empty()).then_some(payload)
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Vec<NumaNode>, Short> {
    let count = reader.u32()?;
    let node = |_| {
        Ok(NumaNode {
            node: reader.u32()?,
            total_kb: reader.u64()?,
            free_kb: reader.u64()?,
            cpus: string(reader)?,
        })
    };
    (0..count).map(node).collect()
}
