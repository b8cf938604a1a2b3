//! The sampler on a process that starts threads while it is being opened: this one.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use prof_event::{EventSpec, RawRecord, Record};
use prof_model::Pid;
use prof_sampler::{Options, Rate, Sampler, Sink, StackCapture, Target};

/// Samples of each thread.
struct Samples(HashMap<i32, usize>, prof_event::EventSet);

impl Sink for Samples {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        if let Record::Sample(sample) = self.1.decode(raw).unwrap().record {
            *self.0.entry(sample.tid.0).or_default() += 1;
        }
        Ok(())
    }
    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What samples this process.
fn options(inherit: bool) -> Options {
    let ourselves = Target::Processes(vec![Pid(std::process::id() as i32)]);
    Options {
        events: EventSpec::parse("cpu-clock").unwrap().into(),
        stacks: StackCapture::None,
        inherit,
        ..Options::new(ourselves, Rate::Frequency(999))
    }
}

/// Until then a thread uses no time.
const UNTIL_SAMPLED: Duration = Duration::from_millis(500);

/// One test after the other, for each of them is about all threads.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|it| it.into_inner())
}

/// Starts threads until its end, from a thread that is older than `idle` further ones.
struct Starting {
    go_on: Arc<AtomicBool>,
    started: std::thread::JoinHandle<Vec<std::thread::JoinHandle<(i32, Duration)>>>,
    idle: Vec<std::thread::JoinHandle<()>>,
}

impl Starting {
    /// Each new thread sleeps `first` and then computes for `work` of CPU time.
    fn new(idle: usize, every: Duration, first: Duration, work: Duration) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let again = Arc::clone(&go_on);
        let (begin, begins) = std::sync::mpsc::channel::<()>();
        let started = std::thread::spawn(move || {
            begins.recv().unwrap();
            let mut started = Vec::new();
            while again.load(Ordering::Relaxed) {
                started.push(std::thread::spawn(move || compute(first, work)));
                std::thread::sleep(every);
            }
            started
        });
        let wait = |go_on: Arc<AtomicBool>| {
            while go_on.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let idle = (0..idle).map(|_| Arc::clone(&go_on));
        let idle = idle.map(|go_on| std::thread::spawn(move || wait(go_on)));
        let idle = idle.collect();
        begin.send(()).unwrap();
        Self {
            go_on,
            started,
            idle,
        }
    }

    /// The threads that were started, and what CPU time each has used.
    fn end(self) -> Vec<(i32, Duration)> {
        self.go_on.store(false, Ordering::Relaxed);
        let started = self.started.join().unwrap().into_iter();
        let started = started.map(|it| it.join().unwrap()).collect();
        self.idle.into_iter().for_each(|it| it.join().unwrap());
        started
    }
}

/// Computes until this thread has used so much CPU time.
fn compute(first: Duration, work: Duration) -> (i32, Duration) {
    let used = || {
        let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        Duration::from(used)
    };
    std::thread::sleep(first);
    while used() < work {}
    (nix::unistd::gettid().as_raw(), used())
}

#[test]
fn a_thread_that_is_started_while_others_are_opened_is_sampled_once() {
    if !nix::unistd::geteuid().is_root() {
        return; // who started it is not told
    }
    let _alone = alone();
    let work = Duration::from_millis(20);
    let starting = Starting::new(300, Duration::from_micros(300), UNTIL_SAMPLED, work);
    let mut sampler = Sampler::open(options(true)).unwrap();
    let began = Instant::now();
    starting.go_on.store(false, Ordering::Relaxed);
    let mut samples = Samples(HashMap::new(), sampler.events().clone());
    sampler.start(None, Duration::ZERO, &mut samples).unwrap();
    assert!(began.elapsed() < UNTIL_SAMPLED, "too slow");
    let threads = std::thread::spawn(move || starting.end());
    while !threads.is_finished() {
        sampler.wait(Duration::from_millis(50), &[]).unwrap();
        sampler.round(&mut samples).unwrap();
    }
    sampler.finish(&mut samples).unwrap();
    let threads = threads.join().unwrap();
    assert!(threads.len() > 10, "{} threads", threads.len());
    let ratio = |(tid, used): &(i32, Duration)| {
        let samples = samples.0.get(tid).copied().unwrap_or(0) as f64;
        samples / (999.0 * used.as_secs_f64())
    };
    let wrong = threads
        .iter()
        .map(ratio)
        .filter(|it| !(0.5..1.5).contains(it));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:?} of {}", threads.len());
}

#[test]
fn where_nothing_is_inherited_threads_that_start_meanwhile_are_not_opened_one_after_the_other() {
    let _alone = alone();
    let [every, life] = [20, 50_000].map(Duration::from_micros);
    let start = |_| Starting::new(50, every, life, Duration::ZERO);
    let starting: Vec<_> = (0..4).map(start).collect();
    let present = std::fs::read_dir("/proc/self/task").unwrap().count();
    let sampler = Sampler::open(options(false));
    starting.into_iter().for_each(|it| drop(it.end()));
    let instances = sampler.unwrap().events().events()[0].ids.len();
    let opened = instances / prof_sampler::online_cpus().len();
    assert!(
        opened < present * 3 / 2,
        "{opened} threads, {present} before"
    );
}
