//! What threads waited for, and where, at first glance.
//!
//! In: a profile whose event is waiting time, and how long was recorded. Out: a [`WaitSummary`], and its lines.
//! Every wait is in the profile with what it lasted, so that sums are exact and have no error of sampling.

use std::cmp::Reverse;
use std::io::{self, Write};

use prof_model::{Pid, Tid};
use prof_profile::{DetailId, EventInfo, Names, Profile, SampleKey, StackId, Unit};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::Places;
use crate::text::{cut_right, width};
use crate::thread_state::{StatesOfFrames, ThreadState};
use crate::wait_functions::{wait_functions, waker_functions};

const COLUMNS: usize = 80;
const STATE_COLUMNS: usize = 8;
/// A thread has nothing to do if it waits in one way for this share of the time or more ...
const IDLE_SHARE: f64 = 0.95;
/// ... and runs less than this each time that it is woken, in nanoseconds.
const IDLE_RUN: u64 = 500_000;

/// Where threads waited, and how long together.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitPlace {
    /// For what.
    pub state: ThreadState,
    /// The innermost function of the program and its callers, innermost first.
    pub functions: Vec<String>,
    /// In nanoseconds.
    pub waited: u64,
    /// Who ended most of these waits, where that was recorded.
    pub waker: Option<WaitEnd>,
}

/// Whether an event of these, an index into the profile's events, tells who ended waits of another one and nothing that
/// is asked for by itself.
pub fn tells_wakers(profile: &Profile, event: u16) -> bool {
    let is_of_waits = |event: &EventInfo| event.unit == Unit::WaitTime;
    let event = profile.events.get(usize::from(event));
    event.is_some_and(|event| event.is_tracepoint && event.name == "sched:sched_waking")
        && profile.events.iter().any(is_of_waits)
}

/// Who ended waits, and how long they lasted.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitEnd {
    /// The function that woke the thread and its callers, innermost first; a word in brackets for what is no thread.
    pub functions: Vec<String>,
    /// What of the waits it ended, in nanoseconds.
    pub waited: u64,
    /// Waits of this place of which is known who ended them, in nanoseconds.
    pub known: u64,
}

/// What threads waited for.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WaitSummary {
    /// How many threads the rest is about.
    pub threads: usize,
    /// How many threads had nothing to do and are left out.
    pub idle_threads: usize,
    /// Of the threads that the rest is about, time that they did not wait, in nanoseconds.
    pub running: u64,
    /// What was waited for each reason, in nanoseconds, in the order of [`ThreadState::ALL`].
    pub states: Vec<(ThreadState, u64)>,
    /// Where most was waited, most first.
    pub places: Vec<WaitPlace>,
}

impl WaitPlace {
    /// The functions in one line; what stands there if none is known.
    pub fn text(&self) -> String {
        match self.functions.is_empty() {
            true => "[stack not known]".to_owned(),
            false => self.functions.join(" < "),
        }
    }
}

impl WaitSummary {
    /// The share that a place has of what the threads did, in percent.
    pub fn percent(&self, place: &WaitPlace) -> f64 {
        place.waited as f64 * 100.0 / self.all() as f64
    }

    /// What the threads did together, in nanoseconds; not 0.
    fn all(&self) -> u64 {
        let waited: u64 = self.states.iter().map(|(_, waited)| waited).sum();
        (self.running + waited).max(1)
    }
}

/// Who waits for these is held up.
const HELD_UP: [ThreadState; 3] = [
    ThreadState::Disk,
    ThreadState::Memory,
    ThreadState::Runnable,
];
/// Parts of names of functions by which threads wait for a lock to be free.
const ENTERING: [&str; 8] = [
    "lll_lock",
    "lll_mutex_lock",
    "pthread_mutex_lock",
    "pthread_rwlock_",
    "ObjectMonitor::Enter",
    "lock_contended",
    "lock_slow",
    "lockSlow",
];

/// For what was waited, and the functions where.
type Place = (ThreadState, Vec<String>);

#[derive(Default)]
struct Thread {
    waited: u64,
    wakeups: u64,
    longest: u64, // in one way
}

impl Thread {
    fn is_idle(&self, span: u64) -> bool {
        let run = span.saturating_sub(self.waited);
        self.longest as f64 >= IDLE_SHARE * span as f64 && run < IDLE_RUN * self.wakeups.max(1)
    }
}

/// The threads that have nothing to do, by one event, an index into the profile's events, of what was recorded in
/// `span`: those that wait in one way nearly always and hardly run when they are woken. What waits for a disk, for
/// memory, for a CPU or to enter where another thread is has something to do. None if all are so: then there is
/// nothing else to look at.
pub(crate) fn idle_threads(
    profile: &Profile,
    names: &Names,
    event: u16,
    span: (u64, u64),
) -> FxHashSet<(Pid, Tid)> {
    idle_among(profile, &Places::by_name(profile, names, true), event, span)
}

fn idle_among(
    profile: &Profile,
    places: &Places,
    event: u16,
    span: (u64, u64),
) -> FxHashSet<(Pid, Tid)> {
    let of_frames = StatesOfFrames::of(profile, places);
    let mut threads: FxHashMap<(Pid, Tid), Thread> = FxHashMap::default();
    let mut by_way: FxHashMap<((Pid, Tid), usize), u64> = FxHashMap::default();
    let mut ways: FxHashMap<Place, usize> = FxHashMap::default();
    let mut way_of: FxHashMap<StackId, Option<usize>> = FxHashMap::default(); // none: held up
    for (key, weight) in profile.sorted_samples(event) {
        let id = (key.pid, key.tid);
        let thread = threads.entry(id).or_default();
        thread.waited += weight.period;
        thread.wakeups += weight.samples;
        let way = way_of.entry(key.stack).or_insert_with(|| {
            let state = of_frames.of_sample(profile, &key);
            if HELD_UP.contains(&state) || enters(profile, places, key.stack) {
                return None;
            }
            let next = ways.len();
            let functions = wait_functions(profile, places, profile.stacks().frames(key.stack));
            Some(*ways.entry((state, functions)).or_insert(next))
        });
        if let Some(way) = *way {
            let in_one_way = by_way.entry((id, way)).or_default();
            *in_one_way += weight.period;
            thread.longest = thread.longest.max(*in_one_way);
        }
    }
    let all = span.1.saturating_sub(span.0);
    let is_idle = |id: &(Pid, Tid), thread: &Thread| {
        let life = profile.lifetimes.within(*id, span);
        life >= all / 2 && thread.is_idle(life)
    };
    let idle = threads.iter().filter(|(id, thread)| is_idle(id, thread));
    let idle: FxHashSet<_> = idle.map(|(id, _)| *id).collect();
    match idle.len() == threads.len() {
        true => FxHashSet::default(),
        false => idle,
    }
}

/// Whether a stack is of a thread that waits to enter where another one is: for a mutex, a monitor, a spin lock's
/// queue. Who waits for work waits for a condition instead.
fn enters(profile: &Profile, places: &Places, stack: StackId) -> bool {
    let frames = profile.stacks().frames(stack);
    let mut names = frames
        .flat_map(|frame| places.of_frame(frame))
        .map(|place| &places.symbol_at(place).name);
    names.any(|name| ENTERING.iter().any(|part| name.contains(part)))
}

/// Sums up the waits of one event, an index into the profile's events, of what was recorded in `span`: the
/// `top` places where most was waited. Threads that have nothing to do are left out, for they would be most of the
/// picture: those that wait in one way nearly always and hardly run when they are woken.
pub fn summarize_waits(
    profile: &Profile,
    names: &Names,
    event: u16,
    span: (u64, u64),
    top: usize,
) -> WaitSummary {
    let places = Places::by_name(profile, names, true);
    let samples = profile.sorted_samples(event);
    let idle = idle_among(profile, &places, event, span);
    let is_shown = |id: &(Pid, Tid)| !idle.contains(id);
    let mut threads: FxHashMap<(Pid, Tid), u64> = FxHashMap::default();
    for (key, weight) in &samples {
        let id = (key.pid, key.tid);
        if is_shown(&id) {
            *threads.entry(id).or_default() += weight.period;
        }
    }
    let life = |id: &(Pid, Tid)| profile.lifetimes.within(*id, span);
    let run = threads
        .iter()
        .map(|(id, &waited)| life(id).saturating_sub(waited));
    let mut summary = WaitSummary {
        threads: threads.len(),
        idle_threads: idle.len(),
        running: run.sum(),
        ..WaitSummary::default()
    };
    let mut states: FxHashMap<ThreadState, u64> = FxHashMap::default();
    let mut by_place: FxHashMap<Place, u64> = FxHashMap::default();
    let of_frames = StatesOfFrames::of(profile, &places);
    let mut known: FxHashMap<StackId, Place> = FxHashMap::default();
    for (key, weight) in &samples {
        if !is_shown(&(key.pid, key.tid)) {
            continue;
        }
        let place = known.entry(key.stack).or_insert_with(|| {
            let state = of_frames.of_sample(profile, key);
            (
                state,
                wait_functions(profile, &places, profile.stacks().frames(key.stack)),
            )
        });
        *states.entry(place.0).or_default() += weight.period;
        match by_place.get_mut(place) {
            Some(waited) => *waited += weight.period,
            None => drop(by_place.insert(place.clone(), weight.period)),
        }
    }
    summary.states = ThreadState::ALL
        .into_iter()
        .filter_map(|state| Some((state, *states.get(&state)?)))
        .collect();
    let mut ends = ends_by_place(profile, &places, event, |key| {
        let place = known.get(&key.stack).cloned();
        place.filter(|_| is_shown(&(key.pid, key.tid)))
    });
    let mut found: Vec<_> = by_place
        .into_iter()
        .map(|(place, waited)| WaitPlace {
            waker: ends.remove(&place),
            state: place.0,
            functions: place.1,
            waited,
        })
        .collect();
    found.sort_by(|left, right| {
        let by_time = Reverse(left.waited).cmp(&Reverse(right.waited));
        by_time.then_with(|| (left.state, &left.functions).cmp(&(right.state, &right.functions)))
    });
    found.truncate(top);
    summary.places = found;
    summary
}

/// Of each place that `place_of` finds for samples: who ended most of its waits.
fn ends_by_place(
    profile: &Profile,
    places: &Places,
    event: u16,
    place_of: impl Fn(&SampleKey) -> Option<Place>,
) -> FxHashMap<Place, WaitEnd> {
    let mut named: FxHashMap<DetailId, Vec<String>> = FxHashMap::default();
    let mut by_place: FxHashMap<Place, FxHashMap<Vec<String>, u64>> = FxHashMap::default();
    for (key, detail, weight) in profile.detailed_samples(event) {
        let stack = &profile.detail(detail).waker;
        let Some(place) = place_of(&key).filter(|_| !stack.is_empty()) else {
            continue;
        };
        let waker = named.entry(detail).or_insert_with(|| {
            let frames = stack.iter().filter_map(|frame| profile.frame_id(frame));
            waker_functions(profile, places, frames)
        });
        let wakers = by_place.entry(place).or_default();
        *wakers.entry(waker.clone()).or_default() += weight.period;
    }
    let most = |wakers: FxHashMap<Vec<String>, u64>| {
        let known = wakers.values().sum();
        let most = wakers.into_iter().max_by_key(|(functions, waited)| {
            (*waited, Reverse(functions.clone())) // the same each time
        });
        most.map(|(functions, waited)| WaitEnd {
            functions,
            waited,
            known,
        })
    };
    let places = by_place.into_iter();
    places
        .filter_map(|(place, wakers)| Some((place, most(wakers)?)))
        .collect()
}

fn seconds(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ns {
        1_000_000_000.. => format!("{:.1} s", ms / 1e3),
        10_000_000.. => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

/// Writes what threads did, and how many had nothing to do, in lines of at most 80 columns that begin so.
///
/// # Errors
/// Those of `out`.
pub fn write_wait_states(
    out: &mut dyn Write,
    summary: &WaitSummary,
    start: &str,
) -> io::Result<()> {
    let all = summary.all();
    let share = |part: u64| part as f64 * 100.0 / all as f64;
    let threads = match summary.threads {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    let mut line = format!("{start}{threads}, {}:", seconds(all));
    let running = [("running", summary.running)].into_iter();
    let states = summary
        .states
        .iter()
        .map(|(state, waited)| (state.name(), *waited));
    let parts = running
        .chain(states)
        .filter(|&(_, part)| share(part) >= 0.05);
    let parts = parts.map(|(name, part)| format!("{name} {} {:.0}%", seconds(part), share(part)));
    let parts: Vec<_> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        let comma = if index + 1 < parts.len() { "," } else { "" };
        if width(&line) + 1 + width(part) + 1 > COLUMNS {
            writeln!(out, "{line}")?;
            line = format!("{start} ");
        }
        line = format!("{line} {part}{comma}");
    }
    writeln!(out, "{line}")?;
    match summary.idle_threads {
        0 => {}
        1 => writeln!(out, "{start}1 idle thread left out")?,
        count => writeln!(out, "{start}{count} idle threads left out")?,
    }
    Ok(())
}

/// Writes a summary of waits in lines of at most 80 columns.
///
/// # Errors
/// Those of `out`.
pub fn write_wait_summary(out: &mut dyn Write, summary: &WaitSummary) -> io::Result<()> {
    write_wait_states(out, summary, "")?;
    write_wait_places(out, summary, "")
}

/// Writes where most was waited, and who ended that where it is known, in lines of at most 80 columns that begin so.
///
/// # Errors
/// Those of `out`.
pub fn write_wait_places(
    out: &mut dyn Write,
    summary: &WaitSummary,
    before: &str,
) -> io::Result<()> {
    for place in &summary.places {
        let (percent, state) = (summary.percent(place), place.state.name());
        let start = format!("{before}{percent:>6.2}%  {state:<STATE_COLUMNS$}  ");
        let functions = cut_right(&place.text(), COLUMNS - width(&start));
        writeln!(out, "{start}{functions}")?;
        if let Some(waker) = &place.waker {
            let share = |part: u64, all: u64| part as f64 * 100.0 / all.max(1) as f64;
            let mut end = format!(" {:.0}%", share(waker.waited, waker.known));
            let seen = share(waker.known, place.waited);
            if seen < 90.0 {
                end += &format!(" of {seen:.0}% seen");
            }
            let start = format!("{before}{:1$}woken by ", "", width(&start) - width(before));
            let left = COLUMNS - width(&start) - width(&end);
            let functions = cut_right(&waker.functions.join(" < "), left);
            writeln!(out, "{start}{functions}{end}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(summary: &WaitSummary) -> Vec<String> {
        let mut out = Vec::new();
        write_wait_summary(&mut out, summary).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn shares_are_of_what_the_threads_did_together_and_lines_fit() {
        let long = |name: &str| name.repeat(12);
        let summary = WaitSummary {
            threads: 2,
            idle_threads: 38,
            running: 2_000_000_000,
            states: vec![
                (ThreadState::Lock, 5_000_000_000),
                (ThreadState::Disk, 999_000_000),
                (ThreadState::Network, 2_001_000_000),
            ],
            places: vec![WaitPlace {
                state: ThreadState::Lock,
                functions: vec![long("Cache::get"), long("handle")],
                waited: 5_000_000_000,
                waker: Some(WaitEnd {
                    functions: vec![long("Cache::refresh")],
                    waited: 1_820_000_000,
                    known: 2_000_000_000,
                }),
            }],
        };
        let lines = lines(&summary);
        let states = "2 threads, 10.0 s: running 2.0 s 20%, lock 5.0 s 50%, disk 999 ms 10%,";
        assert_eq!(
            lines[..3],
            [states, "  network 2.0 s 20%", "38 idle threads left out"]
        );
        assert!(
            lines[3].starts_with(" 50.00%  lock      Cache::get"),
            "{}",
            lines[3]
        );
        let waker = lines[4].trim_start();
        assert!(waker.starts_with("woken by Cache::refresh"), "{waker}");
        assert!(waker.ends_with(" 91% of 40% seen"), "{waker}");
        assert!(lines.iter().all(|line| width(line) <= COLUMNS), "{lines:?}");
    }

    #[test]
    fn a_thread_is_idle_if_it_waits_in_one_way_and_hardly_runs() {
        let second = 1_000_000_000;
        let thread = |waited, wakeups, longest| Thread {
            waited,
            wakeups,
            longest,
        };
        assert!(thread(second, 1, second).is_idle(second));
        assert!(thread(990_000_000, 100, 990_000_000).is_idle(second));
        assert!(!thread(990_000_000, 10, 990_000_000).is_idle(second)); // a millisecond each time
        assert!(!thread(990_000_000, 100, 600_000_000).is_idle(second)); // in two ways
    }
}
