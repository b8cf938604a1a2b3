//! Several events as people type them: `cycles,{cpu-clock,page-faults}:S`.

use std::ops::Range;

use crate::event_name::{EventSpec, UnknownEvent};

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
    /// A name is no event's.
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    /// A group is not closed, empty, or has another one in it.
    #[error("`{0}` is no group of events")]
    Group(String),
    /// What follows a group says nothing.
    #[error("`{0}` cannot follow a group of events")]
    Modifiers(String),
}

impl EventList {
    /// Adds what one option names.
    ///
    /// # Errors
    /// [`EventListError`]; events in front of the fault may have been added.
    pub fn add(&mut self, text: &str) -> Result<(), EventListError> {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let end = text.find(',').unwrap_or(text.len());
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
        for name in inner.split(',') {
            self.events
                .push(EventSpec::parse_in_group(name, modifiers)?);
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
        use EventListError::{Group, Modifiers, Unknown};
        assert!(matches!(list("{cs"), Err(Group(text)) if text == "{cs"));
        assert!(matches!(list("{}"), Err(Group(_))));
        assert!(matches!(list("}{"), Err(Group(_))));
        assert!(matches!(list("{cs,{page-faults}}"), Err(Group(_))));
        assert!(matches!(list("{cs}:x"), Err(Modifiers(text)) if text == "x"));
        assert!(matches!(list("{cs}u,cs"), Err(Modifiers(text)) if text == "{cs}u"));
        assert!(matches!(list("{cs,nope}"), Err(Unknown(_))));
        assert!(matches!(list("cs,"), Err(Unknown(_))));
        assert!(matches!(list("cs}"), Err(Unknown(_))));
        assert!(matches!(list(""), Err(Unknown(_))));
    }
}
