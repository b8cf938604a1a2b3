//! Go's own function table, which survives `strip`: names, lines and inlined calls by address.
//!
//! In: a file with such a table, which `prof-pclntab` reads. Out: the functions around an address.

use std::sync::Arc;

use object::{Object, ObjectSection};
use prof_model::SourceLine;
use prof_pclntab::{Function, Layout, Table};

use crate::code_place::{PlaceFrame, PlaceFunction};
use crate::elf::Reader;
use crate::go_inlining::InlineTrees;
use crate::go_program::GoProgram;
use crate::mapped_file::MappedFile;
use crate::names::Names;

/// More calls than any compiler inlines into each other: the parents of damaged entries may form a
/// ring.
const DEEPEST_INLINING: usize = 256;

/// `.gopclntab` of one program.
#[derive(Debug)]
pub(crate) struct GoTable {
    bytes: Reader,
    layout: Layout,
    text_start: u64,
    inline_trees: Option<InlineTrees>,
}

impl GoTable {
    /// The table of `image`; `None` if it was not made by Go, or by a release that is not known.
    pub(crate) fn load(image: &Arc<MappedFile>) -> Option<Self> {
        let object = object::File::parse((**image).as_ref()).ok()?;
        let program = GoProgram::new(image, &object);
        let (start, bytes) = program.table()?;
        let layout = Layout::read(bytes.bytes(), program.machine)?;
        // Where the program does not tell, most have nothing before the text of Go.
        let text = || Some(object.section_by_name(".text")?.address());
        let text_start = layout.text_start(&program, start).or_else(text)?;
        let table = Table::new(bytes.bytes(), &layout, text_start);
        let inline_trees = InlineTrees::find(&program, &table, start);
        Some(Self {
            bytes,
            layout,
            text_start,
            inline_trees,
        })
    }

    /// The function around `address`.
    pub(crate) fn function(&self, address: u64, names: &mut Names) -> Option<PlaceFunction> {
        let function = self.table().find(address)?;
        Some(PlaceFunction {
            name: text(function.name()?, names),
            address: function.entry(),
            size: function.size(),
        })
    }

    /// Where the function around `address` ends; before the first one, where that starts.
    pub(crate) fn end(&self, address: u64) -> Option<u64> {
        let table = self.table();
        match table.find(address) {
            Some(function) => Some(function.end()),
            None => table.start().filter(|&first| first > address),
        }
    }

    /// The functions around `address`, innermost first; the last one is the physical function.
    pub(crate) fn frames(&self, address: u64, names: &mut Names) -> Vec<PlaceFrame> {
        let table = self.table();
        let Some(function) = table.find(address) else {
            return Vec::new();
        };
        let mut frames = Vec::new();
        let mut offset = address - function.entry();
        while let Some(trees) = &self.inline_trees
            && frames.len() < DEEPEST_INLINING
            && let Some(call) = trees.call_at(&function, offset)
        {
            frames.push(PlaceFrame {
                name: table.name(call.name).map(|name| text(name, names)),
                location: line(&function, offset, names),
            });
            offset = call.parent_pc;
        }
        frames.push(PlaceFrame {
            name: function.name().map(|name| text(name, names)),
            location: line(&function, offset, names),
        });
        frames
    }

    fn table(&self) -> Table<'_> {
        Table::new(self.bytes.bytes(), &self.layout, self.text_start)
    }
}

/// The place in the source of the instruction at an offset in a function.
fn line(function: &Function<'_>, offset: u64, names: &mut Names) -> Option<SourceLine> {
    let file = function.files()?.at(offset)?;
    let line = function.lines()?.at(offset)?;
    Some(SourceLine {
        file: text(function.file(u32::try_from(file).ok()?)?, names),
        line: u32::try_from(line).ok()?,
    })
}

fn text(bytes: &[u8], names: &mut Names) -> Arc<str> {
    names.plain(&String::from_utf8_lossy(bytes))
}
