//! What the header says: read once a second, when samples come.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use prof_model::Pid;
use prof_profile::Unit;
use prof_sampler::{Note, Sampler, Target, online_cpus, proc};
use prof_session::event_infos;
use prof_session::record::{Piece, file_events};
use prof_target::resident_bytes;
use prof_tui::{Cost, CpuUse, Facts};
use prof_vitals::{Cgroup, allowed_cpus, machine_time};

use crate::sampling::Sampling;

/// What is known before the first sample.
pub fn at_start(sampling: &Sampling, sampler: &Sampler) -> Facts {
    let any_event = sampling.options.events.events.is_empty();
    let notes = sampler.notes().iter().filter(|note| match note {
        Note::OtherEvent { .. } => !any_event, // the header names it anyway
        Note::Rings { .. } => false,           // if they are too small, samples are lost
        _ => true,
    });
    let overridden = sampling.overridden.map(str::to_owned);
    Facts {
        target: sampling.target_name(),
        container: container_of(&sampling.options.target),
        events: event_infos(&file_events(sampler.events())),
        notes: overridden
            .into_iter()
            .chain(notes.map(ToString::to_string))
            .collect(),
        ..Facts::default()
    }
}

/// The container of a target, as `3f2a91c04d5e` with its host name; `None` if we are in the same.
pub fn container_of(target: &Target) -> Option<String> {
    first_task(target).and_then(prof_target::container_of)
}

fn first_task(target: &Target) -> Option<i32> {
    match target {
        Target::Processes(pids) => pids.first().map(|&pid| proc::living_task(pid)),
        Target::Threads(tids) => tids.first().map(|tid| tid.0),
        Target::Cgroup(cgroup) => cgroup.members().first().map(|&pid| proc::living_task(pid)),
        Target::Command(pid) => Some(pid.0),
        Target::System => None,
    }
}

/// Counters that are read again and again; what is shown is how they grow.
pub struct Meters {
    target: Target,
    inherit: bool,
    available: f64,
    cgroup: Option<Cgroup>,
    before: Reading,
}

#[derive(Clone, Copy, Default)]
struct Reading {
    at: Option<Instant>,
    target_cpu: Option<Duration>,
    throttled: Option<Duration>,
    own_cpu: Duration,
}

impl Meters {
    /// For a target.
    pub fn new(sampling: &Sampling) -> Self {
        let target = sampling.options.target.clone();
        let task = first_task(&target);
        let mut meters = Self {
            available: task
                .and_then(allowed_cpus)
                .unwrap_or_else(|| online_cpus().len()) as f64,
            cgroup: task.and_then(Cgroup::of),
            target,
            inherit: sampling.options.inherit,
            before: Reading::default(),
        };
        meters.before = meters.now();
        meters
    }

    /// Counts the CPU time of a further process from now on; what it has used before is no part of it.
    pub fn join(&mut self, pid: Pid) {
        if let Target::Processes(pids) = &mut self.target {
            pids.push(pid);
            let of_it = Target::Processes(vec![pid]).cpu_time(self.inherit);
            let before = self.before.target_cpu.zip(of_it);
            self.before.target_cpu = before.map(|(others, its)| others + its);
        }
    }

    fn now(&self) -> Reading {
        let own = getrusage(UsageWho::RUSAGE_SELF).map(|usage| {
            let [user, system] = [usage.user_time(), usage.system_time()];
            let seconds = user.tv_sec() + system.tv_sec();
            let micros = user.tv_usec() + system.tv_usec();
            Duration::from_micros((seconds * 1_000_000 + micros).max(0) as u64)
        });
        Reading {
            at: Some(Instant::now()),
            target_cpu: cpu_time(&self.target, self.inherit),
            throttled: self.cgroup.as_ref().and_then(|it| it.limits().throttled),
            own_cpu: own.unwrap_or_default(),
        }
    }

    /// Takes a new reading and says what happened since the last one.
    pub fn read(&mut self, piece: &Piece, is_last: bool, facts: &mut Facts) {
        facts.lost += piece.profile.losses.lost();
        facts.throttled += piece.profile.losses.throttled;
        let now = self.now();
        let before = std::mem::replace(&mut self.before, now);
        let (Some(from), Some(to)) = (before.at, now.at) else {
            return;
        };
        let seconds = (to - from).as_secs_f64().max(1e-3);
        let own = now.own_cpu.saturating_sub(before.own_cpu).as_secs_f64();
        facts.cost = Some(Cost {
            cpu_percent: 100.0 * own / seconds,
            memory_bytes: resident_bytes(Pid(std::process::id() as i32)).unwrap_or(0),
        });
        let event = piece.profile.events.first();
        let time_is_sampled = event.is_some_and(|event| event.unit == Unit::CpuTime);
        let used = match (before.target_cpu, now.target_cpu) {
            // Less than before: a process has ended, and what it used is not known any more.
            (Some(before), Some(now)) => now
                .checked_sub(before)
                .map(|used| used.as_secs_f64() / seconds),
            // Of a command and its children only the samples tell.
            _ if time_is_sampled && matches!(self.target, Target::Command(_)) => {
                let length = (piece.span.end - piece.span.start) as f64;
                Some(piece.profile.total(0).period as f64 / length)
            }
            _ => None,
        };
        if is_last {
            return; // the last numbers of a living target stay
        }
        let limits = self.cgroup.as_ref().map(Cgroup::limits).unwrap_or_default();
        let throttled = match (before.throttled, now.throttled) {
            (Some(before), Some(now)) => Some(now.saturating_sub(before).div_f64(seconds)),
            _ => None,
        };
        facts.cpu = used.map(|used| CpuUse {
            used,
            available: self.available,
            quota: limits.quota,
            throttled,
        });
    }
}

/// CPU time used so far.
fn cpu_time(target: &Target, inherit: bool) -> Option<Duration> {
    match target {
        Target::System => machine_time().map(|time| time.busy()),
        target => target.cpu_time(inherit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_used_time() {
        assert!(cpu_time(&Target::System, true).unwrap() > Duration::ZERO);
    }
}
