use crate::hist::{Row, Table};
use crate::text::push_percent;
use crate::{
    CallNode, CallTree, ChainKey, ChainMode, ChainValue, Column, Fields, PlaceId, SymbolKind,
};

const MARGIN: &str = "            "; // 12 columns, as perf has them

/// Appends the callchains of `row`, which stand below it: nothing if none is heavy enough.
pub(crate) fn push_call_tree(text: &mut String, table: &Table<'_>, row: &Row) {
    if !table.has_call_tree(row) {
        return;
    }
    let tree = table.call_tree(row);
    if tree.roots.is_empty() {
        return;
    }
    let drawing = Drawing {
        table,
        tree: &tree,
        row_period: table.main_weight(row).period,
        row_samples: table.main_weight(row).samples,
    };
    match table.options().call_graph.mode {
        ChainMode::Graph | ChainMode::Fractal => drawing.graph(text),
        ChainMode::Flat => drawing.flat(text),
        ChainMode::Folded => drawing.folded(text),
        ChainMode::None => {}
    }
}

/// Colours a share as perf does: red from 5%, green above 0.5%.
pub(crate) fn push_colored(
    text: &mut String,
    percent: f64,
    color: bool,
    push: impl FnOnce(&mut String),
) {
    let start = match percent {
        _ if !color => "",
        5.0.. => "\x1b[31m",
        percent if percent > 0.5 => "\x1b[32m",
        _ => "",
    };
    text.push_str(start);
    push(text);
    if !start.is_empty() {
        text.push_str("\x1b[m");
    }
}

fn push_line(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

struct Drawing<'a> {
    table: &'a Table<'a>,
    tree: &'a CallTree,
    row_period: u64,
    row_samples: u64,
}

/// What a node's branches are shares of, and how many of its samples are in no branch.
struct Whole {
    period: u64,
    samples: u64,
}

impl Drawing<'_> {
    fn name(&self, place: PlaceId) -> String {
        let places = self.table.places();
        let symbol = places.symbol_at(place);
        let name = symbol.in_chain();
        match (self.table.options().call_graph.key, symbol.kind) {
            (ChainKey::Function, _) | (_, SymbolKind::Unresolved(_)) => name,
            (ChainKey::Address | ChainKey::SourceLine, _) => {
                let line = places.line_by_rank(places.get(place).line as usize);
                let inlined = symbol.kind == SymbolKind::Inlined;
                let suffix = if inlined { " (inlined)" } else { "" };
                format!("{} {line}{suffix}", symbol.name)
            }
        }
    }

    fn limit(&self) -> usize {
        match self.table.options().call_graph.print_limit {
            0 => usize::MAX,
            limit => limit,
        }
    }

    fn value(&self, period: u64, samples: u64, whole: u64) -> String {
        match self.table.options().call_graph.value {
            ChainValue::Period => period.to_string(),
            ChainValue::Count => samples.to_string(),
            ChainValue::Percent => {
                let percent = match whole {
                    0 => 0.0,
                    whole => period as f64 * 100.0 / whole as f64,
                };
                let mut text = String::new();
                let color = self.table.options().color;
                push_colored(&mut text, percent, color, |text| {
                    push_percent(text, percent, 0)
                });
                text
            }
        }
    }

    /// Rows that are named after their function leave out the function below.
    fn first_name_is_known(&self) -> bool {
        let options = self.table.options();
        let only = matches!(options.fields, Some(Fields::Only(_)));
        let first = options.sort.as_ref().and_then(|sort| sort.first());
        !only && first == Some(&Column::Symbol)
    }

    fn graph(&self, text: &mut String) {
        let start = text.len();
        let is_fractal = self.table.options().call_graph.mode == ChainMode::Fractal;
        let mut margin = MARGIN.to_owned();
        let mut whole = Whole {
            period: if is_fractal {
                self.row_period
            } else {
                self.table.counted().period
            },
            samples: self.row_samples,
        };
        let mut branches = &self.tree.roots;
        if let [root] = &self.tree.roots[..]
            && root.total.period == self.row_period
        {
            let known = usize::from(self.first_name_is_known());
            let run = self.tree.run(root).iter().skip(known).take(self.limit());
            for (index, &place) in run.enumerate() {
                if index == 0 {
                    push_line(text, &[&margin, "|"]);
                    push_line(text, &[&margin, "---", &self.name(place)]);
                    margin.push_str("   ");
                } else {
                    push_line(text, &[&margin, &self.name(place)]);
                }
            }
            branches = &root.children;
            whole.samples = root.total.samples - root.own.samples;
        }
        self.branches(text, branches, &whole, &margin);
        if text.len() > start {
            text.push('\n');
        }
    }

    /// Draws siblings below each other. `margin` is what stands left of them.
    fn branches(&self, text: &mut String, nodes: &[CallNode], whole: &Whole, margin: &str) {
        let is_fractal = self.table.options().call_graph.mode == ChainMode::Fractal;
        let limit = self.limit();
        let shown = &nodes[..nodes.len().min(limit)];
        let mut left = whole.period;
        for (index, node) in shown.iter().enumerate() {
            left = left.saturating_sub(node.total.period);
            let is_last = index + 1 == nodes.len() && !(is_fractal && left > 0);
            push_line(text, &[margin, "|          "]);
            let bar = if is_last { " " } else { "|" };
            let value = self.value(node.total.period, node.total.samples, whole.period);
            for (index, &place) in self.tree.run(node).iter().enumerate() {
                let name = self.name(place);
                if index == 0 {
                    push_line(text, &[margin, bar, "--", &value, "--", &name]);
                } else {
                    push_line(text, &[margin, bar, "          ", &name]);
                }
            }
            let inside = Whole {
                period: if is_fractal {
                    node.total.period.saturating_sub(node.own.period)
                } else {
                    whole.period
                },
                samples: node.total.samples - node.own.samples,
            };
            let margin = format!("{margin}{bar}          ");
            self.branches(text, &node.children, &inside, &margin);
        }
        if is_fractal && left > 0 && left != whole.period {
            let drawn: u64 = shown.iter().map(|node| node.total.samples).sum();
            let samples = whole.samples.saturating_sub(drawn);
            let counts = self.table.options().call_graph.value == ChainValue::Count;
            if samples > 0 || !counts {
                let value = self.value(left, samples, whole.period);
                push_line(text, &[margin, " --", &value, "--[...]"]);
            }
        }
    }

    fn flat(&self, text: &mut String) {
        let paths = self.tree.paths(self.table.min_chain_period());
        for path in paths.iter().take(self.limit()) {
            if let Some(node) = path.last() {
                let whole = self.table.counted().period;
                let value = self.value(node.total.period, node.total.samples, whole);
                push_line(text, &["           ", &value]);
            }
            for &place in path.iter().flat_map(|node| self.tree.run(node)) {
                push_line(text, &["                ", &self.name(place)]);
            }
            text.push('\n');
        }
    }

    fn folded(&self, text: &mut String) {
        let separator = self.table.options().separator.as_deref().unwrap_or(";");
        let paths = self.tree.paths(self.table.min_chain_period());
        for path in paths.iter().take(self.limit()) {
            if let Some(node) = path.last() {
                let whole = self.table.counted().period;
                let value = self.value(node.own.period, node.own.samples, whole);
                let names = path.iter().flat_map(|node| self.tree.run(node));
                let names: Vec<String> = names.map(|&place| self.name(place)).collect();
                push_line(text, &[&value, " ", &names.join(separator)]);
            }
        }
    }
}
