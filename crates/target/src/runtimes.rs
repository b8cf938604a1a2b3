//! The names that people gave to containers, from the files in which runtimes keep their state.
//!
//! In: the root of a file system. Out: ids and names. Readable by root, or by whose containers they are; where
//! they are not, containers have only their ids. No daemon is asked.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What is larger is not what we look for.
const LARGEST_FILE: u64 = 4 << 20;
/// So many containers, and no more, are looked at in a folder.
const MOST_ENTRIES: usize = 4096;

/// A container and all that it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
}

/// All containers whose names can be read below a root, which is `/` but for tests.
pub(crate) fn all(root: &Path) -> Vec<Named> {
    let mut found = docker(&root.join("var/lib/docker/containers"));
    found.extend(containerd(
        &root.join("run/containerd/io.containerd.runtime.v2.task"),
    ));
    found.extend(crio(
        &root.join("run/containers/storage/overlay-containers"),
    ));
    let homes = entries(&root.join("home")).chain([root.join("root")]);
    let of_users = homes.map(|home| home.join(".local/share/containers"));
    for containers in of_users.chain([root.join("var/lib/containers")]) {
        let folder = containers.join("storage/overlay-containers");
        for file in ["containers.json", "volatile-containers.json"] {
            found.extend(podman(&folder.join(file)));
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .take(MOST_ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.path()))
}

fn json(file: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    let file = fs::File::open(file).ok()?;
    file.take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn id_of(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_str()?.to_owned())
}

/// `ID/config.v2.json` has `"Name": "/web"`.
fn docker(folder: &Path) -> Vec<Named> {
    let named = entries(folder).filter_map(|container| {
        let config = json(&container.join("config.v2.json"))?;
        let name = config.get("Name")?.as_str()?.trim_start_matches('/');
        Some(Named {
            id: id_of(&container)?,
            names: vec![name.to_owned()],
        })
    });
    named.collect()
}

/// `NAMESPACE/ID/config.json`; Kubernetes and nerdctl leave their names in its annotations.
fn containerd(folder: &Path) -> Vec<Named> {
    let containers = entries(folder).flat_map(|namespace| entries(&namespace));
    let named = containers.filter_map(|container| {
        let config = json(&container.join("config.json"))?;
        named_by_annotations(
            id_of(&container)?,
            &config,
            &["io.kubernetes.cri.container-name", "nerdctl/name"],
            "io.kubernetes.cri.sandbox-name",
        )
    });
    named.collect()
}

/// `ID/userdata/config.json`, with annotations as well.
fn crio(folder: &Path) -> Vec<Named> {
    let named = entries(folder).filter_map(|container| {
        let config = json(&container.join("userdata/config.json"))?;
        named_by_annotations(
            id_of(&container)?,
            &config,
            &["io.kubernetes.container.name"],
            "io.kubernetes.pod.name",
        )
    });
    named.collect()
}

/// A container is called by its own name, and with that of its pod: `shop-7d9f/web`.
fn named_by_annotations(id: String, config: &Value, names: &[&str], pod: &str) -> Option<Named> {
    let annotations = config.get("annotations")?;
    let text = |key: &str| annotations.get(key)?.as_str();
    let name = names.iter().find_map(|key| text(key))?;
    let with_pod = text(pod).map(|pod| format!("{pod}/{name}"));
    Some(Named {
        id,
        names: std::iter::once(name.to_owned()).chain(with_pod).collect(),
    })
}

/// A list of `{"id": ..., "names": [...]}`.
fn podman(file: &Path) -> Vec<Named> {
    let list = json(file);
    let list = list
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let named = list.filter_map(|container| {
        let names = container.get("names")?.as_array()?;
        let names = names.iter().filter_map(|name| name.as_str());
        Some(Named {
            id: container.get("id")?.as_str()?.to_owned(),
            names: names.map(str::to_owned).collect(),
        })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn each_runtime_has_its_own_place_for_names() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (path, text) in [
            (
                "var/lib/docker/containers/d1/config.v2.json",
                r#"{"State": {"Pid": 7}, "ID": "d1", "Name": "/web"}"#,
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/k1/config.json",
                r#"{"annotations": {"io.kubernetes.cri.container-name": "api",
                    "io.kubernetes.cri.sandbox-name": "shop-7d9f"}}"#,
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/pause/config.json",
                r#"{"annotations": {"io.kubernetes.cri.sandbox-name": "shop-7d9f"}}"#,
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/default/n1/config.json",
                r#"{"annotations": {"nerdctl/name": "cache"}}"#,
            ),
            (
                "run/containers/storage/overlay-containers/c1/userdata/config.json",
                r#"{"annotations": {"io.kubernetes.container.name": "queue",
                    "io.kubernetes.pod.name": "mq-0"}}"#,
            ),
            (
                "var/lib/containers/storage/overlay-containers/containers.json",
                r#"[{"id": "p1", "names": ["db"], "image": "i"}, {"id": "p2"}]"#,
            ),
            (
                "home/ann/.local/share/containers/storage/overlay-containers/containers.json",
                r#"[{"id": "p3", "names": ["own", "mine"]}]"#,
            ),
            ("var/lib/docker/containers/d2/config.v2.json", "{"),
        ] {
            write(root, path, text);
        }
        let mut found: Vec<_> = all(root)
            .into_iter()
            .map(|it| format!("{} {}", it.id, it.names.join(" ")))
            .collect();
        found.sort();
        let expected = [
            "c1 queue mq-0/queue",
            "d1 web",
            "k1 api shop-7d9f/api",
            "n1 cache",
            "p1 db",
            "p3 own mine",
        ];
        assert_eq!(found, expected);
    }
}
