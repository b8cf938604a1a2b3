//! What lay behind the copies of stacks in the moment of their samples, until the samples come; and whose
//! stacks are to be read so.
//!
//! In: parts of stacks from the sampler, and which samples would have needed more than their copies. Out: the rest
//! of a sample's stack. Elsewhere: reading it (`prof_sampler`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prof_model::{Pid, Tid, VirtAddr};
use prof_sampler::StackPart;
use rustc_hash::{FxHashMap, FxHashSet};

/// So many bytes may wait for their samples; the oldest are dropped.
const MOST_BYTES: usize = 64 << 20;
/// By so much the time of what was read may be after that of its sample, in nanoseconds: both are of one
/// interrupt. Samples of one thread come further apart.
const NEAR: u64 = 100_000;
/// What was read for samples that were not passed on is dropped after so long, in nanoseconds.
const STALE: u64 = 2_000_000_000;
/// How soon a thread is named again whose stack was not read.
const AGAIN: Duration = Duration::from_millis(100);
/// So many threads wait to be named at most; others come again with their next sample.
const MOST_TO_NAME: usize = 1024;
/// Naming a thread reads all mappings of its process, on the thread that empties the rings: after that nobody is
/// named for so many times as long.
const REST: u32 = 20;
/// Buffers that are kept to be used again.
const MOST_SPARE: usize = 16;

/// The rest of one sample's stack.
#[derive(Debug)]
pub(crate) struct Rest {
    tid: Tid,
    sp: VirtAddr,
    time: u64,
    /// Bytes by where they lay, upwards. No two touch.
    parts: Vec<(VirtAddr, Vec<u8>)>,
}

impl Rest {
    /// Bytes by where they lay, upwards.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (VirtAddr, &[u8])> {
        self.parts.iter().map(|(addr, bytes)| (*addr, &bytes[..]))
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether the copy is of the same moment: where both have bytes, they are the same.
    fn agrees_with(&self, copy: &[u8]) -> bool {
        let Some((addr, bytes)) = self.parts.first() else {
            return false;
        };
        let from = addr.0.checked_sub(self.sp.0).map(|from| from as usize);
        let Some(shared) = from.and_then(|from| copy.get(from..)) else {
            return true; // the copy ends before
        };
        let len = shared.len().min(bytes.len());
        shared[..len] == bytes[..len]
    }
}

/// A thread whose stack is larger than its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepThread {
    /// Its process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// A stack pointer that it had.
    pub sp: VirtAddr,
}

/// What was read of deep stacks, and whose are to be read.
#[derive(Default)]
pub(crate) struct DeepStacks {
    waiting: VecDeque<Rest>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    processes: FxHashSet<Pid>,
    named: FxHashMap<Tid, Instant>,
    to_name: VecDeque<DeepThread>,
    rests_until: Option<Instant>,
    used: u64,
}

impl DeepStacks {
    /// Keeps a part until its sample comes.
    pub(crate) fn add(&mut self, part: StackPart<'_>) {
        let StackPart { tid, sp, time, .. } = part;
        self.bytes += part.bytes.len();
        let last = self.waiting.back_mut();
        let last = last.filter(|it| (it.tid, it.sp, it.time) == (tid, sp, time));
        if let Some(last) = last
            && let Some((addr, bytes)) = last.parts.last_mut()
        {
            if addr.0 + bytes.len() as u64 == part.addr.0 {
                bytes.extend_from_slice(part.bytes);
            } else {
                last.parts.push((part.addr, part.bytes.to_vec()));
            }
        } else {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.extend_from_slice(part.bytes);
            let parts = vec![(part.addr, bytes)];
            self.waiting.push_back(Rest {
                tid,
                sp,
                time,
                parts,
            });
        }
        while self.bytes > MOST_BYTES {
            self.drop_oldest();
        }
    }

    /// The rest of the stack of a sample that was taken at `time` and has this copy of the stack from `sp` on.
    pub(crate) fn take(&mut self, tid: Tid, sp: VirtAddr, time: u64, copy: &[u8]) -> Option<Rest> {
        while self
            .waiting
            .front()
            .is_some_and(|it| it.time.saturating_add(STALE) < time)
        {
            self.drop_oldest();
        }
        let at = self.waiting.iter().position(|it| {
            (it.tid, it.sp) == (tid, sp) && (time..=time.saturating_add(NEAR)).contains(&it.time)
        })?;
        let rest = self.waiting.remove(at)?;
        self.bytes -= rest.len();
        rest.agrees_with(copy).then_some(rest)
    }

    /// A sample was unwound. `needs_more`: it took or would have taken more than its copy, and nothing was read
    /// for it.
    pub(crate) fn note(&mut self, thread: DeepThread, needs_more: bool) {
        let DeepThread { pid, tid, .. } = thread;
        if needs_more {
            self.processes.insert(pid);
        }
        if self.processes.is_empty() || !self.processes.contains(&pid) {
            return;
        }
        let is_due = match self.named.get(&tid) {
            Some(since) => needs_more && since.elapsed() >= AGAIN,
            None => true,
        };
        if is_due && self.to_name.len() < MOST_TO_NAME {
            self.named.insert(tid, Instant::now());
            self.to_name.push_back(thread);
        }
    }

    /// What was read was part of a callchain.
    pub(crate) fn used(&mut self, rest: Rest, was_needed: bool) {
        self.used += u64::from(was_needed);
        for (_, mut bytes) in rest.parts {
            if self.spare.len() < MOST_SPARE {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }

    /// How many callchains were finished with what was read.
    pub(crate) fn count(&self) -> u64 {
        self.used
    }

    /// Names threads whose stacks are to be read from now on, each of them once, for as long as that is a small
    /// part of the time.
    pub(crate) fn name(&mut self, mut name: impl FnMut(DeepThread)) {
        let rests = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        while !rests(self.rests_until)
            && let Some(thread) = self.to_name.pop_front()
        {
            let began = Instant::now();
            name(thread);
            self.rests_until = Some(Instant::now() + began.elapsed() * REST);
        }
    }

    /// A process runs another program now, with other stacks.
    pub(crate) fn executed(&mut self, pid: Pid) {
        self.processes.remove(&pid);
        self.named.remove(&Tid(pid.0));
    }

    /// A thread has ended. Another one may get its number.
    pub(crate) fn exited(&mut self, pid: Pid, tid: Tid) {
        self.named.remove(&tid);
        if pid.0 == tid.0 {
            self.processes.remove(&pid);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.waiting.pop_front() {
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SP: VirtAddr = VirtAddr(0x1000);

    fn part(time: u64, addr: u64, bytes: &[u8]) -> StackPart<'_> {
        StackPart {
            pid: Pid(3),
            tid: Tid(4),
            sp: SP,
            time,
            addr: VirtAddr(addr),
            bytes,
        }
    }

    #[test]
    fn parts_belong_to_the_sample_just_before_them() {
        let mut deep = DeepStacks::default();
        for time in [1_000, 300_000] {
            deep.add(part(time, 0x1002, &[3, 4]));
            deep.add(part(time, 0x1004, &[5]));
            deep.add(part(time, 0x2000, &[6]));
        }
        let copy = [1, 2, 3];
        assert!(deep.take(Tid(4), SP, 1_001, &copy).is_none());
        assert!(deep.take(Tid(5), SP, 900, &copy).is_none());
        assert!(deep.take(Tid(4), VirtAddr(0x1001), 900, &copy).is_none());
        let rest = deep.take(Tid(4), SP, 900, &copy).unwrap();
        let parts: Vec<_> = rest.parts().collect();
        assert_eq!(
            parts,
            [(VirtAddr(0x1002), &[3, 4, 5][..]), (VirtAddr(0x2000), &[6])]
        );
        assert!(deep.take(Tid(4), SP, 900, &copy).is_none());
        let other = [1, 2, 7];
        assert!(deep.take(Tid(4), SP, 299_999, &other).is_none()); // of another moment
        assert_eq!(deep.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut deep = DeepStacks::default();
        let bytes = vec![0; MOST_BYTES / 4];
        for time in 0..6 {
            deep.add(part(time, 0x1000, &bytes));
        }
        assert_eq!(deep.waiting.len(), 4);
        assert!(deep.take(Tid(4), SP, STALE + 10, &[]).is_none());
        assert_eq!((deep.waiting.len(), deep.bytes), (0, 0));
    }

    #[test]
    fn a_deep_stack_names_all_threads_of_its_process_once() {
        let mut deep = DeepStacks::default();
        deep.note(thread(3), false);
        assert_eq!(named(&mut deep), []);
        for needs_more in [true, true, false] {
            deep.note(thread(3), needs_more);
            deep.note(thread(4), false);
        }
        assert_eq!(named(&mut deep), [thread(3), thread(4)]);
        deep.exited(Pid(3), Tid(4));
        deep.note(thread(4), false);
        assert_eq!(named(&mut deep), [thread(4)]);
        deep.executed(Pid(3));
        deep.note(thread(3), false);
        assert_eq!(named(&mut deep), []);
    }

    #[test]
    fn who_takes_long_to_name_is_followed_by_a_longer_rest() {
        let mut deep = DeepStacks::default();
        for tid in 0..2 * MOST_TO_NAME as i32 {
            deep.note(thread(tid), true);
        }
        assert_eq!(deep.to_name.len(), MOST_TO_NAME);
        let (long, began) = (Duration::from_millis(5), Instant::now());
        let mut count = 0;
        deep.name(|_| {
            std::thread::sleep(long);
            count += 1;
        });
        assert!(count > 0);
        assert!(deep.rests_until.unwrap() >= began + long * (REST + 1));
        deep.rests_until = Some(began + Duration::from_secs(3600));
        deep.name(|_| unreachable!("it rests"));
        assert_eq!(deep.to_name.len(), MOST_TO_NAME - count);
    }

    /// All that are to be named, with rests between them.
    fn named(deep: &mut DeepStacks) -> Vec<DeepThread> {
        let mut named = Vec::new();
        while !deep.to_name.is_empty() {
            deep.rests_until = None;
            deep.name(|thread| named.push(thread));
        }
        named
    }

    fn thread(tid: i32) -> DeepThread {
        DeepThread {
            pid: Pid(3),
            tid: Tid(tid),
            sp: SP,
        }
    }
}
