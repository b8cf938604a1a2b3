//! Colours, or none.

use ratatui::style::{Color, Modifier, Style};

use crate::Kind;

/// How things look. Everything can be told apart without colours as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    color: bool,
}

impl Theme {
    pub(crate) fn new(color: bool) -> Self {
        Self { color }
    }

    pub(crate) fn has_color(self) -> bool {
        self.color
    }

    fn fg(self, color: Color) -> Style {
        if self.color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(crate) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn faint(self) -> Style {
        if self.color {
            Style::new().fg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    /// The heading of a table, the tab that is open.
    pub(crate) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The row under the cursor.
    pub(crate) fn cursor(self) -> Style {
        if self.color {
            Style::new().bg(Color::Indexed(24)).fg(Color::White)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// What needs attention.
    pub(crate) fn alarm(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn notice(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What a search has found.
    pub(crate) fn found(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::UNDERLINED)
    }

    /// A share in percent: perf's colours.
    pub(crate) fn percent(self, percent: f64) -> Style {
        match percent {
            5.0.. => self.fg(Color::Red),
            0.5..5.0 => self.fg(Color::Green),
            _ => Style::new(),
        }
    }

    pub(crate) fn change(self, change: f64) -> Style {
        if change > 0.0 {
            self.fg(Color::Red)
        } else {
            self.fg(Color::Green)
        }
    }

    pub(crate) fn bars(self) -> Style {
        self.fg(Color::Cyan)
    }

    pub(crate) fn kind(self, kind: Kind) -> Style {
        match kind {
            Kind::Kernel => self.fg(Color::Yellow),
            Kind::Native => Style::new(),
            Kind::Go => self.fg(Color::Cyan),
            Kind::Jit => self.fg(Color::Green),
            Kind::Inlined => self.fg(Color::Blue),
            Kind::Unnamed | Kind::Missing => self.faint(),
        }
    }

    /// A box of the flame graph; neighbours differ by `odd`.
    pub(crate) fn flame(self, kind: Kind, odd: bool) -> Style {
        if !self.color {
            return Style::new();
        }
        let (even_color, odd_color) = match kind {
            Kind::Native => (167, 173),
            Kind::Kernel => (172, 178),
            Kind::Go => (73, 79),
            Kind::Jit => (71, 77),
            Kind::Inlined => (74, 110),
            Kind::Unnamed | Kind::Missing => (245, 248),
        };
        let background = if odd { odd_color } else { even_color };
        Style::new().bg(Color::Indexed(background)).fg(Color::Black)
    }
}
