use std::collections::HashMap;

use prof_model::{BuildId, CpuMode, Dso, DsoId, DsoKind, DsoTable, FileId};
use prof_perfdata::Recording;

/// Which build-id each file of a recording had.
///
/// perf tells it by path. But two containers have two files at one path, and an upgrade puts another
/// file in the place of one that runs on: then the path tells nothing, and a file that is found by
/// such a build-id could be the other one.
#[derive(Default)]
pub struct BuildIds {
    by_path: HashMap<Vec<u8>, Option<BuildId>>, // `None`: several
    by_file: HashMap<(Vec<u8>, FileId), BuildId>, // what `prof record` adds
    first: HashMap<Vec<u8>, DsoId>,             // the one that has the build-id of its path
}

impl BuildIds {
    /// Those of a recording.
    pub fn of(recording: &Recording) -> Self {
        let mut this = Self::default();
        let stored = recording.features().build_ids.iter();
        for stored in stored.filter(|stored| stored.mode != CpuMode::Kernel) {
            this.add(stored.path.clone(), stored.build_id);
        }
        let named = recording.stored_names().into_iter();
        for dso in named.flat_map(|names| names.dsos()) {
            if let (Some(file), Some(build_id)) = (dso.file, dso.build_id) {
                this.by_file.insert(key(dso, file), build_id);
            }
        }
        this
    }

    fn add(&mut self, path: Vec<u8>, build_id: BuildId) {
        let known = self.by_path.entry(path).or_insert(Some(build_id));
        *known = known.filter(|known| *known == build_id);
    }

    /// Notes the build-id of a DSO that is new. Returns the one that had been given it for its path
    /// before, and has none any more.
    pub fn note(&mut self, id: DsoId, dsos: &mut DsoTable) -> Option<DsoId> {
        let dso = dsos.get(id);
        if dso.build_id.is_some() || !matches!(dso.kind, DsoKind::File | DsoKind::Vdso) {
            return None;
        }
        if let Some(file) = dso.file
            && let Some(&build_id) = self.by_file.get(&key(dso, file))
        {
            dsos.set_build_id(id, Some(build_id));
            return None;
        }
        let build_id = (*self.by_path.get(&dso.path)?)?;
        match self.first.get(&dso.path) {
            None => {
                self.first.insert(dso.path.clone(), id);
                dsos.set_build_id(id, Some(build_id));
                None
            }
            Some(&first) => {
                self.by_path.insert(dso.path.clone(), None);
                dsos.set_build_id(first, None);
                Some(first)
            }
        }
    }
}

/// The kernel tells a file's generation, `/proc` does not.
fn key(dso: &Dso, file: FileId) -> (Vec<u8>, FileId) {
    (dso.path.clone(), file.without_generation())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, inode: u64) -> Dso {
        Dso {
            path: path.as_bytes().to_vec(),
            kind: DsoKind::File,
            file: Some(FileId {
                major: 8,
                minor: 1,
                inode,
                generation: 0,
            }),
            build_id: None,
        }
    }

    #[test]
    fn the_build_id_of_a_path_is_that_of_no_file_where_there_are_two() {
        let build_id = BuildId::new(&[1; 20]).unwrap();
        let mut ids = BuildIds::default();
        ids.add(b"/lib/a".to_vec(), build_id);
        ids.add(b"/lib/b".to_vec(), build_id);
        let mut dsos = DsoTable::default();
        let mut add = |dso| {
            let id = dsos.intern(dso);
            let lost = ids.note(id, &mut dsos);
            (id, lost)
        };
        let (first, lost) = add(file("/lib/a", 1));
        assert_eq!(lost, None);
        assert_eq!(add(file("/lib/b", 2)).1, None);
        let (second, lost) = add(file("/lib/a", 3));
        assert_eq!(lost, Some(first));
        assert_eq!(add(file("/lib/a", 4)).1, None);
        let known = dsos.iter().map(|(_, dso)| dso.build_id.is_some());
        assert_eq!(known.collect::<Vec<_>>(), [false, true, false, false]);
        assert_ne!(first, second);
    }

    #[test]
    fn two_build_ids_for_one_path_are_none() {
        let mut ids = BuildIds::default();
        for byte in [1, 2] {
            ids.add(b"/lib/a".to_vec(), BuildId::new(&[byte; 20]).unwrap());
        }
        let mut dsos = DsoTable::default();
        let id = dsos.intern(file("/lib/a", 1));
        assert_eq!(ids.note(id, &mut dsos), None);
        assert_eq!(dsos.get(id).build_id, None);
    }
}
