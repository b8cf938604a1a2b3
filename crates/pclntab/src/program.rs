//! Where the text starts that a table counts from: the symbol `runtime.text`. It is not where `.text` begins if
//! C code was linked in.
//!
//! In: words of the program. Out: an address that the file itself tells, or none.

use std::ops::Range;

use crate::layout::Layout;

/// Where a table's header has it, in releases 1.18 to 1.25, in addresses' widths behind the first 8 bytes.
const IN_HEADER: u64 = 2;
/// Which word of the module data has it; in all releases.
const IN_MODULE_DATA: u64 = 22;

/// The program that a table is of, by the virtual addresses of its file.
pub trait Program {
    /// Whether an address lies in code.
    fn is_code(&self, vaddr: u64) -> bool;

    /// The word that the file has at an address.
    fn file_word(&self, vaddr: u64) -> Option<u64>;

    /// The parts of the file that hold its data, with their addresses. Pointers lie in them one behind another.
    fn data(&self) -> impl Iterator<Item = (u64, &[u8])>;

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

impl Layout {
    /// The virtual address that entries count from, of the table at some virtual addresses of a program: of
    /// `runtime.text`, or 0 where they are whole addresses. `None` if nothing leads to code.
    pub fn text_start(&self, program: &impl Program, table: &Range<u64>) -> Option<u64> {
        if !self.version.has_text_start() {
            return Some(0);
        }
        let word = u64::from(self.machine.address_size);
        let in_header = || program.word(table.start.checked_add(8 + IN_HEADER * word)?);
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
    /// a pointer to the table and one to the names inside it.
    pub fn module_data(&self, program: &impl Program, table: &Range<u64>) -> Option<u64> {
        let width = usize::from(self.machine.address_size);
        let is_followed = |at: &u64| {
            let next = at.checked_add(width as u64);
            let names = next.and_then(|at| program.word(at));
            names.is_some_and(|names| table.contains(&names))
        };
        let relocated = program.relocated_words();
        let by_linker = relocated.filter(|&(_, value)| value == table.start);
        let in_file = program.data().flat_map(|(start, bytes)| {
            let words = bytes.chunks_exact(width).enumerate();
            let equal =
                words.filter(|(_, word)| self.machine.address(word, 0) == Some(table.start));
            equal.filter_map(move |(index, _)| start.checked_add((index * width) as u64))
        });
        let mut places = by_linker.map(|(at, _)| at).chain(in_file);
        places.find(is_followed)
    }
}
