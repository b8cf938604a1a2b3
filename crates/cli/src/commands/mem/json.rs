//! `--json`: one object with stable keys.

use serde::Serialize;

use super::answer::Answer;

/// Grows when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    schema_version: u32,
    target: &'a str,
    seconds: f64,
    processes: usize,
    rss_bytes: u64,
    growth_bytes_per_hour: Option<f64>,
    growth_error_bytes_per_hour: Option<f64>,
    added_bytes: Option<i64>,
    seconds_to_limit: Option<f64>,
    kinds: Kinds,
    threads: u64,
    cgroup: Option<Cgroup>,
    malloc: Option<Malloc>,
    malloc_not_known: Option<&'a str>,
    allocators: Vec<String>,
    new_pages: Option<NewPages<'a>>,
    not_sampled: Option<&'a str>,
}

#[derive(Serialize)]
struct Kinds {
    heap: u64,
    anonymous: u64,
    stacks: u64,
    files: u64,
    shared: u64,
    page_tables: u64,
    huge_pages: u64,
    hugetlb: u64,
    swapped: u64,
}

#[derive(Serialize)]
struct Cgroup {
    current: u64,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Malloc {
    arenas: usize,
    in_use: u64,
    in_use_resident: u64,
    kept_resident: u64,
    kept_not_resident: u64,
    in_caches: u64,
    mmapped: Option<u64>,
    mmapped_blocks: Option<u64>,
}

#[derive(Serialize)]
struct NewPages<'a> {
    bytes: u64,
    gone_bytes: u64,
    gone_not_known: bool,
    samples: u64,
    lost_samples: u64,
    first_touched_by: Vec<Path<'a>>,
}

#[derive(Serialize)]
struct Path<'a> {
    percent: f64,
    error: f64,
    function: &'a str,
    path: Vec<&'a str>,
    line: Option<&'a str>,
}

/// The object and a line end.
pub fn object(answer: &Answer) -> String {
    let kinds = &answer.kinds;
    let per_hour = |per_second: f64| (3600.0 * per_second).round();
    let object = Object {
        schema_version: SCHEMA,
        target: &answer.target,
        seconds: rounded(answer.elapsed.as_secs_f64()),
        processes: answer.processes,
        rss_bytes: kinds.resident(),
        growth_bytes_per_hour: answer.growth.map(|it| per_hour(it.0)),
        growth_error_bytes_per_hour: answer.growth.map(|it| per_hour(it.1)),
        added_bytes: answer.added,
        seconds_to_limit: answer.time_to_limit().map(|it| it.as_secs_f64().round()),
        kinds: Kinds {
            heap: kinds.heap,
            anonymous: kinds.anonymous,
            stacks: kinds.stacks,
            files: kinds.files,
            shared: kinds.shared,
            page_tables: kinds.page_tables,
            huge_pages: kinds.huge,
            hugetlb: kinds.hugetlb,
            swapped: kinds.swapped,
        },
        threads: kinds.threads,
        cgroup: answer.cgroup.map(|it| Cgroup {
            current: it.current,
            limit: it.limit,
        }),
        malloc: answer.malloc.as_ref().map(|it| Malloc {
            arenas: it.arenas,
            in_use: it.in_use,
            in_use_resident: it.in_use_resident,
            kept_resident: it.kept_resident,
            kept_not_resident: it.kept_elsewhere,
            in_caches: it.in_caches,
            // None may also be some that were not found.
            mmapped: (it.mmapped_blocks > 0).then_some(it.mmapped),
            mmapped_blocks: (it.mmapped_blocks > 0).then_some(it.mmapped_blocks),
        }),
        malloc_not_known: answer.no_malloc.as_deref(),
        allocators: answer.allocators.iter().map(ToString::to_string).collect(),
        new_pages: answer.new.as_ref().map(|new| NewPages {
            bytes: new.bytes,
            gone_bytes: new.gone,
            gone_not_known: new.all_counted,
            samples: new.paths.samples,
            lost_samples: new.lost,
            first_touched_by: paths(&new.paths),
        }),
        not_sampled: answer.not_sampled.as_deref(),
    };
    serde_json::to_string(&object).unwrap_or_default() + "\n"
}

fn paths(hot: &prof_report::HotPaths) -> Vec<Path<'_>> {
    let paths = hot.paths.iter().map(|path| Path {
        percent: rounded(path.share.percent),
        error: rounded(path.share.error),
        function: &path.function,
        path: path
            .told
            .iter()
            .map(|&at| path.names[at].as_str())
            .collect(),
        line: path.line.as_deref(),
    });
    paths.collect()
}

/// Digits that are noise take room.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
