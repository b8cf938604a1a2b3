//! The program at work: the threads that it reads, and the rings that it writes into.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, record, sample, software};
use prof_model::{Cpu, Pid, Tid, VirtAddr};

use super::StackPart;
use super::bpf::{self, Map, MapKind};
use super::program::{self, HEADER, Maps, PAGE, PAGES, PLACE};
use crate::bytes::u64_at;
use crate::proc;
use crate::ring::Ring;
use crate::scope::Scope;
use crate::sys::{EventFd, page_size};

/// Threads whose stacks' ends are known at most.
const MOST_THREADS: u32 = 16_384;
/// Room for what the program hands over on one CPU, and on all together.
const MAX_RING: usize = 4 << 20;
const MIN_RING: usize = 256 << 10;
const ALL_RINGS: usize = 64 << 20;

/// The program, and what it works with.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(super) program: OwnedFd,
    threads: Map<u64, u64>,
    /// The program writes into its events as long as it is open.
    _output: Map<u32, u32>,
    rings: Vec<OutputRing>,
    scratch: Vec<u8>,
}

/// One CPU's ring, which the program writes into.
#[derive(Debug)]
struct OutputRing {
    event: EventFd,
    ring: Ring,
    /// Something is missing in front of the next record.
    has_lost: bool,
    /// What was read at this time may be taken for that of a sample before, whose own is missing.
    untrusted: Option<u64>,
}

impl Reading {
    /// Loads the program, for samples on these CPUs with so many bytes of the stack.
    pub(super) fn begin(cpus: &[Cpu], copied: u32) -> io::Result<Self> {
        let entries = cpus.iter().map(|cpu| cpu.0 + 1).max().unwrap_or(1);
        let threads = Map::new(MapKind::LruHash, MOST_THREADS)?;
        let places = Map::<u32, [u8; PLACE]>::new(MapKind::Array, entries)?;
        let output = Map::new(MapKind::PerfEventArray, entries)?;
        let maps = Maps {
            threads: threads.fd(),
            places: places.fd(),
            output: output.fd(),
        };
        let program = bpf::load(&program::reader(&maps, copied))?;
        let size = (ALL_RINGS / cpus.len().max(1)).clamp(MIN_RING, MAX_RING);
        let size = (size / page_size()).next_power_of_two() * page_size();
        let mut rings = Vec::new();
        for &cpu in cpus {
            let ring = match OutputRing::open(cpu, size) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue, // it went offline
                ring => ring?,
            };
            output.set(cpu.0, ring.event.file().as_raw_fd() as u32)?;
            rings.push(ring);
        }
        Ok(Self {
            program,
            threads,
            _output: output,
            rings,
            scratch: Vec::new(),
        })
    }

    /// Has a thread's stack read, which `sp` is an address of, and those of the other threads of its process.
    pub(crate) fn add(&self, pid: Pid, tid: Tid, sp: VirtAddr) -> io::Result<()> {
        let process = u64::from(pid.0 as u32) << 32;
        let maps = proc::maps(pid)?;
        let Some(stack) = maps.iter().find(|it| (it.start..it.end).contains(&sp.0)) else {
            return Ok(());
        };
        self.threads.set(process, 0)?;
        self.threads
            .set(process | u64::from(tid.0 as u32), stack.end)
    }

    /// What becomes readable when much was handed over.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|it| it.event.file().as_fd())
    }

    /// Takes out what was handed over so far.
    pub(super) fn drain(
        &mut self,
        take: &mut dyn FnMut(StackPart<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for output in &mut self.rings {
            let ring = &mut output.ring;
            let head = ring.head();
            while ring.tail() < head {
                let at = ring.tail();
                let raw = ring.record(at, head, &mut self.scratch);
                let raw = raw.ok_or_else(|| io::Error::other("a ring of stacks is corrupt"))?;
                output.has_lost |= raw.kind == record::LOST;
                if raw.kind == record::SAMPLE {
                    let piece = raw.body().get(4..).unwrap_or_default(); // behind its size
                    let time = u64_at(piece, 0);
                    if std::mem::take(&mut output.has_lost) {
                        output.untrusted = Some(time);
                    }
                    if output.untrusted != Some(time) {
                        parts(piece).try_for_each(&mut *take)?;
                    }
                }
                let end = at + raw.bytes.len() as u64;
                ring.release(end);
            }
        }
        Ok(())
    }
}

impl OutputRing {
    fn open(cpu: Cpu, size: usize) -> io::Result<Self> {
        let attr = EventAttr {
            kind: event_type::SOFTWARE,
            config: software::BPF_OUTPUT,
            sample_type: sample::RAW,
            sample_period_or_freq: 1,
            flags: flag::WATERMARK,
            wakeup: (size / 4) as u32,
            ..EventAttr::default()
        };
        let event = EventFd::open(&attr, Scope::Everything, cpu, None)?;
        let ring = Ring::map(&event, size)?;
        Ok(Self {
            event,
            ring,
            has_lost: false,
            untrusted: None,
        })
    }
}

/// What a piece that the program wrote has of a stack: each run of pages that were there. Without any, nothing
/// is what lies at the first.
fn parts(piece: &[u8]) -> impl Iterator<Item = StackPart<'_>> {
    let (header, pages) = piece.split_at(piece.len().min(HEADER as usize));
    let [time, task, sp, addr, missing] = [0, 8, 16, 24, 32].map(|at| u64_at(header, at));
    let count = (pages.len() as u64 / PAGE).min(PAGES);
    let is_there = move |page: u64| page < count && missing >> page & 1 == 0;
    let starts =
        (0..count).filter(move |&page| is_there(page) && !(page > 0 && is_there(page - 1)));
    let nothing = (!(0..count).any(is_there)).then_some(count);
    starts.chain(nothing).map(move |start| {
        let end = (start..count)
            .find(|&page| !is_there(page))
            .unwrap_or(count);
        StackPart {
            pid: Pid((task >> 32) as i32),
            tid: Tid(task as i32),
            sp: VirtAddr(sp),
            time,
            addr: VirtAddr(addr + start * PAGE),
            bytes: &pages[(start * PAGE) as usize..(end * PAGE) as usize],
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_not_there_part_a_piece() {
        let mut piece = Vec::new();
        for word in [7_u64, 3 << 32 | 4, 0x1ff0, 0x10000, 0b0010_0110] {
            piece.extend(word.to_le_bytes());
        }
        for page in 0..6 {
            piece.extend([page; PAGE as usize]);
        }
        piece.extend([0; 5]); // the kernel's padding
        let parts: Vec<_> = parts(&piece).collect();
        let found = parts
            .iter()
            .map(|it| (it.addr.0, it.bytes.len(), it.bytes[0]));
        let expected = [(0x10000, 4096, 0), (0x13000, 8192, 3)];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let first = parts[0];
        assert_eq!((first.pid, first.tid, first.time), (Pid(3), Tid(4), 7));
        assert_eq!(first.sp, VirtAddr(0x1ff0));
        let nothing: Vec<_> = super::parts(&piece[..HEADER as usize]).collect();
        assert_eq!((nothing.len(), nothing[0].bytes), (1, &[][..]));
        assert_eq!((nothing[0].tid, nothing[0].time), (Tid(4), 7));
    }
}
