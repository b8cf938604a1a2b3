//! Split DWARF: `.dwo` files beside the objects, or all of them in one `.dwp` beside the program.

use std::cell::{OnceCell, RefCell};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::SplitDwarfLoad;
use gimli::{DwoId, Reader as _};
use prof_foreign_files::ForeignPath;
use rustc_hash::FxHashMap;

use crate::elf::{self, Reader};
use crate::files::map;
use crate::mapped_file::MappedFile;
use crate::nesting;

/// Finds the split debug info of one program.
pub(crate) struct SplitDwarf {
    program: Vec<ForeignPath>,
    package: OnceCell<Option<gimli::DwarfPackage<Reader>>>,
    loaded: RefCell<FxHashMap<DwoId, Arc<gimli::Dwarf<Reader>>>>,
}

impl SplitDwarf {
    /// For the program at one of these places.
    pub(crate) fn new(program: &[ForeignPath]) -> Self {
        Self {
            program: program.to_vec(),
            package: OnceCell::new(),
            loaded: RefCell::default(),
        }
    }

    /// The debug info that a skeleton unit refers to: from the package, else from the file that the
    /// compiler wrote, if its id is the right one.
    pub(crate) fn load(
        &self,
        wanted: &SplitDwarfLoad<Reader>,
    ) -> Option<Arc<gimli::Dwarf<Reader>>> {
        let loaded = self.find(wanted)?;
        let mut units = loaded.units();
        while let Ok(Some(unit)) = units.next() {
            if nesting::is_too_deep(&loaded, &unit) {
                return None;
            }
        }
        let loaded = Arc::new(loaded);
        let mut all = self.loaded.borrow_mut();
        all.insert(wanted.dwo_id, Arc::clone(&loaded));
        Some(loaded)
    }

    /// What [`SplitDwarf::load`] has returned for an id.
    pub(crate) fn loaded(&self, id: DwoId) -> Option<Arc<gimli::Dwarf<Reader>>> {
        self.loaded.borrow().get(&id).cloned()
    }

    fn find(&self, wanted: &SplitDwarfLoad<Reader>) -> Option<gimli::Dwarf<Reader>> {
        let package = self.package.get_or_init(|| {
            let mut places = self.program.iter();
            places.find_map(open_package)
        });
        if let Some(package) = package
            && let Ok(Some(unit)) = package.find_cu(wanted.dwo_id, &wanted.parent)
        {
            return Some(unit);
        }
        self.open_object(wanted)
    }

    fn open_object(&self, wanted: &SplitDwarfLoad<Reader>) -> Option<gimli::Dwarf<Reader>> {
        let path = |reader: &Reader| {
            let bytes = reader.to_slice().ok()?;
            Some(PathBuf::from(OsStr::from_bytes(&bytes)))
        };
        let name = path(wanted.path.as_ref()?)?;
        let directory = wanted.comp_dir.as_ref().and_then(path).unwrap_or_default();
        let path = directory.join(&name);
        let compiled = self.program.iter().map(|program| match program.root() {
            Some(root) => ForeignPath::below(root, &path),
            None => ForeignPath::at(&path),
        });
        let name = name.file_name()?;
        let beside = self.program.iter();
        let beside = beside.filter_map(|program| program.beside(Path::new(name)));
        let mut candidates: Vec<ForeignPath> = Vec::new();
        for place in compiled.chain(beside) {
            if !candidates.contains(&place) {
                candidates.push(place);
            }
        }
        candidates.iter().find_map(|candidate| {
            let image = open(candidate)?;
            let mut dwarf = gimli::Dwarf::load(sections(&image)?).ok()?;
            let header = dwarf.units().next().ok()??;
            let unit = dwarf.unit(header).ok()?;
            if unit.dwo_id != Some(wanted.dwo_id) {
                return None;
            }
            dwarf.make_dwo(&wanted.parent);
            Some(dwarf)
        })
    }
}

fn open_package(program: &ForeignPath) -> Option<gimli::DwarfPackage<Reader>> {
    let mut name = OsString::from(program.inside().file_name()?);
    name.push(".dwp");
    let image = open(&program.beside(Path::new(&name))?)?;
    let object = object::File::parse((*image).as_ref()).ok()?;
    gimli::DwarfPackage::load(sections(&image)?, elf::empty_section(&object)).ok()
}

fn open(place: &ForeignPath) -> Option<Arc<MappedFile>> {
    Some(Arc::new(map(place).ok()?))
}

/// The `.dwo` sections of a file.
fn sections(
    image: &Arc<MappedFile>,
) -> Option<impl Fn(gimli::SectionId) -> Result<Reader, gimli::Error>> {
    let object = object::File::parse((**image).as_ref()).ok()?;
    Some(move |id: gimli::SectionId| {
        let section = id
            .dwo_name()
            .and_then(|name| elf::section(image, &object, name));
        Ok(section.unwrap_or_else(|| elf::empty_section(&object)))
    })
}
