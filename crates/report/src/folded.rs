use std::borrow::Cow;
use std::hash::BuildHasher;
use std::io::{self, Write};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use prof_model::{CpuMode, DsoKind, Pid, Tid, printable};
use prof_profile::{EventInfo, FrameId, Names, Profile, StackId, StackTable, Weight};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::filter::comm_label;
use crate::idle::is_idle;
use crate::text::first_letters;
use crate::{Filter, Places, SymbolInfo, SymbolKind};

const TRUNCATED: &str = "[truncated]";

/// How stacks are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedOptions {
    /// Names of kernel, generated and inlined functions end in `_[k]`, `_[j]` and `_[i]`.
    pub annotate: bool,
    /// Inlined functions are frames of their own.
    pub inline: bool,
    /// The thread's name is the outermost frame.
    pub threads: bool,
    /// Samples of idle CPUs are folded, too.
    pub idle: bool,
    /// Threads whose samples are not folded.
    pub left_out: FxHashSet<(Pid, Tid)>,
    /// Which samples are folded.
    pub filter: Filter,
}

impl Default for FoldedOptions {
    fn default() -> Self {
        Self {
            annotate: false,
            inline: true,
            threads: true,
            idle: true,
            left_out: FxHashSet::default(),
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
    /// What people expect of an event, see [`EventInfo::weighs_by_period`].
    pub fn usual(event: &EventInfo) -> Self {
        match event.weighs_by_period() {
            true => Self::Period,
            false => Self::Samples,
        }
    }

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
    /// Code without a name, or frames that are missing.
    Unknown,
}

/// Stacks by the names of their frames, from the thread's name inwards.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FoldedStacks {
    pub(crate) names: Vec<(String, CodeKind)>, // ascending
    /// The frames as a tree: each before those that it calls, which come by name.
    pub(crate) frames: Vec<FoldedFrame>,
    /// Which of them are the innermost one of a stack, ascending, and its weight.
    pub(crate) ends: Vec<(u32, Weight)>,
}

/// A frame that stacks have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoldedFrame {
    pub(crate) name: u32,
    /// How many callers it has.
    pub(crate) depth: u32,
}

impl FoldedStacks {
    /// Folds stacks whose frames have their names already, outermost first.
    pub fn new(stacks: impl IntoIterator<Item = (Vec<(String, CodeKind)>, Weight)>) -> Self {
        let mut table = NameTable::default();
        let mut known: FxHashMap<(String, CodeKind), u32> = FxHashMap::default();
        let stacks: Vec<(Vec<u32>, Weight)> = stacks
            .into_iter()
            .map(|(frames, weight)| {
                let id = |(name, kind)| {
                    let id = known.entry((name, kind));
                    *id.or_insert_with_key(|(name, kind)| {
                        table.add(frame_name(name.clone()), *kind)
                    })
                };
                (frames.into_iter().map(id).collect(), weight)
            })
            .collect();
        let ranks = table.sort();
        let ranked = stacks.into_iter().map(|(mut frames, weight)| {
            let rank = |name: &mut u32| *name = ranks[*name as usize];
            frames.iter_mut().for_each(rank);
            (frames, weight)
        });
        Self::of_named(table.names, ranked)
    }

    /// Folds stacks of indices of `names`.
    pub(crate) fn of_named(
        names: Vec<(String, CodeKind)>,
        stacks: impl IntoIterator<Item = (Vec<u32>, Weight)>,
    ) -> Self {
        let mut tree = FrameTree::default();
        for (stack, weight) in stacks {
            let mut node = FrameTree::ROOT;
            for name in stack {
                node = tree.child(node, name);
            }
            tree.add(node, weight);
        }
        tree.fold(names)
    }

    /// These stacks and others.
    pub(crate) fn and(&self, others: &Self) -> Self {
        let mut stacks = Vec::with_capacity(self.len() + others.len());
        for folded in [self, others] {
            folded.for_each(|stack, weight| {
                let names = stack
                    .iter()
                    .map(|&name| folded.names[name as usize].clone());
                stacks.push((names.collect(), weight));
            });
        }
        Self::new(stacks)
    }

    /// The same stacks, from the innermost frame outwards.
    pub(crate) fn reversed(&self) -> Self {
        let mut tree = FrameTree::default();
        self.for_each(|stack, weight| {
            let mut node = FrameTree::ROOT;
            for &name in stack.iter().rev() {
                node = tree.child(node, name);
            }
            tree.add(node, weight);
        });
        tree.fold(self.names.clone())
    }

    /// Shows `visit` every stack, ascending, as indices of names.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&[u32], Weight)) {
        let mut stack: Vec<u32> = Vec::new();
        let mut ends = self.ends.iter().peekable();
        for (index, frame) in (0..).zip(&self.frames) {
            stack.truncate(frame.depth as usize);
            stack.push(frame.name);
            if let Some((_, weight)) = ends.next_if(|(end, _)| *end == index) {
                visit(&stack, *weight);
            }
        }
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The weight of all stacks.
    pub fn total(&self) -> Weight {
        self.ends.iter().map(|&(_, weight)| weight).sum()
    }

    /// Writes `thread;root;...;leaf WEIGHT` lines in the order of their bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write, weight: StackWeight) -> io::Result<()> {
        let mut lines: Vec<String> = Vec::with_capacity(self.len());
        self.for_each(|stack, each| {
            lines.push(format!("{} {}", self.line(stack), weight.of(each)));
        });
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
fn blank_of_number(line: &str) -> Option<usize> {
    let blank = line.rfind(' ')?;
    let mut rest = line[blank + 1..].bytes();
    rest.all(|byte| byte.is_ascii_digit() || byte == b'.')
        .then_some(blank)
}

/// Folds the samples of one event, an index into the profile's events.
///
/// Stacks that are known to be cut get a frame `[truncated]` between the thread and their outermost
/// frame, so that they do not look as if the thread had started there. What has no name is called by its
/// module, `[libfoo.so.1]`, as FlameGraph's scripts call it.
pub fn fold(profile: &Profile, names: &Names, event: u16, options: &FoldedOptions) -> FoldedStacks {
    let places = Places::by_name(profile, names, options.inline);
    fold_places(profile, &places, event, options)
}

/// The same with names that are arranged already, by name; [`FoldedOptions::inline`] is as they are.
pub(crate) fn fold_places(
    profile: &Profile,
    places: &Places,
    event: u16,
    options: &FoldedOptions,
) -> FoldedStacks {
    let mut table = NameTable::default();
    let labels = labels(profile, places, options.annotate, &mut table);
    let truncated = table.add(TRUNCATED.to_owned(), CodeKind::Unknown);
    let mut entries: Vec<_> = profile.entries(event).collect();
    if !options.filter.is_empty() {
        let filter = options.filter.compile(profile, places);
        let key = |context, stack| profile.sample_key(context, stack);
        entries.retain(|&(context, stack, _)| filter.passes(profile, &key(context, stack)));
    }
    if !options.idle {
        let key = |context, stack| profile.sample_key(context, stack);
        entries.retain(|&(context, stack, _)| !is_idle(profile, places, &key(context, stack)));
    }
    if !options.left_out.is_empty() {
        entries.retain(|&(context, ..)| {
            let key = profile.context(context);
            !options.left_out.contains(&(key.pid, key.tid))
        });
    }
    let contexts = || entries.chunk_by(|left, right| left.0 == right.0);
    let threads = contexts().map(|entries| {
        let name = comm_label(profile, profile.context(entries[0].0));
        table.add(frame_name(name), CodeKind::Thread)
    });
    let threads: Vec<u32> = threads.collect();

    let ranks = table.sort();
    let rank = |name: u32| ranks[name as usize];
    let places_of = |frame| places.of_frame(frame).rev(); // outermost first
    let mut stacks = StackTree {
        table: profile.stacks(),
        names_of: |frame| places_of(frame).map(|place| rank(labels[place.index()])),
        tree: FrameTree::default(),
        known: vec![(NONE, NONE); profile.stacks().len()],
        path: Vec::new(),
    };
    for (entries, thread) in contexts().zip(threads) {
        let mut root = FrameTree::ROOT;
        if options.threads {
            root = stacks.tree.child(root, rank(thread));
        }
        if profile.context(entries[0].0).end.is_cut() {
            root = stacks.tree.child(root, rank(truncated));
        }
        for &(_, stack, weight) in entries {
            let node = stacks.node(root, stack);
            if node != FrameTree::ROOT {
                stacks.tree.add(node, weight); // else there is neither a thread nor a frame
            }
        }
    }
    stacks.tree.fold(table.names)
}

const NONE: u32 = u32::MAX;

/// Frames by their names, as a tree in an arena; nodes come after their parents.
struct FrameTree {
    nodes: Vec<FrameNode>,
    children: HashTable<u32>, // nodes by parent and name
    ends: Vec<(u32, Weight)>, // nodes with stacks of their own
}

#[derive(Clone, Copy)]
struct FrameNode {
    parent: u32,
    name: u32,
    end: u32, // its index in `ends`, or NONE
}

impl Default for FrameTree {
    fn default() -> Self {
        Self {
            nodes: vec![FrameNode {
                parent: NONE,
                name: NONE,
                end: NONE,
            }],
            children: HashTable::new(),
            ends: Vec::new(),
        }
    }
}

impl FrameTree {
    /// What all stacks have in common: no frame.
    const ROOT: u32 = 0;

    /// The node of a frame that `parent` called.
    fn child(&mut self, parent: u32, name: u32) -> u32 {
        let Self {
            nodes, children, ..
        } = self;
        let hash = |parent: u32, name: u32| FxBuildHasher.hash_one((parent, name));
        let key = |&node: &u32| {
            let FrameNode { parent, name, .. } = nodes[node as usize];
            (parent, name)
        };
        let is_same = |node: &u32| key(node) == (parent, name);
        let rehash = |node: &u32| {
            let (parent, name) = key(node);
            hash(parent, name)
        };
        match children.entry(hash(parent, name), is_same, rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let node = nodes.len() as u32;
                vacant.insert(node);
                nodes.push(FrameNode {
                    parent,
                    name,
                    end: NONE,
                });
                node
            }
        }
    }

    /// Counts a stack that ends there.
    fn add(&mut self, node: u32, weight: Weight) {
        let end = &mut self.nodes[node as usize].end;
        if *end == NONE {
            *end = self.ends.len() as u32;
            self.ends.push((node, Weight::default()));
        }
        self.ends[*end as usize].1 += weight;
    }

    /// The stacks in their order. `names` are those of the nodes, ascending.
    fn fold(self, names: Vec<(String, CodeKind)>) -> FoldedStacks {
        let by_parent = self.by_parent();
        let mut folded = FoldedStacks {
            names,
            frames: Vec::with_capacity(self.nodes.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        let mut open = vec![(Self::ROOT, 0)]; // nodes to come, the next one last, and their depth
        while let Some((node, depth)) = open.pop() {
            let FrameNode { name, end, .. } = self.nodes[node as usize];
            if let Some(&(_, weight)) = self.ends.get(end as usize) {
                folded.ends.push((folded.frames.len() as u32, weight));
            }
            if node != Self::ROOT {
                let depth = depth - 1;
                folded.frames.push(FoldedFrame { name, depth });
            }
            let children = by_parent.of(node).iter().rev();
            open.extend(children.map(|&child| (child, depth + 1)));
        }
        folded
    }

    fn by_parent(&self) -> Children {
        let parents = || self.nodes.iter().skip(1).map(|node| node.parent as usize);
        let mut first = vec![0_u32; self.nodes.len() + 1];
        parents().for_each(|parent| first[parent + 1] += 1);
        for node in 1..first.len() {
            first[node] += first[node - 1];
        }
        let mut nodes = vec![0; self.nodes.len() - 1];
        let mut next = first.clone();
        for (parent, child) in parents().zip(1..) {
            nodes[next[parent] as usize] = child;
            next[parent] += 1;
        }
        for range in first.windows(2).filter(|range| range[1] - range[0] > 1) {
            let siblings = &mut nodes[range[0] as usize..range[1] as usize];
            siblings.sort_unstable_by_key(|&node| self.nodes[node as usize].name);
        }
        Children { nodes, first }
    }
}

/// The children of every node, by name.
struct Children {
    nodes: Vec<u32>,
    first: Vec<u32>, // by parent, and the end
}

impl Children {
    fn of(&self, parent: u32) -> &[u32] {
        let parent = parent as usize;
        &self.nodes[self.first[parent] as usize..self.first[parent + 1] as usize]
    }
}

/// The stacks of a profile on their way into a tree of frames.
struct StackTree<'a, F> {
    table: &'a StackTable,
    names_of: F, // of a frame, outermost first
    tree: FrameTree,
    known: Vec<(u32, u32)>, // by stack: where it was put last, and its node there
    path: Vec<(StackId, FrameId)>, // what is new of a stack, innermost first
}

impl<F: Fn(FrameId) -> I, I: Iterator<Item = u32>> StackTree<'_, F> {
    /// The node of a stack on top of `root`.
    fn node(&mut self, root: u32, stack: StackId) -> u32 {
        let (callers, inner) = self.table.parts(stack);
        let callers = self.part(root, callers);
        self.part(callers, inner)
    }

    fn part(&mut self, root: u32, mut stack: StackId) -> u32 {
        self.path.clear();
        let mut node = root;
        while let Some((frame, callers)) = self.table.split(stack) {
            if let (at, known) = self.known[stack.index()]
                && at == root
            {
                node = known;
                break;
            }
            self.path.push((stack, frame));
            stack = callers;
        }
        for &(stack, frame) in self.path.iter().rev() {
            for name in (self.names_of)(frame) {
                node = self.tree.child(node, name);
            }
            self.known[stack.index()] = (root, node);
        }
        node
    }
}

/// Frame names.
#[derive(Default)]
struct NameTable {
    names: Vec<(String, CodeKind)>,
}

impl NameTable {
    fn add(&mut self, name: String, kind: CodeKind) -> u32 {
        self.names.push((name, kind));
        self.names.len() as u32 - 1
    }

    /// Puts the names in order, and returns the new index of each. Equal ones become one, also if they
    /// differ in their kind: a line of text cannot tell them apart either.
    fn sort(&mut self) -> Vec<u32> {
        let mut order: Vec<(u128, u32)> = Vec::with_capacity(self.names.len());
        order.extend(
            self.names
                .iter()
                .map(|(name, _)| first_letters(name))
                .zip(0..),
        );
        let whole = |id: u32| &self.names[id as usize];
        order.sort_unstable_by(|left, right| {
            let by_lead = left.0.cmp(&right.0);
            by_lead.then_with(|| whole(left.1).cmp(whole(right.1)))
        });
        let mut ranks = vec![0; order.len()];
        let mut sorted: Vec<(String, CodeKind)> = Vec::with_capacity(order.len());
        for (_, id) in order {
            let name = &mut self.names[id as usize];
            if sorted.last().is_none_or(|last| last.0 != name.0) {
                sorted.push((std::mem::take(&mut name.0), name.1));
            }
            ranks[id as usize] = sorted.len() as u32 - 1;
        }
        self.names = sorted;
        ranks
    }
}

/// The frame name of each place.
fn labels(profile: &Profile, places: &Places, annotate: bool, table: &mut NameTable) -> Vec<u32> {
    let mut of_symbol = |symbol: &SymbolInfo| {
        let kind = code_kind(profile, symbol);
        let suffix = match kind {
            _ if !annotate => "",
            CodeKind::Kernel => "_[k]",
            CodeKind::Jit => "_[j]",
            CodeKind::Inlined => "_[i]",
            CodeKind::Thread | CodeKind::User | CodeKind::Unknown => "",
        };
        let mut name = String::new();
        if symbol.is_named() {
            name.reserve_exact(symbol.name.len() + "_[k]".len());
            name.push_str(&symbol.name);
        } else {
            name.push_str(&in_brackets(places.dso_name(symbol)));
        }
        let mut name = frame_name(name);
        name.push_str(suffix);
        table.add(name, kind)
    };
    let of_symbol: Vec<u32> = places.symbols().iter().map(&mut of_symbol).collect();
    let functions = places.all().iter().map(|place| place.symbol.0 as usize);
    functions.map(|function| of_symbol[function]).collect()
}

/// What frames of a module without names are called: `[libfoo.so.1]`; what has brackets already, `[vdso]`, stays as it is.
pub fn in_brackets(module: &str) -> Cow<'_, str> {
    match module.starts_with('[') {
        true => Cow::Borrowed(module),
        false => Cow::Owned(format!("[{module}]")),
    }
}

fn code_kind(profile: &Profile, symbol: &SymbolInfo) -> CodeKind {
    let dso = symbol.dso.map(|dso| profile.dsos.get(dso).kind);
    match symbol.kind {
        SymbolKind::Unresolved(_) | SymbolKind::Unnamed => CodeKind::Unknown,
        SymbolKind::Inlined => CodeKind::Inlined,
        SymbolKind::Function if matches!(dso, Some(DsoKind::Jit(_))) => CodeKind::Jit,
        SymbolKind::Function => match symbol.mode {
            CpuMode::Kernel | CpuMode::GuestKernel | CpuMode::Hypervisor => CodeKind::Kernel,
            CpuMode::User | CpuMode::GuestUser | CpuMode::Unknown => CodeKind::User,
        },
    }
}

/// A name without what separates frames and lines.
fn frame_name(name: String) -> String {
    // what all but few names are, as a test that is faster than a search
    let is_plain = name
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
    if is_plain && !name.is_empty() && !name.starts_with(' ') && !name.ends_with(' ') {
        return name;
    }
    match name.trim() {
        "" => "[unnamed]".to_owned(),
        name => printable(name).replace(';', ":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_frame_or_its_line() {
        assert_eq!(frame_name("[u8; 8]::len\n".to_owned()), "[u8: 8]::len");
        assert_eq!(frame_name("a\nb\x1b".to_owned()), r"a\nb\x1b");
        assert_eq!(frame_name(" ".to_owned()), "[unnamed]");
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
        let weight = Weight {
            samples: 3,
            period: 30,
        };
        let names = vec![("pool 7".to_owned(), CodeKind::Thread)];
        let stacks = FoldedStacks::of_named(names, [(vec![0], weight)]);
        let mut text = Vec::new();
        stacks.write(&mut text, StackWeight::Samples).unwrap();
        stacks.write(&mut text, StackWeight::Period).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "pool_7 3\npool_7 30\n");
    }
}
