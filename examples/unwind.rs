//! Takes one sample of a process in user code and unwinds its stack.
//!
//!     cargo run -p prof-examples --bin unwind -- PID

use std::error::Error;
use std::io;
use std::time::Duration;

use prof_event::{EventSet, EventSpec, RawRecord, Record, Sample, Tracker};
use prof_model::{AddressSpace, DsoId, DsoTable, Pid, VirtAddr};
use prof_sampler::{Options, Rate, Sampler, Sink, Target};
use prof_symbolizer::{FileFinder, FoundFile};
use prof_unwinder::{Arch, Bytes, Images, Process, Regs, StackCopy, Unwinder, UserState};

/// The bytes of the files that a process has mapped.
struct Files<'a> {
    pid: Pid,
    space: &'a AddressSpace,
    dsos: &'a DsoTable,
}

impl Files<'_> {
    fn open(&self, dso: DsoId) -> Option<FoundFile> {
        let mapping = self.space.iter().find(|mapping| mapping.dso == dso)?;
        let dso = self.dsos.get(dso);
        let finder = FileFinder::default();
        let found = finder.open_live(self.pid, mapping.start, mapping.end, dso);
        found.ok()
    }
}

impl Images for Files<'_> {
    fn image(&mut self, dso: DsoId) -> Option<Bytes> {
        Some(self.open(dso)?.image)
    }

    fn debug_image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = self.open(dso)?;
        let debug = FileFinder::default().open_debug(&file, self.dsos.get(dso))?;
        Some(debug.image)
    }
}

/// Unwinds the first sample.
struct First {
    events: EventSet,
    tracker: Tracker,
    lines: Vec<String>,
}

impl First {
    fn unwind(&mut self, sample: &Sample<'_>) -> Option<()> {
        let (regs, stack) = (sample.user_regs?, sample.user_stack?);
        let regs = Regs::from_perf(Arch::X86_64, regs.mask, regs.values.iter());
        let full = stack.bytes.len() == stack.capacity;
        let copy = StackCopy::new(VirtAddr(regs.sp()?), stack.bytes, full);
        let processes = &self.tracker.processes;
        let space = processes.space(sample.pid)?;
        let mut files = Files {
            pid: sample.pid,
            space,
            dsos: &processes.dsos,
        };
        let mut chain = Vec::new();
        let process = Process {
            space,
            images: &mut files,
            live: None,
        };
        let state = UserState {
            regs: &regs,
            stack: &copy,
            kernel_chain: &[],
        };
        let end = Unwinder::new().unwind(process, state, 1024, &mut chain);
        for addr in chain {
            let mapping = space.find(addr)?;
            let dso = processes.dsos.get(mapping.dso).short_name();
            let offset = mapping.dso_addr(addr).0;
            self.lines.push(format!("{:#x}  {dso}+{offset:#x}", addr.0));
        }
        self.lines.push(end.describe().to_owned());
        Some(())
    }
}

impl Sink for First {
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
        let decoded = self.events.decode(raw).map_err(io::Error::other)?;
        match &decoded.record {
            Record::Sample(sample) if self.lines.is_empty() => {
                self.unwind(sample);
            }
            record => self.tracker.apply(record),
        }
        Ok(())
    }

    fn finish_round(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let pid = std::env::args().nth(1).ok_or("which process?")?.parse()?;
    let mut sampler = Sampler::open(Options {
        events: EventSpec::parse("cpu-clock:u")?.into(),
        ..Options::new(Target::Processes(vec![Pid(pid)]), Rate::Frequency(99))
    })?;
    let mut first = First {
        events: sampler.events().clone(),
        tracker: Tracker::default(),
        lines: Vec::new(),
    };
    sampler.start(None, Duration::ZERO, &mut first)?;
    while first.lines.is_empty() && !sampler.target_exited() {
        sampler.wait(Duration::from_millis(100), &[])?;
        sampler.round(&mut first)?;
    }
    first.lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
