//! What the file tells about this host, this command, the events and the files that samples hit.

use prof_event::EventSet;
use prof_event::abi::event_type;
use prof_model::{BuildId, CpuMode, DsoId, DsoKind, DsoTable, Pid};
use prof_perfdata::{ClockData, Features, StoredBuildId, TracingData};
use prof_sampler::{Clock, online_cpus};

use crate::error::OutputError;

/// What is known about this host, this command and the events, whose times are of `clock`.
pub fn host_features(events: &EventSet, clock: Clock) -> Features {
    let wall = Clock::by_name("realtime").map_or(0, Clock::now);
    Features {
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
        ..Features::of_this_host(&online_cpus())
    }
}

/// The same with what it takes to print tracepoints.
///
/// # Errors
/// A tracepoint's format cannot be read.
pub fn features(events: &EventSet, clock: Clock) -> Result<Features, OutputError> {
    let mut features = host_features(events, clock);
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

#[cfg(test)]
mod tests {
    use prof_event::EventGroup;
    use prof_model::Dso;

    use super::*;
    use crate::common::{Elf, attr, event_set};

    #[test]
    fn a_file_tells_the_command_the_clock_and_the_groups() {
        let mut events = event_set([("cycles", attr(0)), ("cs", attr(0))]);
        let group = EventGroup {
            name: "{anon_group}".to_owned(),
            leader: 0,
            members: 2,
        };
        events.set_groups(vec![group.clone()]);
        let before = Clock::MONOTONIC.now();
        let features = features(&events, Clock::MONOTONIC).unwrap();
        assert_eq!(features.groups, [group]);
        assert_eq!(features.cmdline, std::env::args().collect::<Vec<_>>());
        assert_eq!(features.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(features.arch.as_deref(), Some(std::env::consts::ARCH));
        assert_eq!(features.tracing_data, None);
        let clock = features.clock.unwrap();
        assert_eq!(clock.clockid, Clock::MONOTONIC.id as u32);
        let now = Clock::MONOTONIC.now();
        assert!((before..=now).contains(&clock.clock_ns));
    }

    #[test]
    fn build_ids_are_in_the_order_of_their_paths_with_the_kernels_in_front() {
        let mut dsos = DsoTable::default();
        let mut intern = |path: &str, kind| {
            dsos.intern(Dso {
                path: path.into(),
                kind,
                file: None,
                build_id: None,
            })
        };
        let ids = ["/lib/b", "/lib/c", "/lib/a"].map(|path| intern(path, DsoKind::File));
        intern("[kernel.kallsyms]", DsoKind::Kernel);
        let build_id = Elf::build_id().unwrap();
        let stored = stored_build_ids(ids.map(|id| (id, build_id)).into_iter(), &dsos);
        let mut stored = stored.into_iter().peekable();
        let kernel = stored.next_if(|it| it.mode == CpuMode::Kernel);
        let running = prof_symbolizer::running_kernel_build_id();
        assert_eq!(kernel.map(|it| it.build_id), running);
        let files: Vec<_> = stored
            .map(|it| (it.mode, it.pid, it.build_id, it.path))
            .collect();
        let expected = ["/lib/a", "/lib/b", "/lib/c"]
            .map(|path| (CpuMode::User, Pid(-1), build_id, path.as_bytes().to_vec()));
        assert_eq!(files, expected);
    }
}
