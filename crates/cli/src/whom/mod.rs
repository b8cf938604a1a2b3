//! Whom the arguments mean: words to a target of the sampler, and what is said about it.
//!
//! In: the arguments of `record` and `top`. Out: a target; where several may be meant, what the user chooses.
//! Elsewhere: looking for them (`prof-target`), lists of them (`choice.rs`).

mod choice; // between several

use std::collections::BTreeSet;

use prof_model::{Pid, Tid};
use prof_sampler::{Cgroup, Target};
use prof_target::{Candidate, Followed, Found, Wanted, find, is_process};

use crate::command_line::shared::SamplingArgs;
use crate::messages::{CliError, open_errors, target_errors};

/// Columns of a line on a terminal.
const WIDTH: usize = 80;

/// Who is meant.
#[derive(Debug)]
pub struct Whom {
    /// The target.
    pub target: Target,
    /// What a cgroup is called in titles.
    pub title: Option<String>,
    /// Which processes were found, as a line for the user.
    pub said: Option<String>,
    /// Who belongs to it if he comes later.
    pub followed: Vec<Followed>,
}

impl Whom {
    fn of(target: Target) -> Self {
        Self {
            target,
            title: None,
            said: None,
            followed: Vec::new(),
        }
    }
}

/// Looks for whom the arguments mean. `None` for a command.
///
/// # Errors
/// Nobody is meant, or several are and the user does not choose.
pub fn whom(args: &SamplingArgs) -> Result<Option<Whom>, CliError> {
    let wanted = wanted(args);
    if !wanted.is_empty() {
        refuse_numbers_as_command(args)?;
        return meant(&wanted, args.no_inherit).map(Some);
    }
    if !args.tid.is_empty() {
        return threads(&args.tid).map(Whom::of).map(Some);
    }
    let is_system = args.all_cpus || (args.cpu.is_some() && args.command.is_empty());
    Ok(is_system.then(|| Whom::of(Target::System)))
}

fn wanted(args: &SamplingArgs) -> Vec<Wanted> {
    let words = args.pid.iter().flat_map(|text| words(text));
    let words = words.map(|word| Wanted::Word(word.to_owned()));
    let groups = &args.groups;
    let cgroups = groups.cgroup.iter().cloned().map(Wanted::Cgroup);
    let containers = groups.container.iter().cloned().map(Wanted::Container);
    let units = groups.unit.iter().cloned().map(Wanted::Unit);
    words
        .chain(cgroups)
        .chain(containers)
        .chain(units)
        .collect()
}

/// Several numbers may be separated by spaces, as `pgrep` prints them; a name may contain some.
fn words(text: &str) -> Vec<&str> {
    let words: Vec<_> = text.split_whitespace().collect();
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    match words.len() > 1 && words.iter().all(is_number) {
        true => words,
        false => vec![text.trim()],
    }
}

/// `-p $(pgrep server)` with two of them would run the second as a command.
fn refuse_numbers_as_command(args: &SamplingArgs) -> Result<(), CliError> {
    let words = args.command.iter().map_while(|word| word.to_str());
    let numbers: Vec<_> = words.take_while(|word| is_process(word)).collect();
    let Some(first) = numbers.first() else {
        return Ok(());
    };
    let named = args.pid.iter().map(String::as_str);
    let all: Vec<_> = named.chain(numbers.iter().copied()).collect();
    let all = all.join(",");
    Err(CliError::usage(format!("{first} is a process: `-p {all}`"))
        .cause("what follows the list is taken for a command")
        .hint("separate numbers by commas, as `pgrep -d,` prints them"))
}

fn threads(texts: &[String]) -> Result<Target, CliError> {
    let number = |text: &String| text.trim().parse().ok().filter(|&number: &i32| number > 0);
    let numbers = texts
        .iter()
        .map(|text| number(text).ok_or_else(|| open_errors::not_a_tid(text)));
    let numbers: BTreeSet<_> = numbers.collect::<Result<_, _>>()?;
    Ok(Target::Threads(numbers.into_iter().map(Tid).collect()))
}

fn meant(wanted: &[Wanted], alone: bool) -> Result<Whom, CliError> {
    let mut what = Vec::new();
    let mut chosen = Vec::new();
    let mut followed = Vec::new();
    for wanted in wanted {
        let found = find(wanted).map_err(target_errors::not_found)?;
        let Found {
            what: in_common,
            mut candidates,
        } = found;
        match candidates.as_slice() {
            [only] => followed.extend(who_follows(wanted, in_common.is_some(), only)),
            _ => candidates = choice::choose(wanted, candidates)?,
        }
        what.extend(in_common);
        chosen.extend(candidates);
    }
    let processes = chosen.iter().flat_map(|it| it.processes.iter().copied());
    let processes: BTreeSet<_> = processes.collect();
    let processes: Vec<_> = processes.into_iter().collect();
    let cgroup = match chosen.as_slice() {
        [Candidate { cgroup, .. }] if !alone => cgroup.as_ref(),
        _ => None,
    };
    let what = what.join(", ");
    let said = (!what.is_empty()).then(|| said(&what, &processes));
    let cgroup = cgroup.and_then(|folder| Cgroup::open(folder).ok());
    Ok(match cgroup {
        Some(cgroup) => Whom {
            target: Target::Cgroup(cgroup),
            title: Some(what.trim_start_matches("of ").to_owned()),
            said,
            followed,
        },
        None if processes.is_empty() => {
            return Err(CliError::new(format!("no process {what}")));
        }
        None => Whom {
            said,
            followed,
            ..Whom::of(Target::Processes(processes))
        },
    })
}

/// Who belongs to a candidate if he comes later: whoever has its name, whoever is in its cgroup. Who listens on a
/// port is not looked for again and again.
fn who_follows(wanted: &Wanted, is_no_number: bool, candidate: &Candidate) -> Option<Followed> {
    let cgroup = candidate.cgroup.as_ref();
    match (wanted, cgroup.map(|folder| Cgroup::open(folder))) {
        (_, Some(cgroup)) => cgroup.ok().map(Followed::Members),
        (Wanted::Word(word), None) if is_no_number && !word.starts_with(':') => {
            Some(Followed::Named(word.clone()))
        }
        _ => None,
    }
}

/// `sampling 4 processes named nginx: 1504 1529 1530 1531`, as many as a line holds.
fn said(what: &str, processes: &[Pid]) -> String {
    const PREFIX: usize = "prof: ".len();
    let mut line = match processes {
        [] => return format!("sampling all processes {what}: nobody is in it yet"),
        [one] => return format!("sampling process {one} {what}"),
        all => format!("sampling {} processes {what}:", all.len()),
    };
    for (index, pid) in processes.iter().enumerate() {
        let left = processes.len() - index;
        let word = format!(" {pid}");
        let rest = match left {
            1 => String::new(),
            left => format!(" and {} more", left - 1),
        };
        if PREFIX + line.len() + word.len() + rest.len() > WIDTH && index > 0 {
            line += &format!(" and {left} more");
            break;
        }
        line += &word;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_separated_by_spaces_and_names_may_have_some() {
        assert_eq!(words("1504 1529\n"), ["1504", "1529"]);
        assert_eq!(words(" 1504"), ["1504"]);
        assert_eq!(words("Web Content"), ["Web Content"]);
        assert_eq!(words("postgres: 5 writer"), ["postgres: 5 writer"]);
    }

    #[test]
    fn the_line_that_names_processes_fits_a_terminal() {
        let line = said("named nginx", &[1504, 1529, 1530, 1531].map(Pid));
        assert_eq!(
            line,
            "sampling 4 processes named nginx: 1504 1529 1530 1531"
        );
        let line = said("named nginx", &[Pid(7)]);
        assert_eq!(line, "sampling process 7 named nginx");
        for count in 2..200 {
            let pids: Vec<_> = (0..count).map(|it| Pid(9000 + 13 * it)).collect();
            let line = said("named nginx", &pids);
            assert!(line.len() + 6 <= 80, "{line}");
            let named = line.split_once(": ").unwrap().1;
            let (named, more) = named.split_once(" and ").unwrap_or((named, "0 more"));
            let more: usize = more.trim_end_matches(" more").parse().unwrap();
            assert_eq!(named.split(' ').count() + more, pids.len(), "{line}");
        }
    }
}
