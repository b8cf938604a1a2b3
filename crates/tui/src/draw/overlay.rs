use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::{fill, put};
use crate::app::{App, Overlay, Purpose};
use crate::format::shorten;
use crate::keys;

/// Draws the last line, and what lies over the rows.
pub(super) fn draw(app: &App, body: Rect, bottom: Rect, buf: &mut Buffer) {
    put(buf, bottom, 0, last_line(app, bottom.width));
    match &app.overlay {
        Overlay::Help { offset } => help(app, *offset, body, buf),
        Overlay::Pick {
            title,
            rows,
            cursor,
        } => {
            let lines = rows.iter().map(|(key, share)| {
                let key = shorten(&key.to_string(), 50);
                Line::from(format!("{share:>6.1}%  {key}"))
            });
            list(app, title, lines.collect(), *cursor, body, buf);
        }
        Overlay::Prompt { .. } | Overlay::None => {}
    }
}

fn last_line(app: &App, width: u16) -> Line<'static> {
    let width = usize::from(width);
    if let Overlay::Prompt { purpose, text } = &app.overlay {
        let question = match purpose {
            Purpose::Search => "/",
            Purpose::Write => "write to (.svg, or else perf.data): ",
        };
        // the end of what is typed stays in sight
        let room = width.saturating_sub(question.len() + 1);
        let skipped = text.chars().count().saturating_sub(room);
        let text: String = text.chars().skip(skipped).collect();
        return Line::from(vec![
            Span::styled(question, app.theme.title()),
            Span::raw(text),
            Span::styled(" ", app.theme.heading()),
        ]);
    }
    match &app.message {
        Some(message) if message.is_error => {
            Line::styled(shorten(&message.text, width), app.theme.alarm())
        }
        Some(message) => Line::styled(shorten(&message.text, width), app.theme.notice()),
        None => {
            let keys = match app.live {
                true => "? help  Tab view  Enter callers  / find  o focus  h hide  w write  q quit",
                false => {
                    "? help  Tab view  Enter callers  / find  + - , . time range  e event  q quit"
                }
            };
            Line::styled(shorten(keys, width), app.theme.faint())
        }
    }
}

fn help(app: &App, offset: usize, area: Rect, buf: &mut Buffer) {
    let lines: Vec<Line<'_>> = keys::help(app.live)
        .skip(offset)
        .map(|(label, help)| {
            Line::from(vec![
                Span::styled(format!("{label:>10}  "), app.theme.title()),
                Span::raw(help),
            ])
        })
        .collect();
    boxed(
        app,
        "Keys (↓ ↑ scroll, any other key closes)",
        lines,
        area,
        buf,
    );
}

fn list(app: &App, title: &str, lines: Vec<Line<'_>>, cursor: usize, area: Rect, buf: &mut Buffer) {
    let height = usize::from(area.height.saturating_sub(2)).max(1);
    let first = (cursor + 1).saturating_sub(height);
    let lines = lines.into_iter().skip(first).collect();
    let inner = boxed(app, title, lines, area, buf);
    fill(buf, inner, (cursor - first) as u16, app.theme.cursor());
}

/// Lines in a frame as large as they need; returns what is inside it.
fn boxed(app: &App, title: &str, lines: Vec<Line<'_>>, area: Rect, buf: &mut Buffer) -> Rect {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let width = (widest.max(title.chars().count() + 2) + 2).min(usize::from(area.width)) as u16;
    let height = (lines.len() + 2).min(usize::from(area.height)) as u16;
    let frame = Rect {
        x: area.x + (area.width - width) / 2,
        width,
        height,
        ..area
    };
    Clear.render(frame, buf);
    let block = Block::bordered().title(Span::styled(format!(" {title} "), app.theme.title()));
    let inner = block.inner(frame);
    block.render(frame, buf);
    for (y, line) in (0..inner.height).zip(lines) {
        put(buf, inner, y, line);
    }
    inner
}
