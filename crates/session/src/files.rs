//! The files that samples hit: which file a mapping is, held open from the first hit on.
//!
//! In: a process's mapping. Out: the open file that it is, for unwinding and for names; nothing once it was
//! written over. Elsewhere: the search for the right file (`prof_symbolizer::FileFinder`), how a change is
//! known (`file_stamp.rs`).

use std::time::{Duration, Instant, SystemTime};

use prof_model::{AddressSpace, BuildId, Dso, DsoId, DsoTable, Pid};
use prof_sampler::Clock;
use prof_symbolizer::{FileFinder, FoundFile};
use rustc_hash::FxHashMap;

use crate::file_stamp::{self, FileStamp};

/// How often one file is looked at, however often it is mapped.
const PAUSE: Duration = Duration::from_millis(20);
/// Samples wait for less than that until they are looked at.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

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
    sampled: Option<u64>, // when the sample was taken that asks for files
}

/// A file that is held.
struct Opened {
    file: Option<FoundFile>, // `None`: it could not be opened
    stamp: Option<FileStamp>,
    looked: Option<Instant>, // whether it has changed
    is_written_over: bool,   // since it ran
    is_used: bool,           // since `Files::take_unused`
}

impl Opened {
    /// A file that was found for a sample of a running process, which was taken at that time.
    fn live(file: Option<FoundFile>, sampled: Option<u64>) -> Self {
        let stamp = file.as_ref().and_then(FileStamp::of);
        let sampled = sampled.and_then(wall_time);
        let both = stamp.as_ref().zip(sampled);
        Self {
            is_written_over: both.is_some_and(|(stamp, time)| stamp.is_written_since(time)),
            stamp,
            ..Self::stored(file)
        }
    }

    fn stored(file: Option<FoundFile>) -> Self {
        Self {
            file,
            stamp: None,
            looked: None,
            is_written_over: false,
            is_used: true,
        }
    }

    /// Whether it may have been written over, at whichever of these places it lies.
    fn look(&mut self, places: impl FnOnce() -> Vec<std::path::PathBuf>) -> bool {
        if let (Some(file), Some(stamp), false) = (&self.file, &self.stamp, self.is_written_over) {
            self.is_written_over = stamp.has_changed(file, &places());
        }
        self.is_written_over
    }
}

/// What the clock on the wall showed at a time of `CLOCK_MONOTONIC`, unless that was long ago.
fn wall_time(monotonic: u64) -> Option<SystemTime> {
    let age = Clock::MONOTONIC.now().checked_sub(monotonic)?;
    let age = Some(Duration::from_nanos(age)).filter(|&age| age < LONGEST_WAIT);
    SystemTime::now().checked_sub(age?)
}

impl Files {
    /// Files of running processes.
    pub fn live() -> Self {
        Self {
            finder: FileFinder::default(),
            origin: Origin::Live,
            opened: FxHashMap::default(),
            sampled: None,
        }
    }

    /// Files of a recording.
    pub fn stored(finder: FileFinder) -> Self {
        Self {
            finder,
            origin: Origin::Recorded,
            opened: FxHashMap::default(),
            sampled: None,
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

    /// The sample that asks for files from now on was taken at this time of `CLOCK_MONOTONIC`.
    pub(crate) fn note_sample(&mut self, time: u64) {
        self.sampled = Some(time);
    }

    /// The file that `pid` has mapped, opened once and then held. `None` if it cannot be opened, or was written
    /// over since it ran.
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
            sampled,
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
        let found = opened.entry(id).or_insert_with(|| match *origin {
            Origin::Live => Opened::live(open(), *sampled),
            Origin::Recorded => Opened::stored(open()),
        });
        found.file.as_ref().filter(|_| !found.is_written_over)
    }

    /// The files that were opened and not written over since.
    pub fn opened(&self) -> impl Iterator<Item = (DsoId, &FoundFile)> {
        let opened = self.opened.iter();
        let opened = opened.filter(|(_, opened)| !opened.is_written_over);
        opened.filter_map(|(&id, opened)| Some((id, opened.file.as_ref()?)))
    }

    /// The files that were written over since they ran: nobody knows what they were.
    pub fn written_over(&self) -> impl Iterator<Item = DsoId> {
        let opened = self.opened.iter();
        opened.filter_map(|(&id, opened)| opened.is_written_over.then_some(id))
    }

    /// The build-ids of all files as they were when they were opened.
    pub(crate) fn build_ids(&self) -> impl Iterator<Item = (DsoId, BuildId)> {
        let opened = self.opened.iter();
        opened.filter_map(|(&id, opened)| Some((id, opened.file.as_ref()?.build_id?)))
    }

    /// Whether a file that `pid` maps once more was written over since it ran, as far as was looked.
    pub(crate) fn is_written_over(&mut self, id: DsoId, pid: Pid, dso: &Dso) -> bool {
        let Some(opened) = self.opened.get_mut(&id) else {
            return false;
        };
        if opened.looked.is_some_and(|at| at.elapsed() < PAUSE) {
            return opened.is_written_over;
        }
        opened.looked = Some(Instant::now());
        opened.look(|| file_stamp::places(Some(pid), dso))
    }

    /// Looks whether any file was written over since it ran.
    pub(crate) fn look_at_all(&mut self, dsos: &DsoTable) {
        for (&id, opened) in &mut self.opened {
            opened.look(|| file_stamp::places(None, dsos.get(id)));
        }
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
    fn a_file_that_was_written_over_since_it_ran_is_given_to_nobody() {
        let mapped = Mapped::new();
        let mut files = Files::live();
        let pause = || std::thread::sleep(Duration::from_millis(30)); // the clock of files is coarse
        pause();
        files.note_sample(Clock::MONOTONIC.now());
        assert!(mapped.get(&mut files, 0).is_some());
        let is_over = |files: &mut Files, id| {
            let dso = mapped.dsos.get(DsoId(id));
            files.is_written_over(DsoId(id), PID, dso)
        };
        assert!(!is_over(&mut files, 0));
        pause();
        let other = Elf::default().bytes();
        std::fs::write(mapped.path("a"), &other).unwrap();
        std::fs::write(mapped.path("b"), &other).unwrap();
        assert!(is_over(&mut files, 0));
        assert!(mapped.get(&mut files, 0).is_none());
        assert!(mapped.get(&mut files, 1).is_none()); // the sample is older than its file
        let mut over: Vec<_> = files.written_over().collect();
        over.sort_unstable();
        assert_eq!(over, [DsoId(0), DsoId(1)]);
        assert_eq!(files.opened().count(), 0);
        assert_eq!(
            files.build_ids().next(),
            Elf::build_id().map(|it| (DsoId(0), it))
        );
        let mut later = Files::live();
        pause();
        later.note_sample(Clock::MONOTONIC.now());
        assert!(mapped.get(&mut later, 1).is_some());
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
