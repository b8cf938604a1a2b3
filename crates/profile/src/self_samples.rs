use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use prof_model::{DsoId, FunctionCode, Resolution, Symbol};
use rustc_hash::FxHashMap;

use crate::{FrameId, Names, Profile, SampleKey, Weight};

/// The samples in which one function was running itself, by the instruction that was. Each list of
/// weights has one for each of the events that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfSamples {
    /// A DSO that the function lies in; the same file may have several.
    pub dso: DsoId,
    /// The physical function: what is inlined there is a part of it.
    pub symbol: Symbol,
    /// By address, numbered as [`prof_model::DsoAddr`].
    pub by_address: BTreeMap<u64, Vec<Weight>>,
    /// All of them.
    pub totals: Vec<Weight>,
}

impl SelfSamples {
    /// Adds up by instruction of the function's code: `weights[i]` are for instruction `i`. Returns
    /// them with what lies in none of its instructions.
    pub fn by_instruction(&self, code: &FunctionCode) -> (Vec<Vec<Weight>>, Weight) {
        let none = vec![Weight::default(); self.totals.len()];
        let mut by_instruction = vec![none; code.instructions.len()];
        let mut elsewhere = Weight::default();
        for (&address, weights) in &self.by_address {
            match code.instruction_at(address) {
                Some(index) => add(&mut by_instruction[index], weights),
                None => elsewhere += weights.iter().copied().sum(),
            }
        }
        (by_instruction, elsewhere)
    }
}

fn add(to: &mut [Weight], weights: &[Weight]) {
    to.iter_mut().zip(weights).for_each(|(to, &it)| *to += it);
}

impl Profile {
    /// The functions that ran in samples of these events that pass, those with the most of the first
    /// event first. Only functions with a name.
    pub fn self_samples(
        &self,
        names: &Names,
        events: &[u16],
        passes: impl Fn(&SampleKey) -> bool,
    ) -> Vec<SelfSamples> {
        let none = vec![Weight::default(); events.len()];
        let mut by_frame: FxHashMap<FrameId, Vec<Weight>> = FxHashMap::default();
        for (key, weight) in self.samples() {
            if let Some(event) = events.iter().position(|&event| event == key.event)
                && let Some(frame) = self.stacks().frames(key.stack).next()
                && passes(&key)
            {
                by_frame.entry(frame).or_insert_with(|| none.clone())[event] += weight;
            }
        }
        // A file that was mapped under several numbers is one file.
        type Identity<'a> = (&'a [u8], Option<prof_model::BuildId>, u64, Arc<str>);
        let mut functions: BTreeMap<Identity<'_>, SelfSamples> = BTreeMap::new();
        for (frame, weights) in by_frame {
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
                totals: none.clone(),
            });
            function.dso = function.dso.min(id);
            let by_address = function.by_address.entry(key.lookup);
            add(by_address.or_insert_with(|| none.clone()), &weights);
            add(&mut function.totals, &weights);
        }
        let mut functions: Vec<_> = functions.into_values().collect();
        functions.sort_by_cached_key(|function| {
            let periods = function.totals.iter().map(|total| total.period);
            Reverse(periods.collect::<Vec<_>>()) // stable: by identity
        });
        functions
    }
}
