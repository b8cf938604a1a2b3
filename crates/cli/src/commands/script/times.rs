//! Times as `prof script` prints them.

/// What printed times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrigin {
    /// The zero of the recording's clock.
    Clock,
    /// The first record that is printed.
    First,
    /// The record printed before.
    Previous,
}

/// Turns the times of records, one after the other, into those that are printed.
pub struct PrintedTimes {
    origin: TimeOrigin,
    start: Option<u64>,
}

impl PrintedTimes {
    /// For records of which none has been printed yet.
    pub fn new(origin: TimeOrigin) -> Self {
        Self {
            origin,
            start: None,
        }
    }

    /// What is printed for the time of the next record; both in nanoseconds.
    pub fn printed(&mut self, time: u64) -> u64 {
        let start = match self.origin {
            TimeOrigin::Clock => return time,
            TimeOrigin::First => *self.start.get_or_insert(time),
            TimeOrigin::Previous => self.start.replace(time).unwrap_or(time),
        };
        time.saturating_sub(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_clock_the_first_record_or_the_one_before() {
        let printed = |origin| {
            let mut times = PrintedTimes::new(origin);
            [100, 130, 120, 190].map(|time| times.printed(time))
        };
        assert_eq!(printed(TimeOrigin::Clock), [100, 130, 120, 190]);
        assert_eq!(printed(TimeOrigin::First), [0, 30, 20, 90]);
        assert_eq!(printed(TimeOrigin::Previous), [0, 30, 0, 70]);
    }
}
