use std::io::{self, Write};

use prof_profile::{Names, Profile};

use crate::draw::{colored, write_call_tree};
use crate::hist::{Row, Table};
use crate::text::width;
use crate::{Column, Places, ReportOptions};

const WIDTH_OF_UNRESOLVED: usize = 16; // the digits of an address

/// Writes what `perf report --stdio` prints, one table per event that has samples.
///
/// Returns whether there was any: without samples nothing is written.
///
/// # Errors
/// Those of `out`.
pub fn write_report(
    out: &mut dyn Write,
    profile: &Profile,
    names: &Names,
    options: &ReportOptions,
) -> io::Result<bool> {
    let places = Places::new(profile, names, options.inline);
    let mut any = false;
    for event in 0..profile.events.len() {
        let event = u16::try_from(event).unwrap_or(u16::MAX);
        let Some(table) = Table::new(profile, &places, options, event) else {
            continue;
        };
        if !any && !options.quiet {
            write_preamble(out, profile, options)?;
        }
        any = true;
        TableText::new(&table).write(out)?;
    }
    Ok(any)
}

/// The column that need not be shown because a filter leaves only one value, with that value.
fn elided(options: &ReportOptions) -> Vec<(Column, &'static str, &str)> {
    let lists = [
        (Column::Dso, "dso", &options.filter.dsos),
        (Column::Comm, "comm", &options.filter.comms),
        (Column::Symbol, "symbol", &options.filter.symbols),
    ];
    lists
        .into_iter()
        .filter_map(|(column, name, list)| match &list[..] {
            [only] => Some((column, name, only.as_str())),
            _ => None,
        })
        .collect()
}

fn write_preamble(
    out: &mut dyn Write,
    profile: &Profile,
    options: &ReportOptions,
) -> io::Result<()> {
    match &options.header {
        Some(lines) => lines.iter().try_for_each(|line| writeln!(out, "{line}"))?,
        None => writeln!(
            out,
            "# To display the perf.data header info, please use --header/--header-only options."
        )?,
    }
    writeln!(out, "#")?;
    for (_, name, value) in elided(options) {
        writeln!(out, "# {name}: {value}")?;
    }
    let lost = profile.losses.lost_samples;
    writeln!(out, "#\n# Total Lost Samples: {lost}\n#")
}

/// A number of samples as perf prints it: cut to thousands, with the unit.
fn with_unit(mut count: u64) -> String {
    let mut unit = ' ';
    for larger in ['K', 'M', 'G'] {
        if count > 1000 {
            count /= 1000;
            unit = larger;
        }
    }
    format!("{count}{unit}")
}

/// A table whose columns have got their widths.
struct TableText<'t, 'a> {
    table: &'t Table<'a>,
    columns: Vec<(Column, usize)>,
    separator: Option<&'t str>,
}

impl<'t, 'a> TableText<'t, 'a> {
    fn new(table: &'t Table<'a>) -> Self {
        let options = table.options();
        let elided = elided(options);
        let is_elided = |column: Column| elided.iter().any(|&(it, ..)| it == column);
        let keys = &table.layout().keys;
        let spared = keys.iter().all(|&key| is_elided(key)); // some key must be left to tell rows apart
        let columns = table
            .columns()
            .iter()
            .copied()
            .filter(|&column| spared || !is_elided(column));
        let columns: Vec<Column> = columns.collect();
        let last = columns.len().saturating_sub(1);
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(index, column)| match options.widths.get(index) {
                Some(&width) if width > 0 => (column, width),
                _ => (column, natural_width(table, column, index == last)),
            })
            .collect();
        Self {
            table,
            columns,
            separator: options.separator.as_deref(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let options = self.table.options();
        if !options.quiet {
            self.write_header(out)?;
        }
        let rows = self.table.rows().iter();
        for row in rows.filter(|&row| {
            self.table.percent(self.table.main_weight(row).period) >= options.percent_limit
        }) {
            self.write_row(out, row)?;
            write_call_tree(out, self.table, row)?;
        }
        write!(out, "\n\n")
    }

    fn write_header(&self, out: &mut dyn Write) -> io::Result<()> {
        let counted = self.table.counted();
        writeln!(
            out,
            "# Samples: {} of event '{}'",
            with_unit(counted.samples),
            self.table.event().name
        )?;
        writeln!(out, "# Event count (approx.): {}\n#", counted.period)?;
        let titles = self.columns.iter().map(|&(column, width)| {
            let title = column.header(self.table.layout().overhead_is_self);
            if column.is_key() {
                format!("{title:<width$.width$}")
            } else {
                format!("{title:>width$}")
            }
        });
        writeln!(out, "# {}", self.join(titles))?;
        if self.separator.is_some() {
            return Ok(());
        }
        let dots = self.columns.iter().map(|&(_, width)| ".".repeat(width));
        writeln!(out, "# {}\n#", self.join(dots))
    }

    fn join(&self, cells: impl Iterator<Item = String>) -> String {
        let cells: Vec<String> = cells.collect();
        cells.join(self.separator.unwrap_or("  "))
    }

    fn write_row(&self, out: &mut dyn Write, row: &Row) -> io::Result<()> {
        if self.separator.is_none() {
            write!(out, "  ")?;
        }
        let last = self.columns.len().saturating_sub(1);
        let cells = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, &(column, width))| self.cell(row, column, width, index == last));
        writeln!(out, "{}", self.join(cells))
    }

    fn cell(&self, row: &Row, column: Column, width: usize, is_last: bool) -> String {
        if column.is_key() {
            return self.key_cell(row, column, width, is_last);
        }
        let value = self.table.value(row, column).unwrap_or_default();
        // with a separator numbers are not aligned, but keep the blank before them
        let narrow = self.separator.is_some();
        let text = if column.is_percentage() {
            let digits = if narrow { 1 } else { width.saturating_sub(2) };
            let text = format!(" {value:digits$.2}%");
            colored(&text, value, self.table.options().color)
        } else {
            let digits = if narrow { 1 } else { width.saturating_sub(1) };
            format!(" {value:digits$.0}")
        };
        if narrow {
            format!("{text:<width$}")
        } else {
            text
        }
    }

    fn key_cell(&self, row: &Row, column: Column, width: usize, is_last: bool) -> String {
        let mut label = self.table.label(row, column);
        if let Some(separator) = self.separator.filter(|it| !it.is_empty()) {
            label = label.replace(separator, ".");
        }
        let is_cut = !self.table.options().widths.is_empty()
            && self
                .table
                .symbol(row)
                .is_none_or(|id| self.table.places().symbol(id).is_named());
        match column {
            Column::SymbolSize => format!("{label:>width$}"),
            Column::Symbol if is_last && !is_cut => label,
            Column::Symbol if is_last => format!("{label:.width$}"),
            _ => format!("{label:<width$.width$}"),
        }
    }
}

/// As wide as the title and every value.
fn natural_width(table: &Table<'_>, column: Column, is_last: bool) -> usize {
    let title = column.header(table.layout().overhead_is_self).len();
    let rows = table.rows().iter();
    let widest = match column {
        Column::Samples | Column::Period => 12,
        _ if !column.is_key() => 8,
        Column::Symbol if is_last => rows.map(|row| symbol_width(table, row)).max().unwrap_or(0),
        _ => rows
            .map(|row| width(&table.label(row, column)))
            .max()
            .unwrap_or(0),
    };
    let least = match column {
        Column::Dso if has_room_for_addresses(table) => WIDTH_OF_UNRESOLVED,
        Column::Cpu => 3,
        _ => 0,
    };
    title.max(widest).max(least)
}

/// How wide a symbol counts where nothing follows it: as in perf, without ` (inlined)`.
fn symbol_width(table: &Table<'_>, row: &Row) -> usize {
    let letter = "[.] ".len();
    match table.symbol(row).map(|id| table.places().symbol(id)) {
        Some(symbol) if symbol.is_named() => letter + width(&symbol.name),
        _ => letter + "0x".len() + WIDTH_OF_UNRESOLVED,
    }
}

/// Whether modules are given as much room as addresses, because some rows are nothing else.
fn has_room_for_addresses(table: &Table<'_>) -> bool {
    let options = table.options();
    let is_address = |row: &Row| {
        let symbol = table.symbol(row).map(|id| table.places().symbol(id));
        symbol.is_some_and(|symbol| !symbol.is_named())
    };
    options.widths.is_empty()
        && options.separator.is_none()
        && options.filter.dsos.is_empty()
        && table.rows().iter().any(is_address)
}
