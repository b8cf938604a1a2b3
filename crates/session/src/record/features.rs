//! What the file tells about this host, this command, the events and the files that samples hit.

use prof_event::EventSet;
use prof_event::abi::event_type;
use prof_model::{BuildId, CpuMode, DsoId, DsoKind, DsoTable, Pid};
use prof_perfdata::{ClockData, Features, StoredBuildId, TracingData};
use prof_sampler::Clock;

use crate::error::OutputError;

/// What is known about this host, this command and the events, whose times are of `clock`.
///
/// # Errors
/// A tracepoint's format cannot be read.
pub fn features(events: &EventSet, clock: Clock) -> Result<Features, OutputError> {
    let wall = Clock::by_name("realtime").map_or(0, Clock::now);
    let mut features = Features {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        cmdline: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        clock: Some(ClockData {
            clockid: clock.id as u32,
            wall_ns: wall,
            clock_ns: clock.now(),
        }),
        groups: events.groups().to_vec(),
        ..Features::of_this_host()
    };
    let tracepoints: Vec<_> = events
        .events()
        .iter()
        .filter(|event| event.attr.kind == event_type::TRACEPOINT)
        .filter_map(|event| {
            let mut words = event.name.split(':');
            Some((words.next()?, words.next()?))
        })
        .collect();
    if !tracepoints.is_empty() {
        let data = TracingData::collect(&tracepoints).map_err(OutputError::TracepointFormats)?;
        features.tracing_data = Some(data);
    }
    Ok(features)
}

/// The build-ids of what samples hit, and of the kernel, so that a reader can tell the right files.
pub fn stored_build_ids(
    files: impl Iterator<Item = (DsoId, BuildId)>,
    dsos: &DsoTable,
) -> Vec<StoredBuildId> {
    let stored = |mode, build_id, id| StoredBuildId {
        mode,
        pid: Pid(-1),
        build_id,
        path: dsos.get(id).path.clone(),
    };
    let files = files.map(|(id, build_id)| stored(CpuMode::User, build_id, id));
    let mut build_ids: Vec<_> = files.collect();
    build_ids.sort_by(|a, b| a.path.cmp(&b.path));
    let kernel = dsos.iter().find(|(_, dso)| dso.kind == DsoKind::Kernel);
    if let (Some((id, _)), Some(build_id)) = (kernel, prof_symbolizer::running_kernel_build_id()) {
        build_ids.insert(0, stored(CpuMode::Kernel, build_id, id));
    }
    build_ids
}
