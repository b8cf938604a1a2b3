//! What all CPUs of the machine did, and for how long work could not go on.

use std::fs;
use std::path::Path;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(10); // USER_HZ

/// What CPUs spent their time with, summed over all of them. The kernel counts in steps of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MachineTime {
    /// In programs.
    pub user: Duration,
    /// In the kernel for them.
    pub system: Duration,
    /// Nothing to do.
    pub idle: Duration,
    /// Nothing to do while somebody waited for a disk.
    pub iowait: Duration,
    /// In interrupts.
    pub irq: Duration,
    /// In what interrupts left to do later, such as packets from the network.
    pub softirq: Duration,
    /// The hypervisor ran something else.
    pub steal: Duration,
}

impl MachineTime {
    /// Time in which CPUs worked here.
    pub fn busy(&self) -> Duration {
        self.user + self.system + self.irq + self.softirq
    }

    /// All of it.
    pub fn all(&self) -> Duration {
        self.busy() + self.idle + self.iowait + self.steal
    }

    /// What has come since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let less = |now: Duration, before: Duration| now.saturating_sub(before);
        Self {
            user: less(self.user, before.user),
            system: less(self.system, before.system),
            idle: less(self.idle, before.idle),
            iowait: less(self.iowait, before.iowait),
            irq: less(self.irq, before.irq),
            softirq: less(self.softirq, before.softirq),
            steal: less(self.steal, before.steal),
        }
    }

    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
        let mut times = numbers
            .split_ascii_whitespace()
            .map(|word| Some(TICK * u32::try_from(word.parse::<u64>().ok()?).ok()?));
        let mut next = || times.next()?;
        let (user, nice) = (next()?, next()?);
        Some(Self {
            user: user + nice,
            system: next()?,
            idle: next()?,
            iowait: next()?,
            irq: next()?,
            softirq: next()?,
            steal: next()?,
        })
    }
}

/// What all CPUs did since the machine started. `None` if `/proc/stat` cannot be read.
pub fn machine_time() -> Option<MachineTime> {
    MachineTime::parse(&fs::read_to_string("/proc/stat").ok()?)
}

/// For how long work could not go on for want of something (PSI), since the kernel began to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pressure {
    /// At least one task waited for a CPU.
    pub cpu: Option<Duration>,
    /// At least one task waited for a disk.
    pub io: Option<Duration>,
    /// At least one task waited for memory to be freed.
    pub memory: Option<Duration>,
}

impl Pressure {
    /// Of the machine.
    pub(crate) fn of_machine() -> Self {
        let read = |name| some(&fs::read_to_string(format!("/proc/pressure/{name}")).ok()?);
        Self {
            cpu: read("cpu"),
            io: read("io"),
            memory: read("memory"),
        }
    }

    /// Of a cgroup of version 2, by its folder.
    pub(crate) fn of_cgroup(folder: &Path) -> Self {
        let read = |name| some(&fs::read_to_string(folder.join(name)).ok()?);
        Self {
            cpu: read("cpu.pressure"),
            io: read("io.pressure"),
            memory: read("memory.pressure"),
        }
    }

    /// As shares of the `elapsed` time since `before`.
    pub(crate) fn since(&self, before: &Self, elapsed: Duration) -> Stalls {
        let share = |now: Option<Duration>, before: Option<Duration>| {
            let stalled = now?.saturating_sub(before?).as_secs_f64();
            Some((stalled / elapsed.as_secs_f64()).min(1.0))
        };
        Stalls {
            cpu: share(self.cpu, before.cpu),
            io: share(self.io, before.io),
            memory: share(self.memory, before.memory),
        }
    }
}

/// Shares of the time, 0 to 1, in which at least one task waited; `None` where the kernel does not count it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Stalls {
    /// For a CPU.
    pub cpu: Option<f64>,
    /// For a disk.
    pub io: Option<f64>,
    /// For memory to be freed.
    pub memory: Option<f64>,
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`, in microseconds
fn some(text: &str) -> Option<Duration> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let (_, total) = line.rsplit_once("total=")?;
    total.trim().parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_stat_is_of_all_cpus_and_guests_are_counted_already() {
        let time = MachineTime::parse("cpu  10 1 20 300 4 5 6 7 2 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(time.user, TICK * 11);
        assert_eq!(time.busy(), TICK * (11 + 20 + 5 + 6));
        assert_eq!(time.all(), TICK * (11 + 20 + 300 + 4 + 5 + 6 + 7));
        assert_eq!(MachineTime::parse("cpu0 1 1"), None);
    }

    #[test]
    fn stalls_are_shares_of_the_time_and_unknown_where_nothing_is_counted() {
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=2500\nfull avg10=0 total=1\n";
        assert_eq!(some(text), Some(Duration::from_micros(2500)));
        let now = Pressure {
            cpu: Some(Duration::from_millis(3500)),
            ..Pressure::default()
        };
        let before = Pressure {
            cpu: Some(Duration::from_millis(1000)),
            io: Some(Duration::ZERO),
            memory: None,
        };
        let stalls = now.since(&before, Duration::from_secs(10));
        assert_eq!(
            (stalls.cpu, stalls.io, stalls.memory),
            (Some(0.25), None, None)
        );
    }
}
