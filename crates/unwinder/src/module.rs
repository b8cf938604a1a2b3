//! Everything known about a mapped file: its unwind tables, and the functions that samples hit.
//!
//! In: a virtual address of the file. Out: the rule there. Tables are read in `tables`, instructions in
//! `arch`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;

use prof_model::DsoId;
use rustc_hash::FxHashMap;

use crate::Arch;
use crate::Images;
use crate::Stats;
use crate::allowance::Allowance;
use crate::arch::Cpu;
use crate::functions::{Around, Functions};
use crate::image::{Bytes, Image};
use crate::inference::{Inference, Inferred, Search};
use crate::tables::cfi::FrameTable;
use crate::tables::compile::Function;
use crate::tables::go_functions::GoFunctions;
use crate::tables::rule::{RuleId, RuleStore};

/// A mapped ELF file with its unwind tables.
pub(crate) struct Module {
    pub(crate) image: Image,
    // In the order in which they are asked: what the program itself uses first.
    eh_frame: Option<FrameTable>,
    /// Go's own table.
    go_functions: Option<GoFunctions>,
    debug_frame: Option<FrameTable>,
    /// Those of the separate debug file, once they were needed.
    debug_tables: Option<Vec<FrameTable>>,
    /// The functions that samples hit so far, by first address.
    functions: BTreeMap<u64, Function>,
    /// What was found out about code without tables.
    inference: Inference,
    symbols: OnceCell<Functions>,
}

impl Module {
    fn new(image: Image) -> Self {
        Self {
            eh_frame: FrameTable::eh_frame(&image),
            go_functions: GoFunctions::find(&image),
            debug_frame: FrameTable::debug_frame(&image),
            debug_tables: None,
            image,
            functions: BTreeMap::new(),
            inference: Inference::default(),
            symbols: OnceCell::new(),
        }
    }

    /// Whether its own tables say how to leave any frame.
    fn has_tables(&self) -> bool {
        self.eh_frame.is_some() || self.go_functions.is_some() || self.debug_frame.is_some()
    }

    /// The rule at a virtual address of the file; `None` where neither its own tables nor those of its
    /// debug file say anything.
    pub(crate) fn rule<C: Cpu>(
        &mut self,
        vaddr: u64,
        debug_file: &mut dyn FnMut() -> Option<Bytes>,
        rules: &mut RuleStore,
        stats: &mut Stats,
    ) -> Option<RuleId> {
        if let Some((_, function)) = self.functions.range(..=vaddr).next_back()
            && vaddr < function.end
        {
            return function.rule(vaddr);
        }
        let image = &self.image;
        let in_table = |table: &Option<FrameTable>, rules: &mut RuleStore| {
            let table = table.as_ref();
            table.and_then(|it| it.function::<C>(image, vaddr, rules))
        };
        let go = self.go_functions.as_ref();
        let mut function = in_table(&self.eh_frame, rules)
            .or_else(|| go.and_then(|it| it.function::<C>(image, vaddr, rules)))
            .or_else(|| in_table(&self.debug_frame, rules));
        if function.is_none() && image.is_code(vaddr) {
            let tables = self.debug_tables.get_or_insert_with(|| {
                let debug = debug_file().and_then(Image::parse).into_iter();
                let tables = debug.flat_map(|debug| FrameTable::of_debug_file(image, debug));
                tables.collect()
            });
            let mut tables = tables.iter();
            function = tables.find_map(|it| it.function::<C>(image, vaddr, rules));
        }
        let function = function?;
        stats.functions_compiled += 1;
        stats.rules = rules.len() as u64;
        let rule = function.rule(vaddr);
        self.functions.insert(function.start, function);
        rule
    }

    /// What the instructions of the function around a virtual address say, which no table covers.
    pub(crate) fn inferred<C: Cpu>(
        &mut self,
        vaddr: u64,
        rules: &mut RuleStore,
        allowance: &mut Allowance,
        stats: &mut Stats,
    ) -> Inferred {
        let Self {
            image,
            symbols,
            inference,
            ..
        } = self;
        let mut search = Search {
            image,
            symbols: symbols.get_or_init(|| Functions::read(image)),
            rules,
            allowance,
            stats,
        };
        inference.at::<C>(vaddr, &mut search)
    }

    /// The name of the function around a file offset, where Go's own table has it.
    pub(crate) fn go_function_name(&self, offset: u64) -> Option<&[u8]> {
        let functions = self.go_functions.as_ref()?;
        functions.name(&self.image, self.image.vaddr(offset)?)
    }

    /// Where functions are, as far as symbols tell.
    pub(crate) fn symbols(&self) -> &Functions {
        self.symbols.get_or_init(|| Functions::read(&self.image))
    }

    /// Where the function around a virtual address starts and ends, as far as symbols tell.
    pub(crate) fn function_around(&self, vaddr: u64) -> Option<Range<u64>> {
        match self.symbols().around(&self.image, vaddr)? {
            Around::Function(extent) => Some(extent),
            Around::Unlisted(_) => None,
        }
    }

    /// The extent of the function around a virtual address: by its table, else by symbols.
    pub(crate) fn extent(&self, vaddr: u64) -> Option<Range<u64>> {
        let known = self.functions.range(..=vaddr).next_back();
        match known.filter(|(_, function)| vaddr < function.end) {
            Some((&start, function)) => Some(start..function.end),
            None => self.function_around(vaddr),
        }
    }

    /// Whether a function with tables starts at a virtual address whose rule was asked for.
    pub(crate) fn is_function_start(&self, vaddr: u64) -> bool {
        self.functions.contains_key(&vaddr)
    }
}

/// The modules met so far; `None` for a DSO without an ELF file.
#[derive(Default)]
pub(crate) struct Modules {
    by_dso: FxHashMap<DsoId, Option<Box<Module>>>,
}

impl Modules {
    /// The module, read now if it has not been; `None` if its code is another architecture's.
    pub(crate) fn load(
        &mut self,
        dso: DsoId,
        arch: Arch,
        images: &mut dyn Images,
        stats: &mut Stats,
    ) -> Option<&mut Module> {
        self.by_dso
            .entry(dso)
            .or_insert_with(|| {
                stats.images += 1;
                let module = images.image(dso).and_then(Image::parse).map(Module::new);
                if !module.as_ref().is_some_and(Module::has_tables) {
                    stats.images_without_tables += 1;
                }
                module.map(Box::new)
            })
            .as_deref_mut()
            .filter(|module| module.image.arch == arch)
    }

    /// Forgets the module.
    pub(crate) fn forget(&mut self, dso: DsoId) {
        self.by_dso.remove(&dso);
    }

    /// The module, if it was read before.
    pub(crate) fn get(&self, dso: DsoId) -> Option<&Module> {
        self.by_dso.get(&dso)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prof_pclntab::Version;

    use super::*;
    use crate::arch::with_cpu;
    use crate::image::{MACHINE, elf_files as elf};
    use crate::tables::made_up_go_table;
    use crate::tables::rule::Saved;

    /// Of one entry, for as much text: the stack pointer is as it was at the call, and nothing called.
    fn debug_frame(size: u64) -> Vec<u8> {
        const UNDEFINED: [u8; 2] = [7, 16];
        let mut bytes = vec![16, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 1, 0x78, 16];
        bytes.extend([0xc, 7, 8]); // the canonical frame address
        bytes.extend(UNDEFINED);
        bytes.extend([0; 2]);
        bytes.extend([20, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([elf::TEXT, size].map(u64::to_le_bytes).concat());
        bytes
    }

    #[test]
    fn gos_own_table_is_asked_before_debug_frame_which_loses_what_a_signal_interrupted() {
        let text = [0x90; 0x60];
        let table = made_up_go_table::table(MACHINE, Version::Go1_20, elf::TEXT, elf::TEXT, true);
        let debug_frame = debug_frame(text.len() as u64);
        let sections = [(".gopclntab", &table[..]), (".debug_frame", &debug_frame)];
        let file = elf::program(62, &text, &sections);
        let mut module = Module::new(Image::parse(Arc::new(file)).unwrap());
        let mut rules = RuleStore::default();
        let mut return_address = |offset| {
            let mut stats = Stats::default();
            let vaddr = elf::TEXT + offset;
            let rule = with_cpu!(module.image.arch, C =>
                module.rule::<C>(vaddr, &mut || None, &mut rules, &mut stats));
            rule.map(|id| rules.rule(id).return_address)
        };
        let found = [0, 0x20, 0x50].map(&mut return_address);
        let pushed = Some(Saved::At(-8));
        assert_eq!(found, [pushed, pushed, Some(Saved::Undefined)]);
    }
}
