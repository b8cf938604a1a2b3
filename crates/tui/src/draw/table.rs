use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{fill, name_span, put, scroll};
use crate::app::{App, BINS, Sort, View, WINDOWS};
use crate::callers::Callers;
use crate::format::{bars, cut, duration, narrow_bars, shorten};
use crate::{Key, Row};

/// From this width on each window of a row's history has a column of its own.
const WIDE: u16 = 110;
/// Below this width rows have no history and no module.
const NARROW: u16 = 60;
/// From this height on a line below the rows tells who calls the function under the cursor.
const ROOM_FOR_CALLERS: u16 = 10;

struct Columns {
    bars: usize,
    name: usize,
    module: usize, // or process; 0 for none
    kind: usize,   // 0 for none
    has_total: bool,
}

impl Columns {
    fn new(view: View, width: u16) -> Self {
        let bars = match width {
            WIDE.. => BINS,
            NARROW..WIDE => BINS.div_ceil(2),
            _ => 0,
        };
        let has_total = matches!(view, View::Functions | View::Modules);
        let numbers = 6 + if has_total { 7 } else { 0 } + 8 + 1;
        let bars_with_gap = if bars > 0 { bars + 1 } else { 0 };
        let left = usize::from(width).saturating_sub(numbers + bars_with_gap);
        let (module, kind) = match view {
            _ if width < NARROW => (0, 0),
            View::Functions => ((left / 4).clamp(8, 32), 6),
            View::Threads => ((left / 3).clamp(8, 32), 0),
            _ => (0, 0),
        };
        let gaps = usize::from(kind > 0) + usize::from(module > 0);
        Self {
            bars,
            name: left.saturating_sub(kind + module + gaps),
            module,
            kind,
            has_total,
        }
    }
}

pub(super) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    let columns = Columns::new(app.view, area.width);
    put(buf, area, 0, heading(app, &columns));
    fill(buf, area, 0, app.theme.heading());
    let tells_callers = app.shows_callers() && area.height >= ROOM_FOR_CALLERS;
    let rows = Rect {
        y: area.y + 1,
        height: area.height - 1 - u16::from(tells_callers),
        ..area
    };
    if tells_callers {
        let words = app.callers.as_ref().map_or(String::new(), caller_words);
        let words = cut(&words, usize::from(area.width));
        put(buf, area, area.height - 1, Line::from(words));
    }
    let first = scroll(app, rows.height);
    if app.order.is_empty() {
        put(buf, rows, 0, Line::styled(nothing(app), app.theme.faint()));
    }
    let max = app
        .picture
        .rows
        .iter()
        .flat_map(|row| &row.history)
        .fold(0.0, |max: f32, &share| max.max(share));
    let in_sight = app.order.iter().enumerate().skip(first);
    for (y, (index, &row)) in (0..rows.height).zip(in_sight) {
        put(
            buf,
            rows,
            y,
            line(app, &app.picture.rows[row], &columns, max),
        );
        if index == app.place().cursor {
            fill(buf, rows, y, app.theme.cursor());
        }
    }
}

/// `87% called by parse ← handle x8 ← serve`: the share of the samples that came by this way.
fn caller_words(callers: &Callers) -> String {
    let percent = callers.share * 100.0;
    let mut nearest_first = callers.functions.iter();
    let Some(mut last) = nearest_first.next() else {
        return format!("{percent:.0}% called by nothing: it is where the stack begins");
    };
    let mut words = format!("{percent:.0}% called by {}", last.name);
    let mut times = 1;
    for caller in nearest_first {
        if caller == last {
            times += 1;
            continue;
        }
        words += &repeated(times);
        words += &format!(" ← {}", caller.name);
        (last, times) = (caller, 1);
    }
    words + &repeated(times)
}

fn repeated(times: usize) -> String {
    match times {
        1 => String::new(),
        times => format!(" x{times}"),
    }
}

/// Why there is no row.
pub(super) fn nothing(app: &App) -> &'static str {
    if app.picture.all.samples > 0 {
        "no sample passes the filters; Esc takes the last one back"
    } else if app.live {
        "no samples in this window: the target is idle, waits or has ended"
    } else {
        "no samples in this time range"
    }
}

fn heading(app: &App, columns: &Columns) -> Line<'static> {
    let mark = |sort: Sort, text: &str| match (app.sort == sort, app.reversed) {
        (true, false) => format!("{text}▾"),
        (true, true) => format!("{text}▴"),
        _ => text.to_owned(),
    };
    let mut text = format!("{:>6}", mark(Sort::Own, "Self%"));
    if columns.has_total {
        text += &format!("{:>7}", mark(Sort::Total, "Total%"));
    }
    let change = if app.baseline.is_some() {
        "vs base"
    } else {
        "Change"
    };
    text += &format!("{:>8} ", mark(Sort::Change, change));
    if columns.bars > 0 {
        let width = columns.bars;
        text += &format!("{:width$} ", history_words(app));
    }
    let (name, module) = match app.view {
        View::Threads => ("    TID Thread", "Process"),
        View::Processes => ("    PID Process", ""),
        View::Modules => ("Module", ""),
        _ => ("Function", "Module"),
    };
    let width = columns.name;
    text += &format!("{:width$}", mark(Sort::Name, name));
    if columns.module > 0 {
        let width = columns.module;
        text += &format!(" {:width$}", mark(Sort::Module, module));
    }
    if columns.kind > 0 {
        text += " Kind";
    }
    Line::from(text)
}

/// What one column of the bars stands for.
fn history_words(app: &App) -> String {
    let seconds = match (app.live, WINDOWS[app.window]) {
        (true, Some(seconds)) => seconds as f64,
        _ => {
            let spans = app.spans();
            (spans.window.end - spans.window.start) as f64 / 1e9 / BINS as f64
        }
    };
    let length = duration(std::time::Duration::from_secs_f64(seconds));
    format!("{BINS} x {length}")
}

fn line(app: &App, row: &Row, columns: &Columns, max: f32) -> Line<'static> {
    let theme = app.theme;
    let own = app.picture.percent(row.own);
    let mut spans = vec![Span::styled(format!("{own:>6.1}"), theme.percent(own))];
    if columns.has_total {
        let total = app.picture.percent(row.total);
        spans.push(Span::styled(format!("{total:>7.1}"), theme.percent(total)));
    }
    spans.push(match app.change(row) {
        None => Span::raw(format!("{:>8} ", "")),
        // a change that chance explains is there, but not stressed
        Some((change, false)) => Span::styled(format!("{change:>+8.1} "), theme.faint()),
        Some((change, true)) => Span::styled(format!("{change:>+8.1} "), theme.change(change)),
    });
    if columns.bars > 0 {
        let bars = match columns.bars {
            BINS => bars(&row.history, max),
            _ => narrow_bars(&row.history, max),
        };
        let width = columns.bars;
        spans.push(Span::styled(format!("{bars:width$} "), theme.bars()));
    }
    let width = columns.name;
    let fitted = |text: &str| format!("{:width$}", shorten(text, width));
    let (name, module, kind) = match &row.key {
        Key::Function(function) => (
            fitted(&function.name),
            function.module.to_string(),
            Some(function.kind),
        ),
        Key::Thread(thread) => (
            fitted(&format!("{:>7} {}", thread.tid, thread.name)),
            format!("{}", thread.pid),
            None,
        ),
        Key::Process(process) => {
            let name = format!("{:>7} {}", process.pid, process.name);
            let text = match app.facts.processes.get(&process.pid) {
                Some(details) => format!("{:width$}", cut(&format!("{name}  {details}"), width)),
                None => fitted(&name),
            };
            (text, String::new(), None)
        }
        Key::Module(module) => (fitted(module), String::new(), None),
    };
    let style = kind.map_or(Style::new(), |kind| theme.kind(kind));
    spans.push(name_span(app, name, &row.key, style));
    if columns.module > 0 {
        let width = columns.module;
        let module = shorten(&module, width);
        spans.push(Span::raw(format!(" {module:width$}")));
    }
    if let Some(kind) = kind.filter(|_| columns.kind > 0) {
        spans.push(Span::styled(format!(" {}", kind.word()), style));
    }
    Line::from(spans)
}
