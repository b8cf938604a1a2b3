//! Results as a table, and as a file that the next run can be held against.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// One figure of `prof` beside a peer's.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Which work, then which figure of it: `report, cpu`.
    pub(crate) name: String,
    /// Whose figure it is held against.
    pub(crate) peer: String,
    /// Ours.
    pub(crate) ours: f64,
    /// Theirs.
    pub(crate) theirs: f64,
    /// The unit of both.
    pub(crate) unit: &'static str,
    /// Ours divided by theirs must not exceed this; `None` where it is only for orientation.
    pub(crate) target: Option<f64>,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }

    fn key(&self) -> String {
        format!("{} / {}", self.name, self.peer)
    }
}

/// The table, a line for each figure.
pub(crate) fn table(figures: &[Figure], before: Option<&BTreeMap<String, f64>>) -> String {
    let mut text = format!(
        "{:<34} {:>12} {:>12}  {:<12} {:>6} {:>7}\n",
        "work, figure", "prof", "peer", "", "ratio", "target"
    );
    for figure in figures {
        let number = |value: f64| format!("{} {}", short(value), figure.unit);
        let ratio = figure.ratio();
        let target = figure.target.map_or("-".to_owned(), short);
        let verdict = match figure.target {
            Some(target) if ratio > target * 1.005 => "missed",
            Some(_) => "met",
            None => "",
        };
        let _ = write!(
            text,
            "{:<34} {:>12} {:>12}  {:<12} {:>6} {:>7} {verdict}",
            figure.name,
            number(figure.ours),
            number(figure.theirs),
            figure.peer,
            short(ratio),
            target,
        );
        if let Some(before) = before {
            match before.get(&figure.key()) {
                Some(&before) => {
                    let change = 100.0 * (ratio / before - 1.0);
                    let _ = write!(text, "  was {} ({change:+.0}%)", short(before));
                }
                None => text.push_str("  new"),
            }
        }
        text.push('\n');
    }
    text
}

fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value.abs() >= 1000.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value if value.abs() >= 0.1 || value == 0.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// Reads the ratios of an earlier run: a line each, `ratio<TAB>name / peer`.
pub(crate) fn read(path: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (ratio, key) = line.split_once('\t')?;
        Some((key.to_owned(), ratio.parse().ok()?))
    });
    lines.collect()
}

/// Keeps the ratios of this run; those of works that it left out stay as they were.
pub(crate) fn keep(path: &Path, figures: &[Figure]) -> std::io::Result<()> {
    let mut ratios = read(path);
    for figure in figures.iter().filter(|figure| figure.ratio().is_finite()) {
        ratios.insert(figure.key(), figure.ratio());
    }
    let mut text = String::from("# prof's figure divided by the peer's, from ./benches/run\n");
    for (key, ratio) in ratios {
        let _ = writeln!(text, "{ratio:.4}\t{key}");
    }
    fs::write(path, text)
}
