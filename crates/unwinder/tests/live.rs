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
    let mut recorded = record(NO_FRAME_POINTER, "deep", WHOLE)?;
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
    let mut unwinder = Unwinder::new();
    let result = recorded.unwind_live(&mut unwinder, &sample, 1000, Some(&mut memory));
    assert_eq!(result, (whole, ChainEnd::Root));
    let stats = unwinder.stats();
    assert_eq!((stats.continued_live, stats.moved_on), (1, 0));
    assert_eq!(memory.reads, 3, "the proof, the rest, the proof again");
}

#[test]
fn a_stack_that_has_moved_on_is_cut_where_its_copy_is() {
    let Some((mut recorded, sample, _, memory)) = deep() else {
        return;
    };
    let cut = recorded.unwind_sample(&mut Unwinder::new(), &sample, 1000);
    assert_eq!(cut.1, ChainEnd::TruncatedCopy);
    let end = sample.sp() + COPY as u64;
    for at in [end - 1, end - 500, end - 2048, end - 4096] {
        for before_read in 0..3 {
            let mut unwinder = Unwinder::new();
            let mut memory = Array {
                parts: memory.parts.clone(),
                change: Some((before_read, at)),
                reads: 0,
            };
            let result = recorded.unwind_live(&mut unwinder, &sample, 1000, Some(&mut memory));
            assert_eq!(result, cut, "{at:#x} before read {before_read}");
            let stats = unwinder.stats();
            assert_eq!((stats.continued_live, stats.moved_on), (0, 1));
        }
    }
}

#[test]
fn what_the_innermost_functions_do_meanwhile_does_not_matter() {
    let Some((mut recorded, sample, whole, mut memory)) = deep() else {
        return;
    };
    memory.change = Some((0, sample.sp()));
    let result = recorded.unwind_live(&mut Unwinder::new(), &sample, 1000, Some(&mut memory));
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
    let (chain, end) = recorded.unwind_live(&mut Unwinder::new(), &sample, 1000, Some(&mut memory));
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
    let (chain, end) = recorded.unwind_live(&mut Unwinder::new(), &sample, 1000, Some(&mut now));
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
            change: Some((before_read, sample.sp() + saved.unwrap() as u64)),
            reads: 0,
        };
        let result = recorded.unwind_live(&mut Unwinder::new(), &sample, 1000, Some(&mut now));
        assert_eq!(result, cut, "before read {before_read}");
    }
}
