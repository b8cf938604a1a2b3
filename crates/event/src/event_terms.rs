//! What stands between slashes behind an event: `cycles/period=100000,name=mine/u`.
//!
//! Elsewhere: what the terms of a PMU mean, which sysfs tells (`prof-sampler`).

/// How often an event is sampled, where it says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRate {
    /// Samples per second and CPU (`freq=`).
    Frequency(u64),
    /// One sample after so many events (`period=`).
    Period(u64),
}

/// How the stacks of an event are walked, where it says so itself (`call-graph=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStacks {
    /// Not at all (`no`).
    None,
    /// Along frame pointers, by the kernel (`fp`).
    FramePointers,
    /// From a copy (`dwarf`).
    Copy,
}

/// A term that only the PMU understands, such as `event=0x3c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PmuTerm {
    /// The field, or the name of an event of the PMU.
    pub name: String,
    /// What is behind the `=`, if anything.
    pub value: Option<u64>,
}

impl PmuTerm {
    /// Reads `event=0x3c` or `inv`. `None` if the value is no number.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(number(value)?)),
            None => (text, None),
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (!name.is_empty() && name.bytes().all(is_word)).then(|| Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// The terms of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventTerms {
    pub(crate) rate: Option<EventRate>,
    pub(crate) stacks: Option<EventStacks>,
    pub(crate) name: Option<String>,
    pub(crate) of_pmu: Vec<PmuTerm>,
}

impl EventTerms {
    /// Reads terms with commas between them.
    ///
    /// # Errors
    /// The term that says nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for term in text.split(',').filter(|term| !term.is_empty()) {
            this.add(term).ok_or_else(|| term.to_owned())?;
        }
        Ok(this)
    }

    fn add(&mut self, term: &str) -> Option<()> {
        let (name, value) = term.split_once('=').unwrap_or((term, ""));
        let positive = || number(value).filter(|&number| number > 0);
        match name {
            "freq" => self.rate = Some(EventRate::Frequency(positive()?)),
            "period" => self.rate = Some(EventRate::Period(positive()?)),
            "call-graph" => {
                self.stacks = Some(match value {
                    "no" | "none" => EventStacks::None,
                    "fp" => EventStacks::FramePointers,
                    "dwarf" | "auto" => EventStacks::Copy,
                    _ => return None,
                });
            }
            "name" => {
                self.name = Some(value.trim_matches('\'').to_owned()).filter(|it| !it.is_empty())
            }
            _ => self.of_pmu.push(PmuTerm::parse(term)?),
        }
        Some(())
    }
}

/// A number as people type it: decimal, or with `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_for_every_event_are_told_from_those_of_a_pmu() {
        let terms = EventTerms::parse("freq=99,name=mine,event=0x3c,inv,call-graph=fp").unwrap();
        assert_eq!(terms.rate, Some(EventRate::Frequency(99)));
        assert_eq!(terms.stacks, Some(EventStacks::FramePointers));
        assert_eq!(terms.name.as_deref(), Some("mine"));
        let of_pmu = terms.of_pmu.iter().map(|it| (it.name.as_str(), it.value));
        assert_eq!(
            of_pmu.collect::<Vec<_>>(),
            [("event", Some(0x3c)), ("inv", None)]
        );
        assert_eq!(EventTerms::parse(""), Ok(EventTerms::default()));
    }

    #[test]
    fn a_term_that_says_nothing_is_named() {
        for term in [
            "freq=0",
            "period=often",
            "call-graph=lbr",
            "event=x",
            "a b",
            "=5",
        ] {
            let text = format!("period=5,{term}");
            assert_eq!(EventTerms::parse(&text), Err(term.to_owned()));
        }
    }
}
