use std::collections::BTreeMap;

use prof_model::{CodeLine, printable};
use prof_profile::Weight;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{fill, put, scroll};
use crate::app::{App, CodeScreen};
use crate::format::shorten;

/// Source lines, and below each the instructions that it became; before both what share of the
/// samples hit them.
pub(super) fn draw(app: &mut App, area: Rect, buf: &mut Buffer) {
    let rows = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let first = scroll(app, rows.height);
    let Some(screen) = &app.code else {
        return;
    };
    put(buf, area, 0, heading(app, screen, area.width));
    fill(buf, area, 0, app.theme.heading());
    let by_line = by_source_line(screen);
    let lines = screen.code.lines(true);
    let in_sight = lines.iter().enumerate().skip(first);
    let mut source = source_before(screen, &lines[..first.min(lines.len())]);
    for (y, (index, line)) in (0..rows.height).zip(in_sight) {
        let line = match *line {
            CodeLine::Function(name, path) => {
                source = source_of(screen, path);
                function_line(app, name, path, area.width)
            }
            CodeLine::Source(number, text) => {
                let at = source.map(|source| (source, number));
                let weight = at.and_then(|at| by_line.get(&at)).copied();
                source_line(app, number, text, weight)
            }
            CodeLine::Instruction(index) => instruction_line(app, screen, index),
        };
        put(buf, rows, y, line);
        if index == screen.place.cursor {
            fill(buf, rows, y, app.theme.cursor());
        }
    }
}

fn heading(app: &App, screen: &CodeScreen, width: u16) -> Line<'static> {
    let all: Weight = screen.weights.iter().copied().sum();
    let share = app.picture.percent(all);
    let around = format!(", self {share:.1}%  {}", screen.function.module);
    let room = usize::from(width).saturating_sub(around.chars().count() + 9);
    let name = shorten(&screen.name, room.max(8));
    Line::from(format!("{:>7}  {name}{around}", "Self%"))
}

/// What each source line weighs, over all the instructions that it became.
fn by_source_line(screen: &CodeScreen) -> BTreeMap<(usize, u32), Weight> {
    let mut sums: BTreeMap<(usize, u32), Weight> = BTreeMap::new();
    for (instruction, &weight) in screen.code.instructions.iter().zip(&screen.weights) {
        if let Some(place) = &instruction.place {
            *sums.entry((place.source, place.line)).or_default() += weight;
        }
    }
    sums
}

/// The source file that the last of these lines is from.
fn source_before(screen: &CodeScreen, lines: &[CodeLine<'_>]) -> Option<usize> {
    let path = lines.iter().rev().find_map(|line| match line {
        CodeLine::Function(_, path) => Some(*path),
        _ => None,
    });
    source_of(screen, path?)
}

fn source_of(screen: &CodeScreen, path: &str) -> Option<usize> {
    let mut sources = screen.code.sources.iter();
    sources.position(|source| &*source.path == path)
}

fn share(app: &App, weight: Option<Weight>) -> Span<'static> {
    match weight.filter(|weight| weight.samples > 0) {
        None => Span::raw(format!("{:7}", "")),
        Some(weight) => {
            let share = app.picture.percent(weight);
            Span::styled(format!("{share:>7.1}"), app.theme.percent(share))
        }
    }
}

fn function_line(app: &App, name: &str, path: &str, width: u16) -> Line<'static> {
    let text = format!("{name}  {path}");
    let room = usize::from(width).saturating_sub(9);
    Line::styled(
        format!("{:9}{}", "", shorten(&printable(&text), room)),
        app.theme.faint(),
    )
}

fn source_line(app: &App, number: u32, text: &str, weight: Option<Weight>) -> Line<'static> {
    let text = text.replace('\t', "    ");
    let text = printable(&text);
    Line::from(vec![
        share(app, weight),
        Span::styled(format!("  {number:>5} {text}"), app.theme.title()),
    ])
}

fn instruction_line(app: &App, screen: &CodeScreen, index: usize) -> Line<'static> {
    let instruction = &screen.code.instructions[index];
    Line::from(vec![
        share(app, screen.weights.get(index).copied()),
        Span::raw(format!(
            "          {:>8x}  {}",
            instruction.address, instruction.text
        )),
    ])
}
