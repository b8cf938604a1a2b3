//! Small files that would take gigabytes: what reading them may cost.

use crate::support::{PROF, Place, Ran};

/// Events with address, thread, time and period; each record says whose it is and when.
const SAMPLE_TYPE: u64 = 1 | 2 | 4 | 256;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const ATTR: u64 = 136;

/// Runs `prof` with 1 GB of addresses: what its own code, stacks and a file of a few megabytes take is a
/// third of that.
fn bounded(place: &Place, args: &[&str]) -> Ran {
    let shell = ["-c", "ulimit -v 1000000; exec \"$@\"", "sh", PROF];
    let ran = place.command("sh", &[&shell[..], args].concat()).output();
    ran.unwrap().into()
}

/// The records of a recording that nobody made.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn push(&mut self, kind: u32, misc: u16, body: &[&[u8]]) {
        let body = body.concat();
        self.0.extend(kind.to_le_bytes());
        self.0.extend(misc.to_le_bytes());
        self.0.extend((8 + body.len() as u16).to_le_bytes());
        self.0.extend(body);
    }

    fn map(&mut self, pid: u32, time: u64, start: u64, len: u64) {
        let words = [start, len, 0, 8, 1, 0].map(u64::to_le_bytes).concat();
        let (prot, flags) = (5_u32.to_le_bytes(), 2_u32.to_le_bytes());
        let parts: [&[u8]; 6] = [
            &pair(pid, pid),
            &words,
            &prot,
            &flags,
            b"/x/y\0\0\0\0",
            &id(pid, time),
        ];
        self.push(10, 2, &parts);
    }

    fn fork(&mut self, pid: u32, parent: u32, time: u64) {
        let parts: [&[u8]; 4] = [
            &pair(pid, parent),
            &pair(pid, parent),
            &time.to_le_bytes(),
            &id(pid, time),
        ];
        self.push(7, 0, &parts);
    }

    fn sample(&mut self, pid: u32, time: u64, at: u64) {
        let parts: [&[u8]; 3] = [
            &at.to_le_bytes(),
            &id(pid, time),
            &1_000_000_u64.to_le_bytes(),
        ];
        self.push(9, 2, &parts);
    }

    /// The file that has them.
    fn file(&self) -> Vec<u8> {
        let sections = [
            104,
            ATTR + 16,
            104,
            ATTR + 16,
            104 + ATTR + 16,
            self.0.len() as u64,
            0,
            0,
        ];
        let mut file = b"PERFILE2".to_vec();
        file.extend(sections.map(u64::to_le_bytes).concat());
        file.resize(104, 0);
        file.extend([pair(1, ATTR as u32), [0; 8]].concat());
        file.extend(
            [1_000_000, SAMPLE_TYPE, 0, SAMPLE_ID_ALL]
                .map(u64::to_le_bytes)
                .concat(),
        );
        file.resize(104 + ATTR as usize + 16, 0);
        file.extend(&self.0);
        file
    }
}

fn pair(a: u32, b: u32) -> [u8; 8] {
    (u64::from(a) | u64::from(b) << 32).to_le_bytes()
}

fn id(pid: u32, time: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pair(pid, pid));
    bytes[8..].copy_from_slice(&time.to_le_bytes());
    bytes
}

/// One process of this number runs, another hardly ever does.
const PARENT: u32 = 1;

#[test]
fn forks_of_a_process_that_maps_much_cost_no_copy_of_its_mappings_each() {
    let place = Place::new();
    let mut records = Records::default();
    for index in 0..7500 {
        records.map(PARENT, 0, 0x10000 + index * 0x2000, 0x1000);
    }
    let forks = 4700;
    for index in 0..forks {
        let time = 1 + 2 * u64::from(index);
        records.fork(100 + index, PARENT, time);
        records.map(100 + index, time + 1, 0x10000, 0x100);
    }
    records.sample(99 + forks, 20_000, 0x12010);
    std::fs::write(place.file("perf.data"), records.file()).unwrap();
    let report = bounded(&place, &["report", "--stdio", "--sort", "dso"]).ok();
    assert!(report.out.contains("100.00%  y"), "{}", report.out);
}
