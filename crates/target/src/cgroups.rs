//! Hierarchies of cgroups: where they are mounted, and where a process is in them.
//!
//! In: `/proc/self/mountinfo` and `/proc/PID/cgroup`. Out: folders. Elsewhere: what a path says about a container
//! (`containers.rs`), the members of a folder (`prof_sampler::Cgroup`).

use std::fs;
use std::path::{Path, PathBuf};

/// A hierarchy that is mounted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Of version 1, as in `cpu,cpuacct` or `name=systemd`, and other options such as `xattr`; empty for version 2.
    controllers: Vec<String>,
    /// What part of it is mounted; empty for all.
    root: String,
    mounted: PathBuf,
}

impl Hierarchy {
    /// Those that are mounted here, the ones whose groups can be sampled as a whole first.
    pub(crate) fn mounted() -> Vec<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(mounts: &str) -> Vec<Self> {
        let mut all: Vec<_> = mounts.lines().filter_map(Self::parse_line).collect();
        all.sort_by_key(|it| {
            let has = |name: &str| it.controllers.iter().any(|controller| controller == name);
            match () {
                () if has("perf_event") => 0,
                () if it.controllers.is_empty() => 1,
                () if has("cpu") => 2,
                () => 3,
            }
        });
        all
    }

    /// `32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu`
    fn parse_line(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, mounted) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let controllers = match kind {
            "cgroup2" => Vec::new(),
            "cgroup" => options.split(',').skip(1).map(str::to_owned).collect(),
            _ => return None,
        };
        Some(Self {
            controllers,
            root: if root == "/" { "" } else { root }.to_owned(),
            mounted: PathBuf::from(mounted),
        })
    }

    /// Where it is mounted.
    pub(crate) fn mount(&self) -> &Path {
        &self.mounted
    }

    /// The folder of a group.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix(self.root.as_str()).unwrap_or(path);
        self.mounted.join(below.trim_start_matches('/'))
    }

    /// Whether a line of `/proc/PID/cgroup` is about this one.
    fn is_of(&self, group: &Group<'_>) -> bool {
        if self.controllers.is_empty() {
            return group.controllers.is_empty();
        }
        let mut theirs = group.controllers.split(',');
        theirs.any(|it| self.controllers.iter().any(|own| own == it))
    }
}

/// Where a process is in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group<'t> {
    /// `cpu,cpuacct`, `name=systemd`, or nothing.
    controllers: &'t str,
    /// From the root of the hierarchy.
    pub(crate) path: &'t str,
}

/// The text that [`groups`] reads, of a process or thread.
pub(crate) fn text_of(task: i32) -> String {
    let text = fs::read(format!("/proc/{task}/cgroup")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// The lines of `/proc/PID/cgroup`: `4:memory:/user.slice`.
pub(crate) fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.splitn(3, ':').skip(1);
        let (controllers, path) = (words.next()?, words.next()?);
        Some(Group { controllers, path })
    })
}

/// The folder of a process's group up to the last part that fulfils a condition, in the hierarchy that is best to
/// sample of those in which there is one.
pub(crate) fn folder(
    hierarchies: &[Hierarchy],
    text: &str,
    is_it: impl Fn(&str) -> bool,
) -> Option<PathBuf> {
    let folders = hierarchies.iter().filter_map(|hierarchy| {
        let group = groups(text).find(|group| hierarchy.is_of(group))?;
        Some(hierarchy.folder(up_to(group.path, &is_it)?))
    });
    let mut there = folders.filter(|folder| folder.join("cgroup.procs").exists());
    there.next()
}

/// A path up to its last part that fulfils a condition.
pub(crate) fn up_to(path: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    let mut end = path.len();
    loop {
        let upper = &path[..end];
        let start = upper.rfind('/').map_or(0, |at| at + 1);
        if is_it(&upper[start..]) {
            return Some(upper);
        }
        end = start.checked_sub(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:39 / /sys/fs/cgroup/perf_event rw,relatime - cgroup cgroup rw,perf_event
";

    #[test]
    fn the_hierarchy_that_knows_events_comes_first_then_version_2() {
        let all = Hierarchy::parse(MOUNTS);
        let mounts: Vec<_> = all.iter().map(|it| it.mount().to_str().unwrap()).collect();
        let names = ["perf_event", "unified", "cpu", "systemd"];
        assert_eq!(mounts, names.map(|it| format!("/sys/fs/cgroup/{it}")));
    }

    #[test]
    fn a_line_of_a_process_is_about_one_hierarchy() {
        let all = Hierarchy::parse(MOUNTS);
        let text = "9:name=systemd:/a\n3:cpu,cpuacct:/b:c\n2:perf_event:/\n0::/d\n";
        let mut paths = Vec::new();
        for hierarchy in &all {
            let group = groups(text).find(|group| hierarchy.is_of(group));
            paths.push(group.unwrap().path);
        }
        assert_eq!(paths, ["/", "/d", "/b:c", "/a"]);
    }

    #[test]
    fn in_a_container_its_own_group_is_what_is_mounted() {
        let line = "1 2 0:3 /kube/pod /sys/fs/cgroup ro - cgroup2 cgroup2 rw";
        let hierarchy = Hierarchy::parse_line(line).unwrap();
        let folder = hierarchy.folder("/kube/pod/inner");
        assert_eq!(folder, Path::new("/sys/fs/cgroup/inner"));
        assert_eq!(Hierarchy::parse_line("1 2 0:3 / / ro - ext4 dev rw"), None);
    }

    #[test]
    fn a_path_is_cut_behind_the_last_part_that_is_meant() {
        let is_x = |part: &str| part.starts_with('x');
        assert_eq!(up_to("/x1/a/x2/b", is_x), Some("/x1/a/x2"));
        assert_eq!(up_to("/x1", is_x), Some("/x1"));
        assert_eq!(up_to("/a/b", is_x), None);
        assert_eq!(up_to("/", is_x), None);
        assert_eq!(up_to("", is_x), None);
    }
}
