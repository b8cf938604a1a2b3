use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use prof_model::{DsoId, FunctionCode, Pid};
use prof_profile::Weight;
use rustc_hash::FxHashMap;

use crate::history::{Entry, Slice};
use crate::tables::{ROOT, Tables};
use crate::{Function, History, Key, Kind, Line};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A function.
    Function,
    /// A thread.
    Thread,
    /// A process.
    Process,
    /// A module.
    Module,
}

/// Samples with something are kept, or left out. A function or a module may be anywhere on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// With what.
    pub key: Key,
    /// Whether these are kept.
    pub keep: bool,
}

/// What a picture is to show.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Which event, by its index.
    pub event: u16,
    /// What the rows stand for.
    pub group: Group,
    /// The window.
    pub window: Range<u64>,
    /// The window to compare it with.
    pub before: Range<u64>,
    /// The borders of the windows that make up the rows' history, ascending.
    pub bins: &'a [u64],
    /// Which samples.
    pub filters: &'a [Filter],
    /// Whether the stacks themselves are wanted.
    pub paths: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is about.
    pub key: Key,
    /// Where it ran itself.
    pub own: Weight,
    /// Where it was on the stack.
    pub total: Weight,
    /// `own` in the window before.
    pub own_before: Weight,
    /// `own` as a share of each of the windows of [`Query::bins`], from 0 to 1.
    pub history: Vec<f32>,
}

/// Stacks as chains of functions, outermost first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// The functions.
    pub functions: Vec<Arc<Function>>,
    /// Indices of functions, and what each stack weighs; ascending, each once.
    pub stacks: Vec<(Vec<u32>, Weight)>,
}

/// One window of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// What the slices in the window cover together.
    pub span: Range<u64>,
    /// All samples in it, without those of idle CPUs.
    pub all: Weight,
    /// Samples of idle CPUs.
    pub idle: Weight,
    /// Those that pass the filters: 100% of the shares.
    pub shown: Weight,
    /// The same in the window before.
    pub shown_before: Weight,
    /// Samples whose stacks reach the root, of those of which one knows.
    pub whole: u64,
    /// Samples of which one knows whether their stacks reach the root.
    pub known: u64,
    /// In no order.
    pub rows: Vec<Row>,
    /// If wanted.
    pub paths: Paths,
}

/// How much was going on over a whole history: periods of the samples that pass the filters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Load {
    sums: Vec<f64>, // up to the end of each of equally long parts
}

/// Parts of a [`Load`]: more than a terminal has columns.
const LOAD_PARTS: usize = 1000;

impl Load {
    pub(crate) fn new(history: &History, query: &Query<'_>) -> Self {
        let Some(span) = history.span() else {
            return Self::default();
        };
        let passing = Passing::new(&history.tables, query);
        let length = (span.end - span.start).max(1) as f64;
        let mut parts = vec![0.0; LOAD_PARTS];
        for slice in &history.slices {
            let entries = of_event(slice, query.event).iter();
            let passing = entries.filter(|it| !passing.is_idle(it) && passing.passes(it));
            let period: f64 = passing.map(|entry| entry.period as f64).sum();
            let part = |at: u64| (at - span.start) as f64 / length * LOAD_PARTS as f64;
            let (from, to) = (part(slice.span.start), part(slice.span.end));
            let last = (to.ceil() as usize).min(LOAD_PARTS);
            for (index, sum) in parts.iter_mut().enumerate().take(last).skip(from as usize) {
                let inside = to.min(index as f64 + 1.0) - from.max(index as f64);
                *sum += period * inside / (to - from).max(f64::MIN_POSITIVE);
            }
        }
        let mut sum = 0.0;
        let sums = parts.into_iter().map(|part| {
            sum += part;
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// The load in each of so many columns, of which the fullest has 1.
    pub(crate) fn columns(&self, count: usize) -> Vec<f32> {
        let until = |column: usize| {
            let at = column as f64 / count as f64 * self.sums.len() as f64;
            let whole = at as usize;
            let before = |index: usize| match index {
                0 => 0.0,
                index => self.sums.get(index - 1).copied().unwrap_or_default(),
            };
            let next = self.sums.get(whole).copied().unwrap_or(before(whole));
            before(whole) + (next - before(whole)) * at.fract()
        };
        let columns: Vec<f64> = (0..count).map(|it| until(it + 1) - until(it)).collect();
        let most = columns.iter().copied().fold(0.0, f64::max);
        let share = |column: f64| if most > 0.0 { column / most } else { 0.0 };
        columns.into_iter().map(|it| share(it) as f32).collect()
    }
}

/// Who calls a function, whom it calls, and where its time goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// Callers, heaviest first.
    pub callers: Vec<Neighbour>,
    /// Callees, heaviest first.
    pub callees: Vec<Neighbour>,
    /// Its lines by the samples in which it ran itself, heaviest first.
    pub lines: Vec<(Line, Weight)>,
}

/// A caller or a callee.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The function; `None` for the root of the stack.
    pub function: Option<Arc<Function>>,
    /// The samples in which the one called the other.
    pub weight: Weight,
}

impl Picture {
    /// Looks at a history.
    pub fn new(history: &History, query: &Query<'_>) -> Self {
        let mut picture = Self::default();
        let passing = Passing::new(&history.tables, query);
        let mut sums = Sums::new(&history.tables, query);
        for slice in &history.slices {
            let in_window = touches(&slice.span, &query.window);
            let in_before = touches(&slice.span, &query.before);
            let bins = overlapping(query.bins, &slice.span);
            if !in_window && !in_before && bins.is_empty() {
                continue;
            }
            if in_window {
                picture.cover(&slice.span);
                picture.whole += slice.whole;
                picture.known += slice.known;
            }
            for entry in of_event(slice, query.event) {
                let weight = entry.weight();
                if passing.is_idle(entry) {
                    if in_window {
                        picture.idle += weight;
                    }
                    continue;
                }
                if in_window {
                    picture.all += weight;
                }
                if !passing.passes(entry) {
                    continue;
                }
                let own = sums.own_row(entry);
                if in_window {
                    picture.shown += weight;
                    sums.add(entry, own);
                }
                if in_before {
                    picture.shown_before += weight;
                    sums.rows[own as usize].own_before += weight;
                }
                sums.add_to_bins(own, bins.clone(), entry.period);
            }
        }
        picture.rows = sums.finish();
        if query.paths {
            picture.paths = paths(history, query, &passing);
        }
        picture
    }

    fn cover(&mut self, span: &Range<u64>) {
        if self.span.is_empty() {
            self.span = span.clone();
        } else {
            self.span.end = span.end;
        }
    }

    /// Seconds that the window covers.
    pub fn seconds(&self) -> f64 {
        (self.span.end - self.span.start) as f64 / 1e9
    }

    /// The share of `part` in what is shown, in percent.
    pub fn percent(&self, part: Weight) -> f64 {
        share(part, self.shown) * 100.0
    }

    /// How a row's own share changed against the window before, in percentage points, and whether by
    /// more than chance explains in 19 of 20 cases. `None` if there is nothing to compare with.
    pub fn change(&self, row: &Row) -> Option<(f64, bool)> {
        change((row.own, self.shown), (row.own_before, self.shown_before))
    }
}

/// How a share of one total differs from a share of another, see [`Picture::change`].
pub(crate) fn change(now: (Weight, Weight), before: (Weight, Weight)) -> Option<(f64, bool)> {
    if now.1.samples == 0 || before.1.samples == 0 {
        return None;
    }
    let (p, q) = (share(now.0, now.1), share(before.0, before.1));
    let variance = |p: f64, samples: u64| (p * (1.0 - p)).max(0.0) / samples as f64;
    let error = 1.96 * (variance(p, now.1.samples) + variance(q, before.1.samples)).sqrt();
    Some(((p - q) * 100.0, (p - q).abs() > error))
}

pub(crate) fn share(part: Weight, whole: Weight) -> f64 {
    match whole.period {
        0 => 0.0,
        period => part.period as f64 / period as f64,
    }
}

/// Whether a slice counts for a window: it mostly lies in it, or is so long (on an overloaded machine,
/// or after a pause) that the window mostly lies in the slice.
fn touches(span: &Range<u64>, window: &Range<u64>) -> bool {
    mostly_within(span, window) || mostly_within(window, span)
}

fn mostly_within(span: &Range<u64>, window: &Range<u64>) -> bool {
    let start = span.start.max(window.start);
    let end = span.end.min(window.end);
    end.saturating_sub(start) * 2 > span.end - span.start
}

/// The bins that a slice counts for.
fn overlapping(borders: &[u64], span: &Range<u64>) -> Range<usize> {
    let bins = borders.windows(2);
    let mut hits = bins
        .enumerate()
        .filter(|(_, bin)| touches(span, &(bin[0]..bin[1])));
    match hits.next() {
        None => 0..0,
        Some((first, _)) => first..hits.next_back().map_or(first, |(last, _)| last) + 1,
    }
}

fn of_event(slice: &Slice, event: u16) -> &[Entry] {
    let entries = &slice.entries;
    let start = entries.partition_point(|entry| entry.key.event < event);
    let end = entries.partition_point(|entry| entry.key.event <= event);
    &entries[start..end]
}

/// Which samples pass the filters: looked up once per thread and stack.
pub(crate) struct Passing {
    idle: Vec<bool>,            // by thread
    threads: Option<Vec<bool>>, // `None`: all
    stacks: Option<Vec<bool>>,
}

impl Passing {
    pub(crate) fn new(tables: &Tables, query: &Query<'_>) -> Self {
        let threads = || (0..tables.threads.len() as u32).map(|id| tables.threads.get(id));
        let of_stack = |filter: &&Filter| matches!(filter.key, Key::Function(_) | Key::Module(_));
        let (by_stack, by_thread): (Vec<&Filter>, Vec<&Filter>) =
            query.filters.iter().partition(of_stack);
        let thread_passes = |thread: &crate::Thread| {
            by_thread.iter().all(|filter| match &filter.key {
                Key::Thread(wanted) => (**wanted == *thread) == filter.keep,
                Key::Process(wanted) => (wanted.pid == thread.pid) == filter.keep,
                _ => true,
            })
        };
        Self {
            idle: threads().map(|thread| thread.pid == Pid(0)).collect(),
            threads: (!by_thread.is_empty())
                .then(|| threads().map(|thread| thread_passes(thread)).collect()),
            stacks: (!by_stack.is_empty()).then(|| stacks_passing(tables, &by_stack)),
        }
    }

    fn is_idle(&self, entry: &Entry) -> bool {
        self.idle[entry.key.thread as usize]
    }

    fn passes(&self, entry: &Entry) -> bool {
        let thread = self.threads.as_ref();
        let stack = self.stacks.as_ref();
        thread.is_none_or(|passes| passes[entry.key.thread as usize])
            && stack.is_none_or(|passes| passes[entry.key.stack as usize])
    }
}

/// For each stack whether it has every function and module to keep and none to leave out.
fn stacks_passing(tables: &Tables, filters: &[&Filter]) -> Vec<bool> {
    let mut passes = vec![true; tables.stacks()];
    for filter in filters {
        let (function, module) = match &filter.key {
            Key::Function(function) => (tables.functions.find(function), None),
            Key::Module(module) => (None, tables.modules.find(module)),
            Key::Thread(_) | Key::Process(_) => continue,
        };
        let mut has = vec![false; tables.stacks()];
        for stack in 1..tables.stacks() as u32 {
            let node = tables.node(stack);
            has[stack as usize] = has[node.parent as usize]
                || Some(node.function) == function
                || module.is_some_and(|module| tables.module_of(node.function) == module);
        }
        for (passes, has) in passes.iter_mut().zip(has) {
            *passes &= has == filter.keep;
        }
    }
    passes
}

const NO_ROW: u32 = u32::MAX;

/// Rows while they are being added up.
struct Sums<'a> {
    tables: &'a Tables,
    group: Group,
    rows: Vec<Row>,
    row_of: Vec<u32>, // by function, thread, process or module
    seen: Vec<u32>,   // by row: the number of the entry that counted it last
    entries: u32,
    bins: usize,
    bin_totals: Vec<f64>,
    row_bins: Vec<f64>, // by row, then by bin
}

impl<'a> Sums<'a> {
    fn new(tables: &'a Tables, query: &Query<'_>) -> Self {
        let keys = match query.group {
            Group::Function => tables.functions.len(),
            Group::Thread => tables.threads.len(),
            Group::Process => tables.processes.len(),
            Group::Module => tables.modules.len(),
        };
        let bins = query.bins.len().saturating_sub(1);
        Self {
            tables,
            group: query.group,
            rows: Vec::new(),
            row_of: vec![NO_ROW; keys],
            seen: Vec::new(),
            entries: 0,
            bins,
            bin_totals: vec![0.0; bins],
            row_bins: Vec::new(),
        }
    }

    /// The row of what an entry itself is about.
    fn own_row(&mut self, entry: &Entry) -> u32 {
        let innermost = self.tables.node(entry.key.stack).function;
        let key = match self.group {
            Group::Function => innermost,
            Group::Module => self.tables.module_of(innermost),
            Group::Thread => entry.key.thread,
            Group::Process => self.tables.process_of(entry.key.thread),
        };
        self.row(key)
    }

    fn row(&mut self, id: u32) -> u32 {
        let row = &mut self.row_of[id as usize];
        if *row == NO_ROW {
            *row = self.rows.len() as u32;
            let tables = self.tables;
            self.rows.push(Row {
                key: match self.group {
                    Group::Function => Key::Function(Arc::clone(tables.functions.get(id))),
                    Group::Module => Key::Module(Arc::clone(tables.modules.get(id))),
                    Group::Thread => Key::Thread(Arc::clone(tables.threads.get(id))),
                    Group::Process => Key::Process(Arc::clone(tables.processes.get(id))),
                },
                own: Weight::default(),
                total: Weight::default(),
                own_before: Weight::default(),
                history: Vec::new(),
            });
            self.seen.push(0);
            self.row_bins.resize(self.rows.len() * self.bins, 0.0);
        }
        *row
    }

    fn add(&mut self, entry: &Entry, own: u32) {
        let weight = entry.weight();
        self.rows[own as usize].own += weight;
        self.entries += 1;
        match self.group {
            Group::Thread | Group::Process => self.rows[own as usize].total += weight,
            Group::Function | Group::Module => {
                let tables = self.tables;
                for function in tables.frames(entry.key.stack) {
                    if tables.functions.get(function).kind == Kind::Missing {
                        continue;
                    }
                    let row = match self.group {
                        Group::Function => self.row(function),
                        _ => self.row(tables.module_of(function)),
                    } as usize;
                    // a function that calls itself counts once
                    if std::mem::replace(&mut self.seen[row], self.entries) != self.entries {
                        self.rows[row].total += weight;
                    }
                }
            }
        }
    }

    fn add_to_bins(&mut self, row: u32, bins: Range<usize>, period: u64) {
        let first = row as usize * self.bins;
        for bin in bins {
            self.bin_totals[bin] += period as f64;
            self.row_bins[first + bin] += period as f64;
        }
    }

    fn finish(mut self) -> Vec<Row> {
        let bins = self.bins;
        for (index, row) in self.rows.iter_mut().enumerate() {
            let own = &self.row_bins[index * bins..(index + 1) * bins];
            let share = |(own, total): (&f64, &f64)| if *total > 0.0 { own / total } else { 0.0 };
            let shares = own.iter().zip(&self.bin_totals).map(share);
            row.history = shares.map(|share| share as f32).collect();
        }
        self.rows
    }
}

fn paths(history: &History, query: &Query<'_>, passing: &Passing) -> Paths {
    let tables = &history.tables;
    let mut by_stack: FxHashMap<u32, Weight> = FxHashMap::default();
    for_each_shown(history, query, passing, |entry| {
        *by_stack.entry(entry.key.stack).or_default() += entry.weight();
    });
    let mut numbers: FxHashMap<u32, u32> = FxHashMap::default();
    let mut paths = Paths::default();
    for (stack, weight) in by_stack {
        let mut path: Vec<u32> = tables
            .frames(stack)
            .map(|id| {
                *numbers.entry(id).or_insert_with(|| {
                    paths.functions.push(Arc::clone(tables.functions.get(id)));
                    paths.functions.len() as u32 - 1
                })
            })
            .collect();
        path.reverse();
        paths.stacks.push((path, weight));
    }
    paths.sort();
    paths
}

impl Paths {
    /// Numbers the functions by name, so that what is drawn does not depend on a hash table's order.
    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.functions.len() as u32).collect();
        order.sort_unstable_by_key(|&id| &self.functions[id as usize]);
        let mut rank = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            rank[old as usize] = new as u32;
        }
        self.functions = order
            .iter()
            .map(|&old| Arc::clone(&self.functions[old as usize]))
            .collect();
        for (path, _) in &mut self.stacks {
            path.iter_mut().for_each(|id| *id = rank[*id as usize]);
        }
        self.stacks.sort_unstable();
    }
}

pub(crate) fn for_each_shown(
    history: &History,
    query: &Query<'_>,
    passing: &Passing,
    mut visit: impl FnMut(&Entry),
) {
    let slices = history.slices.iter();
    slices
        .filter(|slice| touches(&slice.span, &query.window))
        .flat_map(|slice| of_event(slice, query.event))
        .filter(|entry| !passing.is_idle(entry) && passing.passes(entry))
        .for_each(&mut visit);
}

impl Detail {
    /// Looks at one function in a window of a history.
    pub fn new(history: &History, query: &Query<'_>, function: &Function) -> Self {
        let tables = &history.tables;
        let Some(wanted) = tables.functions.find(function) else {
            return Self::default();
        };
        let passing = Passing::new(tables, query);
        let mut callers: FxHashMap<Option<u32>, Weight> = FxHashMap::default();
        let mut callees: FxHashMap<Option<u32>, Weight> = FxHashMap::default();
        let mut lines: FxHashMap<&Line, Weight> = FxHashMap::default();
        for_each_shown(history, query, &passing, |entry| {
            let weight = entry.weight();
            let mut counted: [Vec<Option<u32>>; 2] = Default::default();
            let mut inner = None;
            let mut at = entry.key.stack;
            while at != ROOT {
                let node = tables.node(at);
                if node.function == wanted {
                    let outer = tables.node(node.parent).function;
                    let outer = (node.parent != ROOT).then_some(outer);
                    let sides = [(&mut callers, Some(outer)), (&mut callees, inner.map(Some))];
                    for ((sums, neighbour), counted) in sides.into_iter().zip(&mut counted) {
                        // a function may stand several times on one stack
                        if let Some(neighbour) = neighbour
                            && !counted.contains(&neighbour)
                        {
                            counted.push(neighbour);
                            *sums.entry(neighbour).or_default() += weight;
                        }
                    }
                }
                inner = Some(node.function);
                at = node.parent;
            }
            if tables.node(entry.key.stack).function == wanted && entry.key.spot != u32::MAX {
                let spot = tables.spots.get(entry.key.spot);
                *lines.entry(&spot.line).or_default() += weight;
            }
        });
        let neighbours = |sums: FxHashMap<Option<u32>, Weight>| {
            let neighbours = sums.into_iter().map(|(id, weight)| Neighbour {
                function: id.map(|id| Arc::clone(tables.functions.get(id))),
                weight,
            });
            let mut neighbours: Vec<_> = neighbours.collect();
            neighbours.sort_by(|a, b| {
                let heavier = b.weight.period.cmp(&a.weight.period);
                heavier.then_with(|| a.function.cmp(&b.function))
            });
            neighbours
        };
        let lines = lines.into_iter();
        let mut lines: Vec<_> = lines.map(|(line, weight)| (line.clone(), weight)).collect();
        lines.sort_by(|a, b| (b.1.period.cmp(&a.1.period)).then_with(|| a.0.cmp(&b.0)));
        Self {
            callers: neighbours(callers),
            callees: neighbours(callees),
            lines,
        }
    }
}

/// The instruction of a function that most samples of a window hit. Of an inlined function it may lie
/// anywhere.
pub(crate) fn hottest_address(
    history: &History,
    query: &Query<'_>,
    function: &Function,
) -> Option<(DsoId, u64)> {
    let tables = &history.tables;
    let wanted = tables.functions.find(function)?;
    let passing = Passing::new(tables, query);
    let mut sums: BTreeMap<(DsoId, u64), u64> = BTreeMap::new();
    for_each_shown(history, query, &passing, |entry| {
        if tables.node(entry.key.stack).function == wanted && entry.key.spot != u32::MAX {
            let spot = tables.spots.get(entry.key.spot);
            if let Some(dso) = spot.dso {
                let sum = sums.entry((dso, spot.address)).or_default();
                *sum = sum.saturating_add(entry.period);
            }
        }
    });
    let heaviest = sums.into_iter().rev().max_by_key(|&(_, period)| period);
    heaviest.map(|(at, _)| at)
}

/// How much the samples of a window weigh at each instruction of some code.
pub(crate) fn by_instruction(
    history: &History,
    query: &Query<'_>,
    dso: DsoId,
    code: &FunctionCode,
) -> Vec<Weight> {
    let tables = &history.tables;
    let passing = Passing::new(tables, query);
    let mut weights = vec![Weight::default(); code.instructions.len()];
    for_each_shown(history, query, &passing, |entry| {
        if entry.key.spot == u32::MAX {
            return;
        }
        let spot = tables.spots.get(entry.key.spot);
        if spot.dso == Some(dso)
            && let Some(index) = code.instruction_at(spot.address)
        {
            weights[index] += entry.weight();
        }
    });
    weights
}
