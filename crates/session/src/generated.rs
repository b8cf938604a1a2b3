//! What JIT compilers tell about their code: perf maps and jitdumps.
//!
//! A perf map says which name an address has; it is asked when names are wanted. A jitdump says from
//! when on: its code is placed while samples are, each in its own part of the dump, so that memory
//! which is used again for other code does not mix up the two.
//!
//! A process that was forked has the code of the one that forked it, and both go on from there. What its
//! own maps and dumps do not know is looked for in those of its ancestors.

use std::fs::File;
use std::time::{Duration, Instant};

use prof_foreign_files::Writer;
use prof_hotspot::Told;
use prof_model::{
    Dso, DsoAddr, DsoId, DsoKind, DsoTable, JitLoad, Mapping, Pid, Reason, Resolution,
};
use prof_perfdata::StoredNames;
use prof_sampler::forked_from;
use prof_symbolizer::{
    FileFinder, FoundFile, JitDump, PerfMap, Request, Symbolizer, ToldName, writer_of,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::files::Origin;

/// More mappings of generated code than any program has that is not in trouble.
const MOST_FILES: usize = 1 << 16;
/// How often a perf map that is not there yet is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Servers fork once or twice before they work. Who forks without end is no server.
const MOST_ANCESTORS: usize = 16;

/// The generated code of the processes that samples hit.
pub struct GeneratedCode {
    finder: FileFinder,
    origin: Origin,
    kept: StoredNames, // what a recording kept of jitdumps
    dumps: FxHashMap<DsoId, JitDump>,
    /// The dumps of each process, and up to when they are its own: a fork has its parent's code.
    of_process: FxHashMap<Pid, Vec<(DsoId, u64)>>,
    maps: FxHashMap<Pid, Option<PerfMap>>, // `None`: not there yet
    maps_taken: FxHashSet<Pid>,
    writers: FxHashMap<Pid, Writer>, // who those write as whose code samples hit, and what they were forked from
    doubted: FxHashSet<Pid>,         // whose jitdumps are not believed
    told: Vec<ToldName>,             // by runtimes, since it was last taken
    forked_from: FxHashMap<Pid, Pid>, // by records; without those that have run another program since
    ancestors: FxHashMap<Pid, Ancestors>, // of those that samples hit
    looked: Option<Instant>,          // when for the maps that are not there yet
    files: FxHashSet<(Pid, Mapping)>, // executed, and no programs as far as is known
    new_files: Vec<(Pid, Mapping)>,   // those since they were last taken
    now: u64,                         // the time of the last sample
}

/// The perf map of a process, as far as there is one by now.
fn open_map(pid: Pid, writers: &FxHashMap<Pid, Writer>) -> Option<PerfMap> {
    let writer = writer_of(pid).or_else(|| writers.get(&pid).copied());
    PerfMap::open(pid, writer.unwrap_or_else(Writer::ourselves))
}

/// Where a process has the code from that it had when it was forked.
struct Ancestors {
    nearest_first: Vec<Pid>,
    /// It runs another program since. Unless a sample hits generated code of that, the process's code is
    /// that of before.
    have_gone: bool,
}

impl GeneratedCode {
    /// Of running processes.
    pub fn live() -> Self {
        Self::new(FileFinder::default(), Origin::Live)
    }

    /// Of a recording.
    pub fn stored(finder: FileFinder) -> Self {
        Self::new(finder, Origin::Recorded)
    }

    fn new(finder: FileFinder, origin: Origin) -> Self {
        Self {
            finder,
            origin,
            kept: StoredNames::default(),
            dumps: FxHashMap::default(),
            of_process: FxHashMap::default(),
            maps: FxHashMap::default(),
            maps_taken: FxHashSet::default(),
            writers: FxHashMap::default(),
            doubted: FxHashSet::default(),
            told: Vec::new(),
            forked_from: FxHashMap::default(),
            ancestors: FxHashMap::default(),
            looked: None,
            files: FxHashSet::default(),
            new_files: Vec::new(),
            now: 0,
        }
    }

    /// Uses what the recorder kept of jitdumps rather than the files, which may be gone.
    pub fn keep(&mut self, names: &StoredNames) {
        self.kept = names.only_loads();
    }

    /// A process has mapped a file: its jitdump, if it has the name of one. `monotonic` says whether
    /// times are of `CLOCK_MONOTONIC`.
    pub fn mapped(&mut self, pid: Pid, mapping: &Mapping, dso: &Dso, monotonic: bool) {
        if dso.jitdump().is_none() {
            return;
        }
        let id = mapping.dso;
        if !self.dumps.contains_key(&id) {
            let Some(dump) = self.open(pid, mapping, dso, monotonic) else {
                return;
            };
            self.dumps.insert(id, dump);
        }
        let own = self.of_process.entry(pid).or_default();
        own.retain(|&(known, _)| known != id);
        own.push((id, u64::MAX));
    }

    fn open(&mut self, pid: Pid, mapping: &Mapping, dso: &Dso, monotonic: bool) -> Option<JitDump> {
        if let Some(loads) = self.kept.loads(dso) {
            return Some(JitDump::from_loads(loads.to_vec(), monotonic));
        }
        let (start, end) = (mapping.start, mapping.end);
        let file: File = match self.origin {
            Origin::Live => self.finder.open_growing_live(pid, start, end, dso),
            Origin::Recorded => self.finder.open_growing_stored(dso),
        }?;
        let writer = match self.origin {
            Origin::Live => writer_of(pid),
            Origin::Recorded => None,
        };
        let writer = writer.unwrap_or_else(Writer::ourselves);
        if writer.doubt(&file.metadata().ok()?).is_some() {
            self.doubted.insert(pid);
            return None;
        }
        Some(JitDump::new(file, monotonic))
    }

    /// A process has forked: its child has the same code.
    pub fn forked(&mut self, parent: Pid, child: Pid) {
        self.forked_from.insert(child, parent);
        self.ancestors.remove(&child);
        match self.of_process.get(&parent) {
            Some(dumps) => {
                let until = |&(id, until): &(DsoId, u64)| (id, until.min(self.now));
                let dumps = dumps.iter().map(until).collect();
                self.of_process.insert(child, dumps);
            }
            None => drop(self.of_process.remove(&child)),
        }
    }

    /// A process runs another program.
    pub fn executed(&mut self, pid: Pid) {
        self.of_process.remove(&pid);
        self.forked_from.remove(&pid);
        if let Some(ancestors) = self.ancestors.get_mut(&pid) {
            ancestors.have_gone = true;
        }
    }

    /// Where in a jitdump the code lies that was at `addr` at a time.
    pub fn find(&mut self, pid: Pid, addr: u64, time: Option<u64>) -> Option<(DsoId, DsoAddr)> {
        let own = self.of_process.get(&pid)?;
        let time = time.unwrap_or(u64::MAX);
        if time != u64::MAX {
            self.now = self.now.max(time);
        }
        // Those that were mapped last are its own, the first ones perhaps its parent's.
        own.iter().rev().find_map(|(id, until)| {
            let load = self.dumps.get_mut(id)?.find(addr, time)?;
            (load.time <= *until).then(|| (*id, load.place(addr)))
        })
    }

    /// Samples hit generated code of a process. If it runs, its perf map is opened before it may be gone, and
    /// those of its ancestors.
    pub fn hit(&mut self, pid: Pid) {
        if let Some(ancestors) = self.ancestors.get(&pid)
            && !ancestors.have_gone
        {
            return;
        }
        let nearest_first = self.find_ancestors(pid);
        if self.origin == Origin::Live {
            let heir = writer_of(pid).unwrap_or_else(Writer::ourselves);
            for &pid in [&pid].into_iter().chain(&nearest_first) {
                self.writers.insert(pid, writer_of(pid).unwrap_or(heir));
                if !self.maps_taken.contains(&pid) && !self.maps.contains_key(&pid) {
                    self.maps.insert(pid, open_map(pid, &self.writers));
                }
            }
        }
        let ancestors = Ancestors {
            nearest_first,
            have_gone: false,
        };
        self.ancestors.insert(pid, ancestors);
    }

    /// The processes that a process was forked from, nearest first, with no other program run in between: as
    /// records tell, else as running processes show.
    fn find_ancestors(&self, pid: Pid) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut last = pid;
        while found.len() < MOST_ANCESTORS {
            let told = self.forked_from.get(&last).copied();
            let seen = || match self.origin {
                Origin::Live => forked_from(last),
                Origin::Recorded => None,
            };
            match told.or_else(seen) {
                Some(parent) if parent != pid && !found.contains(&parent) => last = parent,
                _ => break, // numbers are given again
            }
            found.push(last);
        }
        found
    }

    /// The processes whose generated code samples hit, each with those that it was forked from, nearest
    /// first.
    pub fn ancestors(&self) -> impl Iterator<Item = (Pid, &[Pid])> {
        let all = self.ancestors.iter();
        all.map(|(&pid, ancestors)| (pid, &ancestors.nearest_first[..]))
    }

    /// A runtime has told what the code is called that a sample hit.
    pub(crate) fn told(&mut self, pid: Pid, told: Told) {
        let Told { addr, code, name } = told;
        self.told.push(ToldName {
            pid,
            addr,
            code,
            name,
        });
    }

    /// What runtimes told since the last call, in the order of time.
    pub fn take_told(&mut self) -> Vec<ToldName> {
        std::mem::take(&mut self.told)
    }

    /// Takes back names that nobody used.
    pub fn put_back_told(&mut self, names: Vec<ToldName>) {
        self.told.splice(0..0, names);
    }

    /// Samples hit a file that is no program as far as is known, and so perhaps generated code.
    pub(crate) fn hit_file(&mut self, pid: Pid, mapping: &Mapping) {
        if self.files.len() < MOST_FILES && self.files.insert((pid, *mapping)) {
            self.new_files.push((pid, *mapping));
        }
        self.hit(pid);
    }

    /// Which processes executed files that are perhaps generated code, and where these were mapped.
    pub fn files(&self) -> impl Iterator<Item = (Pid, Mapping)> {
        self.files.iter().copied()
    }

    /// Those of [`Self::files`] that are new since the last call.
    pub fn take_files(&mut self) -> Vec<(Pid, Mapping)> {
        std::mem::take(&mut self.new_files)
    }

    /// Takes back files that nobody used.
    pub fn put_back_files(&mut self, files: Vec<(Pid, Mapping)>) {
        self.new_files.extend(files);
    }

    /// A process has ended. What it told until then is kept.
    pub fn exited(&mut self, pid: Pid) {
        if let Some(map @ None) = self.maps.get_mut(&pid) {
            // Its number is still its own until somebody has waited for it.
            *map = open_map(pid, &self.writers);
            if map.is_none() {
                self.maps.remove(&pid);
            }
        }
    }

    /// Forgets a process that ended long ago: its number may be another one's by now.
    pub fn forget(&mut self, pid: Pid) {
        self.maps.remove(&pid);
        self.maps_taken.remove(&pid);
        self.writers.remove(&pid);
        self.doubted.remove(&pid);
        self.of_process.remove(&pid);
        self.forked_from.remove(&pid);
        self.ancestors.remove(&pid);
        self.files.retain(|&(of, _)| of != pid);
    }

    /// Takes in what was told since the last call: what dumps have got, and from time to time perf maps
    /// that were not there yet.
    pub fn refresh(&mut self) {
        for dump in self.dumps.values_mut() {
            dump.refresh();
        }
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.look_for_maps();
        }
    }

    /// Opens the perf maps that are there by now: some are written only when somebody asks.
    pub fn look_for_maps(&mut self) {
        self.looked = Some(Instant::now());
        for (&pid, map) in &mut self.maps {
            if map.is_none() {
                *map = open_map(pid, &self.writers);
            }
        }
    }

    /// The perf maps that were opened since the last call, to be read when names are wanted.
    pub fn take_maps(&mut self) -> Vec<(Pid, PerfMap)> {
        let mut taken = Vec::new();
        self.maps.retain(|&pid, map| {
            taken.extend(map.take().map(|map| (pid, map)));
            taken.last().is_none_or(|(last, _)| *last != pid)
        });
        self.maps_taken.extend(taken.iter().map(|(pid, _)| *pid));
        taken
    }

    /// Takes back perf maps that nobody used.
    pub fn put_back_maps(&mut self, maps: Vec<(Pid, PerfMap)>) {
        for (pid, map) in maps {
            self.maps_taken.remove(&pid);
            self.maps.insert(pid, Some(map));
        }
    }

    /// The jitdumps, as files to look up names in.
    pub fn dumps(&self) -> impl Iterator<Item = (DsoId, FoundFile)> {
        let dumps = self.dumps.iter();
        dumps.filter_map(|(&id, dump)| Some((id, dump.found()?)))
    }

    /// The processes whose jitdumps somebody else may have written.
    pub fn doubted(&self) -> impl Iterator<Item = Pid> {
        self.doubted.iter().copied()
    }

    /// Whether that is a jitdump.
    pub fn is_dump(&self, id: DsoId) -> bool {
        self.dumps.contains_key(&id)
    }

    /// The jitdumps whose times cannot be compared with those of the samples.
    pub fn unordered<'a>(&'a self, dsos: &'a DsoTable) -> impl Iterator<Item = &'a Dso> {
        let dumps = self.dumps.iter().filter(|(_, dump)| !dump.is_ordered());
        dumps.map(|(id, _)| dsos.get(*id))
    }

    /// What a live recording found, seen from its end: many compilers write their dump late. Names
    /// what is certain by now, takes back what is not, and stores what a reader needs to tell all.
    pub fn settle(
        &mut self,
        requests: &[Request<'_>],
        answers: &mut [Vec<Resolution>],
        dsos: &DsoTable,
        symbolizer: &mut Symbolizer,
        stored: &mut StoredNames,
    ) {
        let ids: FxHashSet<DsoId> = self.dumps.keys().copied().collect();
        for id in ids {
            let hit = self.hit_addresses(id, requests);
            let dump = &self.dumps[&id];
            let mut loads = Vec::new();
            let mut places = Vec::new();
            for load in dump.loads() {
                let range = load.range();
                let first = hit.partition_point(|&addr| addr < range.start);
                let covered = hit[first..].iter().take_while(|&&addr| addr < range.end);
                let before = places.len();
                places.extend(covered.map(|&addr| load.place(addr)));
                if places.len() > before {
                    loads.push(*load);
                }
            }
            places.sort_unstable();
            places.dedup();
            if !loads.is_empty() {
                let found = symbolizer.resolve(id, dsos.get(id), &places);
                stored.add(dsos.get(id), &places, &found);
                stored.add_loads(dsos.get(id), loads);
            }
        }
        for (request, answers) in requests.iter().zip(answers) {
            for (&addr, answer) in request.addrs.iter().zip(answers) {
                match (request.dso.kind, &answer) {
                    (DsoKind::Jit(pid), Resolution::Unresolved(_)) => {
                        if let Some(name) = self.only_name(pid, addr.0, dsos, symbolizer) {
                            *answer = name;
                        }
                    }
                    (DsoKind::File, _) => {
                        let dump = self.dumps.get(&request.id);
                        if dump.is_some_and(|dump| dump.is_doubtful(addr)) {
                            *answer = Resolution::Unresolved(Reason::NoPerfMap);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The addresses at which samples hit code that a dump may have announced, ascending.
    fn hit_addresses(&self, id: DsoId, requests: &[Request<'_>]) -> Vec<u64> {
        let loads = self.dumps[&id].loads();
        let mut hit = Vec::new();
        for request in requests {
            let owns = |pid: Pid| {
                let own = self.of_process.get(&pid).into_iter().flatten();
                own.into_iter().any(|(own, _)| *own == id)
            };
            match request.dso.kind {
                DsoKind::Jit(pid) if owns(pid) => {
                    hit.extend(request.addrs.iter().map(|addr| addr.0));
                }
                _ if request.id == id => {
                    let of = |load: &JitLoad| {
                        let addrs = request.addrs.iter();
                        addrs
                            .filter_map(|&addr| load.address(addr))
                            .collect::<Vec<_>>()
                    };
                    hit.extend(loads.iter().flat_map(of));
                }
                _ => {}
            }
        }
        hit.sort_unstable();
        hit.dedup();
        hit
    }

    fn only_name(
        &mut self,
        pid: Pid,
        addr: u64,
        dsos: &DsoTable,
        symbolizer: &mut Symbolizer,
    ) -> Option<Resolution> {
        let own = self.of_process.get(&pid)?;
        let mut found = own.iter().rev().filter_map(|(id, _)| {
            let load = self.dumps.get_mut(id)?.only(addr)?;
            symbolizer
                .resolve(*id, dsos.get(*id), &[load.place(addr)])
                .pop()
        });
        found.next()
    }
}
