//! `prof list`: the events that can be sampled here.

use std::io::{BufWriter, Write};

use prof_event::abi::event_type;
use prof_event::{EventKind, EventSpec, known_names};
use prof_model::printable;
use prof_sampler::{event_is_here, matches_pattern, perf_is_filtered, tracepoints};

use crate::messages::{CliError, Outcome};
use crate::printed;

/// `prof list`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    prof list             all events of this machine\n  \
    prof list hw cache    those of the processor\n  \
    prof list 'sched:*'   tracepoints of the scheduler\n  \
    prof list fault       events with this in their names")]
pub struct ListArgs {
    /// Only these: hw, sw, cache, tracepoint, a pattern with * and ?, or a part of a name
    #[arg(value_name = "WHICH")]
    pub which: Vec<String>,
}

/// A kind of events, as perf calls them and lists them.
struct Section {
    words: &'static [&'static str],
    label: &'static str,
    kind: u32,
}

const SECTIONS: [Section; 4] = [
    Section {
        words: &["hw", "hardware"],
        label: "Hardware event",
        kind: event_type::HARDWARE,
    },
    Section {
        words: &["sw", "software"],
        label: "Software event",
        kind: event_type::SOFTWARE,
    },
    Section {
        words: &["cache", "hwcache"],
        label: "Hardware cache event",
        kind: event_type::HW_CACHE,
    },
    Section {
        words: &["tracepoint", "tp"],
        label: "Tracepoint event",
        kind: event_type::TRACEPOINT,
    },
];

impl Section {
    fn is_called(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Whether all of it is asked for.
    fn is_whole(&self, which: &[String]) -> bool {
        which.is_empty() || which.iter().any(|word| self.is_called(word))
    }
}

/// Runs `prof list`.
///
/// # Errors
/// No event is like what was asked for, or a closed pipe.
pub fn run(args: &ListArgs) -> Outcome {
    let which = &args.which;
    let words = which.iter().map(String::as_str);
    let patterns: Vec<_> = words.filter(|word| !is_section(word)).collect();
    let mut out = BufWriter::new(printed::stdout());
    let mut listed = 0;
    if perf_is_filtered() {
        eprintln!("prof: a seccomp filter forbids perf_event_open here: no event could be tried");
    }
    for section in &SECTIONS {
        let is_whole = section.is_whole(which);
        if !is_whole && patterns.is_empty() {
            continue;
        }
        let there = events(section);
        if there.is_empty() && is_whole && section.kind != event_type::TRACEPOINT {
            let kind = section.label.to_lowercase();
            eprintln!("prof: no {kind}s here (a virtual machine without a PMU?)");
        }
        let wanted = there.into_iter().filter(|names| {
            is_whole
                || patterns
                    .iter()
                    .any(|pattern| names.iter().any(|name| is_like(pattern, name)))
        });
        for (index, names) in wanted.enumerate() {
            if index == 0 && listed > 0 {
                writeln!(out)?;
            }
            let names = names.join(" OR ");
            writeln!(out, "  {:<52} [{}]", printable(&names), section.label)?;
            listed += 1;
        }
    }
    out.flush()?;
    if listed == 0 && !patterns.is_empty() {
        let what = format!("no event here is like `{}`", patterns.join("`, `"));
        return Err(CliError::new(what)
            .hint("`prof list` shows all there are")
            .into());
    }
    Ok(0)
}

fn is_section(word: &str) -> bool {
    SECTIONS.iter().any(|section| section.is_called(word))
}

/// Whether a name is like a pattern, or has a text without `*` and `?` in it.
fn is_like(pattern: &str, name: &str) -> bool {
    match pattern.contains(['*', '?']) {
        true => matches_pattern(pattern, name),
        false => name.contains(pattern),
    }
}

/// The events of a section, each with all its names. Says why there are no tracepoints.
fn events(section: &Section) -> Vec<Vec<String>> {
    if section.kind == event_type::TRACEPOINT {
        return match tracepoints("*", "*") {
            Ok(found) => found
                .into_iter()
                .map(|(system, name)| vec![format!("{system}:{name}")])
                .collect(),
            Err(error) => {
                eprintln!("prof: no tracepoints: tracefs cannot be read: {error}; root may");
                Vec::new()
            }
        };
    }
    let mut events: Vec<(u64, Vec<String>)> = Vec::new();
    for name in known_names() {
        let Ok(spec) = EventSpec::parse(&name) else {
            continue;
        };
        let EventKind::Config { kind, config } = spec.kind else {
            continue;
        };
        if kind != section.kind {
            continue;
        }
        match events.iter_mut().find(|(other, _)| *other == config) {
            Some((_, names)) => names.push(name),
            None if event_is_here(&spec) => events.push((config, vec![name])),
            None => {}
        }
    }
    events.into_iter().map(|(_, names)| names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_like_a_pattern_or_has_a_text_in_it() {
        assert!(is_like("sched:*", "sched:sched_switch"));
        assert!(!is_like("sched:*", "irq:sched"));
        assert!(is_like("fault", "page-faults"));
        assert!(!is_like("faults?", "page-faults"));
    }

    #[test]
    fn events_of_software_are_listed_once_with_all_their_names() {
        let events = events(&SECTIONS[1]);
        let clock = events.iter().filter(|names| names[0] == "cpu-clock");
        assert_eq!(clock.count(), 1, "{events:?}");
        let switches = ["context-switches".to_owned(), "cs".to_owned()];
        assert!(
            events.iter().any(|names| names[..] == switches),
            "{events:?}"
        );
    }
}
