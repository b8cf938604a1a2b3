//! What clap says of a command line that is wrong, in the words of our own messages.
//!
//! Elsewhere: options and commands that perf has (`perf_options`, `perf_commands`), and what an option that
//! is cut short could be (`abbreviations`).

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::abbreviations::{Meant, options_beginning_with};
use super::perf_options::instead;
use super::{Cli, perf_commands};
use crate::messages::CliError;

/// The message for an error about the arguments of `subcommand`, which is empty where there is none. `None`
/// for what is no error: help and the version.
pub fn refusal(error: &clap::Error, subcommand: &str) -> Option<CliError> {
    let one = |kind| context(error, kind).into_iter().next();
    let argument = one(ContextKind::InvalidArg).map(|text| plain(&text));
    let message = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::DisplayVersion => return None,
        ErrorKind::InvalidSubcommand => {
            let command = one(ContextKind::InvalidSubcommand)?;
            let ours = Cli::command();
            let known = ours.get_subcommands().filter(|it| !it.is_hide_set());
            perf_commands::refusal(&command, known.map(clap::Command::get_name))
        }
        ErrorKind::UnknownArgument => unknown(subcommand, &argument?),
        ErrorKind::ArgumentConflict => {
            let others = context(error, ContextKind::PriorArg);
            let others: Vec<_> = others
                .iter()
                .map(|other| format!("`{}`", plain(other)))
                .collect();
            let argument = argument?;
            CliError::usage(match others.as_slice() {
                [] => format!("`{argument}` cannot stand there"),
                [same] if *same == format!("`{argument}`") => {
                    format!("`{argument}` may be given once only")
                }
                others => format!("`{argument}` cannot be used with {}", others.join(", ")),
            })
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = context(error, ContextKind::InvalidArg);
            let missing: Vec<_> = missing
                .iter()
                .map(|it| format!("`{}`", plain(it)))
                .collect();
            CliError::usage(format!("{} is missing", missing.join(", "))).hint(help(subcommand))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            wrong_value(error, &argument?, &one(ContextKind::InvalidValue)?)
        }
        ErrorKind::TooManyValues => {
            let value = one(ContextKind::InvalidValue)?;
            CliError::usage(format!(
                "`{}` takes no value, and `{value}` is one",
                argument?
            ))
        }
        _ => other(error, subcommand),
    };
    Some(message)
}

/// The message for an option or a word that is not known. It may be one of perf's, or be cut short.
pub fn unknown(subcommand: &str, argument: &str) -> CliError {
    let name = argument.split('=').next().unwrap_or(argument);
    let meant = Meant::by(subcommand, name);
    let of_perf = meant.only_perfs().unwrap_or(name);
    if let Some(instead) = instead(subcommand, of_perf) {
        let what = match of_perf.starts_with('-') {
            true => format!("`{of_perf}` is an option of perf that prof does not have"),
            false => format!("perf's `{subcommand} {of_perf}` is not in prof"),
        };
        return CliError::usage(what).hint(instead);
    }
    if let Some(ambiguous) = meant.ambiguous(name) {
        return ambiguous;
    }
    let command = format!("prof {subcommand}");
    let command = command.trim_end();
    if !name.starts_with('-') {
        return CliError::usage(format!("`{command}` cannot do anything with `{name}`"))
            .hint(help(subcommand));
    }
    let message = CliError::usage(format!("`{command}` has no option `{name}`"));
    match nearest(subcommand, name) {
        Some(near) => message.hint(format!("did you mean `{near}`?")),
        None => message.hint(help(subcommand)),
    }
}

/// The option that looks most like `name`, if any does.
fn nearest(subcommand: &str, name: &str) -> Option<String> {
    const ALIKE: f64 = 0.85;
    let name = name.strip_prefix("--")?;
    let options = options_beginning_with(subcommand, "").into_iter();
    let by_likeness = options.map(|option| (strsim::jaro_winkler(name, &option[2..]), option));
    let (likeness, option) = by_likeness.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness > ALIKE).then_some(option)
}

fn wrong_value(error: &clap::Error, argument: &str, value: &str) -> CliError {
    let good = context(error, ContextKind::ValidValue);
    let good: Vec<_> = good.iter().map(|value| format!("`{value}`")).collect();
    let message = match value {
        "" => CliError::usage(format!("`{argument}` needs a value")),
        value => CliError::usage(format!("`{value}` cannot be the value of `{argument}`")),
    };
    let reason = std::error::Error::source(error).map(ToString::to_string);
    // `is no duration; try 10s`
    let message = match reason
        .as_deref()
        .map(|it| it.split_once("; ").unwrap_or((it, "")))
    {
        None => message,
        Some(("invalid digit found in string" | "invalid float literal", _)) => {
            message.cause("it is no number")
        }
        Some((cause, "")) => message.cause(cause),
        Some((cause, hint)) => message.cause(cause).hint(hint),
    };
    match good.as_slice() {
        [] => message,
        good => message.hint(format!("one of {}", good.join(", "))),
    }
}

/// What clap says, without what it proposes.
fn other(error: &clap::Error, subcommand: &str) -> CliError {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let what = first.trim_start_matches("error: ");
    CliError::usage(plain(what)).hint(help(subcommand))
}

fn help(subcommand: &str) -> String {
    match subcommand {
        "" => "`prof --help`".to_owned(),
        subcommand => format!("`prof {subcommand} --help`"),
    }
}

/// `--duration <TIME>` as our help has it: `--duration TIME`.
fn plain(argument: &str) -> String {
    argument.replace(['<', '>'], "")
}

fn context(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refused(words: &str) -> CliError {
        let error = Cli::try_parse_from(words.split(' ')).unwrap_err();
        let first = words.split(' ').nth(1);
        let subcommand = first.filter(|word| !word.starts_with('-'));
        refusal(&error, subcommand.unwrap_or_default()).expect("an error")
    }

    #[test]
    fn an_option_is_found_with_and_without_its_value_and_cut_short() {
        let of_perf = |option| format!("`{option}` is an option of perf that prof does not have");
        for (subcommand, typed, option) in [
            ("record", "-b", "-b"),
            ("record", "--affinity=node", "--affinity"),
            ("record", "--all-k", "--all-kernel"),
            ("script", "--scr", "--script"),
        ] {
            assert_eq!(unknown(subcommand, typed).what, of_perf(option));
        }
        let nonsense = unknown("report", "--nonsense");
        assert_eq!(nonsense.what, "`prof report` has no option `--nonsense`");
        assert_eq!(nonsense.hints, ["`prof report --help`"]);
    }

    #[test]
    fn an_option_that_is_mistyped_has_the_one_that_was_meant() {
        assert_eq!(
            refused("prof report --sotr dso").hints,
            ["did you mean `--sort`?"]
        );
        let md = refused("prof report --md");
        assert_eq!(md.what, "`prof report` has no option `--md`");
        assert!(
            md.hints.iter().all(|hint| !hint.contains("-- --md")),
            "{md:?}"
        );
        let word = refused("prof script flamegraph");
        assert_eq!(word.what, "perf's `script flamegraph` is not in prof");
        assert!(word.hints[0].contains("--svg"), "{word:?}");
        assert_eq!(refused("prof --frob").what, "`prof` has no option `--frob`");
    }

    #[test]
    fn a_wrong_value_is_told_with_the_reason_and_a_good_one() {
        let duration = refused("prof record -d 1parsec true");
        assert_eq!(
            duration.what,
            "`1parsec` cannot be the value of `--duration TIME`"
        );
        assert_eq!(duration.causes, ["`1parsec` is no duration"]);
        assert_eq!(duration.hints, ["try `10s`, `500ms` or `2m`"]);
        let half = refused("prof report --percentage half");
        assert_eq!(half.hints, ["one of `relative`, `absolute`"]);
        assert_eq!(
            refused("prof report --fields").what,
            "`--fields FIELD,...` needs a value"
        );
        let number = refused("prof report --percent-limit x");
        assert_eq!(number.causes, ["it is no number"]);
        assert_eq!(
            refused("prof report --header=5").what,
            "`--header` takes no value, and `5` is one"
        );
        assert_eq!(refused("prof completions").what, "`SHELL` is missing");
    }

    #[test]
    fn options_that_exclude_each_other_are_both_named() {
        let both = refused("prof report --json --hierarchy");
        assert_eq!(both.what, "`--json` cannot be used with `--hierarchy`");
        let twice = refused("prof report --sort dso --sort sym");
        assert_eq!(twice.what, "`--sort KEY,...` may be given once only");
    }

    #[test]
    fn help_is_no_error() {
        let help = Cli::try_parse_from(["prof", "record", "--help"]).unwrap_err();
        assert!(refusal(&help, "record").is_none());
    }
}
