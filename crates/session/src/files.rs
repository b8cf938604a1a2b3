//! The files that samples hit: which file a mapping is, held open from the first hit on.
//!
//! In: a process's mapping. Out: the open file that it is, for unwinding and for names. Elsewhere: the
//! search for the right file (`prof_symbolizer::FileFinder`).

use prof_model::{AddressSpace, DsoId, DsoTable, Pid};
use prof_symbolizer::{FileFinder, FoundFile};
use rustc_hash::FxHashMap;

/// When the processes of a profile ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They run now: their files and memory are reached through `/proc`.
    Live,
    /// They were recorded earlier, perhaps on another machine.
    Recorded,
}

/// The files that samples hit, each opened once and then held.
pub struct Files {
    finder: FileFinder,
    origin: Origin,
    opened: FxHashMap<DsoId, Opened>,
}

/// A file that is held.
struct Opened {
    file: Option<FoundFile>, // `None`: it could not be opened
    is_used: bool,           // since `Files::take_unused`
}

impl Files {
    /// Files of running processes.
    pub fn live() -> Self {
        Self {
            finder: FileFinder::default(),
            origin: Origin::Live,
            opened: FxHashMap::default(),
        }
    }

    /// Files of a recording.
    pub fn stored(finder: FileFinder) -> Self {
        Self {
            finder,
            origin: Origin::Recorded,
            opened: FxHashMap::default(),
        }
    }

    /// Whether these are files of running processes or of a recording.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The finder that opens them.
    pub(crate) fn finder(&self) -> &FileFinder {
        &self.finder
    }

    /// The file that `pid` has mapped, opened once and then held. `None` if it cannot be opened.
    pub(crate) fn get(
        &mut self,
        pid: Pid,
        space: &AddressSpace,
        dsos: &DsoTable,
        id: DsoId,
    ) -> Option<&FoundFile> {
        let Self {
            finder,
            origin,
            opened,
        } = self;
        let open = || {
            let dso = dsos.get(id);
            let mut mappings = space.iter().filter(|mapping| mapping.dso == id);
            let mapping = mappings.next().map(|it| (pid, it.start, it.end));
            match *origin {
                Origin::Recorded => finder.open_recorded(dso, mapping).ok(),
                Origin::Live => {
                    let (pid, start, end) = mapping?;
                    finder.open_live(pid, start, end, dso).ok()
                }
            }
        };
        let found = opened.entry(id).or_insert_with(|| Opened {
            file: open(),
            is_used: true,
        });
        found.file.as_ref()
    }

    /// The files that were opened.
    pub fn opened(&self) -> impl Iterator<Item = (DsoId, &FoundFile)> {
        let opened = self.opened.iter();
        opened.filter_map(|(&id, opened)| Some((id, opened.file.as_ref()?)))
    }

    /// Whether this is an ELF file, as far as is known: one that was not opened is none.
    pub(crate) fn is_program(&self, id: DsoId) -> bool {
        let file = self.opened.get(&id).and_then(|it| it.file.as_ref());
        file.is_some_and(FoundFile::is_elf)
    }

    /// Notes that a sample hit this file, if it is open. Returns whether it was asked for before.
    pub(crate) fn mark_used(&mut self, id: DsoId) -> bool {
        let file = self.opened.get_mut(&id);
        file.map(|file| file.is_used = true).is_some()
    }

    /// Forgets a file that was opened by what is known to be wrong by now.
    pub(crate) fn forget(&mut self, id: DsoId) {
        self.opened.remove(&id);
    }

    /// Closes the files that no sample has hit since the last call; returns which.
    pub(crate) fn take_unused(&mut self) -> Vec<DsoId> {
        let opened = &mut self.opened;
        let unused = opened.extract_if(|_, file| !std::mem::take(&mut file.is_used));
        unused.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prof_model::{Dso, DsoKind, FileId, Mapping};
    use tempfile::TempDir;

    use super::*;
    use crate::common::{Elf, NOBODY};

    const PID: Pid = Pid(NOBODY as i32);

    /// Mappings of two programs, and of one that is not there.
    struct Mapped {
        dir: TempDir,
        space: AddressSpace,
        dsos: DsoTable,
    }

    impl Mapped {
        fn new() -> Self {
            let mut mapped = Self {
                dir: tempfile::tempdir().unwrap(),
                space: AddressSpace::default(),
                dsos: DsoTable::default(),
            };
            for (name, start) in [("a", 0x1000), ("b", 0x2000), ("missing", 0x3000)] {
                if name != "missing" {
                    Elf::with_build_id().save(&mapped.path(name));
                }
                let dso = mapped.intern(&mapped.path(name), None);
                mapped.space.insert(Mapping {
                    start,
                    end: start + 0x1000,
                    dso_start: 0,
                    dso,
                    executable: true,
                });
            }
            mapped
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn intern(&mut self, path: &Path, file: Option<FileId>) -> DsoId {
            self.dsos.intern(Dso {
                path: path.to_str().unwrap().into(),
                kind: DsoKind::File,
                file,
                build_id: None,
            })
        }

        fn get<'a>(&self, files: &'a mut Files, id: u32) -> Option<&'a FoundFile> {
            files.get(PID, &self.space, &self.dsos, DsoId(id))
        }
    }

    fn both() -> [Files; 2] {
        [Files::live(), Files::stored(FileFinder::default())]
    }

    #[test]
    fn a_file_is_opened_once_and_then_held() {
        for mut files in both() {
            let mapped = Mapped::new();
            let path = mapped.path("a");
            let found = mapped
                .get(&mut files, 0)
                .map(|it| (it.path.clone(), it.build_id));
            assert_eq!(found, Some((path.clone(), Elf::build_id())));
            std::fs::remove_file(&path).unwrap();
            assert!(mapped.get(&mut files, 0).is_some());
            assert!(mapped.get(&mut files, 2).is_none());
            Elf::default().save(&mapped.path("missing"));
            assert!(mapped.get(&mut files, 2).is_none()); // it was not there when it ran
            let opened: Vec<_> = files.opened().map(|(id, _)| id).collect();
            assert_eq!(opened, [DsoId(0)]);
        }
    }

    #[test]
    fn a_running_process_has_only_files_that_it_maps_and_a_recording_has_those_of_all() {
        let mut mapped = Mapped::new();
        let path = mapped.path("b");
        let inode = FileId {
            major: 0,
            minor: 0,
            inode: 0,
            generation: 9, // another DSO at the same path, which is mapped nowhere
        };
        let DsoId(other) = mapped.intern(&path, Some(inode));
        let [mut live, mut stored] = both();
        assert!(mapped.get(&mut live, other).is_none());
        assert!(mapped.get(&mut stored, other).is_some());
        assert_eq!(
            (live.origin(), stored.origin()),
            (Origin::Live, Origin::Recorded)
        );
    }

    #[test]
    fn files_that_nothing_hit_since_the_last_call_are_closed() {
        let mapped = Mapped::new();
        let mut files = Files::live();
        assert!(!files.mark_used(DsoId(0))); // nobody asked for it
        mapped.get(&mut files, 0);
        mapped.get(&mut files, 1);
        assert_eq!(files.take_unused(), []); // both are new
        assert!(files.mark_used(DsoId(1)));
        assert_eq!(files.take_unused(), [DsoId(0)]);
        let opened: Vec<_> = files.opened().map(|(id, _)| id).collect();
        assert_eq!(opened, [DsoId(1)]);
        assert_eq!(files.take_unused(), [DsoId(1)]);
        assert!(mapped.get(&mut files, 1).is_some());
    }

    #[test]
    fn a_file_that_was_forgotten_is_looked_for_again() {
        let mapped = Mapped::new();
        let mut files = Files::stored(FileFinder::default());
        assert!(mapped.get(&mut files, 2).is_none());
        Elf::default().save(&mapped.path("missing"));
        files.forget(DsoId(2));
        assert!(mapped.get(&mut files, 2).is_some());
    }
}
