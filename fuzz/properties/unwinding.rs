//! Unwind tables, code, registers and stacks of any content, of both architectures: the first frame is the instruction, there
//! is an end, and what was learned before changes no answer.

use std::ops::Range;
use std::sync::Arc;

use prof_model::{AddressSpace, ChainEnd, DsoId, Mapping, VirtAddr};
use prof_unwinder::{Arch, Bytes, Images, Process, Regs, StackCopy, Unwinder, UserState};

use super::Numbers;
use super::elf::{AARCH64, TEXT, X86_64, program};

const BASE: u64 = 0x40_0000;
const STACK: u64 = 0x7fff_0000_0000;
const MOST_FRAMES: usize = 100;
/// All registers of x86-64.
const X86_MASK: u64 = 0xff_0fff;
/// All registers of aarch64.
const AARCH64_MASK: u64 = (1 << 33) - 1;
/// Whether it is aarch64, among the sizes.
const IS_AARCH64: u64 = 1 << 12;

struct OneFile(Arc<Vec<u8>>);

impl Images for OneFile {
    fn image(&mut self, _dso: DsoId) -> Option<Bytes> {
        Some(Arc::clone(&self.0) as _)
    }

    fn debug_image(&mut self, _dso: DsoId) -> Option<Bytes> {
        None
    }
}

/// How large the text and the stack are, and where the code was; then text, stack and `.eh_frame`.
pub(crate) fn property(bytes: &[u8]) {
    let mut seed = Numbers(bytes);
    let (sizes, place) = (seed.next(), seed.next());
    let rest = seed.0;
    let (text, rest) = rest.split_at(rest.len().min(sizes as usize & 0xfff));
    let (stack, tables) = rest.split_at(rest.len().min((sizes >> 16) as usize & 0xfff));
    let arch = match sizes & IS_AARCH64 {
        0 => Arch::X86_64,
        _ => Arch::Aarch64,
    };
    let machine = match arch {
        Arch::X86_64 => X86_64,
        Arch::Aarch64 => AARCH64,
    };
    let file = program(machine, text, &[(".eh_frame", tables)]);
    check(file, arch, TEXT..TEXT + text.len() as u64, place, stack);
}

/// Unwinds one stack twice. `text` is where the code of the file lies in it; `place` says where in that it
/// is executed, and what else the registers hold.
pub(crate) fn check(file: Vec<u8>, arch: Arch, text: Range<u64>, place: u64, stack: &[u8]) {
    let (mask, fp, sp, ip) = match arch {
        Arch::X86_64 => (X86_MASK, 6, 7, 8), // as perf numbers them
        Arch::Aarch64 => (AARCH64_MASK, 29, 31, 32),
    };
    let file = Arc::new(file);
    let mut space = AddressSpace::default();
    space.insert(Mapping {
        start: BASE,
        end: BASE + (file.len() as u64).max(text.end + 1),
        dso_start: 0,
        dso: DsoId(0),
        executable: true,
    });
    let inside = |number: u64| BASE + text.start + number % (text.end - text.start + 1);
    let mut values: Vec<u64> = (0..33).map(|at| place.rotate_left(at * 3)).collect();
    values[fp] = STACK + (place >> 8) % (stack.len() as u64 + 16);
    values[sp] = STACK;
    values[ip] = inside(place);
    if arch == Arch::Aarch64 && place & 1 == 0 {
        values[30] = inside(place >> 16); // the link register leads back
    }
    // Some words of the stack lead into the text, as those of real stacks do.
    let mut stack = stack.to_vec();
    for (index, word) in stack.chunks_exact_mut(8).enumerate() {
        if index % 3 == 0 {
            let number = Numbers(word).next();
            word.copy_from_slice(&inside(number).to_le_bytes());
        }
    }
    let regs = Regs::from_perf(arch, mask, values.iter().copied());
    let unwind = |unwinder: &mut Unwinder| -> (ChainEnd, Vec<VirtAddr>) {
        let mut images = OneFile(Arc::clone(&file));
        let process = Process {
            space: &space,
            images: &mut images,
            live: None,
        };
        let copy = StackCopy::new(VirtAddr(STACK), &stack, true);
        let state = UserState {
            regs: &regs,
            stack: &copy,
            kernel_chain: &[],
        };
        let mut chain = Vec::new();
        let end = unwinder.unwind(process, state, MOST_FRAMES, &mut chain);
        (end, chain)
    };
    let mut unwinder = Unwinder::new();
    let first = unwind(&mut unwinder);
    assert_eq!(first.1[0], VirtAddr(values[ip]));
    assert!(first.1.len() <= MOST_FRAMES);
    assert_eq!(
        unwind(&mut unwinder),
        first,
        "what was learned changes nothing"
    );
}
