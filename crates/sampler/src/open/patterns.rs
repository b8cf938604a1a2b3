//! Tracepoints that are named by a pattern, `sched:*`.

use std::io;

use prof_event::{EventKind, EventList, EventSpec};

use super::error::OpenError;
use crate::tracefs::tracepoints;

/// The most tracepoints of one pattern: each takes a file on every CPU, and a place in every report.
const MOST: usize = 1000;

/// The same list with each pattern's tracepoints in its place.
pub(super) fn expand(list: EventList) -> Result<EventList, OpenError> {
    list.expand(|spec| match &spec.kind {
        EventKind::Tracepoint { system, name } if has_pattern(system) || has_pattern(name) => {
            matching(&spec, system, name)
        }
        _ => Ok(vec![spec]),
    })
}

fn has_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn matching(spec: &EventSpec, system: &str, name: &str) -> Result<Vec<EventSpec>, OpenError> {
    let none = |source| OpenError::NoTracepoint {
        system: system.to_owned(),
        name: name.to_owned(),
        source,
    };
    let found = tracepoints(system, name).map_err(none)?;
    if found.is_empty() {
        return Err(none(io::ErrorKind::NotFound.into()));
    }
    if found.len() > MOST {
        return Err(OpenError::TooManyTracepoints {
            pattern: spec.name.clone(),
            count: found.len(),
            most: MOST,
        });
    }
    let pattern = format!("{system}:{name}");
    let specs = found.into_iter().map(|(system, name)| EventSpec {
        // with what follows the pattern
        name: spec.name.replacen(&pattern, &format!("{system}:{name}"), 1),
        kind: EventKind::Tracepoint { system, name },
        ..spec.clone()
    });
    Ok(specs.collect())
}
