use prof_model::CpuMode;
use prof_profile::Weight;
use rustc_hash::FxHashMap;

use crate::hist::{Counts, Entry, Group, Occurrence, Row, StackChain, Table};
use crate::{Column, PlaceId};

/// The rows so far, while groups are added.
pub(crate) struct RowBuilder<'t, 'a> {
    table: &'t Table<'a>,
    ids: FxHashMap<Box<[u64]>, u32>,
    rows: Vec<Row>,
    last_group: Vec<usize>, // by row: a recursive function counts once per sample
    occurrences: Vec<Occurrence>,
    scratch: Vec<u64>,
}

impl<'t, 'a> RowBuilder<'t, 'a> {
    /// The rows that the table's groups fill, and where in callchains they stand.
    pub(crate) fn rows_of(table: &'t Table<'a>) -> (Vec<Row>, Vec<Occurrence>) {
        let mut this = Self {
            table,
            ids: FxHashMap::default(),
            rows: Vec::new(),
            last_group: Vec::new(),
            occurrences: Vec::new(),
            scratch: Vec::new(),
        };
        for group in 0..table.groups.len() {
            this.add_group(group);
        }
        (this.rows, this.occurrences)
    }

    fn add_group(&mut self, index: usize) {
        let table = self.table;
        let Group { member, entry } = table.groups[index];
        let Some(chain) = table.chains.of_stack.get(&entry.sample.stack) else {
            return; // Profile::add never makes such a stack
        };
        let depth = chain.range.len();
        let place = table.places.physical(chain.own);
        let own = self.row(index, &entry, chain, place);
        let counts = self.counts(own, member, depth);
        counts.own += entry.weight;
        counts.total += entry.weight;
        match table.profile.frame(chain.own).mode {
            CpuMode::Kernel | CpuMode::GuestKernel => add(&mut counts.own_kernel, entry.weight),
            CpuMode::User | CpuMode::GuestUser => add(&mut counts.own_user, entry.weight),
            CpuMode::Hypervisor | CpuMode::Unknown => {}
        }
        self.note(own, index, 0);

        if !table.layout.children {
            return;
        }
        let places = &table.chains.places[chain.range.clone()];
        for (start, &place) in places.iter().enumerate() {
            let before = self.rows.len();
            let id = self.row_id(&entry, chain, place);
            if id as usize != before && self.last_group[id as usize] == index {
                continue;
            }
            self.last_group[id as usize] = index;
            self.counts(id, member, depth - start).total += entry.weight;
            self.note(id, index, start as u32);
        }
    }

    /// What a row counts of an event; it lies on a callchain of that depth.
    fn counts(&mut self, row: u32, member: usize, depth: usize) -> &mut Counts {
        let row = &mut self.rows[row as usize];
        row.depth = row.depth.max(depth);
        &mut row.counts[member]
    }

    /// The row of a group's own function, which then is not counted again as its caller.
    fn row(&mut self, group: usize, entry: &Entry, chain: &StackChain, place: PlaceId) -> u32 {
        let id = self.row_id(entry, chain, place);
        self.last_group[id as usize] = group;
        id
    }

    fn note(&mut self, row: u32, group: usize, start: u32) {
        // The callchains of a row are those of the first event.
        if self.table.layout.chains && self.table.groups[group].member == 0 {
            self.occurrences.push(Occurrence {
                row,
                group: group as u32,
                start,
            });
        }
    }

    fn row_id(&mut self, entry: &Entry, chain: &StackChain, place: PlaceId) -> u32 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        for &column in &self.table.layout.keys {
            scratch.push(self.rank(column, entry, chain, place));
        }
        let id = match self.ids.get(&scratch[..]) {
            Some(&id) => id,
            None => {
                let id = self.rows.len() as u32;
                self.ids.insert(scratch.clone().into_boxed_slice(), id);
                self.last_group.push(usize::MAX);
                self.rows.push(Row {
                    counts: vec![Counts::default(); self.table.members().len()],
                    keys: scratch.clone(),
                    thread: (entry.sample.pid, entry.sample.tid),
                    depth: 0,
                    index: id,
                });
                id
            }
        };
        self.scratch = scratch;
        id
    }

    /// A key's value as a number that compares as the value does.
    fn rank(&self, column: Column, entry: &Entry, chain: &StackChain, place: PlaceId) -> u64 {
        let table = self.table;
        let id_rank = |id: i32| (i64::from(id) - i64::from(i32::MIN)) as u64;
        let place = table.places.get(place);
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
            Column::Symbol => u64::from(place.symbol.0),
            Column::Dso => u64::from(table.places.symbol(place.symbol).dso_name),
            Column::SymbolSize => table.places.symbol(place.symbol).size,
            Column::SourceLine => u64::from(place.line),
            Column::SourceFile => table.places.first_line_of_file(place.line),
            Column::Parent => table.parent_rank(chain.parent),
            Column::Time => {
                let detail = entry.detail.map(|detail| table.profile.detail(detail));
                detail.map_or(0, |detail| detail.interval)
            }
            Column::Trace => entry.detail.map_or(0, |detail| table.text_rank(detail)),
            Column::Children
            | Column::Overhead
            | Column::OverheadSys
            | Column::OverheadUser
            | Column::Samples
            | Column::Period => 0,
        }
    }
}

fn add(period: &mut u64, weight: Weight) {
    *period = period.saturating_add(weight.period);
}
