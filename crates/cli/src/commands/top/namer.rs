//! The thread that finds names: turns each second's samples into the history that is looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use prof_model::{BuildId, Dso, DsoAddr, DsoId, DsoKind, DsoTable, Pid, Reason, Resolution};
use prof_perfdata::StoredNames;
use prof_profile::{Names, Profile};
use prof_sampler::Clock;
use prof_session::record::{self, Piece, RecentRecords, features, stored_build_ids};
use prof_symbolizer::{AsmSyntax, RunningKernel, Symbolizer};
use prof_tui::{Facts, History, Intake, Samples};
use rustc_hash::FxHashMap;

use super::collect::{CodeAnswer, End, Message};
use super::facts::Meters;
use super::processes::Details;
use crate::messages::CliError;
use crate::tui_source;
use crate::units::thousands;

/// So many addresses are remembered by name. Beyond these all are forgotten, and asked again.
const MAX_KNOWN: usize = 100_000;
/// So many processes have more than their names; beyond these it is forgotten.
const MOST_DETAILS: usize = 1024;

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
    /// What became of files that were to be written.
    pub news: VecDeque<Result<String, String>>,
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
    build_ids: FxHashMap<DsoId, BuildId>,
    dsos: Arc<DsoTable>,
    meters: Meters,
    recent: Option<RecentRecords>,
    details: Option<Details>, // for screens
    clock: Clock,
}

impl Namer {
    /// One that knows no name yet. It keeps records only where they may be wanted.
    pub fn new(
        shared: Arc<Shared>,
        meters: Meters,
        recent: Option<RecentRecords>,
        kernel: RunningKernel,
        clock: Clock,
    ) -> Self {
        let mut symbolizer = Symbolizer::new(prof_symbolizer::Options::default());
        symbolizer.expect_kernel(kernel);
        Self {
            shared,
            symbolizer,
            known: FxHashMap::default(),
            build_ids: FxHashMap::default(),
            dsos: Arc::default(),
            meters,
            details: recent.is_some().then(Details::default),
            recent,
            clock,
        }
    }

    /// Does what it is told until nobody is left to tell it anything.
    pub fn run(mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            match message {
                Message::Piece(piece, end) => self.take(*piece, end),
                Message::Joined(pid) => self.meters.join(pid),
                Message::Code(dso, address, answer) => {
                    let _ = answer.try_send(self.code(dso, address)); // who asked may have given up
                }
                Message::Write(path, window, remark) => {
                    let written = self.write(&path, &window);
                    let written = written.map(|message| message + remark);
                    let written = written.map_err(|error| error.in_one_line());
                    self.shared.lock().news.push_back(written);
                }
            }
        }
    }

    fn take(&mut self, mut piece: Piece, end: Option<End>) {
        if !piece.closed.is_empty() {
            self.symbolizer.forget(&piece.closed);
        }
        for (id, file) in piece.files.drain(..) {
            self.build_ids.extend(file.build_id.map(|it| (id, it)));
            self.symbolizer.keep(id, file);
        }
        for (pid, map) in piece.perf_maps.drain(..) {
            self.symbolizer.use_perf_map(pid, map);
        }
        self.symbolizer.use_told(&std::mem::take(&mut piece.told));
        for id in piece.written_over.drain(..) {
            self.symbolizer.refuse(id, Reason::FileReplaced);
        }
        for (pid, ancestors) in piece.ancestors.drain(..) {
            self.symbolizer.use_ancestors(pid, ancestors);
        }
        for (pid, mapping) in piece.generated.drain(..) {
            self.symbolizer.may_be_generated(pid, mapping);
        }
        if let Some(recent) = &mut self.recent
            && let Err(error) = recent.push(&mut piece)
        {
            let news = format!("records could not be kept for `w`: {error}");
            self.shared.lock().news.push_back(Err(news));
            self.recent = None;
        }
        self.dsos = Arc::clone(&piece.dsos);
        let names = self.names(&piece.profile, &piece);
        let details = self.details_of(&piece);
        let mut state = self.shared.lock();
        if state.facts.processes.len() > MOST_DETAILS {
            state.facts.processes.clear();
        }
        state.facts.processes.extend(details);
        let samples = Samples {
            profile: &piece.profile,
            names: &names,
            dsos: &piece.dsos,
            comms: &piece.comms,
            inline: true,
            process_name: &|pid| piece.processes.get(&pid).cloned(),
        };
        Intake::new(&mut state.history, samples).add(piece.span.clone(), piece.profile.samples());
        self.meters.read(&piece, end.is_some(), &mut state.facts);
        if let Some(end) = end {
            let (words, failure) = describe(end);
            state.facts.ended = words;
            state.failure = failure;
            state.ended = true;
        }
        state.version += 1;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// What is known of the processes that ran in this second.
    fn details_of(&mut self, piece: &Piece) -> Vec<(Pid, String)> {
        let Some(details) = &mut self.details else {
            return Vec::new();
        };
        let pids: BTreeSet<_> = piece.profile.samples().map(|(key, _)| key.pid).collect();
        let of_each = pids.into_iter().filter_map(|pid| {
            let name = piece.processes.get(&pid).map(ToString::to_string);
            Some((pid, details.of(pid, &name.unwrap_or_default())?))
        });
        of_each.collect()
    }

    fn code(&mut self, id: DsoId, address: u64) -> CodeAnswer {
        let dso = self.dsos.get(id);
        let symbolizer = &mut self.symbolizer;
        let found = symbolizer.resolve(id, dso, &[DsoAddr(address)]).pop();
        tui_source::code(found, |symbol| {
            symbolizer.code(id, dso, symbol, AsmSyntax::Att)
        })
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
            if matches!(dso.kind, DsoKind::Jit(_)) || symbolizer.has_generated(id) {
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

impl Namer {
    /// Writes a window as perf.data, with the names that were found.
    fn write(&self, path: &Path, window: &Range<u64>) -> Result<String, CliError> {
        let Some(recent) = &self.recent else {
            return Err(CliError::new("no records are kept"));
        };
        let written = recent.write(path, window)?;
        let mut by_dso: BTreeMap<DsoId, Vec<(DsoAddr, Resolution)>> = BTreeMap::new();
        for (&(id, addr), answer) in &self.known {
            let of_dso = by_dso.entry(id).or_default();
            of_dso.push((DsoAddr(addr), answer.clone()));
        }
        let mut stored = StoredNames::default();
        stored.callers_are_call_sites = true;
        for (id, names) in by_dso {
            let (addrs, answers): (Vec<_>, Vec<_>) = names.into_iter().unzip();
            let dso = Dso {
                build_id: self.build_ids.get(&id).copied(), // a path may not tell it
                ..self.dsos.get(id).clone()
            };
            stored.add(&dso, &addrs, &answers);
        }
        let samples = written.ends.samples();
        let event = &recent.events().events()[0];
        stored.counters.samples = samples;
        stored.counters.used_event = event.name.clone();
        stored.counters.frequency = event.attr.frequency().unwrap_or(0);
        stored.ends = written.ends;
        let mut features = features(recent.events(), self.clock)?;
        let build_ids = self.build_ids.iter().map(|(&id, &it)| (id, it));
        features.build_ids = stored_build_ids(build_ids, &self.dsos);
        written.output.finish(features, stored)?;
        let cut = match written.cut_at {
            Some(first) => {
                let seconds = window.end.saturating_sub(first) as f64 / 1e9;
                format!(", of the last {seconds:.0} s: older records are not kept")
            }
            None => String::new(),
        };
        let name = path.display();
        Ok(format!(
            "wrote {} samples to {name}{cut}",
            thousands(samples)
        ))
    }
}

fn describe(end: End) -> (Option<String>, Option<std::io::Error>) {
    match end {
        End::Ended(record::End::TargetExited) => (Some("EXITED".to_owned()), None),
        End::Ended(record::End::Command(status)) => {
            let status = status.code(); // as a shell shows it
            (Some(format!("EXITED with status {status}")), None)
        }
        End::Ended(record::End::Asked | record::End::TimeOver) => (None, None),
        End::Failed(error) => (Some(format!("SAMPLING FAILED: {error}")), Some(error)),
    }
}
