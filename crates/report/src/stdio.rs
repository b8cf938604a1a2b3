use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::thread::{self, Builder};

use prof_model::printable;
use prof_profile::{Names, Profile, Weight};
use rustc_hash::FxHashSet;

use crate::digits::push_decimal;
use crate::draw::{push_call_tree, push_colored};
use crate::hierarchy::HierarchyText;
use crate::hist::{Row, Table};
use crate::text::{cut, left, push_blanks, push_left, push_percent, push_right, right, width};
use crate::{Column, EventGroup, ReportOptions};

/// So many rows are made into text at once; each with a call tree counts as many.
const BLOCK: usize = 256;
const CALL_TREE: usize = 32;
/// So many blocks may wait to be written.
const WAITING: usize = 4;
/// What the usual row needs, in bytes.
const ROW_TEXT: usize = 112;
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
    let places = options.places(profile, names);
    let mut any = false;
    for group in EventGroup::of_all(profile.events.len() as u16, &options.groups) {
        let Some(table) = Table::of_events(profile, &places, options, &group.events) else {
            continue;
        };
        if !any && !options.quiet {
            write_preamble(out, profile, options)?;
        }
        any = true;
        if options.hierarchy {
            HierarchyText::new(&table, &group).write(out)?;
        } else {
            TableText::new(&table, &group).write(out)?;
        }
    }
    Ok(any)
}

/// The lines above a table that tell its events.
pub(crate) fn write_events(
    out: &mut dyn Write,
    table: &Table<'_>,
    group: &EventGroup,
) -> io::Result<()> {
    let counted: Weight = table.members().iter().map(|member| member.counted).sum();
    let names = table.members().iter();
    let names = group.describe(names.map(|member| member.event.name.as_str()));
    let is_alone = group.name.is_none() && table.members().len() == 1;
    let plural = if is_alone { "" } else { "s" };
    let slices = match &table.options().time_slices {
        Some(slices) => format!(" (time slices: {slices})"),
        None => String::new(),
    };
    let samples = with_unit(counted.samples);
    writeln!(
        out,
        "# Samples: {samples} of event{plural} '{}'{slices}",
        printable(&names)
    )?;
    writeln!(out, "# Event count (approx.): {}\n#", counted.period)
}

/// The column that need not be shown because a filter leaves only one value, with that value.
pub(crate) fn elided(options: &ReportOptions) -> Vec<(Column, &'static str, &str)> {
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
        writeln!(out, "# {name}: {}", printable(value))?;
    }
    for remark in &options.remarks {
        writeln!(out, "# {}", printable(remark))?;
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
    group: &'t EventGroup,
    columns: Vec<(Column, usize)>,
    separator: Option<&'t str>,
}

impl<'t, 'a> TableText<'t, 'a> {
    fn new(table: &'t Table<'a>, group: &'t EventGroup) -> Self {
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
            group,
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
        let shown = rows.filter(|&row| {
            self.table.percent(self.table.main_weight(row).period) >= options.percent_limit
        });
        self.write_rows(out, &shown.collect::<Vec<_>>())?;
        write!(out, "\n\n")
    }

    /// Writes rows with their call trees. A second thread makes the text of every other block.
    fn write_rows(&self, out: &mut dyn Write, rows: &[&Row]) -> io::Result<()> {
        let blocks = &self.blocks(rows);
        thread::scope(|scope| {
            let (to_writer, texts) = sync_channel(WAITING);
            if blocks.len() > 1 {
                let odd = blocks.iter().skip(1).step_by(2);
                let run = move || {
                    let mut texts = odd.map(|rows| self.text_of(rows));
                    let _ = texts.try_for_each(|text| to_writer.send(text)); // nobody reads on
                };
                let _ = Builder::new().spawn_scoped(scope, run); // else all is made below
            }
            for (index, rows) in blocks.iter().enumerate() {
                let text = match index % 2 {
                    0 => self.text_of(rows),
                    _ => texts.recv().unwrap_or_else(|_| self.text_of(rows)),
                };
                out.write_all(text.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Rows in blocks of about the same work.
    fn blocks<'r>(&self, rows: &'r [&'r Row]) -> Vec<&'r [&'r Row]> {
        let mut blocks = Vec::with_capacity(rows.len() / BLOCK + 1);
        let (mut start, mut work) = (0, 0);
        for (index, row) in rows.iter().enumerate() {
            work += if self.table.has_call_tree(row) {
                CALL_TREE
            } else {
                1
            };
            if work >= BLOCK || index + 1 == rows.len() {
                blocks.push(&rows[start..=index]);
                (start, work) = (index + 1, 0);
            }
        }
        blocks
    }

    fn text_of(&self, rows: &[&Row]) -> String {
        let mut text = String::with_capacity(rows.len() * ROW_TEXT);
        for row in rows {
            self.push_row(&mut text, row);
            push_call_tree(&mut text, self.table, row);
        }
        text
    }

    fn write_header(&self, out: &mut dyn Write) -> io::Result<()> {
        write_events(out, self.table, self.group)?;
        let titles = self.columns.iter().map(|&(column, width)| {
            let title = column.header(self.table.layout().overhead_is_self);
            if column.is_key() {
                left(cut(title, width), width)
            } else {
                right(title, width)
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

    fn push_row(&self, text: &mut String, row: &Row) {
        if self.separator.is_none() {
            text.push_str("  ");
        }
        let last = self.columns.len().saturating_sub(1);
        for (index, &(column, width)) in self.columns.iter().enumerate() {
            if index > 0 {
                text.push_str(self.separator.unwrap_or("  "));
            }
            if column.is_key() {
                self.push_key(text, row, column, width, index == last);
            } else {
                push_weights(text, self.table, row, column, width);
            }
        }
        text.push('\n');
    }

    /// Whether a given width cuts the last column, too: all but addresses.
    fn is_cut(&self, row: &Row, column: Column) -> bool {
        let symbol = self.table.symbol_in(row, column);
        let is_named = |id| self.table.places().symbol(id).is_named();
        !self.table.options().widths.is_empty() && symbol.is_none_or(is_named)
    }

    fn push_key(&self, text: &mut String, row: &Row, column: Column, width: usize, is_last: bool) {
        let symbol = self.table.symbol_in(row, column);
        let is_cut = self.is_cut(row, column);
        let symbol = symbol.map(|id| self.table.places().symbol(id));
        let separator = self.separator.filter(|it| !it.is_empty());
        if let (Some(symbol), true, None) = (symbol, is_last && !is_cut, separator) {
            symbol.push_in_column(text);
            return;
        }
        let label = self.table.label(row, column);
        let is_open = symbol.is_some() || column == Column::Trace;
        let is_address = symbol.is_some_and(|symbol| !symbol.is_named());
        let label = match separator {
            Some(separator) => Cow::Owned(label.replace(separator, ".")),
            None => label,
        };
        match column {
            Column::SymbolSize | Column::Cpu | Column::Socket => push_right(text, &label, width),
            _ if is_last && is_open && !is_cut => text.push_str(&label),
            _ if is_last && is_open => text.push_str(cut(&label, width)),
            Column::Cycles => push_left(text, &label, width),
            _ if is_address => push_left(text, &label, width),
            _ => push_left(text, cut(&label, width), width),
        }
    }
}

/// What a row counts of each event, side by side.
pub(crate) fn push_weights(
    text: &mut String,
    table: &Table<'_>,
    row: &Row,
    column: Column,
    width: usize,
) {
    let options = table.options();
    let members = table.members().len();
    let each = width / members;
    // with a separator numbers are not aligned, but keep the blank before them
    let narrow = options.separator.is_some();
    let start = text.len();
    for member in 0..members {
        if let Some(number) = row.counts[member].number(column) {
            let digits = if narrow { 1 } else { each.saturating_sub(1) };
            text.push(' ');
            push_decimal(text, number, digits, b' ');
        } else {
            let value = table.value(row, member, column).unwrap_or_default();
            let digits = if narrow { 1 } else { each.saturating_sub(2) };
            push_colored(text, value, options.color, |text| {
                text.push(' ');
                push_percent(text, value, digits);
            });
        }
    }
    if narrow {
        let missing = width.saturating_sub(crate::text::width(&text[start..]));
        push_blanks(text, missing);
    }
}

/// The width of a column of numbers: one after the other for each event.
pub(crate) fn weight_width(table: &Table<'_>, column: Column) -> usize {
    let each = match column {
        Column::Samples | Column::Period => 12,
        _ => 8,
    };
    each * table.members().len()
}

/// As wide as the title and every value.
pub(crate) fn natural_width(table: &Table<'_>, column: Column, is_last: bool) -> usize {
    let title = column.header(table.layout().overhead_is_self).len();
    let rows = table.rows().iter();
    let widest = match column {
        _ if !column.is_key() => weight_width(table, column),
        Column::Symbol if is_last => rows.map(|row| symbol_width(table, row)).max().unwrap_or(0),
        _ => {
            let ranks: FxHashSet<u64> = rows.filter_map(|row| table.key(row, column)).collect();
            let widths = ranks
                .into_iter()
                .map(|it| width(&table.label_of(column, it)));
            widths.max().unwrap_or(0)
        }
    };
    let least = match column {
        Column::Dso if has_room_for_addresses(table) => WIDTH_OF_UNRESOLVED,
        Column::Cpu => 3,
        Column::Time => 12,
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
