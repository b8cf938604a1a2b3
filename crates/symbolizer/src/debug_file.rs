//! A file's separate debug file: by build-id, by `.gnu_debuglink`, and the file that both may share
//! (`.gnu_debugaltlink`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::Object;
use prof_model::BuildId;

use crate::caches;
use crate::checksum::crc32;
use crate::elf::{read_build_id, same_build_id};
use crate::files::{FoundFile, open_regular};
use crate::mapped_file::MappedFile;

const DEBUG_ROOT: &str = "usr/lib/debug";

/// The debug file that belongs to `file`, which processes know as `name`.
///
/// One whose build-id is another is never taken; without a build-id the checksum in
/// `.gnu_debuglink` must fit.
pub(crate) fn find(file: &FoundFile, name: &Path, symfs: Option<&Path>) -> Option<FoundFile> {
    let bytes: &[u8] = (*file.image).as_ref();
    let object = object::File::parse(bytes).ok()?;
    let roots = roots(&file.path, symfs);
    let wanted = file.build_id;

    let by_id = wanted.into_iter().flat_map(|id| {
        let name = format!("{DEBUG_ROOT}/.build-id/{}.debug", caches::split(id));
        roots
            .iter()
            .map(move |root| root.join(&name))
            .collect::<Vec<_>>()
    });
    let cached = wanted.into_iter().flat_map(caches::debug_files);
    if let Some(found) = by_id
        .chain(cached)
        .find_map(|path| open(&path, wanted, None))
    {
        return Some(found);
    }
    let (link, checksum) = object.gnu_debuglink().ok()??;
    let link = Path::new(OsStr::from_bytes(link));
    let mut candidates = Vec::new();
    let directory = name.parent().unwrap_or(Path::new("/"));
    let inside = directory.strip_prefix("/").unwrap_or(directory);
    let beside = file.path.parent().map(Path::to_owned);
    for directory in beside
        .into_iter()
        .chain(roots.iter().map(|root| root.join(inside)))
    {
        candidates.extend([directory.join(link), directory.join(".debug").join(link)]);
    }
    // Where /lib is a link to /usr/lib, packages use either name.
    let merged = match inside.strip_prefix("usr") {
        Ok(without) => without.to_owned(),
        Err(_) => Path::new("usr").join(inside),
    };
    for root in &roots {
        let debug = root.join(DEBUG_ROOT);
        candidates.extend([
            debug.join(inside).join(link),
            debug.join(&merged).join(link),
        ]);
    }
    candidates
        .into_iter()
        .find_map(|path| open(&path, wanted, Some(checksum)))
}

/// Where the debug file of a program with this build-id is looked up first.
pub fn debug_file_path(build_id: BuildId) -> String {
    format!("/{DEBUG_ROOT}/.build-id/{}.debug", caches::split(build_id))
}

/// The supplementary file that `dwz` moved shared debug info of `file` to.
pub(crate) fn find_shared(file: &FoundFile, symfs: Option<&Path>) -> Option<FoundFile> {
    let bytes: &[u8] = (*file.image).as_ref();
    let object = object::File::parse(bytes).ok()?;
    let (link, id) = object.gnu_debugaltlink().ok()??;
    let wanted = BuildId::new(id)?;
    let link = Path::new(OsStr::from_bytes(link));
    let beside = file.path.parent().unwrap_or(Path::new("/")).join(link);
    let by_id = format!("{DEBUG_ROOT}/.build-id/{}.debug", caches::split(wanted));
    let mut candidates = vec![beside];
    for root in roots(&file.path, symfs) {
        candidates.extend(link.strip_prefix("/").map(|inside| root.join(inside)));
        candidates.push(root.join(&by_id));
    }
    candidates
        .into_iter()
        .find_map(|path| open(&path, Some(wanted), None))
}

/// The paths that `file`, which processes know as `name`, may have: split debug info lies beside it.
pub(crate) fn program_paths(file: &FoundFile, name: &Path, symfs: Option<&Path>) -> Vec<PathBuf> {
    let inside = name.strip_prefix("/").unwrap_or(name);
    let mut paths = vec![file.path.clone()];
    paths.extend(
        roots(&file.path, symfs)
            .iter()
            .map(|root| root.join(inside)),
    );
    paths.dedup();
    paths
}

/// Below which directories the usual paths are looked up: the root of the mount namespace that the
/// file was opened through, if it is another, and ours.
fn roots(path: &Path, symfs: Option<&Path>) -> Vec<PathBuf> {
    if let Some(symfs) = symfs {
        return vec![symfs.to_owned()];
    }
    let mut roots = Vec::new();
    if let Ok(inside) = path.strip_prefix("/proc")
        && let Some(process) = inside.components().next()
    {
        roots.push(Path::new("/proc").join(process).join("root"));
    }
    roots.push(PathBuf::from("/"));
    roots
}

fn open(path: &Path, wanted: Option<BuildId>, checksum: Option<u32>) -> Option<FoundFile> {
    let image = MappedFile::open(&open_regular(path)?).ok()?;
    let build_id = read_build_id(image.as_ref());
    let fits = match (wanted, build_id, checksum) {
        (Some(wanted), Some(found), _) => same_build_id(wanted, found),
        (_, _, Some(checksum)) => crc32(image.as_ref()) == checksum,
        _ => false,
    };
    let has_tables = || {
        let object = object::File::parse(image.as_ref()).ok()?;
        let has = |name| object.section_by_name(name).is_some();
        Some(has(".symtab") || has(".debug_info"))
    };
    (fits && has_tables()?).then(|| FoundFile {
        image: Arc::new(image),
        path: path.to_owned(),
        build_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_container_have_their_debug_files_looked_up_inside_first() {
        let roots = |path: &str| roots(Path::new(path), None);
        assert_eq!(
            roots("/proc/7/root/usr/bin/x"),
            [Path::new("/proc/7/root"), Path::new("/")]
        );
        assert_eq!(roots("/proc/7/exe"), roots("/proc/7/root/usr/bin/x"));
        assert_eq!(roots("/usr/bin/x"), [Path::new("/")]);
    }
}
