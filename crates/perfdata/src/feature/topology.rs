use prof_event::{Reader, Short};

use crate::fields::{Put, list};

/// Which CPUs share a core or a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTopology {
    /// CPUs of each socket, as in `0-3`.
    pub core_siblings: Vec<String>,
    /// CPUs of each core.
    pub thread_siblings: Vec<String>,
    /// Core and socket of each available CPU.
    pub cpus: Vec<(u32, u32)>,
}

impl CpuTopology {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.put_list(&self.core_siblings);
        payload.put_list(&self.thread_siblings);
        for (core, socket) in &self.cpus {
            payload.put_u32(*core);
            payload.put_u32(*socket);
        }
        payload
    }

    /// Appends that there are no dies to tell apart. A reader takes whatever is behind sockets and cores for
    /// dies, also what fills up a record; behind the dies it does not look.
    pub(crate) fn put_no_dies(&self, payload: &mut Vec<u8>) {
        payload.put_list::<&str>(&[]);
        self.cpus.iter().for_each(|_| payload.put_u32(0));
    }

    /// `cpus` is the number of available CPUs, which another section has.
    pub(super) fn parse(reader: &mut Reader<'_>, cpus: u32) -> Result<Self, Short> {
        let core_siblings = list(reader)?;
        let thread_siblings = list(reader)?;
        let cpus = (0..cpus)
            .map(|_| Ok((reader.u32()?, reader.u32()?)))
            .collect::<Result<_, Short>>()?;
        Ok(Self {
            core_siblings,
            thread_siblings,
            cpus,
        })
    }
}
