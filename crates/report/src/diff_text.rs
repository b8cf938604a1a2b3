//! A comparison as `perf diff` prints it, with a column more.

use std::io::{self, Write};

use crate::ReportOptions;
use crate::column::Column;
use crate::diff::{DiffCompute, DiffRow, EventDiff};
use crate::stdio::elided;
use crate::text::width;

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
    /// Sorted by the share before, not by what was computed.
    pub by_baseline: bool,
}

/// Writes a table for each event.
///
/// # Errors
/// Those of `out`.
pub fn write_diff(
    out: &mut dyn Write,
    diffs: &[EventDiff],
    options: &DiffOptions,
    report: &ReportOptions,
) -> io::Result<()> {
    for (index, diff) in diffs.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        Text {
            diff,
            options,
            report,
        }
        .write(out)?;
    }
    Ok(())
}

/// The rows of a comparison that are shown, in their order.
pub fn diff_rows<'a>(diff: &'a EventDiff, options: &DiffOptions) -> Vec<&'a DiffRow> {
    let is_common = |row: &DiffRow| row.before.is_some() && row.after.is_some();
    let rows = diff.rows.iter();
    let rows = rows.filter(|row| !options.only_common || is_common(row));
    let mut rows: Vec<_> = rows
        .filter(|row| !options.hide_noise || !row.is_noise())
        .collect();
    if options.by_baseline {
        rows.sort_by(|left, right| right.percent_before.total_cmp(&left.percent_before));
    }
    rows
}

struct Text<'a> {
    diff: &'a EventDiff,
    options: &'a DiffOptions,
    report: &'a ReportOptions,
}

/// What a column shows.
#[derive(Clone, Copy)]
enum Cell {
    Baseline,
    BasePeriod,
    Computed,
    Noise,
    Formula,
    Period,
    Key(usize),
}

impl Text<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows = diff_rows(self.diff, self.options);
        let columns = self.columns(&rows);
        if !self.report.quiet {
            self.write_header(out, &columns)?;
        }
        let separator = self.report.separator.as_deref();
        let last = columns.len() - 1;
        for row in rows {
            let cells = columns.iter().enumerate().map(|(index, &(cell, width))| {
                let text = self.cell(row, cell);
                match (cell, separator) {
                    (Cell::Key(key), _) => {
                        let text = match separator.filter(|it| !it.is_empty()) {
                            Some(separator) => text.replace(separator, "."),
                            None => text,
                        };
                        let is_free = index == last && self.diff.keys[key] == Column::Symbol;
                        if is_free { text } else { pad(text, width) }
                    }
                    (_, Some(_)) => pad(text.trim().to_owned(), width),
                    (Cell::Noise, None) => pad(text, width),
                    (_, None) => format!("{text:>width$}"),
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
        writeln!(out, "# Event '{}'\n#", self.diff.name)?;
        if !self.options.plain {
            self.write_noise(out)?;
        }
        let titles = columns.iter().map(|&(cell, width)| {
            let title = self.title(cell);
            match cell {
                Cell::Key(_) | Cell::Noise => pad(title.to_owned(), width),
                _ => format!("{title:>width$}"),
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

    /// How much there was to compare, and what came of it.
    fn write_noise(&self, out: &mut dyn Write) -> io::Result<()> {
        let before = self.diff.before.samples;
        let Some(after) = self.diff.after else {
            return writeln!(
                out,
                "# Samples: {before}; the second recording has none of this event\n#"
            );
        };
        let real = self.diff.rows.iter().filter(|row| !row.is_noise()).count();
        let all = self.diff.rows.len();
        writeln!(out, "# Samples: {before} before, {} now", after.samples)?;
        let hidden = match self.options.hide_noise {
            true => "; the others are not shown",
            false => "",
        };
        writeln!(
            out,
            "# {real} of {all} differences are larger than sampling noise{hidden}\n#"
        )
    }

    fn columns(&self, rows: &[&DiffRow]) -> Vec<(Cell, usize)> {
        let mut cells = vec![Cell::Baseline];
        let shows = self.options;
        cells.extend(shows.show_period.then_some(Cell::BasePeriod));
        cells.push(Cell::Computed);
        cells.extend((!shows.plain && self.diff.after.is_some()).then_some(Cell::Noise));
        cells.extend(shows.show_formula.then_some(Cell::Formula));
        cells.extend(shows.show_period.then_some(Cell::Period));
        let elided = elided(self.report);
        let is_elided = |key: &Column| elided.iter().any(|(column, ..)| column == key);
        let spared = self.diff.keys.iter().all(is_elided);
        let keys = self.diff.keys.iter().enumerate();
        let keys = keys.filter(|(_, key)| spared || !is_elided(key));
        cells.extend(keys.map(|(index, _)| Cell::Key(index)));
        let widths = cells.into_iter().map(|cell| {
            let widest = rows.iter().map(|row| width(&self.cell(row, cell))).max();
            let least = match cell {
                Cell::Baseline => 8,
                Cell::Computed => match self.options.compute {
                    DiffCompute::DeltaAbs => 9,
                    DiffCompute::Delta => 7,
                    DiffCompute::Ratio | DiffCompute::WeightedDiff(..) => 14,
                },
                Cell::BasePeriod | Cell::Period => 14,
                Cell::Formula => 70,
                Cell::Noise | Cell::Key(_) => 0,
            };
            let width = widest.unwrap_or(0).max(self.title(cell).len()).max(least);
            (cell, width)
        });
        widths.collect()
    }

    fn title(&self, cell: Cell) -> &'static str {
        match cell {
            Cell::Baseline => "Baseline",
            Cell::BasePeriod => "Base period",
            Cell::Computed => match self.options.compute {
                DiffCompute::DeltaAbs => "Delta Abs",
                DiffCompute::Delta => "Delta",
                DiffCompute::Ratio => "Ratio",
                DiffCompute::WeightedDiff(..) => "Weighted diff",
            },
            Cell::Noise => "Error",
            Cell::Formula => "Formula",
            Cell::Period => "Period",
            Cell::Key(index) => self.diff.keys[index].header(false),
        }
    }

    fn cell(&self, row: &DiffRow, cell: Cell) -> String {
        let period = |weight: Option<prof_profile::Weight>| weight.map_or(0, |it| it.period);
        match cell {
            Cell::Baseline if row.before.is_none() => String::new(),
            Cell::Baseline if self.report.separator.is_some() => {
                format!("{:.2}", row.percent_before)
            }
            Cell::Baseline => format!("{:.2}%", row.percent_before),
            Cell::BasePeriod => period(row.before).to_string(),
            Cell::Computed => self.computed(row),
            Cell::Noise => match row.test {
                Some(test) if test.is_noise() => format!("±{:.2}% noise", test.error),
                Some(test) => format!("±{:.2}%", test.error),
                None => String::new(),
            },
            Cell::Formula => self.formula(row),
            Cell::Period if row.after.is_none() => String::new(),
            Cell::Period => period(row.after).to_string(),
            Cell::Key(index) => row.labels[index].clone(),
        }
    }

    fn computed(&self, row: &DiffRow) -> String {
        let absent = || match row.after {
            Some(_) => "N/A".to_owned(),
            None => String::new(),
        };
        match self.options.compute {
            DiffCompute::DeltaAbs | DiffCompute::Delta if self.diff.after.is_none() => {
                String::new()
            }
            DiffCompute::DeltaAbs | DiffCompute::Delta => format!("{:+.2}%", row.delta()),
            DiffCompute::Ratio => row.ratio().map_or_else(absent, |it| format!("{it:.6}")),
            DiffCompute::WeightedDiff(before, after) => row
                .weighted(before, after)
                .map_or_else(absent, |it| it.to_string()),
        }
    }

    fn formula(&self, row: &DiffRow) -> String {
        let (then, now) = (
            row.before.unwrap_or_default().period,
            row.after.unwrap_or_default().period,
        );
        let (all_then, Some(all_now)) = (self.diff.before.period, self.diff.after) else {
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

/// Fills up with blanks by what a terminal shows, not by bytes.
fn pad(text: String, to: usize) -> String {
    let missing = to.saturating_sub(width(&text));
    text + &" ".repeat(missing)
}
