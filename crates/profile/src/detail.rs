use std::sync::Arc;

use rustc_hash::FxHashMap;

/// What tells a sample from others of the same thread and stack, where somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Detail {
    /// Start of the interval in which it was taken, in nanoseconds of the recording's clock.
    pub interval: u64,
    /// A tracepoint's fields.
    pub text: Arc<str>,
}

/// Index of a [`Detail`] in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetailId(u32);

/// Details, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct DetailTable {
    details: Vec<Detail>,
    ids: FxHashMap<Detail, DetailId>,
}

impl DetailTable {
    pub(crate) fn intern(&mut self, detail: Detail) -> DetailId {
        if let Some(&id) = self.ids.get(&detail) {
            return id;
        }
        let id = DetailId(u32::try_from(self.details.len()).expect("fewer than 2^32 details"));
        self.details.push(detail.clone());
        self.ids.insert(detail, id);
        id
    }

    pub(crate) fn get(&self, id: DetailId) -> &Detail {
        &self.details[id.0 as usize]
    }
}
