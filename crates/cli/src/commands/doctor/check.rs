//! One thing that works here, or does not.

use serde::Serialize;

/// Whether it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should.
    Yes,
    /// With less than there might be.
    Partly,
    /// Not at all.
    No,
    /// There was nothing to try it on.
    Unknown,
}

impl State {
    /// As tables have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
            Self::Unknown => "?",
        }
    }
}

/// What was tried, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name for programs, which stays.
    pub key: &'static str,
    /// Its name for people.
    #[serde(skip)]
    pub what: &'static str,
    /// Whether it works.
    pub state: State,
    /// What there is, in a few words.
    pub detail: String,
    /// What is lost without it.
    pub lost: &'static str,
    /// Why it does not work, or not wholly.
    pub reason: Option<String>,
    /// What to do about it, the least first.
    pub remedies: Vec<String>,
}

impl Check {
    /// Something that works.
    pub fn new(key: &'static str, what: &'static str, lost: &'static str) -> Self {
        Self {
            key,
            what,
            state: State::Yes,
            detail: String::new(),
            lost,
            reason: None,
            remedies: Vec::new(),
        }
    }

    /// With what there is.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// It works less well, or not, for a reason.
    #[must_use]
    pub fn fails(self, state: State, reason: impl Into<String>) -> Self {
        Self {
            state,
            reason: Some(reason.into()),
            ..self
        }
    }

    /// It does not work since what is said of an earlier one holds for it, too.
    #[must_use]
    pub fn follows(self) -> Self {
        Self {
            state: State::No,
            ..self.detail("nothing can be sampled, as said above")
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn remedies(mut self, remedies: impl IntoIterator<Item = String>) -> Self {
        self.remedies.extend(remedies);
        self
    }
}
