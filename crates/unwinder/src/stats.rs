//! What the unwinder counts.

/// What the unwinder did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Callchains asked for.
    pub chains: u64,
    /// Frames they have.
    pub frames: u64,
    /// Callchains that go on in live memory, because the thread was seen not to have moved on.
    pub continued_live: u64,
    /// Callchains that do not, because it had, or may have.
    pub moved_on: u64,
    /// Frames whose rule was in the cache.
    pub cache_hits: u64,
    /// Frames whose rule had to be looked up.
    pub cache_misses: u64,
    /// Functions whose unwind tables were compiled.
    pub functions_compiled: u64,
    /// Functions without tables whose instructions were followed.
    pub functions_inferred: u64,
    /// Their instructions, each as often as it was looked at.
    pub instructions_followed: u64,
    /// Places whose instructions were to be followed with later samples.
    pub postponed: u64,
    /// Distinct rules in all of them.
    pub rules: u64,
    /// Files whose bytes were asked for.
    pub images: u64,
    /// Those of them without usable unwind tables.
    pub images_without_tables: u64,
}
