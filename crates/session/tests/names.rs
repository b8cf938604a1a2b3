//! What the addresses of a recording's programs are called.

mod common;

use std::fs;
use std::path::Path;

use common::{Recorded, named, symbol};
use prof_model::{Reason, Resolution, SymbolSource};
use prof_session::ReadOptions;

const NO_TABLE: Resolution = Resolution::Unresolved(Reason::NoSymbolTable);

#[test]
fn names_come_from_the_files_that_ran_where_the_recording_has_none() {
    let recorded = Recorded::new();
    let expected = [named("leaf"), named("main"), Err(Reason::NoSymbol)];
    assert_eq!(recorded.user_names(|_| {}), expected);
}

#[test]
fn the_recordings_own_names_win_over_those_of_files() {
    let mut recorded = Recorded::new();
    recorded.store(
        recorded.places[0],
        symbol(("stored", "raw"), SymbolSource::Symtab),
    );
    let expected = [named("stored"), named("main"), Err(Reason::NoSymbol)];
    assert_eq!(recorded.user_names(|_| {}), expected);
}

#[test]
fn what_the_recorder_could_not_name_is_named_here_or_its_reason_stands() {
    let mut recorded = Recorded::new();
    let [leaf, _, nameless] = recorded.places;
    recorded.store(leaf, NO_TABLE);
    recorded.store(nameless, NO_TABLE);
    let expected = [named("leaf"), named("main"), Err(Reason::NoSymbolTable)];
    assert_eq!(recorded.user_names(|_| {}), expected);
}

#[test]
fn without_demangling_names_are_those_of_the_symbol_table_but_for_the_kernels() {
    let mut recorded = Recorded::new();
    let raw = |options: &mut ReadOptions| options.demangle = false;
    let expected = [named("_Z4leafi"), named("main"), Err(Reason::NoSymbol)];
    assert_eq!(recorded.user_names(raw), expected);
    recorded.store(
        recorded.places[1],
        symbol(("main()", "_Z4main"), SymbolSource::Symtab),
    );
    recorded.store_kernel();
    let names = recorded.names(raw);
    assert_eq!(
        names[..3],
        [named("stored_kernel"), named("_Z4leafi"), named("_Z4main")]
    );
}

#[test]
fn only_a_file_that_gave_names_without_a_build_id_is_not_certain() {
    let mut recorded = Recorded::new();
    let unverified = |recorded: &Recorded| -> Vec<String> {
        let loaded = recorded.load(|_| {});
        loaded.namer.unverified().map(str::to_owned).collect()
    };
    assert_eq!(unverified(&recorded), [""; 0]);
    recorded.features.build_ids.clear();
    assert_eq!(unverified(&recorded), [recorded.program.to_str().unwrap()]);
    for place in recorded.places {
        recorded.store(place, symbol(("stored", "raw"), SymbolSource::Symtab));
    }
    assert_eq!(unverified(&recorded), [""; 0]);
}

#[test]
fn files_are_looked_for_below_the_folder_that_was_given() {
    let recorded = Recorded::new();
    let root = tempfile::tempdir().unwrap();
    let inside = |root: &Path| root.join(recorded.program.strip_prefix("/").unwrap());
    fs::create_dir_all(inside(root.path()).parent().unwrap()).unwrap();
    fs::rename(&recorded.program, inside(root.path())).unwrap();
    assert_eq!(recorded.user_names(|_| {})[0], Err(Reason::FileMissing));
    let names = recorded.user_names(|options| options.symfs = Some(root.path().to_owned()));
    assert_eq!(names[0], named("leaf"));
}
