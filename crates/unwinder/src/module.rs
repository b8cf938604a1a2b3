use std::collections::BTreeMap;

use prof_model::DsoId;
use rustc_hash::FxHashMap;

use crate::Images;
use crate::Stats;
use crate::cfi::FrameTable;
use crate::compile::Function;
use crate::image::Image;
use crate::rule::{RuleId, RuleStore};

/// A mapped ELF file with its unwind tables.
pub(crate) struct Module {
    pub(crate) image: Image,
    /// In the order in which they are asked: what the program itself uses first.
    tables: Vec<FrameTable>,
    /// The functions that samples hit so far, by first address.
    functions: BTreeMap<u64, Function>,
}

impl Module {
    fn new(image: Image) -> Self {
        let tables = [
            FrameTable::eh_frame(&image),
            FrameTable::debug_frame(&image),
        ];
        Self {
            tables: tables.into_iter().flatten().collect(),
            image,
            functions: BTreeMap::new(),
        }
    }

    /// The rule at a virtual address of the file; `None` where its tables say nothing.
    pub(crate) fn rule(
        &mut self,
        vaddr: u64,
        rules: &mut RuleStore,
        stats: &mut Stats,
    ) -> Option<RuleId> {
        if let Some((_, function)) = self.functions.range(..=vaddr).next_back()
            && vaddr < function.end
        {
            return function.rule(vaddr);
        }
        let image = &self.image;
        let function = self
            .tables
            .iter()
            .find_map(|table| table.function(image, vaddr, rules))?;
        stats.functions_compiled += 1;
        stats.rules = rules.len() as u64;
        let rule = function.rule(vaddr);
        self.functions.insert(function.start, function);
        rule
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
    /// The module, read now if it has not been.
    pub(crate) fn load(
        &mut self,
        dso: DsoId,
        images: &mut dyn Images,
        stats: &mut Stats,
    ) -> Option<&mut Module> {
        self.by_dso
            .entry(dso)
            .or_insert_with(|| {
                stats.images += 1;
                let module = images.image(dso).and_then(Image::parse).map(Module::new);
                if module
                    .as_ref()
                    .is_none_or(|module| module.tables.is_empty())
                {
                    stats.images_without_tables += 1;
                }
                module.map(Box::new)
            })
            .as_deref_mut()
    }

    /// The module, if it was read before.
    pub(crate) fn get(&self, dso: DsoId) -> Option<&Module> {
        self.by_dso.get(&dso)?.as_deref()
    }
}
