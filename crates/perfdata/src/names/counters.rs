use serde::{Deserialize, Serialize};

/// What happened while recording, for the summary of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Records that did not fit into a ring.
    pub lost: u64,
    /// Samples that the kernel dropped.
    pub lost_samples: u64,
    /// How often the kernel stopped an event because it fired too often.
    pub throttled: u64,
    /// Samples written.
    pub samples: u64,
    /// Samples by how their callchain ended, by the number of the [`prof_model::ChainEnd`].
    pub chain_ends: Vec<u64>,
    /// Bytes of user stack that each sample could copy.
    pub stack_copy: u32,
    /// The event that was asked for.
    pub requested_event: String,
    /// The event that was counted.
    pub used_event: String,
    /// Samples per second that were asked for; 0 with a fixed period.
    pub frequency: u64,
    /// Further remarks for the reader of a report.
    pub notes: Vec<String>,
}
