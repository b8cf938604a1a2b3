//! Whose files are believed. What a file says of a process counts only if nobody else could have written it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Who a process runs as, in the numbers that files show to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its effective user, who owns what it writes.
    pub user: u32,
    /// Its effective group.
    pub group: u32,
}

/// Why a file that tells of a process is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It belongs to another user, who is not root either.
    #[error("it belongs to user {owner}, not to {}", user_or_root(*.wanted))]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// Others may write to it.
    #[error("others may write to it")]
    Writable,
}

fn user_or_root(user: u32) -> String {
    match user {
        0 => "root".to_owned(),
        user => format!("user {user} or root"),
    }
}

impl Writer {
    /// From `/proc/PID/status`. Capabilities and real ids do not matter: who starts a setuid program is not
    /// who it runs as.
    pub fn of_status(status: &str) -> Option<Self> {
        let effective = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        Some(Self {
            user: effective("Uid:")?,
            group: effective("Gid:")?,
        })
    }

    /// Ourselves.
    pub fn ourselves() -> Self {
        Self {
            user: nix::unistd::geteuid().as_raw(),
            group: nix::unistd::getegid().as_raw(),
        }
    }

    /// Why `file` may be of somebody else. What members of the process's own group may write is believed:
    /// where each user has a group, files are writable by it.
    pub fn doubt(self, file: &Metadata) -> Option<Doubt> {
        let owner = file.uid();
        if owner != self.user && owner != 0 {
            let wanted = self.user;
            return Some(Doubt::Owner { owner, wanted });
        }
        let by_others = file.mode() & 0o002 != 0;
        let by_group = file.mode() & 0o020 != 0 && file.gid() != self.group && file.gid() != 0;
        (by_others || by_group).then_some(Doubt::Writable)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_believed_of_its_owner_if_only_that_one_and_its_group_may_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = |mode| {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            fs::metadata(file.path()).unwrap()
        };
        let own = Writer::ourselves();
        for mode in [0o600, 0o644, 0o664] {
            assert_eq!(own.doubt(&metadata(mode)), None, "{mode:o}");
        }
        assert_eq!(own.doubt(&metadata(0o666)), Some(Doubt::Writable));
        let other = Writer { user: 7, group: 7 };
        let owner = metadata(0o600).uid();
        let expected = (owner != 0).then_some(Doubt::Owner { owner, wanted: 7 });
        assert_eq!(other.doubt(&metadata(0o644)), expected);
    }

    #[test]
    fn the_effective_ids_of_a_process_are_the_second_ones() {
        let status = "Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1000\t7\t7\t7\n";
        assert_eq!(
            Writer::of_status(status),
            Some(Writer { user: 0, group: 7 })
        );
        assert_eq!(Writer::of_status("Name:\tx\n"), None);
    }
}
