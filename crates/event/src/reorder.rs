//! Puts the records of a file into time order.

/// Holds records back until none that precedes them can still come.
///
/// A recorder drains its rings in rounds and marks the end of each. A record that was in a ring
/// during one round was written before the next round ended, so at the end of a round everything up
/// to the latest time seen *before that round began* may go:
///
/// ```text
/// ring 0:  1 3 | 6 | 8        round 1: 1 3 2    max 3, nothing goes
/// ring 1:  2   | 4 | 7        round 2: 6 4      1 2 3 go, max 6
///                             round 3: 8 7      4 6 go
/// ```
#[derive(Debug)]
pub struct RoundQueue<T> {
    waiting: Vec<(u64, T)>,
    latest: u64,
    limit: u64,
}

impl<T> Default for RoundQueue<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            latest: 0,
            limit: 0,
        }
    }
}

impl<T> RoundQueue<T> {
    /// Adds a record.
    pub fn push(&mut self, time: u64, record: T) {
        self.latest = self.latest.max(time);
        self.waiting.push((time, record));
    }

    /// A round ended: returns what may go, in time order. Equal times keep their order.
    pub fn finish_round(&mut self) -> impl Iterator<Item = T> {
        let limit = std::mem::replace(&mut self.limit, self.latest);
        self.take_until(limit)
    }

    /// The recording ended: returns the rest.
    pub fn finish(&mut self) -> impl Iterator<Item = T> {
        self.take_until(u64::MAX)
    }

    fn take_until(&mut self, limit: u64) -> impl Iterator<Item = T> {
        self.waiting.sort_by_key(|(time, _)| *time); // stable, and fast on runs already in order
        let count = self.waiting.partition_point(|(time, _)| *time <= limit);
        self.waiting.drain(..count).map(|(_, record)| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_one_round_after_the_round_that_it_came_in() {
        let mut queue = RoundQueue::default();
        let push = |queue: &mut RoundQueue<u64>, times: &[u64]| {
            times.iter().for_each(|&time| queue.push(time, time));
        };
        push(&mut queue, &[1, 3, 2]);
        assert_eq!(queue.finish_round().count(), 0);
        push(&mut queue, &[6, 4]);
        assert_eq!(queue.finish_round().collect::<Vec<_>>(), [1, 2, 3]);
        push(&mut queue, &[8, 7]);
        assert_eq!(queue.finish_round().collect::<Vec<_>>(), [4, 6]);
        assert_eq!(queue.finish().collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn equal_times_keep_the_order_of_the_file() {
        let mut queue = RoundQueue::default();
        [(5, 'a'), (5, 'b'), (4, 'c')]
            .iter()
            .for_each(|&(time, name)| queue.push(time, name));
        assert_eq!(queue.finish().collect::<String>(), "cab");
    }
}
