//! Names that the recorder found, kept in the file: they outlive the binaries.

mod chain_ends; // why callchains ended
mod counters; // what happened while recording
mod wire; // the bytes

pub use chain_ends::ChainEnds;
pub use counters::Counters;

use std::collections::HashMap;

use prof_model::{Dso, DsoAddr, JitLoad, Resolution};

/// What `prof record` knows and perf's format has no place for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredNames {
    /// Whether callers in user callchains are written as call sites (return address - 1), so that
    /// a reader must not subtract again.
    pub callers_are_call_sites: bool,
    /// Why callchains ended, by sample.
    pub ends: ChainEnds,
    /// What was lost, and how the recording was made.
    pub counters: Counters,
    /// From when to when was recorded, in nanoseconds of the recording's clock; samples may have come
    /// later, and ended earlier.
    pub span: Option<(u64, u64)>,
    dsos: Vec<NamedDso>,
    by_path: HashMap<Vec<u8>, Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
struct NamedDso {
    dso: Dso,
    /// By address.
    addresses: Vec<(DsoAddr, Resolution)>,
    /// Of a jitdump: what it says about the code that samples hit.
    loads: Vec<JitLoad>,
}

impl StoredNames {
    /// Adds what is known about addresses of a DSO: `resolutions[i]` is for `addresses[i]`.
    pub fn add(&mut self, dso: &Dso, addresses: &[DsoAddr], resolutions: &[Resolution]) {
        let mut addresses: Vec<_> = addresses
            .iter()
            .copied()
            .zip(resolutions.iter().cloned())
            .collect();
        addresses.sort_by_key(|(addr, _)| *addr);
        self.push(NamedDso {
            dso: dso.clone(),
            addresses,
            loads: Vec::new(),
        });
    }

    /// Adds what a jitdump says about the code that samples hit.
    pub fn add_loads(&mut self, dso: &Dso, loads: Vec<JitLoad>) {
        self.push(NamedDso {
            dso: dso.clone(),
            addresses: Vec::new(),
            loads,
        });
    }

    /// What was kept of a jitdump.
    pub fn loads(&self, dso: &Dso) -> Option<&[JitLoad]> {
        let mut same = self.same(dso).map(|named| &named.loads[..]);
        same.find(|loads| !loads.is_empty())
    }

    /// All that was kept of jitdumps, without names.
    pub fn only_loads(&self) -> Self {
        let mut loads = Self::default();
        for named in self.dsos.iter().filter(|named| !named.loads.is_empty()) {
            loads.add_loads(&named.dso, named.loads.clone());
        }
        loads
    }

    fn push(&mut self, named: NamedDso) {
        let same_path = self.by_path.entry(named.dso.path.clone()).or_default();
        same_path.push(self.dsos.len());
        self.dsos.push(named);
    }

    /// What is known about an address; `None` if it was not stored.
    pub fn resolve(&self, dso: &Dso, addr: DsoAddr) -> Option<Resolution> {
        self.same(dso).find_map(|named| {
            let at = named
                .addresses
                .binary_search_by_key(&addr, |(addr, _)| *addr);
            at.ok().map(|at| named.addresses[at].1.clone())
        })
    }

    fn same(&self, dso: &Dso) -> impl Iterator<Item = &NamedDso> {
        let same_path = self.by_path.get(&dso.path).into_iter().flatten();
        same_path
            .map(|&index| &self.dsos[index])
            .filter(move |named| is_same(&named.dso, dso))
    }

    /// The DSOs for which something is stored.
    pub fn dsos(&self) -> impl Iterator<Item = &Dso> {
        self.dsos.iter().map(|named| &named.dso)
    }

    /// How many addresses have an answer.
    pub fn len(&self) -> usize {
        self.dsos.iter().map(|named| named.addresses.len()).sum()
    }

    /// Whether no address has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether two DSOs at one path are one: the reader may have learnt a build-id or a file's
/// generation that the recorder did not have, or the other way round.
fn is_same(stored: &Dso, asked: &Dso) -> bool {
    stored.kind == asked.kind
        && match (stored.build_id, asked.build_id) {
            (Some(stored), Some(asked)) => stored == asked,
            _ => true,
        }
        && match (stored.file, asked.file) {
            (Some(stored), Some(asked)) => stored.is_same(asked),
            _ => true,
        }
}

#[cfg(test)]
mod tests;
