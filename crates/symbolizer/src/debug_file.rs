//! A file's separate debug file: by build-id, by `.gnu_debuglink`, and the file that both may share
//! (`.gnu_debugaltlink`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object::Object;
use prof_foreign_files::{ForeignPath, Refused};
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
    let candidates = candidates(file, name, symfs);
    candidates.iter().find_map(|it| it.open(file.build_id).ok())
}

/// What lies in the place of a debug file, and why it is not read.
pub(crate) fn refused(file: &FoundFile, name: &Path) -> Option<(PathBuf, Refused)> {
    let candidates = candidates(file, name, None);
    candidates
        .iter()
        .find_map(|it| match it.open(file.build_id) {
            Ok(_) | Err(None | Some(Refused::Absent | Refused::Unreadable(_))) => None,
            Err(Some(refused)) => Some((it.place.path(), refused)),
        })
}

/// A place where a debug file may lie.
#[derive(PartialEq, Eq)]
struct Candidate {
    place: ForeignPath,
    checksum: Option<u32>, // that it has to have without a build-id
}

/// All of them, those that are named after a build-id first.
fn candidates(file: &FoundFile, name: &Path, symfs: Option<&Path>) -> Vec<Candidate> {
    let roots = roots(&file.path, symfs);
    let mut all = Vec::new();
    let mut add = |place, checksum| {
        let candidate = Candidate { place, checksum };
        if !all.contains(&candidate) {
            all.push(candidate);
        }
    };
    if let Some(id) = file.build_id {
        let name = format!("{DEBUG_ROOT}/.build-id/{}.debug", caches::split(id));
        let by_id = roots
            .iter()
            .map(|root| ForeignPath::below(root, Path::new(&name)));
        by_id.for_each(|place| add(place, None));
        let cached = caches::debug_files(id).into_iter();
        cached.for_each(|path| add(ForeignPath::at(&path), None));
    }
    let bytes: &[u8] = (*file.image).as_ref();
    let object = object::File::parse(bytes).ok();
    let link = object.as_ref().and_then(|it| it.gnu_debuglink().ok()?);
    let Some((link, checksum)) = link else {
        return all;
    };
    let link = Path::new(OsStr::from_bytes(link));
    let mut add = |place| add(place, Some(checksum));
    let own = ForeignPath::known(&file.path, symfs);
    let in_roots = roots.iter().map(|root| ForeignPath::below(root, name));
    for program in std::iter::once(own).chain(in_roots) {
        program.beside(link).map(&mut add);
        program
            .beside(&Path::new(".debug").join(link))
            .map(&mut add);
    }
    let directory = name.parent().unwrap_or(Path::new("/"));
    let inside = directory.strip_prefix("/").unwrap_or(directory);
    // Where /lib is a link to /usr/lib, packages use either name.
    let merged = match inside.strip_prefix("usr") {
        Ok(without) => without.to_owned(),
        Err(_) => Path::new("usr").join(inside),
    };
    for root in &roots {
        for directory in [inside, &merged] {
            let path = Path::new(DEBUG_ROOT).join(directory).join(link);
            add(ForeignPath::below(root, &path));
        }
    }
    all
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
    candidates.into_iter().find_map(|place| {
        let checksum = None;
        Candidate { place, checksum }.open(Some(wanted)).ok()
    })
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

impl Candidate {
    /// Opens it, if it belongs to a file with this build-id.
    ///
    /// # Errors
    /// Why it is not read; nothing if it is another file's.
    fn open(&self, wanted: Option<BuildId>) -> Result<FoundFile, Option<Refused>> {
        let image = map(&self.place)?;
        let build_id = read_build_id(image.as_ref());
        let object = object::File::parse(image.as_ref()).map_err(|_| None)?;
        let has = |name| object.section_by_name(name).is_some();
        if !has(".symtab") && !has(".debug_info") {
            return Err(None);
        }
        let fits = match (wanted, build_id, self.checksum) {
            (Some(wanted), Some(found), _) => same_build_id(wanted, found),
            (_, _, Some(checksum)) => has_checksum(image.as_ref(), checksum, &LEFT_TO_CHECK)?,
            _ => false,
        };
        match fits {
            true => Ok(FoundFile {
                image: Arc::new(image),
                path: self.place.path(),
                build_id,
            }),
            false => Err(None),
        }
    }
}

/// Whether the checksum of a file is this one.
///
/// # Errors
/// [`Refused::TooLarge`] if it is too long to tell, or `left` is used up.
fn has_checksum(bytes: &[u8], checksum: u32, left: &AtomicU64) -> Result<bool, Refused> {
    let len = bytes.len() as u64;
    let take = |left: u64| left.checked_sub(len);
    let is_left = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    };
    match len <= LONGEST_CHECKED && is_left() {
        true => Ok(crc32(bytes) == checksum),
        false => Err(Refused::TooLarge(len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_for_checksums_than_is_left() {
        let left = AtomicU64::new(20);
        let check = |bytes| has_checksum(bytes, 0xcbf4_3926, &left);
        assert!(matches!(check(b"123456789"), Ok(true)));
        assert!(matches!(check(b"12345678"), Ok(false)));
        assert!(matches!(check(b"123456789"), Err(Refused::TooLarge(9)))); // of 20 bytes 3 are left
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
