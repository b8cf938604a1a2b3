//! The page of targets. A row is a name and the lines below it, up to an empty line:
//!
//! ```text
//! c-static
//!   build gcc -O2 -static $SRC/split.c -o target
//!   share 75 hot of main
//!   chain _start ... main outer middle hot hot_leaf
//! ```

use std::path::PathBuf;

/// One target, and what is known about it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Programs without which it cannot be built or run.
    pub(crate) needs: Vec<String>,
    /// A line for the shell; the row is skipped where it fails.
    pub(crate) condition: Option<String>,
    /// Lines for the shell, run in the target's own folder; `$SRC` is the folder of the sources.
    pub(crate) build: Vec<String>,
    /// The command; `$CYCLES` is how long it works, in cycles of 10 ms.
    pub(crate) run: String,
    /// Attached to while it runs, rather than started by `prof`.
    pub(crate) attach: bool,
    /// More arguments of `prof record`.
    pub(crate) record: Vec<String>,
    /// More arguments of `perf record`.
    pub(crate) perf: Vec<String>,
    pub(crate) shares: Vec<Share>,
    pub(crate) chains: Vec<Chain>,
    /// Names that are in no stack.
    pub(crate) never: Vec<String>,
    /// Names and lines are compared with those that this program tells.
    pub(crate) addr2line: Option<String>,
    /// Only root can run it.
    pub(crate) root: bool,
    /// The share of whole stacks at least, in percent.
    pub(crate) whole: f64,
    /// The same of a file that stock perf recorded; `None` if none is made.
    pub(crate) stock: Option<f64>,
}

/// How many of the samples with one frame have another one as well.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) percent: f64,
    pub(crate) part: String,
    /// All samples if empty.
    pub(crate) whole: String,
}

/// Frames from the outermost inwards, as in every sample that has the last one. `...` is any number
/// of frames, `*` any part of a name.
#[derive(Clone, Debug)]
pub(crate) struct Chain(pub(crate) Vec<String>);

const WHOLE: f64 = 99.5;

pub(crate) fn sources() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets"))
}

pub(crate) fn read() -> Vec<Row> {
    let path = sources().join("corpus.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("  ") {
            None => rows.push(Row::new(line)),
            Some(line) => {
                let row = rows.last_mut().expect("the name of a target comes first");
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                row.set(key, value.trim());
            }
        }
    }
    rows
}

impl Row {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            needs: Vec::new(),
            condition: None,
            build: Vec::new(),
            run: "./target $CYCLES".to_owned(),
            attach: false,
            record: Vec::new(),
            perf: Vec::new(),
            shares: Vec::new(),
            chains: Vec::new(),
            never: Vec::new(),
            addr2line: None,
            root: false,
            whole: WHOLE,
            stock: Some(WHOLE),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let words = || value.split_whitespace().map(str::to_owned);
        match key {
            "needs" => self.needs.extend(words()),
            "where" => self.condition = Some(value.to_owned()),
            "build" => self.build.push(value.to_owned()),
            "run" => self.run = value.to_owned(),
            "attach" => self.attach = true,
            "addr2line" if value.is_empty() => self.addr2line = Some("addr2line".to_owned()),
            "addr2line" => self.addr2line = Some(value.to_owned()),
            "root" => self.root = true,
            "record" => self.record.extend(words()),
            "perf" => self.perf.extend(words()),
            "share" => self.shares.push(share(value)),
            "chain" => self.chains.push(Chain(words().collect())),
            "never" => self.never.extend(words()),
            "whole" => self.whole = value.parse().unwrap(),
            "stock" if value == "no" => self.stock = None,
            "stock" => self.stock = Some(value.parse().unwrap()),
            _ => panic!("{}: `{key}` is not known", self.name),
        }
    }
}

fn share(text: &str) -> Share {
    let (percent, names) = text.split_once(' ').expect("`share PERCENT NAME`");
    let (part, whole) = names.split_once(" of ").unwrap_or((names, ""));
    Share {
        percent: percent.parse().unwrap(),
        part: part.to_owned(),
        whole: whole.to_owned(),
    }
}
