use prof_profile::{Names, Profile};

use crate::{Column, Filter, Places};

/// A regular expression that function names are tried against.
#[derive(Clone, Debug)]
pub struct Pattern(regex_lite::Regex);

/// A regular expression that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no regular expression: {why}")]
pub struct PatternError {
    /// As given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Pattern {
    /// Reads an extended regular expression.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let regex = regex_lite::Regex::new(pattern).map_err(|error| PatternError {
            pattern: pattern.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self(regex))
    }

    /// Whether it is found in a name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// How callchains are shown below a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChainMode {
    /// A tree with shares of the total.
    #[default]
    Graph,
    /// A tree with shares of the branch above.
    Fractal,
    /// One list per callchain.
    Flat,
    /// One line per callchain.
    Folded,
    /// Not at all.
    None,
}

/// Which end of a callchain comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainOrder {
    /// The outermost function.
    Caller,
    /// The innermost function.
    Callee,
}

/// When two frames are the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChainKey {
    /// They lie in one function.
    #[default]
    Function,
    /// They have the same address.
    Address,
    /// They have the same source line.
    SourceLine,
}

/// What is printed at a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChainValue {
    /// A share.
    #[default]
    Percent,
    /// A sum of periods.
    Period,
    /// A number of samples.
    Count,
}

/// How call graphs are built and drawn: perf's `-g`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallGraph {
    /// How they are shown.
    pub mode: ChainMode,
    /// Branches with a smaller share, in percent, are left out.
    pub min_percent: f64,
    /// At most so many entries per branch; 0 for all.
    pub print_limit: usize,
    /// Which end comes first; `None`: caller where callers have rows of their own, else callee.
    pub order: Option<ChainOrder>,
    /// When two frames are the same node.
    pub key: ChainKey,
    /// What is printed at a branch.
    pub value: ChainValue,
}

impl Default for CallGraph {
    fn default() -> Self {
        Self {
            mode: ChainMode::Graph,
            min_percent: 0.5,
            print_limit: 0,
            order: None,
            key: ChainKey::Function,
            value: ChainValue::Percent,
        }
    }
}

/// A word in `-g` that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown call graph option `{word}`; try for example `graph,0.5,caller`")]
pub struct CallGraphError {
    /// The word as given.
    pub word: String,
}

impl CallGraph {
    /// Reads what follows `-g`: words with commas between them, in any order, cut short as wished.
    /// The first number is the smallest share, the second the number of entries.
    ///
    /// # Errors
    /// [`CallGraphError`] for the first word that is none.
    pub fn parse(text: &str) -> Result<Self, CallGraphError> {
        let mut graph = Self::default();
        let mut numbers = 0;
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let is = |name: &str| name.starts_with(word);
            match word {
                _ if is("graph") => graph.mode = ChainMode::Graph,
                _ if is("flat") => graph.mode = ChainMode::Flat,
                _ if is("fractal") => graph.mode = ChainMode::Fractal,
                _ if is("folded") => graph.mode = ChainMode::Folded,
                _ if is("none") => graph.mode = ChainMode::None,
                _ if is("caller") => graph.order = Some(ChainOrder::Caller),
                _ if is("callee") => graph.order = Some(ChainOrder::Callee),
                _ if is("function") => graph.key = ChainKey::Function,
                _ if is("address") => graph.key = ChainKey::Address,
                _ if is("srcline") => graph.key = ChainKey::SourceLine,
                _ if is("percent") => graph.value = ChainValue::Percent,
                _ if is("period") => graph.value = ChainValue::Period,
                _ if is("count") => graph.value = ChainValue::Count,
                _ => {
                    let unknown = || CallGraphError {
                        word: word.to_owned(),
                    };
                    match numbers {
                        0 => {
                            graph.min_percent = word
                                .parse()
                                .ok()
                                .filter(|percent| (0.0..=100.0).contains(percent))
                                .ok_or_else(unknown)?;
                        }
                        1 => graph.print_limit = word.parse().map_err(|_| unknown())?,
                        _ => return Err(unknown()),
                    }
                    numbers += 1;
                }
            }
        }
        Ok(graph)
    }
}

/// Which columns a report has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// These and no others; rows are sorted by them unless sort keys are given.
    Only(Vec<Column>),
    /// The usual ones and these.
    Also(Vec<Column>),
}

/// Events that were counted together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventGroup {
    /// Its name; empty if it has none, `None` for events that only the reader puts together.
    pub name: Option<String>,
    /// Indices of its events, ascending.
    pub events: Vec<u16>,
}

impl EventGroup {
    /// All events of a recording: those that belong together as `known` has them, and each of the
    /// others by itself.
    pub fn of_all(events: u16, known: &[Self]) -> Vec<Self> {
        let mut groups = Vec::new();
        for event in 0..events {
            let mut known = known.iter();
            match known.find(|group| group.events.contains(&event)) {
                Some(group) if group.events.first() == Some(&event) => groups.push(group.clone()),
                Some(_) => {}
                None => groups.push(Self {
                    name: None,
                    events: vec![event],
                }),
            }
        }
        groups
    }

    /// `anon group { cpu-clock, page-faults }`
    pub fn describe<'a>(&self, names: impl Iterator<Item = &'a str>) -> String {
        let names = names.collect::<Vec<_>>().join(", ");
        match &self.name {
            Some(name) if name.is_empty() => format!("anon group {{ {names} }}"),
            Some(name) => format!("{name} {{ {names} }}"),
            None => names,
        }
    }
}

/// What a report shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Events that stand side by side in one table, by index: each list ascending, the first one
    /// leads.
    pub groups: Vec<EventGroup>,
    /// Rows as a tree: one level for each key.
    pub hierarchy: bool,
    /// The socket of each CPU.
    pub sockets: Vec<u32>,
    /// Samples in what a matching function calls count for that function.
    pub ignore_callees: Option<Pattern>,
    /// Which callers the `parent` key means.
    pub parent: Option<Pattern>,
    /// A column with the parent.
    pub show_parent: bool,
    /// Only samples that have a parent.
    pub exclude_other: bool,
    /// The part of the recording that was asked for, as it was asked for.
    pub time_slices: Option<String>,
    /// What rows are grouped and sorted by; `None` for `comm,dso,symbol`.
    pub sort: Option<Vec<Column>>,
    /// Keys behind those that are usual for the events.
    pub also_sort: Option<Vec<Column>>,
    /// The profile's samples are branches: other keys are usual, and there are no callers.
    pub branches: bool,
    /// The columns, where not the usual ones.
    pub fields: Option<Fields>,
    /// Functions also get rows for what they called, if the event has callchains.
    pub children: bool,
    /// A column with the number of samples.
    pub show_samples: bool,
    /// A column with the sum of periods.
    pub show_period: bool,
    /// Columns with the shares of kernel and user mode.
    pub show_cpu_utilization: bool,
    /// What stands between columns instead of two spaces; values then lose this character.
    pub separator: Option<String>,
    /// Widths of the first columns, which cut longer values.
    pub widths: Vec<usize>,
    /// Rows with a smaller share, in percent, are left out.
    pub percent_limit: f64,
    /// At most so many frames of a callchain, from the end that comes first.
    pub max_stack: usize,
    /// No lines that begin with `#`.
    pub quiet: bool,
    /// How callchains are shown.
    pub call_graph: CallGraph,
    /// Which samples get rows.
    pub filter: Filter,
    /// Shares are of the samples that pass the filter, not of all.
    pub relative_percent: bool,
    /// Samples and frames without a name are left out.
    pub hide_unresolved: bool,
    /// Inlined functions are frames of their own.
    pub inline: bool,
    /// Shares from 5% are red, others above 0.5% green.
    pub color: bool,
    /// Lines that describe the recording, each with its `# `, instead of the one that says how to
    /// get them.
    pub header: Option<Vec<String>>,
    /// What the recorder noted about the target, a line each: for the head.
    pub remarks: Vec<String>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            hierarchy: false,
            sockets: Vec::new(),
            ignore_callees: None,
            parent: None,
            show_parent: false,
            exclude_other: false,
            time_slices: None,
            sort: None,
            also_sort: None,
            branches: false,
            fields: None,
            children: true,
            show_samples: false,
            show_period: false,
            show_cpu_utilization: false,
            separator: None,
            widths: Vec::new(),
            percent_limit: 0.0,
            max_stack: 127,
            quiet: false,
            call_graph: CallGraph::default(),
            filter: Filter::default(),
            relative_percent: false,
            hide_unresolved: false,
            inline: true,
            color: false,
            header: None,
            remarks: Vec::new(),
        }
    }
}

/// perf's idea of where the kernel was entered.
const USUAL_PARENT: &str = "^sys_|^do_page_fault";

impl ReportOptions {
    /// The columns that are asked for, beside the usual ones.
    pub fn asked_columns(&self) -> impl Iterator<Item = Column> + '_ {
        let fields = match &self.fields {
            Some(Fields::Only(fields) | Fields::Also(fields)) => &fields[..],
            None => &[],
        };
        let keys = self.sort.iter().chain(&self.also_sort).flatten();
        keys.chain(fields).copied()
    }

    /// Whether the report shows source lines, which cost the parsing of debug info.
    pub fn needs_lines(&self) -> bool {
        self.asked_columns().any(Column::is_line) || self.call_graph.key != ChainKey::Function
    }

    /// The names as this report needs them.
    pub(crate) fn places(&self, profile: &Profile, names: &Names) -> Places {
        self.with_lines(Places::new(profile, names, self.inline), profile, names)
    }

    /// The names as this report needs them, with the source lines where it shows them.
    pub(crate) fn with_lines(&self, places: Places, profile: &Profile, names: &Names) -> Places {
        match self.needs_lines() {
            true => places.with_lines(profile, names, self.inline),
            false => places,
        }
    }

    /// What to look for among callers, if `keys` or an option ask for it.
    pub(crate) fn parent_pattern(&self, keys: &[Column]) -> Option<&Pattern> {
        static USUAL: std::sync::LazyLock<Option<Pattern>> =
            std::sync::LazyLock::new(|| Pattern::new(USUAL_PARENT).ok());
        let wanted = keys.contains(&Column::Parent) || self.exclude_other;
        let usual = || USUAL.as_ref();
        self.parent.as_ref().or_else(usual).filter(|_| wanted)
    }

    /// Leaves out rows and branches with less than `percent`, as `--percent-limit` does.
    pub fn set_percent_limit(&mut self, percent: f64) {
        self.percent_limit = percent;
        self.call_graph.min_percent = percent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_any_order_and_may_be_cut_short() {
        let graph = CallGraph::parse("callee,fr,2.5,addr,7,cou").unwrap();
        let expected = CallGraph {
            mode: ChainMode::Fractal,
            min_percent: 2.5,
            print_limit: 7,
            order: Some(ChainOrder::Callee),
            key: ChainKey::Address,
            value: ChainValue::Count,
        };
        assert_eq!(graph, expected);
        assert_eq!(CallGraph::parse("").unwrap(), CallGraph::default());
    }

    #[test]
    fn what_is_neither_a_word_nor_a_share_is_refused() {
        for text in ["dwarf", "graph,-1", "0.5,nan", "1,2,3", "101"] {
            let word = text.split(',').next_back().unwrap();
            assert_eq!(CallGraph::parse(text).unwrap_err().word, word);
        }
    }
}
