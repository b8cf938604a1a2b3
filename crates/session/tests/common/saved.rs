//! Recordings in a folder of their own.

use std::path::PathBuf;

use prof_event::abi::callchain;
use prof_perfdata::Features;
use tempfile::TempDir;

use super::{Records, Sampled, TEXT, attr, one_event};

/// A recording, and the folder that it lies in.
pub(crate) fn saved(records: &Records) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("perf.data");
    records.save(&path, Features::default(), None);
    (dir, path)
}

/// A sample for each of these times.
pub(crate) fn samples_at(times: &[u64]) -> Records {
    let mut records = Records::of_nobody(one_event(attr(0)));
    for &time in times {
        records.sample(&Sampled {
            time,
            chain: vec![callchain::USER, TEXT.start + 8],
            ..Sampled::default()
        });
    }
    records
}
