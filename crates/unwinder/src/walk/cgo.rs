//! From C code that Go has called to the goroutine that called it. The C code runs on the thread's own
//! stack, and only its frame pointer, if it keeps one, leads to the goroutine's stack, of which there
//! is no copy.
//!
//! `runtime.asmcgocall` leaves on the thread's stack which goroutine it was and how deep in its stack,
//! to find the way back. That stack is read from live memory, and believed only if it is shown that the
//! thread has been in this one call from before the sample until after the reading. Go counts the calls
//! that a thread begins, and those that it is in.

use prof_model::{ChainEnd, VirtAddr};

use crate::LiveMemory;
use crate::arch::{FP, IP, KEPT_BY_FRAME_POINTER, SP, STACK_ALIGNMENT};
use crate::walk::step::{Found, Frame};
use crate::walk::{Chain, Walk};
use crate::{Arch, StackMemory};

/// Of so many calls is kept who called.
pub(crate) const MOST_CALLS: usize = 1 << 12;

/// A call of C that some samples were in: its goroutine's side.
pub(crate) struct CallOfC {
    caller: Caller,
    chain: Box<[VirtAddr]>,
    end: ChainEnd,
}

/// What `asmcgocall` keeps on the thread's stack.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Caller {
    goroutine: u64,
    depth: u64,
}

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    /// Goes on from the frame of `asmcgocall`. `None` if nothing shows who called it.
    #[cold]
    pub(crate) fn continue_in_goroutine(
        &mut self,
        frame: &Frame,
        chain: &mut Chain<'_>,
    ) -> Option<ChainEnd> {
        if self.arch != Arch::X86_64 {
            return None;
        }
        let way_back = WayBack::after(self.code_around(frame.pc)?.1)?;
        let sp = frame.regs.sp()?;
        let word = |at: u8| {
            let addr = sp.checked_add(at.into())?;
            self.memory.copy.read_u64(VirtAddr(addr))
        };
        let caller = Caller {
            goroutine: word(way_back.goroutine_at)?,
            depth: word(way_back.depth_at)?,
        };
        if let Some(watched) = self.memory.live()?.watched() {
            let known = self.unwinder.calls_of_c.get(&watched.id);
            if let Some(known) = known.filter(|known| known.caller == caller) {
                let end = known.end;
                let pushed = known.chain.iter().try_for_each(|addr| chain.push(addr.0));
                self.unwinder.stats.continued_live += 1;
                return Some(pushed.err().unwrap_or(end));
            }
        }
        let Some((id, mut frame)) = self.read_goroutine(frame, caller, way_back) else {
            self.unwinder.stats.moved_on += 1;
            return None;
        };
        self.unwinder.stats.continued_live += 1;
        let from = chain.len();
        let end = match self.walk_from(&mut frame, chain) {
            Ok(end) => end,
            Err(stuck) => self.end_at(&stuck),
        };
        if end != ChainEnd::TooDeep {
            let calls = &mut self.unwinder.calls_of_c;
            if calls.len() >= MOST_CALLS {
                calls.clear();
            }
            let chain = chain.since(from).into();
            calls.insert(id, CallOfC { caller, chain, end });
        }
        Some(end)
    }

    /// Reads a goroutine's stack outwards from where it called. Returns the frame that called
    /// `asmcgocall`, and the number of the call.
    fn read_goroutine(
        &mut self,
        frame: &Frame,
        caller: Caller,
        way_back: WayBack,
    ) -> Option<(u64, Frame)> {
        let stack = Goroutine::read(self.memory.live()?, caller.goroutine)?;
        let mut sp = stack.end.checked_sub(caller.depth)?;
        if sp < stack.start || !sp.is_multiple_of(STACK_ALIGNMENT) {
            return None;
        }
        if !self.memory.read_elsewhere(sp..stack.end) {
            return None;
        }
        let mut regs = frame.regs;
        if way_back.restores_bp {
            regs.put(FP, self.memory.read_u64(VirtAddr(sp)));
            sp += 8;
        }
        let return_address = self.memory.read_u64(VirtAddr(sp))?;
        let (before, from) = self.code_around(return_address)?;
        let counters = stack.thread.checked_add(counters(before, from)?.into())?;

        let live = self.memory.live()?;
        live.watch(VirtAddr(counters));
        let watched = live.watched()?;
        let [.., a, b, c, d, _, _, _, _] = watched.bytes;
        // In more than one at once, a call that has ended could not be told from one that is to come.
        let is_only_call = i32::from_le_bytes([a, b, c, d]) == 1;
        // A goroutine's stack may be moved to where there is more room.
        let is_there = Goroutine::read(live, caller.goroutine)? == stack;
        if !watched.is_still || !is_only_call || !is_there {
            return None;
        }
        regs.forget_all_but(KEPT_BY_FRAME_POINTER);
        regs.put(SP, Some(sp + 8));
        regs.put(IP, Some(return_address));
        let frame = Frame {
            regs,
            pc: return_address,
            is_interrupted: false,
            found: Found::ByRule,
        };
        Some((watched.id, frame))
    }

    /// The instruction bytes before and from a return address on.
    fn code_around(&mut self, return_address: u64) -> Option<(&[u8], &[u8])> {
        let (module, offset) = self.code(return_address.wrapping_sub(1))?;
        let bytes = module.image.around(offset + 1, CODE_BEFORE, CODE_FROM);
        module.image.is_go.then_some(bytes)
    }
}

/// The start of Go's `g`, in all versions for a long time.
#[derive(PartialEq, Eq)]
struct Goroutine {
    start: u64, // of its stack
    end: u64,
    thread: u64, // the `m` that runs it
}

impl Goroutine {
    fn read(live: &mut dyn LiveMemory, addr: u64) -> Option<Self> {
        let mut bytes = [0; 56];
        let count = live.read(VirtAddr(addr), &mut bytes);
        let mut words = bytes.chunks_exact(8).map(|word| {
            let word = word.first_chunk().copied();
            word.map_or(0, u64::from_le_bytes)
        });
        let (start, end) = (words.next()?, words.next()?);
        let thread = words.nth(4)?;
        (count == bytes.len()).then_some(Self { start, end, thread })
    }
}

/// How far around a return address of Go's runtime instructions are looked at.
const CODE_BEFORE: usize = 128;
const CODE_FROM: usize = 64;

/// How `asmcgocall` finds back to the goroutine's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// Where the goroutine is, from the stack pointer.
    goroutine_at: u8,
    /// Where it is how far its stack pointer was from the end of its stack.
    depth_at: u8,
    /// Whether the caller's frame pointer lies there, below the return address.
    restores_bp: bool,
}

impl WayBack {
    /// What the instructions behind the call say:
    ///
    /// ```text
    /// mov 48(%rsp), %rdi       the goroutine
    /// mov 8(%rdi), %rsi        the end of its stack
    /// sub 40(%rsp), %rsi       or: sub (%rsp), %rsi
    /// mov %rdi, %fs:-8
    /// mov %rsi, %rsp
    /// mov %eax, 24(%rsp)
    /// pop %rbp                 current versions
    /// ret
    /// ```
    pub(crate) fn after(from: &[u8]) -> Option<Self> {
        let [0x48, 0x8b, 0x7c, 0x24, goroutine_at, rest @ ..] = from else {
            return None;
        };
        let rest = rest.strip_prefix(&[0x48, 0x8b, 0x77, 0x08])?;
        let (depth_at, rest) = match rest {
            [0x48, 0x2b, 0x74, 0x24, depth_at, rest @ ..] => (*depth_at, rest),
            [0x48, 0x2b, 0x34, 0x24, rest @ ..] => (0, rest),
            _ => return None,
        };
        let rest = rest.strip_prefix(&[0x64, 0x48, 0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff])?;
        let restores_bp = match rest {
            [0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, _, 0xc3, ..] => false,
            [0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, _, 0x5d, 0xc3, ..] => true,
            _ => return None,
        };
        Some(Self {
            goroutine_at: *goroutine_at,
            depth_at,
            restores_bp,
        })
    }
}

/// Where in Go's `m` a thread's calls of C are counted, from the instructions of `runtime.cgocall`
/// around its call of `asmcgocall`: `ncgocall`, all that ever began, in eight bytes, and behind it
/// `ncgo`, those that have not ended, in four.
///
/// ```text
/// incq 0x140(%rax)           ncgocall++
/// movb $1, 0x118(%rax)       incgo = true
/// incl 0x148(%rax)           ncgo++
/// call asmcgocall
/// movb $0, 0x118(%rax)
/// decl 0x148(%rax)
/// ```
fn counters(before: &[u8], from: &[u8]) -> Option<u32> {
    let (in_c, active) = tails(from).find_map(|code| {
        let in_c = store(code, 0)?;
        Some((in_c, operand(code.get(7..)?, DECREMENT)?))
    })?;
    let all = active.checked_sub(8)?;
    let is_told = tails(before).any(|code| store(code, 1) == Some(in_c))
        && tails(before).any(|code| operand(code, INCREMENT) == Some(active))
        && tails(before).any(|code| {
            let code = code.strip_prefix(&[0x48]); // in eight bytes
            code.and_then(|code| operand(code, INCREMENT)) == Some(all)
        });
    is_told.then_some(all)
}

const INCREMENT: [u8; 2] = [0xff, 0x80];
const DECREMENT: [u8; 2] = [0xff, 0x88];
const STORE_BYTE: [u8; 2] = [0xc6, 0x80];

fn tails(code: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..code.len()).filter_map(|at| code.get(at..))
}

/// How far from a register is what an instruction changes, if it is one of these.
fn operand(code: &[u8], [opcode, mode]: [u8; 2]) -> Option<u32> {
    let [first, second, a, b, c, d, ..] = *code else {
        return None;
    };
    let is_it = first == opcode && second & !7 == mode && second & 7 != 4;
    is_it.then_some(u32::from_le_bytes([a, b, c, d]))
}

/// The same for an instruction that stores this byte.
fn store(code: &[u8], byte: u8) -> Option<u32> {
    operand(code, STORE_BYTE).filter(|_| code.get(6) == Some(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Go 1.19.
    const ASMCGOCALL: [u8; 31] = [
        0x48, 0x8b, 0x7c, 0x24, 0x30, 0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b, 0x74, 0x24, 0x28, 0x64,
        0x48, 0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, 0x18,
        0xc3,
    ];
    /// Of Go 1.27.
    const CURRENT_ASMCGOCALL: [u8; 31] = [
        0x48, 0x8b, 0x7c, 0x24, 0x08, 0x48, 0x8b, 0x77, 0x08, 0x48, 0x2b, 0x34, 0x24, 0x64, 0x48,
        0x89, 0x3c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x89, 0xf4, 0x89, 0x44, 0x24, 0x20, 0x5d,
        0xc3,
    ];

    #[test]
    fn the_way_back_is_what_the_instructions_say() {
        let old = WayBack {
            goroutine_at: 0x30,
            depth_at: 0x28,
            restores_bp: false,
        };
        let current = WayBack {
            goroutine_at: 8,
            depth_at: 0,
            restores_bp: true,
        };
        assert_eq!(WayBack::after(&ASMCGOCALL), Some(old));
        assert_eq!(WayBack::after(&CURRENT_ASMCGOCALL), Some(current));
        for len in 0..ASMCGOCALL.len() {
            assert_eq!(WayBack::after(&ASMCGOCALL[..len]), None);
        }
    }

    /// `cgocall` of Go 1.27, around its call of `asmcgocall`.
    const BEFORE: [u8; 68] = [
        0x48, 0xff, 0x80, 0x40, 0x01, 0x00, 0x00, 0x48, 0x8b, 0x80, 0x50, 0x01, 0x00, 0x00, 0x48,
        0xc7, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe8, 0xf5, 0x17, 0x00, 0x00, 0x48, 0x8b, 0x44, 0x24,
        0x20, 0xc6, 0x80, 0x18, 0x01, 0x00, 0x00, 0x01, 0xff, 0x80, 0x48, 0x01, 0x00, 0x00, 0x48,
        0x8b, 0x44, 0x24, 0x38, 0x48, 0x89, 0x04, 0x24, 0x48, 0x8b, 0x44, 0x24, 0x40, 0x48, 0x89,
        0x44, 0x24, 0x08, 0xe8, 0x6b, 0x66, 0x00, 0x00,
    ];
    const FROM: [u8; 45] = [
        0x45, 0x0f, 0x57, 0xff, 0x64, 0x4c, 0x8b, 0x34, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x8b, 0x44,
        0x24, 0x10, 0x89, 0x44, 0x24, 0x1c, 0x48, 0x8b, 0x44, 0x24, 0x20, 0xc6, 0x80, 0x18, 0x01,
        0x00, 0x00, 0x00, 0xff, 0x88, 0x48, 0x01, 0x00, 0x00, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xe8,
    ];

    #[test]
    fn the_counters_are_those_that_change_on_both_sides_of_the_call() {
        assert_eq!(counters(&BEFORE, &FROM), Some(0x140));
        assert_eq!(counters(&BEFORE[1..], &FROM), None); // counted in four bytes
        assert_eq!(counters(&BEFORE, &FROM[..38]), None);
        let mut other = BEFORE;
        other[40] = 0x4c; // another counter goes up than goes down
        assert_eq!(counters(&other, &FROM), None);
        assert_eq!(counters(&[], &[]), None);
    }
}
