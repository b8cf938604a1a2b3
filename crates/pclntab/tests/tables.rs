//! Tables of each release, whole and damaged.

mod common;

use std::cell::Cell;

use common::{NAMES, PC_TABLES, table};
use prof_pclntab::{
    Function, Layout, Machine, Part, PcValues, Program, Table, Version, has_build_info,
};

const TEXT: u64 = 0x40_1000;

const LITTLE_64: Machine = Machine {
    is_big_endian: false,
    address_size: 8,
};

/// All ways to keep numbers.
fn machines() -> impl Iterator<Item = Machine> {
    [(false, 8), (false, 4), (true, 8), (true, 4)]
        .into_iter()
        .map(|(is_big_endian, address_size)| Machine {
            is_big_endian,
            address_size,
        })
}

fn read(bytes: &[u8], machine: Machine) -> Option<Layout> {
    Layout::read(bytes, machine)
}

/// Calls something for each machine and version, with the table and whether the second function is
/// `runtime.sigtramp`.
fn each(check: impl Fn(Version, Table<'_>, bool)) {
    for machine in machines() {
        for version in Version::ALL {
            for is_sigtramp in [false, true] {
                let bytes = table(machine, version, TEXT, TEXT, is_sigtramp);
                let layout = read(&bytes, machine).unwrap();
                assert_eq!(layout.version(), version);
                let start = if version >= Version::Go1_18 { TEXT } else { 0 };
                check(version, Table::new(&bytes, &layout, start), is_sigtramp);
            }
        }
    }
}

fn rows(values: Option<PcValues<'_>>) -> Option<Vec<(u32, u32, i32)>> {
    values?
        .map(|value| value.map(|it| (it.pcs.start, it.pcs.end, it.value)))
        .collect()
}

#[test]
fn each_release_says_where_functions_are_and_what_they_are_called() {
    each(|version, table, is_sigtramp| {
        let second: &[u8] = match is_sigtramp {
            true => b"runtime.sigtramp",
            false => b"runtime.mstart",
        };
        let first = Some((TEXT, TEXT + 0x20, Some(&b"main.f"[..])));
        let second = Some((TEXT + 0x20, TEXT + 0x50, Some(second)));
        let at = |offset: u64| {
            let function = table.find(TEXT.wrapping_add(offset))?;
            Some((function.entry(), function.end(), function.name()))
        };
        let found = [u64::MAX, 0, 0x1f, 0x20, 0x4f, 0x50].map(at);
        assert_eq!(
            found,
            [None, first, first, second, second, None],
            "{version:?}"
        );
        assert_eq!(
            (table.start(), table.end()),
            (Some(TEXT), Some(TEXT + 0x50))
        );
        let by_number: Vec<_> = (0..4).map(|it| Some(table.function(it)?.entry())).collect();
        assert_eq!(by_number, [Some(TEXT), Some(TEXT + 0x20), None, None]);
        assert_eq!(table.function_count(), 2);
    });
}

#[test]
fn each_release_says_how_deep_the_stack_is_and_where_it_begins() {
    each(|version, table, is_sigtramp| {
        let [first, second] = [0, 0x20].map(|offset| table.find(TEXT + offset).unwrap());
        let depths = rows(first.stack_depths()).unwrap();
        let expected = [(0, 4, 0), (4, 0x1c, 24), (0x1c, 0x20, 0)];
        assert_eq!(depths, expected, "{version:?}");
        assert_eq!(rows(second.stack_depths()).unwrap(), [(0, 0x30, 0)]);
        let outermost = [first, second].map(|function| function.is_outermost());
        assert_eq!(outermost, [false, !is_sigtramp], "{version:?}");
    });
}

#[test]
fn each_release_says_of_which_lines_of_which_files_the_instructions_are() {
    each(|version, table, _| {
        let [first, second] = [0, 0x20].map(|offset| table.find(TEXT + offset).unwrap());
        let files = rows(first.files()).unwrap();
        assert_eq!(files, [(0, 0x10, 0), (0x10, 0x20, 1)], "{version:?}");
        let lines = rows(first.lines()).unwrap();
        assert_eq!(lines, [(0, 0x10, 10), (0x10, 0x20, 22)], "{version:?}");
        let names = [0, 1].map(|number| first.file(number));
        assert_eq!(names, [Some(&b"a.go"[..]), Some(b"b.go")], "{version:?}");
        assert!(second.files().is_none() && second.lines().is_none());
    });
}

#[test]
fn data_about_a_function_are_found_by_their_number() {
    each(|version, table, _| {
        let [first, second] = [0, 0x20].map(|offset| table.find(TEXT + offset).unwrap());
        let tables = [1, 2, 3].map(|number| rows(first.pc_data(number)));
        let third = Some(vec![(0, 4, -1), (4, 0x20, 0)]);
        let third = third.filter(|_| version > Version::Go1_2);
        assert_eq!(tables, [None, third, None], "{version:?}");
        let data = [2, 3, 4].map(|number| first.func_data(number));
        let fourth = (version >= Version::Go1_18).then_some(0x77);
        assert_eq!(data, [None, fourth, None], "{version:?}");
        assert_eq!((second.func_data(3), rows(second.pc_data(2))), (None, None));
    });
}

/// A test's program: code, and words at their addresses.
struct Words {
    file: Vec<(u64, u64)>,
    relocated: Vec<(u64, u64)>,
    data: (u64, Vec<u8>),
}

impl Program for Words {
    fn is_code(&self, vaddr: u64) -> bool {
        (TEXT..TEXT + 0x50).contains(&vaddr)
    }

    fn file_word(&self, vaddr: u64) -> Option<u64> {
        let (start, data) = &self.data;
        let known = self.file.iter().find(|word| word.0 == vaddr);
        let in_data = || LITTLE_64.address(data, vaddr.checked_sub(*start)? as usize);
        known.map(|word| word.1).or_else(in_data)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        std::iter::once(Part {
            vaddr: self.data.0,
            bytes: &self.data.1,
            is_writable: true,
        })
    }

    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.relocated.iter().copied()
    }
}

#[test]
fn the_text_starts_where_the_header_says_or_else_module_data_if_that_is_code() {
    const AT: u64 = 0x50_0000;
    const DATA: u64 = 0x60_0000;
    let layout = |version| read(&table(LITTLE_64, version, TEXT, 0, true), LITTLE_64).unwrap();
    let newest = layout(Version::Go1_20);
    let start = |header: u64, data: &[u64], relocated: &[(u64, u64)]| {
        let program = Words {
            file: vec![(AT + 24, header)],
            relocated: relocated.to_vec(),
            data: (
                DATA,
                data.iter().flat_map(|word| word.to_le_bytes()).collect(),
            ),
        };
        newest.text_start(&program, AT)
    };
    let names = AT + NAMES as u64;
    let mut data = vec![7, AT, 1, AT, names]; // what looks like it, and it
    data.resize(3 + 22, 0);
    data.push(TEXT + 0x20);
    assert_eq!(start(TEXT, &data, &[]), Some(TEXT));
    assert_eq!(start(0, &data, &[(AT + 24, TEXT)]), Some(TEXT));
    assert_eq!(start(0, &data, &[]), Some(TEXT + 0x20));
    assert_eq!(start(TEXT - 1, &data, &[]), Some(TEXT + 0x20));
    let pointers = [(DATA, AT), (DATA + 8, names), (DATA + 22 * 8, TEXT)];
    assert_eq!(start(0, &[0; 23], &pointers), Some(TEXT));
    assert_eq!(start(0, &[0; 23], &pointers[..2]), None);
    assert_eq!(start(0, &data[..5], &[]), None);
    let nothing = Words {
        file: Vec::new(),
        relocated: Vec::new(),
        data: (u64::MAX - 3, AT.to_le_bytes().to_vec()),
    };
    assert_eq!(newest.text_start(&nothing, AT), None);
    let old = layout(Version::Go1_16);
    assert_eq!(old.text_start(&nothing, AT), Some(0));
}

/// A program of which nothing is known but its data.
fn data(vaddr: u64, bytes: Vec<u8>) -> Words {
    Words {
        file: Vec::new(),
        relocated: Vec::new(),
        data: (vaddr, bytes),
    }
}

#[test]
fn a_table_is_found_by_its_bytes_among_others() {
    const AT: u64 = 0x50_0004;
    for machine in machines() {
        let search = |bytes: &[u8]| Layout::search(&data(AT, bytes.to_vec()), machine);
        let table = table(machine, Version::Go1_20, TEXT, TEXT, true);
        let mut bytes = vec![0; 4];
        bytes.extend(&table[..0x10]); // its magic alone, without the rest
        bytes.resize(0x104, 0xff);
        assert_eq!(search(&bytes), None);
        bytes.extend(&table);
        assert_eq!(search(&bytes), Some(AT + 0x104));
        bytes.insert(0, 0);
        assert_eq!(search(&bytes), None); // not aligned
        for other in machines().filter(|&other| other != machine) {
            assert!(read(&table, other).is_none());
        }
    }
}

/// A program that counts how many relocations were looked at.
struct Counting(Words, Cell<usize>);

impl Program for Counting {
    fn is_code(&self, vaddr: u64) -> bool {
        self.0.is_code(vaddr)
    }

    fn file_word(&self, vaddr: u64) -> Option<u64> {
        self.0.file_word(vaddr)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.0.parts()
    }

    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)> {
        let words = self.0.relocated_words();
        words.inspect(|_| self.1.set(self.1.get() + 1))
    }
}

#[test]
fn many_pointers_to_a_table_are_not_all_compared_with_each_other() {
    const AT: u64 = 0x50_0000;
    const COUNT: u64 = 10_000;
    let layout = read(
        &table(LITTLE_64, Version::Go1_20, TEXT, 0, false),
        LITTLE_64,
    )
    .unwrap();
    let mut program = data(0x60_0000, vec![0; 16 * COUNT as usize]);
    program.relocated = (0..COUNT).map(|at| (0x60_0000 + at * 16, AT)).collect();
    let program = Counting(program, Cell::default());
    assert_eq!(layout.text_start(&program, AT), None);
    let looked_at = program.1.get() as u64;
    assert!(looked_at < 20 * COUNT, "{looked_at}");
}

#[test]
fn what_go_tells_about_a_build_is_at_an_aligned_address_of_the_data() {
    let mut bytes = vec![0; 0x18];
    bytes.extend(b"\xff Go buildinf:\x08\x02");
    let is_at = |vaddr| has_build_info(&data(vaddr, bytes.clone()));
    assert_eq!([0x1000, 0x1004, 0x1008].map(is_at), [false, false, true]);
    assert!(!has_build_info(&data(0x1008, bytes[..0x20].to_vec())));
    assert!(!has_build_info(&data(u64::MAX - 7, bytes.clone()))); // behind the last address
    assert!(!has_build_info(&data(u64::MAX, Vec::new())));
}

/// The values of the first function where its depths are these bytes.
fn depths_of(steps: &[u8]) -> Option<Vec<(u32, u32, i32)>> {
    let mut bytes = table(LITTLE_64, Version::Go1_20, TEXT, TEXT, true);
    bytes[PC_TABLES + 1..][..steps.len()].copy_from_slice(steps);
    let layout = read(&bytes, LITTLE_64)?;
    let function = Table::new(&bytes, &layout, TEXT).find(TEXT)?;
    rows(function.stack_depths())
}

#[test]
fn values_end_with_a_step_of_nothing_and_are_damaged_where_they_do_not_go_on() {
    let rows = depths_of(&[0, 4, 2, 4, 0]).unwrap();
    assert_eq!(rows, [(0, 4, -1), (4, 8, 0)]);
    let past_the_end = depths_of(&[2, 4, 0x80, 0x01, 0x80, 0x01, 2, 4]).unwrap();
    assert_eq!(past_the_end, [(0, 4, 0), (4, 132, 64)]);
    assert_eq!(depths_of(&[2, 4, 2, 0]), None); // reaches nowhere
    assert_eq!(depths_of(&[2, 4, 0x82, 0x80, 0x80, 0x80, 0x80, 0]), None); // too long
    assert_eq!(depths_of(&[1, 4, 0xff, 0xff, 0xff, 0xff, 0xf, 4]), None); // too low
}

#[test]
fn a_table_of_no_end_has_a_million_values() {
    let layout_of = |bytes: &[u8]| read(bytes, LITTLE_64).unwrap();
    let mut bytes = table(LITTLE_64, Version::Go1_20, TEXT, TEXT, true);
    let end = 256 + 4 * 4; // the end of the text
    bytes[end..end + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes[256 + 2 * 4..][..4].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
    let steps = bytes.len() - PC_TABLES;
    let field = 320 + 4 + 12;
    bytes[field..field + 4].copy_from_slice(&(steps as u32).to_le_bytes());
    bytes.extend([2, 1, 1, 1].repeat(1 << 20));
    let layout = layout_of(&bytes);
    let function = Table::new(&bytes, &layout, TEXT).find(TEXT).unwrap();
    assert_eq!(function.stack_depths().unwrap().count(), 1 << 20);
}

/// Asks for all that there is of a function.
fn ask(function: &Function<'_>) -> usize {
    let values = [function.stack_depths(), function.files(), function.lines()];
    let values = values
        .into_iter()
        .chain((0..4).map(|it| function.pc_data(it)));
    let values = values.flatten().map(Iterator::count).sum::<usize>();
    let texts = (0..3).filter_map(|number| function.file(number)).count();
    let data = (0..9).filter_map(|number| function.func_data(number));
    let names = function.name().into_iter().count();
    values + texts + data.count() + names + usize::from(function.is_outermost())
}

#[test]
fn a_table_that_is_cut_or_damaged_does_no_harm() {
    for version in Version::ALL {
        let whole = table(LITTLE_64, version, TEXT, TEXT, true);
        let fits = match version {
            Version::Go1_2 => 16 + 8 * 6,
            Version::Go1_16 => 256 + 8 * 6,
            _ => 256 + 4 * 6,
        };
        for len in 0..whole.len() {
            let layout = read(&whole[..len], LITTLE_64);
            assert_eq!(layout.is_some(), len >= fits, "{version:?}, {len}");
        }
        let check = |bytes: &[u8]| {
            let Some(layout) = read(bytes, LITTLE_64) else {
                return;
            };
            for start in [0, TEXT, u64::MAX] {
                let table = Table::new(bytes, &layout, start);
                for vaddr in [TEXT - 1, TEXT, TEXT + 4, TEXT + 0x20, TEXT + 0x50, u64::MAX] {
                    let found = table.find(vaddr);
                    assert!(found.is_none_or(|it| it.entry() <= vaddr && vaddr < it.end()));
                    table.find(vaddr).as_ref().map(ask);
                }
                let bounds = [table.start(), table.end()].into_iter().flatten();
                assert!(bounds.min().is_none_or(|bound| bound >= start));
                for index in [0, 1, 2, usize::MAX] {
                    table.function(index).as_ref().map(ask);
                }
            }
        };
        for len in fits..whole.len() {
            check(&whole[..len]);
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                check(&damaged);
            }
        }
    }
}
