//! `perf report` beside `prof report`: rows, counts, percentages and call graphs.

use std::collections::{BTreeMap, BTreeSet};

use crate::lab::{COMMS, Lab};
use crate::rules::{Aliases, Explained, Rule};

/// One event's table.
#[derive(Default)]
struct Table {
    /// `# Samples: ...`, `# Event count (approx.): ...`
    head: Vec<String>,
    rows: Vec<Row>,
}

/// A row and its call graph.
struct Row {
    /// Its columns, a blank between them.
    text: String,
    graph: Vec<String>,
}

impl Row {
    /// Rows with one of the workload's names.
    fn is_ours(&self) -> bool {
        let padded = format!(" {} ", self.text);
        COMMS
            .iter()
            .any(|comm| padded.contains(&format!(" {comm} ")))
    }

    /// A caller without a name has its address in its file. perf has the address in the process, so
    /// that each process has another row.
    fn is_nameless_caller(&self) -> bool {
        let mut words = self.text.split(' ');
        let is_unknown = self.text.contains("[unknown]");
        words.nth(1) == Some("0.00%") && self.text.contains("] 0x") && !is_unknown
    }
}

/// With addresses in call graphs for nothing but addresses, as [`Row::is_nameless_caller`] says.
fn without_address(line: &str) -> String {
    match line.rsplit_once("0x") {
        Some((before, _)) => format!("{before}0x"),
        None => line.to_owned(),
    }
}

/// A recording whose tables are compared.
pub(crate) struct Subject<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) file: &'a str,
    /// Whether it has only the workload, not what else runs on this machine.
    pub(crate) is_alone: bool,
    pub(crate) explained: &'a Explained,
}

/// With each kernel function under the first of the names at its address.
fn plain(text: &str, aliases: &Aliases) -> String {
    let words = text.split_whitespace().map(|word| aliases.plain(word));
    let mut line = words.collect::<Vec<_>>().join(" ");
    // perf gives an unmapped caller the level of the frame before it.
    if let Some(at) = line.find("[unknown] [k] ") {
        line.replace_range(at..at + "[unknown] [k] ".len(), "[unknown] [.] ");
    }
    line
}

fn parse(report: &str, aliases: &Aliases) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in report.lines() {
        if line.starts_with("# Samples: ") {
            tables.push(Table::default());
        }
        let Some(table) = tables.last_mut() else {
            continue;
        };
        let first = line.split_whitespace().next().unwrap_or_default();
        if line.starts_with("# Samples: ") || line.starts_with("# Event count") {
            table.head.push(line.trim_end().to_owned());
        } else if line.starts_with('#') || line.trim().is_empty() {
        } else if first.ends_with('%') && !line.contains("--") {
            table.rows.push(Row {
                text: plain(line, aliases),
                graph: Vec::new(),
            });
        } else if let Some(row) = table.rows.last_mut() {
            let end = line.rfind(['-', ' ']).map_or(0, |at| at + 1);
            let name = without_address(aliases.plain(&line[end..]));
            row.graph
                .push(format!("{}{name}", &line[..end]).trim_end().to_owned());
        }
    }
    tables
}

impl Subject<'_> {
    /// Rows that must be perf's.
    fn rows<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Row> {
        let is_kernel = |row: &Row| row.text.contains("[kernel.kallsyms]");
        let rows = table.rows.iter();
        let rows = rows.filter(move |row| match self.has_nameless() {
            true => self.is_alone || is_kernel(row),
            false => self.is_alone || row.is_ours(),
        });
        rows.filter(|row| !self.explained.touches(&row.text) && !row.is_nameless_caller())
    }

    /// Whether perf has samples under `:TID` that belong to a thread with a name.
    fn has_nameless(&self) -> bool {
        self.explained.rules.contains(&Rule::NamelessThread)
    }

    fn by_text<'t>(&self, table: &'t Table) -> BTreeMap<&'t str, &'t Row> {
        let rows = self.rows(table).map(|row| (row.text.as_str(), row));
        rows.collect()
    }

    /// The tables of both, and that they have the same rows with the same graphs.
    fn compare(&self, options: &str) -> (Vec<Table>, Vec<Table>) {
        let file = self.file;
        let mut options = format!("report --stdio --no-inline -n {options}");
        if file.ends_with(".pipe") {
            // perf learns too late that all events of a pipe are tracepoints, which have another
            // default.
            options.push_str(" --sort comm,dso,sym");
        }
        if self.has_nameless() {
            options.push_str(" --sort dso,sym");
        }
        let aliases = Aliases::of_this_kernel();
        let ours = parse(&self.lab.prof(&options, file).ok().out, &aliases);
        let theirs = parse(&self.lab.perf(&options, file).ok().out, &aliases);
        assert_eq!(ours.len(), theirs.len(), "tables of {file}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.head, theirs.head, "{file}");
            let (rows, expected) = (self.by_text(ours), self.by_text(theirs));
            same(&format!("rows of {file}"), rows.keys(), expected.keys());
            assert!(!rows.is_empty(), "rows of {file}");
            for (text, row) in rows {
                let graph = &expected[text].graph;
                let lines = row.graph.iter().chain(graph);
                let is_explained = lines.into_iter().any(|line| self.explained.touches(line));
                if !is_explained && !differ_in_ties(&row.graph, graph) {
                    assert_eq!(&row.graph, graph, "call graph of {text} of {file}");
                }
            }
        }
        (ours, theirs)
    }

    /// Compares tables without callers, and the order of their rows.
    pub(crate) fn compare_rows(&self) {
        let (ours, theirs) = self.compare("--no-children -g none");
        // Of rows with equal shares the name decides, and aliases have several.
        if self.explained.rules.contains(&Rule::Alias) || self.has_nameless() {
            return;
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let texts = |table| self.rows(table).map(|row| &row.text);
            same(
                &format!("order of {}", self.file),
                texts(ours),
                texts(theirs),
            );
        }
    }

    /// Compares tables with callers and their call graphs. Rows with equal shares of two threads
    /// come in another order: perf's depends on what it saw first.
    pub(crate) fn compare_children(&self) {
        self.compare("--children -g caller");
    }
}

/// That both sequences are the same; says where not.
fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: impl Iterator<Item = T>,
    theirs: impl Iterator<Item = T>,
) {
    let (ours, theirs): (Vec<T>, Vec<T>) = (ours.collect(), theirs.collect());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
}

/// Whether two call graphs are the same but for the order of branches with equal shares. perf orders
/// those of different files by where it has the files in its memory.
fn differ_in_ties(ours: &[String], theirs: &[String]) -> bool {
    let content = |graph: &[String]| {
        let lines = graph.iter();
        let lines = lines.map(|line| line.trim_start_matches([' ', '|', '-']).to_owned());
        let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        lines
    };
    let shares = content(theirs);
    let mut shares = shares.iter().filter_map(|line| line.split_once("%--"));
    let mut seen = BTreeSet::new();
    let has_ties = shares.any(|(share, _)| !seen.insert(share.to_owned()));
    has_ties && content(ours) == content(theirs)
}
