use std::hash::BuildHasher;

use hashbrown::{HashTable, hash_table};
use prof_model::CpuMode;
use prof_profile::Weight;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::{SmallVec, smallvec};

use crate::chains::StackChain;
use crate::hist::{Counts, Entry, Group, Row, Table};
use crate::{Column, PlaceId};

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

/// No row: its function was counted for the group already.
const COUNTED: u32 = u32::MAX;

/// The rows so far, while groups are added.
pub(crate) struct RowBuilder<'t, 'a> {
    table: &'t Table<'a>,
    rows: Vec<Row>,
    last_group: Vec<u32>, // by row: a recursive function counts once per sample
    ids: HashTable<u32>,  // rows by their keys
    /// Rows by what is the same for all frames of a group, and by frame: the short way to `ids`.
    known: FxHashMap<(u32, PlaceId), u32>,
    stems: FxHashMap<Keys, u32>,
    last_stem: (Keys, u32),
    /// For each group the row of its own function, and of each frame of its chain.
    passed: Vec<u32>,
}

impl<'t, 'a> RowBuilder<'t, 'a> {
    /// With the rows that the table's groups fill.
    pub(crate) fn of(table: &'t Table<'a>) -> Self {
        let mut this = Self {
            table,
            rows: Vec::with_capacity(table.places.symbols().len()),
            last_group: Vec::new(),
            ids: HashTable::new(),
            known: FxHashMap::default(),
            stems: FxHashMap::default(),
            last_stem: (Keys::new(), 0),
            passed: Vec::new(),
        };
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
        let chain = table.chains.get(chain);
        let group = index as u32;
        let depth = chain.depth();
        let stem = self.stem(&entry, chain);
        let own = self.row(stem, chain.own, &entry);
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
        for (start, &place) in table.chains.places(chain).iter().enumerate() {
            let row = self.row(stem, place, &entry);
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
    fn counts(&mut self, row: u32, member: usize, depth: usize) -> &mut Counts {
        let row = &mut self.rows[row as usize];
        row.depth = row.depth.max(depth);
        &mut row.counts[member]
    }

    /// A number for what all frames of a group have in common.
    fn stem(&mut self, entry: &Entry, chain: &StackChain) -> u32 {
        let keys = self.table.layout.keys.iter();
        let stem: Keys = keys
            .map(|&column| self.common_rank(column, entry, chain))
            .collect();
        if self.last_stem.0 == stem {
            return self.last_stem.1;
        }
        let next = self.stems.len() as u32;
        let number = *self.stems.entry(stem.clone()).or_insert(next);
        self.last_stem = (stem, number);
        number
    }

    /// The row of a frame of a group; `self.last_stem` is the group's.
    fn row(&mut self, stem: u32, place: PlaceId, entry: &Entry) -> u32 {
        if let Some(&row) = self.known.get(&(stem, place)) {
            return row;
        }
        let mut keys = self.last_stem.0.clone();
        for (key, &column) in keys.iter_mut().zip(&self.table.layout.keys) {
            if let Some(rank) = self.place_rank(column, place) {
                *key = rank;
            }
        }
        let rows = &mut self.rows;
        let is_same = |&row: &u32| rows[row as usize].keys == keys;
        let hash = |&row: &u32| FxBuildHasher.hash_one(&rows[row as usize].keys);
        let known = self.ids.entry(FxBuildHasher.hash_one(&keys), is_same, hash);
        let row = match known {
            hash_table::Entry::Occupied(known) => *known.get(),
            hash_table::Entry::Vacant(vacant) => {
                let next = rows.len() as u32;
                vacant.insert(next);
                self.last_group.push(u32::MAX);
                rows.push(Row {
                    counts: smallvec![Counts::default(); self.table.members().len()],
                    keys,
                    thread: (entry.sample.pid, entry.sample.tid),
                    depth: 0,
                    index: next,
                });
                next
            }
        };
        self.known.insert((stem, place), row);
        row
    }

    /// A key's value as a number that compares as the value does; 0 if it is the frame's.
    fn common_rank(&self, column: Column, entry: &Entry, chain: &StackChain) -> u64 {
        let table = self.table;
        let id_rank = |id: i32| (i64::from(id) - i64::from(i32::MIN)) as u64;
        let sample = &entry.sample;
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
            Column::Time => {
                let detail = entry.detail.map(|detail| table.profile.detail(detail));
                detail.map_or(0, |detail| detail.interval)
            }
            Column::Trace => entry.detail.map_or(0, |detail| table.text_rank(detail)),
            _ => 0,
        }
    }

    /// The value of a key that a frame decides; `None` for the others.
    fn place_rank(&self, column: Column, place: PlaceId) -> Option<u64> {
        let places = self.table.places;
        let place = places.get(place);
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

fn add(period: &mut u64, weight: Weight) {
    *period = period.saturating_add(weight.period);
}
