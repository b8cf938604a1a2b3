use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{fill, name_span, put, scroll, table};
use crate::Key;
use crate::app::App;
use crate::format::shorten;

pub(super) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    let heading = if app.inverted {
        format!("{:>7}  Function, its callers below", "Share%")
    } else {
        format!("{:>7}{:>7}  Function", "Total%", "Self%")
    };
    put(buf, area, 0, Line::from(heading));
    fill(buf, area, 0, app.theme.heading());
    let rows = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let first = scroll(app, rows.height);
    if app.visible.is_empty() {
        let text = table::nothing(app);
        put(buf, rows, 0, Line::styled(text, app.theme.faint()));
    }
    let in_sight = app.visible.iter().enumerate().skip(first);
    for (y, (index, &(branch, indent))) in (0..rows.height).zip(in_sight) {
        put(buf, rows, y, line(app, branch, indent, area.width));
        if index == app.place().cursor {
            fill(buf, rows, y, app.theme.cursor());
        }
    }
}

fn line(app: &App, index: u32, indent: usize, width: u16) -> Line<'static> {
    let theme = app.theme;
    let branch = app.tree.branch(index);
    let Some(function) = app.tree.function(index) else {
        return Line::default();
    };
    let total = app.picture.percent(branch.total);
    // Upside down, all of a branch's own weight is that of the functions above it.
    let own = match app.inverted {
        true => Span::raw("  "),
        false => {
            let own = app.picture.percent(branch.own);
            Span::styled(format!("{own:>7.1}  "), theme.percent(own))
        }
    };
    let has_children = !branch.children.is_empty() || branch.left_out > 0;
    let open = app.is_open(index);
    let sign = match (has_children, open) {
        (false, _) => " ",
        (true, true) => "▾",
        (true, false) => "▸",
    };
    let left_out = match (open, branch.left_out) {
        (true, 1..) => format!("  ({} lighter ones left out)", branch.left_out),
        _ => String::new(),
    };
    // Deep branches are drawn as if they were less deep: their names are what matters.
    let room = usize::from(width).saturating_sub(18);
    let indent = (indent * 2).min(room / 2);
    let name = shorten(&function.name, room - indent);
    let key = Key::Function(std::sync::Arc::clone(function));
    let module = format!("  {}", function.module);
    Line::from(vec![
        Span::styled(format!("{total:>7.1}"), theme.percent(total)),
        own,
        Span::raw(format!("{:indent$}{sign} ", "")),
        name_span(app, name, &key, theme.kind(function.kind)),
        Span::styled(module, theme.faint()),
        Span::styled(left_out, Style::new()),
    ])
}
