//! What is known about a recording beside its samples, for those who make something of it.
//!
//! In: what the file tells, or what would be written into one. Out: [`RecordingFacts`], the same for a live
//! recording and a file.

use std::time::Duration;

use prof_perfdata::Features;
use prof_profile::{Profile, RecordingFacts};

use crate::load::LoadedRecording;
use crate::naming::wall_time;

/// The facts of a recording of `target`. Without a `duration` it lasted from the first sample to the last
/// one.
pub fn recording_facts(
    features: &Features,
    profile: &Profile,
    target: String,
    duration: Option<Duration>,
) -> RecordingFacts {
    let sample_times = features.sample_time.or_else(|| profile.times());
    let sampled = profile.times().map(|(first, last)| last - first);
    let duration = duration.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
    RecordingFacts {
        target,
        hostname: features.hostname.clone(),
        arch: features.arch.clone(),
        kernel_release: features.os_release.clone(),
        command: features.cmdline.clone(),
        duration_ns: duration.or(sampled).unwrap_or(0),
        sample_times,
        began: sample_times.and_then(|(first, _)| wall_time(features, first)),
    }
}

impl LoadedRecording {
    /// What is known about this recording. Its target is the machine where it was made.
    pub fn facts(&self) -> RecordingFacts {
        let features = self.recording.features();
        let host = features.hostname.clone();
        recording_facts(
            features,
            &self.profile,
            host.unwrap_or_else(|| "flame graph".to_owned()),
            None,
        )
    }
}
