//! What a recording says about a target, and whether it is right.

use std::fmt::Write as _;

use crate::recorded::Recorded;
use crate::table::{Chain, Row, Share};

/// A row of the table that the test prints.
#[derive(Debug)]
pub(crate) struct Outcome {
    name: String,
    /// One for each way of recording.
    pub(crate) found: Vec<Found>,
    note: String,
    is_fault: bool,
}

/// What one recording of a target says.
#[derive(Debug)]
pub(crate) struct Found {
    how: &'static str,
    samples: u64,
    shares: Vec<String>,
    whole: f64,
    names: f64,
    pub(crate) faults: Vec<String>,
}

/// Shares are right if they lie within so many standard errors. With some hundred shares in a run,
/// three would be left by chance every few runs.
const STANDARD_ERRORS: f64 = 4.0;
/// A share of which only the least is known is too small if it is so many standard errors below that.
const FEWER_BY_CHANCE: f64 = 3.0;
/// Samples whose stack is at the start of the program, or in between.
const NAMES_RIGHT: f64 = 99.5;
const FEWEST_SAMPLES: u64 = 200;
/// perf records for half as long, and of that it takes some time to attach to many threads.
const FEWEST_OF_PERF: u64 = 60;

impl Outcome {
    pub(crate) fn new(row: &Row) -> Self {
        Self {
            name: row.name.clone(),
            found: Vec::new(),
            note: String::new(),
            is_fault: false,
        }
    }

    pub(crate) fn skip(&mut self, note: String, is_fault: bool) {
        self.note = note;
        self.is_fault = is_fault;
    }

    /// What is wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        let note = self
            .is_fault
            .then(|| format!("{}: {}", self.name, self.note));
        let found = self.found.iter().flat_map(|found| {
            let tell = |fault: &String| format!("{} ({}): {fault}", self.name, found.how);
            found.faults.iter().map(tell)
        });
        note.into_iter().chain(found).collect()
    }
}

impl Found {
    pub(crate) fn new(how: &'static str, row: &Row, whole: f64, recorded: &Recorded) -> Self {
        let samples = recorded.samples();
        let are_whole = samples - recorded.cut.min(samples);
        let mut found = Self {
            how,
            samples,
            shares: Vec::new(),
            whole: percent(are_whole, samples),
            names: 100.0,
            faults: Vec::new(),
        };
        let fewest = match how {
            "perf" => FEWEST_OF_PERF,
            _ => FEWEST_SAMPLES,
        };
        if samples < fewest {
            found.faults.push(format!("only {samples} samples"));
        }
        if falls_short(are_whole, samples, whole) {
            let text = format!(
                "{:.2}% of the stacks are whole\n{}",
                found.whole, recorded.summary
            );
            let cut = recorded.examples("[truncated]");
            found.faults.push(text + &cut);
        }
        row.shares
            .iter()
            .for_each(|share| found.check_share(share, recorded));
        row.chains
            .iter()
            .for_each(|chain| found.check_chain(chain, recorded));
        for name in row.never.iter().filter(|name| recorded.with(name) > 0) {
            let text = format!("`{name}` is in {} stacks\n", recorded.with(name));
            found.faults.push(text + &recorded.examples(name));
        }
        found
    }

    fn check_share(&mut self, share: &Share, recorded: &Recorded) {
        let all = match share.whole.as_str() {
            "" => recorded.samples(),
            whole => recorded.with(whole),
        };
        let part = recorded.with_both(&share.part, &share.whole);
        let found = percent(part, all);
        let expected = share.percent / 100.0;
        let error = (expected * (1.0 - expected) / all.max(1) as f64).sqrt() * 100.0;
        let bound = STANDARD_ERRORS * error + 1.0 * f64::from(u8::from(expected == 1.0));
        self.shares.push(format!("{found:.1}/{}", share.percent));
        if all == 0 || (found - share.percent).abs() > bound {
            self.faults.push(format!(
                "{}: {found:.2}% of `{}` instead of {}% +- {bound:.2}, of {all} samples\n{}",
                share.part,
                share.whole,
                share.percent,
                recorded.examples("")
            ));
        }
    }

    fn check_chain(&mut self, chain: &Chain, recorded: &Recorded) {
        let (all, right) = recorded.chain(chain);
        let found = percent(right, all);
        self.names = self.names.min(found);
        if falls_short(right, all, NAMES_RIGHT) {
            let last = chain.0.last().map_or("", String::as_str);
            self.faults.push(format!(
                "{found:.2}% of {all} stacks are {}\n{}",
                chain.0.join(" "),
                recorded.examples(if all == 0 { "" } else { last })
            ));
        }
    }
}

/// Whether fewer of `all` are right than chance leaves where `wanted` percent of them are.
fn falls_short(right: u64, all: u64, wanted: f64) -> bool {
    let (all, wanted) = (all as f64, wanted / 100.0);
    let error = (all * wanted * (1.0 - wanted)).sqrt();
    all == 0.0 || (right as f64) < all * wanted - FEWER_BY_CHANCE * error
}

#[test]
fn a_share_falls_short_if_chance_does_not_explain_it() {
    assert!(falls_short(0, 0, 99.5));
    assert!(!falls_short(566, 570, 99.5));
    assert!(falls_short(560, 570, 99.5));
    assert!(falls_short(99, 100, 100.0));
    assert!(!falls_short(100, 100, 100.0));
}

fn percent(part: u64, all: u64) -> f64 {
    match all {
        0 => 0.0,
        all => part as f64 * 100.0 / all as f64,
    }
}

/// The table.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n{:<28} {:<5} {:>7}  {:>7}  {:>7}  share found/expected\n",
        "target", "by", "samples", "whole %", "names %"
    );
    for outcome in outcomes {
        for found in &outcome.found {
            let wrong = if found.faults.is_empty() {
                ""
            } else {
                "  WRONG"
            };
            let _ = writeln!(
                text,
                "{:<28} {:<5} {:>7}  {:>7.2}  {:>7.2}  {}{wrong}",
                outcome.name,
                found.how,
                found.samples,
                found.whole,
                found.names,
                found.shares.join(", ")
            );
        }
        if !outcome.note.is_empty() {
            let first = outcome.note.lines().next().unwrap_or_default();
            let _ = writeln!(text, "{:<28} {first}", outcome.name);
        }
    }
    text
}
