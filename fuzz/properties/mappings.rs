//! Processes that map, fork and run programs: what lies where is what came last, as in a plain table.

use prof_model::{DsoId, Mapping, Pid, ProcessTable, Tid, VirtAddr};

use super::Numbers;

/// So many addresses, and so many processes.
const ADDRESSES: usize = 512;
const PROCESSES: u64 = 4;

/// The mapping number of each address, of each process.
type Plain = Vec<[Option<u32>; ADDRESSES]>;

/// Any bytes as a history of processes.
pub(crate) fn property(bytes: &[u8]) {
    let mut table = ProcessTable::default();
    let mut plain: Plain = vec![[None; ADDRESSES]; PROCESSES as usize];
    for (step, bytes) in bytes.chunks(8).enumerate() {
        let number = Numbers(bytes).next();
        let process = (number >> 8) % PROCESSES;
        let other = (number >> 16) % PROCESSES;
        let (pid, from) = (Pid(process as i32 + 1), Pid(other as i32 + 1));
        match number % 16 {
            0 => table.comm(pid, Tid(pid.0), b"exec", true),
            1 if process != other => table.fork(pid, Tid(pid.0), from, Tid(from.0), true),
            1 => continue,
            _ => {
                let start = (number >> 24) % (ADDRESSES as u64 - 1);
                let longest = ADDRESSES as u64 - start;
                let len = match number & 0x80 {
                    0 => 1 + (number >> 40) % longest.min(8),
                    _ => 1 + (number >> 40) % longest,
                };
                let dso = step as u32;
                let mapping = Mapping {
                    start,
                    end: start + len,
                    dso_start: start,
                    dso: DsoId(dso),
                    executable: true,
                };
                table.map(pid, mapping);
                plain[process as usize][start as usize..][..len as usize].fill(Some(dso));
                continue;
            }
        }
        plain[process as usize] = match number % 16 {
            0 => [None; ADDRESSES],
            _ => plain[other as usize],
        };
    }
    for (process, plain) in plain.iter().enumerate() {
        let space = table.space(Pid(process as i32 + 1));
        let mappings: Vec<_> = space.iter().flat_map(|space| space.iter()).collect();
        assert!(
            mappings.is_sorted_by(|a, b| a.end <= b.start),
            "mappings overlap"
        );
        for (addr, expected) in plain.iter().enumerate() {
            let addr = VirtAddr(addr as u64);
            let found = space.and_then(|space| space.find(addr));
            assert_eq!(found.map(|it| it.dso.0), *expected, "{addr:?}");
            assert!(found.is_none_or(|it| it.dso_addr(addr).0 == addr.0));
        }
    }
}
