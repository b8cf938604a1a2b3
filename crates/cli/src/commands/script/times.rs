//! Times as `prof script` prints them: of the recording's clock, from the first sample on, or from the
//! sample before.

use super::args::ScriptArgs;

/// Turns the times of one record after the other into those that are printed.
pub struct PrintedTimes {
    is_relative: bool,
    is_delta: bool,
    start: Option<u64>,
}

impl PrintedTimes {
    /// As `--reltime` and `--deltatime` ask for.
    pub fn new(args: &ScriptArgs) -> Self {
        Self {
            is_relative: args.reltime,
            is_delta: args.deltatime,
            start: None,
        }
    }

    /// What is printed for a time, in nanoseconds, of the next record in order.
    pub fn printed(&mut self, time: u64) -> u64 {
        if !(self.is_relative || self.is_delta) {
            return time;
        }
        let start = self.start.unwrap_or(time);
        if self.is_delta || self.start.is_none() {
            self.start = Some(time);
        }
        time.saturating_sub(start)
    }
}
