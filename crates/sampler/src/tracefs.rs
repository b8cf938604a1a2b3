//! Tracepoints, as tracefs lists them.

use std::fs;
use std::io;

/// Where tracefs is; the second is from before Linux 4.1.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The number of a tracepoint, which its attr has as config.
pub(crate) fn tracepoint_id(system: &str, name: &str) -> io::Result<u64> {
    let text = first(|root| fs::read_to_string(format!("{root}/events/{system}/{name}/id")))?;
    text.trim().parse().map_err(io::Error::other)
}

/// The format of a tracepoint's data, as the kernel describes it.
///
/// # Errors
/// There is no such tracepoint, or it may not be read.
pub fn tracepoint_format(system: &str, name: &str) -> io::Result<String> {
    first(|root| fs::read_to_string(format!("{root}/events/{system}/{name}/format")))
}

/// The systems and names of all tracepoints that match a pattern each, in their order.
///
/// # Errors
/// Tracefs is not there, or may not be read.
pub fn tracepoints(system: &str, name: &str) -> io::Result<Vec<(String, String)>> {
    first(|root| {
        let events = format!("{root}/events");
        let mut found = Vec::new();
        for of_system in folders(&events)? {
            if !matches_pattern(system, &of_system) {
                continue;
            }
            let names = folders(&format!("{events}/{of_system}"))?;
            let names = names.into_iter().filter(|it| matches_pattern(name, it));
            found.extend(names.map(|name| (of_system.clone(), name)));
        }
        found.sort();
        Ok(found)
    })
}

/// Whether a text is like a pattern, in which `*` is any text and `?` any letter.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern.chars().count() == text.chars().count() && begins_like(pattern, text);
    };
    if !begins_like(start, text) {
        return false;
    }
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.by_ref()
        .skip(start.chars().count())
        .any(|at| matches_pattern(rest, &text[at..]))
}

fn begins_like(start: &str, text: &str) -> bool {
    let mut letters = text.chars();
    start.chars().all(|wanted| {
        letters
            .next()
            .is_some_and(|it| wanted == '?' || wanted == it)
    })
}

fn first<T>(read: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
    read(ROOTS[0]).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => read(ROOTS[1]),
        _ => Err(error),
    })
}

fn folders(path: &str) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?.filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_any_letter() {
        for (pattern, text, is_like) in [
            ("*", "", true),
            ("*", "sched", true),
            ("sched_*", "sched_switch", true),
            ("sched_*", "sched", false),
            ("*_switch", "sched_switch", true),
            ("s*_*h", "sched_switch", true),
            ("s*_*x", "sched_switch", false),
            ("sche?", "sched", true),
            ("sche?", "sche", false),
            ("?*", "", false),
            ("sched", "sched_switch", false),
            ("*a*b*", "xaxbx", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), is_like, "{pattern} {text}");
        }
    }
}
