//! How many instructions may be looked at for a sample: samples come whether they are waited for or not.

/// What a sample adds: the time it takes to look at them is about that between two samples of one thread
/// at the usual rates, divided by ten.
const PER_SAMPLE: i64 = 1_000;
/// What can be saved up: that many are looked at within the time for which the kernel's buffers have room.
const MOST: i64 = 20_000;

/// How many instructions may be looked at yet.
pub(crate) struct Allowance {
    left: Option<i64>,
}

impl Allowance {
    /// Any number.
    pub(crate) fn unlimited() -> Self {
        Self { left: None }
    }

    /// So many that samples can be unwound while they come.
    pub(crate) fn limited() -> Self {
        Self { left: Some(MOST) }
    }

    /// Another sample came.
    pub(crate) fn add_sample(&mut self) {
        self.left = self.left.map(|left| MOST.min(left + PER_SAMPLE));
    }

    /// Whether to wait for further samples. A function that is followed is followed to its end, so that more
    /// may have been spent than was there; the samples that come next pay for it.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.is_some_and(|left| left <= 0)
    }

    /// So many were looked at.
    pub(crate) fn spend(&mut self, instructions: u64) {
        let spent = i64::try_from(instructions).unwrap_or(i64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(spent));
    }
}
