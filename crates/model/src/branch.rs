use crate::VirtAddr;

/// A branch that a CPU took and kept a record of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// The branch instruction.
    pub from: VirtAddr,
    /// Where it led.
    pub to: VirtAddr,
    /// What else the CPU noted.
    pub flags: BranchFlags,
}

/// What a CPU noted of a branch: the word of bits in the kernel's `perf_branch_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BranchFlags(pub u64);

impl BranchFlags {
    /// The bits of what [`Self::outcome`] keeps.
    const OUTCOME: u64 = (1 << 20) - 1;

    /// The CPU had expected it to lead elsewhere.
    pub fn is_mispredicted(self) -> bool {
        self.field(0, 1) != 0
    }

    /// The CPU had expected it to lead where it did. With neither of both nothing is known of that.
    pub fn is_predicted(self) -> bool {
        self.field(1, 1) != 0
    }

    /// It was taken in a transaction.
    pub fn in_transaction(self) -> bool {
        self.field(2, 1) != 0
    }

    /// It is the abort of a transaction.
    pub fn is_abort(self) -> bool {
        self.field(3, 1) != 0
    }

    /// Clock cycles since the branch before it; 0 where the CPU does not count them.
    pub fn cycles(self) -> u16 {
        self.field(4, 16) as u16
    }

    /// The kernel's number for what sort of branch it is, `PERF_BR_*`; 0 where that is unknown.
    pub fn kind(self) -> u8 {
        self.field(20, 4) as u8
    }

    /// The kernel's number for the sorts that it added later, `PERF_BR_NEW_*`, where [`Self::kind`] is
    /// `PERF_BR_EXTEND_ABI`.
    pub fn new_kind(self) -> u8 {
        self.field(26, 4) as u8
    }

    /// Only how it went: prediction, transaction and cycles.
    pub fn outcome(self) -> Self {
        Self(self.0 & Self::OUTCOME)
    }

    fn field(self, at: u32, bits: u32) -> u64 {
        self.0 >> at & ((1 << bits) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_its_bits_and_no_others() {
        let none = BranchFlags(0);
        assert!(!none.is_mispredicted() && !none.is_predicted());
        assert!(!none.in_transaction() && !none.is_abort());
        let fields = |flags: BranchFlags| (flags.cycles(), flags.kind(), flags.new_kind());
        assert_eq!(fields(BranchFlags(0xffff << 4)), (0xffff, 0, 0));
        assert_eq!(fields(BranchFlags(0xf << 20)), (0, 15, 0));
        assert_eq!(fields(BranchFlags(0b11 << 24)), (0, 0, 0)); // speculation
        assert_eq!(fields(BranchFlags(0xf << 26)), (0, 0, 15));
        let [first, second, third, fourth] = [1, 2, 4, 8].map(BranchFlags);
        assert!(first.is_mispredicted() && second.is_predicted());
        assert!(third.in_transaction() && fourth.is_abort());
        assert_eq!(BranchFlags(u64::MAX).outcome(), BranchFlags(0xf_ffff));
    }
}
