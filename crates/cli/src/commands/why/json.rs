//! `--json`: one object with stable keys, below 4 KB.

use serde::Serialize;

use super::answer::Answer;
use super::{next, samples, text};

/// Grows when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// So many bytes the object has at most.
const LONGEST: usize = 4095;
/// So long names of a path may be; of longer ones the end is kept.
const LONGEST_NAME: usize = 80;

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    target: &'a str,
    container: Option<&'a str>,
    seconds: f64,
    cpus: Option<usize>,
    processes: Option<usize>,
    threads: Option<usize>,
    load: Option<f64>,
    cpu: Option<Cpu>,
    quota: Option<Quota>,
    ready_without_cpu_seconds: Option<f64>,
    machine: Option<Machine>,
    stalls: Stalls,
    cgroup_stalls: Stalls,
    whole_cpu_threads: Vec<Thread<'a>>,
    looks: u32,
    looks_with_d_state: u32,
    waits: Vec<Wait<'a>>,
    samples: Option<u64>,
    lost_samples: u64,
    whole_stacks_percent: Option<f64>,
    kernel_percent: Option<f64>,
    paths: Vec<Path<'a>>,
    kinds: Vec<Kind>,
    commands: Vec<Command<'a>>,
    started: Vec<Started<'a>>,
    memory_bytes: Option<Memory>,
    not_sampled: Option<&'a str>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Cpu {
    used: f64,
    user: f64,
    kernel: f64,
}

#[derive(Serialize)]
struct Quota {
    cpus: f64,
    periods: Option<u64>,
    throttled_periods: Option<u64>,
    throttled_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Machine {
    busy_cpus: f64,
    idle_percent: f64,
    iowait_percent: f64,
    irq_percent: f64,
    softirq_percent: f64,
    steal_percent: f64,
}

#[derive(Serialize)]
struct Stalls {
    cpu_percent: Option<f64>,
    io_percent: Option<f64>,
    memory_percent: Option<f64>,
}

#[derive(Serialize)]
struct Thread<'a> {
    tid: i32,
    comm: &'a str,
    cpus: f64,
}

#[derive(Serialize)]
struct Wait<'a> {
    state: char,
    place: Option<&'a str>,
    percent: f64,
    pid: i32,
    tid: i32,
}

#[derive(Serialize)]
struct Path<'a> {
    percent: f64,
    error: f64,
    function: String,
    path: Vec<String>,
    command: Option<&'a str>,
    line: Option<&'a str>,
    kind: Option<&'static str>,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    percent: f64,
    error: f64,
}

#[derive(Serialize)]
struct Command<'a> {
    comm: &'a str,
    percent: f64,
    error: f64,
    processes: usize,
    pid: i32,
}

#[derive(Serialize)]
struct Started<'a> {
    parent: &'a str,
    program: &'a str,
    count: u64,
    ended: u64,
}

#[derive(Serialize)]
struct Memory {
    before: u64,
    after: u64,
    cgroup: Option<u64>,
    cgroup_limit: Option<u64>,
}

/// The object and a line end.
pub fn object(answer: &Answer) -> String {
    let mut object = Object::of(answer);
    loop {
        let text = serde_json::to_string(&object).unwrap_or_default();
        // What comes last in its list matters least.
        if text.len() < LONGEST || object.waits.pop().is_none() && object.paths.pop().is_none() {
            return text + "\n";
        }
    }
}

impl<'a> Object<'a> {
    fn of(answer: &'a Answer) -> Self {
        let vitals = &answer.vitals;
        let seconds = answer.seconds();
        let per_second = |time: std::time::Duration| rounded(time.as_secs_f64() / seconds);
        let hot = answer.hot.as_ref();
        let is_told = samples::told(answer).is_some();
        let waited = vitals
            .threads
            .iter()
            .map(|it| it.waited.as_secs_f64())
            .sum();
        let looked_at = !vitals.threads.is_empty();
        let is_machine = answer.is_machine;
        Self {
            schema: SCHEMA,
            target: &answer.target,
            container: answer.container.as_deref(),
            seconds: rounded(seconds),
            cpus: vitals.cpus,
            processes: vitals.processes,
            threads: (!is_machine).then_some(vitals.thread_count),
            load: answer.load,
            cpu: vitals.cpu.map(|cpu| Cpu {
                used: per_second(cpu.total()),
                user: per_second(cpu.user),
                kernel: per_second(cpu.system),
            }),
            quota: vitals.quota.as_ref().map(|quota| Quota {
                cpus: quota.cpus,
                periods: quota.periods,
                throttled_periods: quota.throttled_periods,
                throttled_seconds: quota.throttled.map(|it| rounded(it.as_secs_f64())),
            }),
            ready_without_cpu_seconds: looked_at.then(|| rounded(waited)),
            machine: vitals.machine.map(|machine| {
                let all = machine.all().as_secs_f64().max(1e-3);
                let percent = |it: std::time::Duration| rounded(100.0 * it.as_secs_f64() / all);
                Machine {
                    busy_cpus: per_second(machine.busy()),
                    idle_percent: percent(machine.idle + machine.iowait),
                    iowait_percent: percent(machine.iowait),
                    irq_percent: percent(machine.irq),
                    softirq_percent: percent(machine.softirq),
                    steal_percent: percent(machine.steal),
                }
            }),
            stalls: Stalls::of(&vitals.stalls),
            cgroup_stalls: Stalls::of(&vitals.cgroup_stalls),
            whole_cpu_threads: answer
                .hot_threads()
                .into_iter()
                .take(3)
                .map(|it| Thread {
                    tid: it.tid,
                    comm: &it.comm,
                    cpus: per_second(it.ran),
                })
                .collect(),
            looks: vitals.waits.looks,
            looks_with_d_state: vitals.waits.looks_with_blocked,
            waits: vitals
                .waits
                .places
                .iter()
                .take(4)
                .map(|it| Wait {
                    state: it.state,
                    place: it.place.as_deref(),
                    percent: rounded(100.0 * it.seen as f64 / vitals.waits.seen.max(1) as f64),
                    pid: it.example.0,
                    tid: it.example.1,
                })
                .collect(),
            samples: hot.map(|hot| hot.samples),
            lost_samples: answer.lost,
            whole_stacks_percent: hot.and_then(|hot| hot.whole_percent).map(rounded),
            kernel_percent: hot
                .filter(|_| is_told)
                .map(|hot| rounded(hot.kernel.percent)),
            paths: hot.filter(|_| is_told).map(paths).unwrap_or_default(),
            kinds: hot
                .iter()
                .flat_map(|hot| hot.kinds.iter().take(4))
                .map(|(kind, share)| Kind {
                    kind: kind.key(),
                    percent: rounded(share.percent),
                    error: rounded(share.error),
                })
                .collect(),
            commands: hot
                .iter()
                .flat_map(|hot| hot.commands.iter().take(3))
                .map(|it| Command {
                    comm: &it.name,
                    percent: rounded(it.share.percent),
                    error: rounded(it.share.error),
                    processes: it.processes,
                    pid: it.pid,
                })
                .collect(),
            started: answer
                .started
                .iter()
                .take(3)
                .map(|it| Started {
                    parent: &it.parent,
                    program: &it.program,
                    count: it.count,
                    ended: it.ended,
                })
                .collect(),
            memory_bytes: vitals.memory.map(|growth| Memory {
                before: growth.before.resident(),
                after: growth.after.resident(),
                cgroup: vitals.cgroup_memory.map(|it| it.current),
                cgroup_limit: vitals.cgroup_memory.and_then(|it| it.limit),
            }),
            not_sampled: answer.not_sampled.as_deref(),
            next: next::command(answer),
        }
    }
}

fn paths(hot: &prof_report::HotPaths) -> Vec<Path<'_>> {
    let paths = hot.paths.iter().take(samples::PATHS).map(|path| Path {
        percent: rounded(path.share.percent),
        error: rounded(path.share.error),
        function: text::end_of(&path.function, LONGEST_NAME),
        path: path
            .told
            .iter()
            .map(|&at| text::end_of(&path.names[at], LONGEST_NAME))
            .collect(),
        command: path.command.as_deref(),
        line: path.line.as_deref(),
        kind: path.kind.map(prof_report::WorkKind::key),
    });
    paths.collect()
}

impl Stalls {
    fn of(stalls: &prof_vitals::Stalls) -> Self {
        let percent = |share: Option<f64>| share.map(|share| rounded(100.0 * share));
        Self {
            cpu_percent: percent(stalls.cpu),
            io_percent: percent(stalls.io),
            memory_percent: percent(stalls.memory),
        }
    }
}

/// Digits that are noise take room.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
