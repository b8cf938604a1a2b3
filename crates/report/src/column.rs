/// What a report can show, and sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Share of the samples in which the function ran or was waiting for a function it called.
    Children,
    /// Share of the samples in which it ran itself.
    Overhead,
    /// The part of it that ran in kernel mode.
    OverheadSys,
    /// The part of it that ran in user mode.
    OverheadUser,
    /// Number of samples in which it ran itself.
    Samples,
    /// Sum of their periods.
    Period,
    /// Process.
    Pid,
    /// Thread.
    Tid,
    /// Thread name.
    Comm,
    /// File name of the module.
    Dso,
    /// Function.
    Symbol,
    /// CPU.
    Cpu,
    /// Source file and line.
    SourceLine,
    /// Source file.
    SourceFile,
    /// Size of the function in bytes.
    SymbolSize,
    /// CPU socket.
    Socket,
    /// Interval of time.
    Time,
    /// A tracepoint's fields.
    Trace,
    /// The innermost caller that matches a pattern.
    Parent,
    /// What the thread does or waits for.
    State,
    /// Who ended the wait.
    Waker,
    /// Function of a branch instruction.
    SymbolFrom,
    /// Function where a branch led.
    SymbolTo,
    /// File name of the module of a branch instruction.
    DsoFrom,
    /// File name of the module where a branch led.
    DsoTo,
    /// Source line of a branch instruction.
    SourceLineFrom,
    /// Source line where a branch led.
    SourceLineTo,
    /// Whether the CPU had expected a branch to lead elsewhere.
    Mispredict,
    /// Whether a branch was taken in a transaction.
    InTransaction,
    /// Whether a branch is the abort of a transaction.
    Abort,
    /// Clock cycles since the branch before.
    Cycles,
}

/// A key that no column has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown key `{key}`; known are pid, tid, comm, dso, symbol, parent, cpu, socket, srcline, \
         srcfile, trace, symbol_size, time, state, overhead, overhead_sys, overhead_us, overhead_children, sample, period; of branches \
         dso_from, dso_to, symbol_from, symbol_to, srcline_from, srcline_to, mispredict, abort, in_tx, cycles"
)]
pub struct UnknownColumn {
    /// The key as given.
    pub key: String,
}

/// Keys in the order in which a prefix is tried. `tid` is ours and must be written in full, so that
/// every prefix that perf knows means what it means there.
const KEYS: &[(&str, Column)] = &[
    ("pid", Column::Pid),
    ("comm", Column::Comm),
    ("dso", Column::Dso),
    ("symbol", Column::Symbol),
    ("parent", Column::Parent),
    ("cpu", Column::Cpu),
    ("socket", Column::Socket),
    ("srcline", Column::SourceLine),
    ("srcfile", Column::SourceFile),
    ("trace", Column::Trace),
    ("symbol_size", Column::SymbolSize),
    ("time", Column::Time),
    ("overhead", Column::Overhead),
    ("overhead_sys", Column::OverheadSys),
    ("overhead_us", Column::OverheadUser),
    ("overhead_children", Column::Children),
    ("sample", Column::Samples),
    ("period", Column::Period),
    ("dso_from", Column::DsoFrom),
    ("dso_to", Column::DsoTo),
    ("symbol_from", Column::SymbolFrom),
    ("symbol_to", Column::SymbolTo),
    ("mispredict", Column::Mispredict),
    ("abort", Column::Abort),
    ("in_tx", Column::InTransaction),
    ("cycles", Column::Cycles),
    ("srcline_from", Column::SourceLineFrom),
    ("srcline_to", Column::SourceLineTo),
    ("state", Column::State),
    ("waker", Column::Waker),
];

/// What rows are grouped by where all events are tracepoints, unless asked otherwise.
pub(crate) const TRACE_SORT: [Column; 1] = [Column::Trace];

/// What rows of branches are grouped by, unless asked otherwise.
pub(crate) const BRANCH_SORT: [Column; 5] = [
    Column::Comm,
    Column::DsoFrom,
    Column::SymbolFrom,
    Column::SymbolTo,
    Column::Cycles,
];

/// What rows are grouped by unless asked otherwise.
pub(crate) const DEFAULT_SORT: [Column; 3] = [Column::Comm, Column::Dso, Column::Symbol];

impl Column {
    /// The first column whose key begins with `key`, whatever its case.
    pub(crate) fn find(key: &str) -> Result<Self, UnknownColumn> {
        if key.eq_ignore_ascii_case("tid") {
            return Ok(Self::Tid);
        }
        let matches = |name: &str| {
            let start = name.as_bytes().get(..key.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(key.as_bytes()))
        };
        KEYS.iter()
            .find(|(name, _)| !key.is_empty() && matches(name))
            .map(|&(_, column)| column)
            .ok_or_else(|| UnknownColumn {
                key: key.to_owned(),
            })
    }

    /// Its key, as `--sort` takes it.
    pub fn name(self) -> &'static str {
        let named = KEYS.iter().find(|(_, column)| *column == self);
        named.map_or("tid", |(name, _)| name)
    }

    /// Whether rows differ by it; the others are weights.
    pub fn is_key(self) -> bool {
        !matches!(
            self,
            Self::Children
                | Self::Overhead
                | Self::OverheadSys
                | Self::OverheadUser
                | Self::Samples
                | Self::Period
        )
    }

    /// Whether rows differ by source lines in it.
    pub(crate) fn is_line(self) -> bool {
        matches!(
            self,
            Self::SourceLine | Self::SourceFile | Self::SourceLineFrom | Self::SourceLineTo
        )
    }

    /// Its title. Next to `Children` the overhead is called `Self`.
    pub(crate) fn header(self, overhead_is_self: bool) -> &'static str {
        match self {
            Self::Children => "Children",
            Self::Overhead if overhead_is_self => "Self",
            Self::Overhead => "Overhead",
            Self::OverheadSys => "sys",
            Self::OverheadUser => "usr",
            Self::Samples => "Samples",
            Self::Period => "Period",
            Self::Pid => "    Pid:Command",
            Self::Tid => "    Tid:Command",
            Self::Comm => "Command",
            Self::Dso => "Shared Object",
            Self::Symbol => "Symbol",
            Self::Cpu => "CPU",
            Self::SourceLine => "Source:Line",
            Self::SourceFile => "Source File",
            Self::SymbolSize => "Symbol size",
            Self::Socket => "Socket",
            Self::Time => "Time",
            Self::Trace => "Trace output",
            Self::Parent => "Parent symbol",
            Self::State => "State",
            Self::Waker => "Woken by",
            Self::SymbolFrom => "Source Symbol",
            Self::SymbolTo => "Target Symbol",
            Self::DsoFrom => "Source Shared Object",
            Self::DsoTo => "Target Shared Object",
            Self::SourceLineFrom => "From Source:Line",
            Self::SourceLineTo => "To Source:Line",
            Self::Mispredict => "Branch Mispredicted",
            Self::InTransaction => "Branch in transaction",
            Self::Abort => "Transaction abort",
            Self::Cycles => "Basic Block Cycles",
        }
    }
}

fn parse(text: &str) -> Result<Vec<Column>, UnknownColumn> {
    text.split([',', ' '])
        .filter(|key| !key.is_empty())
        .map(Column::find)
        .collect()
}

/// Reads a list as `--sort` takes it: keys with commas between them. A leading `+` appends to the
/// default, which is `comm,dso,symbol`.
///
/// # Errors
/// [`UnknownColumn`] for the first key that is none.
pub fn parse_sort(text: &str) -> Result<Vec<Column>, UnknownColumn> {
    match text.strip_prefix('+') {
        Some(more) => Ok([DEFAULT_SORT.to_vec(), parse(more)?].concat()),
        None => parse(text),
    }
}

/// Reads a list as `--fields` takes it. A leading `+` adds columns to those that are there anyway.
///
/// # Errors
/// [`UnknownColumn`] for the first key that is none.
pub fn parse_fields(text: &str) -> Result<crate::Fields, UnknownColumn> {
    match text.strip_prefix('+') {
        Some(more) => Ok(crate::Fields::Also(parse(more)?)),
        None => Ok(crate::Fields::Only(parse(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_cut_short_and_the_first_that_fits_wins() {
        let found = |key| Column::find(key).ok();
        assert_eq!(found("sym"), Some(Column::Symbol));
        assert_eq!(found("S"), Some(Column::Symbol));
        assert_eq!(found("sr"), Some(Column::SourceLine));
        assert_eq!(found("sa"), Some(Column::Samples));
        assert_eq!(found("symbol_"), Some(Column::SymbolSize));
        assert_eq!(found("o"), Some(Column::Overhead));
        assert_eq!(found("p"), Some(Column::Pid));
        assert_eq!(found("tid"), Some(Column::Tid));
        assert_eq!(found("t"), Some(Column::Trace));
        assert_eq!(found("pa"), Some(Column::Parent));
        assert_eq!(found("dso_f"), Some(Column::DsoFrom));
        assert_eq!(found("cy"), Some(Column::Cycles));
        assert_eq!(found("pids"), None);
        assert_eq!(found("commé"), None);
    }

    #[test]
    fn a_plus_appends_to_the_default() {
        let with_cpu = [Column::Comm, Column::Dso, Column::Symbol, Column::Cpu];
        assert_eq!(parse_sort("+cpu").unwrap(), with_cpu);
        assert_eq!(
            parse_sort("dso, sym").unwrap(),
            [Column::Dso, Column::Symbol]
        );
        let error = parse_sort("dso,what").unwrap_err();
        assert_eq!(error.key, "what");
    }
}
