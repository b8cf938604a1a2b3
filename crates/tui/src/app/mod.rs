//! What is on the screen, and what keys make of it. Knows no terminal.

mod look; // from the history to rows
mod press; // from keys to changes
mod search;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prof_model::{CodeLine, DsoId, FunctionCode};
use prof_profile::Weight;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::callers::Callers;
use crate::picture::Load;
use crate::theme::Theme;
use crate::tree::{BranchId, Tree, WHOLE};
use crate::{Detail, Facts, Filter, Function, Group, History, Key, Picture};

pub(crate) use search::Search;

/// How long rows stay where they are after the cursor has moved.
const STILL: Duration = Duration::from_secs(2);
/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(5);

/// Windows of a live profile, in seconds; the last one is everything.
pub(crate) const WINDOWS: [Option<u64>; 4] = [Some(1), Some(10), Some(60), None];

/// How many windows the history of a row shows.
pub(crate) const BINS: usize = 30;

/// What Tab goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Functions,
    Threads,
    Processes,
    Modules,
    Tree,
    Flame,
}

impl View {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Functions, "Functions"),
        (Self::Threads, "Threads"),
        (Self::Processes, "Processes"),
        (Self::Modules, "Modules"),
        (Self::Tree, "Tree"),
        (Self::Flame, "Flame"),
    ];

    pub(crate) fn group(self) -> Group {
        match self {
            Self::Threads => Group::Thread,
            Self::Processes => Group::Process,
            Self::Modules => Group::Module,
            Self::Functions | Self::Tree | Self::Flame => Group::Function,
        }
    }

    pub(crate) fn is_table(self) -> bool {
        !matches!(self, Self::Tree | Self::Flame)
    }
}

/// What the rows of a table are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Own,
    Total,
    Change,
    Name,
    Module,
}

impl Sort {
    const ALL: [Self; 5] = [
        Self::Own,
        Self::Total,
        Self::Change,
        Self::Name,
        Self::Module,
    ];

    fn describe(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Total => "total",
            Self::Change => "change",
            Self::Name => "name",
            Self::Module => "module",
        }
    }
}

/// Where the cursor stands in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) cursor: usize,
    pub(crate) offset: usize,
    /// It was moved: from then on it follows its row.
    follows: bool,
}

/// The callers and callees of one function.
#[derive(Clone, Debug)]
pub(crate) struct DetailScreen {
    pub(crate) function: Arc<Function>,
    pub(crate) place: Place,
    pub(crate) detail: Detail,
}

/// The code of one function.
#[derive(Clone, Debug)]
pub(crate) struct CodeScreen {
    pub(crate) function: Arc<Function>,
    pub(crate) name: Arc<str>, // of the code: an inlined function is a part of another one's
    pub(crate) dso: DsoId,
    pub(crate) code: FunctionCode,
    pub(crate) weights: Vec<Weight>, // by instruction
    pub(crate) place: Place,
    lines: usize,
}

/// What lies on top of the rows.
#[derive(Clone, Debug)]
pub(crate) enum Overlay {
    None,
    Help {
        offset: usize,
    },
    /// Rows to choose a filter from, with their shares in percent.
    Pick {
        title: &'static str,
        rows: Vec<(Key, f64)>,
        cursor: usize,
    },
    Prompt {
        purpose: Purpose,
        text: String,
    },
}

/// What a line that is being typed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Search,
    Write,
}

/// Shares to compare with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baseline {
    own: FxHashMap<Key, Weight>,
    total: Weight,
}

/// A line at the bottom for a while.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) is_error: bool,
    until: Instant,
}

/// What the terminal is to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Quit,
    Suspend,
    Redraw,
    Copy(String),
}

/// The screens.
pub(crate) struct App {
    pub(crate) live: bool,
    pub(crate) theme: Theme,
    pub(crate) view: View,
    pub(crate) window: usize,             // into WINDOWS
    pub(crate) range: Option<Range<u64>>, // of a recorded profile; `None`: all
    pub(crate) whole: Range<u64>,         // from the first sample to the last
    pub(crate) load: Load,                // of a recorded profile, over all of its time
    grain: u64,                           // no range is shorter
    pub(crate) event: u16,
    pub(crate) sort: Sort,
    pub(crate) reversed: bool,
    pub(crate) inverted: bool,
    pub(crate) filters: Vec<Filter>,
    pub(crate) search: Option<Search>,
    pub(crate) frozen: Option<Box<History>>,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) overlay: Overlay,
    pub(crate) message: Option<Message>,
    pub(crate) details: Vec<DetailScreen>,
    pub(crate) code: Option<CodeScreen>, // lies over the details
    pub(crate) facts: Facts,
    pub(crate) callers: Option<Callers>, // of the function under the cursor of its table
    pub(crate) picture: Picture,
    pub(crate) order: Vec<usize>, // of picture.rows
    pub(crate) tree: Tree,
    pub(crate) visible: Vec<(u32, usize)>, // branches of the tree, and how far to the right
    pub(crate) zoom: BranchId,             // what fills the flame graph's width
    pub(crate) selected: BranchId,         // in the flame graph
    pub(crate) flame_offset: usize,
    pub(crate) page: usize, // rows that the last drawing had room for
    places: [Place; 6],     // by view
    open: FxHashSet<BranchId>,
    closed: FxHashSet<BranchId>,
    still_until: Option<Instant>,
    seen: Option<u64>, // the source's version
}

impl App {
    pub(crate) fn new(live: bool, color: bool) -> Self {
        let root = Tree::new(&Default::default(), false).branch(WHOLE).id;
        Self {
            live,
            theme: Theme::new(color),
            view: View::Functions,
            window: 1,
            range: None,
            whole: 0..0,
            load: Load::default(),
            grain: 1,
            event: 0,
            sort: Sort::Own,
            reversed: false,
            inverted: false,
            filters: Vec::new(),
            search: None,
            frozen: None,
            baseline: None,
            overlay: Overlay::None,
            message: None,
            details: Vec::new(),
            code: None,
            facts: Facts::default(),
            callers: None,
            picture: Picture::default(),
            order: Vec::new(),
            tree: Tree::new(&Default::default(), false),
            visible: Vec::new(),
            zoom: root,
            selected: root,
            flame_offset: 0,
            page: 10,
            places: Default::default(),
            open: FxHashSet::default(),
            closed: FxHashSet::default(),
            still_until: None,
            seen: None,
        }
    }

    /// Shows a message of somebody else.
    pub(crate) fn tell(&mut self, news: Result<String, String>, now: Instant) {
        match news {
            Ok(text) => self.say(text, now),
            Err(text) => self.complain(text, now),
        }
    }

    fn say(&mut self, text: impl Into<String>, now: Instant) {
        self.message = Some(Message {
            text: text.into(),
            is_error: false,
            until: now + MESSAGE,
        });
    }

    fn complain(&mut self, text: impl Into<String>, now: Instant) {
        self.message = Some(Message {
            text: text.into(),
            is_error: true,
            until: now + MESSAGE,
        });
    }

    /// The list that the cursor is in.
    pub(crate) fn place(&self) -> &Place {
        match (&self.code, self.details.last()) {
            (Some(code), _) => &code.place,
            (None, Some(detail)) => &detail.place,
            (None, None) => &self.places[self.view as usize],
        }
    }

    pub(crate) fn place_mut(&mut self) -> &mut Place {
        match (&mut self.code, self.details.last_mut()) {
            (Some(code), _) => &mut code.place,
            (None, Some(detail)) => &mut detail.place,
            (None, None) => &mut self.places[self.view as usize],
        }
    }

    /// How many rows the list has.
    pub(crate) fn rows(&self) -> usize {
        if let Some(screen) = &self.code {
            return screen.lines;
        }
        match (self.details.last(), self.view) {
            (Some(screen), _) => screen.detail.callers.len() + screen.detail.callees.len(),
            (None, View::Tree) => self.visible.len(),
            (None, View::Flame) => 0,
            (None, _) => self.order.len(),
        }
    }

    /// What the cursor is on.
    pub(crate) fn subject(&self) -> Option<Key> {
        let function = |branch: u32| {
            let function = self.tree.function(branch)?;
            Some(Key::Function(Arc::clone(function)))
        };
        if let Some(screen) = &self.code {
            return Some(Key::Function(Arc::clone(&screen.function)));
        }
        let cursor = self.place().cursor;
        match (self.details.last(), self.view) {
            (Some(screen), _) => {
                let neighbour = screen.neighbour(cursor);
                let function = neighbour.and_then(|it| it.function.as_ref());
                let function = function.unwrap_or(&screen.function);
                Some(Key::Function(Arc::clone(function)))
            }
            (None, View::Tree) => function(self.visible.get(cursor)?.0),
            (None, View::Flame) => function(self.tree.find(self.selected)?),
            (None, _) => Some(self.picture.rows[*self.order.get(cursor)?].key.clone()),
        }
    }

    /// How a row's share has changed, see [`Picture::change`].
    pub(crate) fn change(&self, row: &crate::Row) -> Option<(f64, bool)> {
        match &self.baseline {
            None => self.picture.change(row),
            Some(baseline) => {
                let own = baseline.own.get(&row.key).copied().unwrap_or_default();
                let now = (row.own, self.picture.shown);
                crate::picture::change(now, (own, baseline.total))
            }
        }
    }

    /// The filters in words.
    pub(crate) fn filter_words(&self) -> String {
        let words = self.filters.iter().map(|filter| {
            let verb = if filter.keep { "only" } else { "without" };
            format!("{verb} {}", filter.key)
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

impl CodeScreen {
    fn new(function: Arc<Function>, name: Arc<str>, dso: DsoId, code: FunctionCode) -> Self {
        Self {
            lines: code.lines(true).len(),
            function,
            name,
            dso,
            code,
            weights: Vec::new(),
            place: Place::default(),
        }
    }

    /// Puts the cursor on the instruction that weighs most.
    fn go_to_hottest(&mut self) {
        let lines = self.code.lines(true);
        let weight = |line: &CodeLine<'_>| match line {
            CodeLine::Instruction(index) => self.weights.get(*index).map_or(0, |it| it.period),
            _ => 0,
        };
        let heaviest = (0..lines.len()).rev().max_by_key(|&at| weight(&lines[at]));
        self.place.cursor = heaviest.unwrap_or(0);
    }
}

impl DetailScreen {
    pub(crate) fn neighbour(&self, index: usize) -> Option<&crate::Neighbour> {
        let Detail {
            callers, callees, ..
        } = &self.detail;
        callers.iter().chain(callees).nth(index)
    }
}
