use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use prof_model::CpuMode;
use prof_profile::{FrameId, Profile, StackId};
use rustc_hash::{FxHashMap, FxHasher};

use crate::layout::Layout;
use crate::order::{Value, sort_by_values};
use crate::thread_state::{StatesOfFrames, ThreadState};
use crate::{
    ChainKey, ChainOrder, Column, Pattern, PlaceId, Places, ReportOptions, SymbolId, SymbolInfo,
};

/// The callchains of all stacks of a table, each once, one after the other in the order of traversal.
/// Stacks whose frames differ by nothing that the table tells apart share one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    places: Vec<PlaceId>,
    labels: Vec<u32>, // of `places`: equal where call trees have one node
    chains: Vec<StackChain>,
    of_stack: Vec<u32>, // by stack: a ChainId, or NONE
    /// Names of the functions that match the parent's pattern, ascending.
    pub(crate) parents: Vec<Arc<str>>,
}

const NONE: u32 = u32::MAX;

/// Index of a callchain in [`Chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainId(u32);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct StackChain {
    range: Range<usize>, // in Chains::places
    /// The function whose own samples these are.
    pub(crate) own: PlaceId,
    /// In which mode it ran.
    pub(crate) mode: CpuMode,
    /// The innermost function that matches the parent's pattern.
    pub(crate) parent: Option<SymbolId>,
    /// What it waits for, if it is a wait and rows differ by that.
    pub(crate) state: Option<ThreadState>,
    /// The branch instruction, where it is a branch.
    pub(crate) from: Option<PlaceId>,
}

impl StackChain {
    /// The number of its frames, inlined ones too.
    pub(crate) fn depth(&self) -> usize {
        self.range.len()
    }
}

impl Chains {
    /// Writes down the chains of these stacks, cut to the wanted depth.
    pub(crate) fn lay_out(
        profile: &Profile,
        places: &Places,
        options: &ReportOptions,
        layout: &Layout,
        stacks: impl Iterator<Item = StackId>,
    ) -> Self {
        let parents = matching(places, options.parent_pattern(&layout.keys));
        let mut builder = Builder {
            profile,
            places,
            options,
            labels: labels(profile, places, options.call_graph.key),
            ignored: match options.branches {
                true => Vec::new(), // nothing calls
                false => matching(places, options.ignore_callees.as_ref()),
            },
            callers_first: layout.chain_order == ChainOrder::Caller,
            has_lines: layout.has_lines(),
            states: layout
                .keys
                .contains(&Column::State)
                .then(|| StatesOfFrames::of(profile, places)),
            known: FxHashMap::default(),
            frames: Vec::new(),
            chains: Self {
                of_stack: vec![NONE; profile.stacks().len()],
                parents: names(places, &parents),
                ..Self::default()
            },
            parents,
        };
        for stack in stacks {
            builder.add(stack);
        }
        builder.chains
    }

    /// The chain of a stack that was laid out.
    pub(crate) fn of(&self, stack: StackId) -> Option<ChainId> {
        let &index = self.of_stack.get(stack.index())?;
        (index != NONE).then_some(ChainId(index))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.chains.len()
    }

    /// A chain.
    pub(crate) fn get(&self, id: ChainId) -> &StackChain {
        &self.chains[id.0 as usize]
    }

    /// The frames of a chain, in the order of traversal.
    pub(crate) fn places(&self, chain: &StackChain) -> &[PlaceId] {
        &self.places[chain.range.clone()]
    }

    /// What call trees tell the frames of a chain apart by.
    pub(crate) fn labels(&self, chain: &StackChain) -> &[u32] {
        &self.labels[chain.range.clone()]
    }
}

struct Builder<'a> {
    profile: &'a Profile,
    places: &'a Places,
    options: &'a ReportOptions,
    labels: Vec<u32>,   // by place
    ignored: Vec<bool>, // by function, as `parents`
    parents: Vec<bool>,
    callers_first: bool,
    states: Option<StatesOfFrames>,
    has_lines: bool,            // rows differ by the line of a frame
    known: FxHashMap<u64, u32>, // the first chain with that hash
    frames: Vec<FrameId>,       // of one stack
    chains: Chains,
}

impl Builder<'_> {
    fn add(&mut self, stack: StackId) {
        if self.chains.of_stack[stack.index()] != NONE {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        frames.extend(self.profile.stacks().frames(stack)); // innermost first
        if !self.ignored.is_empty() {
            let is_ignored = |frame: &FrameId| self.ignored[self.function(*frame)];
            if let Some(outermost) = frames.iter().rposition(is_ignored) {
                frames.drain(..outermost); // what it called counts for it
            }
        }
        // Profile::add never makes a stack without frames
        if let Some(&own) = frames.first() {
            self.lay_out(stack, &mut frames, own);
        }
        self.frames = frames;
    }

    fn lay_out(&mut self, stack: StackId, frames: &mut Vec<FrameId>, own: FrameId) {
        let parent = match self.parents.is_empty() {
            true => None,
            false => frames
                .iter()
                .find(|frame| self.parents[self.function(**frame)]),
        };
        let parent = parent.map(|&frame| self.places.get(self.places.physical(frame)).symbol);
        let from = frames.last().filter(|_| self.options.branches);
        let from = from.map(|&from| self.places.physical(from));
        let states = self.states.as_ref();
        let state = states.map(|states| states.of_stack(frames.iter().copied()));
        if self.callers_first {
            frames.reverse();
        }
        frames.truncate(self.options.max_stack);
        let places = &mut self.chains.places;
        let start = places.len();
        let is_shown =
            |place| !self.options.hide_unresolved || self.places.symbol_at(place).is_named();
        for &frame in &*frames {
            let of_frame = self.places.of_frame(frame).filter(|&it| is_shown(it));
            match self.callers_first {
                true => places.extend(of_frame.rev()),
                false => places.extend(of_frame),
            }
        }
        let labels = places[start..].iter().map(|it| self.labels[it.index()]);
        self.chains.labels.extend(labels);
        let chain = StackChain {
            range: start..self.chains.places.len(),
            own: self.places.physical(own),
            mode: self.profile.frame(own).mode,
            parent,
            state,
            from,
        };
        let next = self.chains.chains.len() as u32;
        let hash = self.hash(&chain);
        let known = *self.known.entry(hash).or_insert(next);
        let index = if known != next && self.is_same(known, &chain) {
            self.chains.places.truncate(start);
            self.chains.labels.truncate(start);
            known
        } else {
            self.chains.chains.push(chain);
            next
        };
        self.chains.of_stack[stack.index()] = index;
    }

    fn hash(&self, chain: &StackChain) -> u64 {
        let mut hasher = FxHasher::default();
        self.chains.labels(chain).hash(&mut hasher);
        self.places.get(chain.own).symbol.hash(&mut hasher);
        self.source(chain).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether a chain that was laid out tells the same as `chain`.
    fn is_same(&self, known: u32, chain: &StackChain) -> bool {
        let known = &self.chains.chains[known as usize];
        let line = |place: PlaceId| self.places.get(place).line;
        let lines = |chain| self.chains.places(chain).iter().map(|&place| line(place));
        let function = |chain: &StackChain| self.places.get(chain.own).symbol;
        (function(known), known.mode, known.parent) == (function(chain), chain.mode, chain.parent)
            && self.source(known) == self.source(chain)
            && self.chains.labels(known) == self.chains.labels(chain)
            && (!self.has_lines
                || line(known.own) == line(chain.own) && lines(known).eq(lines(chain)))
    }

    /// What rows can tell of a branch instruction.
    fn source(&self, chain: &StackChain) -> Option<(SymbolId, u32)> {
        let from = self.places.get(chain.from?);
        Some((from.symbol, if self.has_lines { from.line } else { 0 }))
    }

    /// The number of a frame's physical function.
    fn function(&self, frame: FrameId) -> usize {
        self.places.get(self.places.physical(frame)).symbol.0 as usize
    }
}

/// For each function whether it matches a pattern; empty without a pattern.
fn matching(places: &Places, pattern: Option<&Pattern>) -> Vec<bool> {
    let symbols = places.symbols().iter();
    let matches = |pattern: &Pattern| {
        symbols
            .map(|symbol| symbol.is_named() && pattern.matches(&symbol.name))
            .collect()
    };
    pattern.map(matches).unwrap_or_default()
}

/// The names of the functions that match, ascending.
fn names(places: &Places, matching: &[bool]) -> Vec<Arc<str>> {
    let both = places.symbols().iter().zip(matching);
    let named = both.filter(|(_, matches)| **matches);
    let mut names: Vec<_> = named.map(|(symbol, _)| symbol.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// For each place a number that equal nodes share. Numbers ascend as branches of equal weight are
/// drawn: by descending address, as perf's are within a module.
fn labels(profile: &Profile, places: &Places, chain_key: ChainKey) -> Vec<u32> {
    if chain_key == ChainKey::Function {
        let labels = labels_of_functions(places);
        let functions = places.all().iter().map(|place| place.symbol.0 as usize);
        return functions.map(|function| labels[function]).collect();
    }
    let key = |id: usize| {
        let place = &places.all()[id];
        let symbol = places.symbol(place.symbol);
        match chain_key {
            ChainKey::Address => {
                let shown = profile.frame(place.frame).shown;
                (symbol.dso, shown, place.symbol.0, 0)
            }
            _ => (symbol.dso, symbol.start, place.symbol.0, place.line),
        }
    };
    let all = 0..places.all().len();
    let mut order: Vec<_> = all.map(|id| (key(id), id as u32)).collect();
    order.sort_unstable_by(|left, right| right.cmp(left));
    let mut labels = vec![0; order.len()];
    let groups = order.chunk_by(|left, right| left.0 == right.0);
    for (label, group) in (0..).zip(groups) {
        for &(_, place) in group {
            labels[place as usize] = label;
        }
    }
    labels
}

/// The label of each function.
fn labels_of_functions(places: &Places) -> Vec<u32> {
    let descending: [Value<'_, (usize, &SymbolInfo)>; 3] = [
        Box::new(|(_, symbol)| !symbol.dso.map_or(0, |dso| u64::from(dso.0) + 1)),
        Box::new(|(_, symbol)| !symbol.start),
        Box::new(|&(id, _)| !(id as u64)),
    ];
    let symbols: Vec<_> = places.symbols().iter().enumerate().collect();
    let mut order: Vec<u32> = (0..symbols.len() as u32).collect();
    sort_by_values(&mut order, &symbols, &descending);
    let mut labels = vec![0; order.len()];
    for (label, symbol) in (0..).zip(order) {
        labels[symbol as usize] = label;
    }
    labels
}
