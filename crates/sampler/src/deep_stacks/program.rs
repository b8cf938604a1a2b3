//! The programs that run in the kernel with each sample: the reader reads what lies behind the copy of the stack,
//! the caller runs it once it is there.
//!
//! In: the maps that they work with. Out: their instructions, and the layout of what is written. Elsewhere:
//! loading them (`bpf.rs`), who is to be read (`reading.rs`).

use std::os::fd::{AsRawFd, BorrowedFd};

/// What is read at once, and is there or not.
pub(super) const PAGE: u64 = 4096;
/// So many pages are handed over in one piece.
pub(super) const PAGES: u64 = 8;
/// What is read behind one copy at most, and where the end of the stack is not known yet.
const MOST: u64 = 1 << 20;
const MOST_OF_UNKNOWN: u64 = 256 << 10;
/// A copy may be smaller than asked for by this, where a sample has a long callchain.
const OVERLAP: u64 = PAGE;
/// So much is read on one CPU in such a time, in nanoseconds: what is more stays as it was. The time is long, since
/// a stack that is read in live memory is believed after some samples in a row only.
const ALLOWED: u64 = 128 << 20;
const ALLOWED_EVERY: u64 = 1_000_000_000;

/// Each CPU's place to work in: two words for what was read lately, then the piece that is handed over.
const SINCE: i16 = 0;
const USED: i16 = 8;
const PIECE: i16 = 16;
const TIME: i16 = PIECE;
const TASK: i16 = PIECE + 8;
const SP: i16 = PIECE + 16;
const ADDR: i16 = PIECE + 24;
const MISSING: i16 = PIECE + 32;
const DATA: i16 = PIECE + HEADER as i16;
/// Bytes of a piece in front of the pages.
pub(super) const HEADER: u64 = 40;
/// Bytes of a CPU's place.
pub(super) const PLACE: usize = DATA as usize + (PAGES * PAGE) as usize;

/// Where `struct pt_regs` of x86-64 has the stack pointer.
const REGS_SP: i16 = 152;

/// The maps that the reader uses.
pub(super) struct Maps<'a> {
    /// From process << 32 | thread to the end of its stack, and from process << 32 to anything: of its other
    /// threads the stacks are read, too.
    pub(super) threads: BorrowedFd<'a>,
    /// Places to work in, by CPU.
    pub(super) places: BorrowedFd<'a>,
    /// Events to write into, by CPU.
    pub(super) output: BorrowedFd<'a>,
}

/// Goes on with the program in the first place of a map, and does nothing while there is none.
pub(super) fn caller(programs: BorrowedFd<'_>) -> Vec<u64> {
    let mut p = Program::default();
    p.load_map(Reg::R2, programs);
    p.mov_imm(Reg::R3, 0);
    p.call(helper::TAIL_CALL);
    p.mov_imm(Reg::R0, 1); // the sample is kept
    p.exit();
    p.finished()
}

/// Reads stacks, with samples that have copies of `copied` bytes.
pub(super) fn reader(maps: &Maps<'_>, copied: u32) -> Vec<u64> {
    use Reg::*;
    let mut p = Program::default();
    let (key, task, sp, cpu, rest) = (-8, -16, -24, -32, -40); // on its stack
    p.mov(R6, R1);
    p.call(helper::GET_CURRENT_PID_TGID);
    p.store(R10, task, R0);
    p.store(R10, key, R0);
    p.look_up(maps.threads, key);
    p.jump_if(jump::NOT_EQUAL, R0, 0, "known");
    p.load(R1, R10, task);
    p.alu(alu::SHIFT_RIGHT, R1, 32);
    p.alu(alu::SHIFT_LEFT, R1, 32);
    p.store(R10, key, R1);
    p.look_up(maps.threads, key);
    p.jump_if(jump::EQUAL, R0, 0, "out");
    p.mov_imm(R9, 0);
    p.jump("stack pointer");
    p.label("known");
    p.load(R9, R0, 0);

    p.label("stack pointer");
    p.call(helper::GET_CURRENT_TASK_BTF);
    p.mov(R1, R0);
    p.call(helper::TASK_PT_REGS);
    p.load(R8, R0, REGS_SP);
    p.store(R10, sp, R8);
    p.alu(alu::ADD, R8, (u64::from(copied) - OVERLAP) as i32);
    p.alu(alu::AND, R8, -(PAGE as i32));
    p.jump_if(jump::NOT_EQUAL, R9, 0, "has end");
    p.mov(R9, R8);
    p.alu(alu::ADD, R9, MOST_OF_UNKNOWN as i32);
    p.label("has end");
    p.jump_if_reg(jump::LESS_OR_EQUAL, R9, R8, "out");
    p.mov(R1, R9);
    p.alu_reg(alu::SUB, R1, R8);
    p.jump_if(jump::LESS_OR_EQUAL, R1, MOST as i32, "bounded");
    p.mov(R9, R8);
    p.alu(alu::ADD, R9, MOST as i32);

    p.label("bounded");
    p.call(helper::GET_SMP_PROCESSOR_ID);
    p.store(R10, cpu, R0);
    p.look_up(maps.places, cpu);
    p.jump_if(jump::EQUAL, R0, 0, "out");
    p.mov(R7, R0);
    p.call(helper::KTIME_GET_NS);
    p.store(R7, TIME, R0);
    p.load(R1, R7, SINCE);
    p.mov(R2, R0);
    p.alu_reg(alu::SUB, R2, R1);
    p.jump_if(jump::LESS_OR_EQUAL, R2, ALLOWED_EVERY as i32, "same span");
    p.store(R7, SINCE, R0);
    p.mov_imm(R1, 0);
    p.store(R7, USED, R1);
    p.label("same span");
    p.load(R1, R10, task);
    p.store(R7, TASK, R1);
    p.load(R1, R10, sp);
    p.store(R7, SP, R1);
    p.store(R7, ADDR, R8);
    p.load(R1, R7, USED);
    p.alu_reg(alu::ADD, R1, R9);
    p.alu_reg(alu::SUB, R1, R8);
    p.jump_if(jump::GREATER, R1, ALLOWED as i32, "too much");
    p.store(R7, USED, R1);

    p.mov_imm(R1, (MOST / (PAGES * PAGE)) as i32);
    p.store(R10, rest, R1);

    p.label("next piece");
    p.store(R7, ADDR, R8);
    p.mov_imm(R1, 0);
    p.store(R7, MISSING, R1);
    for page in 0..PAGES {
        p.mov(R1, R7);
        p.alu(alu::ADD, R1, i32::from(DATA) + (page * PAGE) as i32);
        p.mov_imm(R2, PAGE as i32);
        p.mov(R3, R8);
        p.alu(alu::ADD, R3, (page * PAGE) as i32);
        p.call(helper::PROBE_READ_USER);
        // the sign of an error is the bit of a page that is not there
        p.alu(alu::SHIFT_RIGHT, R0, 63);
        p.alu(alu::SHIFT_LEFT, R0, page as i32);
        p.load(R1, R7, MISSING);
        p.alu_reg(alu::OR, R1, R0);
        p.store(R7, MISSING, R1);
    }
    p.load(R1, R7, MISSING);
    p.jump_if(jump::EQUAL, R1, (1 << PAGES) - 1, "out");
    p.mov(R5, R9);
    p.alu_reg(alu::SUB, R5, R8);
    p.alu(alu::ADD, R5, PAGE as i32 - 1);
    p.alu(alu::SHIFT_RIGHT, R5, PAGE.trailing_zeros() as i32);
    p.jump_if(jump::LESS_OR_EQUAL, R5, PAGES as i32, "has size");
    p.mov_imm(R5, PAGES as i32);
    p.label("has size");
    p.alu(alu::SHIFT_LEFT, R5, PAGE.trailing_zeros() as i32);
    p.alu(alu::ADD, R5, HEADER as i32);
    p.hand_over(maps.output);
    p.jump_if(jump::NOT_EQUAL, R0, 0, "out");
    p.alu(alu::ADD, R8, (PAGES * PAGE) as i32);
    p.jump_if_reg(jump::LESS_OR_EQUAL, R9, R8, "out");
    p.load(R1, R10, rest);
    p.alu(alu::ADD, R1, -1);
    p.store(R10, rest, R1);
    p.jump_if(jump::NOT_EQUAL, R1, 0, "next piece");
    p.jump("out");

    // that there is nothing for this sample is handed over, lest it be given what is the next one's
    p.label("too much");
    p.mov_imm(R5, HEADER as i32);
    p.hand_over(maps.output);

    p.label("out");
    p.mov_imm(R0, 1); // the sample is kept
    p.exit();
    p.finished()
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The kernel's functions for programs, by its numbers.
mod helper {
    pub(super) const MAP_LOOKUP_ELEM: i32 = 1;
    pub(super) const KTIME_GET_NS: i32 = 5;
    pub(super) const GET_SMP_PROCESSOR_ID: i32 = 8;
    pub(super) const TAIL_CALL: i32 = 12;
    pub(super) const GET_CURRENT_PID_TGID: i32 = 14;
    pub(super) const PERF_EVENT_OUTPUT: i32 = 25;
    pub(super) const PROBE_READ_USER: i32 = 112;
    pub(super) const GET_CURRENT_TASK_BTF: i32 = 158;
    pub(super) const TASK_PT_REGS: i32 = 175;
}

/// Calculations on 64 bits.
mod alu {
    pub(super) const ADD: u8 = 0x00;
    pub(super) const SUB: u8 = 0x10;
    pub(super) const OR: u8 = 0x40;
    pub(super) const AND: u8 = 0x50;
    pub(super) const SHIFT_LEFT: u8 = 0x60;
    pub(super) const SHIFT_RIGHT: u8 = 0x70;
    pub(super) const MOVE: u8 = 0xb0;
}

/// When to jump. Numbers are compared without a sign.
mod jump {
    pub(super) const ALWAYS: u8 = 0x00;
    pub(super) const EQUAL: u8 = 0x10;
    pub(super) const GREATER: u8 = 0x20;
    pub(super) const NOT_EQUAL: u8 = 0x50;
    pub(super) const CALL: u8 = 0x80;
    pub(super) const EXIT: u8 = 0x90;
    pub(super) const LESS_OR_EQUAL: u8 = 0xb0;
}

/// Classes of instructions, with the size of what they move.
const LOAD_DOUBLE: u8 = 0x79;
const STORE_DOUBLE: u8 = 0x7b;
const LOAD_CONSTANT: u8 = 0x18; // takes two
const JUMP: u8 = 0x05;
const ALU_32: u8 = 0x04;
const ALU_64: u8 = 0x07;
/// The second operand is a register.
const BY_REGISTER: u8 = 0x08;
/// The constant is the descriptor of a map.
const IS_MAP: u8 = 1;

/// A program that is being written.
#[derive(Default)]
struct Program {
    code: Vec<u64>,
    labels: Vec<(&'static str, usize)>,
    jumps: Vec<(usize, &'static str)>,
}

impl Program {
    fn emit(&mut self, opcode: u8, to: Reg, from: u8, offset: i16, constant: i32) {
        let registers = u64::from(to as u8 | from << 4);
        let offset = u64::from(offset as u16);
        let constant = u64::from(constant as u32);
        self.code
            .push(u64::from(opcode) | registers << 8 | offset << 16 | constant << 32);
    }

    fn mov(&mut self, to: Reg, from: Reg) {
        self.alu_reg(alu::MOVE, to, from);
    }

    fn mov_imm(&mut self, to: Reg, constant: i32) {
        self.alu(alu::MOVE, to, constant);
    }

    fn mov32(&mut self, to: Reg, constant: u32) {
        self.emit(ALU_32 | alu::MOVE, to, 0, 0, constant as i32);
    }

    fn alu(&mut self, what: u8, to: Reg, constant: i32) {
        self.emit(ALU_64 | what, to, 0, 0, constant);
    }

    fn alu_reg(&mut self, what: u8, to: Reg, from: Reg) {
        self.emit(ALU_64 | BY_REGISTER | what, to, from as u8, 0, 0);
    }

    fn load(&mut self, to: Reg, base: Reg, offset: i16) {
        self.emit(LOAD_DOUBLE, to, base as u8, offset, 0);
    }

    fn store(&mut self, base: Reg, offset: i16, from: Reg) {
        self.emit(STORE_DOUBLE, base, from as u8, offset, 0);
    }

    fn load_map(&mut self, to: Reg, map: BorrowedFd<'_>) {
        self.emit(LOAD_CONSTANT, to, IS_MAP, 0, map.as_raw_fd());
        self.code.push(0);
    }

    /// Asks a map for the key on the stack. The answer, if any, is in `R0`.
    fn look_up(&mut self, map: BorrowedFd<'_>, key: i16) {
        self.load_map(Reg::R1, map);
        self.mov(Reg::R2, Reg::R10);
        self.alu(alu::ADD, Reg::R2, i32::from(key));
        self.call(helper::MAP_LOOKUP_ELEM);
    }

    /// Writes a piece of the place in `R7`, whose size is in `R5`, to this CPU's event. `R6` has the context.
    fn hand_over(&mut self, output: BorrowedFd<'_>) {
        self.mov(Reg::R1, Reg::R6);
        self.load_map(Reg::R2, output);
        self.mov32(Reg::R3, u32::MAX); // this CPU
        self.mov(Reg::R4, Reg::R7);
        self.alu(alu::ADD, Reg::R4, i32::from(PIECE));
        self.call(helper::PERF_EVENT_OUTPUT);
    }

    fn call(&mut self, helper: i32) {
        self.emit(JUMP | jump::CALL, Reg::R0, 0, 0, helper);
    }

    fn exit(&mut self) {
        self.emit(JUMP | jump::EXIT, Reg::R0, 0, 0, 0);
    }

    fn jump(&mut self, label: &'static str) {
        self.jump_if(jump::ALWAYS, Reg::R0, 0, label);
    }

    fn jump_if(&mut self, when: u8, left: Reg, right: i32, label: &'static str) {
        self.jumps.push((self.code.len(), label));
        self.emit(JUMP | when, left, 0, 0, right);
    }

    fn jump_if_reg(&mut self, when: u8, left: Reg, right: Reg, label: &'static str) {
        self.jumps.push((self.code.len(), label));
        self.emit(JUMP | BY_REGISTER | when, left, right as u8, 0, 0);
    }

    fn label(&mut self, name: &'static str) {
        self.labels.push((name, self.code.len()));
    }

    /// The instructions, with each jump to its label.
    fn finished(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let to = self.labels.iter().find(|(name, _)| *name == label);
            let to = to.map_or(at, |&(_, to)| to) as i64;
            let distance = (to - at as i64 - 1) as i16;
            self.code[at] |= u64::from(distance as u16) << 16;
        }
        self.code
    }
}
