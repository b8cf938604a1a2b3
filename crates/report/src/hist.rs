use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic;
use std::thread::{self, Builder, ScopedJoinHandle};

use prof_model::{CommId, Cpu, Pid, Tid, printable};
use prof_profile::{ContextId, DetailId, EventInfo, Profile, SampleKey, StackId, Weight};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::branches::{BranchOrder, outcome_label};
use crate::callgraph::{Chain, Limit};
use crate::chains::{ChainId, Chains};
use crate::filter::comm_label;
use crate::layout::Layout;
use crate::order::{Value, arrange, sort_by_values};
use crate::place::file_of;
use crate::rows::{Keys, Occurrences, RowBuilder};
use crate::wait_functions::waker_functions;
use crate::{CallTree, ChainOrder, Column, Places, ReportOptions, SymbolId, ThreadState};

/// Samples of one thread and stack; apart by their detail where rows can differ by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) context: ContextId,
    pub(crate) stack: StackId,
    pub(crate) detail: Option<DetailId>,
    pub(crate) weight: Weight,
}

const _: () = assert!(size_of::<Entry>() == 32); // one per entry of the profile

/// Samples that agree in everything that a row can differ by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Which event of the table.
    pub(crate) member: u32,
    /// Its callchain.
    pub(crate) chain: ChainId,
    /// The first one; what is no key of the table is not to be looked at.
    pub(crate) entry: Entry,
}

/// What a row counts of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Samples in which the row's function ran itself.
    pub own: Weight,
    /// Samples in which it was on the stack; equal to `own` if callers have no rows.
    pub total: Weight,
    /// The period of those in kernel mode, by themselves.
    pub own_kernel: u64,
    /// The period of those in user mode, by themselves.
    pub own_user: u64,
}

impl Counts {
    /// What a column without percentages shows.
    pub(crate) fn number(&self, column: Column) -> Option<u64> {
        match column {
            Column::Samples => Some(self.own.samples),
            Column::Period => Some(self.own.period),
            _ => None,
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub(crate) counts: SmallVec<[Counts; 1]>,
    pub(crate) keys: Keys,
    pub(crate) thread: u32, // equal where the first sample is of one thread
    pub(crate) depth: u32,  // of the deepest callchain
    pub(crate) index: u32,  // before sorting
}

impl Row {
    /// What it counts, by event, the table's first one first.
    pub fn counts(&self) -> &[Counts] {
        &self.counts
    }

    /// What it counts of the table's first event.
    pub fn first(&self) -> &Counts {
        &self.counts[0]
    }
}

/// An event of a table.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What it is.
    pub event: &'a EventInfo,
    /// What its shares are shares of.
    pub counted: Weight,
}

/// Who ended waits, by their names.
#[derive(Debug, Default)]
struct Wakers {
    names: Vec<String>, // ascending; the first is of those that are not known
    ranks: FxHashMap<DetailId, u64>,
}

impl Wakers {
    fn of(profile: &Profile, places: &Places, details: impl Iterator<Item = DetailId>) -> Self {
        let mut of_details: FxHashMap<DetailId, String> = FxHashMap::default();
        for detail in details {
            let stack = &profile.detail(detail).waker;
            if !stack.is_empty() && !of_details.contains_key(&detail) {
                let frames = stack.iter().filter_map(|frame| profile.frame_id(frame));
                let name = waker_functions(profile, places, frames).join(" < ");
                of_details.insert(detail, name);
            }
        }
        let mut names: Vec<String> = of_details.values().cloned().collect();
        names.push(String::new());
        names.sort_unstable();
        names.dedup();
        let rank = |name: &String| names.partition_point(|other| other < name) as u64;
        let ranks = of_details
            .iter()
            .map(|(&detail, name)| (detail, rank(name)));
        Self {
            ranks: ranks.collect(),
            names,
        }
    }
}

/// The rows of one event, or of several that stand side by side.
#[derive(Debug)]
pub struct Table<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) places: &'a Places,
    options: &'a ReportOptions,
    pub(crate) layout: Layout,
    members: Vec<Member<'a>>,
    rows: Vec<Row>,
    pub(crate) groups: Vec<Group>,
    pub(crate) chains: Chains,
    occurrences: Occurrences,
    comms: Vec<String>,
    comm_ranks: FxHashMap<(Option<CommId>, Tid), u64>,
    pid_comms: BTreeMap<Pid, String>,
    tid_comms: BTreeMap<Tid, String>,
    /// Empty where there are no branches.
    pub(crate) branch_order: BranchOrder,
    /// Tracepoint texts, ascending.
    texts: Vec<std::sync::Arc<str>>,
    wakers: Wakers,
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
        Self::of_events(profile, places, options, &[event])
    }

    /// As [`Table::new`], with several events: a row counts each of them. Callchains are those of
    /// the first one.
    pub fn of_events(
        profile: &'a Profile,
        places: &'a Places,
        options: &'a ReportOptions,
        events: &[u16],
    ) -> Option<Self> {
        let first = profile.events.get(usize::from(*events.first()?))?;
        let only_traces = profile.events.iter().all(|event| event.is_tracepoint);
        let mut table = Self {
            profile,
            places,
            options,
            layout: Layout::new(options, first.has_callchain, only_traces),
            members: Vec::new(),
            rows: Vec::new(),
            groups: Vec::new(),
            chains: Chains::default(),
            occurrences: Occurrences::default(),
            comms: Vec::new(),
            comm_ranks: FxHashMap::default(),
            pid_comms: BTreeMap::new(),
            tid_comms: BTreeMap::new(),
            branch_order: match options.branches {
                true => BranchOrder::of(places),
                false => BranchOrder::default(),
            },
            texts: Vec::new(),
            wakers: Wakers::default(),
        };
        let mut entries = Vec::new();
        for &event in events {
            entries.push(table.add_member(event)?);
        }
        if table
            .members
            .iter()
            .all(|member| member.counted.samples == 0)
            && !table.any(events)
        {
            return None;
        }
        table.name_threads(entries.iter().flatten());
        table.rank_texts(entries.iter().flatten());
        if table.layout.keys.contains(&Column::Waker) {
            let details = entries.iter().flatten().filter_map(|entry| entry.detail);
            table.wakers = Wakers::of(profile, places, details);
        }
        let stacks = entries.iter().flatten().map(|entry| entry.stack);
        table.chains = Chains::lay_out(profile, places, options, &table.layout, stacks);
        for (member, entries) in (0..).zip(entries) {
            table.group(member, entries);
        }
        table.fill_rows();
        Some(table)
    }

    /// Whether there are samples, filtered or not.
    fn any(&self, events: &[u16]) -> bool {
        let profile = self.profile;
        !self.options.hide_unresolved
            && events.iter().any(|&event| profile.total(event).samples > 0)
    }

    /// Adds an event's totals; returns its samples that pass the filters.
    fn add_member(&mut self, event: u16) -> Option<Vec<Entry>> {
        let info = self.profile.events.get(usize::from(event))?;
        let (profile, places, options) = (self.profile, self.places, self.options);
        let mut entries = self.entries(event);
        if options.hide_unresolved {
            let of_branch = if options.branches { 2 } else { 1 };
            let is_named = |frame| places.symbol_at(places.physical(frame)).is_named();
            entries.retain(|entry| {
                let frames = profile.stacks().frames(entry.stack);
                frames.take(of_branch).all(is_named)
            });
        }
        let weigh = |entries: &[Entry]| entries.iter().map(|entry| entry.weight).sum();
        let all: Weight = weigh(&entries);
        if !options.filter.is_empty() {
            let filter = options.filter.compile(profile, places);
            let key = |entry: &Entry| profile.sample_key(entry.context, entry.stack);
            entries.retain(|entry| filter.passes(profile, &key(entry)));
        }
        self.members.push(Member {
            event: info,
            counted: match options.relative_percent {
                true => weigh(&entries),
                false => all,
            },
        });
        Some(entries)
    }

    fn entries(&self, event: u16) -> Vec<Entry> {
        let is_detail = |key: &Column| {
            matches!(key, Column::Time | Column::Trace | Column::Waker) || key.is_outcome()
        };
        if self.layout.keys.iter().any(is_detail) {
            let entries = self.profile.detailed_entries(event).into_iter();
            let entries = entries.map(|(context, stack, detail, weight)| Entry {
                context,
                stack,
                detail: Some(detail),
                weight,
            });
            return entries.collect();
        }
        let entries = self.profile.entries(event);
        let entries = entries.map(|(context, stack, weight)| Entry {
            context,
            stack,
            detail: None,
            weight,
        });
        entries.collect()
    }

    /// The event that the table is about; the first one of several.
    pub fn event(&self) -> &EventInfo {
        self.members[0].event
    }

    /// The events that the table is about.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// What shares are shares of; those of the first event.
    pub fn counted(&self) -> Weight {
        self.members[0].counted
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

    /// The share of `period` in percent of the first event.
    pub fn percent(&self, period: u64) -> f64 {
        self.percent_of(0, period)
    }

    fn percent_of(&self, member: usize, period: u64) -> f64 {
        match self.members[member].counted.period {
            0 => 0.0,
            total => period as f64 * 100.0 / total as f64,
        }
    }

    /// What decides whether a row is shown, and what its call tree adds up to.
    pub fn main_weight(&self, row: &Row) -> Weight {
        if self.layout.children {
            row.first().total
        } else {
            row.first().own
        }
    }

    /// The value of a weight column, in percent, samples or events, for one of the table's events.
    pub fn value(&self, row: &Row, member: usize, column: Column) -> Option<f64> {
        let counts = &row.counts[member];
        Some(match column {
            Column::Children => self.percent_of(member, counts.total.period),
            Column::Overhead => self.percent_of(member, counts.own.period),
            Column::OverheadSys => self.percent_of(member, counts.own_kernel),
            Column::OverheadUser => self.percent_of(member, counts.own_user),
            Column::Samples => counts.own.samples as f64,
            Column::Period => counts.own.period as f64,
            _ => return None,
        })
    }

    pub(crate) fn key(&self, row: &Row, column: Column) -> Option<u64> {
        let index = self.layout.keys.iter().position(|&key| key == column)?;
        row.keys.get(index).copied()
    }

    /// The function that a row is about, if rows differ by function.
    pub fn symbol(&self, row: &Row) -> Option<SymbolId> {
        let rank = self.key(row, Column::Symbol)?;
        Some(SymbolId(rank as u32))
    }

    /// The function that a column shows, if it is one of functions.
    pub(crate) fn symbol_in(&self, row: &Row, column: Column) -> Option<SymbolId> {
        match column.branch_end() {
            Some((_, Column::Symbol)) => Some(self.branch_order.symbol(self.key(row, column)?)),
            _ if column == Column::Symbol => self.symbol(row),
            _ => None,
        }
    }

    /// The text of a key column; empty for a column that is no key of the table.
    pub fn label(&self, row: &Row, column: Column) -> Cow<'_, str> {
        match self.key(row, column) {
            Some(rank) => self.label_of(column, rank),
            None => Cow::Borrowed(""),
        }
    }

    /// The text of a value of a key column.
    pub(crate) fn label_of(&self, column: Column, rank: u64) -> Cow<'_, str> {
        let index = rank as usize;
        let id = rank as i64 + i64::from(i32::MIN);
        let thread = |comms: &str| format!("{id:>7}:{comms}");
        let symbol = |id| self.places.symbol(id).in_column();
        let borrowed = match column {
            Column::DsoFrom | Column::DsoTo => {
                let last = self.places.dso_names() - 1;
                self.places.dso_name_by_rank(last - index)
            }
            Column::SourceLineFrom | Column::SourceLineTo => self.places.line_by_rank(index),
            Column::Comm => &*self.comms[index],
            Column::Dso => self.places.dso_name_by_rank(index),
            Column::Cpu if rank == 0 => "-001",
            Column::SourceLine => self.places.line_by_rank(index),
            Column::SourceFile => file_of(self.places.line_by_rank(index)),
            Column::Socket if rank == 0 => "-01",
            Column::Trace => return printable(&self.texts[index]),
            Column::State => ThreadState::ALL[index].name(),
            Column::Waker => return Cow::Borrowed(&self.wakers.names[index]),
            Column::Parent => match self.chains.parents.get(index) {
                Some(name) => &**name,
                None => "[other]",
            },
            _ => {
                return Cow::Owned(match column {
                    Column::Pid => thread(&self.pid_comms[&Pid(id as i32)]),
                    Column::Tid => thread(&self.tid_comms[&Tid(id as i32)]),
                    Column::Symbol => symbol(SymbolId(index as u32)),
                    Column::SymbolFrom | Column::SymbolTo => symbol(self.branch_order.symbol(rank)),
                    Column::Cpu | Column::Socket => format!("{:03}", rank - 1),
                    Column::SymbolSize => rank.to_string(),
                    Column::Time => {
                        format!("{}.{:06}", rank / 1_000_000_000, rank / 1000 % 1_000_000)
                    }
                    _ if column.is_outcome() => return outcome_label(column, rank),
                    _ => String::new(),
                });
            }
        };
        Cow::Borrowed(borrowed)
    }

    /// Gives every thread name its rank, and every process and thread the name that stands for it:
    /// that of the main thread where it was sampled.
    fn name_threads<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let mut names: FxHashMap<(Option<CommId>, Tid), String> = FxHashMap::default();
        let mut last = None;
        for &Entry { context, .. } in entries {
            if last.replace(context) == Some(context) {
                continue; // entries come by context
            }
            let key = self.profile.context(context);
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

    /// Puts the tracepoint texts in order, so that a text's place among them is its rank.
    fn rank_texts<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let details = entries.filter_map(|entry| entry.detail);
        let details = details.map(|detail| &self.profile.detail(detail).text);
        let mut texts: Vec<_> = details.cloned().collect();
        texts.sort_unstable();
        texts.dedup();
        self.texts = texts;
    }

    /// Merges samples that no key tells apart: a callchain is then walked once, however many threads
    /// and CPUs it was seen on, and at however many addresses of the same functions.
    fn group(&mut self, member: u32, entries: Vec<Entry>) {
        let has = |column| self.layout.keys.contains(&column);
        let (pid, tid) = (has(Column::Pid), has(Column::Tid));
        let (comm, cpu) = (has(Column::Comm), has(Column::Cpu) || has(Column::Socket));
        type Shared = (
            Option<u64>,
            Option<Pid>,
            Option<Tid>,
            Option<Cpu>,
            Option<DetailId>,
        );
        let mut numbers: FxHashMap<Shared, u32> = FxHashMap::default();
        let mut last: Option<((ContextId, Option<DetailId>), u32)> = None;
        let mut index: FxHashMap<(u32, ChainId), u32> = FxHashMap::default();
        index.reserve(self.chains.len());
        self.groups.reserve(self.chains.len());
        for entry in entries {
            let Some(chain) = self.chains.of(entry.stack) else {
                continue; // Profile::add never makes such a stack
            };
            if self.options.exclude_other && self.chains.get(chain).parent.is_none() {
                continue;
            }
            let number = match last {
                Some((last, number)) if last == (entry.context, entry.detail) => number,
                _ => {
                    let sample = self.profile.context(entry.context);
                    let shared = (
                        comm.then(|| self.comm_rank(sample)),
                        pid.then_some(sample.pid),
                        tid.then_some(sample.tid),
                        sample.cpu.filter(|_| cpu),
                        entry.detail,
                    );
                    let next = numbers.len() as u32;
                    *numbers.entry(shared).or_insert(next)
                }
            };
            last = Some(((entry.context, entry.detail), number));
            let next = self.groups.len() as u32;
            let at = *index.entry((number, chain)).or_insert(next);
            if at == next {
                self.groups.push(Group {
                    member,
                    chain,
                    entry,
                });
            } else {
                self.groups[at as usize].entry.weight += entry.weight;
            }
        }
    }

    /// The place of a thread's name among all names.
    pub(crate) fn comm_rank(&self, sample: &SampleKey) -> u64 {
        self.comm_ranks[&comm_key(sample)]
    }

    /// The place of a tracepoint's text among all texts.
    pub(crate) fn text_rank(&self, detail: DetailId) -> u64 {
        let text = &self.profile.detail(detail).text;
        self.texts.partition_point(|other| other < text) as u64
    }

    /// The place of who ended a wait among all who did; 0 where that is not known.
    pub(crate) fn waker_rank(&self, detail: DetailId) -> u64 {
        self.wakers.ranks.get(&detail).copied().unwrap_or(0)
    }

    /// The place of a parent among all parents; behind them for a stack without one.
    pub(crate) fn parent_rank(&self, parent: Option<SymbolId>) -> u64 {
        let rank = |symbol| {
            let name = &self.places.symbol(symbol).name;
            self.chains.parents.partition_point(|other| other < name)
        };
        parent.map_or(self.chains.parents.len(), rank) as u64
    }

    fn fill_rows(&mut self) {
        let builder = RowBuilder::of(self);
        let (order, occurrences) = thread::scope(|scope| {
            let occurrences = Builder::new().spawn_scoped(scope, || builder.occurrences());
            let order = self.order(builder.rows());
            let occurrences = match occurrences.map(ScopedJoinHandle::join) {
                Ok(done) => done.unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(_) => builder.occurrences(), // there can be no further thread
            };
            (order, occurrences)
        });
        self.rows = builder.into_rows();
        self.occurrences = occurrences;
        arrange(&mut self.rows, order);
    }

    /// Which row comes at which place.
    fn order(&self, rows: &[Row]) -> Vec<u32> {
        let mut values: Vec<Value<'_, Row>> = Vec::new();
        for &column in &self.layout.order {
            let Some(value) = order_of(column) else {
                values.extend(self.key_value(column));
                continue;
            };
            for member in 0..self.members.len() {
                values.push(Box::new(move |row| !value(&row.counts[member]))); // descending
            }
            if column == Column::Children && self.layout.chains {
                values.extend(self.callers_first(rows));
            }
        }
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        sort_by_values(&mut order, rows, &values);
        order
    }

    fn key_value<'v>(&self, column: Column) -> Option<Value<'v, Row>> {
        let index = self.layout.keys.iter().position(|&key| key == column)?;
        Some(Box::new(move |row| row.keys[index]))
    }

    /// Of rows with the same total in one thread the callers come first. Those of another thread
    /// come before or after all of these, so that the order has no circles: perf compares rows of
    /// two threads by other columns, and what then comes first depends on the order of insertion.
    ///
    /// Returns what such rows are compared by.
    fn callers_first<'v>(&self, rows: &[Row]) -> [Value<'v, Row>; 2] {
        // The first row of each total and thread, by what it counts itself, stands for it.
        let own = |row: &Row| !row.first().own.period; // descending
        let by_own = |row: u32| {
            let row = &rows[row as usize];
            (own(row), &row.keys)
        };
        let mut groups: FxHashMap<(u64, u32), u32> = FxHashMap::default();
        let mut leaders: Vec<u32> = Vec::new(); // by group
        let mut group_of: Vec<u32> = Vec::with_capacity(rows.len());
        for (index, row) in (0..).zip(rows) {
            let next = leaders.len() as u32;
            let group = groups.entry((row.first().total.period, row.thread));
            let group = *group.or_insert(next);
            group_of.push(group);
            match leaders.get_mut(group as usize) {
                Some(leader) if by_own(index) < by_own(*leader) => *leader = index,
                Some(_) => {}
                None => leaders.push(index),
            }
        }
        let keys = self.layout.keys.iter();
        let keys = keys.filter_map(|&column| self.key_value(column));
        let mut by_own: Vec<Value<'_, Row>> = vec![Box::new(own)];
        by_own.extend(keys);
        sort_by_values(&mut leaders, rows, &by_own);
        let mut ranks = vec![0; leaders.len()]; // by group
        for (rank, leader) in (0_u64..).zip(leaders) {
            ranks[group_of[leader as usize] as usize] = rank;
        }
        let callers_first = self.layout.chain_order == ChainOrder::Caller;
        let flip = if callers_first { u64::MAX } else { 0 };
        [
            Box::new(move |row| ranks[group_of[row.index as usize] as usize]),
            Box::new(move |row| u64::from(row.depth) ^ flip),
        ]
    }

    /// Which branches of a call tree are kept.
    fn chain_limit(&self) -> Limit {
        let call_graph = &self.options.call_graph;
        Limit::new(
            call_graph.mode,
            call_graph.min_percent,
            self.counted().period,
        )
    }

    /// The smallest period of a branch that is a share of the total.
    pub(crate) fn min_chain_period(&self) -> u64 {
        match self.chain_limit() {
            Limit::Period(period) => period,
            Limit::OfParent(_) => 0,
        }
    }

    /// Whether callchains of a row are wanted and it is heavy enough for any.
    pub(crate) fn has_call_tree(&self, row: &Row) -> bool {
        self.layout.chains && self.main_weight(row).period >= self.min_chain_period()
    }

    /// The callchains of a row of this table; empty if they are not wanted or too light.
    pub fn call_tree(&self, row: &Row) -> CallTree {
        if !self.has_call_tree(row) {
            return CallTree::default();
        }
        let occurrences = self.occurrences.of(row.index).iter();
        let chains = occurrences.map(|it| {
            let group = &self.groups[it.group as usize];
            let chain = self.chains.get(group.chain);
            Chain {
                labels: &self.chains.labels(chain)[it.start as usize..],
                places: &self.chains.places(chain)[it.start as usize..],
                weight: group.entry.weight,
            }
        });
        CallTree::build(chains.collect(), self.chain_limit())
    }
}

/// What rows are put in descending order by in a column that is no key.
fn order_of(column: Column) -> Option<fn(&Counts) -> u64> {
    Some(match column {
        Column::Children => |it| it.total.period,
        Column::Overhead | Column::Period => |it| it.own.period,
        Column::OverheadSys => |it| it.own_kernel,
        Column::OverheadUser => |it| it.own_user,
        Column::Samples => |it| it.own.samples,
        _ => return None,
    })
}

/// A thread without a name is named after its id, one with a name only by that.
fn comm_key(key: &SampleKey) -> (Option<CommId>, Tid) {
    match key.comm {
        Some(comm) => (Some(comm), Tid(0)),
        None => (None, key.tid),
    }
}
