//! All ways through a function, from its entry on. An instruction to which two ways lead with different
//! frames has no rule, nor has one behind something that cannot be followed.
//!
//! In: the bytes of the function. Out: the frame at each instruction that was reached. What a single one
//! does is in `frame`; where a function begins and ends is for the caller to tell, or to find out by this.

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::frame::{ENTRY, Frame, written};
use crate::inference::Inferred;
use crate::tables::rule::RuleStore;

/// The frames of one function, by instruction.
#[derive(Debug)]
pub(super) struct Flow {
    places: BTreeMap<u64, Place>,
    table: Table,
    end: u64,
    /// How many instructions were decoded, each as often as a way led to it with another frame or as it was
    /// looked at as padding.
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    frame: Frame, // before the instruction
    next: u64,    // address of the one behind it
}

/// Where compilers let functions start.
const FUNCTION_ALIGNMENT: u64 = 16;

/// A function is not followed to its end if it takes more steps than that.
const MOST_STEPS: u64 = 20_000;
/// So many bytes of padding are passed over at once.
const MOST_PADDING: usize = 1 << 16;
/// So many zeros are passed over in the time that an instruction takes.
const ZEROS_PER_STEP: usize = 256;

impl Flow {
    /// Follows the code of `code`, which lies at `extent`, from its first instruction on. With
    /// `is_whole` there is one function in it, so that what no jump leads to must be reached through
    /// its jump tables.
    pub(super) fn follow(code: &[u8], extent: Range<u64>, is_whole: bool) -> Self {
        let len = u64::try_from(code.len()).unwrap_or(u64::MAX);
        let end = extent.end.min(extent.start.saturating_add(len));
        let mut ways = Ways {
            code,
            extent: extent.start..end,
            flow: Self {
                places: BTreeMap::new(),
                table: Table::None,
                end: extent.start,
                steps: 0,
            },
            open: vec![(extent.start, ENTRY)],
            is_whole,
        };
        ways.run();
        ways.flow.end = match is_whole {
            true => {
                ways.follow_cases();
                extent.end
            }
            false => ways.gap(extent.start).unwrap_or(end),
        };
        ways.flow
    }

    /// The first address behind the function: behind the instructions that were reached, with nothing
    /// but padding in between.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether there are jumps whose targets are not known, other than to leave the function.
    pub(super) fn has_table(&self) -> bool {
        match self.table {
            Table::None => false,
            Table::One(frame) => frame != ENTRY,
            Table::Several => true,
        }
    }

    /// Whether the function takes more steps than are taken.
    pub(super) fn is_cut(&self) -> bool {
        self.steps >= MOST_STEPS
    }

    /// How many instructions were decoded.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// What is known by address: each holds up to the next one's.
    pub(super) fn rows(&self, rules: &mut RuleStore) -> Vec<(u64, Inferred)> {
        let mut rows: Vec<(u64, Inferred)> = Vec::new();
        let mut end = 0;
        for (&addr, place) in &self.places {
            if addr > end && end != 0 {
                rows.push((end, Inferred::NotReached));
            }
            let rule = place.frame.rule().and_then(|rule| rules.intern(rule));
            let inferred = rule.map_or(Inferred::NoRule, Inferred::Rule);
            if rows.last().is_none_or(|last| last.1 != inferred) {
                rows.push((addr, inferred));
            }
            end = place.next;
        }
        rows.push((end, Inferred::NotReached));
        rows
    }
}

/// The frames at the jumps whose targets are read from memory.
#[derive(Clone, Copy, Debug)]
enum Table {
    None,
    One(Frame),
    Several,
}

struct Ways<'c> {
    code: &'c [u8],
    extent: Range<u64>,
    flow: Flow,
    open: Vec<(u64, Frame)>, // still to be followed
    is_whole: bool,
}

impl<'c> Ways<'c> {
    fn run(&mut self) {
        while let Some((addr, frame)) = self.open.pop() {
            self.follow(addr, frame);
        }
    }

    /// Follows what no jump leads to, as far as one frame holds at all jumps whose targets are read from
    /// memory.
    fn follow_cases(&mut self) {
        let Table::One(frame) = self.flow.table else {
            return;
        };
        let mut from = self.extent.start;
        while let Some(start) = self.gap(from) {
            from = start;
            self.open.push((start, frame));
            self.run();
            if !self.flow.places.contains_key(&start) {
                break; // no instruction, or too many before
            }
        }
    }

    fn follow(&mut self, mut addr: u64, mut frame: Frame) {
        while self.extent.contains(&addr) && self.flow.steps < MOST_STEPS {
            if let Some(known) = self.flow.places.get(&addr) {
                if addr == self.extent.start {
                    return; // back to the start, as Go goes with a larger stack: the frame is gone again
                }
                frame = known.frame.merge(frame);
                if frame == known.frame {
                    return;
                }
            }
            let Some(code) = self.code_at(addr) else {
                return;
            };
            let instruction = decode(code, addr);
            self.flow.steps += 1;
            let next = instruction.next_ip();
            if instruction.is_invalid() || next > self.extent.end {
                return;
            }
            self.flow.places.insert(addr, Place { frame, next });
            frame.execute(&instruction);
            match instruction.flow_control() {
                FlowControl::Call | FlowControl::IndirectCall if self.ends_at(next) => return,
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {}
                FlowControl::ConditionalBranch => {
                    self.open.push((instruction.near_branch_target(), frame));
                }
                FlowControl::UnconditionalBranch => {
                    self.open.push((instruction.near_branch_target(), frame));
                    return;
                }
                FlowControl::IndirectBranch => {
                    self.flow.table = match self.flow.table {
                        Table::None => Table::One(frame),
                        Table::One(other) if other == frame => Table::One(frame),
                        _ => Table::Several,
                    };
                    return;
                }
                // A breakpoint; or padding behind a call that never returns: another function follows.
                FlowControl::Interrupt
                    if instruction.mnemonic() == Mnemonic::Int3 && self.is_whole => {}
                _ => return,
            }
            if instruction.mnemonic() == Mnemonic::Hlt {
                return;
            }
            addr = next;
        }
    }

    /// The first address from one on that was not reached and is no padding, as far as there is not too much
    /// of that.
    fn gap(&mut self, mut from: u64) -> Option<u64> {
        let mut steps = 0;
        while from < self.extent.end && steps < MOST_STEPS {
            from = match self.flow.places.get(&from) {
                Some(place) => place.next,
                None => match padding(self.code_at(from)?, &mut steps) {
                    0 => break,
                    len => from + len as u64,
                },
            };
        }
        self.flow.steps += steps;
        (from < self.extent.end).then_some(from)
    }

    fn code_at(&self, addr: u64) -> Option<&'c [u8]> {
        let skip = usize::try_from(addr.checked_sub(self.extent.start)?).ok()?;
        self.code.get(skip..)
    }

    /// Whether the call before an address is a function's last instruction, since it never returns.
    /// What comes next then is another function, aligned as compilers do, and saves registers.
    fn ends_at(&mut self, addr: u64) -> bool {
        if self.is_whole {
            return false;
        }
        let Some(code) = self.code_at(addr) else {
            return true;
        };
        let len = padding(code, &mut self.flow.steps);
        let start = addr + len as u64;
        // Go puts a single nop behind such calls.
        if len == 1 && code[0] == 0x90 && start.is_multiple_of(FUNCTION_ALIGNMENT) {
            return true;
        }
        let instruction = decode(&code[len..], start);
        match instruction.mnemonic() {
            Mnemonic::Endbr64 => true,
            _ if !start.is_multiple_of(FUNCTION_ALIGNMENT) => false,
            Mnemonic::Push => instruction.op0_kind() == OpKind::Register,
            Mnemonic::Sub => written(&instruction) == Some(Register::RSP),
            _ => false,
        }
    }
}

fn decode(code: &[u8], addr: u64) -> Instruction {
    Decoder::with_ip(64, code, addr, DecoderOptions::NONE).decode()
}

/// How many bytes of padding, as compilers and linkers put it between functions and before loops, the
/// code begins with. What it took to pass over it is added to `steps`.
pub(super) fn padding(code: &[u8], steps: &mut u64) -> usize {
    let code = &code[..code.len().min(MOST_PADDING)];
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut len = 0;
    while decoder.can_decode() {
        let zeros = code[len..].iter().take_while(|&&byte| byte == 0).count();
        if zeros > 0 {
            *steps += 1 + (zeros / ZEROS_PER_STEP) as u64;
            len += zeros;
            if decoder.set_position(len).is_err() {
                break;
            }
        } else if matches!(decoder.decode().mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
            *steps += 1;
            len = decoder.position();
        } else {
            break;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::x86_64::dataflow::frame::{Bp, Kept};
    use crate::regs::FP_INDEX;

    const START: u64 = 0x1000;

    /// (sp, where rbp points, where the caller's rbp is) at each offset, from the CFA.
    fn frames(code: &[u8], is_whole: bool) -> Vec<(u64, Option<i32>, Bp, Kept)> {
        let extent = START..START + code.len() as u64;
        let flow = Flow::follow(code, extent, is_whole);
        let places = flow.places.iter();
        places
            .map(|(&addr, &Place { frame, .. })| {
                (addr - START, frame.sp, frame.bp, frame.saved[FP_INDEX])
            })
            .collect()
    }

    #[test]
    fn a_frame_is_followed_from_its_prologue_to_each_return() {
        let code = [
            0x55, // push %rbp
            0x53, // push %rbx
            0x48, 0x83, 0xec, 0x18, // sub $24, %rsp
            0x85, 0xff, // test %edi, %edi
            0x74, 0x05, // je 15
            0xe8, 0, 0, 0, 0x10, // call
            0x48, 0x83, 0xc4, 0x18, // 15: add $24, %rsp
            0x5b, // pop %rbx
            0x5d, // pop %rbp
            0xc3, // ret
        ];
        let sp: Vec<_> = frames(&code, true)
            .iter()
            .map(|&(at, sp, bp, saved)| (at, sp.unwrap(), bp == Bp::Callers, saved))
            .collect();
        assert_eq!(
            sp,
            [
                (0, -8, true, Kept::There),
                (1, -16, true, Kept::At(-16)),
                (2, -24, true, Kept::At(-16)),
                (6, -48, true, Kept::At(-16)),
                (8, -48, true, Kept::At(-16)),
                (10, -48, true, Kept::At(-16)),
                (15, -48, true, Kept::At(-16)),
                (19, -24, true, Kept::At(-16)),
                (20, -16, true, Kept::At(-16)),
                (21, -8, true, Kept::There),
            ]
        );
    }

    #[test]
    fn behind_a_realignment_the_frame_pointer_leads_on() {
        let code = [
            0x55, // push %rbp
            0x48, 0x89, 0xe5, // mov %rsp, %rbp
            0x48, 0x83, 0xe4, 0xe0, // and $-32, %rsp
            0x90, // nop
            0xc9, // leave
            0xc3, // ret
        ];
        assert_eq!(
            frames(&code, true),
            [
                (0, Some(-8), Bp::Callers, Kept::There),
                (1, Some(-16), Bp::Callers, Kept::At(-16)),
                (4, Some(-16), Bp::At(-16), Kept::At(-16)),
                (8, None, Bp::At(-16), Kept::At(-16)),
                (9, None, Bp::At(-16), Kept::At(-16)),
                (10, Some(-8), Bp::Callers, Kept::There),
            ]
        );
    }

    #[test]
    fn ways_that_disagree_leave_no_rule_where_they_meet() {
        let code = [
            0x74, 0x01, // je 3
            0x50, // push %rax
            0x90, // 3: nop
            0xc3, // ret
        ];
        let sp: Vec<_> = frames(&code, true).iter().map(|place| place.1).collect();
        assert_eq!(sp, [Some(-8), Some(-8), None, None]);
    }

    #[test]
    fn a_way_back_to_the_start_does_not_change_what_holds_there() {
        let code = [
            0x74, 0x08, // je 10
            0x50, // push %rax
            0xe8, 0, 0, 0, 0x10, // call of a function that does not return
            0x90, // nop
            0x90, // nop
            0xe8, 0, 0, 0, 0x10, // 10: call morestack
            0xeb, 0xef, // jmp 0
        ];
        let frames = frames(&code, true);
        let sp: Vec<_> = frames.iter().map(|place| (place.0, place.1)).collect();
        assert_eq!(
            sp,
            [
                (0, Some(-8)),
                (2, Some(-8)),
                (3, Some(-16)),
                (8, Some(-16)),
                (9, Some(-16)),
                (10, None),
                (15, None)
            ]
        );
    }

    #[test]
    fn the_cases_of_a_jump_table_have_the_frame_of_the_jump() {
        let code = [
            0x53, // push %rbx
            0xff, 0xe0, // jmp *%rax
            0x98, // cwtl
            0x5b, // pop %rbx
            0xc3, // ret
            0xeb, 0xfc, // jmp 4
        ];
        let reached = |is_whole| {
            let frames = frames(&code, is_whole);
            frames
                .iter()
                .map(|place| (place.0, place.1))
                .collect::<Vec<_>>()
        };
        assert_eq!(reached(false), [(0, Some(-8)), (1, Some(-16))]);
        let whole = [(0, -8), (1, -16), (3, -16), (4, -16), (5, -8), (6, -16)];
        assert_eq!(reached(true), whole.map(|(at, sp)| (at, Some(sp))));
    }

    #[test]
    fn a_call_that_never_returns_ends_a_function_before_the_next_one() {
        let mut code = vec![
            0x50, // push %rax
            0xe8, 0, 0, 0, 0x10, // call
        ];
        code.resize(16, 0x90);
        code.extend([0x53, 0x5b, 0xc3]); // push %rbx; pop %rbx; ret
        let end = |is_whole| {
            let extent = START..START + code.len() as u64;
            Flow::follow(&code, extent, is_whole).end() - START
        };
        assert_eq!((end(false), end(true)), (16, 19));
        code[16] = 0x90;
        let extent = START..START + code.len() as u64;
        assert_eq!(Flow::follow(&code, extent, false).end(), START + 19);
    }

    #[test]
    fn a_function_of_go_ends_with_the_padding_behind_a_call_that_never_returns() {
        let leaf = [0x31, 0xc0, 0xc3]; // xor %eax, %eax; ret
        for (len, padding) in [(15, 0x90), (8, 0xcc)] {
            let mut code = vec![0x55]; // push %rbp
            code.resize(len - 5, 0x98); // cwtl
            code.extend([0xe8, 0, 0, 0, 0x10]); // call
            code.resize(len + 1, 0x90);
            code.resize(16, padding);
            code.extend(leaf);
            let places = frames(&code, false);
            assert!(places.iter().all(|place| place.0 < 16), "{places:?}");
            let flow = Flow::follow(&code, START..START + code.len() as u64, false);
            assert_eq!(flow.end(), START + 16);
        }
    }

    #[test]
    fn a_function_of_any_size_takes_a_bounded_number_of_steps() {
        const SIZE: usize = 64 << 20;
        let table = [0x53, 0xff, 0xe0]; // push %rbx; jmp *%rax
        let steps = |filler: &[u8], is_whole| {
            let code = [&table, &filler.repeat(SIZE / filler.len())[..]].concat();
            let extent = START..START + code.len() as u64;
            let flow = Flow::follow(&code, extent.clone(), is_whole);
            assert_eq!(flow.end() == extent.end, is_whole);
            flow.steps()
        };
        let fillers: [&[u8]; 3] = [&[0], &[0x90], &[0xcc]];
        for filler in fillers {
            for is_whole in [false, true] {
                let taken = steps(filler, is_whole);
                assert!(taken < 2 * MOST_STEPS + MOST_PADDING as u64, "{taken}");
            }
        }
    }

    #[test]
    fn ways_that_meet_again_and_again_count_as_often_as_they_are_followed() {
        const LEN: usize = 5_000;
        let pushes: [&[u8]; 6] = [
            &[0x53],       // push %rbx
            &[0x55],       // push %rbp
            &[0x41, 0x54], // push %r12, and so on
            &[0x41, 0x55],
            &[0x41, 0x56],
            &[0x41, 0x57],
        ];
        let mut code = Vec::new();
        for (index, push) in pushes.into_iter().enumerate() {
            code.extend(push);
            let behind: usize = pushes[index + 1..].iter().map(|push| push.len() + 2).sum();
            code.extend([0x74, behind as u8]); // je to behind the last push
        }
        code.resize(code.len() + LEN, 0x98); // cwtl
        let extent = START..START + code.len() as u64;
        let flow = Flow::follow(&code, extent, true);
        assert!(flow.places.len() > LEN);
        assert_eq!((flow.steps(), flow.is_cut()), (MOST_STEPS, true));
    }

    #[test]
    fn code_that_clears_the_frame_pointer_unsaved_has_no_caller() {
        let code = [
            0x31, 0xed, // xor %ebp, %ebp
            0x5f, // pop %rdi
            0x41, 0xff, 0xd1, // call *%r9
            0xf4, // hlt
            0x90,
        ];
        let flow = Flow::follow(&code, START..START + 8, false);
        let mut rules = RuleStore::default();
        let rows = flow.rows(&mut rules);
        let is_root = |at| {
            let row = rows.iter().rfind(|row| row.0 <= START + at).unwrap();
            matches!(row.1, Inferred::Rule(id) if rules.rule(id).is_outermost())
        };
        assert_eq!([0, 2, 3, 6].map(is_root), [false, true, true, true]);
        assert_eq!(rows.last(), Some(&(START + 7, Inferred::NotReached)));
        assert_eq!(flow.end(), START + 8);
    }
}
