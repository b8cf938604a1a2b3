use prof_model::{DsoAddr, DsoId};

use crate::{FrameId, FrameKey};

/// A frame that has a place in a DSO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) dso: DsoId,
    /// Where its name is looked up.
    pub(crate) addr: DsoAddr,
    pub(crate) frame: FrameId,
}

/// Where names are wanted, ascending.
pub(crate) struct Hits(Vec<Hit>);

impl Hits {
    pub(crate) fn of(frames: impl Iterator<Item = (FrameId, FrameKey)>) -> Self {
        let hit = |(frame, key): (FrameId, FrameKey)| {
            let (dso, addr) = (key.dso?, DsoAddr(key.lookup));
            Some(Hit { dso, addr, frame })
        };
        let mut hits: Vec<Hit> = frames.filter_map(hit).collect();
        hits.sort_unstable();
        Self(hits)
    }

    /// Those in each DSO.
    pub(crate) fn by_dso(&self) -> impl Iterator<Item = &[Hit]> {
        self.0.chunk_by(|left, right| left.dso == right.dso)
    }

    /// For each DSO the addresses, each once.
    pub(crate) fn requests(&self) -> Vec<(DsoId, Vec<DsoAddr>)> {
        let request = |hits: &[Hit]| {
            let mut addrs: Vec<_> = hits.iter().map(|hit| hit.addr).collect();
            addrs.dedup();
            (hits[0].dso, addrs)
        };
        self.by_dso().map(request).collect()
    }
}
