//! Whether the samples stand for the CPU time that the target used.
//!
//! In: an event and two times. Out: a [`Shortfall`], if much is missing. Elsewhere: what the kernel says
//! it lost (`prof_profile::Losses`).

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use prof_event::EventAttr;
use prof_event::abi::flag;
use prof_sampler::Options;

/// Less than this share of the CPU time, in percent, is worth a line.
const ENOUGH: u32 = 70;
/// Of less CPU time nothing is said: the kernel counts it in steps of 10 ms.
const LEAST: Duration = Duration::from_millis(200);

/// CPU time of all commands that have ended so far, with all that they waited for. Some may be older than this
/// program: what becomes it by exec leaves its own.
pub fn cpu_time_of_ended() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let times = [usage.user_time(), usage.system_time()];
    let micros = times.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    u64::try_from(micros.iter().sum::<i64>())
        .ok()
        .map(Duration::from_micros)
}

/// Samples that stand for much less than the time that was used: every thread has a clock of its own,
/// which begins with it, and one that ends before its first sample was never there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    seen: Duration,
    used: Duration,
    interval: Duration,
}

impl Shortfall {
    /// Compares the CPU time that samples of an event stand for with what was used. `None` if it is
    /// enough, or if the event's samples are not meant to stand for all of it.
    pub fn find(
        attr: &EventAttr,
        options: &Options,
        seen: Duration,
        used: Duration,
    ) -> Option<Self> {
        let is_part = attr.has(flag::EXCLUDE_KERNEL)
            || attr.has(flag::EXCLUDE_USER)
            || options.cpus.is_some()
            || !options.inherit;
        let hz = u32::try_from(attr.frequency()?).ok()?;
        let is_much = used >= LEAST && seen < used * ENOUGH / 100;
        (attr.is_cpu_time() && !is_part && is_much && hz > 0).then(|| Self {
            seen,
            used,
            interval: Duration::from_secs(1) / hz,
        })
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s of {:.1} s on the CPU were sampled: threads and processes that end within \
             {:.1} ms are not seen; try `-F 4999`, or `-a`, which samples CPUs",
            self.seen.as_secs_f64(),
            self.used.as_secs_f64(),
            self.interval.as_secs_f64() * 1000.0
        )
    }
}

#[cfg(test)]
mod tests {
    use prof_event::EventSpec;
    use prof_sampler::{Rate, Target};

    use super::*;

    fn options() -> Options {
        Options::new(Target::System, Rate::Frequency(99))
    }

    fn found(event: &str, options: &Options, [seen, used]: [u64; 2]) -> Option<String> {
        let mut attr = EventAttr::default();
        EventSpec::parse(event).unwrap().apply(&mut attr);
        attr.set(flag::FREQ, true);
        attr.sample_period_or_freq = 99;
        let [seen, used] = [seen, used].map(Duration::from_millis);
        let shortfall = Shortfall::find(&attr, options, seen, used);
        shortfall.map(|shortfall| shortfall.to_string())
    }

    #[test]
    fn much_time_without_samples_is_told_with_the_interval() {
        let told = found("cpu-clock", &options(), [100, 1230]).unwrap();
        assert!(told.starts_with("0.1 s of 1.2 s on the CPU were sampled"));
        assert!(told.contains("within 10.1 ms"), "{told}");
    }

    #[test]
    fn what_chance_rounding_or_the_event_explains_is_not_told() {
        let all = options();
        assert_eq!(found("cpu-clock", &all, [750, 1000]), None);
        assert_eq!(found("cpu-clock", &all, [0, 190]), None);
        assert_eq!(found("cpu-clock:u", &all, [100, 1000]), None);
        assert_eq!(found("cycles", &all, [100, 1000]), None);
        let one_cpu = Options {
            cpus: Some(Vec::new()),
            ..options()
        };
        assert_eq!(found("cpu-clock", &one_cpu, [100, 1000]), None);
        let no_children = Options {
            inherit: false,
            ..options()
        };
        assert_eq!(found("cpu-clock", &no_children, [100, 1000]), None);
    }
}
