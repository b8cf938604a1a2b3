//! A comparison as `perf diff` prints it, with a column more.

use std::collections::BTreeMap;
use std::io::{self, Write};

use prof_model::printable;

use crate::ReportOptions;
use crate::column::Column;
use crate::diff::{DiffCompute, DiffRow, EventDiff};
use crate::stdio::elided;
use crate::text::{left, right, width};

/// How a comparison looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiffOptions {
    /// The number that rows are compared by.
    pub compute: DiffCompute,
    /// Only rows that both recordings have.
    pub only_common: bool,
    /// Rows whose difference may be noise are left out.
    pub hide_noise: bool,
    /// Without the column and the lines about noise: the table of perf.
    pub plain: bool,
    /// Columns with the sums of periods.
    pub show_period: bool,
    /// A column that shows how the number was computed.
    pub show_formula: bool,
    /// In the order of what was computed for this comparison.
    pub ordered_by: usize,
    /// Sorted by the share before, not by what was computed.
    pub by_baseline: bool,
}

/// A recording beside the one that all are compared with.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What it is called.
    pub name: String,
    /// Its events, those of the first recording.
    pub events: Vec<EventDiff>,
}

/// Writes a table for each event of the recording `baseline`, with columns for each of the others.
///
/// # Errors
/// Those of `out`.
pub fn write_diff(
    out: &mut dyn Write,
    baseline: &str,
    others: &[Comparison],
    options: &DiffOptions,
    report: &ReportOptions,
) -> io::Result<()> {
    let events = others.iter().map(|other| other.events.len()).min();
    for event in 0..events.unwrap_or(0) {
        if event > 0 {
            writeln!(out)?;
        }
        Text {
            baseline,
            others,
            diffs: others.iter().map(|other| &other.events[event]).collect(),
            options,
            report,
        }
        .write(out)?;
    }
    Ok(())
}

/// One line of a table: the row of each comparison, where it has one.
pub struct DiffLine<'a> {
    cells: Vec<Option<&'a DiffRow>>,
}

impl<'a> DiffLine<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a DiffRow> + '_ {
        self.cells.iter().flatten().copied()
    }

    /// Its row in a comparison.
    pub fn get(&self, comparison: usize) -> Option<&'a DiffRow> {
        *self.cells.get(comparison)?
    }

    /// What is the same in each: the labels, and what was before.
    fn any(&self) -> Option<&'a DiffRow> {
        self.rows().next()
    }
}

/// The lines that are shown of an event, in their order.
pub fn diff_lines<'a>(diffs: &[&'a EventDiff], options: &DiffOptions) -> Vec<DiffLine<'a>> {
    let first = options.ordered_by.min(diffs.len().saturating_sub(1));
    let mut places: BTreeMap<&[String], usize> = BTreeMap::new();
    let mut lines: Vec<DiffLine<'a>> = Vec::new();
    let others = (0..diffs.len()).filter(|&index| index != first);
    for index in std::iter::once(first).chain(others) {
        for row in &diffs[index].rows {
            let place = *places.entry(&row.labels).or_insert(lines.len());
            if place == lines.len() {
                lines.push(DiffLine {
                    cells: vec![None; diffs.len()],
                });
            }
            lines[place].cells[index] = Some(row);
        }
    }
    let is_common = |row: &DiffRow| row.before.is_some() && row.after.is_some();
    lines.retain(|line| {
        let passes = |row: &DiffRow| {
            (!options.only_common || is_common(row)) && (!options.hide_noise || !row.is_noise())
        };
        line.rows().any(passes)
    });
    if options.by_baseline {
        let before = |line: &DiffLine<'_>| line.any().map_or(0.0, |row| row.percent_before);
        lines.sort_by(|left, right| before(right).total_cmp(&before(left)));
    }
    lines
}

struct Text<'a> {
    baseline: &'a str,
    others: &'a [Comparison],
    diffs: Vec<&'a EventDiff>, // one of each of `others`
    options: &'a DiffOptions,
    report: &'a ReportOptions,
}

/// What a column shows; of which comparison.
#[derive(Clone, Copy)]
enum Cell {
    Baseline,
    BasePeriod,
    Computed(usize),
    Noise(usize),
    Formula(usize),
    Period(usize),
    Key(usize),
}

impl Text<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let lines = diff_lines(&self.diffs, self.options);
        let columns = self.columns(&lines);
        if !self.report.quiet {
            self.write_header(out, &columns)?;
        }
        let separator = self.report.separator.as_deref();
        let last = columns.len() - 1;
        for line in &lines {
            let cells = columns.iter().enumerate().map(|(index, &(cell, width))| {
                let text = self.cell(line, cell);
                match (cell, separator) {
                    (Cell::Key(key), _) => {
                        let text = match separator.filter(|it| !it.is_empty()) {
                            Some(separator) => text.replace(separator, "."),
                            None => text,
                        };
                        let is_free = index == last && self.keys()[key] == Column::Symbol;
                        if is_free { text } else { left(&text, width) }
                    }
                    (_, Some(_)) => left(text.trim(), width),
                    (Cell::Noise(_), None) => left(&text, width),
                    (_, None) => right(&text, width),
                }
            });
            let cells: Vec<String> = cells.collect();
            match separator {
                Some(separator) => writeln!(out, "{}", cells.join(separator))?,
                None => writeln!(out, "  {}", cells.join("  "))?,
            }
        }
        Ok(())
    }

    fn write_header(&self, out: &mut dyn Write, columns: &[(Cell, usize)]) -> io::Result<()> {
        let event = printable(&self.diffs[0].name);
        writeln!(out, "# Event '{event}'\n#")?;
        if self.is_many() {
            let baseline = printable(self.baseline);
            writeln!(out, "# Data files:\n#  [0] {baseline} (Baseline)")?;
            for (index, other) in self.others.iter().enumerate() {
                writeln!(out, "#  [{}] {} ", index + 1, printable(&other.name))?;
            }
            writeln!(out, "#")?;
        }
        if self.diffs[0].children {
            writeln!(out, "# Shares of functions with all that they call\n#")?;
        }
        if !self.options.plain {
            self.write_noise(out)?;
        }
        let titles = columns.iter().map(|&(cell, width)| {
            let title = self.title(cell);
            match cell {
                Cell::Key(_) | Cell::Noise(_) => left(&title, width),
                _ => right(&title, width),
            }
        });
        let titles: Vec<String> = titles.collect();
        if let Some(separator) = &self.report.separator {
            return writeln!(out, "# {}", titles.join(separator));
        }
        let dots = columns.iter().map(|&(_, width)| ".".repeat(width));
        let dots: Vec<String> = dots.collect();
        writeln!(out, "# {}\n# {}\n#", titles.join("  "), dots.join("  "))
    }

    fn keys(&self) -> &[Column] {
        &self.diffs[0].keys
    }

    /// Whether columns have to say which recording they are about.
    fn is_many(&self) -> bool {
        self.diffs.len() > 1
    }

    /// How much there was to compare, and what came of it.
    fn write_noise(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, diff) in self.diffs.iter().enumerate() {
            let before = diff.before.samples;
            let (which, now) = match self.is_many() {
                true => (format!("[{}]: ", index + 1), "there"),
                false => (String::new(), "now"),
            };
            let Some(after) = diff.after else {
                let nothing = match self.is_many() {
                    true => "it has none of this event",
                    false => "the second recording has none of this event",
                };
                writeln!(out, "# {which}Samples: {before}; {nothing}")?;
                continue;
            };
            let real = diff.rows.iter().filter(|row| !row.is_noise()).count();
            let all = diff.rows.len();
            let hidden = match self.options.hide_noise {
                true if self.is_many() => "; where none is, a line is not shown",
                true => "; the others are not shown",
                false => "",
            };
            writeln!(
                out,
                "# {which}Samples: {before} before, {} {now}",
                after.samples
            )?;
            writeln!(
                out,
                "# {which}{real} of {all} differences are larger than sampling noise{hidden}"
            )?;
        }
        writeln!(out, "#")
    }

    fn columns(&self, lines: &[DiffLine<'_>]) -> Vec<(Cell, usize)> {
        let mut cells = vec![Cell::Baseline];
        let shows = self.options;
        cells.extend(shows.show_period.then_some(Cell::BasePeriod));
        for (index, diff) in self.diffs.iter().enumerate() {
            cells.push(Cell::Computed(index));
            cells.extend((!shows.plain && diff.after.is_some()).then_some(Cell::Noise(index)));
            cells.extend(shows.show_formula.then_some(Cell::Formula(index)));
            cells.extend(shows.show_period.then_some(Cell::Period(index)));
        }
        let elided = elided(self.report);
        let is_elided = |key: &Column| elided.iter().any(|(column, ..)| column == key);
        let spared = self.keys().iter().all(is_elided);
        let keys = self.keys().iter().enumerate();
        let keys = keys.filter(|(_, key)| spared || !is_elided(key));
        cells.extend(keys.map(|(index, _)| Cell::Key(index)));
        let widths = cells.into_iter().map(|cell| {
            let widest = lines.iter().map(|line| width(&self.cell(line, cell))).max();
            let least = match cell {
                Cell::Baseline => 8,
                Cell::Computed(_) => match self.options.compute {
                    DiffCompute::DeltaAbs => 9,
                    DiffCompute::Delta => 7,
                    DiffCompute::Ratio | DiffCompute::WeightedDiff(..) => 14,
                },
                Cell::BasePeriod | Cell::Period(_) => 14,
                Cell::Formula(_) => 70,
                Cell::Noise(_) | Cell::Key(_) => 0,
            };
            let width = widest.unwrap_or(0).max(self.title(cell).len()).max(least);
            (cell, width)
        });
        widths.collect()
    }

    fn title(&self, cell: Cell) -> String {
        let (title, of) = match cell {
            Cell::Baseline => ("Baseline", 0),
            Cell::BasePeriod => ("Base period", 0),
            Cell::Computed(index) => {
                let title = match self.options.compute {
                    DiffCompute::DeltaAbs => "Delta Abs",
                    DiffCompute::Delta => "Delta",
                    DiffCompute::Ratio => "Ratio",
                    DiffCompute::WeightedDiff(..) => "Weighted diff",
                };
                (title, index + 1)
            }
            Cell::Noise(index) => ("Error", index + 1),
            Cell::Formula(index) => ("Formula", index + 1),
            Cell::Period(index) => ("Period", index + 1),
            Cell::Key(index) => return self.keys()[index].header(false).to_owned(),
        };
        match self.is_many() {
            true => format!("{title}/{of}"),
            false => title.to_owned(),
        }
    }

    fn cell(&self, line: &DiffLine<'_>, cell: Cell) -> String {
        let of = match cell {
            Cell::Baseline | Cell::BasePeriod | Cell::Key(_) => line.any(),
            Cell::Computed(index)
            | Cell::Noise(index)
            | Cell::Formula(index)
            | Cell::Period(index) => line.get(index),
        };
        let Some(row) = of else {
            return String::new();
        };
        let period = |weight: Option<prof_profile::Weight>| weight.map_or(0, |it| it.period);
        match cell {
            Cell::Baseline if row.before.is_none() => String::new(),
            Cell::Baseline if self.report.separator.is_some() => {
                format!("{:.2}", row.percent_before)
            }
            Cell::Baseline => format!("{:.2}%", row.percent_before),
            Cell::BasePeriod => period(row.before).to_string(),
            Cell::Computed(index) => self.computed(self.diffs[index], row),
            Cell::Noise(_) => match row.test {
                Some(test) if test.is_noise() => format!("±{:.2}% noise", test.error),
                Some(test) => format!("±{:.2}%", test.error),
                None => String::new(),
            },
            Cell::Formula(index) => self.formula(self.diffs[index], row),
            Cell::Period(_) if row.after.is_none() => String::new(),
            Cell::Period(_) => period(row.after).to_string(),
            Cell::Key(index) => row.labels[index].clone(),
        }
    }

    fn computed(&self, diff: &EventDiff, row: &DiffRow) -> String {
        let absent = || match row.after {
            Some(_) => "N/A".to_owned(),
            None => String::new(),
        };
        match self.options.compute {
            DiffCompute::DeltaAbs | DiffCompute::Delta if diff.after.is_none() => String::new(),
            DiffCompute::DeltaAbs | DiffCompute::Delta => format!("{:+.2}%", row.delta()),
            DiffCompute::Ratio => row.ratio().map_or_else(absent, |it| format!("{it:.6}")),
            DiffCompute::WeightedDiff(before, after) => row
                .weighted(before, after)
                .map_or_else(absent, |it| it.to_string()),
        }
    }

    fn formula(&self, diff: &EventDiff, row: &DiffRow) -> String {
        let (then, now) = (
            row.before.unwrap_or_default().period,
            row.after.unwrap_or_default().period,
        );
        let (all_then, Some(all_now)) = (diff.before.period, diff.after) else {
            return String::new();
        };
        match self.options.compute {
            DiffCompute::DeltaAbs | DiffCompute::Delta => format!(
                "({now} * 100 / {}) - ({then} * 100 / {all_then})",
                all_now.period
            ),
            DiffCompute::Ratio => format!("{now} / {then}"),
            DiffCompute::WeightedDiff(before, after) => {
                format!("({now} * {after}) - ({then} * {before})")
            }
        }
    }
}
