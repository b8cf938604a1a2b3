//! Compares the time per frame with framehop's on the same stacks, in one process, so that the ratio
//! means something on a busy machine. Prints, asserts nothing about time.
//!
//! `cargo bench -p prof-unwinder`

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use prof_unwinder::{Process, Unwinder, UserState};
use support::{FRAME_POINTER, Framehop, NO_FRAME_POINTER, Recorded, Sample, WHOLE, record};

const ROUNDS: usize = 15;

fn main() {
    let cases = [
        ("every instruction", NO_FRAME_POINTER, "step"),
        (
            "every instruction, -fno-omit-frame-pointer",
            FRAME_POINTER,
            "step",
        ),
        ("107 frames", NO_FRAME_POINTER, "deep"),
    ];
    for (name, flags, mode) in cases {
        if let Some(recorded) = record(flags, mode, WHOLE) {
            compare(name, recorded);
        }
    }
}

/// Only stacks on which both find the same frames count.
fn compare(name: &str, mut recorded: Recorded) {
    let mut ours = Unwinder::new();
    let mut theirs = Framehop::new(&recorded);
    let mut samples = std::mem::take(&mut recorded.samples);
    let (mut chain, mut frames, mut total) = (Vec::new(), 0, 0);
    let asked = samples.len();
    samples.retain(|sample| {
        let (expected, _) = recorded.unwind_sample(&mut ours, sample, usize::MAX);
        total += expected.len();
        let same = theirs.unwind(sample, &mut chain) && chain == expected;
        frames += if same { expected.len() } else { 0 };
        same
    });
    let repeat = (200_000 / frames.max(1)).max(1);
    let per_frame = |time: Duration| time.as_nanos() as f64 / (frames * repeat) as f64;
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let ours = per_frame(time(repeat, || {
            our_frames(&mut ours, &mut recorded, &samples)
        }));
        let theirs = per_frame(time(repeat, || their_frames(&mut theirs, &samples)));
        best = (best.0.min(ours), best.1.min(theirs));
    }
    println!(
        "{name}: {} of {asked} stacks alike, {frames} frames: ours {:.1} ns a frame, framehop {:.1}, \
         ratio {:.2}",
        samples.len(),
        best.0,
        best.1,
        best.0 / best.1
    );
    println!("  {:?}", ours.stats());
}

fn time(repeat: usize, mut run: impl FnMut() -> usize) -> Duration {
    let start = Instant::now();
    for _ in 0..repeat {
        black_box(run());
    }
    start.elapsed()
}

fn our_frames(unwinder: &mut Unwinder, recorded: &mut Recorded, samples: &[Sample]) -> usize {
    let space = recorded.space.clone();
    let mut out = Vec::new();
    let mut frames = 0;
    for sample in samples {
        let process = Process {
            space: &space,
            images: &mut *recorded,
            live: None,
        };
        let state = UserState {
            regs: &sample.regs,
            stack: &sample.copy(),
            kernel_chain: &sample.kernel_chain,
        };
        unwinder.unwind(process, state, 1000, &mut out);
        frames += black_box(&out).len();
    }
    frames
}

fn their_frames(framehop: &mut Framehop, samples: &[Sample]) -> usize {
    let mut out = Vec::new();
    let mut frames = 0;
    for sample in samples {
        framehop.unwind(sample, &mut out);
        frames += black_box(&out).len();
    }
    frames
}
