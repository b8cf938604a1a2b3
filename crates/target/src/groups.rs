//! Groups of processes that have a cgroup: containers, units, and cgroups themselves.
//!
//! In: a name. Out: those who may be meant, with their cgroups. Elsewhere: what else may be asked (`find.rs`).

use std::path::{Path, PathBuf};

use prof_sampler::{Cgroup, proc};

use crate::cgroups::{self, Hierarchy, groups, text_of};
use crate::containers::{self, is_container, short};
use crate::find::{Candidate, Found, is_hex};
use crate::not_found::NotFound;
use crate::runtimes::{self, Named};

/// The containers with a name, an id or the beginning of one.
pub(crate) fn by_container(text: &str) -> Result<Found, NotFound> {
    const FEWEST: usize = 3; // as people type them where an id is expected
    let named = runtimes::all(Path::new("/"));
    let is_prefix = is_hex(text, FEWEST);
    let is_it = |id: &str| id == text || (is_prefix && id.starts_with(text));
    let of_name = |it: &&Named| it.names.iter().any(|name| name == text);
    let ids: Vec<_> = named.iter().filter(of_name).map(|it| &it.id).collect();
    let found = containers_with(|id| ids.iter().any(|it| *it == id), &named);
    found
        .or_else(|| containers_with(is_it, &named))
        .ok_or_else(|| NotFound::Container {
            text: text.to_owned(),
            known: containers::all()
                .keys()
                .map(|id| container_name(id, &named))
                .collect(),
        })
}

/// `3f2a91c04d5e (web)`
fn container_name(id: &str, named: &[Named]) -> String {
    let named = named.iter().find(|it| it.id == id);
    match named.and_then(|it| it.names.last()) {
        Some(name) => format!("{} ({name})", short(id)),
        None => short(id).to_owned(),
    }
}

/// The containers whose full id is one of those.
pub(crate) fn containers_with(is_it: impl Fn(&str) -> bool, named: &[Named]) -> Option<Found> {
    let mut all = containers::all();
    all.retain(|id, _| is_it(id));
    let names: Vec<_> = all.keys().map(|id| container_name(id, named)).collect();
    let hierarchies = Hierarchy::mounted();
    let candidates = all.into_values().map(|processes| {
        let text = processes.first().map(|pid| text_of(pid.0));
        let folder = cgroups::folder(&hierarchies, &text.unwrap_or_default(), is_container);
        Candidate {
            cgroup: folder,
            processes,
        }
    });
    (!names.is_empty()).then(|| Found {
        what: Some(format!("of container {}", names.join(", "))),
        candidates: candidates.collect(),
    })
}

/// A unit of systemd.
pub(crate) fn by_unit(name: &str) -> Result<Found, NotFound> {
    const SUFFIXES: [&str; 5] = [".service", ".scope", ".slice", ".socket", ".mount"];
    let has_suffix = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    let name = match has_suffix {
        true => name.to_owned(),
        false => format!("{name}.service"),
    };
    let mut processes = Vec::new();
    let mut folder = None;
    let mut units: Vec<String> = Vec::new();
    let hierarchies = Hierarchy::mounted();
    for pid in proc::processes().unwrap_or_default() {
        let text = text_of(pid.0);
        if groups(&text).any(|group| group.path.split('/').any(|part| part == name)) {
            processes.push(pid);
            folder = folder.or_else(|| cgroups::folder(&hierarchies, &text, |it| it == name));
        }
        let parts = groups(&text).flat_map(|group| group.path.split('/'));
        units.extend(
            parts
                .filter(|it| it.ends_with(".service"))
                .map(str::to_owned),
        );
    }
    if processes.is_empty() {
        units.sort();
        units.dedup();
        let plain = name.trim_end_matches(".service");
        units.retain(|unit| unit.contains(plain) || strsim::damerau_levenshtein(unit, &name) <= 2);
        return Err(NotFound::Unit { name, near: units });
    }
    Ok(Found {
        what: Some(format!("of unit {name}")),
        candidates: vec![Candidate {
            processes,
            cgroup: folder,
        }],
    })
}

/// A cgroup by its path or its folder.
pub(crate) fn by_cgroup(path: &str) -> Result<Found, NotFound> {
    let hierarchies = Hierarchy::mounted();
    let is_folder = |folder: &PathBuf| folder.join("cgroup.procs").exists();
    let mut tried: Vec<_> = hierarchies.iter().map(|it| it.folder(path)).collect();
    let is_whole = hierarchies
        .iter()
        .any(|it| Path::new(path).starts_with(it.mount()));
    if is_whole {
        tried = vec![PathBuf::from(path)];
    }
    let Some(folder) = tried.iter().find(|it| is_folder(it)).cloned() else {
        return Err(NotFound::Cgroup {
            path: path.to_owned(),
            tried,
        });
    };
    let cgroup = Cgroup::open(&folder).map_err(|source| NotFound::Unreadable {
        path: folder.clone(),
        source,
    })?;
    Ok(Found {
        what: Some(format!("of cgroup {}", containers::with_short_ids(path))),
        candidates: vec![Candidate {
            processes: cgroup.members(),
            cgroup: Some(folder),
        }],
    })
}
