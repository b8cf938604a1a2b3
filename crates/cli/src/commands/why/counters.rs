//! The lines that counters carry: exact as far as the kernel counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::Answer;
use super::words::{bytes, list, plural, seconds};

/// Less than this of a CPU is not worth a line.
const WORTH_CPUS: f64 = 0.05;
/// A limit that is felt in so much of its periods explains slowness.
const FELT: f64 = 0.2;

/// Who and how much, and what kept it from going on. Those that say least come with `true`: they go first where there
/// are too many.
pub fn lines(answer: &Answer) -> Vec<(bool, String)> {
    let needed = [
        Some(head(answer)),
        Some(used(answer)),
        quota(answer),
        waited(answer),
        machine(answer),
    ];
    let needed = needed.into_iter().flatten().map(|line| (false, line));
    let spare = stalls(answer).into_iter().map(|line| (true, line));
    let rest = [threads(answer), blocked(answer), waits(answer)];
    let rest = rest.into_iter().flatten().map(|line| (false, line));
    needed.chain(spare).chain(rest).collect()
}

/// What comes after the profile.
pub fn last_lines(answer: &Answer) -> Vec<String> {
    children(answer).into_iter().chain(memory(answer)).collect()
}

fn head(answer: &Answer) -> String {
    let vitals = &answer.vitals;
    let mut head = answer.target.clone();
    let named = answer.named.max(1);
    if let Some(processes) = vitals.processes.filter(|&it| it > named) {
        let children = (processes - named) as u64;
        head += &format!(" + {}", plural(children, "child", "children"));
    }
    if vitals.processes == Some(0) {
        head += ", which has ended";
    }
    // A container that was asked for by its id is the target itself.
    let is_target = |container: &&String| {
        let id = container.split(' ').next().unwrap_or_default();
        answer.target.contains(id)
    };
    let container = answer.container.as_ref();
    if let Some(container) = container.filter(|it| !is_target(it)) {
        head += &format!(" in container {container}");
    }
    head += &format!(", {}", seconds(vitals.elapsed));
    if let Some(cpus) = vitals.cpus {
        head += &format!(", {}", plural(cpus as u64, "CPU", "CPUs"));
    }
    if !answer.is_machine && vitals.thread_count > 0 {
        head += &format!(
            ", {}",
            plural(vitals.thread_count as u64, "thread", "threads")
        );
    }
    if let Some(load) = answer.load.filter(|_| answer.is_machine) {
        head += &format!(", load {load:.2}");
    }
    head
}

fn used(answer: &Answer) -> String {
    let (Some(used), Some(cpu)) = (answer.used(), answer.vitals.cpu) else {
        return "CPU time used: not measured, it could not be read".to_owned();
    };
    let cpus = answer.vitals.cpus;
    let of = cpus.map(|cpus| format!(" of {}", plural(cpus as u64, "CPU", "CPUs")));
    let mut line = format!("used {used:.2}{}", of.unwrap_or_default());
    if answer.is_idle() {
        return line + ": idle";
    }
    let kernel = 100.0 * cpu.system.as_secs_f64() / cpu.total().as_secs_f64();
    line += &format!(", {kernel:.0}% of it in the kernel");
    let is_full = cpus.is_some_and(|cpus| used > 0.95 * cpus as f64);
    if is_full && !answer.is_machine {
        line += "  <- all it may run on";
    } else if is_full {
        line += "  <- full";
    }
    line
}

fn quota(answer: &Answer) -> Option<String> {
    let quota = answer.vitals.quota.as_ref()?;
    let mut line = format!("quota {:.2}: ", quota.cpus);
    match (quota.periods, quota.throttled_periods) {
        (Some(_), Some(0)) => line += "not throttled",
        (Some(periods), Some(throttled)) => {
            line += &format!("throttled in {throttled} of {periods} periods");
            if let Some(time) = quota.throttled {
                line += &format!(", {}", seconds(time));
            }
        }
        _ => line += "how often it was throttled could not be read",
    }
    if answer.throttled().is_some_and(|share| share >= FELT) {
        line += "  <- the limit, not the code";
    }
    Some(line)
}

/// Time in which threads could have run and had no CPU.
fn waited(answer: &Answer) -> Option<String> {
    let threads = &answer.vitals.threads;
    let waited: Duration = threads.iter().map(|thread| thread.waited).sum();
    let cpus = waited.as_secs_f64() / answer.seconds();
    if cpus < WORTH_CPUS {
        return None;
    }
    let mut line = format!("waited {} for a CPU, all threads", seconds(waited));
    if answer.throttled().is_some_and(|share| share >= FELT) {
        return Some(line + "; the quota may be a part of it");
    }
    let (machine, used) = (answer.vitals.machine?, answer.used()?);
    let others = machine.busy().as_secs_f64() / answer.seconds() - used;
    let all = machine.all().as_secs_f64() / answer.seconds();
    line += &format!("; others use {:.2} of {all:.0} CPUs", others.max(0.0));
    if others > WORTH_CPUS && machine.idle < machine.all() / 10 {
        line += "  <- full";
    }
    Some(line)
}

/// What else the CPUs of the machine did.
fn machine(answer: &Answer) -> Option<String> {
    let machine = answer.vitals.machine?;
    let all = machine.all().as_secs_f64().max(1e-3);
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / all;
    let parts = [
        ("steal", percent(machine.steal), 2.0),
        ("softirq", percent(machine.softirq), 5.0),
        ("irq", percent(machine.irq), 5.0),
        ("waiting for disks", percent(machine.iowait), 10.0),
    ];
    let notable = parts.iter().filter(|(_, percent, least)| percent >= least);
    let notable: Vec<_> = notable.collect();
    if notable.is_empty() && !answer.is_machine {
        return None;
    }
    let idle = percent(machine.idle + machine.iowait);
    let mut line = format!("machine: idle {idle:.0}%");
    for (name, percent, _) in parts {
        let is_told = answer.is_machine && name != "irq" || notable.iter().any(|it| it.0 == name);
        if is_told {
            line += &format!(", {name} {percent:.0}%");
        }
    }
    if percent(machine.steal) >= 10.0 {
        line += "  <- the host";
    }
    Some(line)
}

/// For how long tasks could not go on.
fn stalls(answer: &Answer) -> Option<String> {
    const NOTABLE: f64 = 0.1;
    let vitals = &answer.vitals;
    let of_cgroup = vitals.cgroup_stalls;
    let (whose, stalls) = match of_cgroup.cpu.is_some() && !answer.is_machine {
        true => ("its cgroup", of_cgroup),
        false => ("the whole machine", vitals.stalls),
    };
    let parts = [
        ("CPU", stalls.cpu),
        ("disk", stalls.io),
        ("memory", stalls.memory),
    ];
    let notable = |share: Option<f64>| share.is_some_and(|share| share >= NOTABLE);
    if !parts.iter().any(|part| notable(part.1)) {
        return None;
    }
    let told = parts.iter();
    let told = told.filter_map(|(name, share)| Some(format!("{name} {:.0}%", 100.0 * (*share)?)));
    let told: Vec<String> = told.collect();
    Some(format!(
        "tasks stalled on {} of the time ({whose})",
        told.join(", ")
    ))
}

/// Which threads, if it is not all of them alike.
fn threads(answer: &Answer) -> Option<String> {
    let threads = &answer.vitals.threads;
    if let Some(hot) = hot_threads(answer) {
        return Some(hot);
    }
    let all: Duration = threads.iter().map(|thread| thread.ran).sum();
    if answer.is_idle() || threads.len() < 2 || all.is_zero() {
        return None;
    }
    let mut groups: BTreeMap<&str, (Duration, usize)> = BTreeMap::new();
    for thread in threads.iter().filter(|thread| !thread.ran.is_zero()) {
        let group = groups.entry(&thread.comm).or_default();
        group.0 += thread.ran;
        group.1 += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (ran, _))| std::cmp::Reverse(*ran));
    if groups.len() < 2 {
        return None; // they are all alike
    }
    let told = groups.iter().map(|(comm, (ran, count))| {
        let percent = 100.0 * ran.as_secs_f64() / all.as_secs_f64();
        let times = if *count > 1 {
            format!(" (×{count})")
        } else {
            String::new()
        };
        format!("{comm}{times} {percent:.0}%")
    });
    let told = list("threads: ", told, 4);
    let left_out = if answer.vitals.threads_left_out {
        "; not all were looked at"
    } else {
        ""
    };
    Some(told + left_out)
}

/// Threads that use a whole CPU, or would if they had one.
fn hot_threads(answer: &Answer) -> Option<String> {
    let count = answer.vitals.thread_count;
    let hot = answer.hot_threads();
    let first = hot.first().filter(|_| count > 1)?;
    let seconds = answer.seconds();
    let has_whole = hot
        .iter()
        .all(|it| it.ran.as_secs_f64() >= Answer::WHOLE_CPU * seconds);
    let verb = match (has_whole, hot.len()) {
        (true, 1) => "uses a whole CPU",
        (true, _) => "use a whole CPU each",
        (false, 1) => "uses or waits for a CPU all the time",
        (false, _) => "use or wait for a CPU all the time",
    };
    let names = hot.iter().map(|it| format!("{} {}", it.comm, it.tid));
    let line = list(
        &format!("{} of {count} threads {verb}: ", hot.len()),
        names,
        3,
    );
    let others = answer
        .vitals
        .threads
        .iter()
        .filter(|it| it.tid != first.tid);
    let others: Duration = others.map(|it| it.ran).sum();
    let is_limit = has_whole && hot.len() == 1 && others < first.ran / 4;
    let could_more = answer.vitals.cpus.is_some_and(|cpus| cpus > 1);
    Some(
        line + if is_limit && could_more {
            "  <- one CPU is the limit"
        } else {
            ""
        },
    )
}

/// Threads in uninterruptible sleep.
fn blocked(answer: &Answer) -> Option<String> {
    let waits = &answer.vitals.waits;
    let worst = waits.places.iter().find(|place| place.state == 'D')?;
    // A look that finds one now and then finds what every disk access does.
    if waits.looks_with_blocked * 20 < waits.looks {
        return None;
    }
    let (pid, tid, comm) = &worst.example;
    let who = if pid == tid {
        format!("{comm} {pid}")
    } else {
        format!("{comm} {tid} of {pid}")
    };
    let place = worst
        .place
        .as_deref()
        .unwrap_or("its stack could not be read");
    Some(format!(
        "D state in {} of {} looks: {who}: {place}",
        waits.looks_with_blocked, waits.looks
    ))
}

/// What threads wait in, where they do not run.
fn waits(answer: &Answer) -> Option<String> {
    const BUSY: f64 = 0.5;
    let waits = &answer.vitals.waits;
    let is_busy = answer.used().is_none_or(|used| used >= BUSY);
    let wants_to_run = !answer.hot_threads().is_empty();
    if answer.is_machine || is_busy || wants_to_run || waits.seen == 0 {
        return None;
    }
    let states = waits.places.iter().filter(|place| place.state != 'D');
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for place in states {
        let name = match (place.state, &place.place) {
            ('T' | 't', _) => "stopped by a signal or debugger".to_owned(),
            (_, Some(name)) => name.clone(),
            (_, None) => "what could not be read".to_owned(),
        };
        *places.entry(name).or_default() += place.seen;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, seen)| std::cmp::Reverse(*seen));
    let percent = |seen: u64| 100.0 * seen as f64 / waits.seen as f64;
    let told = places
        .iter()
        .take(4)
        .filter(|(_, seen)| percent(*seen) >= 1.0);
    let told: Vec<_> = told
        .map(|(name, seen)| format!("{name} {:.0}%", percent(*seen)))
        .collect();
    if told.is_empty() {
        return None;
    }
    let looks = plural(u64::from(waits.looks), "look", "looks");
    Some(format!(
        "its threads wait in: {} (of {looks})",
        told.join(", ")
    ))
}

/// Processes that started, by parent and program.
fn children(answer: &Answer) -> Option<String> {
    let count: u64 = answer.started.iter().map(|it| it.count).sum();
    let ended: u64 = answer.started.iter().map(|it| it.ended).sum();
    let rate = count as f64 / answer.seconds();
    if count < 3 || rate < 0.5 {
        return None;
    }
    let told = answer.started.iter();
    let told = told.map(|it| format!("{} > {} {}", it.parent, it.program, it.count));
    let start = format!("started {count} processes ({rate:.0}/s), {ended} ended: ");
    Some(list(&start, told, 4))
}

fn memory(answer: &Answer) -> Option<String> {
    let growth = answer.vitals.memory?;
    let (before, after) = (growth.before.resident(), growth.after.resident());
    let change = after as f64 - before as f64;
    let mut line = format!("memory {}", bytes(after as f64));
    let is_notable = change.abs() >= (before as f64 / 100.0).max(4e6);
    if is_notable {
        let sign = if change > 0.0 { "+" } else { "-" };
        line += &format!(
            ", {sign}{} in {}",
            bytes(change.abs()),
            seconds(answer.vitals.elapsed)
        );
    }
    let limited = answer.vitals.cgroup_memory;
    if let Some((limit, current)) = limited.and_then(|it| Some((it.limit?, it.current))) {
        line += &format!(
            "; cgroup {} of {}",
            bytes(current as f64),
            bytes(limit as f64)
        );
        if is_notable && change > 0.0 && limit > current {
            let left = (limit - current) as f64 / (change / answer.seconds());
            if left < 86_400.0 {
                line += &format!(", full in {}", seconds(Duration::from_secs_f64(left)));
            }
        } else if current * 20 >= limit * 19 {
            line += "  <- nearly full";
        }
    } else if !is_notable {
        return None;
    }
    Some(line)
}
