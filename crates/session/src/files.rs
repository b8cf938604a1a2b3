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
            let mapping = || space.iter().find(|mapping| mapping.dso == id);
            if *origin == Origin::Recorded {
                let stored = finder.open_stored(dso).ok();
                return stored.or_else(|| {
                    let mapping = mapping()?;
                    finder.open_running(pid, mapping.start, mapping.end, dso)
                });
            }
            let mapping = mapping()?;
            finder.open_live(pid, mapping.start, mapping.end, dso).ok()
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
