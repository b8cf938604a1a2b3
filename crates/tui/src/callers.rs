//! The way by which a function is reached most.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::picture::{Passing, for_each_shown, share};
use crate::tables::ROOT;
use crate::{Function, History, Query};

/// The chain of callers with which most samples of a function were.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Callers {
    /// The nearest one first; none for a root.
    pub(crate) functions: Vec<Arc<Function>>,
    /// The share of the function's samples that have just these, from 0 to 1.
    pub(crate) share: f64,
}

impl Callers {
    /// Those of one function in a window of a history. `None` if no sample has the function.
    pub(crate) fn of(history: &History, query: &Query<'_>, function: &Function) -> Option<Self> {
        let tables = &history.tables;
        let wanted = tables.functions.find(function)?;
        let passing = Passing::new(tables, query);
        let innermost = |stack: u32| {
            let mut at = stack;
            while at != ROOT && tables.node(at).function != wanted {
                at = tables.node(at).parent;
            }
            at
        };
        let mut known: FxHashMap<u32, u32> = FxHashMap::default();
        let mut sums: FxHashMap<u32, prof_profile::Weight> = FxHashMap::default();
        for_each_shown(history, query, &passing, |entry| {
            let stack = entry.key.stack;
            let chain = *known.entry(stack).or_insert_with(|| innermost(stack));
            if chain != ROOT {
                *sums.entry(chain).or_default() += entry.weight();
            }
        });
        let all = sums.values().copied().sum();
        let heaviest = sums
            .into_iter()
            .max_by_key(|&(chain, weight)| (weight.period, std::cmp::Reverse(chain)));
        let (chain, weight) = heaviest?;
        let callers = tables.frames(tables.node(chain).parent);
        Some(Self {
            functions: callers
                .map(|id| Arc::clone(tables.functions.get(id)))
                .collect(),
            share: share(weight, all),
        })
    }
}
