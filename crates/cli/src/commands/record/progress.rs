//! The line on the terminal while recording.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use prof_model::{Dso, DsoAddr, DsoId, Resolution, printable};
use prof_session::record::{FileDestination, Recorder};
use prof_symbolizer::{FoundFile, Options, RunningKernel, Symbolizer};

use crate::units::thousands;

const EVERY: Duration = Duration::from_millis(250);
/// So many of the heaviest addresses are named to find the hottest function.
const ADDRESSES: usize = 64;

/// Draws `3.2s/10s  samples 3,214  lost 0  hottest: parse 41%`, on a terminal only.
pub struct Progress {
    started: Instant,
    total: Option<Duration>,
    drawn: Option<Instant>,
    on: bool,
    namer: Namer,
    hottest: String,
}

impl Progress {
    /// Starts the clock. Nothing is ever drawn if it is not `wanted`.
    pub fn new(total: Option<Duration>, wanted: bool, kernel: RunningKernel) -> Self {
        Self {
            started: Instant::now(),
            total,
            drawn: None,
            on: wanted && std::io::stderr().is_terminal(),
            namer: Namer::start(kernel),
            hottest: String::new(),
        }
    }

    /// Draws if it is time to.
    pub fn update(&mut self, recorder: &Recorder<FileDestination>) {
        if !self.on || self.drawn.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        if let Some(hottest) = self.namer.ask(recorder) {
            self.hottest = hottest;
        }
        let elapsed = self.started.elapsed().as_secs_f64();
        let total = match self.total {
            Some(total) => format!("/{}s", total.as_secs_f64()),
            None => String::new(),
        };
        let mut line = format!(
            "{elapsed:.1}s{total}  samples {}  lost {}",
            thousands(recorder.samples()),
            thousands(recorder.lost())
        );
        if !self.hottest.is_empty() {
            line.push_str("  hottest: ");
            line.push_str(&self.hottest);
        }
        let line: String = printable(&line).chars().take(79).collect();
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
    }

    /// Says what is being done after sampling.
    pub fn say(&self, what: &str) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r{what}\x1b[K");
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Finds names in a thread of its own: reading symbol tables must not keep the rings waiting.
struct Namer {
    questions: Sender<Vec<Hit>>,
    answers: Receiver<String>,
    busy: bool,
}

struct Hit {
    id: DsoId,
    dso: Dso,
    file: Option<FoundFile>,
    addr: DsoAddr,
    weight: u64,
}

impl Namer {
    fn start(kernel: RunningKernel) -> Self {
        let (questions, asked) = channel::<Vec<Hit>>();
        let (answer, answers) = channel();
        let name_all = move || {
            let mut symbolizer = Symbolizer::new(Options {
                inline: false,
                lines: false,
                ..Options::default()
            });
            symbolizer.expect_kernel(kernel);
            for hits in asked {
                if answer.send(hottest(&mut symbolizer, hits)).is_err() {
                    return;
                }
            }
        };
        // Without the thread there is no name on the line, that is all.
        let _ = std::thread::Builder::new()
            .name("prof-namer".to_owned())
            .spawn(name_all);
        Self {
            questions,
            answers,
            busy: false,
        }
    }

    /// The last answer, if a new one is there; asks again.
    fn ask(&mut self, recorder: &Recorder<FileDestination>) -> Option<String> {
        let answer = self.answers.try_recv().ok();
        if answer.is_some() {
            self.busy = false;
        }
        if !self.busy && recorder.samples() > 0 {
            self.busy = self.questions.send(heaviest(recorder)).is_ok();
        }
        answer
    }
}

fn heaviest(recorder: &Recorder<FileDestination>) -> Vec<Hit> {
    let profile = &recorder.pipeline.profile;
    let mut weights = HashMap::new();
    for (key, weight) in profile.samples() {
        if let Some(leaf) = profile.stacks().frames(key.stack).next() {
            *weights.entry(leaf).or_insert(0) += weight.samples;
        }
    }
    let mut weights: Vec<_> = weights.into_iter().collect();
    weights.sort_by_key(|&(frame, weight)| (std::cmp::Reverse(weight), frame));
    weights.truncate(ADDRESSES);
    let files: HashMap<_, _> = recorder.pipeline.files.opened().collect();
    let dsos = &recorder.pipeline.tracker.processes.dsos;
    let hits = weights.into_iter().filter_map(|(frame, weight)| {
        let key = profile.frame(frame);
        let id = key.dso?;
        Some(Hit {
            id,
            dso: dsos.get(id).clone(),
            file: files.get(&id).copied().cloned(),
            addr: DsoAddr(key.lookup),
            weight,
        })
    });
    hits.collect()
}

fn hottest(symbolizer: &mut Symbolizer, hits: Vec<Hit>) -> String {
    let mut by_name = HashMap::new();
    for hit in hits {
        if let Some(file) = hit.file {
            symbolizer.keep(hit.id, file);
        }
        let resolved = symbolizer.resolve(hit.id, &hit.dso, &[hit.addr]).pop();
        if let Some(Resolution::Named { symbol, .. }) = resolved {
            *by_name.entry(symbol.name).or_insert(0) += hit.weight;
        }
    }
    let hottest = by_name
        .into_iter()
        .max_by_key(|(name, weight)| (*weight, name.clone()));
    hottest.map_or_else(String::new, |(name, _)| name.to_string())
}
