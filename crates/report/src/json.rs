//! Rows for other programs.
//!
//! The fields are described in docs/json.md; what is there keeps its meaning within a schema version.

use std::collections::BTreeMap;
use std::io::{self, Write};

use prof_profile::{Names, Profile, Weight};
use serde::Serialize;
use serde_json::Value;

use crate::options::EventGroup;
use crate::{Column, Counts, Member, ReportOptions, Row, SymbolKind, Table};

/// Counts up when a field changes its meaning or goes away; new fields may come at any time.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    command: &'static str,
    lost_samples: u64,
    lost_records: u64,
    tables: Vec<JsonTable>,
}

#[derive(Serialize)]
struct JsonTable {
    events: Vec<JsonEvent>,
    keys: Vec<&'static str>,
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonEvent {
    name: String,
    samples: u64,
    period: u64,
}

#[derive(Serialize)]
struct JsonRow {
    #[serde(flatten)]
    keys: BTreeMap<&'static str, Value>,
    counts: Vec<JsonCounts>,
}

#[derive(Serialize)]
struct JsonCounts {
    #[serde(rename = "self")]
    own: JsonWeight,
    total: JsonWeight,
}

#[derive(Serialize)]
struct JsonWeight {
    samples: u64,
    period: u64,
    percent: f64,
}

/// Writes what [`crate::write_report`] shows, without callchains, as one JSON object.
///
/// Returns whether there was any sample; without samples nothing is written.
///
/// # Errors
/// Those of `out`.
pub fn write_json_report(
    out: &mut dyn Write,
    profile: &Profile,
    names: &Names,
    options: &ReportOptions,
) -> io::Result<bool> {
    let places = options.places(profile, names);
    let groups = EventGroup::of_all(profile.events.len() as u16, &options.groups);
    let tables = groups
        .iter()
        .filter_map(|group| Table::of_events(profile, &places, options, &group.events));
    let report = Report {
        schema_version: SCHEMA_VERSION,
        command: "report",
        lost_samples: profile.losses.lost_samples,
        lost_records: profile.losses.lost_records,
        tables: tables.map(|table| json_table(&table)).collect(),
    };
    if report.tables.is_empty() {
        return Ok(false);
    }
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    Ok(true)
}

fn json_table(table: &Table<'_>) -> JsonTable {
    let keys = table.columns().iter().copied();
    let keys: Vec<Column> = keys.filter(|column| column.is_key()).collect();
    let limit = table.options().percent_limit;
    let is_shown = |row: &&Row| table.percent(table.main_weight(row).period) >= limit;
    let events = table.members().iter().map(|member| JsonEvent {
        name: member.event.name.clone(),
        samples: member.counted.samples,
        period: member.counted.period,
    });
    let row = |row: &Row| {
        let counts = row.counts.iter().zip(table.members());
        JsonRow {
            keys: keys
                .iter()
                .flat_map(|&key| values(table, row, key))
                .collect(),
            counts: counts
                .map(|(counts, member)| json_counts(counts, member))
                .collect(),
        }
    };
    JsonTable {
        events: events.collect(),
        keys: keys.iter().map(|key| key.name()).collect(),
        rows: table.rows().iter().filter(is_shown).map(row).collect(),
    }
}

fn json_counts(counts: &Counts, member: &Member<'_>) -> JsonCounts {
    let weight = |weight: Weight| JsonWeight {
        samples: weight.samples,
        period: weight.period,
        percent: match member.counted.period {
            0 => 0.0,
            all => weight.period as f64 * 100.0 / all as f64,
        },
    };
    JsonCounts {
        own: weight(counts.own),
        total: weight(counts.total),
    }
}

/// A key's value under its name; a function has more to tell than its name.
pub(crate) fn values(table: &Table<'_>, row: &Row, key: Column) -> Vec<(&'static str, Value)> {
    let number = |text: &str| text.parse::<i64>().map_or(Value::Null, Value::from);
    let name = key.name();
    match key {
        Column::Symbol => {
            let Some(id) = table.symbol(row) else {
                return Vec::new();
            };
            let symbol = table.places().symbol(id);
            let named = symbol.is_named().then(|| symbol.name.to_string());
            let kind = match symbol.kind {
                SymbolKind::Function => "function",
                SymbolKind::Inlined => "inlined",
                SymbolKind::Unresolved(_) | SymbolKind::Unnamed => "unresolved",
            };
            let reason = match symbol.kind {
                SymbolKind::Unresolved(reason) => Some(reason.describe()),
                _ => None,
            };
            vec![
                (name, Value::from(named)),
                ("kind", Value::from(kind)),
                ("mode", Value::from(symbol.level().to_string())),
                ("address", Value::from(format!("{:#x}", symbol.start))),
                ("reason", Value::from(reason)),
            ]
        }
        Column::Pid | Column::Tid => {
            let label = table.label(row, key);
            let (id, comm) = label.split_once(':').unwrap_or((&label, ""));
            let comm_name = if key == Column::Pid {
                "pid_comm"
            } else {
                "tid_comm"
            };
            vec![(name, number(id.trim())), (comm_name, Value::from(comm))]
        }
        Column::SymbolFrom | Column::SymbolTo => {
            let id = table.symbol_in(row, key);
            let Some(symbol) = id.map(|id| table.places().symbol(id)) else {
                return Vec::new();
            };
            let named = symbol.is_named().then(|| symbol.name.to_string());
            let address = match key {
                Column::SymbolFrom => "address_from",
                _ => "address_to",
            };
            vec![
                (name, Value::from(named)),
                (address, Value::from(format!("{:#x}", symbol.start))),
            ]
        }
        Column::Mispredict | Column::InTransaction | Column::Abort => {
            let value = match &*text_of(table, row, key) {
                "Y" | "T" | "A" => Some(true),
                "N" | "." => Some(false),
                _ => None,
            };
            vec![(name, Value::from(value))]
        }
        Column::Cpu | Column::Socket | Column::Cycles | Column::SymbolSize => {
            vec![(name, number(&text_of(table, row, key)))]
        }
        _ => vec![(name, Value::from(text_of(table, row, key)))],
    }
}

fn text_of(table: &Table<'_>, row: &Row, key: Column) -> String {
    table.label(row, key).trim().to_owned()
}
