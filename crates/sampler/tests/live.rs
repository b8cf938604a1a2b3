//! The sampler on real processes.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prof_event::{EventList, EventSpec, RawRecord, Record, Tracker, abi};
use prof_model::{Pid, Tid, VirtAddr};
use prof_sampler::{
    Clock, HeldCommand, Options, Rate, Sampler, Sink, StackCapture, StackCopies, Target,
};

/// Keeps every record.
#[derive(Default)]
struct Kept(Vec<Vec<u8>>);

impl Sink for Kept {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        self.0.push(raw.bytes.to_vec());
        Ok(())
    }
    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(target: Target) -> Options {
    Options {
        events: EventSpec::parse("cpu-clock").unwrap().into(),
        stacks: StackCapture::Copy(16384),
        ..Options::new(target, Rate::Frequency(999))
    }
}

/// A shell that computes until it is dropped.
struct Spinning(Child);

impl Spinning {
    fn start(script: &str) -> Self {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(Stdio::null());
        Self(shell.spawn().expect("sh"))
    }
    fn pid(&self) -> Pid {
        Pid(self.0.id() as i32)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sample_for(sampler: &mut Sampler, kept: &mut Kept, time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        sampler
            .wait(left.min(Duration::from_millis(50)), &[])
            .unwrap();
        sampler.round(kept).unwrap();
    }
}

#[test]
fn a_running_process_is_sampled_in_time_order_with_registers_stack_and_mappings() {
    let target = Spinning::start("while :; do :; done");
    let mut sampler = Sampler::open(options(Target::Processes(vec![target.pid()]))).unwrap();
    let mut kept = Kept::default();
    sampler.start(None, Duration::ZERO, &mut kept).unwrap();
    sample_for(&mut sampler, &mut kept, Duration::from_millis(500));
    sampler.finish(&mut kept).unwrap();

    let mut tracker = Tracker::default();
    let (mut samples, mut last) = (0, 0);
    for bytes in &kept.0 {
        let raw = RawRecord::parse(bytes).unwrap();
        let decoded = sampler.events().decode(raw).unwrap();
        tracker.apply(&decoded.record);
        let time = decoded.id.time.unwrap();
        assert!(time == 0 || time >= last, "time went back");
        last = last.max(time);
        let Record::Sample(sample) = decoded.record else {
            continue;
        };
        samples += 1;
        assert_eq!(sample.pid, target.pid());
        assert!(sample.period > 900_000, "999 Hz of nanoseconds");
        let regs = sample.user_regs.expect("a user process has registers");
        let ip = regs.values.iter().nth(8).unwrap();
        let space = tracker
            .processes
            .space(sample.pid)
            .expect("its mappings came first");
        assert!(space.find(VirtAddr(ip)).is_some(), "{ip:#x} is mapped");
        assert!(!sample.user_stack.unwrap().bytes.is_empty());
    }
    // A busy loop gives about 500 on a free CPU; on a crowded one at least its share.
    assert!(samples > 20, "{samples} samples");
}

#[test]
fn a_command_is_sampled_from_its_exec_and_so_are_its_children() {
    let argv = [
        "sh",
        "-c",
        "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0; exit 3",
    ];
    let held = HeldCommand::fork(&argv.map(OsString::from)).unwrap();
    let pid = held.pid();
    let mut sampler = Sampler::open(options(Target::Command(pid))).unwrap();
    let mut kept = Kept::default();
    sampler.start(None, Duration::ZERO, &mut kept).unwrap();
    let mut command = held.release().unwrap();
    while command.try_wait().unwrap().is_none() {
        sample_for(&mut sampler, &mut kept, Duration::from_millis(20));
    }
    sampler.finish(&mut kept).unwrap();
    assert_eq!(command.wait().unwrap().code(), 3);

    let mut execs = Vec::new();
    let mut exits = Vec::new();
    let mut samples = 0;
    for bytes in &kept.0 {
        let decoded = sampler
            .events()
            .decode(RawRecord::parse(bytes).unwrap())
            .unwrap();
        match decoded.record {
            Record::Comm {
                pid: who,
                exec: true,
                name,
                ..
            } => {
                execs.push((who == pid, String::from_utf8_lossy(name).into_owned()));
            }
            Record::Exit(task) => exits.push(task.pid == pid),
            Record::Sample(_) => samples += 1,
            _ => {}
        }
    }
    assert_eq!(
        execs,
        [(true, "sh".to_owned()), (false, "sleep".to_owned())]
    );
    assert_eq!(exits, [false, true]);
    assert!(samples > 5, "{samples} samples");
}

#[test]
fn the_attr_asks_for_what_the_options_say() {
    let target = Spinning::start("exec sleep 60");
    let mut asked = options(Target::Processes(vec![target.pid()]));
    asked.rate = Rate::Period(12345);
    asked.events = EventList::default();
    asked.events.add("task-clock:u,context-switches").unwrap();
    let sampler = Sampler::open(asked).unwrap();
    let [clock, switches] = sampler.events().events() else {
        panic!("two events")
    };
    assert_eq!((clock.attr.kind, clock.attr.config), (1, 1));
    assert_eq!(clock.attr.sample_period_or_freq, 12345);
    assert!(
        clock
            .attr
            .has(abi::flag::EXCLUDE_KERNEL | abi::flag::MMAP2 | abi::flag::INHERIT)
    );
    assert!(!clock.attr.has(abi::flag::FREQ));
    assert_eq!(
        (clock.attr.clockid, clock.attr.sample_stack_user),
        (1, 16384)
    );
    assert!(!switches.attr.has(abi::flag::MMAP2) && !switches.attr.has(abi::flag::EXCLUDE_KERNEL));
    assert_eq!(clock.ids.len(), prof_sampler::online_cpus().len());
}

#[test]
fn a_target_that_is_not_there_is_named() {
    let mut gone = Spinning::start("exit 0");
    gone.0.wait().unwrap();
    let error = Sampler::open(options(Target::Processes(vec![gone.pid()]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no process or thread with id {}", gone.pid())
    );
}

/// One after another: children that compute and end, as a shell starts them.
const CHILDREN: &str = "while :; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; done";

#[test]
fn copies_become_small_and_large_again_and_nothing_is_missed() {
    const LARGE: u32 = 16384;
    const SMALL: u32 = 256;
    let copies = |bytes| match bytes {
        SMALL => StackCopies::Small,
        _ => StackCopies::Large,
    };
    let target = Spinning::start(CHILDREN);
    let mut options = options(Target::Processes(vec![target.pid()]));
    options.stacks = StackCapture::CopyAsNeeded {
        large: LARGE,
        small: SMALL,
    };
    let mut sampler = Sampler::open(options).unwrap();
    assert_eq!(sampler.small_copy(), Some(SMALL));
    let ids = &sampler.events().events()[0].ids;
    // Two or, with the one for deep stacks, three on each CPU: of the process, and of each child that it has just
    // started.
    let variants = 2 + usize::from(sampler.reads_deep_stacks().is_ok());
    let of_one = variants * prof_sampler::online_cpus().len();
    assert!(!ids.is_empty() && ids.len().is_multiple_of(of_one));
    let mut kept = Kept::default();
    sampler.start(None, Duration::ZERO, &mut kept).unwrap();
    let mut spans = Vec::new();
    for bytes in [LARGE, SMALL, LARGE, SMALL] {
        sampler.use_copies(copies(bytes)).unwrap();
        let since = Clock::MONOTONIC.now();
        sample_for(&mut sampler, &mut kept, Duration::from_millis(300));
        spans.push((since..Clock::MONOTONIC.now(), bytes));
    }
    sampler.finish(&mut kept).unwrap();

    let mut tracker = Tracker::default();
    let mut seen = vec![(0, 0); spans.len()]; // samples, and new processes
    for bytes in &kept.0 {
        let decoded = RawRecord::parse(bytes).unwrap();
        let decoded = sampler.events().decode(decoded).unwrap();
        tracker.apply(&decoded.record);
        let time = decoded.id.time.unwrap();
        let Some(span) = spans.iter().position(|(span, _)| span.contains(&time)) else {
            continue;
        };
        match decoded.record {
            Record::Sample(sample) => {
                let (Some(stack), Some(regs)) = (sample.user_stack, sample.user_regs) else {
                    continue; // a process that ends
                };
                seen[span].0 += 1;
                assert_eq!(stack.capacity, spans[span].1 as usize);
                let chain: Vec<_> = sample.callchain.unwrap().iter().collect();
                let walked = chain.contains(&abi::callchain::USER);
                assert_eq!(walked, spans[span].1 == LARGE, "{chain:x?}");
                let ip = VirtAddr(regs.values.iter().nth(8).unwrap());
                let space = tracker.processes.space(sample.pid);
                let mode = sample.mode;
                if mode == prof_model::CpuMode::User {
                    assert!(
                        space.is_some_and(|space| space.find(ip).is_some()),
                        "{ip:?}"
                    );
                }
            }
            Record::Fork(task) if task.pid != task.ppid => seen[span].1 += 1,
            _ => {}
        }
    }
    // A free CPU gives 300 samples and a hundred processes.
    for (samples, processes) in &seen {
        assert!(*samples > 15 && *processes > 2, "{seen:?}");
    }
}

#[test]
fn what_is_counted_is_always_copied_whole() {
    let target = Spinning::start("exec sleep 60");
    for (events, rate) in [
        ("cpu-clock", Rate::Period(1_000_000)),
        ("cpu-clock,sched:sched_switch", Rate::Frequency(999)),
        ("{cpu-clock,context-switches}:S", Rate::Frequency(999)),
    ] {
        let mut options = options(Target::Threads(vec![Tid(target.pid().0)]));
        options.inherit = false;
        options.rate = rate;
        options.stacks = StackCapture::CopyAsNeeded {
            large: 16384,
            small: 4096,
        };
        options.events = EventList::default();
        options.events.add(events).unwrap();
        let mut sampler = Sampler::open(options).unwrap();
        assert_eq!(sampler.small_copy(), None, "{events}");
        sampler.use_copies(StackCopies::Small).unwrap(); // nothing to switch
    }
}
