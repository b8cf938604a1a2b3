use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use prof_model::{CommId, Cpu, CpuMode, Pid, Tid};
use prof_profile::{EventInfo, Profile, SampleKey, StackId, Weight};
use rustc_hash::FxHashMap;

use crate::callgraph::{Chain, Limit};
use crate::column::DEFAULT_SORT;
use crate::filter::comm_label;
use crate::place::file_of;
use crate::{
    CallTree, ChainKey, ChainMode, ChainOrder, Column, Fields, PlaceId, Places, ReportOptions,
    SymbolId,
};

/// Which columns a table has and what orders its rows, as the options and the event decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// From left to right.
    pub(crate) columns: Vec<Column>,
    /// Rows are compared by these, the first one first.
    pub(crate) order: Vec<Column>,
    /// Rows differ by these.
    pub(crate) keys: Vec<Column>,
    /// Functions have rows for what they called.
    pub(crate) children: bool,
    /// Rows have callchains.
    pub(crate) chains: bool,
    /// The column for what a function does itself stands beside the one for what it calls.
    pub(crate) overhead_is_self: bool,
    pub(crate) chain_order: ChainOrder,
}

impl Layout {
    pub(crate) fn new(options: &ReportOptions, has_callchain: bool) -> Self {
        let children = options.children && has_callchain;
        let sort = options.sort.as_deref();
        let mut columns = Vec::new();
        let mut order = Vec::new();
        if let Some(Fields::Only(fields)) = &options.fields {
            columns.extend_from_slice(fields);
            order.extend_from_slice(sort.unwrap_or_default());
        } else {
            let shown = [
                (Column::Children, children),
                (Column::Overhead, true),
                (Column::OverheadSys, options.show_cpu_utilization),
                (Column::OverheadUser, options.show_cpu_utilization),
                (Column::Samples, options.show_samples),
                (Column::Period, options.show_period),
            ];
            columns.extend(shown.iter().filter(|(_, shown)| *shown).map(|&(it, _)| it));
            let keys = sort.unwrap_or(&DEFAULT_SORT);
            order.extend([Column::Children].iter().filter(|_| children));
            order.push(Column::Overhead);
            order.retain(|column| !keys.contains(column));
            order.extend_from_slice(keys);
            if let Some(Fields::Also(fields)) = &options.fields {
                append_missing(&mut columns, fields);
            }
        }
        append_missing(&mut columns, &order);
        append_missing(&mut order, &columns);
        Self {
            keys: order.iter().copied().filter(|it| it.is_key()).collect(),
            columns,
            order,
            children,
            overhead_is_self: children && !matches!(options.fields, Some(Fields::Only(_))),
            chains: has_callchain && options.call_graph.mode != ChainMode::None,
            chain_order: options.call_graph.order.unwrap_or(if children {
                ChainOrder::Caller
            } else {
                ChainOrder::Callee
            }),
        }
    }
}

/// Appends what is not there yet, each once.
fn append_missing(columns: &mut Vec<Column>, more: &[Column]) {
    for column in more {
        if !columns.contains(column) {
            columns.push(*column);
        }
    }
}

/// Samples that agree in everything that a row can differ by.
#[derive(Clone, Copy, Debug)]
struct Group {
    sample: SampleKey, // the first one; what is no key of the table is not to be looked at
    weight: Weight,
}

/// Where a row's function stands in a group's callchain: the chain from `start` on is the row's.
#[derive(Clone, Copy, Debug)]
struct Occurrence {
    row: u32,
    group: u32,
    start: u32,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Samples in which the row's function ran itself.
    pub own: Weight,
    /// Samples in which it was on the stack; equal to `own` if callers have no rows.
    pub total: Weight,
    /// The period of those in kernel mode, by themselves.
    pub own_kernel: u64,
    /// The period of those in user mode, by themselves.
    pub own_user: u64,
    keys: Vec<u64>, // ranks: they compare as what they stand for
    thread: (Pid, Tid),
    depth: usize, // of the deepest callchain
    index: u32,   // before sorting
}

/// The rows of one event.
#[derive(Debug)]
pub struct Table<'a> {
    profile: &'a Profile,
    places: &'a Places,
    options: &'a ReportOptions,
    layout: Layout,
    event: &'a EventInfo,
    counted: Weight,
    rows: Vec<Row>,
    groups: Vec<Group>,
    chains: Chains,
    occurrences: Vec<Occurrence>, // by row, as Row::index has it
    comms: Vec<String>,
    comm_ranks: FxHashMap<(Option<CommId>, Tid), u64>,
    pid_comms: BTreeMap<Pid, String>,
    tid_comms: BTreeMap<Tid, String>,
}

/// The callchains of all stacks, each once, one after the other in the order of traversal.
#[derive(Clone, Debug, Default)]
struct Chains {
    places: Vec<PlaceId>,
    labels: Vec<u32>,
    of_stack: FxHashMap<StackId, Range<usize>>,
}

impl<'a> Table<'a> {
    /// Groups the samples of `event`, an index into the profile's events, into rows. `None` if
    /// there is no such event, or no sample of it.
    pub fn new(
        profile: &'a Profile,
        places: &'a Places,
        options: &'a ReportOptions,
        event: u16,
    ) -> Option<Self> {
        let info = profile.events.get(usize::from(event))?;
        let mut samples = profile.sorted_samples(event);
        if options.hide_unresolved {
            samples.retain(|(key, _)| match profile.stacks().frames(key.stack).next() {
                Some(frame) => places.symbol_at(places.physical(frame)).is_named(),
                None => false,
            });
        }
        if samples.is_empty() {
            return None;
        }
        let all: Weight = samples.iter().map(|&(_, weight)| weight).sum();
        let filter = options.filter.compile(profile, places);
        samples.retain(|(key, _)| filter.passes(profile, key));
        let passed: Weight = samples.iter().map(|&(_, weight)| weight).sum();
        let mut table = Self {
            profile,
            places,
            options,
            layout: Layout::new(options, info.has_callchain),
            event: info,
            counted: if options.relative_percent {
                passed
            } else {
                all
            },
            rows: Vec::new(),
            groups: Vec::new(),
            chains: Chains::default(),
            occurrences: Vec::new(),
            comms: Vec::new(),
            comm_ranks: FxHashMap::default(),
            pid_comms: BTreeMap::new(),
            tid_comms: BTreeMap::new(),
        };
        table.name_threads(&samples);
        table.group(samples);
        table.lay_out_chains();
        table.fill_rows();
        table.sort_rows();
        Some(table)
    }

    /// The event that the table is about.
    pub fn event(&self) -> &EventInfo {
        self.event
    }

    /// What shares are shares of.
    pub fn counted(&self) -> Weight {
        self.counted
    }

    /// The rows in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The columns from left to right.
    pub fn columns(&self) -> &[Column] {
        &self.layout.columns
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn options(&self) -> &ReportOptions {
        self.options
    }

    pub(crate) fn places(&self) -> &Places {
        self.places
    }

    /// The share of `period` in percent.
    pub fn percent(&self, period: u64) -> f64 {
        match self.counted.period {
            0 => 0.0,
            total => period as f64 * 100.0 / total as f64,
        }
    }

    /// What decides whether a row is shown, and what its call tree adds up to.
    pub fn main_weight(&self, row: &Row) -> Weight {
        if self.layout.children {
            row.total
        } else {
            row.own
        }
    }

    /// The value of a weight column, in percent, samples or events.
    pub fn value(&self, row: &Row, column: Column) -> Option<f64> {
        Some(match column {
            Column::Children => self.percent(row.total.period),
            Column::Overhead => self.percent(row.own.period),
            Column::OverheadSys => self.percent(row.own_kernel),
            Column::OverheadUser => self.percent(row.own_user),
            Column::Samples => row.own.samples as f64,
            Column::Period => row.own.period as f64,
            _ => return None,
        })
    }

    fn key(&self, row: &Row, column: Column) -> Option<u64> {
        let index = self.layout.keys.iter().position(|&key| key == column)?;
        row.keys.get(index).copied()
    }

    /// The function that a row is about, if rows differ by function.
    pub fn symbol(&self, row: &Row) -> Option<SymbolId> {
        let rank = self.key(row, Column::Symbol)?;
        Some(SymbolId(rank as u32))
    }

    /// The text of a key column; empty for a column that is no key of the table.
    pub fn label(&self, row: &Row, column: Column) -> String {
        let Some(rank) = self.key(row, column) else {
            return String::new();
        };
        let index = rank as usize;
        let id = rank as i64 + i64::from(i32::MIN);
        let thread = |comms: &str| format!("{id:>7}:{comms}");
        match column {
            Column::Pid => thread(&self.pid_comms[&Pid(id as i32)]),
            Column::Tid => thread(&self.tid_comms[&Tid(id as i32)]),
            Column::Comm => self.comms[index].clone(),
            Column::Dso => self.places.dso_name_by_rank(index).to_owned(),
            Column::Symbol => self.places.symbol(SymbolId(index as u32)).in_column(),
            Column::Cpu if rank == 0 => "-001".to_owned(),
            Column::Cpu => format!("{:03}", rank - 1),
            Column::SourceLine => self.places.line_by_rank(index).to_owned(),
            Column::SourceFile => file_of(self.places.line_by_rank(index)).to_owned(),
            Column::SymbolSize => rank.to_string(),
            _ => String::new(),
        }
    }

    /// Gives every thread name its rank, and every process and thread the name that stands for it:
    /// that of the main thread where it was sampled.
    fn name_threads(&mut self, samples: &[(SampleKey, Weight)]) {
        let mut names: FxHashMap<(Option<CommId>, Tid), String> = FxHashMap::default();
        for (key, _) in samples {
            let name = names
                .entry(comm_key(key))
                .or_insert_with(|| comm_label(self.profile, key));
            let is_main = key.pid.0 == key.tid.0;
            if is_main || !self.pid_comms.contains_key(&key.pid) {
                self.pid_comms.insert(key.pid, name.clone());
            }
            self.tid_comms
                .entry(key.tid)
                .or_insert_with(|| name.clone());
        }
        self.comms = names.values().cloned().collect();
        self.comms.sort_unstable();
        self.comms.dedup();
        let comms = &self.comms;
        self.comm_ranks = names
            .into_iter()
            .map(|(key, name)| (key, comms.partition_point(|other| *other < name) as u64))
            .collect();
    }

    /// Merges samples that no key tells apart: a stack is then walked once, however many threads
    /// and CPUs it was seen on.
    fn group(&mut self, samples: Vec<(SampleKey, Weight)>) {
        let has = |column| self.layout.keys.contains(&column);
        let (pid, tid) = (has(Column::Pid), has(Column::Tid));
        let (comm, cpu) = (has(Column::Comm), has(Column::Cpu));
        type Projection = (Option<u64>, Option<Pid>, Option<Tid>, Option<Cpu>, StackId);
        let mut index: FxHashMap<Projection, usize> = FxHashMap::default();
        for (sample, weight) in samples {
            let projection = (
                comm.then(|| self.comm_ranks[&comm_key(&sample)]),
                pid.then_some(sample.pid),
                tid.then_some(sample.tid),
                sample.cpu.filter(|_| cpu),
                sample.stack,
            );
            let next = self.groups.len();
            let at = *index.entry(projection).or_insert(next);
            if at == next {
                let weight = Weight::default();
                self.groups.push(Group { sample, weight });
            }
            self.groups[at].weight += weight;
        }
    }

    /// Writes down the chain of every stack, cut to the wanted depth.
    fn lay_out_chains(&mut self) {
        let labels = self.labels();
        let mut frames = Vec::new();
        for group in &self.groups {
            let stack = group.sample.stack;
            if self.chains.of_stack.contains_key(&stack) {
                continue;
            }
            frames.clear();
            frames.extend(self.profile.stacks().frames(stack)); // innermost first
            let callers_first = self.layout.chain_order == ChainOrder::Caller;
            if callers_first {
                frames.reverse();
            }
            frames.truncate(self.options.max_stack);
            let start = self.chains.places.len();
            for &frame in &frames {
                let places = self.places.of_frame(frame);
                let at = self.chains.places.len();
                self.chains.places.extend(places.filter(|&place| {
                    !self.options.hide_unresolved || self.places.symbol_at(place).is_named()
                }));
                if callers_first {
                    self.chains.places[at..].reverse();
                }
            }
            let chain = start..self.chains.places.len();
            let places = &self.chains.places[chain.clone()];
            let chain_labels = places.iter().map(|place| labels[place.index()]);
            self.chains.labels.extend(chain_labels);
            self.chains.of_stack.insert(stack, chain);
        }
    }

    /// For each place a number that equal nodes share. Numbers ascend as branches of equal weight
    /// are drawn: by descending address, as perf's are within a module.
    fn labels(&self) -> Vec<u32> {
        let key = |id: usize| {
            let place = &self.places.all()[id];
            let symbol = self.places.symbol(place.symbol);
            let by_function = (symbol.dso, symbol.start, place.symbol.0);
            match self.options.call_graph.key {
                ChainKey::Function => (by_function, 0),
                ChainKey::Address => {
                    let shown = self.profile.frame(place.frame).shown;
                    ((symbol.dso, shown, place.symbol.0), 0)
                }
                ChainKey::SourceLine => (by_function, place.line),
            }
        };
        let mut order: Vec<_> = (0..self.places.all().len())
            .map(|id| (key(id), id))
            .collect();
        order.sort_unstable_by(|left, right| right.cmp(left));
        let mut labels = vec![0; order.len()];
        let groups = order.chunk_by(|left, right| left.0 == right.0);
        for (label, group) in groups.enumerate() {
            for &(_, place) in group {
                labels[place] = label as u32;
            }
        }
        labels
    }

    fn fill_rows(&mut self) {
        let mut builder = RowBuilder {
            table: self,
            ids: FxHashMap::default(),
            rows: Vec::new(),
            last_group: Vec::new(),
            occurrences: Vec::new(),
            scratch: Vec::new(),
        };
        for group in 0..builder.table.groups.len() {
            builder.add_group(group);
        }
        let RowBuilder {
            rows,
            mut occurrences,
            ..
        } = builder;
        occurrences.sort_by_key(|occurrence| occurrence.row); // stable: by group within a row
        self.rows = rows;
        self.occurrences = occurrences;
    }

    fn sort_rows(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        let threads = self.thread_order(&rows);
        let callers_first = self.layout.chain_order == ChainOrder::Caller;
        let caller_first = |row: &Row| match threads.get(&(row.total.period, row.thread)) {
            Some(&rank) if callers_first => (rank, -(row.depth as i64)),
            Some(&rank) => (rank, row.depth as i64),
            None => (0, 0),
        };
        rows.sort_by(|left, right| {
            let by_column = self.layout.order.iter().map(|&column| match column {
                Column::Children => right
                    .total
                    .period
                    .cmp(&left.total.period)
                    .then_with(|| caller_first(left).cmp(&caller_first(right))),
                Column::Overhead => right.own.period.cmp(&left.own.period),
                Column::OverheadSys => right.own_kernel.cmp(&left.own_kernel),
                Column::OverheadUser => right.own_user.cmp(&left.own_user),
                Column::Samples => right.own.samples.cmp(&left.own.samples),
                Column::Period => right.own.period.cmp(&left.own.period),
                key => self.key(left, key).cmp(&self.key(right, key)),
            });
            by_column
                .fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
                .then_with(|| left.keys.cmp(&right.keys))
        });
        self.rows = rows;
    }

    /// Of rows with the same total in one thread the callers come first. Those of another thread
    /// come before or after all of these, so that the order has no circles: perf compares rows of
    /// two threads by other columns, and what then comes first depends on the order of insertion.
    ///
    /// Returns the rank of each total and thread; empty if the table has no callchains.
    fn thread_order(&self, rows: &[Row]) -> FxHashMap<(u64, (Pid, Tid)), usize> {
        if !self.layout.chains {
            return FxHashMap::default();
        }
        let mut best = FxHashMap::default();
        for row in rows {
            let candidate = (Reverse(row.own.period), &row.keys[..]);
            let lead = best.entry((row.total.period, row.thread));
            let lead = lead.or_insert(candidate);
            *lead = candidate.min(*lead);
        }
        let mut order: Vec<_> = best.into_iter().map(|(key, lead)| (lead, key)).collect();
        order.sort_unstable();
        let ranks = order.into_iter().enumerate();
        ranks.map(|(rank, (_, key))| (key, rank)).collect()
    }

    /// Which branches of a call tree are kept.
    fn chain_limit(&self) -> Limit {
        let call_graph = &self.options.call_graph;
        Limit::new(call_graph.mode, call_graph.min_percent, self.counted.period)
    }

    /// The smallest period of a branch that is a share of the total.
    pub(crate) fn min_chain_period(&self) -> u64 {
        match self.chain_limit() {
            Limit::Period(period) => period,
            Limit::OfParent(_) => 0,
        }
    }

    /// The callchains of a row of this table; empty if they are not wanted or too light.
    pub fn call_tree(&self, row: &Row) -> CallTree {
        if !self.layout.chains || self.main_weight(row).period < self.min_chain_period() {
            return CallTree::default();
        }
        let first = self.occurrences.partition_point(|it| it.row < row.index);
        let chains = self.occurrences[first..]
            .iter()
            .take_while(|it| it.row == row.index)
            .map(|it| {
                let group = &self.groups[it.group as usize];
                let chain = &self.chains.of_stack[&group.sample.stack];
                let range = chain.start + it.start as usize..chain.end;
                Chain {
                    labels: &self.chains.labels[range.clone()],
                    places: &self.chains.places[range],
                    weight: group.weight,
                }
            });
        CallTree::build(chains.collect(), self.chain_limit())
    }
}

/// A thread without a name is named after its id, one with a name only by that.
fn comm_key(key: &SampleKey) -> (Option<CommId>, Tid) {
    match key.comm {
        Some(comm) => (Some(comm), Tid(0)),
        None => (None, key.tid),
    }
}

/// The rows so far, while groups are added.
struct RowBuilder<'t, 'a> {
    table: &'t Table<'a>,
    ids: FxHashMap<Box<[u64]>, u32>,
    rows: Vec<Row>,
    last_group: Vec<usize>, // by row: a recursive function counts once per sample
    occurrences: Vec<Occurrence>,
    scratch: Vec<u64>,
}

impl RowBuilder<'_, '_> {
    fn add_group(&mut self, index: usize) {
        let table = self.table;
        let Group { sample, weight } = table.groups[index];
        let Some(frame) = table.profile.stacks().frames(sample.stack).next() else {
            return; // Profile::add never makes such a stack
        };
        let chain = table.chains.of_stack[&sample.stack].clone();
        let depth = chain.len();

        let own = self.row(index, &sample, table.places.physical(frame));
        let row = &mut self.rows[own as usize];
        row.own += weight;
        row.total += weight;
        match table.profile.frame(frame).mode {
            CpuMode::Kernel | CpuMode::GuestKernel => {
                row.own_kernel = row.own_kernel.saturating_add(weight.period);
            }
            CpuMode::User | CpuMode::GuestUser => {
                row.own_user = row.own_user.saturating_add(weight.period);
            }
            CpuMode::Hypervisor | CpuMode::Unknown => {}
        }
        row.depth = row.depth.max(depth);
        self.note(own, index, 0);

        if !table.layout.children {
            return;
        }
        for (start, &place) in table.chains.places[chain].iter().enumerate() {
            let before = self.rows.len();
            let id = self.row_id(&sample, place);
            if id as usize != before && self.last_group[id as usize] == index {
                continue;
            }
            self.last_group[id as usize] = index;
            let row = &mut self.rows[id as usize];
            row.total += weight;
            row.depth = row.depth.max(depth - start);
            self.note(id, index, start as u32);
        }
    }

    /// The row of a group's own function, which then is not counted again as its caller.
    fn row(&mut self, group: usize, sample: &SampleKey, place: PlaceId) -> u32 {
        let id = self.row_id(sample, place);
        self.last_group[id as usize] = group;
        id
    }

    fn note(&mut self, row: u32, group: usize, start: u32) {
        if self.table.layout.chains {
            self.occurrences.push(Occurrence {
                row,
                group: group as u32,
                start,
            });
        }
    }

    fn row_id(&mut self, sample: &SampleKey, place: PlaceId) -> u32 {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        for &column in &self.table.layout.keys {
            scratch.push(self.rank(column, sample, place));
        }
        let id = match self.ids.get(&scratch[..]) {
            Some(&id) => id,
            None => {
                let id = self.rows.len() as u32;
                self.ids.insert(scratch.clone().into_boxed_slice(), id);
                self.last_group.push(usize::MAX);
                self.rows.push(Row {
                    own: Weight::default(),
                    total: Weight::default(),
                    own_kernel: 0,
                    own_user: 0,
                    keys: scratch.clone(),
                    thread: (sample.pid, sample.tid),
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
    fn rank(&self, column: Column, sample: &SampleKey, place: PlaceId) -> u64 {
        let table = self.table;
        let id_rank = |id: i32| (i64::from(id) - i64::from(i32::MIN)) as u64;
        let place = table.places.get(place);
        match column {
            Column::Pid => id_rank(sample.pid.0),
            Column::Tid => id_rank(sample.tid.0),
            Column::Comm => table.comm_ranks[&comm_key(sample)],
            Column::Cpu => sample.cpu.map_or(0, |cpu| u64::from(cpu.0) + 1),
            Column::Symbol => u64::from(place.symbol.0),
            Column::Dso => u64::from(table.places.symbol(place.symbol).dso_name),
            Column::SymbolSize => table.places.symbol(place.symbol).size,
            Column::SourceLine => u64::from(place.line),
            Column::SourceFile => table.places.first_line_of_file(place.line),
            Column::Children
            | Column::Overhead
            | Column::OverheadSys
            | Column::OverheadUser
            | Column::Samples
            | Column::Period => 0,
        }
    }
}
