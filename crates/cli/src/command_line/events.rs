//! `-e` and `--filter`, which is about the events of the last `-e` before it.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use prof_event::EventList;

use crate::messages::CliError;
use crate::messages::event_errors::{no_event_list, no_event_to_filter};

const EVENT: &str = "event";
const FILTER: &str = "filter";

/// What to sample, in the order in which it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventArgs {
    typed: Vec<Typed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Typed {
    Events(String),
    Filter(String),
}

impl EventArgs {
    /// The events, with their filters.
    ///
    /// # Errors
    /// What is no event, and a filter for what can have none.
    pub fn list(&self) -> Result<EventList, CliError> {
        let mut list = EventList::default();
        let mut last = 0;
        for typed in &self.typed {
            match typed {
                Typed::Events(text) => {
                    last = list.events.len();
                    list.add(text).map_err(|error| no_event_list(&error))?;
                }
                Typed::Filter(filter) if list.events.is_empty() => {
                    return Err(no_event_to_filter(filter));
                }
                Typed::Filter(filter) => {
                    let filtered = list.filter(last, filter);
                    filtered.map_err(|error| no_event_list(&error))?;
                }
            }
        }
        Ok(list)
    }
}

impl FromArgMatches for EventArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut typed = Vec::new();
        for (id, of_text) in [
            (EVENT, Typed::Events as fn(String) -> Typed),
            (FILTER, Typed::Filter),
        ] {
            let places = matches.indices_of(id).into_iter().flatten();
            let texts = matches.get_many::<String>(id).into_iter().flatten();
            typed.extend(places.zip(texts.map(|text| of_text(text.clone()))));
        }
        typed.sort_by_key(|(place, _)| *place);
        let typed = typed.into_iter().map(|(_, typed)| typed).collect();
        Ok(Self { typed })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for EventArgs {
    fn augment_args(command: Command) -> Command {
        let event = Arg::new(EVENT)
            .short('e')
            .long(EVENT)
            .value_name("EVENT,...")
            .action(ArgAction::Append)
            .help(
                "What to sample: cycles, cpu-clock, page-faults, sched:sched_switch, 'sched:*', \
                 r1a8, cpu-clock/freq=99/; with :u or :k only user or kernel code; '{a,b}' counts \
                 both at the same times, with :S only the first is sampled and tells what the \
                 others counted. Default: cycles, and cpu-clock where there is no PMU",
            );
        let filter = Arg::new(FILTER)
            .long(FILTER)
            .value_name("EXPR")
            .action(ArgAction::Append)
            .help("Of the tracepoints of the -e before it only these hits: 'prev_pid > 1'");
        command.arg(event).arg(filter)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(words: &[&str]) -> Result<EventList, CliError> {
        let command = EventArgs::augment_args(Command::new("prof"));
        let matches = command.get_matches_from([&["prof"], words].concat());
        EventArgs::from_arg_matches(&matches).unwrap().list()
    }

    #[test]
    fn a_filter_is_for_the_option_in_front_of_it() {
        let words = [
            "-e", "a:b", "--filter", "x > 1", "-e", "c:d,e:f", "-e", "g:h",
        ];
        let list = events(&[&words[..], &["--filter=y < 2"]].concat()).unwrap();
        let filters = list.events.iter().map(|it| it.filter.as_deref());
        let filters: Vec<_> = filters.collect();
        assert_eq!(filters, [Some("x > 1"), None, None, Some("y < 2")]);
        let none = events(&["--filter", "x", "-e", "a:b"]).unwrap_err();
        assert_eq!(none.what, "`--filter x` has no event before it");
        assert!(events(&["-e", "cs", "--filter", "x"]).is_err());
    }
}
