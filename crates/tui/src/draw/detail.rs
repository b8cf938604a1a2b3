use std::path::Path;

use prof_profile::Weight;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{fill, name_span, put, scroll};
use crate::app::{App, DetailScreen};
use crate::format::shorten;
use crate::{Key, Neighbour};

/// Callers above the function, callees below it, and its hottest lines at the bottom.
pub(super) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    let Some(screen) = app.details.last() else {
        return;
    };
    let lines = screen.detail.lines.len().min(usize::from(area.height / 3)) as u16;
    let bottom = match lines {
        0 => 0,
        lines => lines + 1,
    };
    // A heading above the callers; the function itself and a heading above the callees.
    let listed = area.height.saturating_sub(bottom + 3);
    let callers = screen.detail.callers.len();
    let first = scroll(app, listed);
    let Some(screen) = app.details.last() else {
        return;
    };
    let mut y = 0;
    let mut heading = |y: &mut u16, text: String| {
        put(buf, area, *y, Line::from(text));
        fill(buf, area, *y, app.theme.heading());
        *y += 1;
    };
    heading(&mut y, format!("{:>7}  Callers of", "Share%"));
    let end = first + usize::from(listed);
    let mut rows: Vec<(u16, usize)> = Vec::new();
    for index in first..end.min(callers) {
        rows.push((y, index));
        y += 1;
    }
    let middle = y;
    y += 1;
    heading(&mut y, format!("{:>7}  Callees", "Share%"));
    for index in first.max(callers)..end.min(app.rows()) {
        rows.push((y, index));
        y += 1;
    }
    put(buf, area, middle, middle_line(app, screen, area.width));
    for (y, index) in rows {
        if let Some(neighbour) = screen.neighbour(index) {
            put(buf, area, y, neighbour_line(app, neighbour, area.width));
            if index == screen.place.cursor {
                fill(buf, area, y, app.theme.cursor());
            }
        }
    }
    if lines > 0 {
        let mut y = area.height - bottom;
        put(
            buf,
            area,
            y,
            Line::from(format!("{:>7}  Hottest lines", "Self%")),
        );
        fill(buf, area, y, app.theme.heading());
        for (line, weight) in screen.detail.lines.iter().take(usize::from(lines)) {
            y += 1;
            put(buf, area, y, source_line(app, line, *weight, area.width));
        }
    }
}

fn middle_line(app: &App, screen: &DetailScreen, width: u16) -> Line<'static> {
    let function = &screen.function;
    let key = Key::Function(std::sync::Arc::clone(function));
    let row = app.picture.rows.iter().find(|row| row.key == key);
    let shares = row.map_or_else(String::new, |row| {
        let own = app.picture.percent(row.own);
        let total = app.picture.percent(row.total);
        format!("self {own:.1}%, total {total:.1}%")
    });
    let around = format!("  {}  {}  {shares}", function.module, function.kind.word());
    let room = usize::from(width).saturating_sub(around.chars().count() + 4);
    let name = shorten(&function.name, room.max(8));
    Line::from(vec![
        Span::raw("  ► "),
        Span::styled(name, app.theme.title()),
        Span::raw(around),
    ])
}

fn neighbour_line(app: &App, neighbour: &Neighbour, width: u16) -> Line<'static> {
    let share = app.picture.percent(neighbour.weight);
    let share = Span::styled(format!("{share:>7.1}  "), app.theme.percent(share));
    let Some(function) = &neighbour.function else {
        return Line::from(vec![share, Span::styled("(root)", app.theme.faint())]);
    };
    let room = usize::from(width).saturating_sub(9 + 2 + function.module.chars().count());
    let name = shorten(&function.name, room.max(8));
    let key = Key::Function(std::sync::Arc::clone(function));
    let style = app.theme.kind(function.kind);
    Line::from(vec![
        share,
        name_span(app, name, &key, style),
        Span::styled(format!("  {}", function.module), app.theme.faint()),
    ])
}

fn source_line(app: &App, line: &crate::Line, weight: Weight, width: u16) -> Line<'static> {
    let share = app.picture.percent(weight);
    let room = usize::from(width).saturating_sub(9);
    let text = line.to_string();
    // the file's name matters most, its folders only if there is room
    let text = match line {
        crate::Line::Source { file, line } if text.chars().count() > room => {
            let name = Path::new(&**file).file_name();
            let name = name.map_or_else(|| file.to_string(), |it| it.display().to_string());
            shorten(&format!("{name}:{line}"), room)
        }
        _ => shorten(&text, room),
    };
    Line::from(vec![
        Span::styled(format!("{share:>7.1}  "), app.theme.percent(share)),
        Span::raw(text),
    ])
}
