//! Files of any content as programs: as many answers as questions, names that cover what was asked,
//! and the same answers one by one.

use std::path::PathBuf;
use std::sync::Arc;

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, Resolution};
use prof_pclntab::{Layout, Machine, Table};
use prof_symbolizer::{FoundFile, MappedFile, Options, Symbolizer, read_build_id};

use super::elf::{TEXT, X86_64, program};

/// Any bytes as a file.
pub(crate) fn elf(bytes: &[u8]) {
    let offsets = (0x1000..0x1400).step_by(0x40).chain([0, 1, u64::MAX]);
    check(bytes.to_vec(), offsets.collect());
}

/// Any bytes as the function table of a Go program.
pub(crate) fn pclntab(bytes: &[u8]) {
    let addresses: Vec<u64> = (0..0x400).step_by(0x20).map(|at| TEXT + at).collect();
    check_go_functions(bytes, &addresses);
    let file = program(X86_64, &[0x90; 0x400], &[(".gopclntab", bytes)]);
    check(file, addresses);
}

/// A function is around the address, and what changes in it does so by ascending instructions.
fn check_go_functions(bytes: &[u8], addresses: &[u64]) {
    const MACHINE: Machine = Machine {
        is_big_endian: false,
        address_size: 8,
    };
    let Some(layout) = Layout::read(bytes, MACHINE) else {
        return;
    };
    let table = Table::new(bytes, &layout, TEXT);
    for &address in addresses {
        let Some(function) = table.find(address) else {
            continue;
        };
        assert!((function.entry()..function.end()).contains(&address));
        let changes = [function.stack_depths(), function.files(), function.lines()];
        let data = (0..4).map(|number| function.pc_data(number));
        for values in changes.into_iter().chain(data).flatten() {
            let mut end = 0;
            for value in values.clone().flatten() {
                assert_eq!(value.pcs.start, end, "{function:?}");
                assert!(value.pcs.end > end && u64::from(end) < function.size());
                assert_eq!(values.clone().at(end.into()), Some(value.value));
                end = value.pcs.end;
            }
            assert_eq!(values.at(end.into()), None);
        }
    }
}

fn check(bytes: Vec<u8>, offsets: Vec<u64>) {
    let dso = Dso {
        path: b"/nowhere/program".to_vec(),
        kind: DsoKind::File,
        file: None,
        build_id: None,
    };
    let build_id = read_build_id(&bytes);
    let found = FoundFile {
        image: Arc::new(MappedFile::from_bytes(bytes)),
        path: PathBuf::from("/nowhere/program"),
        build_id,
    };
    let addrs: Vec<DsoAddr> = offsets.into_iter().map(DsoAddr).collect();
    let mut symbolizer = Symbolizer::new(Options::default());
    symbolizer.keep(DsoId(0), found.clone());
    let at_once = symbolizer.resolve(DsoId(0), &dso, &addrs);
    assert_eq!(at_once.len(), addrs.len());
    let mut other = Symbolizer::new(Options::default());
    other.keep(DsoId(0), found);
    for (addr, resolution) in addrs.iter().zip(&at_once) {
        if let Resolution::Named { symbol, .. } = resolution {
            assert!(symbol.start <= addr.0, "{symbol:?} for {addr:?}");
        }
        let mut alone = other.resolve(DsoId(0), &dso, &[*addr]);
        // How far a symbol reaches that has no size depends on which others were looked at.
        if let (Some(Resolution::Named { symbol, .. }), Resolution::Named { symbol: other, .. }) =
            (alone.first_mut(), resolution)
        {
            symbol.size = other.size;
        }
        assert_eq!(alone.pop().as_ref(), Some(resolution), "asked alone");
    }
}
