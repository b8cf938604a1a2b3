//! Which key does what: the table that help prints and presses are looked up in.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    Left,
    Right,
    NextView,
    PreviousView,
    Enter,
    Back,
    Window(usize),
    NextSort,
    ReverseSort,
    Invert,
    PickThread,
    PickProcess,
    Search,
    NextMatch,
    PreviousMatch,
    Hide,
    Focus,
    Freeze,
    Reset,
    Annotate,
    Baseline,
    Earlier,
    Later,
    Narrow,
    Widen,
    NextEvent,
    Write,
    Copy,
    Help,
    Redraw,
    Suspend,
    Quit,
}

/// Where a key means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Live,
    Recorded,
}

/// A key, or a few that do the same.
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    /// As help names them.
    pub(crate) label: &'static str,
    pub(crate) command: Command,
    pub(crate) help: &'static str,
    pub(crate) when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Ctrl(char),
    Code(KeyCode),
}

use Key::{Char, Code, Ctrl};
use When::{Always, Live, Recorded};

macro_rules! keys {
    ($($keys:expr, $label:literal, $command:expr, $when:expr, $help:literal;)*) => {
        &[$(Binding { keys: &$keys, label: $label, command: $command, help: $help, when: $when }),*]
    };
}

/// Every key. Those with an empty label stand in the line of another one.
pub(crate) const BINDINGS: &[Binding] = keys![
    [Code(KeyCode::Down), Char('j')], "↓ ↑ j k", Command::Down, Always, "move the cursor";
    [Code(KeyCode::Up), Char('k')], "", Command::Up, Always, "";
    [Code(KeyCode::PageDown), Ctrl('f')], "PgDn PgUp", Command::PageDown, Always, "move it by a page";
    [Code(KeyCode::PageUp), Ctrl('b')], "", Command::PageUp, Always, "";
    [Char('g'), Code(KeyCode::Home)], "g G", Command::First, Always, "to the first, to the last row";
    [Char('G'), Code(KeyCode::End)], "", Command::Last, Always, "";
    [Code(KeyCode::Right)], "→ ←", Command::Right, Always, "open, close a branch; move in the flame graph";
    [Code(KeyCode::Left)], "", Command::Left, Always, "";
    [Code(KeyCode::Tab)], "Tab", Command::NextView, Always, "functions, threads, processes, modules, tree, flame";
    [Code(KeyCode::BackTab)], "", Command::PreviousView, Always, "";
    [Code(KeyCode::Enter)], "Enter", Command::Enter, Always, "callers, callees and lines; open a branch; zoom";
    [Code(KeyCode::Esc)], "Esc", Command::Back, Always, "back; drop the search, the last filter";
    [Char('s')], "s S", Command::NextSort, Always, "sort by the next column; turn the order round";
    [Char('S')], "", Command::ReverseSort, Always, "";
    [Char('i')], "i", Command::Invert, Always, "invert tree and flame graph: callers below";
    [Char('t')], "t p", Command::PickThread, Always, "only one thread, one process; again: all";
    [Char('p')], "", Command::PickProcess, Always, "";
    [Char('/')], "/ n N", Command::Search, Always, "find a regular expression; next, previous";
    [Char('n')], "", Command::NextMatch, Always, "";
    [Char('N')], "", Command::PreviousMatch, Always, "";
    [Char('h')], "h", Command::Hide, Always, "hide: leave out samples with it";
    [Char('o')], "o", Command::Focus, Always, "focus: only samples with it";
    [Char('1')], "1 2 3 4", Command::Window(0), Live, "window: last 1 s, 10 s, 60 s, all";
    [Char('2')], "", Command::Window(1), Live, "";
    [Char('3')], "", Command::Window(2), Live, "";
    [Char('4')], "", Command::Window(3), Live, "";
    [Char(' ')], "Space", Command::Freeze, Live, "freeze the picture; collection goes on";
    [Char('r')], "r", Command::Reset, Live, "reset: forget all samples so far";
    [Char(',')], ", .", Command::Earlier, Recorded, "time range: earlier, later";
    [Char('.')], "", Command::Later, Recorded, "";
    [Char('+'), Char('=')], "+ -", Command::Narrow, Recorded, "time range: half as long, twice as long";
    [Char('-')], "", Command::Widen, Recorded, "";
    [Char('r')], "r", Command::Reset, Recorded, "reset: all of the time, no filters";
    [Char('a')], "a", Command::Annotate, Always, "annotate: source and instructions with their shares";
    [Char('b')], "b", Command::Baseline, Always, "mark a baseline, show changes against it; again: none";
    [Char('e')], "e", Command::NextEvent, Always, "the next event";
    [Char('w')], "w", Command::Write, Always, "write the window: FILE.svg, or any other name for perf.data";
    [Char('y')], "y", Command::Copy, Always, "copy the stack to the clipboard";
    [Ctrl('l')], "Ctrl-L", Command::Redraw, Always, "draw the screen again";
    [Ctrl('z')], "Ctrl-Z", Command::Suspend, Always, "suspend";
    [Char('?'), Code(KeyCode::F(1))], "?", Command::Help, Always, "this help";
    [Char('q'), Ctrl('c')], "q", Command::Quit, Always, "quit";
];

/// What a press asks for on screens of a live or of a recorded profile.
pub(crate) fn command(event: KeyEvent, live: bool) -> Option<Command> {
    let key = match event.code {
        KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => Ctrl(c),
        KeyCode::Char(c) => Char(c),
        code => Code(code),
    };
    BINDINGS
        .iter()
        .filter(|binding| binding.is_for(live))
        .find(|binding| binding.keys.contains(&key))
        .map(|binding| binding.command)
}

impl Binding {
    pub(crate) fn is_for(&self, live: bool) -> bool {
        match self.when {
            Always => true,
            Live => live,
            Recorded => !live,
        }
    }
}

/// The lines of the help: keys and what they do.
pub(crate) fn help(live: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    BINDINGS
        .iter()
        .filter(move |binding| binding.is_for(live) && !binding.label.is_empty())
        .map(|binding| (binding.label, binding.help))
}
