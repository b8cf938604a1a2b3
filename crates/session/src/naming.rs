//! Names for what a recording hit: its own where it has them, else those of this machine's files.
//!
//! In: addresses of DSOs. Out: names, inlined functions and lines, or why there are none. Elsewhere:
//! reading symbol tables and debug info (`prof-symbolizer`), names while recording ([`crate::record`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prof_event::abi::{flag, sample};
use prof_event::{Event, Tracker};
use prof_model::{
    BuildId, CpuMode, Dso, DsoAddr, DsoId, DsoKind, FunctionCode, KernelText, Mapping, Pid, Reason,
    Resolution, Symbol, SymbolSource, VirtAddr,
};
use prof_perfdata::{Features, Recording, StoredNames};
use prof_symbolizer::{AsmSyntax, NoCode, Request, RunningKernel, Symbolizer};

use crate::pipeline::Pipeline;
use crate::placing::Callers;
use crate::read_options::{InlinedFunctions, ReadOptions};

/// Names addresses of one recording.
pub struct Namer {
    symbolizer: Symbolizer,
    stored: Option<StoredNames>,
    raw_names: bool,
    /// Whether copies of the files that ran are given by hand.
    files_given: bool,
    /// Why kernel addresses must not be looked up here.
    no_kernel: Option<Reason>,
    /// Whether the kernel's own tables were given by hand.
    kernel_given: bool,
    /// Files without a build-id in the recording that gave names.
    unverified: BTreeSet<String>,
}

impl Namer {
    /// For a recording that was read into `pipeline`; with source lines if `lines`. `kernel` is what
    /// [`expected_kernel`] began to read.
    pub fn new(
        recording: &Recording,
        pipeline: &Pipeline,
        options: &ReadOptions,
        lines: bool,
        kernel: Option<RunningKernel>,
    ) -> Self {
        let features = recording.features();
        let given = options.vmlinux.clone();
        let given = given.or_else(|| options.kallsyms.clone());
        let build_id = kernel_build_id(features);
        let mut symbolizer = Symbolizer::new(prof_symbolizer::Options {
            inline: looks_for_inlined(recording, options),
            lines,
            demangle: options.demangle,
            symfs: options.symfs.clone(),
            is_foreign: pipeline.machine().is_foreign(),
            kernel_build_id: build_id,
            recorded: Some(recorded(features, pipeline, options)),
            kernel_text: kernel_text(&pipeline.tracker),
            kallsyms: given.clone(),
            kernel_release: features.os_release.clone(),
            ..prof_symbolizer::Options::default()
        });
        pipeline.give_files_to(&mut symbolizer);
        for (pid, mapping) in mapped_code(&pipeline.tracker) {
            symbolizer.runs_on(mapping.dso, pid, mapping.start, mapping.end);
        }
        if let Some(kernel) = kernel {
            symbolizer.expect_kernel(kernel);
        }
        Self {
            symbolizer,
            stored: recording.stored_names().cloned(),
            raw_names: !options.demangle,
            files_given: options.symfs.is_some(),
            no_kernel: no_kernel(features, &pipeline.tracker, build_id, given.as_ref()),
            kernel_given: given.is_some(),
            unverified: BTreeSet::new(),
        }
    }

    /// Names addresses of a DSO, in their order.
    pub fn resolve(&mut self, id: DsoId, dso: &Dso, addrs: &[DsoAddr]) -> Vec<Resolution> {
        let answers = self.resolve_all(&[Request { id, dso, addrs }]);
        answers.into_iter().next().unwrap_or_default()
    }

    /// Names addresses of several DSOs: `answers[i]` is for `requests[i]`, in the order of its
    /// addresses.
    pub fn resolve_all(&mut self, requests: &[Request<'_>]) -> Vec<Vec<Resolution>> {
        let mut answers = match self.stored {
            Some(_) => self.stored_or_found(requests),
            None => self.look_up(requests),
        };
        if self.raw_names {
            answers.iter_mut().flatten().for_each(use_raw_name);
        }
        answers
    }

    /// The recording's own names, and where it has none what is found here.
    fn stored_or_found(&mut self, requests: &[Request<'_>]) -> Vec<Vec<Resolution>> {
        let mut answers: Vec<Vec<Option<Resolution>>> = requests
            .iter()
            .map(|request| {
                let addrs = request.addrs.iter();
                addrs.map(|&addr| self.stored(request.dso, addr)).collect()
            })
            .collect();
        // What the recorder could not name may have found its debug file here. But what it saw written over is
        // known by a build-id alone: the inode is still the same.
        let is_missing = |answer: &Option<Resolution>| !matches!(answer, Some(it) if is_named(it));
        let is_gone = |answer: &Option<Resolution>| {
            matches!(answer, Some(Resolution::Unresolved(Reason::FileReplaced)))
        };
        let missing: Vec<Vec<DsoAddr>> = requests
            .iter()
            .zip(&answers)
            .map(|(request, answers)| {
                if self.is_inode_alone(request.dso) && answers.iter().any(is_gone) {
                    return Vec::new();
                }
                let both = request.addrs.iter().zip(answers);
                let missing = both.filter(|(_, answer)| is_missing(answer));
                missing.map(|(&addr, _)| addr).collect()
            })
            .collect();
        let again = requests.iter().zip(&missing);
        let again: Vec<_> = again
            .filter(|(_, missing)| !missing.is_empty())
            .map(|(&request, addrs)| Request { addrs, ..request })
            .collect();
        let mut found = self.look_up(&again).into_iter();
        for (answers, missing) in answers.iter_mut().zip(&missing) {
            if missing.is_empty() {
                continue;
            }
            let places: Vec<_> = answers.iter_mut().filter(|it| is_missing(it)).collect();
            for (place, found) in places.into_iter().zip(found.next().unwrap_or_default()) {
                if is_named(&found) || place.is_none() {
                    *place = Some(found); // else the recorder's reason stands
                }
            }
        }
        let unknown = Resolution::Unresolved(Reason::NoSymbol);
        let finish = |answer: Option<_>| answer.unwrap_or_else(|| unknown.clone());
        let answers = answers.into_iter();
        answers
            .map(|answers| answers.into_iter().map(finish).collect())
            .collect()
    }

    /// Whether nothing but its path and its inode tells which file a DSO is.
    fn is_inode_alone(&self, dso: &Dso) -> bool {
        dso.build_id.is_none() && !self.files_given
    }

    /// The kernel function at an address of the recorded kernel, and the offset in it.
    pub fn kernel_function(&mut self, tracker: &Tracker, addr: u64) -> Option<(String, u64)> {
        let mapping = tracker.kernel_mapping(VirtAddr(addr))?;
        let place = mapping.dso_addr(VirtAddr(addr));
        let dso = tracker.processes.dsos.get(mapping.dso);
        match self.resolve(mapping.dso, dso, &[place]).pop()? {
            Resolution::Named { symbol, .. } => {
                Some((symbol.name.to_string(), place.0.wrapping_sub(symbol.start)))
            }
            Resolution::Unresolved(_) => None,
        }
    }

    /// The instructions of a function, from the file that ran.
    ///
    /// # Errors
    /// Why they are not to be had.
    pub fn code(
        &mut self,
        id: DsoId,
        dso: &Dso,
        symbol: &Symbol,
        syntax: AsmSyntax,
    ) -> Result<FunctionCode, NoCode> {
        if let Some(reason) = self.no_kernel.filter(|_| dso.kind.is_kernel()) {
            return Err(NoCode::Kernel(vec![reason.describe().to_owned()]));
        }
        self.symbolizer.code(id, dso, symbol, syntax)
    }

    /// Files that gave names although nothing in the recording tells that they are the ones that
    /// ran.
    pub fn unverified(&self) -> impl Iterator<Item = &str> {
        self.unverified.iter().map(String::as_str)
    }

    fn stored(&self, dso: &Dso, addr: DsoAddr) -> Option<Resolution> {
        if dso.kind.is_kernel() && self.kernel_given {
            return None; // what was given by hand wins
        }
        self.stored.as_ref()?.resolve(dso, addr)
    }

    fn look_up(&mut self, requests: &[Request<'_>]) -> Vec<Vec<Resolution>> {
        let no_kernel = self.no_kernel;
        let forbidden = |dso: &Dso| {
            let is_kernel = matches!(dso.kind, DsoKind::Kernel | DsoKind::KernelModule);
            no_kernel.filter(|_| is_kernel)
        };
        let allowed = requests.iter().copied();
        let allowed: Vec<_> = allowed.filter(|it| forbidden(it.dso).is_none()).collect();
        let mut found = self.symbolizer.resolve_all(&allowed).into_iter();
        let mut answers = Vec::new();
        for Request { id, dso, addrs } in requests {
            if let Some(reason) = forbidden(dso) {
                answers.push(vec![Resolution::Unresolved(reason); addrs.len()]);
                continue;
            }
            let found = found.next().unwrap_or_default();
            let is_program = dso.kind == DsoKind::File && dso.jitdump().is_none();
            let is_certain = dso.build_id.is_some() || self.symbolizer.is_from_process(*id);
            if is_program && !is_certain && found.iter().any(is_from_file) {
                self.unverified.insert(dso.long_name().into_owned());
            }
            answers.push(found);
        }
        answers
    }
}

/// Of a recording that says more than this, files are not looked for in the processes that it has left.
const MOST_MAPPED: usize = 1 << 20;

/// The code that processes had mapped at the end of the recording, of those that may still run.
fn mapped_code(tracker: &Tracker) -> impl Iterator<Item = (Pid, &Mapping)> {
    let spaces = tracker.processes.spaces();
    let spaces = spaces.filter(|(pid, _)| Path::new(&format!("/proc/{pid}")).exists());
    let mapped = spaces.flat_map(|(pid, space)| space.iter().map(move |it| (pid, it)));
    let mapped = mapped.take(MOST_MAPPED);
    mapped.filter(|(_, mapping)| mapping.executable)
}

/// Begins to read the running kernel's symbols if the recording seems to need them.
pub fn expected_kernel(recording: &Recording, options: &ReadOptions) -> Option<RunningKernel> {
    let given = options.vmlinux.is_some() || options.kallsyms.is_some();
    let mut events = recording.events().events().iter();
    let samples_kernel = events.any(|event| !event.attr.has(flag::EXCLUDE_KERNEL));
    let is_needed = !given && samples_kernel && recording.stored_names().is_none();
    is_needed.then(RunningKernel::read_copy)
}

/// Whether debug info is asked for inlined functions.
fn looks_for_inlined(recording: &Recording, options: &ReadOptions) -> bool {
    let is_unwound = |event: &Event| {
        event.attr.sample_type & sample::STACK_USER != 0 || Callers::of(event) == Callers::CallSites
    };
    match options.inlined {
        InlinedFunctions::Nowhere => false,
        InlinedFunctions::Everywhere => true,
        InlinedFunctions::WhereUnwound => {
            let mut events = recording.events().events().iter();
            recording.stored_names().is_some() || events.any(is_unwound)
        }
    }
}

/// Whether it has a name that is more than the name of its module.
fn is_named(answer: &Resolution) -> bool {
    matches!(answer, Resolution::Named { .. })
}

/// Whether a file gave the name, rather than what a process says about the code that it generated.
fn is_from_file(answer: &Resolution) -> bool {
    matches!(answer, Resolution::Named { symbol, .. } if symbol.source != SymbolSource::PerfMap)
}

fn use_raw_name(answer: &mut Resolution) {
    if let Resolution::Named { symbol, .. } = answer
        && symbol.source != SymbolSource::Kallsyms
    {
        symbol.name = symbol.raw.clone();
    }
}

/// Why this machine's tables cannot name the recorded kernel's addresses, if they cannot.
fn no_kernel(
    features: &Features,
    tracker: &Tracker,
    build_id: Option<BuildId>,
    given: Option<&PathBuf>,
) -> Option<Reason> {
    if given.is_some() {
        return None;
    }
    if tracker.kernel_reference.is_none() {
        return Some(Reason::KernelRestricted); // no telling by how much the kernel was moved since
    }
    // A build-id is checked where the tables are loaded. Without one the release must do.
    let release = features.os_release.as_ref().filter(|_| build_id.is_none());
    let running = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    (release? != running.trim()).then_some(Reason::OtherKernel)
}

/// When the recording was over at the latest; long ago, if another machine made it: then no process
/// of this one was recorded.
fn recorded(features: &Features, pipeline: &Pipeline, options: &ReadOptions) -> SystemTime {
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_elsewhere = |host: &String| host != here.trim();
    if features.hostname.as_ref().is_some_and(is_elsewhere) {
        return SystemTime::UNIX_EPOCH;
    }
    let last_sample = features.sample_time.map_or(0, |(_, last)| last);
    if let Some(end) = wall_time(features, pipeline.last_time().max(last_sample)) {
        return end;
    }
    // Copying and unpacking the file make it look newer than it is.
    let file = std::fs::metadata(&options.path);
    let written = file.and_then(|file| file.modified());
    written.unwrap_or_else(|_| SystemTime::now())
}

/// What the wall clock showed at a time of the recording, if its clock is known.
pub fn wall_time(features: &Features, time: u64) -> Option<SystemTime> {
    let clock = features.clock.filter(|_| time != 0)?;
    let since = i64::try_from(i128::from(time) - i128::from(clock.clock_ns)).ok()?;
    let wall = clock.wall_ns.checked_add_signed(since)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(wall))
}

fn kernel_build_id(features: &Features) -> Option<BuildId> {
    let mut stored = features.build_ids.iter();
    let kernel = stored.find(|stored| stored.mode == CpuMode::Kernel)?;
    Some(kernel.build_id)
}

/// Where the recorded kernel's text lay: it may be elsewhere since the last boot.
fn kernel_text(tracker: &Tracker) -> Option<KernelText> {
    let processes = &tracker.processes;
    let (_, reference) = tracker.kernel_reference.clone()?;
    let mut mappings = processes.kernel.iter();
    let text = mappings.find(|mapping| processes.dsos.get(mapping.dso).kind == DsoKind::Kernel)?;
    Some(KernelText {
        start: text.start,
        end: text.end,
        reference,
    })
}
