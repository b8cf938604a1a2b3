//! The thread that finds names: turns each second's samples into the history that is looked at.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use prof_model::{DsoAddr, DsoId, DsoKind, Resolution};
use prof_profile::{Names, Profile};
use prof_symbolizer::Symbolizer;
use prof_tui::{Facts, History, Intake, Samples};
use rustc_hash::FxHashMap;

use super::collect::{End, Piece};
use super::facts::Meters;

/// So many addresses are remembered by name. Beyond these all are forgotten, and asked again.
const MAX_KNOWN: usize = 100_000;

/// What threads share: the history is locked only while samples are added or looked at.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What there is to see.
#[derive(Default)]
pub struct State {
    /// The samples.
    pub history: History,
    /// What the header says.
    pub facts: Facts,
    /// How many pieces have come.
    pub version: u64,
    /// Nothing more will come.
    pub ended: bool,
    /// Why it ended too early.
    pub failure: Option<std::io::Error>,
}

impl Shared {
    /// For a live history.
    pub fn new(facts: Facts) -> Arc<Self> {
        let state = State {
            history: History::live(),
            facts,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for a piece after `version`, or the end; not longer than `timeout`.
    pub fn wait(&self, version: u64, timeout: Duration) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| state.version == version && !state.ended;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, waiting);
        match waited {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

/// Finds names and fills the history.
pub struct Namer {
    shared: Arc<Shared>,
    symbolizer: Symbolizer,
    known: FxHashMap<(DsoId, u64), Resolution>,
    meters: Meters,
}

impl Namer {
    /// One that knows no name yet.
    pub fn new(shared: Arc<Shared>, meters: Meters) -> Self {
        Self {
            shared,
            symbolizer: Symbolizer::new(prof_symbolizer::Options::default()),
            known: FxHashMap::default(),
            meters,
        }
    }

    /// Takes pieces until there are no more.
    pub fn run(mut self, pieces: impl IntoIterator<Item = Piece>) {
        for piece in pieces {
            self.take(piece);
        }
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    fn take(&mut self, mut piece: Piece) {
        for (id, file) in piece.files.drain(..) {
            self.symbolizer.keep(id, file);
        }
        let names = self.names(&piece.profile, &piece);
        let mut state = self.shared.lock();
        let samples = Samples {
            profile: &piece.profile,
            names: &names,
            dsos: &piece.dsos,
            comms: &piece.comms,
            process_name: &|pid| piece.processes.get(&pid).cloned(),
        };
        Intake::new(&mut state.history, samples).add(piece.span.clone(), piece.profile.samples());
        self.meters.read(&piece, &mut state.facts);
        if let Some(end) = piece.end.take() {
            let (words, failure) = describe(end);
            state.facts.ended = words;
            state.failure = failure;
        }
        state.version += 1;
        drop(state);
        self.shared.changed.notify_all();
    }

    fn names(&mut self, profile: &Profile, piece: &Piece) -> Names {
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        let Self {
            symbolizer, known, ..
        } = self;
        Names::build(profile, |id, addrs| {
            let dso = piece.dsos.get(id);
            // A runtime may have put other code where something else was a second ago.
            if matches!(dso.kind, DsoKind::Jit(_)) {
                return symbolizer.resolve(id, dso, addrs);
            }
            let new: Vec<DsoAddr> = addrs
                .iter()
                .copied()
                .filter(|addr| !known.contains_key(&(id, addr.0)))
                .collect();
            let answers = symbolizer.resolve(id, dso, &new);
            known.extend(new.iter().map(|addr| (id, addr.0)).zip(answers));
            let answers = addrs.iter().map(|addr| known[&(id, addr.0)].clone());
            answers.collect()
        })
    }
}

fn describe(end: End) -> (Option<String>, Option<std::io::Error>) {
    match end {
        End::Exited => (Some("EXITED".to_owned()), None),
        End::Command(status) => (Some(format!("EXITED with status {status}")), None),
        End::Asked => (None, None),
        End::Failed(error) => (Some(format!("SAMPLING FAILED: {error}")), Some(error)),
    }
}
