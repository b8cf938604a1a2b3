//! Tables of what works, and below them why something does not and what to do.

use std::fmt::Write;

use super::check::{Check, State};
use super::target::TargetFacts;

/// Columns of the name and of the state of a row.
const NAME: usize = 25;
const STATE: usize = 8;
/// Columns of a terminal.
const WIDTH: usize = 80;

/// All that there is to say.
pub fn plain(checks: &[Check], target: Option<&TargetFacts>) -> String {
    let mut text = String::new();
    if let Some(target) = target {
        text += &target.text();
        text.push('\n');
    }
    text += &table("this machine and user", checks.iter());
    text += &reasons(checks.iter());
    text
}

/// A table with a row for each.
pub fn table<'a>(title: &str, checks: impl Iterator<Item = &'a Check>) -> String {
    let third = "what there is; else what is lost";
    let mut text = format!("{title:NAME$}{:STATE$}{third}\n", "works");
    for check in checks {
        let third = match check.state {
            State::Yes | State::Unknown => &check.detail,
            _ if check.reason.is_none() => &check.detail,
            _ => check.lost,
        };
        let start = format!("{:NAME$}{:STATE$}", check.what, check.state.word());
        text += &wrapped(&start, third, NAME + STATE);
    }
    text
}

/// Why something does not work, and what to do about it. The same remedies are said once.
pub fn reasons<'a>(checks: impl Iterator<Item = &'a Check>) -> String {
    let mut groups: Vec<(String, &[String], Vec<&str>)> = Vec::new();
    for check in checks {
        let Some(reason) = &check.reason else {
            continue;
        };
        let same = groups
            .iter_mut()
            .find(|(why, remedies, _)| why == reason && *remedies == check.remedies);
        match same {
            Some((.., names)) => names.push(check.what),
            None => groups.push((reason.clone(), &check.remedies, vec![check.what])),
        }
    }
    let mut text = String::new();
    for (reason, remedies, names) in groups {
        text.push('\n');
        text += &wrapped("", &format!("{}: {reason}", names.join(", ")), 2);
        for (index, remedy) in remedies.iter().enumerate() {
            let start = if index == 0 { "  do: " } else { "  or: " };
            let remedy = remedy.strip_prefix("or ").unwrap_or(remedy);
            text += &wrapped(start, remedy, 6);
        }
        if remedies.is_empty() {
            let _ = writeln!(text, "  nothing can be done about that from here");
        }
    }
    text
}

/// Words behind a start, in lines of a terminal that begin at a column. What stands between backquotes is for
/// copying and is not broken.
pub fn wrapped(start: &str, words: &str, column: usize) -> String {
    let mut text = start.to_owned();
    let mut line = start.chars().count();
    let mut is_first = true;
    for word in unbroken(words) {
        let length = word.chars().count();
        if !is_first && line + 1 + length > WIDTH {
            text = text.trim_end().to_owned() + "\n" + &" ".repeat(column);
            line = column;
        } else if !is_first {
            text.push(' ');
            line += 1;
        }
        text += &word;
        line += length;
        is_first = false;
    }
    text.trim_end().to_owned() + "\n"
}

/// Words, and what stands between backquotes as one.
fn unbroken(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(last) if is_open => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        is_open ^= word.matches('`').count() % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_terminal_and_commands_are_not_broken() {
        let command = "`sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1`";
        let words = format!("{}{command} and more", "word ".repeat(11));
        let text = wrapped("  do: ", &words, 6);
        assert!(text.contains(command), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(wrapped("name  ", "", 6), "name\n");
    }

    #[test]
    fn a_reason_that_several_share_is_said_once() {
        let check = |what| {
            Check::new("key", what, "all")
                .fails(State::No, "the level")
                .remedies(["lower it".to_owned()])
        };
        let checks = [
            check("one"),
            check("two"),
            Check::new("key", "three", "all"),
        ];
        let text = reasons(checks.iter());
        assert_eq!(text, "\none, two: the level\n  do: lower it\n");
        let table = table("here", checks.iter());
        assert!(
            table.contains("one                      no      all\n"),
            "{table}"
        );
        assert!(table.ends_with("three                    yes\n"), "{table}");
    }
}
