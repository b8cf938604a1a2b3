//! How many instructions may be looked at by now: samples come whether they are waited for or not.

/// So many nanoseconds of the recording pay for one instruction, which is looked at in a small part of them:
/// the thread has the rings to empty as well, however many samples come.
const NANOS_PER_INSTRUCTION: u64 = 2_000;
/// What can be saved up: that many are looked at within the time for which the kernel's buffers have room.
const MOST: i64 = 20_000;

/// How many instructions may be looked at yet.
pub(crate) struct Allowance {
    left: Option<i64>,
    /// Up to when instructions were added, in nanoseconds; `None` before the first sample.
    added_until: Option<u64>,
}

impl Allowance {
    /// Any number.
    pub(crate) fn unlimited() -> Self {
        Self {
            left: None,
            added_until: None,
        }
    }

    /// So many that samples can be unwound while they come.
    pub(crate) fn limited() -> Self {
        Self {
            left: Some(MOST),
            added_until: None,
        }
    }

    /// The recording has come to a time, in nanoseconds.
    pub(crate) fn pass_time(&mut self, now: u64) {
        let since = *self.added_until.get_or_insert(now);
        let added = now.saturating_sub(since) / NANOS_PER_INSTRUCTION;
        self.added_until = Some(since + added * NANOS_PER_INSTRUCTION);
        let added = i64::try_from(added).unwrap_or(MOST);
        self.left = self.left.map(|left| MOST.min(left.saturating_add(added)));
    }

    /// Whether to wait for later samples. A function that is followed is followed to its end, so that more
    /// may have been spent than was there; the time that comes next pays for it.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.is_some_and(|left| left <= 0)
    }

    /// So many were looked at.
    pub(crate) fn spend(&mut self, instructions: u64) {
        let spent = i64::try_from(instructions).unwrap_or(i64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(spent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_pays_for_instructions_and_the_number_of_samples_does_not() {
        let mut allowance = Allowance::limited();
        allowance.pass_time(7_000_000);
        allowance.spend(20_000);
        for _ in 0..100_000 {
            allowance.pass_time(7_000_000);
            assert!(allowance.is_spent());
        }
        for nanos in 1..=1_000 {
            allowance.pass_time(7_000_000 + nanos * 1_000); // one millisecond in all
        }
        allowance.spend(499);
        assert!(!allowance.is_spent());
        allowance.spend(1);
        assert!(allowance.is_spent());
        allowance.pass_time(0); // from another CPU, whose buffer was read later
        allowance.pass_time(u64::MAX);
        allowance.spend(19_999);
        assert!(!allowance.is_spent());
    }

    #[test]
    fn what_was_spent_too_much_is_paid_for() {
        let mut allowance = Allowance::limited();
        allowance.pass_time(0);
        allowance.spend(30_000);
        allowance.pass_time(20_000_000);
        assert!(allowance.is_spent());
        allowance.pass_time(20_002_000);
        assert!(!allowance.is_spent());
    }
}
