use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::demangle::demangle;

/// Names that were handed out, each kept once: thousands of addresses share a few functions and
/// files.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: FxHashSet<Arc<str>>,
    demangled: FxHashMap<Arc<str>, Arc<str>>,
    keep_mangled: bool,
}

impl Names {
    /// With `demangle` unset, [`Names::demangled`] gives names as they are.
    pub(crate) fn new(demangle: bool) -> Self {
        Self {
            keep_mangled: !demangle,
            ..Self::default()
        }
    }

    /// Whether [`Names::demangled`] gives names as they are.
    pub(crate) fn keep_mangled(&self) -> bool {
        self.keep_mangled
    }

    /// The text itself.
    pub(crate) fn plain(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        text
    }

    /// What reports print for the mangled name `raw`.
    pub(crate) fn demangled(&mut self, raw: &str) -> Arc<str> {
        if self.keep_mangled {
            return self.plain(raw);
        }
        if let Some(name) = self.demangled.get(raw) {
            return Arc::clone(name);
        }
        let raw = self.plain(raw);
        let name = self.plain(&demangle(&raw));
        self.demangled.insert(raw, Arc::clone(&name));
        name
    }
}
