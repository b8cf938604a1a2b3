//! Stacks that go on behind their copy, in memory that may have changed since.

mod support;

use prof_model::{ChainEnd, VirtAddr};
use prof_unwinder::{LiveMemory, Unwinder, Watched};
use support::{NO_FRAME_POINTER, Recorded, Sample, WHOLE, record};

/// What lies in memory, and what changes there before which read.
#[derive(Default)]
struct Array {
    parts: Vec<(u64, Vec<u8>)>,
    change: Option<(usize, u64)>,
    reads: usize,
    sampled_at: u64,
}

/// So many samples of a thread in a row have to agree.
const NEEDED: usize = 3;

/// Unwinds the sample as one that was taken after what was read for the last one.
fn next(
    recorded: &mut Recorded,
    unwinder: &mut Unwinder,
    sample: &Sample,
    memory: &mut Array,
) -> (Vec<u64>, ChainEnd) {
    memory.sampled_at += 10;
    memory.reads = 0;
    recorded.unwind_live(unwinder, sample, 1000, Some(memory))
}

/// An unwinder that has seen the sample often enough to believe what memory says at the next one.
fn experienced(recorded: &mut Recorded, sample: &Sample, memory: &mut Array) -> Unwinder {
    let mut unwinder = Unwinder::new();
    let change = memory.change.take();
    for _ in 0..NEEDED {
        next(recorded, &mut unwinder, sample, memory);
    }
    memory.change = change;
    unwinder
}

impl Array {
    fn of(samples: &[Sample]) -> Self {
        let parts = samples
            .iter()
            .map(|sample| (sample.sp(), sample.stack.clone()));
        Self {
            parts: parts.collect(),
            ..Self::default()
        }
    }

    fn byte(&mut self, addr: u64) -> &mut u8 {
        let part = self.parts.iter_mut().find_map(|(start, bytes)| {
            let at = addr.checked_sub(*start)?;
            bytes.get_mut(at as usize)
        });
        part.unwrap()
    }
}

impl LiveMemory for Array {
    fn thread(&self) -> u64 {
        1
    }

    fn sampled_at(&self) -> u64 {
        self.sampled_at
    }

    fn now(&self) -> Option<u64> {
        Some(self.sampled_at + 5)
    }

    fn read(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        if let Some((_, at)) = self.change.filter(|&(read, _)| read == self.reads) {
            *self.byte(at) ^= 1;
        }
        self.reads += 1;
        let found = self.parts.iter().find_map(|(start, bytes)| {
            let at = addr.0.checked_sub(*start)?;
            bytes.get(at as usize..)
        });
        let bytes = found.unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        len
    }

    fn read_code(&mut self, addr: VirtAddr, into: &mut [u8]) -> usize {
        self.read(addr, into)
    }

    fn watch(&mut self, _: VirtAddr) {}

    fn watched(&mut self) -> Option<Watched> {
        None
    }
}

const COPY: usize = 8192;

/// A recursion, the sample of it with a copy that is cut, the whole callchain, and its memory.
fn deep() -> Option<(Recorded, Sample, Vec<u64>, Array)> {
    cut("deep", WHOLE)
}

/// The same of another mode of the workload, with so large a stack.
fn cut(mode: &str, size: usize) -> Option<(Recorded, Sample, Vec<u64>, Array)> {
    let mut recorded = record(NO_FRAME_POINTER, mode, size)?;
    let (whole, end) = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!((end, whole.len() > 100), (ChainEnd::Root, true));
    let memory = Array::of(&recorded.samples);
    let mut sample = recorded.samples.remove(0);
    sample.stack.truncate(COPY);
    sample.is_cut = true;
    sample.kernel_chain.clear();
    Some((recorded, sample, whole, memory))
}

#[test]
fn a_cut_copy_is_finished_from_memory_as_a_whole_copy_is() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);
    assert_eq!(cut.1, ChainEnd::TruncatedCopy);
    let mut unwinder = Unwinder::new();
    for earlier in 0..NEEDED {
        let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
        assert_eq!(result, cut, "{earlier} samples agree");
    }
    for _ in 0..2 {
        let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
        assert_eq!(result, (whole.clone(), ChainEnd::Root));
    }
    assert_eq!(unwinder.stats().continued_live, 2);
    // Before the rest is read, and after it, the proof: more than there is, then what there is.
    assert_eq!(memory.reads, 5);
}

#[test]
fn a_frame_that_is_larger_than_what_is_read_at_once_does_not_make_earlier_ones_forgotten() {
    let Some((mut recorded, sample, whole, mut memory)) = cut("large", 300_000) else {
        return;
    };
    let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
    let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
    assert_eq!(result, (whole, ChainEnd::Root));
    assert!(memory.reads > 5);
}

#[test]
fn a_stack_that_has_moved_on_is_cut_where_its_copy_is() {
    let Some((mut recorded, sample, _, mut memory)) = deep() else {
        return;
    };
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);
    let end = sample.sp() + COPY as u64;
    for at in [end - 1, end - 500, end - 2048, end - 4096] {
        for before_read in 0..3 {
            let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
            let mut memory = Array {
                parts: memory.parts.clone(),
                change: Some((before_read, at)),
                sampled_at: memory.sampled_at,
                ..Array::default()
            };
            let moved_on = unwinder.stats().moved_on;
            let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
            assert_eq!(result, cut, "{at:#x} before read {before_read}");
            assert_eq!(unwinder.stats().continued_live, 0);
            assert_eq!(unwinder.stats().moved_on, moved_on + 1);
        }
    }
}

/// The thread has left a recursion, and what it does now lies where the outermost frames were: the copy
/// does not tell.
#[test]
fn callers_that_are_others_than_at_the_samples_before_are_not_believed() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);
    let [.., inner, main, _, _, _] = whole[..] else {
        panic!("main is called by two functions of libc, and _start")
    };
    let before = memory.parts[0].1.clone();
    let mut slots = (COPY..before.len() - 7).step_by(8);
    let slot = slots.find(|&at| before[at..at + 8] == (main + 1).to_le_bytes());
    let slot = slot.unwrap();
    let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
    memory.parts[0].1[slot..slot + 8].copy_from_slice(&(inner + 1).to_le_bytes());
    for _ in 0..NEEDED {
        assert_eq!(
            next(&mut recorded, &mut unwinder, &sample, &mut memory),
            cut
        );
    }
    // back again: now both are as likely at any time
    memory.parts[0].1 = before;
    for _ in 0..3 * NEEDED {
        assert_eq!(
            next(&mut recorded, &mut unwinder, &sample, &mut memory),
            cut
        );
    }
}

#[test]
fn a_sample_from_elsewhere_ends_what_the_ones_before_agree_on() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
    let mut elsewhere = sample.clone();
    elsewhere.stack = memory.parts[0].1.clone();
    elsewhere.is_cut = false;
    let result = next(&mut recorded, &mut unwinder, &elsewhere, &mut memory);
    assert_eq!(result, (whole.clone(), ChainEnd::Root));
    for _ in 0..NEEDED {
        let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
        assert_eq!(result.1, ChainEnd::TruncatedCopy);
    }
    let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
    assert_eq!(result, (whole, ChainEnd::Root));
}

/// Samples that were waiting together are one witness: all of them were taken before the first read.
#[test]
fn samples_without_a_read_in_between_do_not_agree_more_often() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let mut unwinder = Unwinder::new();
    for round in 0..=NEEDED {
        memory.sampled_at += 10;
        for _ in 0..4 {
            let result = recorded.unwind_live(&mut unwinder, &sample, 1000, Some(&mut memory));
            assert_eq!(result.0 == whole, round == NEEDED, "round {round}");
        }
    }
}

#[test]
fn what_the_innermost_functions_do_meanwhile_does_not_matter() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
    memory.change = Some((0, sample.sp()));
    let result = next(&mut recorded, &mut unwinder, &sample, &mut memory);
    assert_eq!(result, (whole, ChainEnd::Root));
}

#[test]
fn an_address_in_memory_that_follows_no_call_is_no_caller() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    let (start, stack) = &mut memory.parts[0];
    let main = whole[whole.len() - 4]; // called by two functions of libc, and _start
    let slot = (COPY..stack.len() - 7)
        .step_by(8)
        .find(|&at| stack[at..at + 8] == (main + 1).to_le_bytes())
        .unwrap();
    assert!(*start + slot as u64 > sample.sp() + COPY as u64);
    stack[slot..slot + 8].copy_from_slice(&(main + 2).to_le_bytes());
    let mut unwinder = experienced(&mut recorded, &sample, &mut memory);
    let (chain, end) = next(&mut recorded, &mut unwinder, &sample, &mut memory);
    assert_eq!(end, ChainEnd::BadFrame);
    assert_eq!(chain, whole[..whole.len() - 4]);
}

#[test]
fn memory_that_cannot_be_read_leaves_the_stack_cut() {
    let Some((mut recorded, sample, _, _)) = deep() else {
        return;
    };
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);
    let mut nothing = Array::default();
    let result = recorded.unwind_live(&mut Unwinder::new(), &sample, 1000, Some(&mut nothing));
    assert_eq!(result, cut);
}

#[test]
fn the_stack_that_a_handler_on_another_one_interrupted_is_read_as_long_as_the_handler_runs() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "altstack", WHOLE) else {
        return;
    };
    let position = |inside| {
        let mut samples = recorded.samples.iter();
        samples.position(|sample| sample.is_inside_handler == inside)
    };
    let (inside, interrupted) = (position(true).unwrap(), position(false).unwrap());
    let (outer, end) = recorded.unwind(&mut Unwinder::new(), interrupted);
    assert_eq!(end, ChainEnd::Root);
    let memory = Array::of(&recorded.samples);
    let mut samples = std::mem::take(&mut recorded.samples);
    let sample = samples.remove(inside);
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);

    let mut now = Array {
        parts: memory.parts.clone(),
        ..Array::default()
    };
    let mut unwinder = Unwinder::new();
    for _ in 0..2 {
        assert_eq!(next(&mut recorded, &mut unwinder, &sample, &mut now), cut);
    }
    let (chain, end) = next(&mut recorded, &mut unwinder, &sample, &mut now);
    assert_eq!(end, ChainEnd::Root);
    assert_eq!(chain[chain.len() - outer.len()..], outer);
    assert_eq!(chain[..cut.0.len()], cut.0);

    // the register that the kernel saved last, which only another signal writes again
    let stack_pointer = samples[0].sp().to_le_bytes();
    let mut words = (0..sample.stack.len() - 7).step_by(8);
    let saved = words.find(|&at| sample.stack[at..at + 8] == stack_pointer);
    for before_read in 0..3 {
        let mut now = Array {
            parts: memory.parts.clone(),
            ..Array::default()
        };
        let mut unwinder = experienced(&mut recorded, &sample, &mut now);
        now.change = Some((before_read, sample.sp() + saved.unwrap() as u64));
        let result = next(&mut recorded, &mut unwinder, &sample, &mut now);
        assert_eq!(result, cut, "before read {before_read}");
    }
}
