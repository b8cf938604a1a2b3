use regex_lite::{Regex, RegexBuilder};

use crate::Key;

/// What is being looked for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) pattern: String,
    regex: Regex,
}

impl Search {
    /// A pattern in small letters means any case.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(!pattern.chars().any(char::is_uppercase))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pattern: pattern.to_owned(),
            regex,
        })
    }

    pub(crate) fn matches_text(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    pub(crate) fn matches(&self, key: &Key) -> bool {
        match key {
            Key::Function(function) => {
                self.regex.is_match(&function.name) || self.regex.is_match(&function.module)
            }
            Key::Thread(_) | Key::Process(_) => self.regex.is_match(&key.to_string()),
            Key::Module(module) => self.regex.is_match(module),
        }
    }
}
