use std::io::{self, Write};

use prof_model::{CommId, CpuMode, DsoKind, Tid};
use prof_profile::{Names, Profile, StackId, Weight};
use rustc_hash::FxHashMap;

use crate::filter::comm_label;
use crate::{Filter, PlaceId, Places, SymbolInfo, SymbolKind};

const TRUNCATED: &str = "[truncated]";

/// How stacks are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedOptions {
    /// Names of kernel, generated and inlined functions end in `_[k]`, `_[j]` and `_[i]`.
    pub annotate: bool,
    /// Inlined functions are frames of their own.
    pub inline: bool,
    /// Which samples are folded.
    pub filter: Filter,
}

impl Default for FoldedOptions {
    fn default() -> Self {
        Self {
            annotate: false,
            inline: true,
            filter: Filter::default(),
        }
    }
}

/// Which number stands at the end of a folded line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StackWeight {
    /// Samples.
    #[default]
    Samples,
    /// The sum of their periods.
    Period,
}

impl StackWeight {
    pub(crate) fn of(self, weight: Weight) -> u64 {
        match self {
            Self::Samples => weight.samples,
            Self::Period => weight.period,
        }
    }
}

/// What sort of code a frame of a flame graph is: it decides the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeKind {
    /// The thread's name, at the bottom.
    Thread,
    /// A function of a file.
    User,
    /// A function of the kernel.
    Kernel,
    /// A function that a runtime generated.
    Jit,
    /// A function in whose place its body stands.
    Inlined,
    /// An address without a name, or frames that are missing.
    Unknown,
}

/// Stacks by the names of their frames, from the thread's name inwards.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FoldedStacks {
    pub(crate) names: Vec<(String, CodeKind)>,  // ascending
    pub(crate) stacks: Vec<(Vec<u32>, Weight)>, // indices of names; ascending, each once
}

impl FoldedStacks {
    /// Folds stacks whose frames have their names already, outermost first.
    pub fn new(stacks: impl IntoIterator<Item = (Vec<(String, CodeKind)>, Weight)>) -> Self {
        let mut table = NameTable::default();
        let stacks: Vec<(Vec<u32>, Weight)> = stacks
            .into_iter()
            .map(|(frames, weight)| {
                let frames = frames.into_iter();
                let ids = frames.map(|(name, kind)| table.id(frame_name(&name), kind));
                (ids.collect(), weight)
            })
            .collect();
        let ranks = table.sort();
        let ranked = stacks.into_iter().map(|(mut frames, weight)| {
            let rank = |name: &mut u32| *name = ranks[*name as usize];
            frames.iter_mut().for_each(rank);
            (frames, weight)
        });
        Self {
            stacks: merged(ranked.collect()),
            names: table.names,
        }
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// The weight of all stacks.
    pub fn total(&self) -> Weight {
        self.stacks.iter().map(|&(_, weight)| weight).sum()
    }

    /// Writes `thread;root;...;leaf WEIGHT` lines in the order of their bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write, weight: StackWeight) -> io::Result<()> {
        let mut lines: Vec<String> = self
            .stacks
            .iter()
            .map(|(stack, each)| format!("{} {}", self.line(stack), weight.of(*each)))
            .collect();
        lines.sort_unstable();
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    /// The names of a stack with `;` between them.
    pub(crate) fn line(&self, stack: &[u32]) -> String {
        let names: Vec<&str> = stack
            .iter()
            .map(|&name| self.names[name as usize].0.as_str())
            .collect();
        line(&names)
    }
}

/// Names with `;` between them.
///
/// Readers take digits at the end for a number, and two numbers for a comparison of two recordings: a
/// name that ends so gets `_` for its last blank.
pub(crate) fn line(names: &[&str]) -> String {
    let mut line = names.join(";");
    if let Some(blank) = blank_of_number(&line) {
        line.replace_range(blank..=blank, "_");
    }
    line
}

/// Where the last blank is, if nothing but a number follows it.
pub(crate) fn blank_of_number(line: &str) -> Option<usize> {
    let blank = line.rfind(' ')?;
    let mut rest = line[blank + 1..].bytes();
    rest.all(|byte| byte.is_ascii_digit() || byte == b'.')
        .then_some(blank)
}

/// Folds the samples of one event, an index into the profile's events.
///
/// Stacks that are known to be cut get a frame `[truncated]` between the thread and their outermost
/// frame, so that they do not look as if the thread had started there.
pub fn fold(profile: &Profile, names: &Names, event: u16, options: &FoldedOptions) -> FoldedStacks {
    let places = Places::new(profile, names, options.inline);
    let filter = options.filter.compile(profile, &places);
    let mut table = NameTable::default();
    let labels = Labels::new(profile, &places, options.annotate, &mut table);
    let truncated = table.id(TRUNCATED.to_owned(), CodeKind::Unknown);
    let mut threads: FxHashMap<(Option<CommId>, Tid), u32> = FxHashMap::default();

    let mut by_id: FxHashMap<(u32, bool, StackId), Weight> = FxHashMap::default();
    for (key, weight) in profile.samples() {
        if key.event != event || !filter.passes(profile, &key) {
            continue;
        }
        let nameless = key.comm.map_or(key.tid, |_| Tid(0));
        let thread = *threads
            .entry((key.comm, nameless))
            .or_insert_with(|| table.id(frame_name(&comm_label(profile, &key)), CodeKind::Thread));
        *by_id
            .entry((thread, key.end.is_cut(), key.stack))
            .or_default() += weight;
    }

    let ranks = table.sort();
    let mut by_name: FxHashMap<Vec<u32>, Weight> = FxHashMap::default();
    let mut frames = Vec::new(); // of one stack
    for ((thread, is_cut, stack), weight) in by_id {
        let stack = profile.stacks().frames(stack);
        let names = stack.flat_map(|frame| places.of_frame(frame));
        let names = names.map(|place| labels.of(place));
        let outside = is_cut.then_some(truncated).into_iter().chain([thread]);
        frames.clear();
        frames.extend(names.chain(outside).map(|name| ranks[name as usize]));
        frames.reverse();
        match by_name.get_mut(&frames[..]) {
            Some(sum) => *sum += weight,
            None => {
                by_name.insert(frames.clone(), weight);
            }
        }
    }
    let mut stacks: Vec<_> = by_name.into_iter().collect();
    stacks.sort_unstable();
    FoldedStacks {
        stacks,
        names: table.names,
    }
}

/// Each stack once, ascending.
fn merged(mut stacks: Vec<(Vec<u32>, Weight)>) -> Vec<(Vec<u32>, Weight)> {
    stacks.sort_unstable();
    stacks.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
    stacks
}

/// Frame names, each once per kind of code.
#[derive(Default)]
struct NameTable {
    names: Vec<(String, CodeKind)>,
    ids: FxHashMap<(String, CodeKind), u32>,
}

impl NameTable {
    fn id(&mut self, name: String, kind: CodeKind) -> u32 {
        let next = self.names.len() as u32;
        let key = (name, kind);
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        self.names.push(key.clone());
        self.ids.insert(key, next);
        next
    }

    /// Puts the names in order, and returns the new index of each. Names that differ only in their
    /// kind become one: a line of text cannot tell them apart either.
    fn sort(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by_key(|&id| &self.names[id as usize]);
        let mut ranks = vec![0; order.len()];
        let mut sorted: Vec<(String, CodeKind)> = Vec::with_capacity(order.len());
        for id in order {
            let name = &self.names[id as usize];
            if sorted.last().is_none_or(|last| last.0 != name.0) {
                sorted.push(name.clone());
            }
            ranks[id as usize] = sorted.len() as u32 - 1;
        }
        self.names = sorted;
        ranks
    }
}

/// The frame name of each place.
struct Labels(Vec<u32>);

impl Labels {
    fn new(profile: &Profile, places: &Places, annotate: bool, table: &mut NameTable) -> Self {
        let of_symbol: Vec<u32> = places
            .symbols()
            .iter()
            .map(|symbol| {
                let kind = code_kind(profile, symbol);
                let suffix = match kind {
                    _ if !annotate => "",
                    CodeKind::Kernel => "_[k]",
                    CodeKind::Jit => "_[j]",
                    CodeKind::Inlined => "_[i]",
                    CodeKind::Thread | CodeKind::User | CodeKind::Unknown => "",
                };
                let name = match symbol.kind {
                    SymbolKind::Unresolved(_) => {
                        format!("{}+{:#x}", places.dso_name(symbol), symbol.start)
                    }
                    _ => symbol.name.to_string(),
                };
                table.id(frame_name(&name) + suffix, kind)
            })
            .collect();
        let labels = places.all().iter();
        Self(
            labels
                .map(|place| of_symbol[place.symbol.0 as usize])
                .collect(),
        )
    }

    fn of(&self, place: PlaceId) -> u32 {
        self.0[place.index()]
    }
}

fn code_kind(profile: &Profile, symbol: &SymbolInfo) -> CodeKind {
    let dso = symbol.dso.map(|dso| profile.dsos.get(dso).kind);
    match symbol.kind {
        SymbolKind::Unresolved(_) => CodeKind::Unknown,
        SymbolKind::Inlined => CodeKind::Inlined,
        SymbolKind::Function if matches!(dso, Some(DsoKind::Jit(_))) => CodeKind::Jit,
        SymbolKind::Function => match symbol.mode {
            CpuMode::Kernel | CpuMode::GuestKernel | CpuMode::Hypervisor => CodeKind::Kernel,
            CpuMode::User | CpuMode::GuestUser | CpuMode::Unknown => CodeKind::User,
        },
    }
}

/// A name without what separates frames and lines.
fn frame_name(name: &str) -> String {
    match name.trim() {
        "" => "[unnamed]".to_owned(),
        name => name.replace(|c: char| c == ';' || c.is_control(), ":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_frame_or_its_line() {
        assert_eq!(frame_name("[u8; 8]::len\n"), "[u8: 8]::len");
        assert_eq!(frame_name("a\nb"), "a:b");
        assert_eq!(frame_name(" "), "[unnamed]");
    }

    #[test]
    fn named_stacks_are_merged_and_lose_what_separates_frames() {
        let frame = |name: &str| (name.to_owned(), CodeKind::User);
        let weight = |samples| Weight { samples, period: 0 };
        let stacks = FoldedStacks::new([
            (vec![frame("main"), frame("b;c")], weight(1)),
            (vec![frame("main")], weight(2)),
            (vec![frame("main"), frame("b:c")], weight(4)),
        ]);
        let mut text = Vec::new();
        stacks.write(&mut text, StackWeight::Samples).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "main 2\nmain;b:c 5\n");
    }

    #[test]
    fn a_number_at_the_end_of_a_name_is_not_taken_for_a_weight() {
        let stacks = FoldedStacks {
            names: vec![("pool 7".to_owned(), CodeKind::Thread)],
            stacks: vec![(
                vec![0],
                Weight {
                    samples: 3,
                    period: 30,
                },
            )],
        };
        let mut text = Vec::new();
        stacks.write(&mut text, StackWeight::Samples).unwrap();
        stacks.write(&mut text, StackWeight::Period).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "pool_7 3\npool_7 30\n");
    }
}
