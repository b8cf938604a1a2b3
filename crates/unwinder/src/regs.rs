use crate::x86_64::{FROM_PERF, IP, REGISTERS, SP};

/// User registers of a sample; each one may be unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    known: u32, // a bit for each DWARF number
    values: [u64; REGISTERS],
}

impl Regs {
    /// Registers as a sample carries them: `values` in ascending order of the bits that are set in
    /// `mask`, whose numbering is perf's for x86-64. Segment and flag registers are dropped.
    ///
    /// Fewer values than bits leave the rest unknown.
    pub fn from_perf(mask: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let mut regs = Self::default();
        let bits = (0..u64::BITS as usize).filter(|bit| mask >> bit & 1 == 1);
        for (bit, value) in bits.zip(values) {
            if let Some(&Some(register)) = FROM_PERF.get(bit) {
                regs.set(u16::from(register), value);
            }
        }
        regs
    }

    /// The instruction pointer.
    pub fn ip(&self) -> Option<u64> {
        self.get(IP.into())
    }

    /// The stack pointer.
    pub fn sp(&self) -> Option<u64> {
        self.get(SP.into())
    }

    /// The register with this DWARF number, if its value is known.
    #[inline]
    pub fn get(&self, dwarf: u16) -> Option<u64> {
        let value = self.values.get(usize::from(dwarf))?;
        (self.known >> dwarf & 1 == 1).then_some(*value)
    }

    /// Sets the register with this DWARF number; a number that is not kept is ignored.
    #[inline]
    pub fn set(&mut self, dwarf: u16, value: u64) {
        if let Some(slot) = self.values.get_mut(usize::from(dwarf)) {
            *slot = value;
            self.known |= 1 << dwarf;
        }
    }

    /// Forgets all registers but those whose bits are set in `kept`.
    #[inline]
    pub(crate) fn forget_all_but(&mut self, kept: u32) {
        self.known &= kept;
    }

    /// Sets a register, or forgets it.
    #[inline]
    pub(crate) fn put(&mut self, dwarf: u8, value: Option<u64>) {
        match value {
            Some(value) => self.set(dwarf.into(), value),
            None => self.known &= !(1_u32.checked_shl(dwarf.into()).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What perf asks for: all but DS, ES, FS, GS.
    const PERF_MASK: u64 = 0xff_0fff;

    #[test]
    fn perf_registers_get_their_dwarf_numbers() {
        let regs = Regs::from_perf(PERF_MASK, 100..120);
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
    fn registers_that_were_not_sampled_are_unknown() {
        let regs = Regs::from_perf(1 << 7 | 1 << 8, [1, 2]);
        assert_eq!((regs.sp(), regs.ip()), (Some(1), Some(2)));
        assert_eq!(regs.get(6), None);
        assert_eq!(Regs::from_perf(PERF_MASK, [1, 2]).ip(), None);
    }
}
