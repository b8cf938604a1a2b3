//! A list of those who may be meant, and the choice between them.
//!
//! In: candidates. Out: on a terminal those that the user chooses, else an error that lists them.

use std::io::{BufRead, IsTerminal, stderr, stdin};
use std::time::Duration;

use prof_model::Pid;
use prof_sampler::proc;
use prof_target::{Candidate, CpuShares, Facts, Wanted};

use super::WIDTH;
use crate::messages::CliError;

/// How long the CPU time of candidates is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// One line of the list.
#[derive(Debug)]
struct Row {
    /// What to type for it: `-p 1504`.
    argument: String,
    cpu: String,
    facts: Facts,
}

/// Lists the candidates and lets the user choose.
///
/// # Errors
/// There is no terminal, or nothing is chosen: the list, with what to type.
pub(super) fn choose(
    wanted: &Wanted,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, CliError> {
    let lines = lines(&rows(&candidates));
    let typed = match wanted {
        Wanted::Word(text)
        | Wanted::Cgroup(text)
        | Wanted::Container(text)
        | Wanted::Unit(text) => text,
    };
    let kind = match candidates.iter().all(|it| it.cgroup.is_some()) {
        true => "containers",
        false => "programs",
    };
    let message = format!("`{typed}` means {} {kind}", candidates.len());
    if stdin().is_terminal() && stderr().is_terminal() {
        eprintln!("prof: {message}");
        for (number, line) in (1..).zip(&lines) {
            eprintln!("{number:>3}  {line}");
        }
        eprint!("which one? a number, or `all`: ");
        let mut answer = String::new();
        if stdin().lock().read_line(&mut answer).is_ok()
            && let Some(chosen) = chosen(answer.trim(), &candidates)
        {
            return Ok(chosen);
        }
    }
    let all: Vec<_> = candidates.iter().flat_map(roots).collect();
    let error = CliError::usage(message).hint("type one of these, or all of them:");
    let all = format!("-p {}", joined(&all));
    Err(lines
        .into_iter()
        .chain([all])
        .fold(error, |error, line| error.line(line)))
}

fn chosen(answer: &str, candidates: &[Candidate]) -> Option<Vec<Candidate>> {
    if answer == "all" {
        return Some(candidates.to_vec());
    }
    let number: usize = answer.parse().ok()?;
    let candidate = candidates.get(number.checked_sub(1)?)?;
    Some(vec![candidate.clone()])
}

/// Those processes whose parents are not among them: what they have started comes with them.
fn roots(candidate: &Candidate) -> Vec<Pid> {
    let all = &candidate.processes;
    let is_root = |pid: &Pid| proc::parent(*pid).is_none_or(|parent| !all.contains(&parent));
    all.iter().copied().filter(is_root).collect()
}

fn joined(pids: &[Pid]) -> String {
    let words: Vec<_> = pids.iter().map(ToString::to_string).collect();
    words.join(",")
}

fn rows(candidates: &[Candidate]) -> Vec<Row> {
    let all = candidates
        .iter()
        .flat_map(|it| it.processes.iter().copied());
    let shares = CpuShares::begin(all).end(WATCHED);
    let rows = candidates.iter().map(|candidate| {
        let roots = roots(candidate);
        let facts = Facts::of(roots.first().copied().unwrap_or(Pid(0)));
        let of_it = shares
            .iter()
            .filter(|(pid, _)| candidate.processes.contains(pid));
        let known: Vec<_> = of_it.filter_map(|(_, share)| *share).collect();
        let cpu = match known.as_slice() {
            [] => "gone".to_owned(),
            known => format!("{:.0}%", 100.0 * known.iter().sum::<f64>()),
        };
        let argument = match (&candidate.cgroup, &facts.container) {
            (Some(_), Some(container)) => format!("--container {container}"),
            _ => format!("-p {}", joined(&roots)),
        };
        Row {
            argument,
            cpu,
            facts,
        }
    });
    rows.collect()
}

/// `-p 1504   12% CPU  root  3f2a91c04d5e  /srv/a/server --port 80`, in columns.
fn lines(rows: &[Row]) -> Vec<String> {
    const INDENT: usize = 5;
    let widest = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let container = |row: &Row| {
        row.facts
            .container
            .clone()
            .unwrap_or_else(|| "-".to_owned())
    };
    let argument = widest(|row| &row.argument).unwrap_or(0).min(WIDTH / 2);
    let user = widest(|row| &row.facts.user).unwrap_or(0);
    let has_containers = rows.iter().any(|row| row.facts.container.is_some());
    let containers = rows.iter().map(|row| container(row).chars().count());
    let container_width = containers.max().filter(|_| has_containers);
    let lines = rows.iter().map(|row| {
        let mut line = format!(
            "{:argument$}  {:>4} CPU  {:user$}  ",
            row.argument, row.cpu, row.facts.user
        );
        if let Some(width) = container_width {
            line += &format!("{:width$}  ", container(row));
        }
        let visible = |c: char| if c.is_control() { '?' } else { c };
        let room = (WIDTH - INDENT).saturating_sub(line.chars().count());
        let arguments = without_folder(&row.facts.arguments, room);
        line.extend(arguments.chars().map(visible));
        line.chars().take(WIDTH - INDENT).collect()
    });
    lines.collect()
}

/// A command line, without the folder of its program where the rest would have no room.
fn without_folder(arguments: &str, room: usize) -> &str {
    let program = arguments.find(' ').unwrap_or(arguments.len());
    match arguments[..program].rfind('/') {
        Some(slash) if arguments.chars().count() > room => &arguments[slash + 1..],
        _ => arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(pids: &[i32]) -> Candidate {
        Candidate {
            processes: pids.iter().copied().map(Pid).collect(),
            cgroup: None,
        }
    }

    #[test]
    fn a_number_or_all_chooses_and_nothing_else() {
        let candidates = [candidate(&[7]), candidate(&[8, 9])];
        assert_eq!(chosen("2", &candidates), Some(vec![candidate(&[8, 9])]));
        assert_eq!(chosen("all", &candidates), Some(candidates.to_vec()));
        for wrong in ["0", "3", "", "x"] {
            assert_eq!(chosen(wrong, &candidates), None);
        }
    }

    #[test]
    fn lines_have_columns_and_fit_a_terminal() {
        let row = |argument: &str, user: &str, container: Option<&str>, arguments: &str| Row {
            argument: argument.to_owned(),
            cpu: "12%".to_owned(),
            facts: Facts {
                pid: Pid(7),
                comm: "server".to_owned(),
                arguments: arguments.to_owned(),
                user: user.to_owned(),
                container: container.map(str::to_owned),
            },
        };
        let long = "x".repeat(100);
        let rows = [
            row(
                "-p 1504",
                "root",
                Some("3f2a91c04d5e"),
                "/a/server\u{1b}[2J",
            ),
            row("-p 99", "www-data", None, &long),
        ];
        let lines = lines(&rows);
        assert_eq!(
            lines[0],
            "-p 1504   12% CPU  root      3f2a91c04d5e  /a/server?[2J"
        );
        assert!(lines[1].starts_with("-p 99     12% CPU  www-data  -             xxx"));
        assert_eq!(lines[1].len(), 75);
        let python = "/usr/bin/python3 /srv/b.py";
        assert_eq!(without_folder(python, 30), python);
        assert_eq!(without_folder(python, 20), "python3 /srv/b.py");
    }
}
