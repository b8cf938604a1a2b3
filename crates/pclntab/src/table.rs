//! The sorted list of functions, and the texts that records refer to.

use crate::function::Function;
use crate::layout::{Layout, Version};

/// A table, for as long as its bytes are lent.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) layout: &'a Layout,
    text_start: u64,
}

impl<'a> Table<'a> {
    /// The table with a layout that was read from these bytes, whose text starts at a virtual address:
    /// [`Layout::text_start`].
    pub fn new(bytes: &'a [u8], layout: &'a Layout, text_start: u64) -> Self {
        Self {
            bytes,
            layout,
            text_start,
        }
    }

    /// Where its parts lie.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// The function around a virtual address.
    pub fn find(&self, vaddr: u64) -> Option<Function<'a>> {
        let (mut low, mut high) = (0, self.layout.functions); // below low they start before, from high on behind
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= vaddr {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let function = self.function(low.checked_sub(1)?)?;
        (vaddr < function.end()).then_some(function)
    }

    /// How many functions there are; at least one.
    pub fn function_count(&self) -> usize {
        self.layout.functions
    }

    /// A function by its number in the order of addresses; `None` where it is damaged, or there is none.
    pub fn function(&self, index: usize) -> Option<Function<'a>> {
        if index >= self.layout.functions {
            return None;
        }
        let extent = self.entry(index)?..self.entry(index + 1)?;
        let size = self.layout.entry_size();
        let at = self.layout.list + (2 * index + 1) * size;
        let offset = usize::try_from(self.layout.machine.uint(self.bytes, at, size)?).ok()?;
        let record = self.layout.records.checked_add(offset)?;
        let fields = record.checked_add(size)?;
        (extent.start < extent.end).then(|| Function::new(*self, extent, fields))
    }

    /// The virtual address of the first function.
    pub fn start(&self) -> Option<u64> {
        self.entry(0)
    }

    /// The virtual address behind the last function.
    pub fn end(&self) -> Option<u64> {
        self.entry(self.layout.functions)
    }

    /// What names are offsets in, up to the end of the table.
    pub fn names(&self) -> &'a [u8] {
        self.bytes.get(self.layout.names..).unwrap_or_default()
    }

    /// The name at an offset in the names; `None` where there is none, or an empty one.
    pub fn name(&self, offset: u32) -> Option<&'a [u8]> {
        text(self.names(), usize::try_from(offset).ok()?).filter(|name| !name.is_empty())
    }

    /// The first address of a function by its number; of one past the last, the end of the text.
    fn entry(&self, index: usize) -> Option<u64> {
        let size = self.layout.entry_size();
        let at = self.layout.list + 2 * index * size;
        let entry = self.layout.machine.uint(self.bytes, at, size)?;
        self.text_start.checked_add(entry)
    }

    /// The name of a file by its number among those of a compilation unit.
    pub(crate) fn file(&self, unit: Option<u32>, number: u32) -> Option<&'a [u8]> {
        let Layout {
            version,
            machine,
            units,
            files,
            ..
        } = *self.layout;
        let offset = |list: usize, index: u64| {
            let at = list.checked_add(usize::try_from(index.checked_mul(4)?).ok()?)?;
            usize::try_from(machine.u32(self.bytes, at)?).ok()
        };
        let at = match version {
            // The list of files holds offsets in the table itself.
            Version::Go1_2 => offset(files, number.into())?,
            _ => {
                let index = u64::from(unit?) + u64::from(number);
                files.checked_add(offset(units, index)?)?
            }
        };
        text(self.bytes, at)
    }
}

/// What there is up to a zero.
fn text(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    let len = bytes.iter().position(|&byte| byte == 0)?;
    Some(&bytes[..len])
}
