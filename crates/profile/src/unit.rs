//! What the numbers of a profile count.

/// What an event's periods count. Tables, screens and pictures label their numbers by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unit {
    /// How often something happened: cycles, page faults, tracepoints.
    #[default]
    Count,
    /// Nanoseconds on a CPU.
    CpuTime,
    /// Nanoseconds of waiting.
    WaitTime,
    /// Bytes of memory.
    Bytes,
}

impl Unit {
    /// The word behind a sum of periods of the event `name`.
    pub fn label(self, name: &str) -> &str {
        match self {
            Self::Count => name,
            Self::CpuTime | Self::WaitTime => "ns",
            Self::Bytes => "bytes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_labelled_by_what_it_counts() {
        let labels = [Unit::Count, Unit::CpuTime, Unit::WaitTime, Unit::Bytes]
            .map(|unit| unit.label("page-faults"));
        assert_eq!(labels, ["page-faults", "ns", "ns", "bytes"]);
    }
}
