use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use prof_model::{CommId, Cpu, Pid, Tid};
use prof_profile::{DetailId, EventInfo, FrameId, Profile, SampleKey, StackId, Weight};
use rustc_hash::FxHashMap;

use crate::callgraph::{Chain, Limit};
use crate::filter::comm_label;
use crate::layout::Layout;
use crate::place::file_of;
use crate::rows::RowBuilder;
use crate::{CallTree, ChainKey, ChainOrder, Column, PlaceId, Places, ReportOptions, SymbolId};

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
    /// The first one; what is no key of the table is not to be looked at.
    pub(crate) entry: Entry,
}

/// Where a row's function stands in a group's callchain: the chain from `start` on is the row's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    pub(crate) row: u32,
    pub(crate) group: u32,
    pub(crate) start: u32,
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

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// By event, the table's first one first.
    pub counts: Vec<Counts>,
    pub(crate) keys: Vec<u64>, // ranks: they compare as what they stand for
    pub(crate) thread: (Pid, Tid),
    pub(crate) depth: usize, // of the deepest callchain
    pub(crate) index: u32,   // before sorting
}

impl Row {
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
    occurrences: Vec<Occurrence>, // by row, as Row::index has it
    comms: Vec<String>,
    comm_ranks: FxHashMap<(Option<CommId>, Tid), u64>,
    pid_comms: BTreeMap<Pid, String>,
    tid_comms: BTreeMap<Tid, String>,
    /// Tracepoint texts, ascending.
    texts: Vec<std::sync::Arc<str>>,
    /// Names of the functions that match the parent's pattern, ascending.
    parents: Vec<std::sync::Arc<str>>,
}

/// The callchains of all stacks, each once, one after the other in the order of traversal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    pub(crate) places: Vec<PlaceId>,
    labels: Vec<u32>,
    pub(crate) of_stack: FxHashMap<StackId, StackChain>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct StackChain {
    /// In [`Chains::places`].
    pub(crate) range: Range<usize>,
    /// The function whose own samples these are.
    pub(crate) own: FrameId,
    /// The innermost function that matches the parent's pattern.
    pub(crate) parent: Option<SymbolId>,
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
            occurrences: Vec::new(),
            comms: Vec::new(),
            comm_ranks: FxHashMap::default(),
            pid_comms: BTreeMap::new(),
            tid_comms: BTreeMap::new(),
            texts: Vec::new(),
            parents: Vec::new(),
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
        table.lay_out_chains(entries.iter().flatten());
        for (member, entries) in entries.into_iter().enumerate() {
            table.group(member, entries);
        }
        table.fill_rows();
        table.sort_rows();
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
            Column::Socket if rank == 0 => "-01".to_owned(),
            Column::Socket => format!("{:03}", rank - 1),
            Column::Time => format!("{}.{:06}", rank / 1_000_000_000, rank / 1000 % 1_000_000),
            Column::Trace => self.texts[index].to_string(),
            Column::Parent => match self.parents.get(index) {
                Some(name) => name.to_string(),
                None => "[other]".to_owned(),
            },
            _ => String::new(),
        }
    }

    /// Gives every thread name its rank, and every process and thread the name that stands for it:
    /// that of the main thread where it was sampled.
    fn name_threads<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let mut names: FxHashMap<(Option<CommId>, Tid), String> = FxHashMap::default();
        for Entry { sample: key, .. } in entries {
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

    /// Merges samples that no key tells apart: a stack is then walked once, however many threads
    /// and CPUs it was seen on.
    fn group(&mut self, member: usize, entries: Vec<Entry>) {
        let has = |column| self.layout.keys.contains(&column);
        let (pid, tid) = (has(Column::Pid), has(Column::Tid));
        let (comm, cpu) = (has(Column::Comm), has(Column::Cpu) || has(Column::Socket));
        type Projection = (
            Option<u64>,
            Option<Pid>,
            Option<Tid>,
            Option<Cpu>,
            Option<DetailId>,
            StackId,
        );
        let mut index: FxHashMap<Projection, usize> = FxHashMap::default();
        for entry in entries {
            let sample = &entry.sample;
            let has_parent = || self.chains.of_stack[&sample.stack].parent.is_some();
            if self.options.exclude_other && !has_parent() {
                continue;
            }
            let projection = (
                comm.then(|| self.comm_ranks[&comm_key(sample)]),
                pid.then_some(sample.pid),
                tid.then_some(sample.tid),
                sample.cpu.filter(|_| cpu),
                entry.detail,
                sample.stack,
            );
            let next = self.groups.len();
            let at = *index.entry(projection).or_insert(next);
            if at == next {
                self.groups.push(Group { member, entry });
            } else {
                self.groups[at].entry.weight += entry.weight;
            }
        }
    }

    /// Writes down the chain of every stack, cut to the wanted depth.
    fn lay_out_chains<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let labels = self.labels();
        let ignored = self.matching(self.options.ignore_callees.as_ref());
        let parents = self.matching(self.options.parent_pattern(&self.layout.keys));
        let mut frames = Vec::new();
        for entry in entries {
            let stack = entry.sample.stack;
            if self.chains.of_stack.contains_key(&stack) {
                continue;
            }
            frames.clear();
            frames.extend(self.profile.stacks().frames(stack)); // innermost first
            let is_ignored = |frame: &FrameId| self.is_in(&ignored, *frame);
            if let Some(outermost) = frames.iter().rposition(is_ignored) {
                frames.drain(..outermost); // what it called counts for it
            }
            let Some(&own) = frames.first() else {
                continue; // Profile::add never makes such a stack
            };
            let parent = frames.iter().find(|frame| self.is_in(&parents, **frame));
            let parent = parent.map(|&frame| self.places.get(self.places.physical(frame)).symbol);
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
            let chain = StackChain {
                range: chain,
                own,
                parent,
            };
            self.chains.of_stack.insert(stack, chain);
        }
        let matching = self.places.symbols().iter().zip(&parents);
        let matching = matching.filter(|(_, matches)| **matches);
        self.parents = matching.map(|(symbol, _)| symbol.name.clone()).collect();
        self.parents.sort_unstable();
        self.parents.dedup();
    }

    /// For each function whether it matches a pattern.
    fn matching(&self, pattern: Option<&crate::Pattern>) -> Vec<bool> {
        let symbols = self.places.symbols().iter();
        let matches = |pattern: &crate::Pattern| {
            symbols
                .map(|symbol| symbol.is_named() && pattern.matches(&symbol.name))
                .collect()
        };
        pattern.map(matches).unwrap_or_default()
    }

    fn is_in(&self, matching: &[bool], frame: FrameId) -> bool {
        let symbol = self.places.get(self.places.physical(frame)).symbol;
        matching.get(symbol.0 as usize).is_some_and(|&it| it)
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
            self.parents.partition_point(|other| other < name)
        };
        parent.map_or(self.parents.len(), rank) as u64
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
        let (rows, mut occurrences) = RowBuilder::rows_of(self);
        occurrences.sort_by_key(|occurrence| occurrence.row); // stable: by group within a row
        self.rows = rows;
        self.occurrences = occurrences;
    }

    fn sort_rows(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        let threads = self.thread_order(&rows);
        let callers_first = self.layout.chain_order == ChainOrder::Caller;
        let caller_first = |row: &Row| match threads.get(&(row.first().total.period, row.thread)) {
            Some(&rank) if callers_first => (rank, -(row.depth as i64)),
            Some(&rank) => (rank, row.depth as i64),
            None => (0, 0),
        };
        rows.sort_by(|left, right| {
            let by_column = self.layout.order.iter().map(|&column| match column {
                Column::Children => descending(left, right, |it| it.total.period)
                    .then_with(|| caller_first(left).cmp(&caller_first(right))),
                Column::Overhead => descending(left, right, |it| it.own.period),
                Column::OverheadSys => descending(left, right, |it| it.own_kernel),
                Column::OverheadUser => descending(left, right, |it| it.own_user),
                Column::Samples => descending(left, right, |it| it.own.samples),
                Column::Period => descending(left, right, |it| it.own.period),
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
            let first = row.first();
            let candidate = (Reverse(first.own.period), &row.keys[..]);
            let lead = best.entry((first.total.period, row.thread));
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
        let first = self.occurrences.partition_point(|it| it.row < row.index);
        let chains = self.occurrences[first..]
            .iter()
            .take_while(|it| it.row == row.index)
            .map(|it| {
                let group = &self.groups[it.group as usize];
                let chain = &self.chains.of_stack[&group.entry.sample.stack].range;
                let range = chain.start + it.start as usize..chain.end;
                Chain {
                    labels: &self.chains.labels[range.clone()],
                    places: &self.chains.places[range],
                    weight: group.entry.weight,
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

/// Compares what rows count, the larger first: of the table's first event, then of the others.
fn descending(left: &Row, right: &Row, value: impl Fn(&Counts) -> u64) -> std::cmp::Ordering {
    let pairs = right.counts.iter().zip(&left.counts);
    let mut orders = pairs.map(|(right, left)| value(right).cmp(&value(left)));
    let first = orders.find(|order| order.is_ne());
    first.unwrap_or(std::cmp::Ordering::Equal)
}
