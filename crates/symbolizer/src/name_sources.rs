//! What a file offers to naming, for who wants to know before anything is sampled.
//!
//! In: a file and its DSO. Out: which tables and debug info it and its separate debug file have. Elsewhere: reading
//! them (`elf_symbols.rs`, `dwarf.rs`, `go_pclntab.rs`).

use std::path::PathBuf;
use std::sync::Arc;

use object::{Object, ObjectSymbol};
use prof_model::Dso;

use crate::elf_symbols::has_symtab;
use crate::files::{FileFinder, FoundFile};
use crate::go_pclntab::GoTable;
use crate::mapped_file::MappedFile;

/// By what the addresses of a file are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSources {
    /// `.symtab`: all functions.
    pub symtab: bool,
    /// `.dynsym` with functions: those that others call.
    pub dynsym: bool,
    /// `.gnu_debugdata`: all functions, packed.
    pub mini_debug_info: bool,
    /// Go's own table: all functions, lines, inlined calls.
    pub go_table: bool,
    /// DWARF, in it or in its debug file: lines and inlined functions.
    pub debug_info: bool,
    /// Its separate debug file, if that is here.
    pub debug_file: Option<PathBuf>,
}

impl NameSources {
    /// Whether all functions have names, not only those that others call.
    pub fn is_whole(&self) -> bool {
        self.symtab || self.mini_debug_info || self.go_table || self.debug_file.is_some()
    }

    /// Whether inlined functions are shown.
    pub fn has_inlined(&self) -> bool {
        self.debug_info || self.go_table
    }
}

impl FileFinder {
    /// What names the addresses of a file that `dso` stands for.
    pub fn name_sources(&self, file: &FoundFile, dso: &Dso) -> NameSources {
        let debug = self.open_debug(file, dso);
        let bytes: &[u8] = (*file.image).as_ref();
        let Ok(object) = object::File::parse(bytes) else {
            return NameSources::default();
        };
        let mut exported = object.dynamic_symbols();
        NameSources {
            symtab: has_symtab(&file.image),
            dynsym: exported.any(|it| it.is_definition() && it.kind() == object::SymbolKind::Text),
            mini_debug_info: object.section_by_name(".gnu_debugdata").is_some(),
            go_table: GoTable::load(&file.image).is_some(),
            debug_info: has_debug_info(&file.image)
                || debug.as_ref().is_some_and(|it| has_debug_info(&it.image)),
            debug_file: debug.map(|it| it.path),
        }
    }
}

fn has_debug_info(image: &Arc<MappedFile>) -> bool {
    let bytes: &[u8] = (**image).as_ref();
    let names = [".debug_info", ".zdebug_info"];
    object::File::parse(bytes).is_ok_and(|object| {
        names
            .iter()
            .any(|name| object.section_by_name(name).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_model::{DsoKind, FileId};
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn this_program_has_a_symbol_table_and_debug_info() {
        let path = std::env::current_exe().unwrap();
        let dso = Dso {
            path: path.as_os_str().as_bytes().to_vec(),
            kind: DsoKind::File,
            file: None::<FileId>,
            build_id: None,
        };
        let finder = FileFinder::default();
        let file = finder.open_stored(&dso).unwrap();
        let sources = finder.name_sources(&file, &dso);
        assert!(sources.symtab && sources.debug_info && !sources.go_table);
        assert!(sources.is_whole() && sources.has_inlined());
        assert!(!NameSources::default().is_whole());
    }
}
