//! How much CPU time and memory the cgroup of a process allows it, and for how long it had to wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the kernel tells about the cgroup of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    version: Version,
    folders: Vec<PathBuf>, // its own and its ancestors', which may be stricter
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a cgroup says at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPUs allowed, the strictest of all ancestors.
    pub quota: Option<f64>,
    /// Time that its threads were kept from running so far, where there is a quota.
    pub throttled: Option<Duration>,
}

/// A cgroup with a limit of CPU time.
#[derive(Clone, Debug, PartialEq)]
pub struct Bandwidth {
    /// Its folder.
    pub folder: PathBuf,
    /// CPUs allowed.
    pub quota: f64,
    /// Periods of the limit so far in which it had something to do.
    pub periods: Option<u64>,
    /// Those of them in which its threads were kept from running.
    pub throttled_periods: Option<u64>,
    /// For how long they were kept.
    pub throttled: Option<Duration>,
}

/// How much memory a cgroup has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Now; pages of files that were read are part of it.
    pub current: u64,
    /// At most, the strictest of it and all ancestors; `None` for no limit.
    pub limit: Option<u64>,
}

impl Cgroup {
    /// The cgroup of a process, if it is in one that rules CPU time.
    pub fn of(pid: i32) -> Option<Self> {
        Self::of_controller(pid, "cpu")
    }

    /// The cgroup of a process, if it is in one that rules memory.
    pub fn of_memory(pid: i32) -> Option<Self> {
        Self::of_controller(pid, "memory")
    }

    fn of_controller(pid: i32, controller: &str) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&groups, &mounts, controller)
    }

    /// The hierarchy of version 1 that has this controller where there is one, else version 2.
    fn find(groups: &str, mounts: &str, controller: &str) -> Option<Self> {
        let lines = || {
            groups.lines().filter_map(|line| {
                let mut words = line.splitn(3, ':').skip(1);
                Some((words.next()?, words.next()?))
            })
        };
        let one =
            lines().find(|(controllers, _)| controllers.split(',').any(|it| it == controller));
        let two = lines().find(|(controllers, _)| controllers.is_empty());
        let candidates = [(one, Version::One), (two, Version::Two)];
        candidates.into_iter().find_map(|(group, version)| {
            let (_, path) = group?;
            let (root, mounted) = mount(mounts, version, controller)?;
            Some(Self {
                version,
                folders: folders(&mounted, path.strip_prefix(&root).unwrap_or(path)),
            })
        })
    }

    /// What it says now.
    pub fn limits(&self) -> Limits {
        let bandwidths = self.bandwidths();
        let quotas = bandwidths.iter().map(|it| it.quota);
        let waits = bandwidths.iter().map(|it| it.throttled.unwrap_or_default());
        Limits {
            quota: quotas.reduce(f64::min),
            throttled: (!bandwidths.is_empty()).then(|| waits.sum()),
        }
    }

    /// Of it and its ancestors those that have a limit of CPU time, the innermost first.
    pub fn bandwidths(&self) -> Vec<Bandwidth> {
        let limited = self.folders.iter().filter_map(|folder| {
            let quota = match self.version {
                Version::One => quota_one(folder),
                Version::Two => quota_two(folder),
            };
            let stat = CpuStat::read(folder);
            Some(Bandwidth {
                folder: folder.clone(),
                quota: quota?,
                periods: stat.number("nr_periods "),
                throttled_periods: stat.number("nr_throttled "),
                throttled: stat.throttled(),
            })
        });
        limited.collect()
    }

    /// Where the pressure of its own tasks is told, if the kernel does that. The root's is the machine's.
    pub(crate) fn pressure_folder(&self) -> Option<&Path> {
        let [own, _, ..] = self.folders.as_slice() else {
            return None;
        };
        (self.version == Version::Two).then_some(own)
    }
}

/// The memory of a cgroup that rules it; `None` for a root, which has none of its own.
pub fn memory_use(cgroup: &Cgroup) -> Option<MemoryUse> {
    let number = |folder: &Path, name: &str| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let [own, _, ..] = cgroup.folders.as_slice() else {
        return None;
    };
    let (current, limit) = match cgroup.version {
        Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
        Version::Two => ("memory.current", "memory.max"),
    };
    // Version 1 has the largest number of pages for no limit.
    let limits = cgroup
        .folders
        .iter()
        .filter_map(|folder| number(folder, limit));
    Some(MemoryUse {
        current: number(own, current)?,
        limit: limits.filter(|&limit| limit < 1 << 60).min(),
    })
}

/// What part of the hierarchy is mounted, and where.
fn mount(mounts: &str, version: Version, controller: &str) -> Option<(String, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, mounted) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_it = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|it| it == controller),
            Version::Two => kind == "cgroup2",
        };
        let root = if root == "/" { "" } else { root };
        is_it.then(|| (root.to_owned(), PathBuf::from(mounted)))
    })
}

/// A cgroup's folder and its ancestors', up to the root of what is mounted.
fn folders(mounted: &Path, path: &str) -> Vec<PathBuf> {
    let own = mounted.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|folder| folder.starts_with(mounted))
        .map(Path::to_owned)
        .collect()
}

/// `50000 100000`, or `max 100000`
fn quota_two(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota.parse().ok()?, period.parse().ok()?)
}

fn quota_one(folder: &Path) -> Option<f64> {
    let number = |name| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse().ok()
    };
    ratio(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn ratio(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// `cpu.stat`: a name and a number a line.
struct CpuStat(String);

impl CpuStat {
    fn read(folder: &Path) -> Self {
        Self(fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default())
    }

    fn number(&self, name: &str) -> Option<u64> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    }

    fn throttled(&self) -> Option<Duration> {
        let two = || self.number("throttled_usec ").map(Duration::from_micros);
        let one = || self.number("throttled_time ").map(Duration::from_nanos);
        two().or_else(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 23 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
";

    #[test]
    fn the_cpu_hierarchy_is_found_with_all_ancestors() {
        let groups = "4:memory:/x\n3:cpu,cpuacct:/docker/ab\n0::/\n";
        let cgroup = Cgroup::find(groups, MOUNTS, "cpu").unwrap();
        assert_eq!(cgroup.version, Version::One);
        let folders: Vec<_> = cgroup
            .folders
            .iter()
            .map(|it| it.to_str().unwrap())
            .collect();
        let root = "/sys/fs/cgroup/cpu,cpuacct";
        assert_eq!(
            folders,
            [
                format!("{root}/docker/ab"),
                format!("{root}/docker"),
                root.to_owned()
            ]
        );
    }

    #[test]
    fn a_container_sees_its_own_cgroup_as_the_root() {
        let mounts = "1 2 0:3 /kube/pod /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let cgroup = Cgroup::find("0::/kube/pod/inner\n", mounts, "cpu").unwrap();
        assert_eq!(cgroup.version, Version::Two);
        assert_eq!(cgroup.folders[0], Path::new("/sys/fs/cgroup/inner"));
        assert_eq!(cgroup.folders.len(), 2);
        assert_eq!(Cgroup::find("", mounts, "cpu"), None);
    }

    #[test]
    fn the_strictest_quota_of_all_ancestors_counts() {
        let root = std::env::temp_dir().join(format!("prof-cgroup-{}", std::process::id()));
        let inner = root.join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.join("cpu.max"), "50000 100000\n").unwrap();
        fs::write(root.join("cpu.stat"), "usage_usec 9\nthrottled_usec 1500\n").unwrap();
        fs::write(inner.join("cpu.max"), "max 100000\n").unwrap();
        let cgroup = Cgroup {
            version: Version::Two,
            folders: folders(&root, "/inner"),
        };
        let limits = cgroup.limits();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(limits.quota, Some(0.5));
        assert_eq!(limits.throttled, Some(Duration::from_micros(1500)));
    }

    #[test]
    fn memory_is_its_own_and_the_limit_the_strictest_of_all_ancestors() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.path().join("memory.max"), "5000\n").unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(inner.join("memory.current"), "4000\n").unwrap();
        let cgroup = Cgroup {
            version: Version::Two,
            folders: folders(root.path(), "/inner"),
        };
        let expected = MemoryUse {
            current: 4000,
            limit: Some(5000),
        };
        assert_eq!(memory_use(&cgroup), Some(expected));
        let of_root = Cgroup {
            folders: folders(root.path(), "/"),
            ..cgroup
        };
        assert_eq!(memory_use(&of_root), None);
    }

    #[test]
    fn version_one_counts_in_nanoseconds_and_has_no_quota_at_minus_one() {
        let folder = std::env::temp_dir().join(format!("prof-cgroup-1-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cpu.cfs_period_us"), "100000\n").unwrap();
        fs::write(folder.join("cpu.cfs_quota_us"), "-1\n").unwrap();
        let cgroup = Cgroup {
            version: Version::One,
            folders: vec![folder.clone()],
        };
        assert_eq!(cgroup.limits(), Limits::default());
        fs::write(folder.join("cpu.cfs_quota_us"), "150000\n").unwrap();
        fs::write(
            folder.join("cpu.stat"),
            "nr_throttled 2\nthrottled_time 7000\n",
        )
        .unwrap();
        let limits = cgroup.limits();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(limits.quota, Some(1.5));
        assert_eq!(limits.throttled, Some(Duration::from_nanos(7000)));
    }
}
