//! Long options may be cut short, as in perf, where that leaves no doubt. clap reads such ones; here is
//! what it does not tell about the others.

use clap::CommandFactory;

use crate::args::Cli;
use crate::error::CliError;

/// The message for an option that could be several, given as typed; `None` if it could not.
pub fn ambiguous(subcommand: &str, option: &str) -> Option<CliError> {
    let name = option.split('=').next().unwrap_or(option);
    let meant = options_beginning_with(subcommand, name.strip_prefix("--")?);
    let [others @ .., last] = &meant[..] else {
        return None;
    };
    if others.is_empty() {
        return None;
    }
    let hint = format!("write {} or {last}", others.join(", "));
    Some(CliError::usage(format!("`{name}` could be several options")).hint(hint))
}

fn options_beginning_with(subcommand: &str, start: &str) -> Vec<String> {
    let mut command = Cli::command();
    command.build(); // adds `--help`
    let subcommand = command.find_subcommand(subcommand);
    let arguments = subcommand
        .into_iter()
        .flat_map(clap::Command::get_arguments);
    let names = arguments.flat_map(|it| it.get_long_and_visible_aliases().unwrap_or_default());
    let names = names.filter(|name| name.starts_with(start));
    names.map(|name| format!("`--{name}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_ambiguous_if_several_begin_like_it() {
        let error = ambiguous("report", "--so=sym").map(|it| it.in_one_line());
        assert_eq!(error, None, "only `--sort`");
        let error = ambiguous("report", "--head").unwrap();
        assert_eq!(error.what, "`--head` could be several options");
        assert_eq!(error.hints, ["write `--header` or `--header-only`"]);
    }

    #[test]
    fn options_without_a_likely_meaning_are_not_ambiguous() {
        for option in ["--nonsense", "-s", "nonsense"] {
            assert!(ambiguous("report", option).is_none(), "{option}");
        }
        assert!(ambiguous("nonsense", "--s").is_none());
    }
}
