//! The registers of aarch64, which are kept under the numbers that DWARF and perf give them, and the part
//! of a word that is an address of code.

use prof_model::{AddressSpace, VirtAddr};

use crate::Regs;

/// Where a call puts the return address: x30.
pub(super) const LR: u8 = 30;

/// User addresses have no more bits.
const MOST_ADDRESS: u64 = (1 << 52) - 1;

/// Which bits of a return address on the stack are the address; those above may sign it. How many bits
/// an address has depends on the kernel; the stack, the libraries or the vDSO lie near the upper end of
/// what a process can have.
pub(super) fn code_bits(regs: &Regs, space: &AddressSpace) -> u64 {
    let last = space.before(VirtAddr(MOST_ADDRESS));
    let last = last.map_or(0, |mapping| mapping.end.saturating_sub(1));
    let known = last | regs.sp().unwrap_or(0) | regs.ip().unwrap_or(0);
    let bits = u64::BITS - (known & MOST_ADDRESS).leading_zeros();
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::{Arch, Regs};

    #[test]
    fn perf_numbers_the_registers_as_dwarf_does() {
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
}
