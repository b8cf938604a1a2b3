use std::ops::Range;

use prof_model::printable;
use prof_profile::Unit;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::put;
use crate::app::{App, View};
use crate::format::{bars, bytes, shorten, thousands};

/// Draws what stands above the rows; returns how many lines that are.
pub(super) fn draw(app: &App, area: Rect, buf: &mut Buffer) -> u16 {
    let mut lines = vec![title(app, area.width)];
    lines.extend(flow(facts(app), area.width));
    if !app.live {
        if area.height >= 20 {
            lines.push(load_bar(app, area.width));
        }
        lines.push(time_bar(app, area.width));
    }
    lines.push(tabs(app));
    if !app.filters.is_empty() || app.search.is_some() {
        lines.push(filters(app, area.width));
    }
    let most = area.height / 2;
    lines.truncate(usize::from(most));
    let used = lines.len() as u16;
    for (y, line) in (0..).zip(lines) {
        put(buf, area, y, line);
    }
    used
}

/// Whom, and at the right what is the matter.
fn title(app: &App, width: u16) -> Line<'static> {
    let mut state = Vec::new();
    if let Some(ended) = &app.facts.ended {
        state.push(Span::styled(format!(" {ended} "), app.theme.alarm()));
    }
    if app.frozen.is_some() {
        state.push(Span::styled(" FROZEN ", app.theme.heading()));
    }
    let state_width: usize = state.iter().map(Span::width).sum();
    let name = if app.live {
        "prof top  "
    } else {
        "prof report  "
    };
    let mut target = app.facts.target.clone();
    if let Some(container) = &app.facts.container {
        target.push_str("  container ");
        target.push_str(container);
    }
    let room = usize::from(width).saturating_sub(state_width + name.len());
    let target = shorten(&printable(&target), room);
    let gap = room.saturating_sub(target.chars().count());
    let mut spans = vec![
        Span::raw(name),
        Span::styled(target, app.theme.title()),
        Span::raw(" ".repeat(gap)),
    ];
    spans.extend(state);
    Line::from(spans)
}

type Fact = (String, Style);

/// The facts, widest first so that a number that grows a digit seldom moves the others.
fn facts(app: &App) -> Vec<Fact> {
    let theme = app.theme;
    let plain = Style::new();
    let mut facts = Vec::new();
    if let Some(cpu) = app.facts.cpu {
        let text = format!("CPU {:>5.2} of {}", cpu.used, cpus(cpu.available));
        facts.push((text, plain));
        if let Some(quota) = cpu.quota {
            facts.push((format!("quota {}", cpus(quota)), plain));
        }
        if let Some(throttled) = cpu.throttled {
            let style = if throttled.is_zero() {
                plain
            } else {
                theme.alarm()
            };
            // The time that all CPUs together had to wait in each second.
            let waiting = throttled.as_secs_f64();
            facts.push((format!("throttled {waiting:.2} CPUs"), style));
        }
    }
    let event = app.facts.events.get(usize::from(app.event));
    if let (Some(Unit::CpuTime), Some(all)) = (event.map(|it| it.unit), app.facts.machine_cpus) {
        let shown = app.range.as_ref().unwrap_or(&app.whole);
        let used = app.picture.all.period as f64 / (shown.end - shown.start).max(1) as f64;
        let least = if app.facts.lost > 0 { ">" } else { "" }; // what was lost used it, too
        facts.push((format!("CPU {least}{used:>5.2} of {all}"), plain));
    }
    if let Some(event) = event {
        let of = match app.facts.events.len() {
            1 => String::new(),
            count => format!(" ({} of {count})", app.event + 1),
        };
        facts.push((
            format!("{} {}{of}", printable(&event.name), event.rate()),
            plain,
        ));
    }
    let picture = &app.picture;
    if app.live {
        let rate = picture.all.samples as f64 / picture.seconds().max(0.001);
        facts.push((format!("{rate:>4.0} samples/s"), plain));
    } else {
        facts.push((format!("{} samples", thousands(picture.all.samples)), plain));
    }
    let lost = app.facts.lost;
    let style = if lost > 0 { theme.alarm() } else { plain };
    facts.push((format!("lost {}", thousands(lost)), style));
    if app.facts.throttled > 0 {
        let text = format!("event paused {} times", thousands(app.facts.throttled));
        facts.push((text, theme.alarm()));
    }
    if picture.known > 0 {
        let whole = 100.0 * picture.whole as f64 / picture.known as f64;
        let style = if whole < 95.0 { theme.notice() } else { plain };
        facts.push((format!("{whole:.1}% of stacks whole"), style));
    }
    let cpu_time = picture.all.period + picture.idle.period;
    if picture.idle.samples > 0 && cpu_time > 0 {
        let idle = 100.0 * picture.idle.period as f64 / cpu_time as f64;
        facts.push((format!("idle {idle:.0}%"), plain));
    }
    if let Some(cost) = app.facts.cost {
        let memory = bytes(cost.memory_bytes);
        facts.push((
            format!("prof {:.1}% CPU, {memory}", cost.cpu_percent),
            plain,
        ));
    }
    facts.push((app.window_words(), theme.title()));
    for note in &app.facts.notes {
        facts.push((printable(note).into_owned(), theme.notice()));
    }
    facts
}

fn cpus(count: f64) -> String {
    if count.fract() == 0.0 {
        format!("{count:.0}")
    } else {
        format!("{count:.2}")
    }
}

/// Facts in as few lines as they fit in.
fn flow(facts: Vec<Fact>, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut line: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (text, style) in facts {
        let span = Span::styled(shorten(&text, usize::from(width)), style);
        let needed = span.width() + if used > 0 { 3 } else { 0 };
        if used > 0 && used + needed > usize::from(width) {
            lines.push(Line::from(std::mem::take(&mut line)));
            used = span.width();
        } else {
            if used > 0 {
                line.push(Span::raw("   "));
            }
            used += needed;
        }
        line.push(span);
    }
    lines.push(Line::from(line));
    lines
}

/// How much of the event there was, from the recording's start to its end.
fn load_bar(app: &App, width: u16) -> Line<'static> {
    let columns = usize::from(width).saturating_sub(2).max(1);
    let bars = bars(&app.load.columns(columns), 1.0);
    let range = range_columns(app, columns);
    let part = |part: Range<usize>| -> String {
        let part = bars.chars().skip(part.start).take(part.len());
        part.collect()
    };
    Line::from(vec![
        Span::raw(" "),
        Span::styled(part(0..range.start), app.theme.faint()),
        Span::styled(part(range.clone()), app.theme.bars()),
        Span::styled(part(range.end..columns), app.theme.faint()),
    ])
}

/// Which columns of a bar stand for the range that is shown.
fn range_columns(app: &App, columns: usize) -> Range<usize> {
    let length = (app.whole.end - app.whole.start).max(1);
    let column = |at: u64| {
        let at = at.saturating_sub(app.whole.start).min(length);
        (u128::from(at) * columns as u128 / u128::from(length)) as usize
    };
    let range = app.range.as_ref().unwrap_or(&app.whole);
    let start = column(range.start).min(columns - 1);
    start..column(range.end).max(start + 1)
}

/// The recording from its start to its end, with the range that is shown.
fn time_bar(app: &App, width: u16) -> Line<'static> {
    let columns = usize::from(width).saturating_sub(2).max(1);
    let Range { start, end } = range_columns(app, columns);
    Line::from(vec![
        Span::raw("["),
        Span::styled("·".repeat(start), app.theme.faint()),
        Span::styled("━".repeat(end - start), app.theme.bars()),
        Span::styled("·".repeat(columns - end), app.theme.faint()),
        Span::raw("]"),
    ])
}

fn tabs(app: &App) -> Line<'static> {
    let mut spans = Vec::new();
    for (view, name) in View::ALL {
        let style = if view == app.view {
            app.theme.heading()
        } else {
            Style::new()
        };
        spans.push(Span::styled(format!(" {name} "), style));
        spans.push(Span::raw(" "));
    }
    if app.inverted && !app.view.is_table() {
        spans.push(Span::styled("inverted", app.theme.notice()));
    }
    Line::from(spans)
}

fn filters(app: &App, width: u16) -> Line<'static> {
    let mut text = app.filter_words();
    if !app.filters.is_empty() {
        let picture = &app.picture;
        let share = match picture.all.period {
            0 => 0.0,
            all => 100.0 * picture.shown.period as f64 / all as f64,
        };
        text = format!("{text}: {share:.1}% of all");
    }
    if let Some(search) = &app.search {
        if !text.is_empty() {
            text.push_str("   ");
        }
        text = format!("{text}/{}/", search.pattern);
    }
    Line::styled(shorten(&text, usize::from(width)), app.theme.notice())
}
