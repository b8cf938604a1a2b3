//! Containers, by the names of cgroups.
//!
//! In: processes. Out: in which container each is. Elsewhere: the names that people gave them (`runtimes.rs`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prof_foreign_files::{ForeignFile, ForeignPath, Purpose};
use prof_model::Pid;
use prof_sampler::proc;

use crate::cgroups::{groups, text_of, up_to};

/// So much of an id tells containers apart, and is what runtimes print.
const SHORT: usize = 12;

/// The container of a process or thread, as `3f2a91c04d5e` with its host name, or `of its own`; `None` if we
/// are in the same.
pub fn container_of(task: i32) -> Option<String> {
    let root = |task: &str| fs::read_link(format!("/proc/{task}/ns/mnt")).ok();
    if root(&task.to_string())? == root("self")? {
        return None;
    }
    let id = container_id(&text_of(task)).unwrap_or_default();
    let name = host_name(task).unwrap_or_default();
    let words = [id.as_str(), name.trim()];
    let words: Vec<_> = words.into_iter().filter(|it| !it.is_empty()).collect();
    match words.as_slice() {
        [] => Some("of its own".to_owned()),
        // Docker names a container after its id.
        [id, name] if id == name => Some((*id).to_owned()),
        words => Some(words.join(" ")),
    }
}

/// What a process's own `/etc/hostname` says.
fn host_name(task: i32) -> Option<String> {
    let path = format!("/proc/{task}/root/etc/hostname");
    let file = ForeignFile::open(&ForeignPath::at(Path::new(&path)), Purpose::Line).ok()?;
    String::from_utf8(file.read_whole(Purpose::Line).ok()?).ok()
}

/// The container that the text of a `/proc/PID/cgroup` names: the first 12 digits of its id, or the name of a
/// machine. Of containers in others the innermost.
pub fn container_id(text: &str) -> Option<String> {
    full_id(text).map(|id| short(&id).to_owned())
}

/// The same with all digits.
pub(crate) fn full_id(text: &str) -> Option<String> {
    groups(text).find_map(|group| {
        let path = up_to(group.path, is_container)?;
        id_of_part(path.rsplit('/').next()?)
    })
}

/// Whether a part of a path names a container.
pub(crate) fn is_container(part: &str) -> bool {
    id_of_part(part).is_some()
}

/// So much of an id as is shown.
pub(crate) fn short(id: &str) -> &str {
    if is_id(id) { &id[..SHORT] } else { id }
}

/// A path whose ids are cut to what is shown of them.
pub(crate) fn with_short_ids(path: &str) -> String {
    let parts = path.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let shortened = parts.map(|part| {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        part.replacen(word, short(word), 1)
    });
    shortened.collect()
}

fn is_id(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit())
}

/// The container that one part of a path names: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `libpod-ID.scope`, `ID`, `systemd-nspawn@NAME.service`, `machine-NAME.scope`, `lxc.payload.NAME`. Monitors of
/// containers and pods are none.
fn id_of_part(part: &str) -> Option<String> {
    if part.contains("conmon") || part.starts_with("libpod_pod_") {
        return None;
    }
    let words = part.split(|c: char| !c.is_ascii_alphanumeric());
    if let Some(id) = words.into_iter().find(|word| is_id(word)) {
        return Some(id.to_owned());
    }
    let between = |before: &str, after: &str| part.strip_prefix(before)?.strip_suffix(after);
    let name = between("systemd-nspawn@", ".service")
        .or_else(|| between("machine-", ".scope"))
        .or_else(|| part.strip_prefix("lxc.payload."))?;
    Some(name.replace(r"\x2d", "-"))
}

/// The containers that have processes, by their full ids.
pub(crate) fn all() -> BTreeMap<String, Vec<Pid>> {
    let mut containers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pid in proc::processes().unwrap_or_default() {
        if let Some(id) = full_id(&text_of(pid.0)) {
            containers.entry(id).or_default().push(pid);
        }
    }
    containers
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a91c04d5e0123456789abcdef0123456789abcdef0123456789abcdef0123";
    const OTHER: &str = "aaaa91c04d5e0123456789abcdef0123456789abcdef0123456789abcdef0123";

    #[test]
    fn a_container_is_known_by_its_id_under_every_runtime() {
        for path in [
            "0::/system.slice/docker-ID.scope",
            "3:cpu,cpuacct:/docker/ID",
            "3:cpu,cpuacct:/kubepods/burstable/pod1/ID",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "11:memory:/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:ID",
            "0::/kubepods.slice/kubepods-pod1.slice/crio-ID.scope/container",
            "0::/machine.slice/libpod-ID.scope/container",
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "0::/machine.slice/libpod_pod_OTHER.slice/libpod-ID.scope",
            "2:cpu:/docker/OTHER/kubelet/kubepods/pod7/ID",
            "0::/system.slice/nerdctl-ID.scope",
            // hybrid: the processes of version 1 are at the root of version 2
            "1:name=systemd:/docker/ID\n0::/",
        ] {
            let text = format!("{}\n", path.replace("ID", ID).replace("OTHER", OTHER));
            assert_eq!(
                container_id(&text),
                Some("3f2a91c04d5e".to_owned()),
                "{path}"
            );
        }
    }

    #[test]
    fn machines_are_known_by_their_names() {
        for (path, name) in [
            ("/machine.slice/systemd-nspawn@web.service/payload", "web"),
            (r"/machine.slice/machine-my\x2dvm.scope", "my-vm"),
            ("/lxc.payload.db/system.slice", "db"),
        ] {
            let text = format!("0::{path}\n");
            assert_eq!(container_id(&text).as_deref(), Some(name));
        }
    }

    #[test]
    fn services_pods_and_monitors_are_no_containers() {
        for path in [
            "/user.slice",
            "/",
            "/system.slice/nginx.service",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/crio-conmon-ID.scope",
            "/machine.slice/libpod_pod_ID.slice",
            "/kubepods.slice/kubepods-pod1f2e.slice",
        ] {
            let text = format!("0::{}\n", path.replace("ID", ID));
            assert_eq!(container_id(&text), None, "{path}");
        }
    }

    #[test]
    fn the_group_of_a_container_is_above_those_that_it_makes() {
        let path = format!("/docker/{ID}/init.scope/x");
        assert_eq!(up_to(&path, is_container), Some(&path[..8 + 64]));
        assert_eq!(with_short_ids(&path), "/docker/3f2a91c04d5e/init.scope/x");
    }

    #[test]
    fn this_process_is_in_no_other_container_than_we() {
        assert_eq!(container_of(std::process::id() as i32), None);
    }
}
