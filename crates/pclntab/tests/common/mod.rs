//! A made-up table, for the tests of all who read one.

use prof_pclntab::{Machine, Version};

/// Where in a table its names lie.
pub(crate) const NAMES: usize = 128;
/// Where in a table its pc tables lie. They begin with the depths of the first function, behind one byte.
pub(crate) const PC_TABLES: usize = 192;

const FILES: usize = 160;
const UNITS: usize = 172;
const LIST: usize = 256; // but in release 1.2
const RECORDS: usize = 320;

/// What changes in the functions, as steps of a value from -1 on and of the pc.
const STEPS: [u8; 26] = [
    0, // no table
    2, 4, 48, 0x18, 47, 4, 0, // from 1 on the first one's depths: 0, 24, 0
    2, 0x30, 0, // from 8 on the second one's: 0
    2, 0x10, 2, 0x10, 0, // from 11 on the first one's files: 0, 1
    22, 0x10, 24, 0x10, 0, // from 16 on its lines: 10, 22
    0, 4, 2, 0x1c, 0, // from 21 on its third pc data: -1, 0
];

/// A table of two functions, of 0x20 and 0x30 bytes. The first one has 0, 24 and again 0 bytes of stack
/// from the offsets 0, 4 and 0x1c on, and is of line 10 of `a.go` up to 0x10, of line 22 of `b.go` behind.
/// The second one is `runtime.mstart`, with no stack, or `runtime.sigtramp`, which newer releases mark as
/// the end of Go's own traces.
pub(crate) fn table(
    machine: Machine,
    version: Version,
    text: u64,
    text_field: u64,
    is_sigtramp: bool,
) -> Vec<u8> {
    let word = usize::from(machine.address_size);
    let is_old = version == Version::Go1_2;
    let is_relative = version >= Version::Go1_18;
    let size = if is_relative { 4 } else { word };
    let list = if is_old { 8 + word } else { LIST };
    let base = if is_old { 0 } else { list };
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: u64, size: usize| {
        let value = match machine.is_big_endian {
            true => &value.to_be_bytes()[8 - size..],
            false => &value.to_le_bytes()[..size],
        };
        bytes[at..at + size].copy_from_slice(value);
    };
    put(0, version.magic().into(), 4);
    put(6, 1, 1);
    put(7, word as u64, 1);
    let [names, units, files, pc_tables] =
        [NAMES, UNITS, FILES, PC_TABLES].map(|place| place as u64);
    let parts = [names, units, files, pc_tables, list as u64];
    let header: Vec<u64> = match version {
        Version::Go1_2 => vec![2],
        Version::Go1_16 => [&[2, 0], &parts[..]].concat(),
        _ => [&[2, 0, text_field], &parts[..]].concat(),
    };
    for (index, value) in header.into_iter().enumerate() {
        put(8 + index * word, value, word);
    }
    if is_old {
        put(list + 5 * word, units, 4); // the list of files, which are offsets in the table
    }
    for index in 0..2 {
        let name = if is_old { files } else { 0 } + index * 5;
        put(UNITS + index as usize * 4, name, 4);
    }
    let start = if is_relative { 0 } else { text };
    let [names, pc_tables] = if is_old { [names, pc_tables] } else { [0, 0] };
    for (index, offset, name, depths) in [(0, 0, 1, 1), (1, 0x20, 8, 8)] {
        let record = RECORDS + index * 96;
        let at = list + index * 2 * size;
        put(at, start + offset, size);
        put(at + size, (record - base) as u64, size);
        put(record, start + offset, size);
        let fields = record + size;
        put(fields, names + name, 4);
        put(fields + 12, pc_tables + depths, 4);
        let is_first = index == 0;
        if is_first {
            put(fields + 16, pc_tables + 11, 4);
            put(fields + 20, pc_tables + 16, 4);
        }
        if is_old {
            continue;
        }
        put(fields + 24, 3, 4);
        let kind = fields + if version == Version::Go1_20 { 36 } else { 32 };
        put(kind + 1, u64::from(is_sigtramp && !is_first), 1);
        put(kind + 3, 4, 1);
        let none = u64::from(u32::MAX);
        let behind = match is_first {
            true => [0, 0, 21, none, none, none, 0x77],
            false => [0, 0, 0, none, none, none, none],
        };
        for (index, value) in behind.into_iter().enumerate() {
            put(kind + 4 + index * 4, value, 4);
        }
    }
    put(list + 4 * size, start + 0x50, size);
    let names: &[u8] = match is_sigtramp {
        true => b"\0main.f\0runtime.sigtramp\0",
        false => b"\0main.f\0runtime.mstart\0",
    };
    let texts: [(usize, &[u8]); 3] = [
        (NAMES, names),
        (FILES, b"a.go\0b.go\0"),
        (PC_TABLES, &STEPS),
    ];
    for (at, text) in texts {
        bytes[at..at + text.len()].copy_from_slice(text);
    }
    bytes
}
