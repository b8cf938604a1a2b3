//! Which calls the Go compiler inlined: each function has a tree of them, outside of its table.

use std::ops::RangeInclusive;

use object::{Object, ObjectSection};
use prof_pclntab::{Function, Machine, Program, Table, Version};

use crate::elf::Reader;
use crate::go_program::GoProgram;

/// The trees of all functions of a program.
#[derive(Debug)]
pub(crate) struct InlineTrees {
    bytes: Reader, // what `FUNCDATA_InlTree` offsets count from: `go:func.*`
    machine: Machine,
    version: Version,
}

/// A call that was inlined.
pub(crate) struct InlinedCall {
    /// Where the name of the function that was called lies among the table's.
    pub(crate) name: u32,
    /// Offset in the function of an instruction at the call in the caller's source.
    pub(crate) parent_pc: u64,
}

/// Which words of the runtime's module data may point to the trees, more of them than there are versions of
/// the table: 38 in release 1.18, 40 in 1.20, 43 in 1.27.
const IN_MODULE_DATA: RangeInclusive<u64> = 38..=44;
/// The section that the newest releases have for them.
const SECTION: &str = ".go.func";

/// The number of a function's offset among the trees (`FUNCDATA_InlTree`).
const TREE: u32 = 3;
/// The number of the table of indices into its tree (`PCDATA_InlTreeIndex`).
const INDICES: u32 = 2;

impl InlineTrees {
    /// Those of a program with a table, which begins at a virtual address; `None` before release 1.18, or
    /// where nothing leads to trees that make sense.
    pub(crate) fn find(program: &GoProgram<'_>, table: &Table<'_>, start: u64) -> Option<Self> {
        let version = table.layout().version();
        if version < Version::Go1_18 {
            return None;
        }
        let section = program.object.section_by_name(SECTION);
        let by_section = section.map(|section| section.address());
        let data = || table.layout().module_data(program, start);
        let by_data = std::iter::once_with(data).flatten().flat_map(|data| {
            let width = u64::from(program.machine.address_size);
            let at = IN_MODULE_DATA.map(move |index| data.checked_add(index * width));
            at.filter_map(|at| program.word(at?))
        });
        by_section.into_iter().chain(by_data).find_map(|address| {
            let trees = Self {
                bytes: program.loaded_from(address)?,
                machine: program.machine,
                version,
            };
            trees.fit(table).then_some(trees)
        })
    }

    /// The innermost call that was inlined at an offset in a function.
    pub(crate) fn call_at(&self, function: &Function<'_>, offset: u64) -> Option<InlinedCall> {
        let tree = function.func_data(TREE)?;
        let index = function.pc_data(INDICES)?.at(offset)?;
        self.call(tree, u32::try_from(index).ok()?)
    }

    /// Whether the first functions' trees, read from where they are taken to be, make sense.
    fn fit(&self, table: &Table<'_>) -> bool {
        const ENOUGH: usize = 16;
        let indices = 0..table.function_count().min(10_000);
        let functions = indices.filter_map(|index| table.function(index));
        let trees = functions.filter_map(|function| Some((function.func_data(TREE)?, function)));
        let mut seen = 0;
        for (tree, function) in trees.take(ENOUGH) {
            let fits = self.call(tree, 0).is_some_and(|call| {
                call.parent_pc < function.size() && is_name_start(table, call.name)
            });
            if !fits {
                return false;
            }
            seen += 1;
        }
        seen > 0
    }

    fn call(&self, tree: u32, index: u32) -> Option<InlinedCall> {
        let (size, name, parent) = match self.version {
            Version::Go1_20 => (16, 4, 8),
            _ => (20, 12, 16),
        };
        let at = u64::from(tree) + u64::from(index) * size;
        let at = usize::try_from(at).ok()?;
        let field = |offset: usize| {
            self.machine
                .u32(self.bytes.bytes(), at.checked_add(offset)?)
        };
        Some(InlinedCall {
            name: field(name)?,
            parent_pc: u64::try_from(field(parent)?.cast_signed()).ok()?,
        })
    }
}

/// Whether another name ends just before this one.
fn is_name_start(table: &Table<'_>, offset: u32) -> bool {
    let before = usize::try_from(offset)
        .ok()
        .and_then(|it| it.checked_sub(1));
    let ends = before.is_none_or(|before| table.names().get(before) == Some(&0));
    ends && table.name(offset).is_some()
}
