//! What lies behind the copy of a stack, on a thread of this process.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use prof_event::{EventSet, EventSpec, RawRecord, Record};
use prof_model::{Pid, Tid, VirtAddr};
use prof_sampler::{
    Clock, Options, Rate, Sampler, Sink, StackCapture, StackCopies, StackPart, Target,
};

const COPY: u32 = 32_768;
/// Frames of 1 KiB: behind the copy and what is handed over in one piece, and not so much that the program
/// leaves any out.
const DEPTH: u32 = 100;
const MAGIC: u64 = 0x6c61_7374_2077_6f72;

/// Parts of a stack, and of samples how much of it is known with them.
struct Samples {
    events: EventSet,
    marker: VirtAddr,
    since: u64,
    parts: Vec<(Tid, VirtAddr, u64, VirtAddr, Vec<u8>)>,
    taken: usize,
    whole: usize,
}

impl Sink for Samples {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        let decoded = self.events.decode(raw).unwrap();
        let Record::Sample(sample) = decoded.record else {
            return Ok(());
        };
        let (Some(stack), Some(regs), Some(time)) =
            (sample.user_stack, sample.user_regs, sample.time)
        else {
            return Ok(());
        };
        let sp = regs.values.iter().nth(7).unwrap();
        if time < self.since {
            return Ok(());
        }
        self.taken += 1;
        let mut end = sp + stack.bytes.len() as u64;
        let mut marked = false;
        let parts = self.parts.extract_if(.., |(tid, of, read, ..)| {
            *tid == sample.tid && of.0 == sp && read.wrapping_sub(time) < 100_000
        });
        for (.., addr, bytes) in parts {
            assert!(addr.0 <= end, "a gap");
            if let Some(copied) = stack.bytes.get((addr.0 - sp) as usize..) {
                let both = copied.len().min(bytes.len());
                assert_eq!(copied[..both], bytes[..both]); // of one moment
            }
            end = addr.0 + bytes.len() as u64;
            let at = self.marker.0.checked_sub(addr.0).map(|at| at as usize);
            let word = at.and_then(|at| bytes.get(at..)?.first_chunk());
            marked |= word.is_some_and(|word| u64::from_le_bytes(*word) == MAGIC);
        }
        self.whole += usize::from(marked);
        Ok(())
    }

    fn stack_part(&mut self, part: StackPart<'_>) -> io::Result<()> {
        let bytes = part.bytes.to_vec();
        self.parts
            .push((part.tid, part.sp, part.time, part.addr, bytes));
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recurse(depth: u32, at_the_end: &mut dyn FnMut()) {
    let frame = black_box([depth as u8; 1024]);
    match depth {
        0 => at_the_end(),
        _ => recurse(depth - 1, at_the_end),
    }
    black_box(frame);
}

#[test]
fn a_stack_is_read_to_its_end_in_the_moment_of_the_sample() {
    let (tell, told) = mpsc::channel();
    let is_over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let marker = black_box(MAGIC);
            let tid = Tid(nix::unistd::gettid().as_raw());
            recurse(DEPTH, &mut || {
                tell.send((tid, (&raw const marker) as u64)).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    black_box(0);
                }
            });
            black_box(marker);
        });
        let (tid, marker) = told.recv().unwrap();
        let samples = sample(tid, VirtAddr(marker));
        is_over.store(true, Ordering::Relaxed);
        if let Some(Samples { taken, whole, .. }) = samples {
            // 100 on a free CPU
            assert!(
                taken > 20 && whole * 100 >= taken * 98,
                "{whole} of {taken}"
            );
        }
    });
}

fn sample(tid: Tid, marker: VirtAddr) -> Option<Samples> {
    let options = Options {
        events: EventSpec::parse("cpu-clock").unwrap().into(),
        stacks: StackCapture::Copy(COPY),
        ..Options::new(Target::Threads(vec![tid]), Rate::Frequency(199))
    };
    let mut sampler = Sampler::open(options).unwrap();
    if let Err(reason) = sampler.reads_deep_stacks() {
        println!("skipped: {reason}");
        return None;
    }
    let mut samples = Samples {
        events: sampler.events().clone(),
        marker,
        since: u64::MAX,
        parts: Vec::new(),
        taken: 0,
        whole: 0,
    };
    sampler.start(None, Duration::ZERO, &mut samples).unwrap();
    let pid = Pid(std::process::id() as i32);
    sampler.read_behind_copies(pid, tid, marker).unwrap();
    if let Err(reason) = sampler.reads_deep_stacks() {
        println!("skipped: {reason}");
        return None;
    }
    sampler.use_copies(StackCopies::Deep).unwrap();
    samples.since = Clock::MONOTONIC.now();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        sampler.wait(Duration::from_millis(1), &[]).unwrap();
        sampler.round(&mut samples).unwrap();
    }
    sampler.finish(&mut samples).unwrap();
    Some(samples)
}

#[test]
fn who_asks_for_several_events_or_another_clock_has_no_deep_stacks() {
    let ourselves = Target::Processes(vec![Pid(std::process::id() as i32)]);
    let options = Options::new(ourselves, Rate::Frequency(99));
    for (events, clock, stacks) in [
        (
            "cpu-clock,task-clock",
            Clock::MONOTONIC,
            StackCapture::Copy(COPY),
        ),
        (
            "cpu-clock",
            Clock::by_name("raw").unwrap(),
            StackCapture::Copy(COPY),
        ),
        ("cpu-clock", Clock::MONOTONIC, StackCapture::FramePointers),
    ] {
        let mut list = prof_event::EventList::default();
        list.add(events).unwrap();
        let options = Options {
            events: list,
            clock,
            stacks,
            ..options.clone()
        };
        let sampler = Sampler::open(options).unwrap();
        assert!(sampler.reads_deep_stacks().is_err(), "{events} {stacks:?}");
    }
}
