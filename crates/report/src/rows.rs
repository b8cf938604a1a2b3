use prof_model::{CpuMode, Pid, Tid};
use prof_profile::{ContextId, DetailId, SampleKey, Unit, Weight};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use crate::branches::{BranchEnd, outcome_rank};
use crate::chains::StackChain;
use crate::hist::{Counts, Entry, Group, Row, Table};
use crate::{Column, PlaceId, SymbolId, ThreadState};

/// The ranks of a row's keys: they compare as what they stand for.
pub(crate) type Keys = SmallVec<[u64; 3]>;

/// Where a row's function stands in a group's callchain: the chain from `start` on is the row's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    pub(crate) group: u32,
    pub(crate) start: u32,
}

/// Where the functions of rows stand in callchains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occurrences {
    all: Vec<Occurrence>, // by row, then by group
    first: Vec<u32>,      // of each row, and the end
}

impl Occurrences {
    /// Those of a row, by its index before sorting.
    pub(crate) fn of(&self, row: u32) -> &[Occurrence] {
        match self.first.get(row as usize..row as usize + 2) {
            Some(&[start, end]) => &self.all[start as usize..end as usize],
            _ => &[],
        }
    }
}

/// No stem and no row.
const NOT_FOUND: (u32, u32) = (u32::MAX, u32::MAX);
/// No row: its function was counted for the group already.
const COUNTED: u32 = u32::MAX;

/// The rows so far, while groups are added.
pub(crate) struct RowBuilder<'t, 'a> {
    table: &'t Table<'a>,
    rows: Vec<Row>,
    last_group: Vec<u32>, // by row: a recursive function counts once per sample
    kinds: Vec<u32>,      // by place: equal where rows differ by the stem only
    known: FxHashMap<(u32, u32), u32>, // rows by stem and kind
    last: Vec<(u32, u32)>, // by kind: the stem and the row that were found last
    stems: FxHashMap<Keys, u32>,
    threads: FxHashMap<(Pid, Tid), u32>,
    common: Common,
    /// For each group the row of its own function, and of each frame of its chain.
    passed: Vec<u32>,
}

/// What decides what the rows of a group have in common: context, detail, parent, state, and where a branch came
/// from.
type Decisive = (
    ContextId,
    Option<DetailId>,
    Option<SymbolId>,
    Option<ThreadState>,
    Option<PlaceId>,
);

/// What the rows of all frames of a group have in common.
#[derive(Default)]
struct Common {
    of: Option<Decisive>,
    keys: Keys, // 0 for those of frames
    stem: u32,  // stands for `keys`
    thread: u32,
}

impl<'t, 'a> RowBuilder<'t, 'a> {
    /// With the rows that the table's groups fill.
    pub(crate) fn of(table: &'t Table<'a>) -> Self {
        let rows = table.groups.len() + table.places.symbols().len(); // an estimate
        let kinds = kinds(table);
        let mut this = Self {
            table,
            rows: Vec::with_capacity(rows),
            last_group: Vec::with_capacity(rows),
            last: vec![NOT_FOUND; kinds.iter().max().map_or(0, |&kind| kind as usize + 1)],
            kinds,
            known: FxHashMap::default(),
            stems: FxHashMap::default(),
            threads: FxHashMap::default(),
            common: Common::default(),
            passed: Vec::new(),
        };
        this.known.reserve(rows);
        for group in 0..table.groups.len() {
            this.add_group(group);
        }
        this
    }

    /// The rows, in the order in which groups came first.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The same.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    fn add_group(&mut self, index: usize) {
        let table = self.table;
        let Group {
            member,
            chain,
            entry,
        } = table.groups[index];
        let member = member as usize;
        let chain = table.chains.get(chain);
        let group = index as u32;
        let depth = chain.depth() as u32;
        self.enter(&entry, chain);
        let own = self.row(chain.own);
        self.last_group[own as usize] = group;
        let counts = self.counts(own, member, depth);
        counts.own += entry.weight;
        counts.total += entry.weight;
        match chain.mode {
            CpuMode::Kernel | CpuMode::GuestKernel => add(&mut counts.own_kernel, entry.weight),
            CpuMode::User | CpuMode::GuestUser => add(&mut counts.own_user, entry.weight),
            CpuMode::Hypervisor | CpuMode::Unknown => {}
        }
        // The callchains of a row are those of the first event.
        let is_noted = table.layout.chains && member == 0;
        if is_noted {
            self.passed.push(own);
        }
        if !table.layout.children {
            return;
        }
        for (start, &place) in (0..).zip(table.chains.places(chain)) {
            let row = self.row(place);
            let is_counted = self.last_group[row as usize] == group;
            if !is_counted {
                self.last_group[row as usize] = group;
                self.counts(row, member, depth - start).total += entry.weight;
            }
            if is_noted {
                self.passed.push(if is_counted { COUNTED } else { row });
            }
        }
    }

    /// What a row counts of an event; it lies on a callchain of that depth.
    fn counts(&mut self, row: u32, member: usize, depth: u32) -> &mut Counts {
        let row = &mut self.rows[row as usize];
        row.depth = row.depth.max(depth);
        &mut row.counts[member]
    }

    /// Turns to the group of an entry and a chain.
    fn enter(&mut self, entry: &Entry, chain: &StackChain) {
        let of = (
            entry.context,
            entry.detail,
            chain.parent,
            chain.state,
            chain.from,
        );
        let of = Some(of);
        if self.common.of == of {
            return;
        }
        let sample = self.table.profile.context(entry.context);
        let keys = self.table.layout.keys.iter();
        let keys: Keys = keys
            .map(|&column| self.common_rank(column, sample, entry.detail, chain))
            .collect();
        let next = self.stems.len() as u32;
        let stem = *self.stems.entry(keys.clone()).or_insert(next);
        let next = self.threads.len() as u32;
        let thread = self.threads.entry((sample.pid, sample.tid));
        self.common = Common {
            of,
            keys,
            stem,
            thread: *thread.or_insert(next),
        };
    }

    /// The row of a frame of the group that was entered.
    fn row(&mut self, place: PlaceId) -> u32 {
        let (stem, kind) = (self.common.stem, self.kinds[place.index()]);
        let (last_stem, last_row) = self.last[kind as usize];
        if last_stem == stem {
            return last_row; // nearly always: groups of one thread come one after the other
        }
        let next = self.rows.len() as u32;
        let row = *self.known.entry((stem, kind)).or_insert(next);
        if row == next {
            self.add_row(place);
        }
        self.last[kind as usize] = (stem, row);
        row
    }

    fn add_row(&mut self, place: PlaceId) {
        let mut keys = self.common.keys.clone();
        for (key, &column) in keys.iter_mut().zip(&self.table.layout.keys) {
            if let Some(rank) = place_rank(self.table, column, place) {
                *key = rank;
            }
        }
        self.last_group.push(u32::MAX);
        self.rows.push(Row {
            counts: smallvec![Counts::default(); self.table.members().len()],
            keys,
            thread: self.common.thread,
            depth: 0,
            index: self.rows.len() as u32,
        });
    }

    /// A key's value as a number that compares as the value does; 0 if it is the frame's.
    fn common_rank(
        &self,
        column: Column,
        sample: &SampleKey,
        detail: Option<DetailId>,
        chain: &StackChain,
    ) -> u64 {
        let table = self.table;
        let id_rank = |id: i32| (i64::from(id) - i64::from(i32::MIN)) as u64;
        match column {
            Column::Pid => id_rank(sample.pid.0),
            Column::Tid => id_rank(sample.tid.0),
            Column::Comm => table.comm_rank(sample),
            Column::Cpu => sample.cpu.map_or(0, |cpu| u64::from(cpu.0) + 1),
            Column::Socket => {
                let sockets = &table.options().sockets;
                let socket = sample.cpu.and_then(|cpu| sockets.get(cpu.0 as usize));
                socket.map_or(0, |&socket| u64::from(socket) + 1)
            }
            Column::Parent => table.parent_rank(chain.parent),
            Column::State => match table.profile.events[usize::from(sample.event)].unit {
                Unit::WaitTime => chain.state.unwrap_or(ThreadState::Other) as u64,
                _ => ThreadState::Running as u64,
            },
            Column::Time => {
                let detail = detail.map(|detail| table.profile.detail(detail));
                detail.map_or(0, |detail| detail.interval)
            }
            Column::Waker => detail.map_or(0, |detail| table.waker_rank(detail)),
            Column::Trace => detail.map_or(0, |detail| table.text_rank(detail)),
            _ if column.is_outcome() => {
                let detail = detail.map(|detail| table.profile.detail(detail));
                detail.map_or(0, |detail| outcome_rank(column, detail.branch))
            }
            _ => match (column.branch_end(), chain.from) {
                (Some((BranchEnd::From, column)), Some(from)) => end_rank(table, column, from),
                _ => 0,
            },
        }
    }

    /// Where in callchains the rows stand; only those that are heavy enough for a call tree.
    pub(crate) fn occurrences(&self) -> Occurrences {
        let table = self.table;
        if self.passed.is_empty() {
            return Occurrences::default();
        }
        let least = table.min_chain_period();
        let heavy = self.rows.iter();
        let heavy: Vec<bool> = heavy
            .map(|row| table.main_weight(row).period >= least)
            .collect();
        let is_heavy = |row: u32| heavy.get(row as usize).is_some_and(|&it| it);
        let mut first = vec![0; self.rows.len() + 1];
        for &row in self.passed.iter().filter(|row| is_heavy(**row)) {
            first[row as usize + 1] += 1;
        }
        for row in 1..first.len() {
            first[row] += first[row - 1];
        }
        let end = first[first.len() - 1] as usize;
        let mut next = first.clone();
        let mut all = vec![Occurrence { group: 0, start: 0 }; end];
        let mut note = |row: u32, group: usize, start: usize| {
            if is_heavy(row) {
                all[next[row as usize] as usize] = Occurrence {
                    group: group as u32,
                    start: start as u32,
                };
                next[row as usize] += 1;
            }
        };
        let mut passed = self.passed.iter();
        for (index, group) in table.groups.iter().enumerate() {
            if group.member != 0 {
                continue;
            }
            let frames = match table.layout.children {
                true => table.chains.get(group.chain).depth(),
                false => 0,
            };
            if let Some(&own) = passed.next() {
                note(own, index, 0);
            }
            for (start, &row) in passed.by_ref().take(frames).enumerate() {
                note(row, index, start);
            }
        }
        Occurrences { all, first }
    }
}

/// For each place a number that those share which only a group's own keys can tell apart.
fn kinds(table: &Table<'_>) -> Vec<u32> {
    let (places, layout) = (table.places, &table.layout);
    if layout.keys.contains(&Column::Symbol) && !layout.has_lines() {
        let symbols = places.all().iter().map(|place| place.symbol.0);
        return symbols.collect(); // it decides the module and the size
    }
    let mut numbers: FxHashMap<Keys, u32> = FxHashMap::default();
    let kinds = places.ids().map(|place| {
        let keys = layout.keys.iter();
        let keys = keys.filter_map(|&column| place_rank(table, column, place));
        let next = numbers.len() as u32;
        *numbers.entry(keys.collect()).or_insert(next)
    });
    kinds.collect()
}

/// The value of a key that a frame decides; `None` for the others.
fn place_rank(table: &Table<'_>, column: Column, id: PlaceId) -> Option<u64> {
    if let Some((BranchEnd::To, column)) = column.branch_end() {
        return Some(end_rank(table, column, id));
    }
    let places = table.places;
    let place = places.get(id);
    let symbol = || places.symbol(place.symbol);
    Some(match column {
        Column::Symbol => u64::from(place.symbol.0),
        Column::Dso => u64::from(symbol().dso_name),
        Column::SymbolSize => symbol().size,
        Column::SourceLine => u64::from(place.line),
        Column::SourceFile => places.first_line_of_file(place.line),
        _ => return None,
    })
}

/// What a column of a function tells of an end of a branch, in the order of branches.
fn end_rank(table: &Table<'_>, column: Column, place: PlaceId) -> u64 {
    let place = table.places.get(place);
    match column {
        Column::Symbol => table.branch_order.rank(place.symbol),
        Column::Dso => {
            let last = table.places.dso_names() - 1;
            (last - table.places.symbol(place.symbol).dso_name as usize) as u64
        }
        _ => u64::from(place.line),
    }
}

fn add(period: &mut u64, weight: Weight) {
    *period = period.saturating_add(weight.period);
}
