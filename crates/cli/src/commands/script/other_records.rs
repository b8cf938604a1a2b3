//! The records beside the samples, as `prof script --show-...-events` prints them.

use std::fmt::Write as _;

use prof_event::abi::{misc, record};
use prof_event::{Decoded, Mmap, RawRecord, Reader, Record, Tracker};
use prof_model::{Pid, Tid, printable, printable_bytes};
use prof_profile::ScriptHead;

use super::extras::letters;
use super::times::PrintedTimes;

/// Which of the records beside the samples are printed.
pub struct OtherRecords {
    kinds: Vec<u32>,
}

impl OtherRecords {
    /// Those of these kinds.
    pub fn new(kinds: Vec<u32>) -> Self {
        Self { kinds }
    }

    /// Whether this one is.
    pub fn wants(&self, raw: &RawRecord<'_>) -> bool {
        self.kinds.contains(&raw.kind)
    }

    /// How its line begins; a round has no such thing.
    ///
    /// perf names the thread that the record is about, and numbers the one that caused it.
    pub fn head(
        &self,
        raw: &RawRecord<'_>,
        decoded: &Decoded<'_>,
        tracker: &Tracker,
        times: &mut PrintedTimes,
    ) -> Option<ScriptHead> {
        if raw.kind == record::FINISHED_ROUND {
            return None;
        }
        let about = subject(&decoded.record);
        let (pid, tid) = match decoded.id.task {
            Some((pid, tid)) => (Pid(pid), Tid(tid)),
            None => about.unwrap_or((Pid(-1), Tid(-1))),
        };
        let (named_pid, named) = match about.unwrap_or((pid, tid)) {
            (Pid(-1), Tid(0)) => (Pid(0), Tid(0)), // the kernel's own mappings
            thread => thread,
        };
        let time = decoded.id.time;
        Some(ScriptHead {
            comm: tracker.processes.comm_of(named_pid, named),
            named,
            pid,
            tid,
            cpu: decoded.id.cpu.map(prof_model::Cpu),
            // What a recorder made up has no time, so no time counts from it.
            time: time.map(|time| if time == 0 { 0 } else { times.printed(time) }),
            misc: letters(raw),
        })
    }
}

/// The thread that a record tells about.
fn subject(record: &Record<'_>) -> Option<(Pid, Tid)> {
    match *record {
        Record::Comm { pid, tid, .. } | Record::Namespaces { pid, tid, .. } => Some((pid, tid)),
        Record::Fork(task) | Record::Exit(task) => Some((task.pid, task.tid)),
        Record::Mmap(mmap) => Some((mmap.pid, mmap.tid)),
        _ => None,
    }
}

/// What perf prints about a record, without its beginning. `kernel_function` names kernel code.
pub fn text(
    raw: &RawRecord<'_>,
    record: &Record<'_>,
    kernel_function: impl FnOnce(u64) -> Option<(String, u64)>,
) -> String {
    let mut text = String::new();
    let _ = match *record {
        Record::TextPoke { addr, old, new } => {
            let function = kernel_function(addr);
            write_text_poke(&mut text, addr, function, old, new)
        }
        _ => write_text(&mut text, raw, record),
    };
    text
}

fn write_text_poke(
    out: &mut String,
    addr: u64,
    function: Option<(String, u64)>,
    old: &[u8],
    new: &[u8],
) -> std::fmt::Result {
    let function = match function {
        Some((name, offset)) => format!("{}+{offset:#x}", printable(&name)),
        None => String::new(), // as perf has it
    };
    let (old_len, new_len) = (old.len(), new.len());
    write!(
        out,
        "PERF_RECORD_TEXT_POKE {addr:x} {function} old len {old_len} new len {new_len}"
    )?;
    for (what, bytes) in [("Old", old), ("New", new)] {
        for line in bytes.chunks(16) {
            write!(out, "\n            {what} bytes:")?;
            line.iter()
                .try_for_each(|byte| write!(out, " {byte:02x}"))?;
        }
    }
    Ok(())
}

fn write_text(out: &mut String, raw: &RawRecord<'_>, record: &Record<'_>) -> std::fmt::Result {
    match *record {
        Record::Mmap(ref mmap) => write_mmap(out, raw, mmap),
        Record::Comm {
            pid,
            tid,
            exec,
            name,
        } => {
            let exec = if exec { " exec" } else { "" };
            let name = printable_bytes(name);
            write!(out, "PERF_RECORD_COMM{exec}: {name}:{pid}/{tid}")
        }
        Record::Fork(task) | Record::Exit(task) => {
            let what = if raw.kind == record::FORK {
                "FORK"
            } else {
                "EXIT"
            };
            write!(
                out,
                "PERF_RECORD_{what}({}:{}):({}:{})",
                task.pid, task.tid, task.ppid, task.ptid
            )
        }
        Record::Lost { lost, .. } => write!(out, "PERF_RECORD_LOST lost {lost}"),
        Record::Switch {
            out: is_out,
            preempted,
            other,
        } => {
            let direction = match (is_out, preempted) {
                (false, _) => "IN         ",
                (true, false) => "OUT        ",
                (true, true) => "OUT preempt",
            };
            let Some((pid, tid)) = other else {
                return write!(out, "PERF_RECORD_SWITCH {direction}");
            };
            let which = if is_out { "next" } else { "prev" };
            write!(
                out,
                "PERF_RECORD_SWITCH_CPU_WIDE {direction}  {which} pid/tid: {:>5}/{:<5}",
                pid.0, tid.0
            )
        }
        Record::Namespaces { pid, tid, links } => {
            let count = links.len() / 2;
            write!(
                out,
                "PERF_RECORD_NAMESPACES {pid}/{tid} - nr_namespaces: {count}\n\t\t["
            )?;
            const NAMES: [&str; 7] = ["net", "uts", "ipc", "pid", "user", "mnt", "cgroup"];
            for index in 0..count {
                if index == 4 {
                    out.push_str("\n\t\t ");
                }
                let name = NAMES.get(index).unwrap_or(&"unknown");
                let (device, inode) = (links.get(index * 2), links.get(index * 2 + 1));
                let (device, inode) = (device.unwrap_or(0), inode.unwrap_or(0));
                let end = if index + 1 == count { "]" } else { ", " };
                write!(out, "{index}/{name}: {device}/{inode:#x}{end}")?;
            }
            Ok(())
        }
        Record::Ksymbol(symbol) => write!(
            out,
            "PERF_RECORD_KSYMBOL addr {:x} len {} type {} flags 0x{:x} name {}",
            symbol.addr,
            symbol.len,
            symbol.kind,
            u16::from(symbol.unregister),
            printable_bytes(symbol.name)
        ),
        Record::BpfEvent(event) => write!(
            out,
            "PERF_RECORD_BPF_EVENT type {}, flags {}, id {}",
            event.kind, event.flags, event.id
        ),
        Record::Cgroup { id, path } => {
            write!(
                out,
                "PERF_RECORD_CGROUP cgroup: {id} {}",
                printable_bytes(path)
            )
        }
        _ => write!(out, "PERF_RECORD_FINISHED_ROUND"),
    }
}

fn write_mmap(out: &mut String, raw: &RawRecord<'_>, mmap: &Mmap<'_>) -> std::fmt::Result {
    let kind = if raw.kind == record::MMAP2 { "2" } else { "" };
    let (pid, tid) = (mmap.pid, mmap.tid);
    let (addr, len, offset) = (hex(mmap.addr), hex(mmap.len), hex(mmap.pgoff));
    write!(
        out,
        "PERF_RECORD_MMAP{kind} {pid}/{tid}: [{addr}({len}) @ {offset}"
    )?;
    if raw.kind == record::MMAP {
        let is_data = raw.misc & misc::MMAP_DATA != 0;
        let letter = if is_data { 'r' } else { 'x' };
        return write!(out, "]: {letter} {}", printable_bytes(mmap.name));
    }
    match mmap.build_id {
        Some(id) => write!(out, " <{id}>]: ")?,
        None => {
            let file = raw.body().get(32..).unwrap_or_default(); // also where it is no file
            let mut file = Reader::new(file);
            let (major, minor) = (file.u32().unwrap_or(0), file.u32().unwrap_or(0));
            let (inode, generation) = (file.u64().unwrap_or(0), file.u64().unwrap_or(0));
            write!(out, " {major:02x}:{minor:02x} {inode} {generation}]: ")?;
        }
    }
    const MAP_SHARED: u32 = 1;
    for (bit, letter) in [(1, 'r'), (2, 'w'), (4, 'x')] {
        out.push(if mmap.prot & bit != 0 { letter } else { '-' });
    }
    let is_shared = mmap.flags & MAP_SHARED != 0;
    out.push(if is_shared { 's' } else { 'p' });
    write!(out, " {}", printable_bytes(mmap.name))
}

/// Hexadecimal as C's `%#x` prints it: 0 is just that.
fn hex(value: u64) -> String {
    match value {
        0 => "0".to_owned(),
        _ => format!("{value:#x}"),
    }
}
