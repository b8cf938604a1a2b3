use std::collections::BTreeMap;
use std::sync::Arc;

use prof_model::{DsoId, FunctionCode, Resolution, Symbol};
use rustc_hash::FxHashMap;

use crate::{FrameId, Names, Profile, SampleKey, Weight};

/// The samples in which one function was running itself, by the instruction that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfSamples {
    /// A DSO that the function lies in; the same file may have several.
    pub dso: DsoId,
    /// The physical function: what is inlined there is a part of it.
    pub symbol: Symbol,
    /// By address, numbered as [`prof_model::DsoAddr`].
    pub by_address: BTreeMap<u64, Weight>,
    /// All of them.
    pub total: Weight,
}

impl SelfSamples {
    /// Adds up by instruction of the function's code: `weights[i]` is for instruction `i`. Returns them
    /// with what lies in none of its instructions.
    pub fn by_instruction(&self, code: &FunctionCode) -> (Vec<Weight>, Weight) {
        let mut weights = vec![Weight::default(); code.instructions.len()];
        let mut elsewhere = Weight::default();
        for (&address, &weight) in &self.by_address {
            match code.instruction_at(address) {
                Some(index) => weights[index] += weight,
                None => elsewhere += weight,
            }
        }
        (weights, elsewhere)
    }
}

impl Profile {
    /// The functions that ran in samples of one event that pass, those with the most events first.
    /// Only functions with a name.
    pub fn self_samples(
        &self,
        names: &Names,
        event: u16,
        passes: impl Fn(&SampleKey) -> bool,
    ) -> Vec<SelfSamples> {
        let mut by_frame: FxHashMap<FrameId, Weight> = FxHashMap::default();
        for (key, weight) in self.samples() {
            if key.event == event
                && let Some(frame) = self.stacks().frames(key.stack).next()
                && passes(key)
            {
                *by_frame.entry(frame).or_default() += weight;
            }
        }
        // A file that was mapped under several numbers is one file.
        type Identity<'a> = (&'a [u8], Option<prof_model::BuildId>, u64, Arc<str>);
        let mut functions: BTreeMap<Identity<'_>, SelfSamples> = BTreeMap::new();
        for (frame, weight) in by_frame {
            let key = self.frame(frame);
            let (Some(id), Resolution::Named { symbol, .. }) = (key.dso, names.get(frame)) else {
                continue;
            };
            let dso = self.dsos.get(id);
            let identity = (
                &dso.path[..],
                dso.build_id,
                symbol.start,
                Arc::clone(&symbol.name),
            );
            let function = functions.entry(identity).or_insert_with(|| SelfSamples {
                dso: id,
                symbol: symbol.clone(),
                by_address: BTreeMap::new(),
                total: Weight::default(),
            });
            function.dso = function.dso.min(id);
            *function.by_address.entry(key.lookup).or_default() += weight;
            function.total += weight;
        }
        let mut functions: Vec<_> = functions.into_values().collect();
        functions.sort_by_key(|function| std::cmp::Reverse(function.total.period)); // stable: by identity
        functions
    }
}
