//! Several events as people type them: `cycles,{cpu-clock,page-faults}:S`.

use std::ops::Range;

use crate::event_name::{EventError, EventKind, EventSpec};

/// Events that somebody asked for, and which of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventList {
    /// All of them, in order.
    pub events: Vec<EventSpec>,
    /// Those in braces.
    pub groups: Vec<GroupSpec>,
}

impl From<EventSpec> for EventList {
    fn from(spec: EventSpec) -> Self {
        Self {
            events: vec![spec],
            groups: Vec::new(),
        }
    }
}

/// Events that are counted at the same times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// What stands in front of the brace.
    pub name: Option<String>,
    /// Their places among all events; the first one leads.
    pub members: Range<usize>,
    /// Only the leader takes samples, which carry the counters of all (`:S`).
    pub leader_samples: bool,
}

/// What was typed is no list of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventListError {
    /// One of them is no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A group is not closed, empty, or has another one in it.
    #[error("`{0}` is no group of events")]
    Group(String),
    /// What follows a group says nothing.
    #[error("`{0}` cannot follow a group of events")]
    Modifiers(String),
    /// A filter is for an event that is no tracepoint.
    #[error("`{event}` is no tracepoint, and only those have filters")]
    NoFilter {
        /// The event.
        event: String,
    },
}

impl EventList {
    /// Adds what one option names.
    ///
    /// # Errors
    /// [`EventListError`]; events in front of the fault may have been added.
    pub fn add(&mut self, text: &str) -> Result<(), EventListError> {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let end = end_of_first(text);
            let (item, behind) = match text.find('{') {
                Some(open) if open < end => self.add_group(text, open)?,
                _ => {
                    self.events.push(EventSpec::parse(&text[..end])?);
                    text.split_at(end)
                }
            };
            rest = behind.strip_prefix(',');
            if rest.is_none() && !behind.is_empty() {
                let behind = behind.split(',').next().unwrap_or(behind);
                return Err(EventListError::Modifiers(format!("{item}{behind}")));
            }
        }
        Ok(())
    }

    /// Lets only those hits count that `filter` lets through, of all events from the one at `first` on. A
    /// further filter is heeded as well.
    ///
    /// # Errors
    /// [`EventListError::NoFilter`] for one that is no tracepoint.
    pub fn filter(&mut self, first: usize, filter: &str) -> Result<(), EventListError> {
        for spec in self.events.iter_mut().skip(first) {
            if !matches!(spec.kind, EventKind::Tracepoint { .. }) {
                return Err(EventListError::NoFilter {
                    event: spec.name.clone(),
                });
            }
            spec.filter = Some(match &spec.filter {
                Some(before) => format!("({before}) && ({filter})"),
                None => filter.to_owned(),
            });
        }
        Ok(())
    }

    /// The same with several events, or none, in the place of each.
    ///
    /// # Errors
    /// Those of `expand`.
    pub fn expand<E>(
        self,
        mut expand: impl FnMut(EventSpec) -> Result<Vec<EventSpec>, E>,
    ) -> Result<Self, E> {
        let mut starts = vec![0]; // where each event begins now, and the end
        let mut events = Vec::new();
        for spec in self.events {
            events.extend(expand(spec)?);
            starts.push(events.len());
        }
        let groups = self.groups.into_iter().map(|group| GroupSpec {
            members: starts[group.members.start]..starts[group.members.end],
            ..group
        });
        Ok(Self {
            groups: groups.collect(),
            events,
        })
    }

    /// Adds the group whose brace opens at `open`; returns it and what is behind it.
    fn add_group<'t>(
        &mut self,
        text: &'t str,
        open: usize,
    ) -> Result<(&'t str, &'t str), EventListError> {
        let wrong = || EventListError::Group(text.to_owned());
        let close = text.find('}').filter(|&close| close > open + 1);
        let close = close.ok_or_else(wrong)?;
        let inner = &text[open + 1..close];
        if inner.contains('{') {
            return Err(wrong());
        }
        let behind = &text[close + 1..];
        let end = behind.find(',').unwrap_or(behind.len());
        let modifiers = match behind[..end].strip_prefix(':') {
            Some(modifiers) if EventSpec::is_modifiers(modifiers) => modifiers,
            None => "",
            Some(modifiers) => return Err(EventListError::Modifiers(modifiers.to_owned())),
        };
        let first = self.events.len();
        let mut rest = Some(inner);
        while let Some(text) = rest {
            let (name, behind) = text.split_at(end_of_first(text));
            self.events
                .push(EventSpec::parse_in_group(name, modifiers)?);
            rest = behind.strip_prefix(',');
        }
        self.groups.push(GroupSpec {
            name: (open > 0).then(|| text[..open].to_owned()),
            members: first..self.events.len(),
            leader_samples: modifiers.contains('S'),
        });
        let end = close + 1 + if modifiers.is_empty() { 0 } else { end };
        Ok(text.split_at(end))
    }
}

/// Where the first event of a list ends: at a comma that is not between slashes.
fn end_of_first(text: &str) -> usize {
    let mut in_terms = false;
    let end = text.find(|letter| {
        in_terms ^= letter == '/';
        letter == ',' && !in_terms
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<EventList, EventListError> {
        let mut list = EventList::default();
        list.add(text).map(|()| list)
    }

    fn names(list: &EventList) -> Vec<&str> {
        list.events.iter().map(|spec| spec.name.as_str()).collect()
    }

    #[test]
    fn braces_hold_events_together_and_what_follows_them_holds_for_all() {
        let list = list("cs,{cpu-clock,page-faults:k}:uS,two{cs,sched:sched_switch},r1a8").unwrap();
        let expected = [
            "cs",
            "cpu-clock",
            "page-faults:k",
            "cs",
            "sched:sched_switch",
            "r1a8",
        ];
        assert_eq!(names(&list), expected);
        let groups = list.groups.iter().map(|group| {
            let name = group.name.as_deref().unwrap_or_default();
            (name, group.members.clone(), group.leader_samples)
        });
        let groups: Vec<_> = groups.collect();
        assert_eq!(groups, [("", 1..3, true), ("two", 3..5, false)]);
        let excluded = |at: usize| {
            let spec = &list.events[at];
            (spec.exclude_kernel, spec.exclude_user)
        };
        assert_eq!(excluded(0), (false, false));
        assert_eq!(excluded(1), (true, false));
        assert_eq!(excluded(2), (false, false)); // `:k` of its own and `:u` of the group: both
        assert_eq!(excluded(3), (false, false));
    }

    #[test]
    fn options_add_up() {
        let mut list = EventList::default();
        list.add("cs").unwrap();
        list.add("{cpu-clock,cs}").unwrap();
        assert_eq!(names(&list), ["cs", "cpu-clock", "cs"]);
        assert_eq!(list.groups[0].members, 1..3);
    }

    #[test]
    fn what_is_no_list_is_told_apart() {
        use EventListError::{Event, Group, Modifiers};
        assert!(matches!(list("{cs"), Err(Group(text)) if text == "{cs"));
        assert!(matches!(list("{}"), Err(Group(_))));
        assert!(matches!(list("}{"), Err(Group(_))));
        assert!(matches!(list("{cs,{page-faults}}"), Err(Group(_))));
        assert!(matches!(list("{cs}:x"), Err(Modifiers(text)) if text == "x"));
        assert!(matches!(list("{cs}u,cs"), Err(Modifiers(text)) if text == "{cs}u"));
        assert!(matches!(list("{cs,nope}"), Err(Event(_))));
        assert!(matches!(list("cs,"), Err(Event(_))));
        assert!(matches!(list("cs}"), Err(Event(_))));
        assert!(matches!(list(""), Err(Event(_))));
    }

    #[test]
    fn commas_between_slashes_part_terms() {
        let list = list("cpu-clock/freq=99,name=one/,{cs/period=5,name=two/u,cs}:k,cs").unwrap();
        assert_eq!(names(&list), ["one", "two", "cs", "cs"]);
        assert_eq!(list.groups[0].members, 1..3);
    }

    #[test]
    fn a_filter_is_for_the_tracepoints_of_one_option_and_adds_up() {
        let mut list = list("sched:sched_switch").unwrap();
        let first = list.events.len();
        list.add("sched:sched_wakeup,sched:sched_process_exec")
            .unwrap();
        list.filter(first, "pid > 1").unwrap();
        list.filter(2, "pid < 9").unwrap();
        let filters = list.events.iter().map(|it| it.filter.as_deref());
        let filters: Vec<_> = filters.collect();
        assert_eq!(
            filters,
            [None, Some("pid > 1"), Some("(pid > 1) && (pid < 9)")]
        );
        list.add("cs").unwrap();
        assert!(matches!(
            list.filter(3, "pid > 1"),
            Err(EventListError::NoFilter { event }) if event == "cs"
        ));
    }

    #[test]
    fn events_that_become_several_stay_in_their_groups() {
        let twice = |spec: EventSpec| match spec.name.as_str() {
            "cs" => Ok(vec![spec.clone(), spec]),
            "cpu-clock" => Err("refused"),
            _ => Ok(vec![spec]),
        };
        assert_eq!(
            list("cs,{cpu-clock}").unwrap().expand(twice),
            Err("refused")
        );
        let twice = list("cs,{cs,page-faults},cs").unwrap().expand(twice);
        let twice = twice.unwrap();
        let expected = ["cs", "cs", "cs", "cs", "page-faults", "cs", "cs"];
        assert_eq!(names(&twice), expected);
        assert_eq!(twice.groups[0].members, 2..5);
    }
}
