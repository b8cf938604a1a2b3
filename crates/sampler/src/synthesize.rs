//! Records for what was there before sampling began: names, mappings, the kernel's text.

use std::fs;

use prof_event::abi::{ksymbol, misc, record};
use prof_event::{RecordBuilder, SampleId};
use prof_model::{KernelLayout, KernelProgram, Pid, Tid};

use crate::proc::{self, MapLine};

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;

/// Appends made-up records to a buffer. Their trailer is all zero, as perf writes it: a time of 0
/// says that they hold from the beginning.
#[derive(Debug)]
pub(crate) struct Synthesizer<'b> {
    pub(crate) out: &'b mut Vec<u8>,
    pub(crate) sample_type: u64,
}

impl Synthesizer<'_> {
    fn record(&mut self, kind: u32, misc: u16, fill: impl FnOnce(&mut RecordBuilder<'_>)) {
        let sample_type = self.sample_type;
        let mut record = RecordBuilder::new(self.out, kind, misc);
        fill(&mut record);
        record.sample_id(sample_type, &SampleId::default());
        // A name longer than 64 KiB cannot come from /proc; the record is left out.
        let _ = record.finish();
    }

    /// The kernel's own text, BPF programs, modules.
    pub(crate) fn kernel(&mut self, layout: Option<&KernelLayout>) {
        if let Some(KernelLayout { text, programs }) = layout {
            let name = format!("{}{}", prof_event::KERNEL_NAME, text.reference);
            let len = text.end.saturating_sub(text.start);
            self.kernel_map(text.start, len, text.start, name.as_bytes());
            programs.iter().for_each(|it| self.program(it));
        }
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        for line in modules.lines() {
            if let Some((name, start, len)) = parse_module(line) {
                self.kernel_map(start, len, 0, format!("[{name}]").as_bytes());
            }
        }
    }

    fn program(&mut self, program: &KernelProgram) {
        self.record(record::KSYMBOL, 0, |record| {
            record
                .u64(program.start)
                .u32(program.len)
                .u16(ksymbol::BPF)
                .u16(0);
            record.c_string(program.name.as_bytes());
        });
    }

    fn kernel_map(&mut self, start: u64, len: u64, pgoff: u64, name: &[u8]) {
        self.record(record::MMAP, misc::KERNEL, |record| {
            record
                .u32(u32::MAX)
                .u32(0)
                .u64(start)
                .u64(len)
                .u64(pgoff)
                .c_string(name);
        });
    }

    /// A process: its threads' names, and what it may execute. With `lineage`, also who forked it.
    /// What cannot be read (it exited, it is somebody else's) is left out; returns whether the
    /// mappings could be read.
    pub(crate) fn process(&mut self, pid: Pid, lineage: bool) -> bool {
        for tid in proc::threads(pid).unwrap_or_default() {
            if lineage {
                self.fork(pid, tid);
            }
            self.comm(pid, tid);
        }
        let Ok(maps) = proc::maps(pid) else {
            return false;
        };
        maps.iter()
            .filter(|map| map.is_executable())
            .for_each(|map| self.mmap(pid, map));
        true
    }

    fn fork(&mut self, pid: Pid, tid: Tid) {
        let parent = if tid.0 == pid.0 {
            proc::status_number(pid.0, "PPid").unwrap_or(0)
        } else {
            pid.0
        };
        self.record(record::FORK, misc::FORK_EXEC, |record| {
            record
                .u32(pid.0 as u32)
                .u32(parent as u32)
                .u32(tid.0 as u32)
                .u32(parent as u32);
            record.u64(0);
        });
    }

    /// A thread's name.
    pub(crate) fn comm(&mut self, pid: Pid, tid: Tid) {
        let Ok(name) = proc::comm(pid, tid) else {
            return;
        };
        self.record(record::COMM, 0, |record| {
            record.u32(pid.0 as u32).u32(tid.0 as u32).c_string(&name);
        });
    }

    /// What a process has mapped.
    pub(crate) fn mmap(&mut self, pid: Pid, map: &MapLine) {
        let anonymous = map.name.is_empty();
        let name = if anonymous { b"//anon" } else { &map.name[..] };
        let offset = if anonymous { map.start } else { map.offset }; // as the kernel's own records
        let flags = if map.shared { MAP_SHARED } else { MAP_PRIVATE };
        self.record(record::MMAP2, misc::USER, |record| {
            record.u32(pid.0 as u32).u32(pid.0 as u32);
            record.u64(map.start).u64(map.end - map.start).u64(offset);
            record.u32(map.file.major).u32(map.file.minor);
            record.u64(map.file.inode).u64(map.file.generation);
            record.u32(map.prot).u32(flags).c_string(name);
        });
    }
}

/// `xfs 2056192 1 - Live 0xffffffffc0a00000`
fn parse_module(line: &str) -> Option<(&str, u64, u64)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let len = words.next()?.parse().ok()?;
    let start = u64::from_str_radix(words.nth(3)?.strip_prefix("0x")?, 16).ok()?;
    (start != 0).then_some((name, start, len)) // 0: kptr_restrict
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::abi::{flag, sample};
    use prof_event::{EventAttr, RawRecord, Record, Tracker, decode};

    #[test]
    fn a_module_line_names_its_address_and_length() {
        let line = "xfs 2056192 1 - Live 0xffffffffc0a00000";
        assert_eq!(
            parse_module(line),
            Some(("xfs", 0xffff_ffff_c0a0_0000, 2_056_192))
        );
        assert_eq!(
            parse_module("xfs 2056192 1 - Live 0x0000000000000000"),
            None
        );
    }

    #[test]
    fn the_records_of_this_process_map_the_code_that_runs_here() {
        let pid = Pid(std::process::id() as i32);
        let attr = EventAttr {
            sample_type: sample::TID | sample::TIME | sample::CPU | sample::IDENTIFIER,
            flags: flag::SAMPLE_ID_ALL,
            ..EventAttr::default()
        };
        let mut bytes = Vec::new();
        let sample_type = attr.sample_type;
        let mut synthesizer = Synthesizer {
            out: &mut bytes,
            sample_type,
        };
        assert!(synthesizer.process(pid, false));

        let mut tracker = Tracker::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let raw = RawRecord::parse(rest).unwrap();
            let (record, id) = decode(raw, &attr).unwrap();
            assert_eq!(id.time, Some(0));
            assert!(!matches!(record, Record::Other));
            tracker.apply(&record);
            rest = &rest[raw.bytes.len()..];
        }
        let here = prof_model::VirtAddr(
            the_records_of_this_process_map_the_code_that_runs_here as *const () as u64,
        );
        let mapping = tracker.processes.space(pid).unwrap().find(here).unwrap();
        let path = &tracker.processes.dsos.get(mapping.dso).path;
        let exe = std::env::current_exe().unwrap();
        assert_eq!(path, exe.as_os_str().as_encoded_bytes());
        assert!(tracker.processes.comm_of(pid, Tid(pid.0)).is_some());
    }
}
