//! Where the time goes: a few functions with their callers, and what kinds of work it is.
//!
//! In: a profile and its names. Out: [`HotPaths`]. Elsewhere: which functions are chosen (`path_tree.rs`), how much
//! fits on a line (`hot_path_text.rs`).

use std::collections::BTreeMap;

use prof_model::{CpuMode, DsoKind, Pid, Resolution};
use prof_profile::{FrameId, Names, Profile, SampleKey};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::Places;
use crate::filter::comm_label;
use crate::folded::in_brackets;
use crate::idle::is_idle;
use crate::known_functions::{WorkKind, is_library, is_passing, package};
use crate::path_tree::{Chosen, PathFrame, PathTree};
use crate::text::base_name;
use prof_model::printable;

/// A share of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Share {
    /// Of the total period, in percent.
    pub percent: f64,
    /// Half the width, in percentage points, of the interval that holds the true share in 19 of 20 recordings like
    /// this one.
    pub error: f64,
}

/// What samples say at first glance about where the time goes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HotPaths {
    /// How many samples, without those of idle CPUs.
    pub samples: u64,
    /// Their period.
    pub period: u64,
    /// Of all samples the share of idle CPUs, in percent.
    pub idle_percent: f64,
    /// Functions with the way to them, heaviest first.
    pub paths: Vec<HotPath>,
    /// The kinds of work that are known by their functions, heaviest first. One can be part of another.
    pub kinds: Vec<(WorkKind, Share)>,
    /// What ran in the kernel.
    pub kernel: Share,
    /// By the names of processes, or of threads where these are not asked for, heaviest first.
    pub commands: Vec<HotCommand>,
    /// The share of samples whose stacks are whole, in percent, of those of which it is known.
    pub whole_percent: Option<f64>,
}

/// Processes, or threads, of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct HotCommand {
    /// The name.
    pub name: String,
    /// The share.
    pub share: Share,
    /// In how many processes.
    pub processes: usize,
    /// The heaviest of the processes.
    pub pid: i32,
}

/// A function, and the way on which it is called.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HotPath {
    /// The share with all that it calls.
    pub share: Share,
    /// How many samples that are.
    pub samples: u64,
    /// The name of the processes, where these are told apart.
    pub command: Option<String>,
    /// The names of all functions on the way, from the outermost one to it.
    pub names: Vec<String>,
    /// Of the names, by index and ascending, those that say most: the callers at which one package calls another.
    pub told: Vec<usize>,
    /// What it is called in reports: `names` has inlined functions, too, this is one that samples were found in.
    pub function: String,
    /// Whether it runs itself in most of its samples, or else what it calls.
    pub is_innermost: bool,
    /// The line of the program's own code, innermost, that weighs most on this way: where it calls a library, or of the
    /// function itself.
    pub line: Option<String>,
    /// What kind of work it is.
    pub kind: Option<WorkKind>,
    /// Among all that it calls the function that runs most itself, and its share of everything in percent; `None`
    /// where that is the function, or less than a quarter of it.
    pub hottest: Option<(String, f64)>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct HotPathOptions<'a> {
    /// At most so many functions.
    pub count: usize,
    /// What a process is called: processes with different names are told apart then, those that it does not know by the
    /// names of their threads. `None` if all is one program.
    pub process_name: Option<&'a dyn Fn(Pid) -> Option<String>>,
}

/// A function with less than this part of everything is not told.
const LEAST: f64 = 0.05;
/// A function is told if it has at least so many samples: fewer are chance.
const LEAST_SAMPLES: f64 = 5.0;
/// A kind of work with less, in percent, is not told.
const LEAST_KIND: f64 = 3.0;

/// Finds where most of the time goes in the samples of an event, an index into the profile's events.
pub fn hot_paths(
    profile: &Profile,
    names: &Names,
    event: u16,
    options: HotPathOptions<'_>,
) -> HotPaths {
    let places = Places::by_name(profile, names, true);
    let functions = Functions::new(&places);
    let mut lines = Lines::default();
    let mut tree = match options.process_name {
        Some(_) => PathTree::with_roots_apart(),
        None => PathTree::default(),
    };
    let mut commands: BTreeMap<String, BTreeMap<i32, u64>> = BTreeMap::new();
    let mut kinds: BTreeMap<WorkKind, u64> = BTreeMap::new();
    let mut comms: FxHashMap<String, u32> = FxHashMap::default();
    let mut comm_names: Vec<String> = Vec::new();
    let mut result = HotPaths::default();
    let (mut idle, mut kernel) = (0, 0);
    let mut ends = [0; prof_model::ChainEnd::ALL.len()];
    let first_comm = places.symbols().len() as u32;
    for (key, weight) in profile.sorted_samples(event) {
        if is_idle(profile, &places, &key) {
            idle += weight.period;
            continue;
        }
        result.samples += weight.samples;
        result.period += weight.period;
        ends[key.end as usize] += weight.samples;
        let comm = comm_label(profile, &key);
        let innermost = profile.stacks().frames(key.stack).next();
        let mode = innermost.map(|frame| profile.frame(frame).mode);
        if matches!(mode, Some(CpuMode::Kernel | CpuMode::GuestKernel)) {
            kernel += weight.period;
        }
        for kind in functions.kinds(profile, &places, &key, &comm) {
            *kinds.entry(kind).or_default() += weight.period;
        }
        let mut frames = functions.path(profile, &places, names, &key, &mut lines);
        let process = options.process_name.and_then(|name| name(key.pid));
        let comm = process.map_or(comm, |name| printable(&name).into_owned());
        if options.process_name.is_some() {
            let next = first_comm + comm_names.len() as u32;
            let function = *comms.entry(comm.clone()).or_insert_with(|| {
                comm_names.push(comm.clone());
                next
            });
            frames.insert(
                0,
                PathFrame {
                    function,
                    line: None,
                },
            );
        }
        tree.add(frames, weight.period);
        let processes = commands.entry(comm).or_default();
        *processes.entry(key.pid.0).or_default() += weight.period;
    }
    let share = |period: u64| share(period, result.period, result.samples);
    let mean = result.period as f64 / result.samples.max(1) as f64;
    let least = LEAST.max(LEAST_SAMPLES / result.samples.max(1) as f64);
    let describe = Describe {
        profile,
        places: &places,
        functions: &functions,
        lines: &lines,
        comms: &comm_names,
    };
    let chosen = tree.choose(options.count, least, |path| describe.way_in(path));
    let paths = chosen.into_iter().map(|chosen| {
        let samples = (chosen.total as f64 / mean).round() as u64;
        let mut path = describe.path(&chosen, share(chosen.total), samples);
        path.hottest = path
            .hottest
            .map(|(name, _)| (name, share(chosen.hottest.1).percent));
        path
    });
    result.paths = paths.collect();
    let told = kinds
        .into_iter()
        .map(|(kind, period)| (kind, share(period)));
    let least_kind = LEAST_KIND.max(100.0 * LEAST_SAMPLES / result.samples.max(1) as f64);
    result.kinds = told
        .filter(|(_, share)| share.percent >= least_kind)
        .collect();
    result
        .kinds
        .sort_by(|left, right| right.1.percent.total_cmp(&left.1.percent));
    result.kernel = share(kernel);
    result.commands = commands
        .into_iter()
        .map(|(name, processes)| HotCommand {
            name,
            share: share(processes.values().sum()),
            processes: processes.len(),
            pid: processes.iter().max_by_key(|it| it.1).map_or(0, |it| *it.0),
        })
        .collect();
    result
        .commands
        .sort_by(|left, right| right.share.percent.total_cmp(&left.share.percent));
    result.idle_percent = 100.0 * idle as f64 / (idle + result.period).max(1) as f64;
    result.whole_percent = prof_model::ChainEnd::whole_percent(&ends);
    result
}

fn share(part: u64, all: u64, samples: u64) -> Share {
    let percent = 100.0 * part as f64 / all.max(1) as f64;
    Share {
        percent,
        error: 100.0 * wilson(part as f64 / all.max(1) as f64, samples),
    }
}

/// Half of Wilson's 95% interval of a share that was found with so many samples. It is not 0 where all samples are
/// alike, which a few more might not be.
fn wilson(share: f64, samples: u64) -> f64 {
    const Z: f64 = 1.96;
    let samples = samples.max(1) as f64;
    let spread = share * (1.0 - share) / samples + Z * Z / (4.0 * samples * samples);
    Z * spread.sqrt() / (1.0 + Z * Z / samples)
}

/// What is known about each function by its name.
struct Functions {
    passing: Vec<bool>, // by symbol
    kinds: Vec<Option<WorkKind>>,
}

impl Functions {
    fn new(places: &Places) -> Self {
        let symbols = places.symbols().iter();
        let (passing, kinds) = symbols
            .map(|symbol| {
                (
                    is_passing(&symbol.name),
                    WorkKind::of_function(&symbol.name),
                )
            })
            .unzip();
        Self { passing, kinds }
    }

    /// What kinds of work a sample is, each once.
    fn kinds(
        &self,
        profile: &Profile,
        places: &Places,
        key: &SampleKey,
        comm: &str,
    ) -> FxHashSet<WorkKind> {
        let frames = profile.stacks().frames(key.stack);
        let functions = frames.flat_map(|frame| places.of_frame(frame));
        let kinds = functions.filter_map(|place| self.kinds[places.get(place).symbol.0 as usize]);
        kinds.chain(WorkKind::of_thread(comm)).collect()
    }

    /// A sample's functions, outermost first, without those that say nothing.
    fn path(
        &self,
        profile: &Profile,
        places: &Places,
        names: &Names,
        key: &SampleKey,
        lines: &mut Lines,
    ) -> Vec<PathFrame> {
        let mut frames = Vec::new();
        for frame in profile.stacks().frames(key.stack) {
            let copies = places.of_frame(frame).count();
            // Of what is inlined into the innermost function the time is the function's own.
            let first = if frames.is_empty() { copies - 1 } else { 0 };
            for (nth, place) in places.of_frame(frame).enumerate().skip(first) {
                let function = places.get(place).symbol.0;
                // All code of a module without names is one function. It would be the outermost call of a recursion
                // in which named ones are lost.
                let is_told = !places.symbol_at(place).is_named()
                    && frames.iter().any(|it: &PathFrame| it.function == function);
                // the innermost one stays: the time is its own
                if frames.is_empty() || !self.passing[function as usize] && !is_told {
                    let line = lines.of(names, frame, nth);
                    frames.push(PathFrame { function, line });
                }
            }
        }
        frames.reverse();
        frames
    }
}

/// Source lines by number.
#[derive(Default)]
struct Lines {
    texts: Vec<String>,
    numbers: FxHashMap<(usize, u32), Option<u32>>, // by frame and which of its inlined functions
    by_text: FxHashMap<String, u32>,
}

impl Lines {
    fn of(&mut self, names: &Names, frame: FrameId, nth: usize) -> Option<u32> {
        let key = (frame.index(), nth as u32);
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        let location = match names.get(frame) {
            Resolution::Named {
                inlined, location, ..
            } => match inlined.get(nth) {
                Some(copy) => copy.location.as_ref(),
                None => location.as_ref(),
            },
            Resolution::Unresolved(_) => None,
        };
        let number = location.filter(|at| at.line > 0).map(|at| {
            let text = format!("{}:{}", printable(base_name(&at.file)), at.line);
            let next = self.texts.len() as u32;
            *self.by_text.entry(text).or_insert_with_key(|text| {
                self.texts.push(text.clone());
                next
            })
        });
        self.numbers.insert(key, number);
        number
    }
}

struct Describe<'a> {
    profile: &'a Profile,
    places: &'a Places,
    functions: &'a Functions,
    lines: &'a Lines,
    comms: &'a [String],
}

impl Describe<'_> {
    fn path(&self, chosen: &Chosen, share: Share, samples: u64) -> HotPath {
        let functions = self.places.symbols().len();
        let (command, path, lines) = match chosen.path.split_first() {
            Some((&first, rest)) if first as usize >= functions => (
                Some(self.comms[first as usize - functions].clone()),
                rest,
                &chosen.lines[1..],
            ),
            _ => (None, chosen.path.as_slice(), &chosen.lines[..]),
        };
        let packages: Vec<&str> = path
            .iter()
            .map(|&function| self.package(function))
            .collect();
        let names: Vec<String> = path.iter().map(|&function| self.name(function)).collect();
        let mut told = told(&packages);
        // a function and what stands for it in the caller's place have one name
        told.dedup_by(|inner, outer| names[*inner] == names[*outer]);
        let is_innermost = chosen.own * 2 > chosen.total;
        let modules: Vec<&str> = path.iter().map(|&function| self.module(function)).collect();
        let own = (0..path.len())
            .rev()
            .find(|&at| !is_library(packages[at], modules[at]));
        let line = match own {
            Some(at) if at + 1 < path.len() => lines[at + 1],
            _ => chosen.heaviest_line,
        };
        let kind = path
            .iter()
            .rev()
            .find_map(|&it| self.functions.kinds[it as usize]);
        let (hottest, weight) = chosen.hottest;
        let is_told = path.last() != Some(&hottest)
            && (hottest as usize) < functions
            && weight * 4 >= chosen.total;
        HotPath {
            share,
            samples,
            function: path.last().map(|&it| self.name(it)).unwrap_or_default(),
            kind: kind.or_else(|| command.as_deref().and_then(WorkKind::of_thread)),
            command,
            names,
            told,
            is_innermost,
            line: line.map(|line| self.lines.texts[line as usize].clone()),
            hottest: is_told.then(|| (self.name(hottest), 0.0)),
        }
    }

    /// How many functions of a path are enough to tell: up to the first one of the library in which it ends. What the
    /// kernel does inside says more than which call it is.
    fn way_in(&self, path: &[u32]) -> usize {
        let functions = self.places.symbols().len();
        let Some(&last) = path.last().filter(|&&last| (last as usize) < functions) else {
            return path.len();
        };
        let (package, module) = (self.package(last), self.module(last));
        if !is_library(package, module) || module.starts_with('[') {
            return path.len();
        }
        let inside = path.iter().rev().take_while(|&&function| {
            (function as usize) < functions && self.package(function) == package
        });
        path.len() - inside.count() + 1
    }

    fn name(&self, function: u32) -> String {
        let symbol = &self.places.symbols()[function as usize];
        match symbol.is_named() {
            true => printable(&symbol.name).into_owned(),
            false => in_brackets(self.places.dso_name(symbol)).into_owned(),
        }
    }

    fn module(&self, function: u32) -> &str {
        self.places
            .dso_name(&self.places.symbols()[function as usize])
    }

    fn package(&self, function: u32) -> &str {
        let symbol = &self.places.symbols()[function as usize];
        let kind = symbol.dso.map(|dso| self.profile.dsos.get(dso).kind);
        let is_generated = matches!(kind, Some(DsoKind::Jit(_)));
        package(&symbol.name, self.places.dso_name(symbol), is_generated)
    }
}

/// Where the path enters the package of its last function.
fn entry(packages: &[&str]) -> Option<usize> {
    let last = packages.last()?;
    let inside = packages.iter().rev().take_while(|package| *package == last);
    Some(packages.len() - inside.count())
}

/// Which functions of a path to tell: the last one; where its package is entered and from where; and further out the
/// same for the packages before, as long as there are no more than four in all.
fn told(packages: &[&str]) -> Vec<usize> {
    const MOST: usize = 4;
    let mut told = Vec::new();
    let mut end = packages.len();
    while end > 0 && told.len() < MOST {
        let start = entry(&packages[..end]).unwrap_or(0);
        told.push(end - 1);
        // Of a package in the middle the way in says less than that of the last one, and than the next caller.
        // The outermost function of all is `main` or the like.
        if start > 0 && start + 1 < end && told.len() < MOST {
            told.push(start);
        }
        end = start;
    }
    if let [.., first] = told[..]
        && told.len() < MOST
        && first > 0
    {
        told.push(first - 1);
    }
    told.sort_unstable();
    told.dedup();
    // Within one package there is nothing but its own functions: the callers of the last one.
    let last = packages.len().saturating_sub(1);
    for at in (0..last).rev() {
        if told.len() >= MOST {
            break;
        }
        if !told.contains(&at) {
            told.push(at);
            told.sort_unstable();
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_where_one_package_calls_another() {
        let packages = ["main", "main", "main", "regexp", "regexp", "regexp"];
        // from catalog.belongs into regexp.MustCompile, and where that ends
        assert_eq!(told(&packages), [1, 2, 3, 5]);
        assert_eq!(entry(&packages), Some(3));
    }

    #[test]
    fn the_error_is_that_of_the_samples_and_never_nothing() {
        assert!((wilson(0.5, 1000) - 0.031).abs() < 0.001);
        assert!((wilson(0.1, 1000) - 0.0186).abs() < 0.001);
        assert!(wilson(1.0, 30) > 0.05 && wilson(0.0, 30) > 0.05);
    }

    #[test]
    fn in_one_package_the_last_callers_are_told() {
        assert_eq!(told(&["a"; 6]), [2, 3, 4, 5]);
        assert_eq!(told(&["a"; 2]), [0, 1]);
        assert_eq!(told(&[]), Vec::<usize>::new());
    }
}
