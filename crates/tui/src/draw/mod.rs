//! The screens as cells.

mod code; // one function's source and instructions
mod detail; // one function's callers, callees, lines
mod flame; // boxes, the root above
mod header; // facts, tabs, filters, the time bar
mod overlay; // help, choices, the line that is being typed
mod table; // functions, threads, processes, modules
mod tree; // branches, open or closed

use prof_model::is_printable;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::app::{App, View};

/// Draws the whole screen.
pub(crate) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    if area.width < 20 || area.height < 6 {
        put(buf, area, 0, Line::from("too small"));
        return;
    }
    let used = header::draw(app, area, buf);
    let bottom = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    };
    let body = Rect {
        y: area.y + used,
        height: area.height - used - 1,
        ..area
    };
    if app.code.is_some() {
        code::draw(app, body, buf);
    } else if app.details.is_empty() {
        match app.view {
            View::Tree => tree::draw(app, body, buf),
            View::Flame => flame::draw(app, body, buf),
            _ => table::draw(app, body, buf),
        }
    } else {
        detail::draw(app, body, buf);
    }
    overlay::draw(app, body, bottom, buf);
    keep_printable(buf, area);
}

/// Takes out of the cells what does something else than being seen: the one way to the terminal. Control
/// characters never get into a cell, but what turns the direction of text is added to the one before it.
fn keep_printable(buf: &mut Buffer, area: Rect) {
    for position in area.positions() {
        let Some(cell) = buf.cell_mut(position) else {
            continue;
        };
        if !cell.symbol().chars().all(is_printable) {
            let letters = cell.symbol().chars().filter(|&letter| is_printable(letter));
            let letters: String = letters.collect();
            cell.set_symbol(if letters.is_empty() { " " } else { &letters });
        }
    }
}

/// Puts a line on row `y` of an area; what is too long is cut.
fn put(buf: &mut Buffer, area: Rect, y: u16, line: Line<'_>) {
    if y < area.height {
        buf.set_line(area.x, area.y + y, &line, area.width);
    }
}

/// Fills a row of an area with a style.
fn fill(buf: &mut Buffer, area: Rect, y: u16, style: Style) {
    if y < area.height {
        let row = Rect {
            y: area.y + y,
            height: 1,
            ..area
        };
        buf.set_style(row, style);
    }
}

/// Moves a list so that its cursor is in sight; returns the first row in sight.
fn scroll(app: &mut App, height: u16) -> usize {
    let height = usize::from(height).max(1);
    app.page = height;
    let rows = app.rows();
    let place = app.place_mut();
    let lowest = rows.saturating_sub(height);
    place.offset = place
        .offset
        .clamp((place.cursor + 1).saturating_sub(height), place.cursor)
        .min(lowest);
    place.offset
}

/// A name, with a mark if the search has found it.
fn name_span(app: &App, text: String, key: &crate::Key, style: Style) -> Span<'static> {
    let found = app.search.as_ref().is_some_and(|it| it.matches(key));
    let style = if found {
        style.patch(app.theme.found())
    } else {
        style
    };
    Span::styled(text, style)
}
