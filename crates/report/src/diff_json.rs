//! A comparison for other programs; the fields are described in docs/json.md.

use std::collections::BTreeMap;
use std::io::{self, Write};

use prof_profile::Weight;
use serde::Serialize;
use serde_json::Value;

use crate::SCHEMA_VERSION;
use crate::diff::DiffRow;
use crate::diff_text::{Comparison, DiffOptions, diff_lines};

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    command: &'static str,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    One(JsonComparison<'a>),
    Many {
        comparisons: Vec<JsonComparison<'a>>,
    },
}

#[derive(Serialize)]
struct JsonComparison<'a> {
    baseline: &'a str,
    current: &'a str,
    events: Vec<JsonEvent<'a>>,
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    name: &'a str,
    baseline: JsonTotal,
    current: Option<JsonTotal>,
    children: bool,
    keys: Vec<&'static str>,
    rows: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct JsonTotal {
    samples: u64,
    period: u64,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(flatten)]
    keys: &'a BTreeMap<&'static str, Value>,
    baseline: Option<JsonWeight>,
    current: Option<JsonWeight>,
    delta_percent: Option<f64>,
    ratio: Option<f64>,
    error_percent: Option<f64>,
    p_value: Option<f64>,
    q_value: Option<f64>,
    noise: Option<bool>,
}

#[derive(Serialize)]
struct JsonWeight {
    samples: u64,
    period: u64,
    percent: f64,
}

/// Writes the comparisons of a recording, given by name, with others as one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn write_json_diff(
    out: &mut dyn Write,
    baseline: &str,
    others: &[Comparison],
    options: &DiffOptions,
) -> io::Result<()> {
    let comparison = |other| json_comparison(baseline, other, options);
    let what = match others {
        [other] => What::One(comparison(other)),
        _ => What::Many {
            comparisons: others.iter().map(comparison).collect(),
        },
    };
    let report = Report {
        schema_version: SCHEMA_VERSION,
        command: "diff",
        what,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

fn json_comparison<'a>(
    baseline: &'a str,
    other: &'a Comparison,
    options: &DiffOptions,
) -> JsonComparison<'a> {
    let events = other.events.iter().map(|diff| JsonEvent {
        name: &diff.name,
        baseline: total(diff.before),
        current: diff.after.map(total),
        children: diff.children,
        keys: diff.keys.iter().map(|key| key.name()).collect(),
        rows: diff_lines(&[diff], options)
            .iter()
            .filter_map(|line| Some(json_row(line.get(0)?, diff.after.is_some())))
            .collect(),
    });
    JsonComparison {
        baseline,
        current: &other.name,
        events: events.collect(),
    }
}

fn total(weight: Weight) -> JsonTotal {
    JsonTotal {
        samples: weight.samples,
        period: weight.period,
    }
}

fn json_row(row: &DiffRow, has_partner: bool) -> JsonRow<'_> {
    let weight = |weight: Option<Weight>, percent| {
        weight.map(|weight| JsonWeight {
            samples: weight.samples,
            period: weight.period,
            percent,
        })
    };
    JsonRow {
        keys: &row.values,
        baseline: weight(row.before, row.percent_before),
        current: weight(row.after, row.percent_after),
        delta_percent: has_partner.then(|| row.delta()),
        ratio: row.ratio(),
        error_percent: row.test.map(|test| test.error),
        p_value: row.test.map(|test| test.p_value),
        q_value: row.test.and_then(|test| test.q_value),
        noise: row.test.map(|test| test.is_noise()),
    }
}
