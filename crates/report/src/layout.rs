use crate::column::{BRANCH_SORT, DEFAULT_SORT, TRACE_SORT};
use crate::{ChainMode, ChainOrder, Column, Fields, ReportOptions};

/// Which columns a table has and what orders its rows, as the options and the event decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// From left to right.
    pub(crate) columns: Vec<Column>,
    /// Rows are compared by these, the first one first.
    pub(crate) order: Vec<Column>,
    /// Rows differ by these.
    pub(crate) keys: Vec<Column>,
    /// Functions have rows for what they called.
    pub(crate) children: bool,
    /// Rows have callchains.
    pub(crate) chains: bool,
    /// The column for what a function does itself stands beside the one for what it calls.
    pub(crate) overhead_is_self: bool,
    pub(crate) chain_order: ChainOrder,
}

impl Layout {
    /// `has_callchain`: the event's samples have one. `only_traces`: all events of the recording are
    /// tracepoints.
    pub(crate) fn new(options: &ReportOptions, has_callchain: bool, only_traces: bool) -> Self {
        let has_callchain = has_callchain && !options.branches;
        let children = options.children && has_callchain && !options.hierarchy;
        let sort = options.sort.as_deref();
        let mut columns = Vec::new();
        let mut order = Vec::new();
        if let Some(Fields::Only(fields)) = &options.fields {
            columns.extend_from_slice(fields);
            order.extend_from_slice(sort.unwrap_or_default());
        } else {
            let shown = [
                (Column::Children, children),
                (Column::Overhead, true),
                (Column::OverheadSys, options.show_cpu_utilization),
                (Column::OverheadUser, options.show_cpu_utilization),
                (Column::Samples, options.show_samples),
                (Column::Period, options.show_period),
            ];
            columns.extend(shown.iter().filter(|(_, shown)| *shown).map(|&(it, _)| it));
            let usual: &[Column] = match (options.branches, only_traces) {
                (true, _) => &BRANCH_SORT,
                (false, true) => &TRACE_SORT,
                (false, false) => &DEFAULT_SORT,
            };
            let mut keys = match &options.also_sort {
                Some(more) => [usual, more].concat(),
                None => sort.unwrap_or(usual).to_vec(),
            };
            if options.show_parent && !keys.contains(&Column::Parent) {
                keys.push(Column::Parent);
            }
            order.extend([Column::Children].iter().filter(|_| children));
            order.push(Column::Overhead);
            order.retain(|column| !keys.contains(column));
            order.extend_from_slice(&keys);
            if let Some(Fields::Also(fields)) = &options.fields {
                append_missing(&mut columns, fields);
            }
        }
        append_missing(&mut columns, &order);
        append_missing(&mut order, &columns);
        Self {
            keys: order.iter().copied().filter(|it| it.is_key()).collect(),
            columns,
            order,
            children,
            overhead_is_self: children && !matches!(options.fields, Some(Fields::Only(_))),
            chains: has_callchain && options.call_graph.mode != ChainMode::None,
            chain_order: options.call_graph.order.unwrap_or(if children {
                ChainOrder::Caller
            } else {
                ChainOrder::Callee
            }),
        }
    }

    /// Whether rows differ by the source lines of their functions.
    pub(crate) fn has_lines(&self) -> bool {
        self.keys.iter().any(|key| key.is_line())
    }
}

/// Appends what is not there yet, each once.
fn append_missing(columns: &mut Vec<Column>, more: &[Column]) {
    for column in more {
        if !columns.contains(column) {
            columns.push(*column);
        }
    }
}
