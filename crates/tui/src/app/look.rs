use std::cmp::Ordering;
use std::ops::Range;
use std::time::Instant;

use super::{App, BINS, Baseline, Sort, View, WINDOWS};
use crate::callers::Callers;
use crate::picture::{Load, by_instruction};
use crate::tree::{BranchId, Tree, WHOLE};
use crate::{Detail, Group, History, Key, Picture, Query, Row, Source};

/// A branch with at least this share of its tree opens by itself.
const OPENS: f64 = 0.05;

/// What the cursor is on, whatever the order of the rows.
enum Held {
    Nothing,
    Key(Key),
    Branch(BranchId),
}

impl App {
    /// Looks at what is new, unless the rows are to keep still. Returns whether to draw.
    pub(crate) fn update(&mut self, source: &dyn Source, now: Instant) -> bool {
        let mut changed = false;
        if self.message.as_ref().is_some_and(|it| it.until <= now) {
            self.message = None;
            changed = true;
        }
        let version = source.version();
        if self.seen == Some(version) {
            return changed;
        }
        self.facts = source.facts();
        if self.still_until.is_some_and(|until| now < until) {
            return true;
        }
        self.still_until = None;
        self.seen = Some(version);
        if self.frozen.is_none() {
            self.refresh(source);
        }
        true
    }

    /// Keeps the rows where they are for a while.
    pub(crate) fn keep_still(&mut self, now: Instant) {
        self.still_until = Some(now + super::STILL);
    }

    /// Makes the picture anew: the window has moved, or something else is asked for.
    pub(crate) fn refresh(&mut self, source: &dyn Source) {
        let held = self.held();
        let frozen = self.frozen.take();
        match &frozen {
            Some(history) => self.look_at(history),
            None => source.look(&mut |history| self.look_at(history)),
        }
        self.frozen = frozen;
        self.follow(held);
    }

    /// Runs `see` on the history that is on the screen.
    pub(crate) fn with_history<R>(
        &self,
        source: &dyn Source,
        see: impl FnOnce(&Self, &History) -> R,
    ) -> Option<R> {
        match &self.frozen {
            Some(history) => Some(see(self, history)),
            None => {
                let mut see = Some(see);
                let mut result = None;
                source.look(&mut |history| {
                    if let Some(see) = see.take() {
                        result = Some(see(self, history));
                    }
                });
                result
            }
        }
    }

    fn look_at(&mut self, history: &History) {
        self.whole = history.span().unwrap_or(0..0);
        let spans = self.spans();
        let paths = matches!(self.view, View::Tree | View::Flame);
        let query = self.query(&spans, self.view.group(), paths);
        let picture = Picture::new(history, &query);
        let load = (!self.live).then(|| Load::new(history, &query));
        let details = self.details.iter().map(|it| &it.function);
        let details: Vec<Detail> = details
            .map(|function| Detail::new(history, &query, function))
            .collect();
        let weights = self
            .code
            .as_ref()
            .map(|it| by_instruction(history, &query, it.dso, &it.code));
        self.picture = picture;
        if let (Some(screen), Some(weights)) = (&mut self.code, weights) {
            screen.weights = weights;
        }
        if let Some(load) = load {
            self.load = load;
            self.grain = history.grain();
        }
        for (screen, detail) in self.details.iter_mut().zip(details) {
            screen.detail = detail;
        }
        self.sort_rows();
        if paths {
            self.tree = Tree::new(&self.picture.paths, self.inverted);
            self.open_heavy();
            self.list_visible();
        }
    }

    /// Looks up who calls the function that the cursor is on.
    pub(crate) fn find_callers(&mut self, source: &dyn Source) {
        let function = match self.subject() {
            Some(Key::Function(function)) if self.shows_callers() => function,
            _ => return self.callers = None,
        };
        let spans = self.spans();
        let callers = self.with_history(source, |app, history| {
            let query = app.query(&spans, Group::Function, false);
            Callers::of(history, &query, &function)
        });
        self.callers = callers.flatten();
    }

    /// Whether a line below the rows tells who calls the function under the cursor.
    pub(crate) fn shows_callers(&self) -> bool {
        self.view == View::Functions && self.is_main()
    }

    /// What to show, on these spans of time.
    pub(crate) fn query<'a>(&'a self, spans: &'a Spans, group: Group, paths: bool) -> Query<'a> {
        Query {
            event: self.event,
            group,
            window: spans.window.clone(),
            before: spans.before.clone(),
            bins: &spans.bins,
            filters: &self.filters,
            paths,
        }
    }

    /// The window, the one before it, and the windows of the rows' history.
    pub(crate) fn spans(&self) -> Spans {
        let Range { start, end } = self.whole;
        let length = WINDOWS[self.window].map(|seconds| seconds * 1_000_000_000);
        let window = match (self.live, length, &self.range) {
            (true, Some(length), _) => end.saturating_sub(length)..end,
            (false, _, Some(range)) => range.clone(),
            _ => start..end,
        };
        let length_now = window.end - window.start;
        let whole = window.start <= start && !(self.live && length.is_some());
        let before = if whole {
            0..0
        } else {
            window.start.saturating_sub(length_now)..window.start
        };
        let bins = match length {
            Some(length) if self.live => {
                let last = end.div_ceil(length) * length;
                let borders = (0..=BINS as u64).rev();
                borders
                    .map(|back| last.saturating_sub(back * length))
                    .collect()
            }
            _ => {
                let border = |index: u64| window.start + length_now / BINS as u64 * index;
                (0..=BINS as u64).map(border).collect()
            }
        };
        Spans {
            window,
            before,
            bins,
        }
    }

    /// Marks the shares of the window as what later ones are compared with.
    pub(crate) fn mark_baseline(&mut self, source: &dyn Source) {
        let spans = self.spans();
        let groups = [
            Group::Function,
            Group::Thread,
            Group::Process,
            Group::Module,
        ];
        let baseline = self.with_history(source, |app, history| {
            let mut baseline = Baseline::default();
            for group in groups {
                let picture = Picture::new(history, &app.query(&spans, group, false));
                baseline.total = picture.shown;
                let rows = picture.rows.into_iter();
                baseline.own.extend(rows.map(|row| (row.key, row.own)));
            }
            baseline
        });
        self.baseline = baseline;
    }

    pub(crate) fn sort_rows(&mut self) {
        let rows = &self.picture.rows;
        let mut order: Vec<usize> = (0..rows.len())
            .filter(|&index| {
                // what has just gone is a change, too
                rows[index].total.samples > 0 || rows[index].own_before.samples > 0
            })
            .collect();
        let changes: Vec<f64> = rows
            .iter()
            .map(|row| self.change(row).map_or(0.0, |(change, _)| change))
            .collect();
        let by_sort = |a: usize, b: usize| match self.sort {
            Sort::Own => heavier(&rows[a], &rows[b]),
            Sort::Total => rows[b].total.period.cmp(&rows[a].total.period),
            Sort::Change => changes[b].total_cmp(&changes[a]),
            Sort::Name => Ordering::Equal,
            Sort::Module => by_module(&rows[a].key, &rows[b].key),
        };
        order.sort_by(|&a, &b| {
            let by_sort = by_sort(a, b).then_with(|| match self.sort {
                Sort::Name => by_name(&rows[a].key, &rows[b].key),
                _ => heavier(&rows[a], &rows[b]),
            });
            let by_sort = if self.reversed {
                by_sort.reverse()
            } else {
                by_sort
            };
            by_sort.then_with(|| by_name(&rows[a].key, &rows[b].key))
        });
        self.order = order;
    }

    fn open_heavy(&mut self) {
        let whole = self.tree.branch(WHOLE).total.period as f64;
        for branch in &self.tree.branches {
            if branch.total.period as f64 >= whole * OPENS && !self.closed.contains(&branch.id) {
                self.open.insert(branch.id);
            }
        }
        // what is open but no longer in the tree may come back, but not without bound
        if self.open.len() > 10_000 {
            self.open.clear();
        }
    }

    /// Lists the branches of the tree whose callers are all open. In a chain of only children they
    /// stand below each other without a step to the right: stacks are deep and screens narrow.
    pub(crate) fn list_visible(&mut self) {
        self.visible.clear();
        let roots = self.tree.branch(WHOLE).children.clone();
        let alone = roots.len() == 1;
        let mut waiting: Vec<(u32, usize, bool)> = roots.rev().map(|it| (it, 0, alone)).collect();
        while let Some((index, indent, alone)) = waiting.pop() {
            self.visible.push((index, indent));
            let branch = self.tree.branch(index);
            if self.open.contains(&branch.id) {
                let only = branch.children.len() == 1 && branch.left_out == 0;
                let indent = indent + usize::from(!(alone && only));
                let children = branch.children.clone().rev();
                waiting.extend(children.map(|child| (child, indent, only)));
            }
        }
    }

    pub(crate) fn is_open(&self, branch: u32) -> bool {
        self.open.contains(&self.tree.branch(branch).id)
    }

    pub(crate) fn set_open(&mut self, branch: u32, open: bool) {
        let id = self.tree.branch(branch).id;
        if open {
            self.closed.remove(&id);
            self.open.insert(id);
        } else {
            self.open.remove(&id);
            self.closed.insert(id);
        }
        self.list_visible();
    }

    fn held(&self) -> Held {
        let place = self.place();
        if !place.follows || self.code.is_some() {
            return Held::Nothing;
        }
        match self.view {
            View::Tree if self.details.is_empty() => match self.visible.get(place.cursor) {
                Some(&(branch, _)) => Held::Branch(self.tree.branch(branch).id),
                None => Held::Nothing,
            },
            _ => self.subject().map_or(Held::Nothing, Held::Key),
        }
    }

    /// Puts the cursor on the row that it was on.
    fn follow(&mut self, held: Held) {
        let found = match (held, self.details.last()) {
            (Held::Nothing, _) => None,
            (Held::Branch(id), _) => self
                .visible
                .iter()
                .position(|&(branch, _)| self.tree.branch(branch).id == id),
            (Held::Key(_), Some(_)) => None,
            (Held::Key(key), None) => self
                .order
                .iter()
                .position(|&row| self.picture.rows[row].key == key),
        };
        let last = self.rows().saturating_sub(1);
        let place = self.place_mut();
        if let Some(cursor) = found {
            // the row stays at its height on the screen if it can
            let height = place.cursor.saturating_sub(place.offset);
            place.offset = cursor.saturating_sub(height);
            place.cursor = cursor;
        }
        place.cursor = place.cursor.min(last);
        if self.tree.find(self.zoom).is_none() {
            self.zoom = self.tree.branch(WHOLE).id;
        }
        if self.tree.find(self.selected).is_none() {
            self.selected = self.zoom;
        }
    }
}

/// See [`App::spans`].
pub(crate) struct Spans {
    pub(crate) window: Range<u64>,
    pub(crate) before: Range<u64>,
    pub(crate) bins: Vec<u64>,
}

fn heavier(a: &Row, b: &Row) -> Ordering {
    let own = b.own.period.cmp(&a.own.period);
    own.then_with(|| b.total.period.cmp(&a.total.period))
}

fn by_name(a: &Key, b: &Key) -> Ordering {
    let names = a.name().cmp(b.name());
    names.then_with(|| match (a, b) {
        (Key::Function(a), Key::Function(b)) => a.cmp(b),
        (Key::Thread(a), Key::Thread(b)) => a.tid.cmp(&b.tid),
        (Key::Process(a), Key::Process(b)) => a.pid.cmp(&b.pid),
        _ => Ordering::Equal,
    })
}

/// By module, or by number where rows have none.
fn by_module(a: &Key, b: &Key) -> Ordering {
    match (a, b) {
        (Key::Function(a), Key::Function(b)) => a.module.cmp(&b.module),
        (Key::Module(a), Key::Module(b)) => a.cmp(b),
        (Key::Thread(a), Key::Thread(b)) => a.tid.cmp(&b.tid),
        (Key::Process(a), Key::Process(b)) => a.pid.cmp(&b.pid),
        _ => Ordering::Equal,
    }
}
