//! What a function's instructions say about its frame, for code that no unwind table describes: where
//! the stack pointer, the frame pointer and the saved registers are at each of them. For x86-64.
//!
//! All ways from the function's entry on are followed. An instruction to which two ways lead with
//! different frames has no rule, nor has one behind something that cannot be followed.

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

use crate::arch::x86_64::FROM_DWARF;
use crate::arch::{FIRST_SAVED, FP, FP_INDEX, SAVED, SP};
use crate::tables::rule::{Cfa, Rule, RuleId, RuleStore, Saved};

/// The frames of one function, by instruction.
#[derive(Debug)]
pub(crate) struct Flow {
    places: BTreeMap<u64, Place>,
    table: Table,
    end: u64,
}

/// What the instructions say about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inferred {
    /// How to leave the frame there.
    Rule(RuleId),
    /// That the frame pointer does not lead to the caller; and more is not known.
    NoRule,
    /// That nothing called the function.
    Outermost,
    /// Nothing.
    NotReached,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    frame: Frame, // before the instruction
    next: u64,    // address of the one behind it
}

/// Where things are, counted from the canonical frame address: the stack pointer before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    sp: Option<i32>,
    bp: Bp,
    /// Where the caller's values are, from [`FIRST_SAVED`] on.
    saved: [Kept; SAVED],
}

/// Where the caller's value of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// In the register.
    There,
    At(i32),
    /// That depends on the way that was taken.
    Lost,
}

/// What rbp holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bp {
    /// What it held on entry.
    Callers,
    /// An address in the frame.
    At(i32),
    /// Zero, and the caller's value is nowhere: this function has no caller.
    Zero,
    Other,
}

const ENTRY: Frame = Frame {
    sp: Some(-8), // the return address
    bp: Bp::Callers,
    saved: [Kept::There; SAVED],
};

/// Where compilers let functions start.
const FUNCTION_ALIGNMENT: u64 = 16;
/// Functions with more instructions are not followed to their end.
const MOST_INSTRUCTIONS: usize = 20_000;

impl Flow {
    /// Follows the code of `code`, which lies at `extent`, from its first instruction on. With
    /// `is_whole` there is one function in it, so that what no jump leads to must be reached through
    /// its jump tables.
    pub(crate) fn follow(code: &[u8], extent: Range<u64>, is_whole: bool) -> Self {
        let len = u64::try_from(code.len()).unwrap_or(u64::MAX);
        let end = extent.end.min(extent.start.saturating_add(len));
        let mut walk = Walk {
            code,
            extent: extent.start..end,
            flow: Self {
                places: BTreeMap::new(),
                table: Table::None,
                end: extent.start,
            },
            open: vec![(extent.start, ENTRY)],
            is_whole,
        };
        walk.run();
        if is_whole && let Table::One(frame) = walk.flow.table {
            while let Some(start) = walk.gap() {
                walk.open.push((start, frame));
                walk.run();
                if !walk.flow.places.contains_key(&start) {
                    break; // no instruction
                }
            }
        }
        walk.flow.end = walk.gap().unwrap_or(end);
        walk.flow
    }

    /// The first address behind the function: behind the instructions that were reached, with nothing
    /// but padding in between.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether there are jumps whose targets are not known, other than to leave the function.
    pub(crate) fn has_table(&self) -> bool {
        match self.table {
            Table::None => false,
            Table::One(frame) => frame != ENTRY,
            Table::Several => true,
        }
    }

    /// Whether an address lies in an instruction that was reached.
    pub(crate) fn covers(&self, vaddr: u64) -> bool {
        let last = self.places.range(..=vaddr).next_back();
        last.is_some_and(|(_, place)| vaddr < place.next)
    }

    /// What is known by address: each holds up to the next one's.
    pub(crate) fn rows(&self, rules: &mut RuleStore) -> Vec<(u64, Inferred)> {
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

struct Walk<'c> {
    code: &'c [u8],
    extent: Range<u64>,
    flow: Flow,
    open: Vec<(u64, Frame)>, // still to be followed
    is_whole: bool,
}

impl Walk<'_> {
    fn run(&mut self) {
        while let Some((addr, frame)) = self.open.pop() {
            self.follow(addr, frame);
        }
    }

    fn follow(&mut self, mut addr: u64, mut frame: Frame) {
        while self.extent.contains(&addr) && self.flow.places.len() < MOST_INSTRUCTIONS {
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

    /// The first address that was not reached and is no padding.
    fn gap(&self) -> Option<u64> {
        let mut from = self.extent.start;
        while from < self.extent.end {
            from = match self.flow.places.get(&from) {
                Some(place) => place.next,
                None => match padding(self.code_at(from)?) {
                    0 => return Some(from),
                    len => from + len as u64,
                },
            };
        }
        None
    }

    fn code_at(&self, addr: u64) -> Option<&[u8]> {
        let skip = usize::try_from(addr.checked_sub(self.extent.start)?).ok()?;
        self.code.get(skip..)
    }

    /// Whether the call before an address is a function's last instruction, since it never returns.
    /// What comes next then is another function, aligned as compilers do, and saves registers.
    fn ends_at(&self, addr: u64) -> bool {
        if self.is_whole {
            return false;
        }
        let Some(code) = self.code_at(addr) else {
            return true;
        };
        let len = padding(code);
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

impl Frame {
    /// What holds whichever way was taken.
    fn merge(self, other: Self) -> Self {
        let mut saved = self.saved;
        for (mine, theirs) in saved.iter_mut().zip(other.saved) {
            if *mine != theirs {
                *mine = Kept::Lost;
            }
        }
        Self {
            sp: self.sp.filter(|_| self.sp == other.sp),
            bp: if self.bp == other.bp {
                self.bp
            } else {
                Bp::Other
            },
            saved,
        }
    }

    fn execute(&mut self, instruction: &Instruction) {
        use Mnemonic::{Add, And, Call, Lea, Leave, Mov, Pop, Push, Sub, Xor};
        let target = written(instruction);
        match instruction.mnemonic() {
            Push => {
                self.move_sp(instruction.stack_pointer_increment());
                if instruction.op0_kind() == OpKind::Register
                    && let Some(sp) = self.sp
                {
                    self.save(instruction.op0_register(), sp);
                }
            }
            Pop => {
                let from = self.sp;
                self.write(target, Bp::Other);
                if let (Some(register), Some(from)) = (target, from) {
                    self.restore(register, from);
                }
                if target != Some(Register::RSP) {
                    self.sp = from;
                    self.move_sp(instruction.stack_pointer_increment());
                }
            }
            Leave => {
                self.sp = self.bp_at();
                if let Some(from) = self.sp {
                    self.bp = Bp::Other;
                    self.restore(Register::RBP, from);
                }
                self.move_sp(8);
            }
            Mov => self.execute_mov(instruction, target),
            Lea => {
                let value = self.address(instruction);
                self.write_address(target, value);
            }
            Add | Sub if target == Some(Register::RSP) => {
                let is_immediate =
                    !matches!(instruction.op1_kind(), OpKind::Register | OpKind::Memory);
                let by = is_immediate
                    .then(|| instruction.immediate(1).cast_signed())
                    .and_then(|by| i32::try_from(by).ok());
                self.sp = by.and_then(|by| match instruction.mnemonic() {
                    Add => self.sp?.checked_add(by),
                    _ => self.sp?.checked_sub(by),
                });
            }
            And if target == Some(Register::RSP) => self.sp = None,
            Xor if target == Some(Register::RBP)
                && instruction.op0_register() == instruction.op1_register() =>
            {
                let is_lost = self.bp == Bp::Callers && self.saved[FP_INDEX] == Kept::There;
                self.bp = if is_lost { Bp::Zero } else { Bp::Other };
            }
            Call => {
                let target = instruction.near_branch_target();
                if instruction.is_call_near() && target == instruction.next_ip() {
                    self.move_sp(-8); // asks where it is
                }
            }
            _ => {
                self.write(target, Bp::Other);
                if matches!(instruction.mnemonic(), Mnemonic::Xchg | Mnemonic::Xadd)
                    && instruction.op1_kind() == OpKind::Register
                {
                    self.write(Some(instruction.op1_register().full_register()), Bp::Other);
                }
                if instruction.is_stack_instruction() && target != Some(Register::RSP) {
                    self.move_sp(instruction.stack_pointer_increment());
                }
            }
        }
        if self.sp.is_some_and(|sp| sp > 0) {
            self.sp = None; // above its own frame: another stack, or none of our business
        }
    }

    fn execute_mov(&mut self, instruction: &Instruction, target: Option<Register>) {
        let is_wide =
            instruction.code() == Code::Mov_rm64_r64 || instruction.code() == Code::Mov_r64_rm64;
        match (instruction.op0_kind(), instruction.op1_kind()) {
            (OpKind::Memory, OpKind::Register) if is_wide => {
                if let Some(at) = self.address(instruction) {
                    self.save(instruction.op1_register(), at);
                }
            }
            (OpKind::Register, OpKind::Memory) if is_wide => {
                self.write(target, Bp::Other);
                if let (Some(register), Some(at)) = (target, self.address(instruction)) {
                    self.restore(register, at);
                }
            }
            (OpKind::Register, OpKind::Register) if is_wide => {
                let value = match instruction.op1_register() {
                    Register::RSP => self.sp,
                    Register::RBP => self.bp_at(),
                    _ => None,
                };
                self.write_address(target, value);
            }
            _ => self.write(target, Bp::Other),
        }
    }

    fn bp_at(&self) -> Option<i32> {
        match self.bp {
            Bp::At(at) => Some(at),
            _ => None,
        }
    }

    /// The address that a memory operand means, if it is one in the frame.
    fn address(&self, instruction: &Instruction) -> Option<i32> {
        if instruction.memory_index() != Register::None {
            return None;
        }
        let base = match instruction.memory_base() {
            Register::RSP => self.sp,
            Register::RBP => self.bp_at(),
            _ => None,
        };
        let displacement = i32::try_from(instruction.memory_displacement64().cast_signed()).ok()?;
        base?.checked_add(displacement)
    }

    fn move_sp(&mut self, by: i32) {
        self.sp = self.sp.and_then(|sp| sp.checked_add(by));
    }

    /// A register gets a value that is no address in the frame.
    fn write(&mut self, register: Option<Register>, value: Bp) {
        match register {
            Some(Register::RSP) => self.sp = None,
            Some(Register::RBP) => self.bp = value,
            _ => {}
        }
    }

    fn write_address(&mut self, register: Option<Register>, value: Option<i32>) {
        match register {
            Some(Register::RSP) => self.sp = value,
            Some(Register::RBP) => self.bp = value.map_or(Bp::Other, Bp::At),
            _ => {}
        }
    }

    /// A register is stored in the frame. The first time it holds what the caller had in it.
    fn save(&mut self, register: Register, at: i32) {
        let Some(index) = callee_saved(register) else {
            return;
        };
        let holds_callers = index != FP_INDEX || self.bp == Bp::Callers;
        if self.saved[index] == Kept::There && holds_callers && at < 0 {
            self.saved[index] = Kept::At(at);
        }
    }

    /// A register is loaded from the frame.
    fn restore(&mut self, register: Register, at: i32) {
        let Some(index) = callee_saved(register) else {
            return;
        };
        if self.saved[index] == Kept::At(at) {
            self.saved[index] = Kept::There;
            if index == FP_INDEX {
                self.bp = Bp::Callers;
            }
        }
    }

    fn rule(&self) -> Option<Rule> {
        let mut callee_saved = self.saved.map(|kept| match kept {
            Kept::There => Saved::Same,
            Kept::At(at) => Saved::At(at),
            Kept::Lost => Saved::Undefined,
        });
        if self.bp != Bp::Callers && self.saved[FP_INDEX] == Kept::There {
            callee_saved[FP_INDEX] = Saved::Undefined;
        }
        let from = |register: u8, at: i32| Cfa::Offset {
            register,
            offset: -at,
        };
        let cfa = match (self.sp, self.bp) {
            _ if self.bp == Bp::Zero => from(SP, -8),
            (Some(sp), _) if sp <= -8 => from(SP, sp),
            (_, Bp::At(at)) if at <= -8 => from(FP, at),
            _ => return None,
        };
        let return_address = match self.bp {
            Bp::Zero => Saved::Undefined,
            _ => Saved::At(-8),
        };
        Some(Rule {
            cfa,
            return_address,
            callee_saved,
            others: Box::default(),
            is_signal_frame: false,
        })
    }
}

fn decode(code: &[u8], addr: u64) -> Instruction {
    Decoder::with_ip(64, code, addr, DecoderOptions::NONE).decode()
}

/// How many bytes of padding, as compilers and linkers put it between functions and before loops, the
/// code begins with.
pub(crate) fn padding(code: &[u8]) -> usize {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut len = 0;
    while decoder.can_decode() {
        let is_zero = code[len] == 0;
        let instruction = decoder.decode();
        if is_zero {
            len += 1;
            if decoder.set_position(len).is_err() {
                break;
            }
        } else if matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
            len = decoder.position();
        } else {
            break;
        }
    }
    len
}

/// The register, in full, that an instruction writes to as its first operand.
fn written(instruction: &Instruction) -> Option<Register> {
    use Mnemonic::{Bt, Cmp, Push, Test};
    let only_reads = matches!(instruction.mnemonic(), Push | Cmp | Test | Bt)
        || instruction.flow_control() != FlowControl::Next;
    if only_reads || instruction.op_count() == 0 || instruction.op0_kind() != OpKind::Register {
        return None;
    }
    Some(instruction.op0_register().full_register())
}

fn callee_saved(register: Register) -> Option<usize> {
    let dwarf = match register {
        Register::RBX => 3,
        Register::RBP => 6,
        Register::R12 => 12,
        Register::R13 => 13,
        Register::R14 => 14,
        Register::R15 => 15,
        _ => return None,
    };
    Some(usize::from(FROM_DWARF[dwarf] - FIRST_SAVED))
}

#[cfg(test)]
mod tests {
    use super::*;

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
