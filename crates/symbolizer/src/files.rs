use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prof_foreign_files::{ForeignFile, ForeignPath, Purpose, Refused};
use prof_model::{BuildId, Dso, DsoKind, FileId, Pid, Reason};

use crate::caches;
use crate::debug_file;
use crate::elf::{self, Segment, read_build_id, same_build_id};
use crate::mapped_file::MappedFile;

/// A file that is known to be the one that was mapped.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Its bytes. They stay readable when the file is deleted.
    pub image: Arc<MappedFile>,
    /// Where it was opened: for a file of another mount namespace a path below `/proc/PID/root`.
    pub path: PathBuf,
    /// The build-id in its notes.
    pub build_id: Option<BuildId>,
}

impl FoundFile {
    /// Whether it is a program or a library. What is executed of other files was generated.
    pub fn is_elf(&self) -> bool {
        let bytes: &[u8] = (*self.image).as_ref();
        bytes.starts_with(&object::elf::ELFMAG)
    }

    /// Its loadable segments; none if it is no program.
    pub fn segments(&self) -> Vec<Segment> {
        elf::segments((*self.image).as_ref())
    }

    /// Opens whatever program lies at a place.
    pub(crate) fn open(place: &ForeignPath) -> Result<Self, Refused> {
        let image = map(place)?;
        let build_id = read_build_id(image.as_ref());
        Ok(Self {
            image: Arc::new(image),
            path: place.path(),
            build_id,
        })
    }
}

/// Finds the file behind a mapping, by inode or build-id, never by its name alone.
#[derive(Clone, Debug, Default)]
pub struct FileFinder {
    symfs: Option<PathBuf>,
    is_foreign: bool,
}

impl FileFinder {
    /// With `symfs`, stored paths are looked up below that directory instead of `/`, and inodes, which
    /// a copy does not keep, are not compared.
    pub fn new(symfs: Option<PathBuf>) -> Self {
        Self {
            symfs,
            is_foreign: false,
        }
    }

    /// For a recording of another architecture: our own vDSO is not in it.
    pub fn foreign(self, is_foreign: bool) -> Self {
        Self { is_foreign, ..self }
    }

    /// Opens the file that a running process has mapped at `start..end`. The process is not stopped
    /// or otherwise touched.
    ///
    /// # Errors
    /// [`Reason::FileReplaced`] if only another file is found at its path, [`Reason::FileUnreadable`],
    /// [`Reason::NotRegular`] or [`Reason::FileTooLarge`] if what lies there cannot or must not be read,
    /// [`Reason::FileMissing`] if nothing does, [`Reason::NoPerfMap`] for memory without a file.
    pub fn open_live(
        &self,
        pid: Pid,
        start: u64,
        end: u64,
        dso: &Dso,
    ) -> Result<FoundFile, Reason> {
        match dso.kind {
            DsoKind::File => {}
            DsoKind::Vdso if same_word_size(pid) => return own_vdso(dso),
            DsoKind::Jit(_) | DsoKind::Memory => return Err(Reason::NoPerfMap),
            _ => return Err(Reason::FileMissing),
        }
        let process = process_folder(pid);
        let wanted = Wanted::of(dso);
        let path = Path::new(OsStr::from_bytes(without_deleted(&dso.path)));

        // The kernel's own link to the mapped file. Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
        let link = process.join(format!("map_files/{start:x}-{end:x}"));
        if let Ok(found) = wanted.check(&ForeignPath::at(&link)) {
            return Ok(found);
        }
        let root = match path.is_absolute() {
            true => process.join("root"),
            false => process.join("cwd"),
        };
        let in_process = match wanted.check(&ForeignPath::below(&root, path)) {
            Err(reason) => reason,
            found => return found,
        };
        let exe = process.join("exe");
        let exe_is_it = fs::read_link(&exe).is_ok_and(|target| {
            let target = target.as_os_str().as_bytes();
            target == dso.path || without_deleted(target) == without_deleted(&dso.path)
        });
        if exe_is_it && let Ok(found) = wanted.check(&ForeignPath::at(&exe)) {
            return Ok(found);
        }
        if let Some(found) = open_descriptor(&process, &wanted) {
            return Ok(found);
        }
        wanted.check(&ForeignPath::at(path)).map_err(|here| {
            let reasons = [in_process, here];
            match reasons.contains(&Reason::FileReplaced) {
                true => Reason::FileReplaced,
                false => {
                    let mut known = reasons.into_iter();
                    let known = known.find(|&reason| reason != Reason::FileMissing);
                    known.unwrap_or(Reason::FileMissing)
                }
            }
        })
    }

    /// The separate debug file of `file`, if it has one and it is here.
    pub fn open_debug(&self, file: &FoundFile, dso: &Dso) -> Option<FoundFile> {
        let name = Path::new(OsStr::from_bytes(without_deleted(&dso.path)));
        debug_file::find(file, name, self.symfs.as_deref())
    }

    /// What lies in the place of the separate debug file of `file`, and why that is not read, if it is refused.
    pub fn refused_debug(&self, file: &FoundFile, dso: &Dso) -> Option<(PathBuf, Refused)> {
        debug_file::refused(
            file,
            Path::new(OsStr::from_bytes(without_deleted(&dso.path))),
        )
    }

    /// Opens a file of a recording through a process that was recorded and still runs: in a container,
    /// or deleted since. Another process may have got its pid: the build-id must fit, or, where none is
    /// known, the same file must be mapped at the same addresses.
    fn open_running(&self, pid: Pid, start: u64, end: u64, dso: &Dso) -> Option<FoundFile> {
        if self.symfs.is_some() || dso.kind != DsoKind::File {
            return None;
        }
        let is_certain = dso.build_id.is_some() || is_mapped(pid, start, end, dso);
        is_certain.then(|| self.open_live(pid, start, end, dso).ok())?
    }

    /// Opens the file of a recording: where it is stored, else through a recorded process that still runs.
    /// `mapped` tells which processes had it mapped and where, from start to end.
    ///
    /// # Errors
    /// Those of [`FileFinder::open_stored`].
    pub fn open_recorded(
        &self,
        dso: &Dso,
        mapped: impl IntoIterator<Item = (Pid, u64, u64)>,
    ) -> Result<FoundFile, Reason> {
        self.open_stored(dso).or_else(|reason| {
            let runs = |pid| Path::new(&format!("/proc/{pid}/maps")).exists();
            let mut running = mapped.into_iter().filter(|&(pid, ..)| runs(pid));
            let found =
                running.find_map(|(pid, start, end)| self.open_running(pid, start, end, dso));
            found.ok_or(reason)
        })
    }

    /// Opens a file that a running process has mapped at `start..end` and may still be writing.
    pub fn open_growing_live(&self, pid: Pid, start: u64, end: u64, dso: &Dso) -> Option<File> {
        let process = process_folder(pid);
        let path = Path::new(OsStr::from_bytes(without_deleted(&dso.path)));
        let candidates = [
            ForeignPath::at(&process.join(format!("map_files/{start:x}-{end:x}"))),
            ForeignPath::below(&process.join("root"), path),
            ForeignPath::at(path),
        ];
        let wanted = Wanted::of(dso);
        candidates.iter().find_map(|place| wanted.open(place))
    }

    /// As [`FileFinder::open_growing_live`], of a recording.
    pub fn open_growing_stored(&self, dso: &Dso) -> Option<File> {
        let path = Path::new(OsStr::from_bytes(without_deleted(&dso.path)));
        match &self.symfs {
            Some(symfs) => Wanted::default().open(&ForeignPath::below(symfs, path)),
            None => Wanted::of(dso).open(&ForeignPath::at(path)),
        }
    }

    /// Opens the file of a recording that was made earlier, perhaps elsewhere: at its path, or in the
    /// caches of perf and debuginfod.
    ///
    /// # Errors
    /// As [`FileFinder::open_live`].
    pub fn open_stored(&self, dso: &Dso) -> Result<FoundFile, Reason> {
        match dso.kind {
            DsoKind::File | DsoKind::Vdso => {}
            DsoKind::Jit(_) | DsoKind::Memory => return Err(Reason::NoPerfMap),
            _ => return Err(Reason::FileMissing),
        }
        let mut wanted = Wanted::of(dso);
        let at_path = if dso.kind == DsoKind::Vdso {
            match self.is_foreign {
                true => Err(Reason::FileMissing),
                false => own_vdso(dso),
            }
        } else {
            let path = Path::new(OsStr::from_bytes(without_deleted(&dso.path)));
            let place = match &self.symfs {
                Some(symfs) => {
                    wanted.file = None;
                    ForeignPath::below(symfs, path)
                }
                None => ForeignPath::at(path),
            };
            wanted.check(&place)
        };
        at_path.or_else(|reason| {
            let build_id = dso.build_id.ok_or(reason)?;
            let cached = caches::images(build_id).into_iter();
            let mut found = cached.filter_map(|path| wanted.check(&ForeignPath::at(&path)).ok());
            found.next().ok_or(reason)
        })
    }
}

/// The folder of `/proc` that shows the memory and the files of a process: its own or, where its first thread
/// has ended and has none of them any more, that of another thread.
pub(crate) fn process_folder(pid: Pid) -> PathBuf {
    let own = PathBuf::from(format!("/proc/{pid}"));
    let has_files = |folder: &PathBuf| match fs::read_link(folder.join("exe")) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound, // it may be somebody else's
    };
    if has_files(&own) {
        return own;
    }
    let threads = fs::read_dir(own.join("task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut folders = threads.map(|thread| Path::new("/proc").join(thread.file_name()));
    folders.find(has_files).unwrap_or(own)
}

/// Maps the program or debug info that lies at a place.
pub(crate) fn map(place: &ForeignPath) -> Result<MappedFile, Refused> {
    let opened = ForeignFile::open(place, Purpose::Program)?;
    MappedFile::open(&opened.file).map_err(Refused::Unreadable)
}

/// Why the addresses of a file that is not opened have no names.
fn reason(refused: &Refused) -> Reason {
    match refused {
        Refused::Absent => Reason::FileMissing,
        Refused::Unreadable(_) => Reason::FileUnreadable,
        Refused::NotRegular(_) | Refused::OfTheKernel => Reason::NotRegular,
        Refused::TooLarge(_) => Reason::FileTooLarge,
    }
}

/// What the kernel appends to the path of a mapped file that has no name any more.
pub(crate) fn without_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

/// What tells the right file from another at the same path.
#[derive(Default)]
struct Wanted {
    build_id: Option<BuildId>,
    file: Option<FileId>,
}

impl Wanted {
    fn of(dso: &Dso) -> Self {
        Self {
            build_id: dso.build_id,
            file: dso.file.filter(|file| file.inode != 0),
        }
    }

    /// Opens the jitdump that lies at a place if it is the file.
    fn open(&self, place: &ForeignPath) -> Option<File> {
        let opened = ForeignFile::open(place, Purpose::Jitdump).ok()?;
        self.is_inode_of(&opened.file).then_some(opened.file)
    }

    fn is_inode_of(&self, file: &File) -> bool {
        let found = || Some(file.metadata().ok()?.ino());
        self.file.is_none_or(|wanted| found() == Some(wanted.inode))
    }

    /// A known build-id decides. Without one the inode does; the device is not compared, because
    /// overlayfs and btrfs report one number in `/proc/PID/maps` and another in `stat`.
    fn check(&self, place: &ForeignPath) -> Result<FoundFile, Reason> {
        let opened = ForeignFile::open(place, Purpose::Program);
        let ForeignFile { file, .. } = opened.map_err(|refused| reason(&refused))?;
        if self.build_id.is_none() && !self.is_inode_of(&file) {
            return Err(Reason::FileReplaced);
        }
        let image = MappedFile::open(&file).map_err(|_| Reason::FileUnreadable)?;
        let build_id = read_build_id(image.as_ref());
        if let Some(wanted) = self.build_id
            && !build_id.is_some_and(|found| same_build_id(found, wanted))
        {
            return Err(Reason::FileReplaced);
        }
        Ok(FoundFile {
            image: Arc::new(image),
            path: place.path(),
            build_id,
        })
    }
}

/// A memfd or deleted file that the process still has open.
fn open_descriptor(process: &Path, wanted: &Wanted) -> Option<FoundFile> {
    let file = wanted.file?;
    let descriptors = fs::read_dir(process.join("fd")).ok()?;
    descriptors.flatten().find_map(|descriptor| {
        let path = descriptor.path();
        let found = fs::metadata(&path).ok()?;
        let same_device =
            libc::major(found.dev()) == file.major && libc::minor(found.dev()) == file.minor;
        if !same_device || found.ino() != file.inode {
            return None;
        }
        wanted.check(&ForeignPath::at(&path)).ok()
    })
}

/// Whether a process has the very file mapped at `start..end`, by its path and inode.
fn is_mapped(pid: Pid, start: u64, end: u64, dso: &Dso) -> bool {
    let Some(file) = dso.file.filter(|file| file.inode != 0) else {
        return false;
    };
    let maps = fs::read(process_folder(pid).join("maps")).unwrap_or_default();
    let range = format!("{start:x}-{end:x} ");
    let place = format!(" {:02x}:{:02x} {} ", file.major, file.minor, file.inode);
    maps.split(|&byte| byte == b'\n').any(|line| {
        let path = line.iter().position(|&byte| byte == b'/');
        let (words, path) = line.split_at(path.unwrap_or(line.len()));
        words.starts_with(range.as_bytes())
            && without_deleted(path) == without_deleted(&dso.path)
            && words.windows(place.len()).any(|it| it == place.as_bytes())
    })
}

/// The kernel maps one vDSO into every process of the same word size.
fn own_vdso(dso: &Dso) -> Result<FoundFile, Reason> {
    let image = MappedFile::own_vdso().ok_or(Reason::FileMissing)?;
    let build_id = read_build_id(image.as_ref());
    if let Some(wanted) = dso.build_id
        && !build_id.is_some_and(|found| same_build_id(found, wanted))
    {
        return Err(Reason::FileReplaced);
    }
    Ok(FoundFile {
        image: Arc::new(image),
        path: PathBuf::from("[vdso]"),
        build_id,
    })
}

/// Whether the process runs in our word size, as far as can be seen.
fn same_word_size(pid: Pid) -> bool {
    let class = |process: &Path| {
        let exe = ForeignPath::at(&process.join("exe"));
        let mut exe = ForeignFile::open(&exe, Purpose::Program).ok()?.file;
        let mut ident = [0; 5];
        io::Read::read_exact(&mut exe, &mut ident).ok()?;
        Some(ident[4])
    };
    match (class(&process_folder(pid)), class(Path::new("/proc/self"))) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => true,
    }
}
