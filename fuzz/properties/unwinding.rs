//! Unwind tables, code, registers and stacks of any content: the first frame is the instruction, there
//! is an end, and what was learned before changes no answer.

use std::sync::Arc;

use prof_model::{AddressSpace, ChainEnd, DsoId, Mapping, VirtAddr};
use prof_unwinder::{Bytes, Images, Process, Regs, StackCopy, Unwinder, UserState};

use super::Numbers;
use super::elf::{TEXT, program};

const BASE: u64 = 0x40_0000;
const STACK: u64 = 0x7fff_0000_0000;
const MOST_FRAMES: usize = 100;
/// All registers of x86-64.
const MASK: u64 = 0xff_0fff;

struct OneFile(Arc<Vec<u8>>);

impl Images for OneFile {
    fn image(&mut self, _dso: DsoId) -> Option<Bytes> {
        Some(Arc::clone(&self.0) as _)
    }

    fn debug_image(&mut self, _dso: DsoId) -> Option<Bytes> {
        None
    }
}

/// How large the text is, and where the code was; then text, stack and `.eh_frame`.
pub(crate) fn property(bytes: &[u8]) {
    let mut seed = Numbers(bytes);
    let (sizes, place) = (seed.next(), seed.next());
    let rest = seed.0;
    let (text, rest) = rest.split_at(rest.len().min(sizes as usize & 0xfff));
    let (stack, tables) = rest.split_at(rest.len().min((sizes >> 16) as usize & 0xfff));
    let file = Arc::new(program(text, &[(".eh_frame", tables)]));
    let mut space = AddressSpace::default();
    space.insert(Mapping {
        start: BASE,
        end: BASE + file.len() as u64,
        dso_start: 0,
        dso: DsoId(0),
        executable: true,
    });
    let inside = |number: u64| BASE + TEXT + number % (text.len() as u64 + 1);
    let mut values: Vec<u64> = (0..20).map(|at| place.rotate_left(at * 3)).collect();
    values[6] = STACK + (place >> 8) % (stack.len() as u64 + 16); // frame pointer
    values[7] = STACK;
    values[8] = inside(place);
    // Some words of the stack lead into the text, as those of real stacks do.
    let mut stack = stack.to_vec();
    for (index, word) in stack.chunks_exact_mut(8).enumerate() {
        if index % 3 == 0 {
            let number = Numbers(word).next();
            word.copy_from_slice(&inside(number).to_le_bytes());
        }
    }
    let regs = Regs::from_perf(MASK, values.iter().copied());
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
    assert_eq!(first.1[0], VirtAddr(values[8]));
    assert!(first.1.len() <= MOST_FRAMES);
    assert_eq!(
        unwind(&mut unwinder),
        first,
        "what was learned changes nothing"
    );
}
