//! A recording whose addresses are to be named.

use std::fs;
use std::path::PathBuf;

use prof_event::abi::callchain;
use prof_model::{Dso, DsoAddr, DsoKind, Reason, Resolution, Symbol, SymbolSource};
use prof_perfdata::{Features, StoredNames};
use prof_session::load::load;
use prof_session::{LoadedRecording, ReadOptions, Wanted};
use tempfile::TempDir;

use super::{
    Elf, IN_KERNEL, KERNEL_MODE, NOBODY, Records, Sampled, TEXT, attr, one_event, stored_build_id,
};

/// A name, or why there is none.
pub(crate) type Name = Result<String, Reason>;

/// Behind all functions of the program.
const NAMELESS: u64 = 0x800;

/// A recording with a callchain of a function of the kernel's, `leaf(int)`, `main` and [`NAMELESS`].
pub(crate) struct Recorded {
    dir: TempDir,
    pub(crate) program: PathBuf,
    pub(crate) places: [u64; 3],
    pub(crate) records: Records,
    pub(crate) features: Features,
    stored: Option<StoredNames>,
}

impl Recorded {
    /// With the program's build-id.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let mut elf = Elf::with_build_id();
        let leaf = elf.function("_Z4leafi", &[0x90; 16]);
        let main = elf.function("main", &[0x90; 16]);
        elf.save(&program);
        let mut records = Records::of_nobody(one_event(attr(0)));
        records.map(0, NOBODY, TEXT, 0, program.to_str().unwrap());
        let kernel = [callchain::KERNEL, IN_KERNEL + 0x10, callchain::USER];
        let user = [leaf, main + 1, NAMELESS + 1].map(|place| TEXT.start + place);
        records.sample(&Sampled {
            mode: KERNEL_MODE,
            chain: [kernel, user].concat(),
            ..Sampled::default()
        });
        let mut features = Features::default();
        features.build_ids.push(stored_build_id(&program));
        Self {
            dir,
            program,
            places: [leaf, main, NAMELESS],
            records,
            features,
            stored: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Stores what the recorder found for an address of the program.
    pub(crate) fn store(&mut self, place: u64, answer: Resolution) {
        let path = self.program.display().to_string();
        self.store_in(&path, DsoKind::File, place, answer);
    }

    fn store_in(&mut self, path: &str, kind: DsoKind, place: u64, answer: Resolution) {
        let dso = Dso {
            path: path.into(),
            kind,
            file: None,
            build_id: None,
        };
        let stored = self.stored.get_or_insert_default();
        stored.add(&dso, &[DsoAddr(place)], &[answer]);
    }

    /// Stores `stored_kernel` for the kernel's function.
    pub(crate) fn store_kernel(&mut self) {
        let answer = symbol(("stored_kernel", "raw"), SymbolSource::Kallsyms);
        let kind = DsoKind::Kernel;
        self.store_in("[kernel.kallsyms]", kind, IN_KERNEL + 0x10, answer);
    }

    /// A table of kernel symbols with its text at `start`.
    pub(crate) fn kallsyms(&self, start: u64) -> PathBuf {
        let path = self.path("kallsyms");
        let symbols = [(0, "_text"), (0x1000, "do_work"), (0x2000, "other")];
        let lines = symbols.map(|(offset, name)| format!("{:x} T {name}\n", start + offset));
        fs::write(&path, lines.concat()).unwrap();
        path
    }

    pub(crate) fn load(&self, change: impl FnOnce(&mut ReadOptions)) -> LoadedRecording {
        let path = self.path("perf.data");
        let features = self.features.clone();
        self.records.save(&path, features, self.stored.as_ref());
        let mut options = ReadOptions::new(path);
        change(&mut options);
        load(&options, Wanted::default()).unwrap()
    }

    /// The names of the callchain.
    pub(crate) fn names(&self, change: impl FnOnce(&mut ReadOptions)) -> Vec<Name> {
        names(&self.load(change))
    }

    /// The names of the program's frames.
    pub(crate) fn user_names(&self, change: impl FnOnce(&mut ReadOptions)) -> Vec<Name> {
        self.names(change).split_off(1)
    }

    /// The name of the kernel's frame.
    pub(crate) fn kernel_name(&self, change: impl FnOnce(&mut ReadOptions)) -> Name {
        self.names(change).swap_remove(0)
    }
}

/// The names of the only callchain.
pub(crate) fn names(loaded: &LoadedRecording) -> Vec<Name> {
    let (key, _) = loaded.profile.samples().next().unwrap();
    let frames = loaded.profile.stacks().frames(key.stack);
    let names = frames.map(|frame| match loaded.names.get(frame) {
        Resolution::Named { symbol, .. } => Ok(symbol.name.to_string()),
        Resolution::Unresolved(reason) => Err(*reason),
    });
    names.collect()
}

/// An answer with a name and the same as the symbol table has it.
pub(crate) fn symbol((name, raw): (&str, &str), source: SymbolSource) -> Resolution {
    Resolution::Named {
        symbol: Symbol {
            name: name.into(),
            raw: raw.into(),
            start: 0,
            size: 0x1000,
            source,
        },
        inlined: Vec::new(),
        location: None,
    }
}

pub(crate) fn named(name: &str) -> Name {
    Ok(name.to_owned())
}
