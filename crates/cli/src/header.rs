//! What is known about a recording: the lines that `--header` prints, as perf has them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use prof_model::printable;
use prof_perfdata::{ClockData, Features, Recording};
use prof_tui::LocalClock;

/// Numbers and names of all feature sections that perf 6.1 has.
const FEATURES: [(u32, &str); 31] = [
    (1, "TRACING_DATA"),
    (2, "BUILD_ID"),
    (3, "HOSTNAME"),
    (4, "OSRELEASE"),
    (5, "VERSION"),
    (6, "ARCH"),
    (7, "NRCPUS"),
    (8, "CPUDESC"),
    (9, "CPUID"),
    (10, "TOTAL_MEM"),
    (11, "CMDLINE"),
    (12, "EVENT_DESC"),
    (13, "CPU_TOPOLOGY"),
    (14, "NUMA_TOPOLOGY"),
    (15, "BRANCH_STACK"),
    (16, "PMU_MAPPINGS"),
    (17, "GROUP_DESC"),
    (18, "AUXTRACE"),
    (19, "STAT"),
    (20, "CACHE"),
    (21, "SAMPLE_TIME"),
    (22, "MEM_TOPOLOGY"),
    (23, "CLOCKID"),
    (24, "DIR_FORMAT"),
    (25, "BPF_PROG_INFO"),
    (26, "BPF_BTF"),
    (27, "COMPRESSED"),
    (28, "CPU_PMU_CAPS"),
    (29, "CLOCK_DATA"),
    (30, "HYBRID_TOPOLOGY"),
    (31, "PMU_CAPS"),
];

/// Names of the clocks by `clockid`.
const CLOCKS: [(u32, &str); 5] = [
    (0, "realtime"),
    (1, "monotonic"),
    (4, "monotonic_raw"),
    (7, "boottime"),
    (11, "tai"),
];

/// The lines, each with its `# `. `details` also has those that are longer than one line.
pub fn lines(recording: &Recording, path: &Path, details: bool) -> Vec<String> {
    let features = recording.features();
    let mut lines = vec!["# ========".to_owned()];
    if let Some(captured) = captured(path, features) {
        lines.push(format!("# captured on    : {captured}"));
    }
    if let Some((offset, size)) = recording.records() {
        lines.push("# header version : 1".to_owned());
        lines.push(format!("# data offset    : {offset}"));
        lines.push(format!("# data size      : {size}"));
        lines.push(format!("# feat offset    : {}", offset + size));
    }
    host(features, &mut lines);
    events(recording, &mut lines);
    topology(recording, details, &mut lines);
    times(features, &mut lines);
    if recording.has_feature(22) {
        lines.push("# MEM_TOPOLOGY info available, use `perf report --header -I`".to_owned());
    }
    if let Some(clock) = &features.clock {
        clock_lines(clock, &mut lines);
    }
    if let Some(compressed) = &features.compressed {
        lines.push(format!(
            "# compressed : Zstd, level = {}, ratio = {}",
            compressed.level, compressed.ratio
        ));
    }
    let missing = FEATURES
        .iter()
        .filter(|&&(bit, _)| !recording.has_feature(bit));
    let missing: String = missing.map(|(_, name)| format!("{name} ")).collect();
    if recording.records().is_some() && !missing.is_empty() {
        lines.push(format!("# missing features: {missing}"));
    }
    lines.push("# ========".to_owned());
    lines.push("#".to_owned());
    let lines = lines.iter().map(|line| printable(line).into_owned());
    lines.collect()
}

/// When a recording was made, in local time: when its file was last changed or, where there is no file,
/// when the recording began. `None` if neither is known.
pub fn captured(path: &Path, features: &Features) -> Option<String> {
    let inner = path.join("data"); // of a folder
    let modified = std::fs::metadata(&inner).or_else(|_| std::fs::metadata(path));
    let modified = modified.and_then(|metadata| metadata.modified()).ok();
    let recorded = features
        .clock
        .map(|clock| SystemTime::UNIX_EPOCH + Duration::from_nanos(clock.wall_ns));
    let at = Timestamp::try_from(modified.or(recorded)?).ok()?;
    let at = at.to_zoned(TimeZone::system());
    Some(at.strftime("%a %b %e %H:%M:%S %Y").to_string())
}

/// The time of the day by which a recording's clock runs here.
pub fn local_clock(clock: &ClockData) -> Option<LocalClock> {
    let at = Timestamp::from_nanosecond(i128::from(clock.wall_ns)).ok()?;
    let at = at.to_zoned(TimeZone::system());
    let since_midnight = at.datetime() - at.date().at(0, 0, 0, 0);
    Some(LocalClock {
        at: clock.clock_ns,
        since_midnight: u64::try_from(since_midnight.total(Unit::Nanosecond).ok()? as i64).ok()?,
    })
}

/// The local time of the day: `03:12:05`.
pub fn time_of_day(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    let at = at.to_zoned(TimeZone::system());
    at.strftime("%H:%M:%S").to_string()
}

fn host(features: &Features, lines: &mut Vec<String>) {
    let mut put = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("# {name} : {value}")));
    };
    put("hostname", features.hostname.clone());
    put("os release", features.os_release.clone());
    put("perf version", features.version.clone());
    put("arch", features.arch.clone());
    let number = |count: Option<u32>| count.map(|count| count.to_string());
    put("nrcpus online", number(features.nr_cpus_online));
    put("nrcpus avail", number(features.nr_cpus_available));
    put("cpudesc", features.cpu_desc.clone());
    put("cpuid", features.cpu_id.clone());
    let memory = features.total_mem_kb;
    put("total memory", memory.map(|kb| format!("{kb} kB")));
    let words = features.cmdline.iter();
    let cmdline: String = words.map(|word| format!("{word} ")).collect();
    put("cmdline", Some(cmdline).filter(|line| !line.is_empty()));
}

fn events(recording: &Recording, lines: &mut Vec<String>) {
    for event in recording.events().events() {
        let ids: Vec<_> = event.ids.iter().map(u64::to_string).collect();
        let ids = match ids.is_empty() {
            true => String::new(),
            false => format!(" id = {{ {} }},", ids.join(", ")),
        };
        let fields = event.attr.describe().into_iter();
        let fields: Vec<_> = fields
            .map(|(name, text)| format!("{name} = {text}"))
            .collect();
        let fields = fields.join(", ");
        lines.push(format!("# event : name = {}, ,{ids} {fields}", event.name));
    }
}

fn topology(recording: &Recording, details: bool, lines: &mut Vec<String>) {
    let features = recording.features();
    let available = |name: &str| format!("# {name} info available, use -I to display");
    match &features.cpu_topology {
        Some(_) if !details => lines.push(available("CPU_TOPOLOGY")),
        Some(topology) => {
            let sockets = topology.core_siblings.iter();
            lines.extend(sockets.map(|list| format!("# sibling sockets : {list}")));
            let threads = topology.thread_siblings.iter();
            lines.extend(threads.map(|list| format!("# sibling threads : {list}")));
            let cpus = topology.cpus.iter().enumerate();
            lines.extend(cpus.map(|(cpu, (core, socket))| {
                format!("# CPU {cpu}: Core ID {core}, Socket ID {socket}")
            }));
        }
        None => {}
    }
    if !features.numa.is_empty() && !details {
        lines.push(available("NUMA_TOPOLOGY"));
    }
    for node in features.numa.iter().filter(|_| details) {
        let number = node.node;
        lines.push(format!(
            "# node{number} meminfo  : total = {} kB, free = {} kB",
            node.total_kb, node.free_kb
        ));
        lines.push(format!("# node{number} cpu list : {}", node.cpus));
    }
    if features.branch_stacks {
        lines.push("# contains samples with branch stack".to_owned());
    }
    let pmus = features.pmu_mappings.iter();
    let pmus: Vec<_> = pmus
        .map(|(kind, name)| format!("{name} = {kind}"))
        .collect();
    if !pmus.is_empty() {
        lines.push(format!("# pmu mappings: {}", pmus.join(", ")));
    }
    let events = recording.events().events();
    for group in &features.groups {
        let members = events.iter().skip(group.leader as usize);
        let members = members.take(group.members as usize);
        let names: Vec<_> = members.map(|event| event.name.as_str()).collect();
        let name = match group.name.as_str() {
            "{anon_group}" => "",
            name => name,
        };
        lines.push(format!("# group: {name}{{{}}}", names.join(",")));
    }
    if recording.has_feature(20) {
        lines.push("# CACHE info available, use `perf report --header -I`".to_owned());
    }
}

fn times(features: &Features, lines: &mut Vec<String>) {
    let Some((first, last)) = features.sample_time else {
        return;
    };
    let seconds = |ns: u64| format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000);
    lines.push(format!("# time of first sample : {}", seconds(first)));
    lines.push(format!("# time of last sample : {}", seconds(last)));
    let millis = last.saturating_sub(first) as f64 / 1e6;
    lines.push(format!("# sample duration : {millis:10.3} ms"));
}

fn clock_lines(clock: &ClockData, lines: &mut Vec<String>) {
    let known = CLOCKS.iter().find(|(id, _)| *id == clock.clockid);
    let name = known.map_or("unknown", |(_, name)| *name);
    lines.push("# clockid frequency: 1000 MHz".to_owned());
    lines.push(format!("# clockid: {name} ({})", clock.clockid));
    let wall = Timestamp::from_nanosecond(i128::from(clock.wall_ns)).unwrap_or_default();
    let local = wall.to_zoned(TimeZone::system());
    let micros = clock.wall_ns / 1000;
    let nanos = clock.clock_ns;
    lines.push(format!(
        "# reference time: {}.{:06} = {}.{:06} (TOD) = {}.{:09} ({name})",
        local.strftime("%Y-%m-%d %H:%M:%S"),
        micros % 1_000_000,
        micros / 1_000_000,
        micros % 1_000_000,
        nanos / 1_000_000_000,
        nanos % 1_000_000_000
    ));
}
