use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use prof_profile::Weight;
use rustc_hash::FxHashMap;

use crate::tables::{ROOT, Tables};

const SECOND: u64 = 1_000_000_000;

/// How a live history ages: what is older than the first number of seconds is kept in slices of the
/// second. It leaves 30 windows of 10 s and of 60 s, and for each window the one before it in full.
const AGES: [(u64, u64); 3] = [(130, 10), (320, 60), (1860, u64::MAX)];

/// Entries of one slice. Beyond these the lightest stacks lose their callers, then their threads.
const MAX_ENTRIES: usize = 8192;

/// Stacks that the tables may gain before they are swept.
const MAX_GARBAGE: usize = 50_000;

/// Samples that agree in all that a picture can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: EntryKey,
    pub(crate) samples: u32,
    pub(crate) period: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    pub(crate) event: u16,
    pub(crate) thread: u32,
    pub(crate) stack: u32,
    pub(crate) spot: u32,
}

const _: () = assert!(size_of::<Entry>() <= 32); // a live history keeps some 170 slices of them

impl Entry {
    pub(crate) fn weight(&self) -> Weight {
        Weight {
            samples: u64::from(self.samples),
            period: self.period,
        }
    }
}

/// The samples of one stretch of time.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) span: Range<u64>,
    pub(crate) entries: Arc<[Entry]>, // by key
    pub(crate) whole: u64,            // samples whose stacks reach the root
    pub(crate) known: u64,            // samples of which one knows whether they do
}

/// Samples by time. Times are nanoseconds of any one clock.
///
/// A live history is bounded: what is old is kept in longer slices, at last in one, and a slice has
/// only so many entries. A recorded one keeps what it is given.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(crate) tables: Tables,
    pub(crate) slices: VecDeque<Slice>,
    live: bool,
    swept: usize, // stacks after the last sweep
    version: u64,
}

impl History {
    /// One that forgets details as time goes by.
    pub fn live() -> Self {
        Self {
            live: true,
            ..Self::default()
        }
    }

    /// One that keeps everything.
    pub fn recorded() -> Self {
        Self::default()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Changes with every slice.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        *self = Self {
            live: self.live,
            version: self.version + 1,
            ..Self::default()
        };
    }

    /// From the first sample's slice to the end of the last one.
    pub fn span(&self) -> Option<Range<u64>> {
        Some(self.slices.front()?.span.start..self.slices.back()?.span.end)
    }

    /// The length of the longest slice: nothing shorter can be told apart.
    pub(crate) fn grain(&self) -> u64 {
        let lengths = self.slices.iter().map(|it| it.span.end - it.span.start);
        lengths.max().unwrap_or(1)
    }

    /// How many slices there are, and how many entries they have together.
    pub fn size(&self) -> (usize, usize) {
        let entries = self.slices.iter().map(|slice| slice.entries.len()).sum();
        (self.slices.len(), entries)
    }

    pub(crate) fn push(&mut self, mut slice: Slice) {
        self.version += 1;
        if !self.live {
            self.slices.push_back(slice);
            return;
        }
        if slice.entries.len() > MAX_ENTRIES {
            slice.entries = shrink(&mut self.tables, &slice.entries).into();
        }
        let now = slice.span.end;
        self.slices.push_back(slice);
        self.age(now);
        if self.tables.stacks() > 2 * self.swept + MAX_GARBAGE {
            self.sweep();
        }
    }

    /// Joins old slices that belong to one longer stretch of time.
    fn age(&mut self, now: u64) {
        let mut index = 1;
        while index < self.slices.len() {
            let (left, right) = (&self.slices[index - 1], &self.slices[index]);
            if stretch(left, now).is_some_and(|it| Some(it) == stretch(right, now)) {
                let right = self.slices.remove(index).expect("just seen");
                let left = &self.slices[index - 1];
                let joined = join(&mut self.tables, left, &right);
                self.slices[index - 1] = joined;
            } else {
                index += 1;
            }
        }
    }

    /// Drops names and stacks that no slice refers to any more.
    fn sweep(&mut self) {
        let old = std::mem::take(&mut self.tables);
        let mut sweep = Sweep::new(&old, &mut self.tables);
        for slice in &mut self.slices {
            let mut entries: Vec<Entry> = slice
                .entries
                .iter()
                .map(|entry| sweep.entry(entry))
                .collect();
            entries.sort_unstable_by_key(|entry| entry.key);
            slice.entries = entries.into();
        }
        self.swept = self.tables.stacks();
    }
}

/// The longer stretch of time that a slice of this age belongs to, once all of it is that old.
fn stretch(slice: &Slice, now: u64) -> Option<(u64, u64)> {
    let mut found = None;
    for (age, seconds) in AGES {
        let len = seconds.saturating_mul(SECOND);
        let index = slice.span.end.saturating_sub(1) / len;
        let end = match seconds {
            u64::MAX => slice.span.end,
            _ => (index + 1) * len,
        };
        if end.saturating_add(age * SECOND) <= now {
            found = Some((len, index));
        }
    }
    found
}

fn join(tables: &mut Tables, left: &Slice, right: &Slice) -> Slice {
    let both = left.entries.iter().chain(right.entries.iter());
    let mut entries = merge(both.copied().collect());
    if entries.len() > MAX_ENTRIES {
        entries = shrink(tables, &entries);
    }
    Slice {
        span: left.span.start..right.span.end,
        entries: entries.into(),
        whole: left.whole + right.whole,
        known: left.known + right.known,
    }
}

/// Sorts, and adds up what has the same key.
pub(crate) fn merge(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by_key(|entry| entry.key);
    entries.dedup_by(|next, first| {
        let same = next.key == first.key;
        if same {
            first.samples = first.samples.saturating_add(next.samples);
            first.period = first.period.saturating_add(next.period);
        }
        same
    });
    entries
}

/// Makes the lighter entries coarser until there are few enough: first without callers and places,
/// then, one per function and event, in the thread that comes first.
fn shrink(tables: &mut Tables, entries: &[Entry]) -> Vec<Entry> {
    let mut by_weight = entries.to_vec();
    by_weight.sort_by_key(|entry| std::cmp::Reverse(entry.period));
    let (_, light) = by_weight.split_at_mut(MAX_ENTRIES / 2);
    for entry in light {
        entry.key.spot = u32::MAX;
        if entry.key.stack != ROOT {
            entry.key.stack = tables.without_callers(entry.key.stack);
        }
    }
    let mut merged = merge(by_weight);
    if merged.len() <= MAX_ENTRIES {
        return merged;
    }
    merged.sort_by_key(|entry| std::cmp::Reverse(entry.period));
    let mut first_thread: FxHashMap<(u16, u32), u32> = FxHashMap::default();
    for entry in &mut merged[MAX_ENTRIES / 2..] {
        let place = (entry.key.event, entry.key.stack);
        entry.key.thread = *first_thread.entry(place).or_insert(entry.key.thread);
    }
    merge(merged)
}

/// Numbers what is still used anew.
struct Sweep<'a> {
    old: &'a Tables,
    new: &'a mut Tables,
    functions: FxHashMap<u32, u32>,
    threads: FxHashMap<u32, u32>,
    stacks: FxHashMap<u32, u32>,
}

impl<'a> Sweep<'a> {
    fn new(old: &'a Tables, new: &'a mut Tables) -> Self {
        Self {
            old,
            new,
            functions: FxHashMap::default(),
            threads: FxHashMap::default(),
            stacks: std::iter::once((ROOT, ROOT)).collect(),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Entry {
        let key = entry.key;
        let spot = match key.spot {
            u32::MAX => u32::MAX,
            spot => self.new.spots.share(self.old.spots.get(spot)),
        };
        Entry {
            key: EntryKey {
                thread: self.thread(key.thread),
                stack: self.stack(key.stack),
                spot,
                ..key
            },
            ..*entry
        }
    }

    fn thread(&mut self, thread: u32) -> u32 {
        let Self {
            old, new, threads, ..
        } = self;
        *threads.entry(thread).or_insert_with(|| {
            let process = old.processes.get(old.process_of(thread));
            let thread = old.threads.get(thread);
            new.thread((**thread).clone(), (**process).clone())
        })
    }

    fn stack(&mut self, stack: u32) -> u32 {
        if let Some(&known) = self.stacks.get(&stack) {
            return known;
        }
        let mut unknown = Vec::new();
        let mut at = stack;
        let mut new = loop {
            if let Some(&known) = self.stacks.get(&at) {
                break known;
            }
            unknown.push(at);
            at = self.old.node(at).parent;
        };
        for at in unknown.into_iter().rev() {
            let function = self.old.node(at).function;
            let (old, tables) = (self.old, &mut *self.new);
            let function = *self
                .functions
                .entry(function)
                .or_insert_with(|| tables.function(old.functions.get(function)));
            new = tables.push(new, function);
            self.stacks.insert(at, new);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Function, Kind, Process, Thread};
    use prof_model::{Pid, Tid};

    /// A slice of the second `at` in which each function ran once, called by `main`.
    fn push(history: &mut History, at: u64, functions: &[&str]) {
        let tables = &mut history.tables;
        let thread = tables.thread(
            Thread {
                pid: Pid(1),
                tid: Tid(1),
                name: Arc::from("t"),
            },
            Process {
                pid: Pid(1),
                name: Arc::from("p"),
            },
        );
        let mut function = |name: &str| {
            tables.function(&Arc::new(Function {
                name: Arc::from(name),
                module: Arc::from("m"),
                kind: Kind::Native,
            }))
        };
        let main = function("main");
        let ids: Vec<u32> = functions.iter().map(|name| function(name)).collect();
        let entries: Vec<Entry> = ids
            .into_iter()
            .map(|id| {
                let caller = tables.push(ROOT, main);
                Entry {
                    key: EntryKey {
                        event: 0,
                        thread,
                        stack: tables.push(caller, id),
                        spot: u32::MAX,
                    },
                    samples: 1,
                    period: 10,
                }
            })
            .collect();
        let slice = Slice {
            span: at * SECOND..(at + 1) * SECOND,
            whole: entries.len() as u64,
            known: entries.len() as u64,
            entries: merge(entries).into(),
        };
        history.push(slice);
    }

    fn samples(history: &History) -> u64 {
        let entries = history.slices.iter().flat_map(|slice| slice.entries.iter());
        entries.map(|entry| u64::from(entry.samples)).sum()
    }

    #[test]
    fn an_hour_is_kept_in_few_slices_without_losing_a_sample() {
        let mut history = History::live();
        for second in 0..3600 {
            push(&mut history, second, &["f", "g"]);
        }
        assert_eq!(samples(&history), 7200);
        assert_eq!(history.span(), Some(0..3600 * SECOND));
        // 130 to 139 of a second, 19 or 20 of ten, 25 or 26 of a minute, and one with the rest
        assert!(history.slices.len() <= 140 + 20 + 26 + 1);
        let first = history.slices.front().unwrap();
        assert!(first.span.end >= (3600 - 1860 - 60) * SECOND);
        let longest = history.slices.iter().skip(1);
        let longest = longest.map(|slice| slice.span.end - slice.span.start);
        assert_eq!(longest.max(), Some(60 * SECOND));
        assert!(
            history
                .slices
                .iter()
                .zip(history.slices.iter().skip(1))
                .all(|(left, right)| left.span.end == right.span.start)
        );
    }

    #[test]
    fn a_recorded_history_keeps_every_slice() {
        let mut history = History::recorded();
        for second in 0..1000 {
            push(&mut history, second, &["f"]);
        }
        assert_eq!(history.slices.len(), 1000);
    }

    #[test]
    fn a_slice_with_too_many_stacks_keeps_the_functions_and_every_sample() {
        let mut history = History::live();
        let names: Vec<String> = (0..2 * MAX_ENTRIES).map(|n| format!("f{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        push(&mut history, 0, &names[..MAX_ENTRIES]);
        assert_eq!(history.size(), (1, MAX_ENTRIES));
        history.clear();
        push(&mut history, 0, &names);
        assert_eq!(samples(&history), 2 * MAX_ENTRIES as u64);
        let leaves: std::collections::BTreeSet<u32> = history.slices[0]
            .entries
            .iter()
            .map(|entry| history.tables.node(entry.key.stack).function)
            .collect();
        assert_eq!(leaves.len(), 2 * MAX_ENTRIES);
    }

    #[test]
    fn names_that_nothing_refers_to_are_swept_and_the_others_stay() {
        let mut history = History::live();
        push(&mut history, 0, &["kept", "gone"]);
        history.slices[0].entries = history.slices[0]
            .entries
            .iter()
            .filter(|entry| {
                let leaf = history.tables.node(entry.key.stack).function;
                &*history.tables.functions.get(leaf).name == "kept"
            })
            .copied()
            .collect();
        history.sweep();
        let stack = history.slices[0].entries[0].key.stack;
        let names: Vec<&str> = history
            .tables
            .frames(stack)
            .map(|id| &*history.tables.functions.get(id).name)
            .collect();
        assert_eq!(names, ["kept", "main"]);
        assert_eq!(history.tables.functions.len(), 2);
        assert_eq!(history.tables.stacks(), 3); // root, main, main-kept
    }
}
