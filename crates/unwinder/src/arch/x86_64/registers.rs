//! Under which numbers the registers of x86-64 are kept.

use crate::regs::{FIRST_SAVED, FP, IP, SP};

/// DWARF numbers -> the numbers under which registers are kept. Source: System V ABI, figure 3.36.
/// The last one is the return address column; for a frame's registers, rip.
#[rustfmt::skip]
pub(super) const FROM_DWARF: [u8; 17] = [
    0, 1, 2, RBX, 4, 5, FP, SP, 8, 9, 10, 11, R12, R13, R14, R15, IP,
];

/// The registers that a function hands back as it got them, besides rbp.
pub(super) const RBX: u8 = FIRST_SAVED;
pub(super) const R12: u8 = FIRST_SAVED + 1;
pub(super) const R13: u8 = FIRST_SAVED + 2;
pub(super) const R14: u8 = FIRST_SAVED + 3;
pub(super) const R15: u8 = FIRST_SAVED + 4;

/// perf's register numbers -> the numbers under which registers are kept. Source: `asm/perf_regs.h`.
#[rustfmt::skip]
pub(super) const FROM_PERF: [Option<u8>; 24] = [
    Some(0), Some(RBX), Some(2), Some(1), Some(4), Some(5), Some(FP), Some(SP), Some(IP),
    None, None, None, None, None, None, None, // flags and segments
    Some(8), Some(9), Some(10), Some(11), Some(R12), Some(R13), Some(R14), Some(R15),
];

#[cfg(test)]
mod tests {
    use crate::{Arch, Regs};

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
    fn registers_that_were_not_sampled_are_unknown() {
        let regs = Regs::from_perf(Arch::X86_64, 1 << 7 | 1 << 8, [1, 2]);
        assert_eq!((regs.sp(), regs.ip()), (Some(1), Some(2)));
        assert_eq!(regs.get(6), None);
        assert_eq!(Regs::from_perf(Arch::X86_64, PERF_MASK, [1, 2]).ip(), None);
    }
}
