//! The frame of one function at one instruction, and what the instruction does to it.
//!
//! In: the frame before it. Out: the frame behind it; the rule by which it is left. Which instruction
//! comes next is for `flow`.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::arch::x86_64::registers::FROM_DWARF;
use crate::regs::{FIRST_SAVED, FP, FP_INDEX, SAVED, SP};
use crate::tables::rule::{Cfa, Rule, Saved};

/// Where things are, counted from the canonical frame address: the stack pointer before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) sp: Option<i32>,
    pub(super) bp: Bp,
    /// Where the caller's values are, from [`FIRST_SAVED`] on.
    pub(super) saved: [Kept; SAVED],
}

/// Where the caller's value of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In the register.
    There,
    At(i32),
    /// That depends on the way that was taken.
    Lost,
}

/// What rbp holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bp {
    /// What it held on entry.
    Callers,
    /// An address in the frame.
    At(i32),
    /// Zero, and the caller's value is nowhere: this function has no caller.
    Zero,
    Other,
}

pub(super) const ENTRY: Frame = Frame {
    sp: Some(-8), // the return address
    bp: Bp::Callers,
    saved: [Kept::There; SAVED],
};

impl Frame {
    /// What holds whichever way was taken.
    pub(super) fn merge(self, other: Self) -> Self {
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

    pub(super) fn execute(&mut self, instruction: &Instruction) {
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

    pub(super) fn rule(&self) -> Option<Rule> {
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

/// The register, in full, that an instruction writes to as its first operand.
pub(super) fn written(instruction: &Instruction) -> Option<Register> {
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
