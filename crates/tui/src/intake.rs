use std::ops::Range;
use std::sync::Arc;

use prof_model::{
    ChainEnd, CommTable, Dso, DsoId, DsoKind, DsoTable, Pid, Resolution, SymbolSource,
};
use prof_profile::{FrameId, FrameKey, Names, Profile, SampleKey, StackId, Weight};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::function::Spot;
use crate::history::{Entry, EntryKey, Slice, merge};
use crate::tables::ROOT;
use crate::{Function, History, Kind, Line, Process, Thread};

/// A profile, and what its numbers mean.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    /// Stacks and frames.
    pub profile: &'a Profile,
    /// What its frames are called.
    pub names: &'a Names,
    /// What [`FrameKey::dso`] refers to.
    pub dsos: &'a DsoTable,
    /// What [`SampleKey::comm`] refers to.
    pub comms: &'a CommTable,
    /// Whether inlined functions count as functions.
    pub inline: bool,
    /// The name of a process.
    pub process_name: &'a dyn Fn(Pid) -> Option<String>,
}

/// Takes samples of one profile into a history. Each frame and each stack is translated once.
pub struct Intake<'a> {
    history: &'a mut History,
    samples: Samples<'a>,
    modules: FxHashMap<Option<DsoId>, Arc<str>>,
    go_modules: FxHashSet<Option<DsoId>>,
    frames: Vec<Option<Place>>,
    functions: Vec<u32>, // of all places, one place after the other
    stacks: FxHashMap<(StackId, bool), u32>, // with whether frames are missing at its root
    threads: FxHashMap<SampleKey, u32>, // of which only process, thread and name are set
}

/// The functions of a frame, and which instruction it is.
#[derive(Clone, Copy)]
struct Place {
    first: u32, // in Intake::functions, innermost first
    end: u32,
    spot: u32,
}

impl<'a> Intake<'a> {
    /// Begins with a profile.
    pub fn new(history: &'a mut History, samples: Samples<'a>) -> Self {
        let mut intake = Self {
            history,
            samples,
            modules: FxHashMap::default(),
            go_modules: FxHashSet::default(),
            frames: vec![None; samples.profile.frames().len()],
            functions: Vec::new(),
            stacks: FxHashMap::default(),
            threads: FxHashMap::default(),
        };
        intake.find_go();
        intake
    }

    /// Adds the samples of a stretch of time, which must not be earlier than those before.
    pub fn add(&mut self, span: Range<u64>, samples: impl Iterator<Item = (SampleKey, Weight)>) {
        let (mut whole, mut known) = (0, 0);
        let entries = samples.map(|(key, weight)| {
            if !matches!(key.end, ChainEnd::NoUserState | ChainEnd::Unknown) {
                known += weight.samples;
                whole += weight.samples * u64::from(key.end == ChainEnd::Root);
            }
            let innermost = self.samples.profile.stacks().frames(key.stack).next();
            Entry {
                key: EntryKey {
                    event: key.event,
                    thread: self.thread(&key),
                    stack: self.stack(key.stack, key.end.is_cut()),
                    spot: innermost.map_or(u32::MAX, |frame| self.place(frame).spot),
                },
                samples: u32::try_from(weight.samples).unwrap_or(u32::MAX),
                period: weight.period,
            }
        });
        let entries = merge(entries.collect());
        self.history.push(Slice {
            span,
            entries: entries.into(),
            whole,
            known,
        });
        if self.history.is_live() {
            // the history may have numbered its tables anew
            self.frames.iter_mut().for_each(|frame| *frame = None);
            self.functions.clear();
            self.stacks.clear();
            self.threads.clear();
        }
    }

    /// Notes the modules that hold Go code: nothing else has names like `runtime.goexit`.
    fn find_go(&mut self) {
        for (frame, key) in self.samples.profile.frames() {
            if let Resolution::Named { symbol, .. } = self.samples.names.get(frame)
                && (symbol.source == SymbolSource::GoPclntab || symbol.name.starts_with("runtime."))
            {
                self.go_modules.insert(key.dso);
            }
        }
    }

    fn thread(&mut self, key: &SampleKey) -> u32 {
        let short = SampleKey {
            event: 0,
            cpu: None,
            stack: StackId::ROOT,
            end: ChainEnd::Root,
            ..*key
        };
        if let Some(&id) = self.threads.get(&short) {
            return id;
        }
        let name = match key.comm {
            Some(comm) => printable(&self.samples.comms.display(comm)),
            None => Arc::from(format!(":{}", key.tid)),
        };
        let process = (self.samples.process_name)(key.pid);
        let process = Process {
            pid: key.pid,
            name: process.map_or_else(|| Arc::clone(&name), |name| printable(&name)),
        };
        let thread = Thread {
            pid: key.pid,
            tid: key.tid,
            name,
        };
        let id = self.history.tables.thread(thread, process);
        self.threads.insert(short, id);
        id
    }

    fn stack(&mut self, stack: StackId, cut: bool) -> u32 {
        if let Some(&known) = self.stacks.get(&(stack, cut)) {
            return known;
        }
        let profile = self.samples.profile;
        let (callers, inner) = profile.stacks().parts(stack);
        let mut unknown = Vec::new();
        let mut at = callers;
        let mut id = loop {
            if let Some(&known) = self.stacks.get(&(at, cut)) {
                break known;
            }
            let Some((frame, callers)) = profile.stacks().split(at) else {
                break if cut { self.truncated() } else { ROOT };
            };
            unknown.push((at, frame));
            at = callers;
        };
        for (at, frame) in unknown.into_iter().rev() {
            id = self.push(id, frame);
            self.stacks.insert((at, cut), id);
        }
        let inner: Vec<FrameId> = profile.stacks().frames(inner).collect();
        for frame in inner.into_iter().rev() {
            id = self.push(id, frame);
        }
        self.stacks.insert((stack, cut), id);
        id
    }

    /// The history's stack in which `callers` have called into a frame.
    fn push(&mut self, callers: u32, frame: FrameId) -> u32 {
        let place = self.place(frame);
        let functions = (place.first..place.end).rev();
        functions.fold(callers, |id, index| {
            let function = self.functions[index as usize];
            self.history.tables.push(id, function)
        })
    }

    /// Stands below the outermost frame that was found, so that it does not look like the root.
    fn truncated(&mut self) -> u32 {
        let tables = &mut self.history.tables;
        let function = tables.function(&Arc::new(Function {
            name: Arc::from("[truncated]"),
            module: Arc::from(""),
            kind: Kind::Missing,
        }));
        tables.push(ROOT, function)
    }

    fn place(&mut self, frame: FrameId) -> Place {
        if let Some(place) = self.frames[frame.index()] {
            return place;
        }
        let place = self.translate(frame);
        self.frames[frame.index()] = Some(place);
        place
    }

    fn translate(&mut self, frame: FrameId) -> Place {
        let Samples {
            profile,
            names,
            inline,
            ..
        } = self.samples;
        let key = *profile.frame(frame);
        let module = self.module(key.dso);
        let mut functions = Vec::new();
        let mut at = Line::Address(key.lookup);
        let mut found = None; // the innermost line
        match names.get(frame) {
            Resolution::Named {
                symbol,
                inlined,
                location,
            } => {
                let locations = inlined.iter().map(|copy| copy.location.as_ref());
                found = locations.chain([location.as_ref()]).next().flatten();
                for copy in inlined.iter().filter(|_| inline) {
                    functions.push((printable(&copy.name), Kind::Inlined));
                }
                let kind = self.kind(&key, &symbol.name, symbol.source);
                functions.push((printable(&symbol.name), kind));
            }
            Resolution::Unresolved(reason) => {
                let name = format!("[{}]", reason.describe());
                functions.push((Arc::from(name), Kind::Unnamed));
            }
        }
        if let Some(location) = found {
            at = Line::Source {
                file: printable(&location.file),
                line: location.line,
            };
        }
        let tables = &mut self.history.tables;
        let first = self.functions.len() as u32;
        self.functions
            .extend(functions.into_iter().map(|(name, kind)| {
                let module = Arc::clone(&module);
                tables.function(&Arc::new(Function { name, module, kind }))
            }));
        Place {
            first,
            end: self.functions.len() as u32,
            spot: tables.spots.share(&Arc::new(Spot {
                line: at,
                dso: key.dso,
                address: key.lookup,
            })),
        }
    }

    fn kind(&self, key: &FrameKey, name: &str, source: SymbolSource) -> Kind {
        use prof_model::CpuMode;
        let dso = key.dso.map(|dso| self.samples.dsos.get(dso).kind);
        match (dso, key.mode) {
            (Some(DsoKind::Jit(_)), _) => Kind::Jit,
            (_, CpuMode::Kernel | CpuMode::GuestKernel | CpuMode::Hypervisor) => Kind::Kernel,
            _ if source == SymbolSource::GoPclntab => Kind::Go,
            // C functions that were linked into a Go program have no package
            _ if self.go_modules.contains(&key.dso) && name.contains('.') => Kind::Go,
            _ => Kind::Native,
        }
    }

    fn module(&mut self, dso: Option<DsoId>) -> Arc<str> {
        let dsos = self.samples.dsos;
        let module = self.modules.entry(dso).or_insert_with(|| match dso {
            Some(dso) => match dsos.get(dso) {
                Dso {
                    kind: DsoKind::Kernel,
                    ..
                } => Arc::from("[kernel]"), // as perf top has it: columns are few
                dso => printable(&dso.common_name()),
            },
            None => Arc::from("[unknown]"),
        });
        Arc::clone(module)
    }
}

/// A name as it can be shown.
fn printable(name: &str) -> Arc<str> {
    Arc::from(prof_model::printable(name))
}
