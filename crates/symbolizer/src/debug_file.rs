//! A file's separate debug file: by build-id, by `.gnu_debuglink`, and the file that both may share
//! (`.gnu_debugaltlink`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object::Object;
use prof_foreign_files::ForeignPath;
use prof_model::BuildId;

use crate::caches;
use crate::checksum::crc32;
use crate::elf::{read_build_id, same_build_id};
use crate::files::{FoundFile, map};

const DEBUG_ROOT: &str = "usr/lib/debug";
/// Without a build-id a debug file is read as a whole, for its checksum. A longer one is not: those have
/// build-ids, and who names it may only want us to read for hours.
const LONGEST_CHECKED: u64 = 512 << 20;
/// So many bytes are read for checksums as long as this process runs: hundreds of debug files.
static LEFT_TO_CHECK: AtomicU64 = AtomicU64::new(4 << 30);

/// The debug file that belongs to `file`, which processes know as `name`.
///
/// One whose build-id is another is never taken; without a build-id the checksum in
/// `.gnu_debuglink` must fit, as far as the files are that it is computed of.
pub(crate) fn find(file: &FoundFile, name: &Path, symfs: Option<&Path>) -> Option<FoundFile> {
    let bytes: &[u8] = (*file.image).as_ref();
    let object = object::File::parse(bytes).ok()?;
    let roots = roots(&file.path, symfs);
    let wanted = file.build_id;

    let by_id = wanted.into_iter().flat_map(|id| {
        let name = format!("{DEBUG_ROOT}/.build-id/{}.debug", caches::split(id));
        let below = |root: &PathBuf| ForeignPath::below(root, Path::new(&name));
        roots.iter().map(below).collect::<Vec<_>>()
    });
    let cached = wanted.into_iter().flat_map(caches::debug_files);
    let cached = cached.map(|path| ForeignPath::at(&path));
    if let Some(found) = by_id
        .chain(cached)
        .find_map(|place| open(&place, wanted, None))
    {
        return Some(found);
    }
    let (link, checksum) = object.gnu_debuglink().ok()??;
    let link = Path::new(OsStr::from_bytes(link));
    let mut candidates = Vec::new();
    let directory = name.parent().unwrap_or(Path::new("/"));
    let inside = directory.strip_prefix("/").unwrap_or(directory);
    let own = ForeignPath::known(&file.path, symfs);
    let in_roots = roots.iter().map(|root| ForeignPath::below(root, name));
    for program in std::iter::once(own).chain(in_roots) {
        candidates.extend(program.beside(link));
        candidates.extend(program.beside(&Path::new(".debug").join(link)));
    }
    // Where /lib is a link to /usr/lib, packages use either name.
    let merged = match inside.strip_prefix("usr") {
        Ok(without) => without.to_owned(),
        Err(_) => Path::new("usr").join(inside),
    };
    for root in &roots {
        for directory in [inside, &merged] {
            let path = Path::new(DEBUG_ROOT).join(directory).join(link);
            candidates.push(ForeignPath::below(root, &path));
        }
    }
    let mut tried = Vec::new();
    candidates.into_iter().find_map(|place| {
        if tried.contains(&place) {
            return None;
        }
        let found = open(&place, wanted, Some(checksum));
        tried.push(place);
        found
    })
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
    let beside = ForeignPath::known(&file.path, symfs).beside(link);
    let by_id = format!("{DEBUG_ROOT}/.build-id/{}.debug", caches::split(wanted));
    let mut candidates: Vec<_> = beside.into_iter().collect();
    for root in roots(&file.path, symfs) {
        if link.is_absolute() {
            candidates.push(ForeignPath::below(&root, link));
        }
        candidates.push(ForeignPath::below(&root, Path::new(&by_id)));
    }
    candidates
        .iter()
        .find_map(|place| open(place, Some(wanted), None))
}

/// Where `file`, which processes know as `name`, may lie: split debug info lies beside it.
pub(crate) fn program_places(
    file: &FoundFile,
    name: &Path,
    symfs: Option<&Path>,
) -> Vec<ForeignPath> {
    let mut places = vec![ForeignPath::known(&file.path, symfs)];
    let roots = roots(&file.path, symfs);
    places.extend(roots.iter().map(|root| ForeignPath::below(root, name)));
    places.dedup();
    places
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

fn open(place: &ForeignPath, wanted: Option<BuildId>, checksum: Option<u32>) -> Option<FoundFile> {
    let image = map(place).ok()?;
    let build_id = read_build_id(image.as_ref());
    let fits = || match (wanted, build_id, checksum) {
        (Some(wanted), Some(found), _) => same_build_id(wanted, found),
        (_, _, Some(checksum)) => has_checksum(image.as_ref(), checksum, &LEFT_TO_CHECK),
        _ => false,
    };
    let has_tables = || {
        let object = object::File::parse(image.as_ref()).ok()?;
        let has = |name| object.section_by_name(name).is_some();
        Some(has(".symtab") || has(".debug_info"))
    };
    (has_tables()? && fits()).then(|| FoundFile {
        image: Arc::new(image),
        path: place.path(),
        build_id,
    })
}

/// Whether the checksum of a file is this one; not if it is too long to tell, or `left` is used up.
fn has_checksum(bytes: &[u8], checksum: u32, left: &AtomicU64) -> bool {
    let len = bytes.len() as u64;
    let take = |left: u64| left.checked_sub(len);
    let may_be_read = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    };
    len <= LONGEST_CHECKED && may_be_read() && crc32(bytes) == checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_for_checksums_than_is_left() {
        let left = AtomicU64::new(20);
        let check = |bytes| has_checksum(bytes, 0xcbf4_3926, &left);
        assert!(check(b"123456789"));
        assert!(!check(b"12345678"));
        assert!(!check(b"123456789")); // of 20 bytes 3 are left
        assert_eq!(left.load(Ordering::Relaxed), 3);
    }

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
