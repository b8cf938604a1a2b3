//! A program whose stack is unwound from a copy.

use std::path::{Path, PathBuf};

use prof_event::abi::{X86_USER_REGS, callchain, x86_reg};

use super::{Elf, NOBODY, Records, Sampled, TEXT, one_event, unwound_attr};

/// Where stacks lie.
pub(crate) const STACK: u64 = 0x7fff_0000_1000;

/// Registers of a 64-bit program.
pub(crate) fn regs(ip: u64, sp: u64, bp: u64) -> Option<(u64, Vec<u64>)> {
    let value = |number| match number {
        x86_reg::IP => ip,
        x86_reg::SP => sp,
        x86_reg::BP => bp,
        _ => 0,
    };
    let numbers = (0..64).filter(|number| X86_USER_REGS >> number & 1 != 0);
    Some((2, numbers.map(value).collect()))
}

/// `push rbp; mov rbp, rsp`
const ENTRY: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// `pop rbp; ret`
const EXIT: [u8; 2] = [0x5d, 0xc3];

/// A program without unwind tables whose functions keep frame pointers: `outer` calls `middle`, which
/// calls `leaf`.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) leaf: u64,
    pub(crate) calls: [u64; 2], // where `middle` calls, and `outer`
}

impl Program {
    pub(crate) fn save(dir: &Path) -> Self {
        let mut elf = Elf::default();
        let body = [0x90; 8];
        let leaf = elf.function("leaf", &[&ENTRY[..], &body, &EXIT].concat());
        let mut callee = leaf;
        let calls = ["middle", "outer"].map(|name| {
            let call = elf.next() + ENTRY.len() as u64;
            let distance = callee.wrapping_sub(call + 5) as i32;
            let code = [&[0xe8], &distance.to_le_bytes()[..]].concat();
            callee = elf.function(name, &[&ENTRY[..], &code, &body, &EXIT].concat());
            call
        });
        let path = dir.join("program");
        elf.save(&path);
        Self { path, leaf, calls }
    }

    /// Interrupted in `leaf`, with a word above each frame pointer for where it was called.
    pub(crate) fn sampled(&self, time: u64) -> Sampled {
        let [middle, outer] = self.calls.map(|call| TEXT.start + call + 5);
        let words = [STACK + 0x20, middle, 0, 0, STACK + 0x40, outer, 0, 0, 0, 0];
        Sampled {
            time,
            ip: TEXT.start + self.leaf + 6,
            chain: vec![callchain::USER, TEXT.start + self.leaf + 6],
            regs: regs(TEXT.start + self.leaf + 6, STACK, STACK),
            stack: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            ..Sampled::default()
        }
    }

    /// The callchain that leads to it.
    pub(crate) fn chain(&self) -> Vec<u64> {
        let places = [self.leaf + 6, self.calls[0] + 4, self.calls[1] + 4];
        let addresses = places.map(|place| TEXT.start + place);
        [&[callchain::USER][..], &addresses].concat()
    }

    pub(crate) fn records(&self, time: u64) -> Records {
        let mut records = Records::of_nobody(one_event(unwound_attr()));
        records.map(0, NOBODY, TEXT, 0, self.path.to_str().unwrap());
        records.sample(&self.sampled(time));
        records
    }
}
