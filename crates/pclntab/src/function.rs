//! A function's record.

use std::ops::Range;

use crate::layout::Version;
use crate::pc_values::PcValues;
use crate::table::Table;

/// A function of a table, for as long as the table's bytes are lent.
#[derive(Clone, Debug)]
pub struct Function<'a> {
    table: Table<'a>,
    extent: Range<u64>,
    /// The offset in the table of the fields behind the entry.
    fields: usize,
}

// Numbers of 32-bit fields in a record, counted behind the entry.
const NAME: usize = 0;
const STACK_DEPTHS: usize = 3;
const FILES: usize = 4;
const LINES: usize = 5;
const PC_DATA_COUNT: usize = 6;
const UNIT: usize = 7; // of releases since 1.16
const KIND: usize = 8; // the last one, of releases since 1.16, where 1.20 did not put another before it

/// Functions without a caller.
const OUTERMOST: [&[u8]; 3] = [b"runtime.goexit", b"runtime.mstart", b"runtime.rt0_go"];

/// Stands for an offset of data that a function does not have.
const NO_DATA: u32 = u32::MAX;

impl<'a> Function<'a> {
    pub(crate) fn new(table: Table<'a>, extent: Range<u64>, fields: usize) -> Self {
        Self {
            table,
            extent,
            fields,
        }
    }

    /// The virtual address of its first instruction.
    pub fn entry(&self) -> u64 {
        self.extent.start
    }

    /// The virtual address behind it, where the next one starts.
    pub fn end(&self) -> u64 {
        self.extent.end
    }

    /// Its bytes in memory, padding included; at least one.
    pub fn size(&self) -> u64 {
        self.extent.end - self.extent.start
    }

    /// Its name, which is not empty.
    pub fn name(&self) -> Option<&'a [u8]> {
        self.table.name(self.field(NAME)?)
    }

    /// Whether nothing calls it: it is where a stack begins. Its name says so, and not the mark that newer
    /// tables have for what Go's own traces end at: that is on what the kernel calls for a signal, too.
    pub fn is_outermost(&self) -> bool {
        self.name().is_some_and(|name| OUTERMOST.contains(&name))
    }

    /// How many bytes the stack pointer is below where it was at the entry. `None` of C code that was linked
    /// in, of which nothing is known.
    pub fn stack_depths(&self) -> Option<PcValues<'a>> {
        self.pc_values(self.field(STACK_DEPTHS)?)
    }

    /// The numbers of the files that its instructions are of, for [`Function::file`].
    pub fn files(&self) -> Option<PcValues<'a>> {
        self.pc_values(self.field(FILES)?)
    }

    /// The lines in these files.
    pub fn lines(&self) -> Option<PcValues<'a>> {
        self.pc_values(self.field(LINES)?)
    }

    /// The name of a file by its number in the function's compilation unit.
    pub fn file(&self, number: u32) -> Option<&'a [u8]> {
        self.table.file(self.field(UNIT), number)
    }

    /// One of the tables with further values, by its number (Go's `PCDATA_...`). `None` before release 1.16.
    pub fn pc_data(&self, number: u32) -> Option<PcValues<'a>> {
        if number >= self.field(PC_DATA_COUNT)? {
            return None;
        }
        self.pc_values(self.behind_fields(number)?)
    }

    /// The place of data about the function, by its number (Go's `FUNCDATA_...`), as an offset in the
    /// program's `go:func.*`. `None` before release 1.18, where these are addresses.
    pub fn func_data(&self, number: u32) -> Option<u32> {
        let [.., count] = self.kind()?;
        if number >= count.into() || !self.table.layout.version.has_text_start() {
            return None;
        }
        let index = self.field(PC_DATA_COUNT)?.checked_add(number)?;
        self.behind_fields(index).filter(|&data| data != NO_DATA)
    }

    /// What kind of function it is, marks, padding, how many data there are about it.
    fn kind(&self) -> Option<[u8; 4]> {
        let at = self.fields.checked_add(4 * self.kind_field()?)?;
        Some(*self.table.bytes.get(at..)?.first_chunk()?)
    }

    fn kind_field(&self) -> Option<usize> {
        match self.table.layout.version {
            Version::Go1_2 => None,
            Version::Go1_16 | Version::Go1_18 => Some(KIND),
            Version::Go1_20 => Some(KIND + 1),
        }
    }

    /// A number of the list behind the record.
    fn behind_fields(&self, index: u32) -> Option<u32> {
        let index = usize::try_from(index).ok()?;
        self.field(self.kind_field()?.checked_add(1)?.checked_add(index)?)
    }

    fn field(&self, number: usize) -> Option<u32> {
        let at = self.fields.checked_add(number.checked_mul(4)?)?;
        self.table.layout.machine.u32(self.table.bytes, at)
    }

    fn pc_values(&self, offset: u32) -> Option<PcValues<'a>> {
        if offset == 0 {
            return None; // the first byte stands for "no table"
        }
        let layout = self.table.layout;
        let start = layout
            .pc_tables
            .checked_add(usize::try_from(offset).ok()?)?;
        let steps = self.table.bytes.get(start..)?;
        Some(PcValues::new(steps, layout.quantum, self.size()))
    }
}
