use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use prof_model::CodeLine;

use super::{
    App, CodeScreen, DetailScreen, Effect, Overlay, Place, Purpose, Search, Sort, View, WINDOWS,
};
use crate::keys::{self, Command};
use crate::picture::hottest_address;
use crate::source::Window;
use crate::tree::WHOLE;
use crate::{Detail, Filter, Function, Group, Key, Paths, Picture, Source};

impl App {
    /// Does what a key asks for.
    pub(crate) fn press(&mut self, key: KeyEvent, source: &mut dyn Source, now: Instant) -> Effect {
        self.message = None;
        match std::mem::replace(&mut self.overlay, Overlay::None) {
            Overlay::None => match keys::command(key, self.live) {
                Some(command) => self.run(command, source, now),
                None => Effect::None,
            },
            Overlay::Help { offset } => {
                self.scroll_help(key, offset);
                Effect::None
            }
            Overlay::Pick {
                title,
                rows,
                cursor,
            } => {
                self.pick(key, title, rows, cursor, source);
                Effect::None
            }
            Overlay::Prompt { purpose, text } => {
                self.type_key(key, purpose, text, source, now);
                Effect::None
            }
        }
    }

    fn run(&mut self, command: Command, source: &mut dyn Source, now: Instant) -> Effect {
        match command {
            Command::Down => self.step(1, now),
            Command::Up => self.step(-1, now),
            Command::PageDown => self.step(self.page as isize, now),
            Command::PageUp => self.step(-(self.page as isize), now),
            Command::First => self.jump(0, now),
            Command::Last => self.jump(self.rows().saturating_sub(1), now),
            Command::Left => self.sideways(-1, now),
            Command::Right => self.sideways(1, now),
            Command::NextView => self.turn(1, source),
            Command::PreviousView => self.turn(View::ALL.len() - 1, source),
            Command::Enter => self.enter(source, now),
            Command::Back => self.back(source),
            Command::Window(window) => {
                self.window = window;
                self.refresh(source);
            }
            Command::NextSort => self.next_sort(now),
            Command::ReverseSort => {
                self.reversed = !self.reversed;
                self.sort_rows();
            }
            Command::Invert => self.invert(source, now),
            Command::PickThread => self.toggle_filter(Group::Thread, source, now),
            Command::PickProcess => self.toggle_filter(Group::Process, source, now),
            Command::Search => self.prompt(Purpose::Search, String::new()),
            Command::NextMatch => self.find(1, now),
            Command::PreviousMatch => self.find(-1, now),
            Command::Hide => self.add_filter(false, source, now),
            Command::Focus => self.add_filter(true, source, now),
            Command::Freeze => self.freeze(source, now),
            Command::Reset => self.reset(source, now),
            Command::Annotate => self.annotate(source, now),
            Command::Baseline => self.toggle_baseline(source, now),
            Command::Earlier => self.shift_range(-1, source),
            Command::Later => self.shift_range(1, source),
            Command::Narrow => self.scale_range(true, source),
            Command::Widen => self.scale_range(false, source),
            Command::NextEvent => self.next_event(source, now),
            Command::Write => self.prompt(Purpose::Write, source.suggested_file()),
            Command::Copy => return self.copy(source, now),
            Command::Help => self.overlay = Overlay::Help { offset: 0 },
            Command::Redraw => return Effect::Redraw,
            Command::Suspend => return Effect::Suspend,
            Command::Quit => return Effect::Quit,
        }
        Effect::None
    }

    fn in_flame(&self) -> bool {
        self.view == View::Flame && self.is_main()
    }

    /// Whether nothing lies over the view.
    pub(super) fn is_main(&self) -> bool {
        self.details.is_empty() && self.code.is_none()
    }

    /// Shows the code of the function under the cursor.
    fn annotate(&mut self, source: &mut dyn Source, now: Instant) {
        let Some(Key::Function(function)) = self.subject() else {
            return self.say("the cursor is on no function", now);
        };
        let spans = self.spans();
        let at = self.with_history(source, |app, history| {
            let query = app.query(&spans, Group::Function, false);
            hottest_address(history, &query, &function)
        });
        let Some((dso, address)) = at.flatten() else {
            let text = format!("no sample hit {} itself", function.name);
            return self.say(text, now);
        };
        match source.code(dso, address) {
            Ok((name, code)) => {
                self.code = Some(CodeScreen::new(function, name, dso, code));
                self.refresh(source);
                if let Some(screen) = &mut self.code {
                    screen.go_to_hottest();
                }
            }
            Err(text) => self.complain(text, now),
        }
    }

    fn step(&mut self, by: isize, now: Instant) {
        if self.in_flame() {
            return self.step_in_flame(by, now);
        }
        let last = self.rows().saturating_sub(1);
        self.jump(self.place().cursor.saturating_add_signed(by).min(last), now);
    }

    fn jump(&mut self, to: usize, now: Instant) {
        if self.in_flame() {
            self.selected = self.zoom;
        }
        let place = self.place_mut();
        place.cursor = to;
        place.follows = to > 0; // on the first row it stays on the first row
        self.keep_still(now);
    }

    /// Down leads to the heaviest callee, up to the caller.
    fn step_in_flame(&mut self, by: isize, now: Instant) {
        self.keep_still(now);
        for _ in 0..by.unsigned_abs() {
            let Some(at) = self.tree.find(self.selected) else {
                return;
            };
            let branch = self.tree.branch(at);
            let next = if by < 0 {
                (branch.id != self.zoom).then_some(branch.parent)
            } else {
                branch.children.clone().next()
            };
            match next {
                Some(next) => self.selected = self.tree.branch(next).id,
                None => return,
            }
        }
    }

    fn sideways(&mut self, by: i32, now: Instant) {
        if !self.is_main() {
            return;
        }
        match self.view {
            View::Flame => {
                self.keep_still(now);
                let Some(at) = self.tree.find(self.selected) else {
                    return;
                };
                let branch = self.tree.branch(at);
                let siblings = self.tree.branch(branch.parent).children.clone();
                let next = at.saturating_add_signed(by);
                if branch.id != self.zoom && siblings.contains(&next) {
                    self.selected = self.tree.branch(next).id;
                }
            }
            View::Tree => {
                self.keep_still(now);
                let cursor = self.place().cursor;
                let Some(&(branch, _)) = self.visible.get(cursor) else {
                    return;
                };
                if by > 0 || self.is_open(branch) {
                    self.set_open(branch, by > 0);
                } else {
                    let parent = self.tree.branch(branch).parent;
                    let above = &self.visible[..cursor];
                    if let Some(at) = above.iter().rposition(|&(it, _)| it == parent) {
                        self.jump(at, now);
                    }
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, by: usize, source: &dyn Source) {
        self.details.clear();
        self.code = None;
        let next = (self.view as usize + by) % View::ALL.len();
        self.view = View::ALL[next].0;
        self.still_until = None;
        self.refresh(source);
    }

    fn enter(&mut self, source: &dyn Source, now: Instant) {
        if self.code.is_some() {
            return;
        }
        if self.details.is_empty() {
            match self.view {
                View::Tree => {
                    if let Some(&(branch, _)) = self.visible.get(self.place().cursor) {
                        self.set_open(branch, !self.is_open(branch));
                        self.keep_still(now);
                    }
                    return;
                }
                View::Flame => {
                    self.zoom = self.selected;
                    self.flame_offset = 0;
                    return;
                }
                _ => {}
            }
        }
        match self.subject() {
            Some(Key::Function(function)) => {
                if self
                    .details
                    .last()
                    .is_some_and(|it| it.function == function)
                {
                    return;
                }
                self.details.push(DetailScreen {
                    function,
                    place: Place::default(),
                    detail: Detail::default(),
                });
                self.refresh(source);
            }
            // its functions are what one wants to know next
            Some(key) => {
                self.set_filter(key, true);
                self.view = View::Functions;
                self.refresh(source);
            }
            None => {}
        }
    }

    fn back(&mut self, source: &dyn Source) {
        let root = self.tree.branch(WHOLE).id;
        if self.code.take().is_some() || self.details.pop().is_some() {
            self.still_until = None;
        } else if self.in_flame() && self.zoom != root {
            self.zoom = root;
        } else if self.search.take().is_none() {
            self.filters.pop();
        }
        self.refresh(source);
    }

    fn next_sort(&mut self, now: Instant) {
        let at = Sort::ALL.iter().position(|&sort| sort == self.sort);
        self.sort = Sort::ALL[(at.unwrap_or(0) + 1) % Sort::ALL.len()];
        self.reversed = false;
        self.sort_rows();
        self.say(format!("sorted by {}", self.sort.describe()), now);
    }

    fn invert(&mut self, source: &dyn Source, now: Instant) {
        if self.view.is_table() {
            return self.say("the tree and the flame graph can be inverted: Tab", now);
        }
        self.inverted = !self.inverted;
        self.zoom = self.tree.branch(WHOLE).id;
        self.selected = self.zoom;
        self.refresh(source);
        let what = if self.inverted { "callers" } else { "callees" };
        self.say(format!("{what} below"), now);
    }

    /// Only one thread or process: the one under the cursor, or one to be chosen. Or all again.
    fn toggle_filter(&mut self, group: Group, source: &dyn Source, now: Instant) {
        let is_such = |filter: &Filter| {
            filter.keep
                && match filter.key {
                    Key::Thread(_) => group == Group::Thread,
                    Key::Process(_) => group == Group::Process,
                    _ => false,
                }
        };
        if self.filters.iter().any(is_such) {
            self.filters.retain(|filter| !is_such(filter));
            return self.refresh(source);
        }
        if self.view.is_table() && self.view.group() == group && self.details.is_empty() {
            return self.add_filter(true, source, now);
        }
        let spans = self.spans();
        let rows = self.with_history(source, |app, history| {
            let picture = Picture::new(history, &app.query(&spans, group, false));
            let share = |row: &crate::Row| picture.percent(row.own);
            let rows = picture.rows.iter().filter(|row| row.own.samples > 0);
            let mut rows: Vec<_> = rows.map(|row| (row.key.clone(), share(row))).collect();
            rows.sort_by(|a, b| b.1.total_cmp(&a.1));
            rows
        });
        self.overlay = Overlay::Pick {
            title: match group {
                Group::Thread => "Only one thread",
                _ => "Only one process",
            },
            rows: rows.unwrap_or_default(),
            cursor: 0,
        };
    }

    fn pick(
        &mut self,
        key: KeyEvent,
        title: &'static str,
        rows: Vec<(Key, f64)>,
        cursor: usize,
        source: &dyn Source,
    ) {
        let last = rows.len().saturating_sub(1);
        let cursor = match keys::command(key, self.live) {
            Some(Command::Down) => (cursor + 1).min(last),
            Some(Command::Up) => cursor.saturating_sub(1),
            Some(Command::PageDown) => (cursor + self.page).min(last),
            Some(Command::PageUp) => cursor.saturating_sub(self.page),
            Some(Command::First) => 0,
            Some(Command::Last) => last,
            Some(Command::Enter) => {
                if let Some((key, _)) = rows.into_iter().nth(cursor) {
                    self.set_filter(key, true);
                    self.refresh(source);
                }
                return;
            }
            _ => return,
        };
        self.overlay = Overlay::Pick {
            title,
            rows,
            cursor,
        };
    }

    fn add_filter(&mut self, keep: bool, source: &dyn Source, now: Instant) {
        match self.subject() {
            Some(key) => {
                self.set_filter(key, keep);
                self.still_until = None;
                self.refresh(source);
            }
            None => self.say("there is nothing under the cursor", now),
        }
    }

    fn set_filter(&mut self, key: Key, keep: bool) {
        let filter = Filter { key, keep };
        self.filters.retain(|other| other.key != filter.key);
        self.filters.push(filter);
    }

    fn freeze(&mut self, source: &dyn Source, now: Instant) {
        if self.frozen.take().is_some() {
            self.refresh(source);
            return self.say("going on", now);
        }
        let mut copy = None;
        source.look(&mut |history| copy = Some(Box::new(history.clone())));
        self.frozen = copy;
        self.refresh(source);
    }

    fn reset(&mut self, source: &mut dyn Source, now: Instant) {
        if self.live {
            source.reset();
            self.frozen = None;
            self.say("all samples forgotten", now);
        } else {
            self.range = None;
            self.filters.clear();
        }
        self.refresh(source);
    }

    fn toggle_baseline(&mut self, source: &dyn Source, now: Instant) {
        if self.baseline.take().is_some() {
            self.sort_rows();
            return self.say("changes are against the window before", now);
        }
        self.mark_baseline(source);
        self.sort_rows();
        self.say("changes are against what is shown now", now);
    }

    fn shift_range(&mut self, by: i64, source: &dyn Source) {
        let Some(range) = self.range.clone() else {
            return;
        };
        let length = range.end - range.start;
        let step = (length / 2).max(1) as i64 * by;
        let latest = self.whole.end.saturating_sub(length);
        let start = range.start.saturating_add_signed(step);
        let start = start.clamp(self.whole.start, latest.max(self.whole.start));
        self.range = Some(start..start + length);
        self.refresh(source);
    }

    fn scale_range(&mut self, narrow: bool, source: &dyn Source) {
        let range = self.range.clone().unwrap_or_else(|| self.whole.clone());
        let length = range.end - range.start;
        let range = if narrow {
            let half = (length / 2).max(self.grain);
            let start = range.start + length.saturating_sub(half) / 2;
            start..(start + half).min(range.end)
        } else {
            let half = length / 2;
            let start = range.start.saturating_sub(half).max(self.whole.start);
            start..(range.end + half).min(self.whole.end)
        };
        self.range = (range != self.whole).then_some(range);
        self.refresh(source);
    }

    fn next_event(&mut self, source: &dyn Source, now: Instant) {
        let events = self.facts.events.len() as u16;
        if events < 2 {
            return self.say("there is only one event", now);
        }
        self.event = (self.event + 1) % events;
        self.baseline = None;
        self.refresh(source);
        let name = self.facts.events[usize::from(self.event)].name.clone();
        self.say(format!("event {name}"), now);
    }

    fn prompt(&mut self, purpose: Purpose, text: String) {
        self.overlay = Overlay::Prompt { purpose, text };
    }

    fn type_key(
        &mut self,
        key: KeyEvent,
        purpose: Purpose,
        mut text: String,
        source: &mut dyn Source,
        now: Instant,
    ) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => {
                return match purpose {
                    Purpose::Search => self.start_search(&text, now),
                    Purpose::Write => self.write(&text, source, now),
                };
            }
            KeyCode::Esc => return,
            KeyCode::Char('c') if control => return,
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(c) if !control => text.push(c),
            _ => {}
        }
        self.overlay = Overlay::Prompt { purpose, text };
    }

    fn start_search(&mut self, pattern: &str, now: Instant) {
        if pattern.is_empty() {
            self.search = None;
            return;
        }
        match Search::new(pattern) {
            Ok(search) => {
                self.search = Some(search);
                self.find(0, now);
            }
            Err(error) => self.complain(error, now),
        }
    }

    /// Moves to the next row that matches, from the one after the cursor, or from the cursor itself
    /// with 0.
    fn find(&mut self, direction: isize, now: Instant) {
        let Some(search) = &self.search else {
            return self.say("nothing to find: type / and a regular expression", now);
        };
        let matching: Vec<bool> = match (self.details.last(), self.view) {
            _ if self.code.is_some() => self.code_lines_matching(search),
            (Some(screen), _) => (0..self.rows())
                .map(|index| {
                    let function = screen.neighbour(index).and_then(|it| it.function.clone());
                    function.is_some_and(|it| search.matches(&Key::Function(it)))
                })
                .collect(),
            (None, View::Tree) => {
                let functions = self.visible.iter().map(|&(it, _)| self.tree.function(it));
                functions
                    .map(|it| it.is_some_and(|it| search.matches(&Key::Function(Arc::clone(it)))))
                    .collect()
            }
            (None, View::Flame) => {
                let branches = 0..self.tree.branches.len() as u32;
                branches
                    .map(|it| self.tree.function(it))
                    .map(|it| it.is_some_and(|it| search.matches(&Key::Function(Arc::clone(it)))))
                    .collect()
            }
            (None, _) => {
                let rows = self.order.iter().map(|&row| &self.picture.rows[row].key);
                rows.map(|key| search.matches(key)).collect()
            }
        };
        let at = match self.in_flame() {
            true => self.tree.find(self.selected).unwrap_or(0) as usize,
            false => self.place().cursor,
        };
        let count = matching.len();
        let candidates = (0..count).map(|step| match direction {
            -1 => (at + 2 * count - 1 - step) % count,
            _ => (at + step + direction.unsigned_abs()) % count,
        });
        let found = candidates.into_iter().find(|&index| matching[index]);
        match found {
            Some(index) if self.in_flame() => {
                self.selected = self.tree.branch(index as u32).id;
                self.zoom = self.tree.branch(WHOLE).id;
                self.keep_still(now);
            }
            Some(index) => self.jump(index, now),
            None => {
                let text = format!("nothing here matches {}", search.pattern);
                self.complain(text, now);
            }
        }
    }

    fn code_lines_matching(&self, search: &Search) -> Vec<bool> {
        let Some(CodeScreen { code, .. }) = &self.code else {
            return Vec::new();
        };
        let text = |line: &CodeLine<'_>| match *line {
            CodeLine::Function(name, _) => name.to_owned(),
            CodeLine::Source(_, text) => text.to_owned(),
            CodeLine::Instruction(index) => code.instructions[index].text.clone(),
        };
        let lines = code.lines(true);
        lines
            .iter()
            .map(|it| search.matches_text(&text(it)))
            .collect()
    }

    fn write(&mut self, name: &str, source: &mut dyn Source, now: Instant) {
        if name.is_empty() {
            return;
        }
        let paths = self.paths(source, None);
        let spans = self.spans();
        let written = source.write(
            Path::new(name),
            &Window {
                event: self.event,
                span: &spans.window,
                paths: &paths,
                filters: &self.filter_words(),
            },
        );
        self.tell(written, now);
    }

    /// The stacks of the window, or those with `also`.
    fn paths(&self, source: &dyn Source, also: Option<Key>) -> Paths {
        let spans = self.spans();
        let mut filters = self.filters.clone();
        filters.extend(also.map(|key| Filter { key, keep: true }));
        let paths = self.with_history(source, |app, history| {
            let mut query = app.query(&spans, Group::Function, true);
            query.filters = &filters;
            Picture::new(history, &query).paths
        });
        paths.unwrap_or_default()
    }

    fn copy(&mut self, source: &dyn Source, now: Instant) -> Effect {
        let stack = self.stack_under_cursor(source);
        if stack.is_empty() {
            self.say("there is no stack under the cursor", now);
            return Effect::None;
        }
        let lines = stack
            .iter()
            .map(|it| format!("{} ({})\n", it.name, it.module));
        self.say(format!("copied a stack of {} frames", stack.len()), now);
        Effect::Copy(lines.collect())
    }

    /// The branch's own, or the heaviest one with what the cursor is on. Innermost first.
    fn stack_under_cursor(&self, source: &dyn Source) -> Vec<Arc<Function>> {
        let branch = match (self.is_main(), self.view) {
            (true, View::Tree) => self.visible.get(self.place().cursor).map(|&(it, _)| it),
            (true, View::Flame) => self.tree.find(self.selected),
            _ => None,
        };
        if let Some(branch) = branch {
            let mut path = self.tree.path(branch);
            if !self.inverted {
                path.reverse();
            }
            let functions = path.into_iter().filter_map(|it| self.tree.function(it));
            return functions.cloned().collect();
        }
        let Some(subject) = self.subject() else {
            return Vec::new();
        };
        let paths = self.paths(source, Some(subject.clone()));
        let is_innermost = |path: &[u32]| match (&subject, path.last()) {
            (Key::Function(function), Some(&last)) => paths.functions[last as usize] == *function,
            _ => true,
        };
        let heaviest = paths
            .stacks
            .iter()
            .max_by_key(|(path, weight)| (is_innermost(path), weight.period));
        let path = heaviest.into_iter().flat_map(|(path, _)| path.iter().rev());
        path.map(|&it| Arc::clone(&paths.functions[it as usize]))
            .collect()
    }

    fn scroll_help(&mut self, key: KeyEvent, offset: usize) {
        let last = keys::help(self.live).count().saturating_sub(1);
        let offset = match keys::command(key, self.live) {
            Some(Command::Down) => (offset + 1).min(last),
            Some(Command::Up) => offset.saturating_sub(1),
            Some(Command::PageDown) => (offset + self.page).min(last),
            Some(Command::PageUp) => offset.saturating_sub(self.page),
            _ => return, // any other key closes it
        };
        self.overlay = Overlay::Help { offset };
    }

    /// The window in words.
    pub(crate) fn window_words(&self) -> String {
        let covered = self.picture.seconds();
        match (self.live, WINDOWS[self.window], &self.range) {
            (true, Some(seconds), _) if covered + 0.5 < seconds as f64 => {
                format!("last {seconds} s ({covered:.0} s so far)")
            }
            (true, Some(seconds), _) => format!("last {seconds} s"),
            (true, None, _) => {
                let covered = std::time::Duration::from_secs_f64(covered);
                format!("all, {}", crate::format::duration(covered))
            }
            (false, _, range) => {
                let start = self.whole.start;
                let range = range.as_ref().unwrap_or(&self.whole);
                let seconds = |at: u64| at.saturating_sub(start) as f64 / 1e9;
                let (from, to) = (seconds(range.start), seconds(range.end));
                let words = format!("{from:.2} to {to:.2} s");
                match self.facts.clock {
                    Some(clock) => {
                        let time = |at| clock.time_of_day(at);
                        format!("{words}, {} to {}", time(range.start), time(range.end))
                    }
                    None => words,
                }
            }
        }
    }
}
