use std::borrow::Cow;
use std::io::{self, Write};

use smallvec::SmallVec;

use crate::draw::push_call_tree;
use crate::hist::{Counts, Row, Table};
use crate::stdio::{natural_width, push_weights, weight_width, write_events};
use crate::text::{left, right};
use crate::{Column, EventGroup};

/// Columns by which each level is moved to the right.
const STEP: usize = 3;

/// Rows that agree in their first keys, or a row.
struct Node<'t> {
    /// One of its rows: it has the keys, but not the counts.
    row: &'t Row,
    counts: SmallVec<[Counts; 1]>,
    children: Vec<Node<'t>>,
}

/// A table as a tree: first by the first key, within that by the next.
pub(crate) struct HierarchyText<'t, 'a> {
    table: &'t Table<'a>,
    group: &'t EventGroup,
    weights: Vec<Column>,
    keys: Vec<(Column, usize)>, // with the width
}

impl<'t, 'a> HierarchyText<'t, 'a> {
    pub(crate) fn new(table: &'t Table<'a>, group: &'t EventGroup) -> Self {
        let columns = table.columns().iter();
        let weights = columns.clone().copied().filter(|column| !column.is_key());
        let keys = columns.copied().filter(|column| column.is_key());
        let keys = keys.map(|column| (column, natural_width(table, column, true)));
        Self {
            table,
            group,
            weights: weights.collect(),
            keys: keys.collect(),
        }
    }

    /// How far the names stand behind the numbers of the outermost level.
    fn indent(&self) -> usize {
        STEP * self.keys.len().saturating_sub(1)
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.table.options().quiet {
            self.write_header(out)?;
        }
        let rows: Vec<&Row> = self.table.rows().iter().collect();
        self.write_nodes(out, &self.nodes(&rows, 0), 0)?;
        write!(out, "\n\n")
    }

    fn write_header(&self, out: &mut dyn Write) -> io::Result<()> {
        write_events(out, self.table, self.group)?;
        let titles: Vec<String> = self
            .weights
            .iter()
            .enumerate()
            .map(|(index, &column)| {
                let more = if index == 0 { self.indent() } else { 0 };
                let width = weight_width(self.table, column) + more;
                right(column.header(false), width)
            })
            .collect();
        let titles = titles.join("  ");
        let names: Vec<&str> = self
            .keys
            .iter()
            .map(|(column, _)| column.header(false))
            .collect();
        let names = names.join(" / ");
        let widths = self.keys.iter().enumerate();
        let widest = widths.map(|(depth, (_, width))| STEP * depth + width).max();
        let dots = ".".repeat(widest.unwrap_or(0).max(names.len()));
        writeln!(out, "# {titles}  {names}")?;
        writeln!(out, "# {}  {dots}\n#", ".".repeat(titles.len()))
    }

    /// Groups rows by the key of a level, the heaviest first.
    fn nodes(&self, rows: &[&'t Row], depth: usize) -> Vec<Node<'t>> {
        let Some(&(column, _)) = self.keys.get(depth) else {
            return Vec::new();
        };
        let key = |row: &Row| self.table.key(row, column);
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| key(row)); // stable: else in the order of the table
        let mut nodes: Vec<Node<'t>> = rows
            .chunk_by(|left, right| key(left) == key(right))
            .map(|rows| Node {
                row: rows[0],
                counts: sum(rows),
                children: self.nodes(rows, depth + 1),
            })
            .collect();
        let order = |node: &Node<'_>| {
            let periods = node
                .counts
                .iter()
                .map(|it| std::cmp::Reverse(it.own.period));
            periods.collect::<Vec<_>>()
        };
        nodes.sort_by_cached_key(order); // stable: else by key
        nodes
    }

    fn write_nodes(&self, out: &mut dyn Write, nodes: &[Node<'_>], depth: usize) -> io::Result<()> {
        let limit = self.table.options().percent_limit;
        let mut any = false;
        for node in nodes {
            let period = node.counts[0].own.period;
            if self.table.percent(period) < limit {
                continue;
            }
            any = true;
            self.write_node(out, node, depth)?;
            if depth + 1 == self.keys.len() {
                let mut text = String::new();
                push_call_tree(&mut text, self.table, node.row);
                out.write_all(text.as_bytes())?;
            } else {
                self.write_nodes(out, &node.children, depth + 1)?;
            }
        }
        if !any && depth > 0 {
            let weights = self.weights.iter();
            let weights = weights.map(|&column| weight_width(self.table, column) + 2);
            let margin = " ".repeat(2 + STEP * depth + weights.sum::<usize>() + self.indent());
            writeln!(out, "{margin}no entry >= {limit:.2}%")?;
        }
        Ok(())
    }

    fn write_node(&self, out: &mut dyn Write, node: &Node<'_>, depth: usize) -> io::Result<()> {
        let (column, width) = self.keys[depth];
        let row = Row {
            counts: node.counts.clone(),
            ..node.row.clone()
        };
        let mut weights = String::new();
        for (index, &column) in self.weights.iter().enumerate() {
            if index > 0 {
                weights.push_str("  ");
            }
            let width = weight_width(self.table, column);
            push_weights(&mut weights, self.table, &row, column, width);
        }
        let label = self.table.label(&row, column);
        let label = match column {
            Column::Symbol | Column::SymbolFrom | Column::SymbolTo => label,
            _ => Cow::Owned(left(&label, width)),
        };
        let margin = " ".repeat(2 + STEP * depth);
        let gap = " ".repeat(self.indent() + 2);
        writeln!(out, "{margin}{weights}{gap}{label}")
    }
}

fn sum(rows: &[&Row]) -> SmallVec<[Counts; 1]> {
    let mut sums = rows[0].counts.clone();
    for row in &rows[1..] {
        for (sum, counts) in sums.iter_mut().zip(&row.counts) {
            sum.own += counts.own;
            sum.total += counts.total;
            sum.own_kernel = sum.own_kernel.saturating_add(counts.own_kernel);
            sum.own_user = sum.own_user.saturating_add(counts.own_user);
        }
    }
    sums
}
