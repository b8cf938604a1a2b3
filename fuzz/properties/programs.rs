//! Files of any content as programs: as many answers as questions, names that cover what was asked,
//! and the same answers one by one. They are unwound as well.

use std::path::PathBuf;
use std::sync::Arc;

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, Resolution};
use prof_pclntab::{Layout, Machine, Table};
use prof_symbolizer::{FoundFile, MappedFile, Options, Symbolizer, read_build_id};

use prof_unwinder::Arch;

use super::elf::{AARCH64, Kind, TEXT, X86_64, program, segments};
use super::{Numbers, unwinding};

/// Any bytes as a file.
pub(crate) fn elf(bytes: &[u8]) {
    let offsets = (0x1000..0x1400).step_by(0x40).chain([0, 1, u64::MAX]);
    check(bytes.to_vec(), offsets.collect());
    for place in [0, 0x123, 0x4567] {
        unwinding::check(bytes.to_vec(), Arch::X86_64, 0..0x2000, place, &STACK);
    }
}

/// A stack, of which some words are made to lead to the code.
const STACK: [u8; 0x100] = [0; 0x100];

/// A Go program without sections: the table, data that lead to its text, and relocations, whose sizes and the
/// address of the data come first.
pub(crate) fn go_program(bytes: &[u8]) {
    let mut seed = Numbers(bytes);
    let (sizes, data_start) = (seed.next(), seed.next() & !0xf);
    let (table, rest) = seed.0.split_at(seed.0.len().min(sizes as usize & 0xfff));
    let (data, relocations) = rest.split_at(rest.len().min((sizes >> 16) as usize & 0xfff));
    let data = [b"\xff Go buildinf:\0\0", data].concat();
    let dynamic = [7, GO_RELOCATIONS, 8, relocations.len() as u64, 0, 0];
    let dynamic = dynamic.map(u64::to_le_bytes).concat();
    let text = [0x90; GO_TEXT_SIZE];
    let parts = [
        (Kind::Code, TEXT, &text[..]),
        (Kind::Constants, GO_TABLE, table),
        (Kind::Data, data_start, &data),
        (Kind::Data, GO_RELOCATIONS, relocations),
        (Kind::Dynamic, GO_RELOCATIONS, &dynamic),
    ];
    let offsets = TEXT..TEXT + text.len() as u64;
    for (machine, arch) in [(X86_64, Arch::X86_64), (AARCH64, Arch::Aarch64)] {
        let file = segments(machine, TEXT, &parts);
        for place in [0, 0x31] {
            unwinding::check(file.clone(), arch, offsets.clone(), place, &STACK);
        }
        check(file, offsets.clone().step_by(0x10).collect());
    }
}

/// Where a [`go_program`] has its table.
pub(crate) const GO_TABLE: u64 = 0x50_0000;
/// Where it has its relocations.
const GO_RELOCATIONS: u64 = 0x70_0000;
/// How much code it has.
const GO_TEXT_SIZE: usize = 0x50;

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
