//! Long options may be cut short, as in perf, where that leaves no doubt, neither here nor in perf. clap
//! reads such ones; here is what it does not tell about the others.

use clap::CommandFactory;

use super::{Cli, perf_options};
use crate::messages::CliError;

/// The long options that begin like one which was given.
#[derive(Default)]
pub struct Meant {
    ours: Vec<String>,
    perfs: Vec<&'static str>,
}

impl Meant {
    /// What could be meant by the name of an option as typed, without its value.
    pub fn by(subcommand: &str, name: &str) -> Self {
        let Some(start) = name.strip_prefix("--") else {
            return Self::default();
        };
        let perfs = perf_options::long_options(subcommand);
        Self {
            ours: options_beginning_with(subcommand, start),
            perfs: perfs.filter(|option| option.starts_with(name)).collect(),
        }
    }

    /// The option, if it can only be one of perf's.
    pub fn only_perfs(&self) -> Option<&'static str> {
        match (&self.ours[..], &self.perfs[..]) {
            ([], [option]) => Some(option),
            _ => None,
        }
    }

    /// The message for an option that could be several; `None` if it could not.
    pub fn ambiguous(&self, name: &str) -> Option<CliError> {
        if self.ours.len() + self.perfs.len() < 2 {
            return None;
        }
        let mut message = CliError::usage(format!("`{name}` could be several options"));
        if let Some(ours) = one_of(&self.ours) {
            message = message.hint(format!("write {ours}"));
        }
        if let Some(perfs) = one_of(&self.perfs) {
            message = message.hint(format!("perf has {perfs}, prof does not"));
        }
        Some(message)
    }
}

fn one_of(options: &[impl AsRef<str>]) -> Option<String> {
    let quoted = options
        .iter()
        .map(|option| format!("`{}`", option.as_ref()));
    let quoted: Vec<_> = quoted.collect();
    let (last, others) = quoted.split_last()?;
    if others.is_empty() {
        return Some(last.clone());
    }
    Some(format!("{} or {last}", others.join(", ")))
}

/// The long options of a subcommand, or of `prof` itself where that has no name.
pub fn options_beginning_with(subcommand: &str, start: &str) -> Vec<String> {
    let mut command = Cli::command();
    command.build(); // adds `--help`
    let subcommand = match subcommand {
        "" => Some(&command),
        name => command.find_subcommand(name),
    };
    let arguments = subcommand
        .into_iter()
        .flat_map(clap::Command::get_arguments);
    let names = arguments.flat_map(|it| it.get_long_and_visible_aliases().unwrap_or_default());
    let names = names.filter(|name| name.starts_with(start));
    names.map(|name| format!("--{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambiguous(subcommand: &str, name: &str) -> Option<CliError> {
        Meant::by(subcommand, name).ambiguous(name)
    }

    #[test]
    fn an_option_is_ambiguous_if_several_begin_like_it() {
        let error = ambiguous("report", "--sor").map(|it| it.in_one_line());
        assert_eq!(error, None, "only `--sort`");
        let error = ambiguous("report", "--head").unwrap();
        assert_eq!(error.what, "`--head` could be several options");
        assert_eq!(error.hints, ["write `--header` or `--header-only`"]);
    }

    #[test]
    fn an_option_is_ambiguous_if_one_of_perf_begins_like_it_too() {
        let error = ambiguous("record", "--max-s").unwrap();
        let perfs = "perf has `--max-size`, prof does not";
        assert_eq!(error.hints, ["write `--max-stack`", perfs]);
        let error = ambiguous("record", "--switch").unwrap();
        let perfs = "perf has `--switch-events` or `--switch-output`, prof does not";
        assert_eq!(error.hints, [perfs]);
    }

    #[test]
    fn options_without_a_likely_meaning_are_not_ambiguous() {
        for option in ["--nonsense", "-s", "nonsense"] {
            assert!(ambiguous("report", option).is_none(), "{option}");
        }
        assert!(ambiguous("nonsense", "--s").is_none());
    }
}
