//! Records as the kernel writes them, and files of them.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use prof_event::abi::{X86_USER_REGS, event_type, flag, misc, read_format, record, sample};
use prof_event::{Event, EventAttr, EventSet, RawRecord, RecordBuilder, SampleId};
use prof_perfdata::{Features, RecordSink, StoredNames, Writer, WriterOptions};

/// Where the kernel lies in these recordings.
pub(crate) const KERNEL: Range<u64> = 0xffff_ffff_8100_0000..0xffff_ffff_8200_0000;
/// An address of its text.
pub(crate) const IN_KERNEL: u64 = KERNEL.start + 0x1000;
/// Where programs lie in these recordings.
pub(crate) const TEXT: Range<u64> = 0x40_0000..0x41_0000;
/// A process that does not run: there are no such numbers.
pub(crate) const NOBODY: u32 = 5_000_000;
/// The mode of a sample that interrupted the kernel.
pub(crate) const KERNEL_MODE: u16 = misc::KERNEL;

/// `cpu-clock` by the clock of JIT compilers, whose samples have who, where, when and a callchain, and
/// what `more` asks for.
pub(crate) fn attr(more: u64) -> EventAttr {
    EventAttr {
        kind: event_type::SOFTWARE,
        sample_period_or_freq: 99,
        sample_type: sample::IDENTIFIER
            | sample::IP
            | sample::TID
            | sample::TIME
            | sample::CPU
            | sample::PERIOD
            | sample::CALLCHAIN
            | more,
        read_format: read_format::GROUP | read_format::ID,
        flags: flag::SAMPLE_ID_ALL | flag::FREQ | flag::USE_CLOCKID,
        clockid: 1, // CLOCK_MONOTONIC
        ..EventAttr::default()
    }
}

/// As [`attr`], with registers of x86-64 and copies of the stack.
pub(crate) fn unwound_attr() -> EventAttr {
    EventAttr {
        sample_regs_user: X86_USER_REGS,
        sample_stack_user: 256,
        ..attr(sample::REGS_USER | sample::STACK_USER)
    }
}

/// Events with the ids 1, 2 and so on.
pub(crate) fn event_set<const N: usize>(events: [(&str, EventAttr); N]) -> EventSet {
    let mut set = EventSet::default();
    for (id, (name, attr)) in (1..).zip(events) {
        set.push(Event {
            attr,
            name: name.to_owned(),
            ids: vec![id],
        });
    }
    set
}

/// One event, with the id 1.
pub(crate) fn one_event(attr: EventAttr) -> EventSet {
    event_set([("cpu-clock", attr)])
}

/// A sample's fields. Those that its event does not ask for are not written.
#[derive(Clone)]
pub(crate) struct Sampled {
    pub(crate) id: u64,
    pub(crate) mode: u16,
    pub(crate) ip: u64,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) time: u64,
    pub(crate) addr: u64,
    pub(crate) period: u64,
    pub(crate) counters: Vec<(u64, u64)>, // each with the id of its event
    pub(crate) chain: Vec<u64>,
    pub(crate) raw: Vec<u8>,
    pub(crate) regs: Option<(u64, Vec<u64>)>, // with their ABI
    pub(crate) stack: Vec<u8>,
}

impl Default for Sampled {
    /// Of the first event and the main thread of [`NOBODY`].
    fn default() -> Self {
        Self {
            id: 1,
            mode: misc::USER,
            ip: TEXT.start,
            pid: NOBODY,
            tid: NOBODY,
            time: 100,
            addr: 0,
            period: 1,
            counters: Vec::new(),
            chain: Vec::new(),
            raw: Vec::new(),
            regs: None,
            stack: Vec::new(),
        }
    }
}

impl Sampled {
    fn write(&self, out: &mut Vec<u8>, attr: &EventAttr) {
        let has = |bit: u64| attr.sample_type & bit != 0;
        let mut record = RecordBuilder::new(out, record::SAMPLE, self.mode);
        record.u64(self.id).u64(self.ip);
        record.u32(self.pid).u32(self.tid);
        if has(sample::TIME) {
            record.u64(self.time);
        }
        if has(sample::ADDR) {
            record.u64(self.addr);
        }
        record.u32(3).u32(0); // the CPU
        record.u64(self.period);
        if has(sample::READ) {
            record.u64(self.counters.len() as u64);
            for &(value, id) in &self.counters {
                record.u64(value).u64(id);
            }
        }
        if has(sample::CALLCHAIN) {
            record.u64(self.chain.len() as u64);
            for &entry in &self.chain {
                record.u64(entry);
            }
        }
        if has(sample::RAW) {
            record.u32(self.raw.len() as u32).bytes(&self.raw);
        }
        if has(sample::REGS_USER) {
            let (abi, values) = self.regs.clone().unwrap_or_default();
            record.u64(abi);
            for value in values {
                record.u64(value);
            }
        }
        if has(sample::STACK_USER) {
            let capacity = attr.sample_stack_user as usize;
            let mut bytes = self.stack.clone();
            bytes.resize(capacity, 0);
            record.u64(capacity as u64).bytes(&bytes);
            record.u64(self.stack.len() as u64);
        }
        record.finish().expect("a sample fits into a record");
    }
}

/// Records of some events, one after the other.
pub(crate) struct Records {
    pub(crate) events: EventSet,
    pub(crate) bytes: Vec<u8>,
}

impl Records {
    pub(crate) fn of(events: EventSet) -> Self {
        Self {
            events,
            bytes: Vec::new(),
        }
    }

    /// Records of a kernel and of [`NOBODY`], named `nobody`, which runs `/bin/a`.
    pub(crate) fn of_nobody(events: EventSet) -> Self {
        let mut records = Self::of(events);
        records.kernel().comm(0, (NOBODY, NOBODY), "nobody", false);
        records.map(0, NOBODY, TEXT, 0, "/bin/a");
        records
    }

    pub(crate) fn sample(&mut self, sampled: &Sampled) -> &mut Self {
        let event = self.events.by_id(sampled.id).expect("an event's id");
        let attr = &self.events.events()[event].attr;
        sampled.write(&mut self.bytes, attr);
        self
    }

    /// Any other record, of the first event.
    pub(crate) fn put(
        &mut self,
        time: u64,
        (kind, misc): (u32, u16),
        fill: impl FnOnce(&mut RecordBuilder<'_>),
    ) -> &mut Self {
        let sample_type = self.events.events()[0].attr.sample_type;
        let id = SampleId {
            time: Some(time),
            ..SampleId::default()
        };
        let mut record = RecordBuilder::new(&mut self.bytes, kind, misc);
        fill(&mut record);
        record.sample_id(sample_type, &id);
        record.finish().expect("it fits into a record");
        self
    }

    /// The kernel's own text, with `_text` at its start.
    pub(crate) fn kernel(&mut self) -> &mut Self {
        self.kernel_text(0, KERNEL, "[kernel.kallsyms]_text")
    }

    pub(crate) fn kernel_text(&mut self, time: u64, range: Range<u64>, name: &str) -> &mut Self {
        self.put(time, (record::MMAP, misc::KERNEL), |record| {
            record.u32(u32::MAX).u32(0);
            record.u64(range.start).u64(range.end - range.start);
            record.u64(range.start).c_string(name.as_bytes());
        })
    }

    pub(crate) fn comm(
        &mut self,
        time: u64,
        (pid, tid): (u32, u32),
        name: &str,
        exec: bool,
    ) -> &mut Self {
        let misc = if exec { misc::COMM_EXEC } else { 0 };
        self.put(time, (record::COMM, misc), |record| {
            record.u32(pid).u32(tid).c_string(name.as_bytes());
        })
    }

    /// Code of a file, from its offset `pgoff` on; of which file is known by the path alone.
    pub(crate) fn map(
        &mut self,
        time: u64,
        pid: u32,
        range: Range<u64>,
        pgoff: u64,
        path: &str,
    ) -> &mut Self {
        self.put(time, (record::MMAP2, misc::USER), |record| {
            record.u32(pid).u32(pid);
            record.u64(range.start).u64(range.end - range.start);
            record.u64(pgoff).u64(0).u64(0).u64(0); // device and inode
            record.u32(5).u32(2).c_string(path.as_bytes());
        })
    }

    /// `child` and `parent` are each a process and its thread.
    pub(crate) fn fork(&mut self, time: u64, child: (u32, u32), parent: (u32, u32)) -> &mut Self {
        self.task(record::FORK, time, child, parent)
    }

    pub(crate) fn exit(&mut self, time: u64, task: (u32, u32)) -> &mut Self {
        self.task(record::EXIT, time, task, task)
    }

    fn task(&mut self, kind: u32, time: u64, task: (u32, u32), by: (u32, u32)) -> &mut Self {
        self.put(time, (kind, 0), |record| {
            record.u32(task.0).u32(by.0).u32(task.1).u32(by.1).u64(time);
        })
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RawRecord<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let raw = RawRecord::parse(rest).ok()?;
            rest = &rest[raw.bytes.len()..];
            Some(raw)
        })
    }

    /// Writes them as a recording.
    pub(crate) fn save(&self, path: &Path, features: Features, names: Option<&StoredNames>) {
        let file = File::create(path).expect("a file");
        let mut writer = Writer::create(file, &self.events, WriterOptions::default()).unwrap();
        for raw in self.iter() {
            writer.record(raw.bytes).unwrap();
        }
        writer.finish(features, names).unwrap();
    }

    /// Writes them as a pipe's recording.
    pub(crate) fn save_as_pipe(&self, path: &Path) {
        let file = File::create(path).expect("a file");
        let features = Features::default();
        let mut writer = prof_perfdata::PipeWriter::create(file, &self.events, &features).unwrap();
        for raw in self.iter() {
            writer.record(raw.bytes).unwrap();
        }
        writer.finish(&[]).unwrap();
    }
}
