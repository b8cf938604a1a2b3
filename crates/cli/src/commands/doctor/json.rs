//! `--json`: one object with stable keys.

use serde::Serialize;

use super::check::Check;
use super::target::TargetFacts;

/// Grows when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    schema_version: u32,
    command: &'static str,
    works: bool,
    target: Option<&'a TargetFacts>,
    checks: &'a [Check],
}

/// The object, with an end of line.
pub fn object(checks: &[Check], target: Option<&TargetFacts>, works: bool) -> String {
    let object = Object {
        schema_version: SCHEMA,
        command: "doctor",
        works,
        target,
        checks,
    };
    let text = serde_json::to_string_pretty(&object).expect("plain values");
    text + "\n"
}
