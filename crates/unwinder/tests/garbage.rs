//! Whatever the bytes are, the unwinder answers: no panic, no endless loop.

mod support;

use std::sync::Arc;

use prof_model::ChainEnd;
use prof_unwinder::Unwinder;
use support::{FRAME_POINTER, NO_FRAME_POINTER, Recorded, WHOLE, record};

/// xorshift64*: the same sequence on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

const MAX_FRAMES: usize = 200;

fn unwind_all(recorded: &mut Recorded, samples: &[support::Sample]) {
    let mut unwinder = Unwinder::new();
    for sample in samples {
        let (chain, end) = recorded.unwind_sample(&mut unwinder, sample, MAX_FRAMES);
        assert_eq!(chain[0], sample.ip());
        assert!(chain.len() <= MAX_FRAMES);
        assert_eq!(end == ChainEnd::TooDeep, chain.len() == MAX_FRAMES);
    }
}

/// Some stepped samples and one from inside a signal handler.
fn samples() -> Option<Recorded> {
    let mut recorded = record(NO_FRAME_POINTER, "step", WHOLE)?;
    let mut index = 0;
    recorded.samples.retain(|_| {
        index += 1;
        index % 100 == 0
    });
    Some(recorded)
}

#[test]
fn corrupt_registers_and_stacks_are_survived() {
    let inside = record(FRAME_POINTER, "inside", WHOLE);
    for recorded in [samples(), inside] {
        let Some(mut recorded) = recorded else { return };
        let mut random = Random(1);
        for _ in 0..50 {
            let mut samples = std::mem::take(&mut recorded.samples);
            for sample in &mut samples {
                let saved = sample.stack.clone();
                for _ in 0..8 {
                    let at = random.below(sample.stack.len());
                    sample.stack[at] = random.next() as u8;
                }
                // a word that points into the stack is the worst
                let at = random.below(sample.stack.len() / 8) * 8;
                let to = sample.sp() + random.below(sample.stack.len()) as u64;
                if let Some(word) = sample.stack.get_mut(at..at + 8) {
                    word.copy_from_slice(&to.to_le_bytes());
                }
                let regs = sample.regs;
                match random.below(4) {
                    0 => sample.regs.set(random.below(16) as u16, random.next()),
                    1 => sample.regs.set(6, to),
                    2 => sample.regs.set(7, u64::MAX - random.below(64) as u64),
                    _ => {}
                }
                unwind_all(&mut recorded, std::slice::from_ref(sample));
                sample.regs = regs;
                sample.stack = saved;
            }
            recorded.samples = samples;
        }
    }
}

#[test]
fn corrupt_files_are_survived() {
    let Some(mut recorded) = samples() else {
        return;
    };
    let samples = std::mem::take(&mut recorded.samples);
    let original = recorded.files.clone();
    let mut random = Random(2);
    for round in 0..150 {
        for file in recorded.files.values_mut() {
            let mut bytes = file.to_vec();
            let window = match round % 3 {
                0 => 0..0x400,       // ELF and program headers
                1 => 0..bytes.len(), // anything
                _ => tables(&bytes), // the tables themselves
            };
            let flips = if round % 3 == 1 { bytes.len() / 50 } else { 40 };
            for _ in 0..flips {
                let at = window.start + random.below(window.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            if round % 10 == 0 {
                bytes.truncate(random.below(bytes.len()));
            }
            *file = Arc::new(bytes);
        }
        unwind_all(&mut recorded, &samples);
        recorded.files = original.clone();
    }
}

/// Where the unwind tables are in a file.
fn tables(bytes: &[u8]) -> std::ops::Range<usize> {
    use object::{Object, ObjectSection};
    let object = object::File::parse(bytes).unwrap();
    let range = |name| {
        let (start, size) = object.section_by_name(name)?.file_range()?;
        Some((start as usize, (start + size) as usize))
    };
    let (start, _) = range(".eh_frame_hdr").unwrap();
    let (_, end) = range(".eh_frame").unwrap();
    start.min(end)..end
}
