use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime};

use prof_foreign_files::Writer;
use prof_model::{
    BuildId, Dso, DsoAddr, DsoId, DsoKind, FunctionCode, KernelText, Mapping, Pid, Reason,
    Resolution, Symbol, SymbolSource,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::AsmSyntax;
use crate::elf::same_build_id;
use crate::elf_code::ElfCode;
use crate::files::{FileFinder, FoundFile};
use crate::function_code::NoCode;
use crate::jit_dump::JitCode;
use crate::kallsyms::{KernelSymbols, RunningKernel, running_kernel_build_id};
use crate::kernel_code::{KernelCode, Recorded};
use crate::names::Names;
use crate::perf_map::{self, PerfMap};
use crate::told_code::{ToldCode, ToldName};

/// What to look up, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Inline frames from debug info.
    pub inline: bool,
    /// Source lines from debug info. With neither lines nor inline frames, debug info is read only
    /// for files without a symbol table.
    pub lines: bool,
    /// C++ and Rust names as in the source; else as in the symbol table.
    pub demangle: bool,
    /// Where copies of the recorded machine's files lie.
    pub symfs: Option<PathBuf>,
    /// Another architecture was recorded.
    pub is_foreign: bool,
    /// A copy of `/proc/kallsyms` to use instead of the running kernel's.
    /// Or the kernel's own file, `vmlinux`, which has its code, too.
    pub kallsyms: Option<PathBuf>,
    /// The memory of the running kernel, for its code: `/proc/kcore`, or a copy of it.
    pub kcore: PathBuf,
    /// `uname -r` of the recorded kernel: where its file may lie.
    pub kernel_release: Option<String>,
    /// The kernel that was recorded; `None` is taken for the one that runs.
    pub kernel_build_id: Option<BuildId>,
    /// When the recording was over, if it was made here: a perf map that came later is another
    /// process's. `None` for processes that run.
    pub recorded: Option<SystemTime>,
    /// Where the recorded kernel's text lay: a kernel may be moved at every boot.
    pub kernel_text: Option<KernelText>,
    /// What is not looked up by then has no name, for [`Reason::LeftOut`]; `None` if there is time.
    pub until: Option<Instant>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            inline: true,
            lines: true,
            demangle: true,
            symfs: None,
            is_foreign: false,
            kallsyms: None,
            kcore: PathBuf::from("/proc/kcore"),
            kernel_release: None,
            kernel_build_id: None,
            recorded: None,
            kernel_text: None,
            until: None,
        }
    }
}

/// Addresses of one DSO.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its id, the same on every call.
    pub id: DsoId,
    /// The DSO.
    pub dso: &'a Dso,
    /// What to name, in any order.
    pub addrs: &'a [DsoAddr],
}

/// More threads than this wait for memory rather than for CPUs.
const MOST_CPUS: usize = 8;

/// Names addresses. Every table is loaded once, when the first address that needs it is asked for.
#[derive(Debug)]
pub struct Symbolizer {
    source: Arc<FileSource>,
    names: Names,
    files: FxHashMap<DsoId, Result<Code, Reason>>,
    perf_maps: FxHashMap<Pid, PerfMap>,
    doubted: FxHashSet<Pid>,             // whose jitdumps are not believed
    told: FxHashMap<Pid, ToldCode>,      // by runtimes
    ancestors: FxHashMap<Pid, Vec<Pid>>, // whose perf maps tell of a process's code, too
    generated: FxHashMap<DsoId, BTreeSet<(Pid, Mapping)>>, // where processes had files that may be no programs
    running_kernel: RunningKernel,
    kernel: Option<Result<Kernel, Reason>>,
    kernel_code: KernelCode,
    patience: Duration, // so old are symbols of a kernel in which others are looked for
    options: Arc<Options>,
}

/// At so many places of running processes a file is looked for.
const MOST_PLACES: usize = 256;

impl Symbolizer {
    /// One that knows nothing yet.
    pub fn new(options: Options) -> Self {
        let options = Arc::new(options);
        Self {
            names: Names::new(options.demangle),
            source: Arc::new(FileSource {
                finder: FileFinder::new(options.symfs.clone()).foreign(options.is_foreign),
                options: Arc::clone(&options),
                kept: FxHashMap::default(),
                mapped: FxHashMap::default(),
            }),
            files: FxHashMap::default(),
            perf_maps: FxHashMap::default(),
            doubted: FxHashSet::default(),
            told: FxHashMap::default(),
            ancestors: FxHashMap::default(),
            generated: FxHashMap::default(),
            running_kernel: RunningKernel::default(),
            kernel: None,
            kernel_code: KernelCode::default(),
            patience: Duration::from_secs(1),
            options,
        }
    }

    /// Uses these symbols if the running kernel's are asked for, instead of reading them then. They are
    /// read again if code has been loaded since.
    pub fn expect_kernel(&mut self, symbols: RunningKernel) {
        self.running_kernel = symbols;
    }

    /// Uses `file` for a DSO instead of looking for it by its path: the recorder found it while its
    /// process was running.
    pub fn keep(&mut self, id: DsoId, file: FoundFile) {
        if matches!(self.files.get(&id), Some(Err(_) | Ok(Code::Jit(_)))) {
            self.files.remove(&id); // it was not there, or has grown
        }
        Arc::make_mut(&mut self.source).kept.insert(id, file);
    }

    /// A DSO has no names, for this reason: nothing that lies at its path is what ran.
    pub fn refuse(&mut self, id: DsoId, reason: Reason) {
        self.files.insert(id, Err(reason));
    }

    /// A process that was recorded has mapped a DSO at `start..end`: if it still runs, the file may be
    /// found there where its path leads to nothing. Of places of one DSO some hundred are looked at.
    pub fn runs_on(&mut self, id: DsoId, pid: Pid, start: u64, end: u64) {
        let mapped = &mut Arc::make_mut(&mut self.source).mapped;
        let places = mapped.entry(id).or_default();
        if places.len() < MOST_PLACES {
            places.push((pid, start, end));
        }
    }

    /// A process executed what `mapping` has of a file. If that turns out to be no program, it is code
    /// that the process generated, and the perf map of the process is asked.
    pub fn may_be_generated(&mut self, pid: Pid, mapping: Mapping) {
        let places = self.generated.entry(mapping.dso).or_default();
        places.insert((pid, mapping));
    }

    /// Whether a file's names may come from a perf map, which grows.
    pub fn has_generated(&self, id: DsoId) -> bool {
        self.generated.contains_key(&id) && !matches!(self.files.get(&id), Some(Ok(_)))
    }

    /// Whether names came from a file that was found through a process which had it mapped.
    pub fn is_from_process(&self, id: DsoId) -> bool {
        let code = self.files.get(&id);
        matches!(code, Some(Ok(Code::Elf(code))) if code.file().path.starts_with("/proc"))
    }

    /// Closes these files and forgets what was read of them, and what names were handed out.
    pub fn forget(&mut self, ids: &[DsoId]) {
        for id in ids {
            self.files.remove(id);
            Arc::make_mut(&mut self.source).kept.remove(id);
        }
        self.names = Names::new(self.source.options.demangle);
    }

    /// Uses `map` for the generated code of a process: it was opened while that was running.
    pub fn use_perf_map(&mut self, pid: Pid, map: PerfMap) {
        self.perf_maps.insert(pid, map);
    }

    /// These processes have jitdumps that are not believed.
    pub fn use_doubted(&mut self, pids: impl IntoIterator<Item = Pid>) {
        self.doubted.extend(pids);
    }

    /// A process was forked from these, nearest first, and has run no other program since: generated code
    /// that its own perf map does not know is from before, and named by the first of theirs that does.
    pub fn use_ancestors(&mut self, pid: Pid, ancestors: Vec<Pid>) {
        self.ancestors.insert(pid, ancestors);
    }

    /// Opens the perf map of a process that may exit before its names are asked for, or takes in what
    /// was added to it. Returns whether there is one.
    fn keep_perf_map(&mut self, pid: Pid) -> bool {
        let map = match self.perf_maps.entry(pid) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => {
                let recorded = self.source.options.recorded;
                let runs_since = |time| perf_map::is_running_since(pid, time);
                let writer = recorded
                    .is_none_or(runs_since)
                    .then(|| perf_map::writer_of(pid));
                let writer = writer.flatten(); // of a process that is gone nobody knows who it was
                let map = PerfMap::open(pid, writer.unwrap_or_else(Writer::ourselves));
                let is_its_own = |map: &PerfMap| {
                    recorded.is_none_or(|time| map.existed_before(time) || runs_since(time))
                };
                match map.filter(is_its_own) {
                    Some(map) => place.insert(map),
                    None => return false,
                }
            }
        };
        map.refresh(self.source.options.until);
        true
    }

    /// Names addresses of one DSO, in their order. `id` must stand for the same DSO on every call.
    pub fn resolve(&mut self, id: DsoId, dso: &Dso, addrs: &[DsoAddr]) -> Vec<Resolution> {
        if dso.kind.is_file_relative() {
            let mut job = self.file_job(0, Request { id, dso, addrs });
            job.run(&self.source, &mut self.names);
            self.files.extend(job.code.map(|code| (id, code)));
            let mut answers = job.answers;
            self.name_generated(id, addrs, &mut answers);
            return answers;
        }
        self.resolve_other(id, dso, addrs)
    }

    /// What is no file.
    fn resolve_other(&mut self, id: DsoId, dso: &Dso, addrs: &[DsoAddr]) -> Vec<Resolution> {
        match dso.kind {
            DsoKind::File | DsoKind::Vdso => self.resolve(id, dso, addrs),
            DsoKind::Jit(pid) => self.resolve_jit(pid, addrs),
            DsoKind::Memory => unresolved(addrs, Reason::NoPerfMap),
            DsoKind::Kernel | DsoKind::KernelModule => self.resolve_kernel(dso, addrs),
            DsoKind::KernelSymbol => {
                let symbol = self.kernel_symbol(dso);
                let resolve = |_| Resolution::Named {
                    symbol: symbol.clone(),
                    inlined: Vec::new(),
                    location: None,
                };
                addrs.iter().map(resolve).collect()
            }
        }
    }

    /// The instructions of a function, as [`Symbolizer::resolve`] names it, from the very file that
    /// ran.
    ///
    /// # Errors
    /// [`NoCode`]: it is no function of a file or of the kernel, or neither is to be had.
    pub fn code(
        &mut self,
        id: DsoId,
        dso: &Dso,
        symbol: &Symbol,
        syntax: AsmSyntax,
    ) -> Result<FunctionCode, NoCode> {
        if let Some(reason) = NoCode::of_kind(dso.kind) {
            return Err(reason);
        }
        if dso.kind.is_kernel() {
            let recorded = Recorded {
                options: &self.options,
                running: &self.running_kernel,
                dso,
            };
            let (code, names) = (&mut self.kernel_code, &mut self.names);
            return code.function(&recorded, symbol, syntax, names);
        }
        let code = self.files.entry(id);
        let code = code.or_insert_with(|| self.source.load(id, dso));
        let code = code.as_mut().map_err(|&mut reason| NoCode::File(reason))?;
        let symfs = self.source.options.symfs.as_deref();
        match code {
            Code::Elf(code) => code.function_code(symbol, syntax, symfs, &mut self.names),
            Code::Jit(code) => code.function_code(symbol, syntax, dso),
        }
    }

    /// As [`Symbolizer::resolve`] for each of several DSOs, on as many CPUs as there are:
    /// `answers[i]` is for `requests[i]`. No two requests are for one DSO.
    pub fn resolve_all(&mut self, requests: &[Request<'_>]) -> Vec<Vec<Resolution>> {
        let (files, others): (Vec<_>, Vec<_>) =
            (0..requests.len()).partition(|&index| requests[index].dso.kind.is_file_relative());
        let mut jobs: Vec<_> = files
            .iter()
            .map(|&index| self.file_job(index, requests[index]))
            .collect();
        jobs.sort_by_key(|job| job.request.addrs.len()); // the longest one is taken first
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let helpers = jobs.len().min(cpus.min(MOST_CPUS) - 1);
        let jobs = Mutex::new(jobs);
        let done = Mutex::new(Vec::new());
        let look_up_files = |source: &FileSource, names: &mut Names| loop {
            let Some(mut job) = lock(&jobs).pop() else {
                return;
            };
            job.run(source, names);
            lock(&done).push(job);
        };

        let mut answers = vec![Vec::new(); requests.len()];
        let source = Arc::clone(&self.source);
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                let help = || look_up_files(&source, &mut Names::new(source.options.demangle));
                let _ = Builder::new().spawn_scoped(scope, help); // without it there is no help
            }
            for index in others {
                let Request { id, dso, addrs } = requests[index];
                answers[index] = self.resolve_other(id, dso, addrs);
            }
            look_up_files(&source, &mut self.names);
        });
        for job in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.files
                .extend(job.code.map(|code| (job.request.id, code)));
            answers[job.index] = job.answers;
        }
        for (request, answers) in requests.iter().zip(&mut answers) {
            self.name_generated(request.id, request.addrs, answers);
        }
        answers
    }

    /// Names generated code from now on by what runtimes told, where there is no perf map. `names` are those since the last
    /// call, in the order of time.
    pub fn use_told(&mut self, names: &[ToldName]) {
        let mut of_process: FxHashMap<Pid, Vec<&ToldName>> = FxHashMap::default();
        for told in names {
            of_process.entry(told.pid).or_default().push(told);
        }
        for (pid, names) in of_process {
            self.told.entry(pid).or_default().add(&names);
        }
    }

    /// Names the code of a file that is no program, or is not to be had, from the perf maps of the
    /// processes that executed it: where several have a name, that of the lowest pid.
    fn name_generated(&mut self, id: DsoId, addrs: &[DsoAddr], answers: &mut [Resolution]) {
        if !self.has_generated(id) {
            return;
        }
        let places = self.generated.remove(&id).unwrap_or_default();
        let mut unnamed: Vec<usize> = (0..addrs.len())
            .filter(|&index| matches!(answers[index], Resolution::Unresolved(_)))
            .collect();
        for &(pid, mapping) in &places {
            let at = |index: usize| {
                let inside = addrs[index].0.checked_sub(mapping.dso_start)?;
                let at = DsoAddr(mapping.start.checked_add(inside)?);
                (at.0 < mapping.end).then_some((index, at))
            };
            let (asked, at): (Vec<_>, Vec<_>) =
                unnamed.iter().filter_map(|&index| at(index)).unzip();
            if asked.is_empty() {
                continue;
            }
            let found = self.resolve_jit(pid, &at);
            for ((index, at), mut found) in asked.into_iter().zip(at).zip(found) {
                if let Resolution::Named { symbol, .. } = &mut found {
                    let addr = addrs[index].0;
                    symbol.start = symbol.start.wrapping_sub(at.0).wrapping_add(addr);
                    answers[index] = found;
                }
            }
            unnamed.retain(|&index| matches!(answers[index], Resolution::Unresolved(_)));
        }
        self.generated.insert(id, places);
    }

    fn file_job<'a>(&mut self, index: usize, request: Request<'a>) -> FileJob<'a> {
        FileJob {
            index,
            code: self.files.remove(&request.id),
            request,
            answers: Vec::new(),
        }
    }

    /// By the process's own perf map, else what a runtime told, else the maps of those it was forked from.
    fn resolve_jit(&mut self, pid: Pid, addrs: &[DsoAddr]) -> Vec<Resolution> {
        let mut ancestors: Vec<_> = self
            .ancestors
            .get(&pid)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        ancestors.retain(|&pid| self.keep_perf_map(pid));
        let own = self.keep_perf_map(pid).then(|| &self.perf_maps[&pid]);
        let told = self.told.get(&pid);
        let ancestors: Vec<_> = ancestors.iter().map(|pid| &self.perf_maps[pid]).collect();
        let find = |addr: u64| {
            let in_map = |symbol| (symbol, SymbolSource::PerfMap);
            let in_own = || own?.find(addr).map(in_map);
            let told = || Some((told?.find(addr)?, SymbolSource::Runtime));
            let inherited = || ancestors.iter().find_map(|map| map.find(addr)).map(in_map);
            in_own().or_else(told).or_else(inherited)
        };
        let is_doubted =
            own.is_some_and(|map| map.doubt().is_some()) || self.doubted.contains(&pid);
        let is_cut = own.is_some_and(PerfMap::is_cut);
        let unknown = match (is_doubted, is_cut) {
            (true, _) => Reason::NotBelieved,
            (_, true) => Reason::LeftOut,
            _ => Reason::NoPerfMap,
        };
        let mut resolve = |addr: &DsoAddr| match find(addr.0) {
            Some((symbol, source)) => Resolution::Named {
                symbol: Symbol {
                    name: match source {
                        SymbolSource::Runtime => Arc::clone(&symbol.name),
                        _ => self.names.demangled(&symbol.name),
                    },
                    raw: Arc::clone(&symbol.name),
                    start: symbol.start,
                    size: symbol.size,
                    source,
                },
                inlined: Vec::new(),
                location: None,
            },
            None => Resolution::Unresolved(unknown),
        };
        addrs.iter().map(&mut resolve).collect()
    }

    fn resolve_kernel(&mut self, dso: &Dso, addrs: &[DsoAddr]) -> Vec<Resolution> {
        let answers = self.resolve_in_kernel(dso, addrs);
        let unknown = Resolution::Unresolved(Reason::NoSymbol);
        if answers.contains(&unknown) && self.read_kernel_again() {
            return self.resolve_in_kernel(dso, addrs);
        }
        answers
    }

    /// Reads the running kernel's symbols once more if those that are used were read a while ago, or
    /// are not all. Returns whether it has.
    fn read_kernel_again(&mut self) -> bool {
        let Some(Ok(kernel)) = &self.kernel else {
            return false;
        };
        if !kernel.symbols.is_text_only() {
            if !kernel.runs || self.running_kernel.age() < self.patience {
                return false;
            }
            self.patience *= 2; // some addresses have no symbol at any time
        }
        self.running_kernel = RunningKernel::default();
        self.kernel = None;
        true
    }

    fn resolve_in_kernel(&mut self, dso: &Dso, addrs: &[DsoAddr]) -> Vec<Resolution> {
        let running = &self.running_kernel;
        let kernel = match load_kernel(&mut self.kernel, running, &self.options, dso) {
            Ok(kernel) => kernel,
            Err(reason) => return unresolved(addrs, reason),
        };
        if kernel.moved_by != 0 && dso.kind == DsoKind::KernelModule {
            return unresolved(addrs, Reason::OtherKernel); // each module is moved by its own distance
        }
        let names = &mut self.names;
        let mut find = |addr: u64| {
            let found = kernel.symbols.find(addr.wrapping_add(kernel.moved_by))?;
            let name = names.plain(&found.name);
            Some(Symbol {
                raw: Arc::clone(&name),
                name,
                start: found.start.wrapping_sub(kernel.moved_by),
                size: found.size,
                source: SymbolSource::Kallsyms,
            })
        };
        let mut last: Option<Symbol> = None; // addresses that ascend come function by function
        let resolve = |&DsoAddr(addr)| {
            let covers = |it: &Symbol| addr.wrapping_sub(it.start) < it.size;
            if !last.as_ref().is_some_and(covers) {
                last = find(addr);
            }
            match &last {
                Some(symbol) => Resolution::Named {
                    symbol: symbol.clone(),
                    inlined: Vec::new(),
                    location: None,
                },
                None => Resolution::Unresolved(Reason::NoSymbol),
            }
        };
        addrs.iter().map(resolve).collect()
    }

    /// Such a DSO is one symbol, named by its record. Where it lies is known only while it is loaded:
    /// otherwise its start is 0 and its size covers everything.
    fn kernel_symbol(&mut self, dso: &Dso) -> Symbol {
        let name = self.names.plain(&dso.long_name());
        let mut loaded = self.place_in_kernel(dso, &name);
        let lacks_others = |kernel: &Kernel| kernel.symbols.is_text_only();
        if loaded.is_none()
            && matches!(&self.kernel, Some(Ok(kernel)) if lacks_others(kernel))
            && self.read_kernel_again()
        {
            loaded = self.place_in_kernel(dso, &name);
        }
        let (start, size) = loaded.unwrap_or((0, u64::MAX));
        Symbol {
            raw: Arc::clone(&name),
            name,
            start,
            size,
            source: SymbolSource::Kallsyms,
        }
    }

    /// Start and size of what has this name.
    fn place_in_kernel(&mut self, dso: &Dso, name: &str) -> Option<(u64, u64)> {
        let running = &self.running_kernel;
        let kernel = load_kernel(&mut self.kernel, running, &self.options, dso).ok()?;
        let symbol = kernel.symbols.find(kernel.symbols.address(name)?)?;
        Some((symbol.start, symbol.size))
    }
}

/// What names the addresses of a file.
#[derive(Debug)]
enum Code {
    Elf(Box<ElfCode>),
    Jit(JitCode),
}

impl Code {
    /// # Errors
    /// [`Reason::NoPerfMap`] of a file that is neither a program nor a jitdump: what is executed of it
    /// was generated.
    fn load(file: FoundFile, dso: &Dso, symfs: Option<&Path>) -> Result<Self, Reason> {
        if JitCode::is_dump(&file.image) {
            return Ok(Self::Jit(JitCode::load(&file.image)));
        }
        match file.is_elf() {
            true => Ok(Self::Elf(Box::new(ElfCode::load(file, dso, symfs)))),
            false => Err(Reason::NoPerfMap),
        }
    }
}

/// Where files come from, and what is wanted of them.
#[derive(Clone, Debug, Default)]
struct FileSource {
    options: Arc<Options>,
    finder: FileFinder,
    kept: FxHashMap<DsoId, FoundFile>,
    mapped: FxHashMap<DsoId, Vec<(Pid, u64, u64)>>, // where processes had it
}

impl FileSource {
    fn load(&self, id: DsoId, dso: &Dso) -> Result<Code, Reason> {
        let found = match self.kept.get(&id) {
            Some(file) => Ok(file.clone()),
            None => {
                let mapped = self.mapped.get(&id).into_iter().flatten();
                self.finder.open_recorded(dso, mapped.copied())
            }
        };
        Code::load(found?, dso, self.options.symfs.as_deref())
    }
}

/// A file's part of a look-up.
struct FileJob<'a> {
    index: usize, // among the requests
    request: Request<'a>,
    code: Option<Result<Code, Reason>>, // what is known of it, before and after
    answers: Vec<Resolution>,
}

impl FileJob<'_> {
    fn run(&mut self, source: &FileSource, names: &mut Names) {
        let options = &source.options;
        let Request { id, dso, addrs } = self.request;
        let is_over = || options.until.is_some_and(|until| until <= Instant::now());
        if is_over() {
            self.answers = unresolved(addrs, Reason::LeftOut);
            return;
        }
        let code = self.code.get_or_insert_with(|| source.load(id, dso));
        let resolve: &mut dyn FnMut(u64) -> Resolution = match code {
            Ok(Code::Elf(code)) => {
                code.prepare(addrs.iter().map(|addr| addr.0));
                let with_lines = options.inline || options.lines;
                &mut move |addr| code.resolve(addr, with_lines, names)
            }
            Ok(Code::Jit(code)) => &mut |addr| code.resolve(addr, names),
            Err(reason) => &mut |_| Resolution::Unresolved(*reason),
        };
        let resolve = |addr: &DsoAddr| {
            if is_over() {
                return Resolution::Unresolved(Reason::LeftOut);
            }
            let mut resolution = resolve(addr.0);
            if let Resolution::Named {
                inlined, location, ..
            } = &mut resolution
            {
                if !options.inline {
                    inlined.clear();
                }
                if !options.lines {
                    *location = None;
                    inlined.iter_mut().for_each(|frame| frame.location = None);
                }
            }
            resolution
        };
        self.answers = addrs.iter().map(resolve).collect();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel's symbols, and by how much it was moved since the recording.
#[derive(Debug)]
struct Kernel {
    symbols: Arc<KernelSymbols>,
    runs: bool,    // they are the running kernel's
    moved_by: u64, // wrapping
}

fn load_kernel<'a>(
    slot: &'a mut Option<Result<Kernel, Reason>>,
    running: &RunningKernel,
    options: &Options,
    dso: &Dso,
) -> Result<&'a Kernel, Reason> {
    let kernel = slot.get_or_insert_with(|| {
        let own_id = dso.build_id.filter(|_| dso.kind == DsoKind::Kernel);
        let recorded = options.kernel_build_id.or(own_id);
        let (symbols, runs) = kernel_symbols(options.kallsyms.as_deref(), recorded, running)?;
        let moved_by = options.kernel_text.as_ref().and_then(|recorded| {
            let now = symbols.address(&recorded.reference)?;
            Some(now.wrapping_sub(recorded.start))
        });
        Ok(Kernel {
            symbols,
            runs,
            moved_by: moved_by.unwrap_or(0),
        })
    });
    kernel.as_ref().map_err(|&reason| reason)
}

/// The symbols, and whether they are the running kernel's.
fn kernel_symbols(
    kallsyms: Option<&Path>,
    recorded: Option<BuildId>,
    running_kernel: &RunningKernel,
) -> Result<(Arc<KernelSymbols>, bool), Reason> {
    if let Some(path) = kallsyms {
        return Ok((Arc::new(KernelSymbols::read(path)?), false));
    }
    match (recorded, running_kernel_build_id()) {
        (Some(recorded), running)
            if !running.is_some_and(|running| same_build_id(running, recorded)) =>
        {
            let copied = KernelSymbols::of_other(recorded).map_err(|_| Reason::OtherKernel)?;
            Ok((Arc::new(copied), false))
        }
        _ => Ok((running_kernel.symbols()?, true)),
    }
}

fn unresolved(addrs: &[DsoAddr], reason: Reason) -> Vec<Resolution> {
    vec![Resolution::Unresolved(reason); addrs.len()]
}

#[cfg(test)]
mod tests {
    use prof_foreign_files::ForeignPath;

    use super::*;

    #[test]
    fn code_that_several_processes_executed_is_named_by_the_first_that_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = Dso {
            path: b"/nowhere/code (deleted)".to_vec(),
            kind: DsoKind::File,
            build_id: None,
            file: None,
        };
        let mut symbolizer = Symbolizer::new(Options::default());
        for pid in [7, 3, 9, 5, 8, 2, 6, 4] {
            let path = dir.path().join(pid.to_string());
            let known = match pid {
                5 => "5020 10 second_of_5\n",
                _ => "",
            };
            let start = pid as u64 * 0x1000;
            std::fs::write(&path, format!("{start:x} 10 first_of_{pid}\n{known}")).unwrap();
            let map = PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap();
            symbolizer.use_perf_map(Pid(pid), map);
            let mapping = Mapping {
                start,
                end: start + 0x100,
                dso_start: 0x40,
                dso: DsoId(0),
                executable: true,
            };
            symbolizer.may_be_generated(Pid(pid), mapping);
        }
        let addrs = [0x61, 0x41, 0x3f, 0x140, 0x4f].map(DsoAddr);
        let found = symbolizer.resolve(DsoId(0), &file, &addrs);
        let names = found.iter().map(|one| match one {
            Resolution::Named { symbol, .. } => Some((&*symbol.name, symbol.start)),
            Resolution::Unresolved(_) => None,
        });
        let first = Some(("first_of_2", 0x40));
        let expected = [Some(("second_of_5", 0x60)), first, None, None, first];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn code_is_named_by_the_nearest_map_among_those_of_a_process_and_whom_it_was_forked_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut symbolizer = Symbolizer::new(Options::default());
        for (pid, lines) in [
            (12, "100 10 own\n"),
            (10, "100 10 stale\n200 10 parents\n"),
            (9, "200 10 older\n300 10 grandparents\n"),
        ] {
            let path = dir.path().join(pid.to_string());
            std::fs::write(&path, lines).unwrap();
            symbolizer.use_perf_map(
                Pid(pid),
                PerfMap::open_at(ForeignPath::at(&path), Writer::ourselves()).unwrap(),
            );
        }
        symbolizer.use_ancestors(Pid(12), vec![Pid(10), Pid(9)]);
        let mut names = |pid| {
            let addrs = [0x100, 0x200, 0x300, 0x400].map(DsoAddr);
            let found = symbolizer.resolve(DsoId(0), &Dso::generated(Pid(pid)), &addrs);
            let names = found.iter().map(|one| match one {
                Resolution::Named { symbol, .. } => symbol.name.to_string(),
                Resolution::Unresolved(_) => "-".to_owned(),
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(12), ["own", "parents", "grandparents", "-"]);
        assert_eq!(names(10), ["stale", "parents", "-", "-"]);
    }

    #[test]
    fn old_symbols_of_the_running_kernel_are_read_again_if_they_lack_one() {
        let known_elsewhere = match RunningKernel::default().layout() {
            Ok(layout) => layout.text,
            Err(reason) => return println!("skipped: {}", reason.describe()),
        };
        let dso = Dso {
            path: b"[kernel.kallsyms]".to_vec(),
            kind: DsoKind::Kernel,
            build_id: None,
            file: None,
        };
        let start = DsoAddr(known_elsewhere.start);
        let resolve = |age| {
            let mut symbolizer = Symbolizer::new(Options::default());
            symbolizer.expect_kernel(RunningKernel::of_old(b"10 T early\n", age));
            symbolizer.resolve(DsoId(0), &dso, &[start])
        };
        let unknown = Resolution::Unresolved(Reason::NoSymbol);
        assert_eq!(resolve(Duration::ZERO), [unknown]);
        let found = resolve(Duration::from_secs(2));
        assert!(
            matches!(&found[..], [Resolution::Named { symbol, .. }] if symbol.start == start.0)
        );
    }
}
