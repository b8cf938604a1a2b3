//! Words of the target's memory that are looked at again and again. What they were when a sample was
//! taken is known if they were the same soon before and soon after.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prof_event::EventSet;
use prof_event::abi::flag;
use prof_model::{Pid, Tid, VirtAddr};
use prof_sampler::Clock;
use prof_unwinder::{WATCHED_BYTES, Watched};
use rustc_hash::FxHashMap;

/// Nobody asks any more after so long.
const FORGOTTEN: Duration = Duration::from_millis(500);
/// So many threads are watched at most.
const MOST_THREADS: usize = 256;
/// So many values of one thread's are remembered, for samples that come late.
const MOST_VALUES: usize = 16;
/// By so much the kernel's clock may be off ours, in nanoseconds.
const INEXACT: u64 = 1000;

/// What is watched, one place for each thread.
#[derive(Default)]
pub(crate) struct PolledMemory {
    clock: Option<Clock>,
    threads: FxHashMap<(Pid, Tid), PolledWord>,
    ids: u64,
}

struct PolledWord {
    addr: VirtAddr,
    asked: Instant,
    values: VecDeque<Value>, // the last one is the latest
}

/// What was seen from one time to another, and therefore held in between.
struct Value {
    id: u64,
    bytes: [u8; WATCHED_BYTES],
    since: u64,
    until: u64,
}

impl PolledMemory {
    /// For samples of these events. Times that are not of a clock that we can read tell nothing.
    pub(crate) fn new(events: &EventSet) -> Self {
        let mut ids = events.events().iter().map(|event| {
            let attr = &event.attr;
            attr.has(flag::USE_CLOCKID).then_some(attr.clockid)
        });
        let id = ids.next().flatten();
        let is_shared = ids.all(|other| other == id);
        let mut clocks = Clock::ALL.into_iter();
        Self {
            clock: clocks.find(|clock| is_shared && Some(clock.id) == id),
            ..Self::default()
        }
    }

    /// The time by the clock of the samples, no earlier than a sample that is taken now would tell.
    pub(crate) fn now(&self) -> Option<u64> {
        Some(self.clock?.now().saturating_add(INEXACT))
    }

    /// Watches this place for this thread, and no other.
    pub(crate) fn watch(&mut self, thread: (Pid, Tid), addr: VirtAddr) {
        let is_new = self.threads.get(&thread).is_none_or(|it| it.addr != addr);
        if is_new && (self.threads.len() < MOST_THREADS || self.threads.contains_key(&thread)) {
            let watch = PolledWord {
                addr,
                asked: Instant::now(),
                values: VecDeque::new(),
            };
            self.threads.insert(thread, watch);
        }
    }

    /// What was there at a time, if that is known. Looks once more.
    pub(crate) fn at(
        &mut self,
        thread: (Pid, Tid),
        time: u64,
        read: &mut Read<'_>,
    ) -> Option<Watched> {
        let (clock, watch) = (self.clock?, self.threads.get_mut(&thread)?);
        watch.asked = Instant::now();
        let is_seen = watch.look(clock, &mut self.ids, read);
        let latest = watch.values.back()?.id;
        let mut values = watch.values.iter();
        let value = values.find(|value| {
            value.since.saturating_add(INEXACT) < time && time.saturating_add(INEXACT) < value.until
        })?;
        Some(Watched {
            id: value.id,
            bytes: value.bytes,
            is_still: is_seen && value.id == latest,
        })
    }

    /// Looks at everything that is still asked for. `read` reads a process's memory, by a thread of it.
    pub(crate) fn look(&mut self, mut read: impl FnMut(Pid, Tid, VirtAddr, &mut [u8]) -> usize) {
        let Some(clock) = self.clock else {
            return;
        };
        self.threads
            .retain(|_, watch| watch.asked.elapsed() < FORGOTTEN);
        for (&(pid, tid), watch) in &mut self.threads {
            watch.look(clock, &mut self.ids, &mut |addr, into| {
                read(pid, tid, addr, into)
            });
        }
    }

    /// A process runs another program now.
    pub(crate) fn executed(&mut self, pid: Pid) {
        self.threads.retain(|&(of, _), _| of != pid);
    }

    /// A thread has ended. Another one may get its number.
    pub(crate) fn exited(&mut self, thread: (Pid, Tid)) {
        self.threads.remove(&thread);
    }
}

/// Reads a process's memory.
pub(crate) type Read<'a> = dyn FnMut(VirtAddr, &mut [u8]) -> usize + 'a;

impl PolledWord {
    /// Whether what is there now could be seen.
    fn look(&mut self, clock: Clock, ids: &mut u64, read: &mut Read<'_>) -> bool {
        let before = clock.now();
        let (mut bytes, mut again) = ([0; WATCHED_BYTES], [0; WATCHED_BYTES]);
        let is_whole = [&mut bytes, &mut again]
            .into_iter()
            .all(|bytes| read(self.addr, bytes) == WATCHED_BYTES);
        if !is_whole || bytes != again {
            return false; // it may be of two different times
        }
        match self.values.back_mut() {
            Some(latest) if latest.bytes == bytes => latest.until = before,
            _ => {
                *ids += 1;
                self.values.push_back(Value {
                    id: *ids,
                    bytes,
                    since: clock.now(),
                    until: before,
                });
                if self.values.len() > MOST_VALUES {
                    self.values.pop_front();
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: (Pid, Tid) = (Pid(7), Tid(8));
    const AT: VirtAddr = VirtAddr(0x1000);

    fn polled() -> PolledMemory {
        let mut polled = PolledMemory {
            clock: Some(Clock::MONOTONIC),
            ..PolledMemory::default()
        };
        polled.watch(THREAD, AT);
        polled
    }

    /// A time that is further from what comes before and after than the clock is inexact.
    fn moment() -> u64 {
        let pause = || std::thread::sleep(Duration::from_micros(20));
        pause();
        let time = Clock::MONOTONIC.now();
        pause();
        time
    }

    fn look(polled: &mut PolledMemory, value: u8) {
        polled.look(|pid, tid, addr, into| {
            assert_eq!((pid, tid, addr), (THREAD.0, THREAD.1, AT));
            into.fill(value);
            into.len()
        });
    }

    fn at(polled: &mut PolledMemory, time: u64, now: u8) -> Option<(u8, bool)> {
        let mut read = |_: VirtAddr, into: &mut [u8]| {
            into.fill(now);
            into.len()
        };
        let watched = polled.at(THREAD, time, &mut read)?;
        Some((watched.bytes[0], watched.is_still))
    }

    #[test]
    fn a_value_is_known_between_two_looks_that_saw_it() {
        let mut polled = polled();
        let before = moment();
        look(&mut polled, 1);
        let time = moment();
        assert_eq!(at(&mut polled, time, 1), Some((1, true)));
        assert_eq!(at(&mut polled, before, 1), None);
        let between = moment();
        look(&mut polled, 2);
        let later = moment();
        assert_eq!(at(&mut polled, later, 2), Some((2, true)));
        assert_eq!(at(&mut polled, time, 2), Some((1, false)));
        assert_eq!(at(&mut polled, between, 2), None); // the one or the other
    }

    #[test]
    fn a_value_that_comes_again_is_another() {
        let mut polled = polled();
        look(&mut polled, 1);
        let time = moment();
        look(&mut polled, 1);
        look(&mut polled, 2);
        assert_eq!(at(&mut polled, time, 1), Some((1, false)));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let mut polled = polled();
        look(&mut polled, 1);
        let time = moment();
        assert_eq!(polled.at(THREAD, time, &mut |_, _| 0), None);
        let mut value = 0;
        let mut changing = |_: VirtAddr, into: &mut [u8]| {
            value += 1;
            into.fill(value);
            into.len()
        };
        assert_eq!(polled.at(THREAD, time, &mut changing), None);
    }

    #[test]
    fn another_place_program_or_thread_starts_anew() {
        let mut polled = polled();
        look(&mut polled, 1);
        let time = moment();
        look(&mut polled, 1);
        polled.watch(THREAD, VirtAddr(0x2000));
        assert_eq!(at(&mut polled, time, 1), None);
        polled.executed(THREAD.0);
        assert!(polled.threads.is_empty());
        polled.watch(THREAD, AT);
        polled.exited(THREAD);
        assert!(polled.threads.is_empty());
    }
}
