use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::{panic, thread};

use prof_model::{CommId, Cpu, Pid, Tid};
use prof_profile::{DetailId, EventInfo, Profile, SampleKey, Weight};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::callgraph::{Chain, Limit};
use crate::chains::{ChainId, Chains};
use crate::filter::comm_label;
use crate::layout::Layout;
use crate::place::file_of;
use crate::rows::{Keys, Occurrences, RowBuilder};
use crate::{CallTree, ChainOrder, Column, Places, ReportOptions, SymbolId};

/// Samples of one thread and stack; apart by their detail where rows can differ by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) sample: SampleKey,
    pub(crate) detail: Option<DetailId>,
    pub(crate) weight: Weight,
}

/// Samples that agree in everything that a row can differ by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Which event of the table.
    pub(crate) member: usize,
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
    pub(crate) thread: (Pid, Tid),
    pub(crate) depth: usize, // of the deepest callchain
    pub(crate) index: u32,   // before sorting
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
    /// Tracepoint texts, ascending.
    texts: Vec<std::sync::Arc<str>>,
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
            texts: Vec::new(),
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
        let stacks = entries.iter().flatten().map(|entry| entry.sample.stack);
        table.chains = Chains::lay_out(profile, places, options, &table.layout, stacks);
        for (member, entries) in entries.into_iter().enumerate() {
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
            let frames = |key: &SampleKey| profile.stacks().frames(key.stack).next();
            entries.retain(|entry| match frames(&entry.sample) {
                Some(frame) => places.symbol_at(places.physical(frame)).is_named(),
                None => false,
            });
        }
        let weigh = |entries: &[Entry]| entries.iter().map(|entry| entry.weight).sum();
        let all: Weight = weigh(&entries);
        let filter = options.filter.compile(profile, places);
        entries.retain(|entry| filter.passes(profile, &entry.sample));
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
        let needs_details = [Column::Time, Column::Trace]
            .iter()
            .any(|column| self.layout.keys.contains(column));
        if needs_details {
            let samples = self.profile.detailed_samples(event).into_iter();
            let samples = samples.map(|(sample, detail, weight)| Entry {
                sample,
                detail: Some(detail),
                weight,
            });
            return samples.collect();
        }
        let samples = self.profile.sorted_samples(event).into_iter();
        let samples = samples.map(|(sample, weight)| Entry {
            sample,
            detail: None,
            weight,
        });
        samples.collect()
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
        let borrowed = match column {
            Column::Comm => &*self.comms[index],
            Column::Dso => self.places.dso_name_by_rank(index),
            Column::Cpu if rank == 0 => "-001",
            Column::SourceLine => self.places.line_by_rank(index),
            Column::SourceFile => file_of(self.places.line_by_rank(index)),
            Column::Socket if rank == 0 => "-01",
            Column::Trace => &*self.texts[index],
            Column::Parent => match self.chains.parents.get(index) {
                Some(name) => &**name,
                None => "[other]",
            },
            _ => {
                return Cow::Owned(match column {
                    Column::Pid => thread(&self.pid_comms[&Pid(id as i32)]),
                    Column::Tid => thread(&self.tid_comms[&Tid(id as i32)]),
                    Column::Symbol => self.places.symbol(SymbolId(index as u32)).in_column(),
                    Column::Cpu | Column::Socket => format!("{:03}", rank - 1),
                    Column::SymbolSize => rank.to_string(),
                    Column::Time => {
                        format!("{}.{:06}", rank / 1_000_000_000, rank / 1000 % 1_000_000)
                    }
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
        for Entry { sample: key, .. } in entries {
            if last.replace((key.pid, key.tid, key.comm)) == Some((key.pid, key.tid, key.comm)) {
                continue; // entries come by thread
            }
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
    fn group(&mut self, member: usize, entries: Vec<Entry>) {
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
        let mut last: Option<(Shared, u32)> = None;
        let mut index: FxHashMap<(u32, ChainId), u32> = FxHashMap::default();
        for entry in entries {
            let sample = &entry.sample;
            let Some(chain) = self.chains.of(sample.stack) else {
                continue; // Profile::add never makes such a stack
            };
            if self.options.exclude_other && self.chains.get(chain).parent.is_none() {
                continue;
            }
            let shared = (
                comm.then(|| self.comm_rank(sample)),
                pid.then_some(sample.pid),
                tid.then_some(sample.tid),
                sample.cpu.filter(|_| cpu),
                entry.detail,
            );
            let number = match last {
                Some((last, number)) if last == shared => number,
                _ => {
                    let next = numbers.len() as u32;
                    *numbers.entry(shared).or_insert(next)
                }
            };
            last = Some((shared, number));
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
            let occurrences = scope.spawn(|| builder.occurrences());
            let order = self.order(builder.rows());
            let occurrences = occurrences.join();
            let occurrences = occurrences.unwrap_or_else(|panic| panic::resume_unwind(panic));
            (order, occurrences)
        });
        self.rows = builder.into_rows();
        self.occurrences = occurrences;
        arrange(&mut self.rows, order);
    }

    /// Which row comes at which place.
    fn order(&self, rows: &[Row]) -> Vec<usize> {
        let callers = self.callers_first(rows);
        // All that decides, as numbers one after the other: the smaller ones come first.
        let mut numbers: Vec<u64> = Vec::new();
        for (row, callers) in rows.iter().zip(&callers) {
            for &column in &self.layout.order {
                let value: fn(&Counts) -> u64 = match column {
                    Column::Children => |it| it.total.period,
                    Column::Overhead | Column::Period => |it| it.own.period,
                    Column::OverheadSys => |it| it.own_kernel,
                    Column::OverheadUser => |it| it.own_user,
                    Column::Samples => |it| it.own.samples,
                    key => {
                        numbers.extend(self.key(row, key));
                        continue;
                    }
                };
                numbers.extend(row.counts.iter().map(|counts| !value(counts))); // descending
                if column == Column::Children {
                    numbers.extend(callers);
                }
            }
            numbers.extend_from_slice(&row.keys);
        }
        let each = numbers.len() / rows.len().max(1);
        let numbers_of = |row: u32| &numbers[row as usize * each..][..each];
        let all = 0..rows.len() as u32;
        let mut order: Vec<(Option<u64>, u32)> =
            all // the first number, which often decides
                .map(|row| (numbers_of(row).first().copied(), row))
                .collect();
        order.sort_unstable_by(|&(left_first, left), &(right_first, right)| {
            let by_first = left_first.cmp(&right_first);
            by_first.then_with(|| numbers_of(left).cmp(numbers_of(right)))
        });
        order.into_iter().map(|(_, row)| row as usize).collect()
    }

    /// Of rows with the same total in one thread the callers come first. Those of another thread
    /// come before or after all of these, so that the order has no circles: perf compares rows of
    /// two threads by other columns, and what then comes first depends on the order of insertion.
    ///
    /// Returns for each row what such rows are compared by; all the same if the table has no
    /// callchains.
    fn callers_first(&self, rows: &[Row]) -> Vec<[u64; 2]> {
        if !self.layout.chains {
            return vec![[0, 0]; rows.len()];
        }
        // What nearly always decides lies side by side: total and thread, then the row's own.
        type Lead = ((u64, (Pid, Tid)), Reverse<u64>, usize);
        let leads = rows.iter().enumerate().map(|(at, row)| {
            let counts = row.first();
            let key = (counts.total.period, row.thread);
            (key, Reverse(counts.own.period), at)
        });
        let by_keys = |left: &Lead, right: &Lead| rows[left.2].keys.cmp(&rows[right.2].keys);
        let mut order: Vec<Lead> = leads.collect();
        order.sort_unstable_by(|left, right| {
            let by_lead = (left.0, left.1).cmp(&(right.0, right.1));
            by_lead.then_with(|| by_keys(left, right))
        });
        // The first row of each total and thread stands for it.
        let groups = order.chunk_by(|left, right| left.0 == right.0);
        let mut groups: Vec<&[Lead]> = groups.collect();
        groups.sort_unstable_by(|left, right| {
            let (left, right) = (&left[0], &right[0]);
            let by_lead = left.1.cmp(&right.1);
            by_lead.then_with(|| by_keys(left, right))
        });
        let callers_first = self.layout.chain_order == ChainOrder::Caller;
        let mut ranks = vec![[0, 0]; rows.len()];
        for (rank, group) in groups.into_iter().enumerate() {
            for row in group.iter().map(|lead| &rows[lead.2]) {
                let depth = row.depth as u64;
                let depth = if callers_first { !depth } else { depth };
                ranks[row.index as usize] = [rank as u64, depth];
            }
        }
        ranks
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

    /// The callchains of a row of this table; empty if they are not wanted or too light.
    pub fn call_tree(&self, row: &Row) -> CallTree {
        if !self.layout.chains || self.main_weight(row).period < self.min_chain_period() {
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

/// Puts items in order: `order[i]` is where the one is now that belongs to place `i`.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for first in 0..order.len() {
        let mut at = first;
        while order[at] != first {
            let from = std::mem::replace(&mut order[at], at);
            items.swap(at, from);
            at = from;
        }
        order[at] = at;
    }
}

/// A thread without a name is named after its id, one with a name only by that.
fn comm_key(key: &SampleKey) -> (Option<CommId>, Tid) {
    match key.comm {
        Some(comm) => (Some(comm), Tid(0)),
        None => (None, key.tid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_go_where_the_order_says() {
        let mut items = ['a', 'b', 'c', 'd', 'e'];
        arrange(&mut items, vec![2, 0, 1, 3, 4]);
        assert_eq!(items, ['c', 'a', 'b', 'd', 'e']);
        arrange(&mut items, vec![4, 3, 2, 1, 0]);
        assert_eq!(items, ['e', 'd', 'b', 'a', 'c']);
    }
}
