//! Reports on branches: their columns, in which order their values come, and what is printed for each.
//!
//! A branch is a stack of two frames, the place where it led and the branch instruction that is its caller,
//! and what the CPU noted of it is a detail. Elsewhere: how it becomes that (`prof-session`).

use std::borrow::Cow;

use prof_model::BranchFlags;

use crate::{Column, Places, SymbolId};

/// The functions and modules of branches in their order, by which perf sorts them: functions by address,
/// whatever their module, and modules from the last name to the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct BranchOrder {
    rank: Vec<u32>, // by symbol
    symbols: Vec<SymbolId>,
}

impl BranchOrder {
    pub(crate) fn of(places: &Places) -> Self {
        let symbols = places.symbols();
        let key = |id: u32| {
            let symbol = &symbols[id as usize];
            // The kernel's addresses are the negative ones.
            (!symbol.is_named(), symbol.start as i64, symbol.size, id)
        };
        let mut order: Vec<u32> = (0..symbols.len() as u32).collect();
        order.sort_unstable_by_key(|&id| key(id));
        let mut rank = vec![0; order.len()];
        for (at, &id) in (0..).zip(&order) {
            rank[id as usize] = at;
        }
        let symbols = order.into_iter().map(SymbolId).collect();
        Self { rank, symbols }
    }

    /// The place of a function among all of them.
    pub(crate) fn rank(&self, symbol: SymbolId) -> u64 {
        u64::from(self.rank[symbol.0 as usize])
    }

    /// The function at a place.
    pub(crate) fn symbol(&self, rank: u64) -> SymbolId {
        self.symbols[rank as usize]
    }
}

impl Column {
    /// Whether only branches have it.
    pub fn is_of_branch(self) -> bool {
        self.branch_end().is_some() || self.is_outcome()
    }

    /// What it tells of one end of a branch, as a column of a function.
    pub(crate) fn branch_end(self) -> Option<(BranchEnd, Self)> {
        Some(match self {
            Self::SymbolFrom => (BranchEnd::From, Self::Symbol),
            Self::SymbolTo => (BranchEnd::To, Self::Symbol),
            Self::DsoFrom => (BranchEnd::From, Self::Dso),
            Self::DsoTo => (BranchEnd::To, Self::Dso),
            Self::SourceLineFrom => (BranchEnd::From, Self::SourceLine),
            Self::SourceLineTo => (BranchEnd::To, Self::SourceLine),
            _ => return None,
        })
    }

    /// Whether it tells what the CPU noted of a branch.
    pub(crate) fn is_outcome(self) -> bool {
        matches!(
            self,
            Self::Mispredict | Self::InTransaction | Self::Abort | Self::Cycles
        )
    }
}

/// An end of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BranchEnd {
    From,
    To,
}

/// The place of what a CPU noted among all that it may note in a column.
pub(crate) fn outcome_rank(column: Column, flags: BranchFlags) -> u64 {
    match column {
        Column::Mispredict if flags.is_predicted() => 0,
        Column::Mispredict if flags.is_mispredicted() => 1,
        Column::Mispredict => 2,
        Column::InTransaction => u64::from(!flags.in_transaction()),
        Column::Abort => u64::from(!flags.is_abort()),
        Column::Cycles => u64::from(!flags.cycles()),
        _ => 0,
    }
}

/// What is printed at that place.
pub(crate) fn outcome_label(column: Column, rank: u64) -> Cow<'static, str> {
    Cow::Borrowed(match (column, rank) {
        (Column::Mispredict, 0) => "N",
        (Column::Mispredict, 1) => "Y",
        (Column::Mispredict, _) => "N/A",
        (Column::InTransaction, 0) => "T",
        (Column::Abort, 0) => "A",
        (Column::InTransaction | Column::Abort, _) => ".",
        _ => match cycles(rank) {
            0 => "-",
            cycles => return Cow::Owned(cycles.to_string()),
        },
    })
}

/// The cycles at a place; 0 if they were not counted.
pub(crate) fn cycles(rank: u64) -> u16 {
    !(rank as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cpu_noted_has_the_letter_that_perf_has_for_it() {
        let label = |column, bits| {
            let rank = outcome_rank(column, BranchFlags(bits));
            outcome_label(column, rank).into_owned()
        };
        let predictions = [0, 1, 2, 3].map(|bits| label(Column::Mispredict, bits));
        assert_eq!(predictions, ["N/A", "Y", "N", "N"]);
        let columns = [Column::InTransaction, Column::Abort, Column::Cycles];
        assert_eq!(columns.map(|column| label(column, 0)), [".", ".", "-"]);
        let all = columns.map(|column| label(column, 0xf_ffff));
        assert_eq!(all, ["T", "A", "65535"]);
    }

    #[test]
    fn longer_blocks_and_what_is_rare_come_first() {
        let rank = |column, bits| outcome_rank(column, BranchFlags(bits));
        assert!(rank(Column::Cycles, 300 << 4) < rank(Column::Cycles, 299 << 4));
        assert!(rank(Column::Cycles, 1 << 4) < rank(Column::Cycles, 0));
        assert!(rank(Column::Abort, 8) < rank(Column::Abort, 0));
        assert!(rank(Column::InTransaction, 4) < rank(Column::InTransaction, 0));
    }
}
