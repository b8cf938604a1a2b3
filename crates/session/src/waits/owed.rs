//! Waits whose stacks are not known, because samples were taken in bursts only.
//!
//! In: what each thread waited, and what was seen of its stacks. Out: the time that is owed, shared out among the
//! stacks that were seen, in the proportions in which they were. Long waits are none of these: they last until
//! somebody looks at them.

use prof_model::{ChainEnd, Pid, Tid};
use rustc_hash::FxHashMap;

/// So many different stacks of a thread are kept in mind.
const MOST_STACKS: usize = 64;

/// A stack in which a thread waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenStack {
    /// With the kernel's context markers.
    pub(crate) chain: Vec<u64>,
    /// Why it has no further entry.
    pub(crate) end: ChainEnd,
    /// In nanoseconds.
    pub(crate) waited: u64,
}

#[derive(Clone, Debug, Default)]
struct Account {
    owed: u64,
    seen: Vec<SeenStack>,
    before: Vec<SeenStack>, // in the last part that had any
}

/// One share of what was owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Who waited.
    pub(crate) task: (Pid, Tid),
    /// Whether it could have gone on.
    pub(crate) is_runnable: bool,
    /// In what, as far as that is known.
    pub(crate) stack: Option<SeenStack>,
    /// In nanoseconds.
    pub(crate) waited: u64,
}

/// What all threads are owed, by whether they could have gone on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owed {
    accounts: FxHashMap<(Pid, Tid, bool), Account>,
}

impl Owed {
    /// A wait that is known.
    pub(crate) fn see(&mut self, (pid, tid): (Pid, Tid), is_runnable: bool, stack: SeenStack) {
        let account = self.accounts.entry((pid, tid, is_runnable)).or_default();
        let seen = &mut account.seen;
        match seen.iter().position(|it| it.chain == stack.chain) {
            Some(at) => seen[at].waited = seen[at].waited.saturating_add(stack.waited),
            None if seen.len() < MOST_STACKS => seen.push(stack),
            None => {}
        }
    }

    /// A wait of which nothing is known but its length.
    pub(crate) fn owe(&mut self, (pid, tid): (Pid, Tid), is_runnable: bool, waited: u64) {
        let account = self.accounts.entry((pid, tid, is_runnable)).or_default();
        account.owed = account.owed.saturating_add(waited);
    }

    /// Shares out what is owed. Sums are exact.
    pub(crate) fn settle(&mut self) -> Vec<Share> {
        let mut shares = Vec::new();
        self.accounts.retain(|&(pid, tid, is_runnable), account| {
            let was_used = account.owed > 0 || !account.seen.is_empty();
            if !account.seen.is_empty() {
                account.before = std::mem::take(&mut account.seen);
            }
            let all: u128 = account.before.iter().map(|it| u128::from(it.waited)).sum();
            let owed = std::mem::take(&mut account.owed);
            let mut left = owed;
            let mut give = |stack: Option<SeenStack>, waited: u64| {
                if waited > 0 {
                    shares.push(Share {
                        task: (pid, tid),
                        is_runnable,
                        stack,
                        waited,
                    });
                }
            };
            for stack in &account.before {
                let part = u128::from(owed) * u128::from(stack.waited) / all.max(1);
                let part = u64::try_from(part).unwrap_or(owed);
                left -= part;
                give(Some(stack.clone()), part);
            }
            give(account.before.first().cloned(), left); // what rounding has left
            was_used
        });
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: (Pid, Tid) = (Pid(1), Tid(2));

    fn stack(address: u64, waited: u64) -> SeenStack {
        SeenStack {
            chain: vec![address],
            end: ChainEnd::Root,
            waited,
        }
    }

    #[test]
    fn what_is_owed_is_shared_out_as_stacks_were_seen_and_its_sum_is_exact() {
        let mut owed = Owed::default();
        owed.see(TASK, false, stack(1, 20));
        owed.see(TASK, false, stack(1, 10));
        owed.see(TASK, false, stack(2, 10));
        owed.see(TASK, true, stack(3, 99));
        owed.owe(TASK, false, 4001);
        let of = |shares: &[Share], address: u64| -> u64 {
            let of = shares
                .iter()
                .filter(|it| it.stack.as_ref().is_some_and(|it| it.chain == [address]));
            of.map(|it| it.waited).sum()
        };
        let shares = owed.settle();
        assert_eq!(
            (of(&shares, 1), of(&shares, 2), of(&shares, 3)),
            (3001, 1000, 0)
        );
        owed.owe(TASK, false, 400); // nothing was seen since
        let shares = owed.settle();
        assert_eq!((of(&shares, 1), of(&shares, 2)), (300, 100));
        assert_eq!(owed.settle(), []);
    }

    #[test]
    fn without_any_stack_the_time_is_told_all_the_same() {
        let mut owed = Owed::default();
        owed.owe(TASK, true, 7);
        let share = Share {
            task: TASK,
            is_runnable: true,
            stack: None,
            waited: 7,
        };
        assert_eq!(owed.settle(), [share]);
    }
}
