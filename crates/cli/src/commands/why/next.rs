//! The command to type next.

use super::answer::Answer;
use super::samples;

/// What its line begins with.
pub const START: &str = "next: ";

const THEN: &str = " && ";

/// The lines with the command that tells more about what matters most: one, or two where it is long.
pub fn lines(answer: &Answer, columns: usize) -> Vec<String> {
    let Some(command) = command(answer) else {
        return Vec::new();
    };
    match command.split_once(THEN) {
        Some((first, then)) if START.len() + command.chars().count() > columns => {
            vec![format!("{START}{first}"), format!("      {then}")]
        }
        _ => vec![format!("{START}{command}")],
    }
}

/// The command alone.
pub fn command(answer: &Answer) -> Option<String> {
    if answer.vitals.processes == Some(0) && answer.typed.starts_with("-p") && answer.file.is_none()
    {
        return None; // there is nobody to ask
    }
    let typed = &answer.typed;
    let waits = &answer.vitals.waits;
    if answer.is_idle() {
        let blocked = waits.places.iter().find(|place| place.state == 'D');
        if let Some(blocked) = blocked.filter(|_| waits.looks_with_blocked * 20 >= waits.looks) {
            return Some(format!(
                "cat /proc/{}/task/{}/stack",
                blocked.example.0, blocked.example.1
            ));
        }
        return (!answer.is_machine).then(|| record(typed, "--off-cpu "));
    }
    if samples::misses_short_ones(answer) {
        return Some("prof record -a -F 999 -d 10s && prof report -s comm,sym -g none".to_owned());
    }
    let hot = samples::told(answer)?;
    if answer.is_machine && answer.file.is_none() {
        let first = hot.commands.first()?;
        return Some(format!("prof why -p {}", first.pid));
    }
    let path = hot.paths.iter().find(|path| !path.function.is_empty())?;
    let show = match path.is_innermost {
        true => format!("-S {} -g caller", quoted(&path.function)),
        false => format!(
            "-p {} -x --no-children -s sym",
            quoted(&pattern(&path.function))
        ),
    };
    Some(match &answer.file {
        Some(file) => format!("prof report -i {} {show}", quoted(file)),
        None => format!("{}{THEN}prof report {show}", record(typed, "")),
    })
}

/// Records a target as it is typed; a command comes last and takes its own time.
fn record(typed: &str, options: &str) -> String {
    match typed.starts_with("-- ") {
        true => format!("prof record {options}{typed}"),
        false => format!("prof record {typed} {options}-d 10s"),
    }
}

/// A regular expression that matches a name and little else.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for letter in name.chars() {
        if "*()[]{}+?|^$\\".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// As a shell takes it for one word.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.:/-@,+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_two_lines_that_can_be_typed_one_by_one() {
        let answer = |name: &str| Answer {
            typed: "-p 1529".to_owned(),
            vitals: prof_vitals::Vitals {
                elapsed: std::time::Duration::from_secs(1),
                cpu: Some(prof_vitals::CpuUse {
                    user: std::time::Duration::from_secs(1),
                    ..Default::default()
                }),
                ..Default::default()
            },
            hot: Some(prof_report::HotPaths {
                samples: 99,
                paths: vec![prof_report::HotPath {
                    function: name.to_owned(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Answer::default()
        };
        let short = "next: prof record -p 1529 -d 10s && prof report -p f -x --no-children -s sym";
        assert_eq!(lines(&answer("f"), 80), [short]);
        let long = lines(&answer("regexp.MustCompile"), 80);
        assert_eq!(long[0], "next: prof record -p 1529 -d 10s");
        assert_eq!(
            long[1],
            "      prof report -p regexp.MustCompile -x --no-children -s sym"
        );
    }

    #[test]
    fn a_command_comes_behind_all_options() {
        assert_eq!(record("-p 7", "-c 1 "), "prof record -p 7 -c 1 -d 10s");
        assert_eq!(
            record("-- ./job --fast", "-c 1 "),
            "prof record -c 1 -- ./job --fast"
        );
    }

    #[test]
    fn names_are_one_word_of_a_shell_and_match_themselves() {
        assert_eq!(quoted("regexp.MustCompile"), "regexp.MustCompile");
        assert_eq!(quoted("net/http.(*conn).serve"), "'net/http.(*conn).serve'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(pattern("(*conn).serve"), r"\(\*conn\).serve");
    }
}
