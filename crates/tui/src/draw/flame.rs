use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{fill, put, table};
use crate::Key;
use crate::app::App;
use crate::format::shorten;
use crate::tree::WHOLE;

/// One box.
struct Frame {
    branch: u32,
    x: u16,
    width: u16,
    depth: usize,
    odd: bool,
}

/// Boxes as wide as their shares, callers above callees; a line at the bottom names the selected one
/// in full.
pub(super) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    let picture = Rect {
        height: area.height.saturating_sub(1),
        ..area
    };
    let line = Rect {
        y: picture.bottom(),
        height: 1,
        ..area
    };
    app.page = usize::from(picture.height).max(1);
    if app.picture.shown.samples == 0 {
        let text = table::nothing(app);
        put(buf, picture, 0, Line::styled(text, app.theme.faint()));
        return;
    }
    let zoom = app.tree.find(app.zoom).unwrap_or(WHOLE);
    let selected = app.tree.find(app.selected).unwrap_or(zoom);
    let base = app.tree.depth(zoom);
    let depth = app.tree.depth(selected).saturating_sub(base);
    let height = usize::from(picture.height).max(1);
    app.flame_offset = app
        .flame_offset
        .clamp((depth + 1).saturating_sub(height), depth);
    for frame in frames(app, zoom, picture.width) {
        let Some(row) = frame.depth.checked_sub(app.flame_offset) else {
            continue;
        };
        if row < height {
            draw_frame(
                app,
                &frame,
                frame.branch == selected,
                picture,
                row as u16,
                buf,
            );
        }
    }
    put(buf, line, 0, selected_line(app, selected, area.width));
    fill(buf, line, 0, app.theme.heading());
}

/// The boxes below `zoom`, as far as they are a column wide.
fn frames(app: &App, zoom: u32, width: u16) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut waiting = vec![Frame {
        branch: zoom,
        x: 0,
        width,
        depth: 0,
        odd: false,
    }];
    while let Some(frame) = waiting.pop() {
        let parent = app.tree.branch(frame.branch);
        let all = parent.total.period.max(1) as f64;
        let mut before = 0;
        for (index, child) in parent.children.clone().enumerate() {
            let weight = app.tree.branch(child).total.period;
            let column =
                |weight: u64| (weight as f64 / all * f64::from(frame.width)).round() as u16;
            let (start, end) = (column(before), column(before + weight));
            before += weight;
            if end > start {
                waiting.push(Frame {
                    branch: child,
                    x: frame.x + start,
                    width: end - start,
                    depth: frame.depth + 1,
                    odd: (index % 2 == 1) != frame.odd,
                });
            }
        }
        frames.push(frame);
    }
    frames
}

fn draw_frame(app: &App, frame: &Frame, selected: bool, area: Rect, row: u16, buf: &mut Buffer) {
    let function = app.tree.function(frame.branch);
    let name = function.map_or("all", |function| &function.name);
    let kind = function.map_or(crate::Kind::Missing, |function| function.kind);
    let width = usize::from(frame.width);
    let mut style = app.theme.flame(kind, frame.odd);
    let found = match (&app.search, function) {
        (Some(search), Some(function)) => search.matches(&Key::Function(function.clone())),
        _ => false,
    };
    if found {
        style = style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
    }
    if selected {
        style = match app.theme.has_color() {
            true => app.theme.cursor().add_modifier(Modifier::BOLD),
            false => Style::new().add_modifier(Modifier::REVERSED),
        };
    }
    let fitted = |width: usize| match width {
        0..4 => name.chars().take(width).collect(),
        _ => shorten(name, width),
    };
    // Without colours an edge shows where a box begins.
    let text = match app.theme.has_color() {
        true => format!("{:width$}", fitted(width)),
        false => format!("│{:rest$}", fitted(width - 1), rest = width - 1),
    };
    buf.set_stringn(area.x + frame.x, area.y + row, text, width, style);
}

fn selected_line(app: &App, selected: u32, width: u16) -> Line<'static> {
    let branch = app.tree.branch(selected);
    let total = app.picture.percent(branch.total);
    let own = app.picture.percent(branch.own);
    let shares = format!("  total {total:.1}%, self {own:.1}%");
    let (name, module) = match app.tree.function(selected) {
        Some(function) => (&*function.name, format!("  {}", function.module)),
        None => ("all", String::new()),
    };
    let room = usize::from(width).saturating_sub(shares.len() + module.chars().count());
    Line::from(vec![
        Span::raw(shorten(name, room)),
        Span::raw(module),
        Span::raw(shares),
    ])
}
