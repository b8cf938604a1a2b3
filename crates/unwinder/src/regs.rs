//! The user registers of a sample or of a frame. Each one may be unknown.

use crate::Arch;
use crate::arch::{FP, IP, REGISTERS, SP};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What perf asks for: all but DS, ES, FS, GS.
    const PERF_MASK: u64 = 0xff_0fff;

    #[test]
    fn perf_registers_get_their_dwarf_numbers() {
        let regs = Regs::from_perf(Arch::X86_64, PERF_MASK, 100..120);
        let all: Vec<_> = (0..18).map(|dwarf| regs.get(dwarf)).collect();
        // AX DX CX BX SI DI BP SP R8-R15 IP
        let expected = [
            100, 103, 102, 101, 104, 105, 106, 107, 112, 113, 114, 115, 116, 117, 118, 119, 108,
        ];
        assert_eq!(all[..17], expected.map(Some));
        assert_eq!(all[17], None);
        assert_eq!((regs.ip(), regs.sp()), (Some(108), Some(107)));
    }

    #[test]
    fn perf_numbers_the_registers_of_aarch64_as_dwarf_does() {
        const FROM_PERF: u64 = ((1 << 33) - 1) | (1 << 46); // the last is VG
        let regs = Regs::from_perf(Arch::Aarch64, FROM_PERF, 100..134);
        let all: Vec<_> = (0..33).map(|dwarf| regs.get(dwarf).unwrap()).collect();
        assert_eq!(all, (100..133).collect::<Vec<_>>());
        assert_eq!(
            (regs.fp(), regs.sp(), regs.ip()),
            (Some(129), Some(131), Some(132))
        );
        assert_eq!([33, 34, 46, 64].map(|other| regs.get(other)), [None; 4]);
    }

    #[test]
    fn registers_that_were_not_sampled_are_unknown() {
        let regs = Regs::from_perf(Arch::X86_64, 1 << 7 | 1 << 8, [1, 2]);
        assert_eq!((regs.sp(), regs.ip()), (Some(1), Some(2)));
        assert_eq!(regs.get(6), None);
        assert_eq!(Regs::from_perf(Arch::X86_64, PERF_MASK, [1, 2]).ip(), None);
    }
}
