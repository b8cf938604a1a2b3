//! What is so at present, and the remedies that follow: none asks for what is there already, or for what cannot
//! help here.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};

use super::settings;

/// Whose processes `/proc` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcFolder {
    /// Those that this process can name.
    Own,
    /// Nobody's: it is not mounted.
    Missing,
    /// Those of another process namespace.
    Foreign,
}

/// Capabilities of the kernel by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(pub u8);

impl Capability {
    /// Files in directories of others.
    pub const DAC_READ_SEARCH: Self = Self(2);
    /// Rings beyond the limit of locked memory.
    pub const IPC_LOCK: Self = Self(14);
    /// Limits above the hard ones.
    pub const SYS_RESOURCE: Self = Self(24);
    /// Processes of others.
    pub const SYS_PTRACE: Self = Self(19);
    /// All that follows, on older kernels.
    pub const SYS_ADMIN: Self = Self(21);
    /// Before others.
    pub const SYS_NICE: Self = Self(23);
    /// Addresses of the kernel.
    pub const SYSLOG: Self = Self(34);
    /// Every event.
    pub const PERFMON: Self = Self(38);
    /// BPF programs.
    pub const BPF: Self = Self(39);
    /// Mapped files whose path is gone.
    pub const CHECKPOINT_RESTORE: Self = Self(40);

    /// Those that matter here, with their names.
    pub const KNOWN: [(Self, &str); 9] = [
        (Self::PERFMON, "perfmon"),
        (Self::SYS_PTRACE, "sys_ptrace"),
        (Self::SYSLOG, "syslog"),
        (Self::BPF, "bpf"),
        (Self::SYS_ADMIN, "sys_admin"),
        (Self::DAC_READ_SEARCH, "dac_read_search"),
        (Self::CHECKPOINT_RESTORE, "checkpoint_restore"),
        (Self::IPC_LOCK, "ipc_lock"),
        (Self::SYS_NICE, "sys_nice"),
    ];

    fn name(self) -> &'static str {
        let known = Self::KNOWN.iter().find(|(it, _)| *it == self);
        known.map_or("sys_admin", |&(_, name)| name)
    }
}

/// What this process is and may do, and what the system is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The effective user.
    pub user: u32,
    /// Effective capabilities, a bit each; `None` where `/proc` does not tell.
    pub capabilities: Option<u64>,
    /// Whether users are those of a namespace of their own, where capabilities count for nothing with events.
    pub own_users: bool,
    /// Whether processes have numbers of a namespace of their own.
    pub own_processes: bool,
    /// Whether a program may have more rights than who starts it.
    pub may_gain: bool,
    /// Whether capabilities on the file of this program count: its file system is not mounted `nosuid`.
    pub file_may_gain: bool,
    /// Whether this process may write settings of the kernel.
    pub may_set: bool,
    /// Whether there is `sudo`.
    pub has_sudo: bool,
    /// What `/proc` shows.
    pub proc: ProcFolder,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// `kernel.kptr_restrict`.
    pub kptr_restrict: Option<i32>,
    /// `kernel.yama.ptrace_scope`.
    pub ptrace_scope: Option<i32>,
    /// `Seccomp:` of this process: 2 with a filter.
    pub seccomp: Option<i32>,
    /// The file of this program.
    pub program: String,
    /// Capabilities that the file is given together with others: setting some takes away the rest.
    pub together: &'static [Capability],
}

impl Present {
    /// Looks.
    pub fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        let number = |name: &str| field(name)?.parse::<i32>().ok();
        let program = std::env::current_exe().unwrap_or_default();
        let nosuid = statvfs(&program).is_ok_and(|it| it.flags().contains(FsFlags::ST_NOSUID));
        Self {
            user: geteuid().as_raw(),
            capabilities: field("CapEff").and_then(|it| u64::from_str_radix(it, 16).ok()),
            own_users: is_own_namespace("user", 0xefff_fffd),
            own_processes: is_own_namespace("pid", 0xefff_fffc),
            may_gain: number("NoNewPrivs") != Some(1),
            file_may_gain: !nosuid,
            may_set: access("/proc/sys/kernel/perf_event_paranoid", AccessFlags::W_OK).is_ok(),
            has_sudo: is_in_path("sudo"),
            proc: proc_folder(),
            paranoid: prof_sampler::paranoid(),
            kptr_restrict: settings::sysctl("kptr_restrict"),
            ptrace_scope: settings::sysctl("yama/ptrace_scope"),
            seccomp: number("Seccomp"),
            program: program.display().to_string(),
            together: &[],
        }
    }

    /// Whether it has a capability that counts. Where `/proc` does not tell, root has them.
    pub fn has(&self, capability: Capability) -> bool {
        match self.capabilities {
            _ if self.own_users => false,
            Some(set) => set & 1 << capability.0 != 0,
            None => self.user == 0,
        }
    }

    /// Whether it is root as the host knows him.
    fn is_root(&self) -> bool {
        self.user == 0 && !self.own_users
    }

    /// How settings are written, as a command for who can.
    pub fn sysctl(&self, settings: &str) -> String {
        match () {
            () if self.may_set => format!("`sysctl {settings}`"),
            () if self.user == 0 || self.own_users => format!("`sysctl {settings}` on the host"),
            () if !self.may_gain || !self.has_sudo => format!("as root `sysctl {settings}`"),
            () => format!("`sudo sysctl {settings}`"),
        }
    }

    /// How this program gets capabilities that it has not; `None` if it has them, or there is no way here.
    pub fn capabilities(&self, wanted: &[Capability]) -> Option<String> {
        let missing: Vec<_> = wanted.iter().filter(|&&it| !self.has(it)).collect();
        if missing.is_empty() || self.own_users {
            return None;
        }
        if self.is_root() {
            let options = missing.iter().map(|it| it.name().to_uppercase());
            let options: Vec<_> = options.map(|name| format!("--cap-add {name}")).collect();
            return Some(format!("start the container with `{}`", options.join(" ")));
        }
        let upper = missing
            .iter()
            .map(|it| format!("CAP_{}", it.name().to_uppercase()));
        let upper = upper.collect::<Vec<_>>().join(" and ");
        if !(self.may_gain && self.file_may_gain) {
            return Some(format!("start prof with {upper}"));
        }
        let all = Capability::KNOWN
            .iter()
            .filter(|(it, _)| self.has(*it) || wanted.contains(it) || self.together.contains(it));
        let all = all.map(|(_, name)| format!("cap_{name}"));
        let all = all.collect::<Vec<_>>().join(",");
        let sudo = if self.has_sudo { "sudo " } else { "" };
        let program = &self.program;
        Some(format!(
            "{upper} for prof: `{sudo}setcap {all}=ep {program}`"
        ))
    }

    /// How to be root; `None` for who is, and where nobody can become it.
    pub fn as_root(&self) -> Option<&'static str> {
        match () {
            () if self.user == 0 || self.own_users || !self.may_gain => None,
            () if self.has_sudo => Some("use sudo"),
            () => Some("run it as root"),
        }
    }

    /// How to be allowed what needs `kernel.perf_event_paranoid` to be `level` or lower, best first. Empty where
    /// that is not what forbids it.
    pub fn allow(&self, level: i32) -> Vec<String> {
        let mut ways = Vec::new();
        if self.has(Capability::PERFMON) || self.has(Capability::SYS_ADMIN) {
            return ways;
        }
        if self.paranoid.is_some_and(|present| present > level) {
            ways.push(self.sysctl(&format!("kernel.perf_event_paranoid={level}")));
        }
        ways.extend(self.capabilities(&[Capability::PERFMON]));
        ways
    }

    /// How to be shown the addresses of the kernel. Empty where they are shown.
    pub fn kernel_addresses(&self) -> Vec<String> {
        let hidden = self.kptr_restrict.unwrap_or(0);
        let may = self.has(Capability::SYSLOG);
        let mut settings = Vec::new();
        let mut ways = Vec::new();
        match (hidden, may) {
            (2.., true) => settings.push("kernel.kptr_restrict=1"),
            (1.., false) => settings.push("kernel.kptr_restrict=0"),
            _ => {}
        }
        if !may && self.paranoid.is_some_and(|level| level > 1) {
            settings.push("kernel.perf_event_paranoid=1");
        }
        if !settings.is_empty() {
            ways.push(self.sysctl(&settings.join(" ")));
        }
        if hidden < 2 {
            ways.extend(self.capabilities(&[Capability::SYSLOG]));
        }
        ways
    }

    /// Why it is not told more: `/proc` is not there, or somebody else's.
    pub fn blind(&self) -> Option<(&'static str, &'static str)> {
        match self.proc {
            ProcFolder::Own => None,
            ProcFolder::Missing => Some((
                "/proc is not mounted here",
                "mount it: `mount -t proc proc /proc`",
            )),
            ProcFolder::Foreign => Some((
                "/proc is of another process namespace: its numbers are not those of this one",
                "mount this one's: `mount -t proc proc /proc`, or start with \
                 `unshare --mount-proc`",
            )),
        }
    }

    /// How so many files may be open, where this process has raised its own limit as far as it may.
    pub fn open_files(&self, wanted: u64) -> String {
        let most = settings::number("/proc/sys/fs/nr_open").unwrap_or(u64::MAX);
        let first = match wanted > most {
            true => format!("{}, then ", self.sysctl(&format!("fs.nr_open={wanted}"))),
            false => String::new(),
        };
        match self.has(Capability::SYS_RESOURCE) {
            true => format!("{first}`ulimit -n {wanted}`"),
            false => format!(
                "{first}`ulimit -n {wanted}` by root before prof starts (the hard limit), \
                 `LimitNOFILE={wanted}` of its unit, or `--ulimit nofile={wanted}` of its container"
            ),
        }
    }

    /// Why `perf_event_open` itself is forbidden, and what to do.
    pub fn filter(&self) -> (&'static str, Vec<String>) {
        let on_host = "run prof on the host, with the process id that the host shows";
        if self.seccomp == Some(0) {
            let why = "there is no perf_event_open here, and no filter either: a sandbox such as gVisor, or a \
                       kernel without it";
            return (why, vec![on_host.to_owned()]);
        }
        let profile =
            "a seccomp profile that allows perf_event_open, `--security-opt seccomp=FILE`";
        let is_less = self.user == 0 && !self.own_users && !self.has(Capability::PERFMON);
        let start = match is_less {
            true => format!("start the container with `--cap-add PERFMON`, or {profile}"),
            false => format!("start the container with {profile}"),
        };
        let why = "a seccomp filter forbids perf_event_open here, as containers have it by default";
        (why, vec![start, format!("or {on_host}")])
    }
}

fn proc_folder() -> ProcFolder {
    let itself = fs::read_link("/proc/self");
    let own = std::process::id().to_string();
    match itself {
        Ok(number) if number == Path::new(&own) => ProcFolder::Own,
        Ok(_) => ProcFolder::Foreign,
        Err(_) if Path::new("/proc/stat").exists() => ProcFolder::Foreign,
        Err(_) => ProcFolder::Missing,
    }
}

/// Whether a namespace is another than the first one, whose number the kernel's interface promises.
fn is_own_namespace(kind: &str, first: u32) -> bool {
    let link = fs::read_link(format!("/proc/self/ns/{kind}"));
    link.is_ok_and(|link| link != Path::new(&format!("{kind}:[{first}]")))
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An ordinary user at the usual settings.
    pub fn user() -> Present {
        Present {
            user: 1000,
            capabilities: Some(0),
            own_users: false,
            own_processes: false,
            may_gain: true,
            file_may_gain: true,
            may_set: false,
            has_sudo: true,
            proc: ProcFolder::Own,
            paranoid: Some(2),
            kptr_restrict: Some(1),
            ptrace_scope: None,
            seccomp: Some(0),
            program: "/usr/bin/prof".to_owned(),
            together: &[],
        }
    }

    /// Root of the machine.
    pub fn root() -> Present {
        Present {
            user: 0,
            capabilities: Some(u64::MAX),
            may_set: true,
            ..user()
        }
    }

    #[test]
    fn no_level_is_asked_for_that_is_there_already() {
        let allow = |paranoid, level| {
            let present = Present { paranoid, ..user() };
            present.allow(level).join("; ")
        };
        for level in -1..=2 {
            for present in -1..=level {
                assert!(!allow(Some(present), level).contains("sysctl"));
            }
            for present in level + 1..=4 {
                let asked = format!("`sudo sysctl kernel.perf_event_paranoid={level}`");
                assert!(allow(Some(present), level).starts_with(&asked));
            }
        }
        assert!(!allow(None, 1).contains("sysctl"));
        assert!(root().allow(-1).is_empty());
    }

    #[test]
    fn no_kptr_restrict_is_asked_for_that_is_there_already() {
        let ways = |kptr, paranoid, present: Present| {
            let present = Present {
                kptr_restrict: Some(kptr),
                paranoid: Some(paranoid),
                ..present
            };
            present.kernel_addresses().join("; ")
        };
        assert!(ways(1, 1, user()).starts_with("`sudo sysctl kernel.kptr_restrict=0`"));
        let both = "`sudo sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1`";
        assert!(ways(1, 2, user()).starts_with(both));
        assert!(ways(0, 2, user()).starts_with("`sudo sysctl kernel.perf_event_paranoid=1`"));
        assert!(!ways(0, 1, user()).contains("sysctl"));
        assert!(!ways(2, 2, user()).contains("setcap")); // hidden from those, too
        assert_eq!(ways(2, 2, root()), "`sysctl kernel.kptr_restrict=1`");
        assert_eq!(ways(1, 2, root()) + &ways(0, 4, root()), "");
    }

    #[test]
    fn root_is_not_told_to_be_root() {
        assert_eq!(user().as_root(), Some("use sudo"));
        let without = Present {
            has_sudo: false,
            ..user()
        };
        assert_eq!(without.as_root(), Some("run it as root"));
        assert_eq!(root().as_root(), None);
        let of_namespace = Present {
            own_users: true,
            ..root()
        };
        assert_eq!(of_namespace.as_root(), None);
        let locked = Present {
            may_gain: false,
            ..user()
        };
        assert_eq!(locked.as_root(), None);
    }

    #[test]
    fn capabilities_are_asked_for_where_they_count_and_are_missing() {
        let wanted = [Capability::PERFMON, Capability::SYS_PTRACE];
        assert_eq!(root().capabilities(&wanted), None);
        let asked = user().capabilities(&wanted).unwrap();
        assert!(asked.ends_with("`sudo setcap cap_perfmon,cap_sys_ptrace=ep /usr/bin/prof`"));
        let with_some = Present {
            capabilities: Some(1 << Capability::PERFMON.0),
            together: &[Capability::SYSLOG],
            ..user()
        };
        let asked = with_some.capabilities(&wanted).unwrap();
        assert!(asked.starts_with("CAP_SYS_PTRACE for prof"), "{asked}");
        assert!(
            asked.contains("setcap cap_perfmon,cap_sys_ptrace,cap_syslog=ep"),
            "{asked}"
        );
        let in_container = Present {
            capabilities: Some(1 << Capability::SYS_PTRACE.0),
            may_set: false,
            ..root()
        };
        let asked = in_container.capabilities(&wanted).unwrap();
        assert_eq!(asked, "start the container with `--cap-add PERFMON`");
        let level = in_container.allow(1);
        assert_eq!(
            level[0],
            "`sysctl kernel.perf_event_paranoid=1` on the host"
        );
        let of_namespace = Present {
            own_users: true,
            may_set: false,
            ..root()
        };
        assert_eq!(of_namespace.capabilities(&wanted), None);
        let locked = Present {
            may_gain: false,
            ..user()
        };
        assert!(!locked.capabilities(&wanted).unwrap().contains("setcap"));
        assert!(!locked.sysctl("x=1").contains("sudo"));
    }

    #[test]
    fn this_process_is_known_to_itself() {
        let present = Present::look();
        assert_eq!(present.proc, ProcFolder::Own);
        assert_eq!(present.blind(), None);
        assert!(present.capabilities.is_some() && present.paranoid.is_some());
    }
}
