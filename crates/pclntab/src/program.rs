//! What a program's own bytes tell where no section does: that Go built it, where its table lies, and where
//! the text starts that the table counts from. That is the symbol `runtime.text`, and not where `.text`
//! begins if C code was linked in.
//!
//! In: parts and words of the program. Out: addresses, or none.

use crate::layout::Layout;
use crate::machine::Machine;

/// Where a table's header has it, in releases 1.18 to 1.25, in addresses' widths behind the first 8 bytes.
const IN_HEADER: u64 = 2;
/// Which word of the module data has it; in all releases.
const IN_MODULE_DATA: u64 = 22;

/// What the linker puts in front of what it tells about the build, at an aligned address among the data.
const BUILD_INFO: &[u8] = b"\xff Go buildinf:";
const BUILD_INFO_ALIGNMENT: usize = 16;
/// Where a table may begin.
const TABLE_ALIGNMENT: usize = 8;

/// A part of a file, without code.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The virtual address of its first byte.
    pub vaddr: u64,
    /// What the file has there.
    pub bytes: &'a [u8],
    /// Whether the program may write to it.
    pub is_writable: bool,
}

impl<'a> Part<'a> {
    /// What begins at aligned addresses, up to the end of the part, and these addresses.
    fn aligned(self, alignment: usize) -> impl Iterator<Item = (u64, &'a [u8])> {
        let first = (self.vaddr.wrapping_neg() % alignment as u64) as usize;
        let starts = (first..self.bytes.len()).step_by(alignment);
        starts.map_while(move |at| {
            let vaddr = self.vaddr.checked_add(at as u64)?;
            Some((vaddr, &self.bytes[at..]))
        })
    }
}

/// How many places that point to a table are looked at, each of which may take all relocations. Real
/// programs have few.
const MOST_POINTERS: usize = 16;
/// How many parts are read. Real programs have few, and those of others may overlap.
const MOST_PARTS: usize = 64;

/// The program that a table is of, by the virtual addresses of its file.
pub trait Program {
    /// Whether an address lies in code.
    fn is_code(&self, vaddr: u64) -> bool;

    /// The word that the file has at an address.
    fn file_word(&self, vaddr: u64) -> Option<u64>;

    /// The parts of the file that are loaded and hold no code.
    fn parts(&self) -> impl Iterator<Item = Part<'_>>;

    /// The words that the dynamic linker will write where the file is loaded as its addresses say: where, and
    /// which value.
    fn relocated_words(&self) -> impl Iterator<Item = (u64, u64)>;

    /// The word at an address as it is when the program runs.
    fn word(&self, vaddr: u64) -> Option<u64> {
        match self.file_word(vaddr)? {
            0 => self
                .relocated_words()
                .find_map(|(at, value)| (at == vaddr).then_some(value)),
            value => Some(value),
        }
    }
}

fn parts(program: &impl Program) -> impl Iterator<Item = Part<'_>> {
    program.parts().take(MOST_PARTS)
}

/// Whether Go's linker left what it tells about each build.
pub fn has_build_info(program: &impl Program) -> bool {
    let data = parts(program).filter(|part| part.is_writable);
    data.flat_map(|part| part.aligned(BUILD_INFO_ALIGNMENT))
        .any(|(_, bytes)| bytes.starts_with(BUILD_INFO))
}

impl Layout {
    /// The virtual address of the first table among the parts of a program, by the bytes it begins with.
    ///
    /// All parts are read up to there, so that one should know that there is such a table.
    pub fn search(program: &impl Program, machine: Machine) -> Option<u64> {
        let magics = match machine.is_big_endian {
            true => 0..3,
            false => 1..4,
        };
        let mut starts = parts(program).flat_map(|part| part.aligned(TABLE_ALIGNMENT));
        let found = starts.find(|(_, table)| {
            table.get(magics.clone()) == Some(&[0xff; 3]) && Self::read(table, machine).is_some()
        });
        found.map(|(vaddr, _)| vaddr)
    }

    /// The virtual address that entries count from, of the table at a virtual address of a program: of
    /// `runtime.text`, or 0 where they are whole addresses. `None` if nothing leads to code.
    pub fn text_start(&self, program: &impl Program, table: u64) -> Option<u64> {
        if !self.version.has_text_start() {
            return Some(0);
        }
        let word = u64::from(self.machine.address_size);
        let in_header = || program.word(table.checked_add(8 + IN_HEADER * word)?);
        let in_data = || {
            let data = self.module_data(program, table)?;
            program.word(data.checked_add(IN_MODULE_DATA * word)?)
        };
        let is_code = |&text: &u64| program.is_code(text);
        in_header()
            .filter(is_code)
            .or_else(|| in_data().filter(is_code))
    }

    /// The virtual address of the runtime's data about a program (`runtime.firstmoduledata`), which begin with
    /// a pointer to the table and one to the names inside it; of releases since 1.16.
    pub fn module_data(&self, program: &impl Program, table: u64) -> Option<u64> {
        let width = usize::from(self.machine.address_size);
        let names = table.checked_add(u64::try_from(self.names).ok()?)?;
        let is_followed = |at: &u64| {
            let next = at.checked_add(width as u64);
            next.and_then(|at| program.word(at)) == Some(names)
        };
        let relocated = program.relocated_words();
        let by_linker = relocated.filter(|&(_, value)| value == table);
        let data = parts(program).filter(|part| part.is_writable);
        let in_file = data.flat_map(|part| part.aligned(width));
        let in_file = in_file.filter(|(_, word)| self.machine.address(word, 0) == Some(table));
        let places = by_linker.map(|(at, _)| at).chain(in_file.map(|(at, _)| at));
        places.take(MOST_POINTERS).find(is_followed)
    }
}
