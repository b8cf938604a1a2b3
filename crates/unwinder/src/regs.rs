//! The user registers of a sample or of a frame. Each one may be unknown.

use crate::Arch;

/// How many registers are kept. Each purpose has one number for all CPUs, so that the way through frames
/// with tables is one for all: those that DWARF gives on the CPU with the most registers.
pub(crate) const REGISTERS: usize = 33;
/// The frame pointer.
pub(crate) const FP: u8 = 29;
/// The stack pointer.
pub(crate) const SP: u8 = 31;
/// The instruction pointer.
pub(crate) const IP: u8 = 32;

/// The first of the registers that a function hands back as it got them; the last one is [`FP`].
pub(crate) const FIRST_SAVED: u8 = 19;
/// How many these are.
pub(crate) const SAVED: usize = 11;
/// Where among them the frame pointer is.
pub(crate) const FP_INDEX: usize = (FP - FIRST_SAVED) as usize;
/// A bit for each of them, and for the stack and instruction pointer.
pub(crate) const KEPT_OVER_CALLS: u64 = ((1 << SAVED) - 1) << FIRST_SAVED | KEPT_BY_FRAME_POINTER;
/// What a step along the frame pointers knows of the caller.
pub(crate) const KEPT_BY_FRAME_POINTER: u64 = 1 << FP | 1 << SP | 1 << IP;

/// User registers of a sample; each one may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regs {
    arch: Arch,
    known: u64, // a bit for each number
    values: [u64; REGISTERS],
}

impl Regs {
    /// All unknown.
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            known: 0,
            values: [0; REGISTERS],
        }
    }

    /// Registers as a sample carries them: `values` in ascending order of the bits that are set in
    /// `mask`, whose numbering is perf's for `arch`. Segment and flag registers are dropped.
    ///
    /// Fewer values than bits leave the rest unknown.
    pub fn from_perf(arch: Arch, mask: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let mut regs = Self::new(arch);
        let bits = (0..u64::BITS as usize).filter(|bit| mask >> bit & 1 == 1);
        for (bit, value) in bits.zip(values) {
            if let Some(register) = arch.perf_register(bit) {
                regs.put(register, Some(value));
            }
        }
        regs
    }

    /// Whose registers they are.
    #[inline]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The instruction pointer.
    #[inline]
    pub fn ip(&self) -> Option<u64> {
        self.kept(IP)
    }

    /// The stack pointer.
    #[inline]
    pub fn sp(&self) -> Option<u64> {
        self.kept(SP)
    }

    /// The frame pointer, if it is used as one.
    #[inline]
    pub(crate) fn fp(&self) -> Option<u64> {
        self.kept(FP)
    }

    /// The register with this DWARF number, if its value is known. On aarch64 the instruction pointer
    /// has number 32.
    pub fn get(&self, dwarf: u16) -> Option<u64> {
        self.kept(self.arch.register(dwarf)?)
    }

    /// Sets the register with this DWARF number; a number that is not kept is ignored.
    pub fn set(&mut self, dwarf: u16, value: u64) {
        if let Some(register) = self.arch.register(dwarf) {
            self.put(register, Some(value));
        }
    }

    /// The register that is kept under this number, if its value is known.
    #[inline]
    pub(crate) fn kept(&self, register: u8) -> Option<u64> {
        let value = self.values.get(usize::from(register))?;
        (self.known >> register & 1 == 1).then_some(*value)
    }

    /// Sets the register that is kept under this number, or forgets it.
    #[inline]
    pub(crate) fn put(&mut self, register: u8, value: Option<u64>) {
        let Some(slot) = self.values.get_mut(usize::from(register)) else {
            return;
        };
        match value {
            Some(value) => {
                *slot = value;
                self.known |= 1 << register;
            }
            None => self.known &= !(1 << register),
        }
    }

    /// Forgets all registers but those whose bits are set in `kept`.
    #[inline]
    pub(crate) fn forget_all_but(&mut self, kept: u64) {
        self.known &= kept;
    }
}
