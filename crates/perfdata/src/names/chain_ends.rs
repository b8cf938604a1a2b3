use prof_model::ChainEnd;

/// Why the callchain of each sample ended. Samples are counted from 0 in the order of the file.
///
/// Only those that are not [`ChainEnd::Root`] take space, and equal neighbours share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainEnds {
    /// First sample, how many, their end; ascending.
    runs: Vec<Run>,
    /// The next sample.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) end: ChainEnd,
}

impl ChainEnds {
    /// Notes how the callchain of the next sample ended.
    pub fn push(&mut self, end: ChainEnd) {
        let sample = self.next;
        self.next += 1;
        if end == ChainEnd::Root {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.end == end && run.first + run.count == sample => run.count += 1,
            _ => self.runs.push(Run {
                first: sample,
                count: 1,
                end,
            }),
        }
    }

    /// How the callchain of a sample ended.
    pub fn get(&self, sample: u64) -> ChainEnd {
        let after = self.runs.partition_point(|run| run.first <= sample);
        self.runs[..after]
            .last()
            .filter(|run| sample - run.first < run.count)
            .map_or(ChainEnd::Root, |run| run.end)
    }

    /// How many samples were noted.
    pub fn samples(&self) -> u64 {
        self.next
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Puts together what was stored; `None` where runs overlap.
    pub(super) fn from_runs(runs: Vec<Run>, samples: u64) -> Option<Self> {
        let mut next = 0;
        for run in &runs {
            if run.first < next {
                return None;
            }
            next = run.first.checked_add(run.count)?;
        }
        (next <= samples).then_some(Self {
            runs,
            next: samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_run_and_whole_chains_none() {
        use ChainEnd::{NoRule, Root, TooDeep};
        let all = [Root, TooDeep, TooDeep, Root, TooDeep, NoRule, Root];
        let mut ends = ChainEnds::default();
        all.iter().for_each(|&end| ends.push(end));
        assert_eq!(ends.runs().len(), 3);
        let read: Vec<_> = (0..8).map(|sample| ends.get(sample)).collect();
        assert_eq!(read[..7], all);
        assert_eq!(read[7], Root);
    }
}
