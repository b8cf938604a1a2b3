//! Rules from Go's own table of functions: how deep the stack is at each instruction, and where stacks
//! begin. It says what `.debug_frame` would say.
//!
//! In: the table, which `prof-pclntab` reads. Out: for an address, the function around it with its rules.

use prof_pclntab::{Layout, PcValue, Table};

use crate::arch::Cpu;
use crate::image::{Image, MACHINE, Section};
use crate::regs::{FP_INDEX, SAVED, SP};
use crate::tables::compile::Function;
use crate::tables::rule::{Cfa, Rule, RuleStore, Saved};

/// The table of one module.
pub(crate) struct GoFunctions {
    section: Section,
    layout: Layout,
    text_start: u64,
}

/// How many rows one function may have, which are kept.
const MOST_ROWS: usize = 1 << 16;

impl GoFunctions {
    /// The table of a module; `None` if Go did not build it, or a release that is not known did.
    pub(crate) fn find(image: &Image) -> Option<Self> {
        let section = image.go_functions.clone()?;
        let bytes = image.section(&section);
        let layout = Layout::read(bytes, MACHINE)?;
        let text_start = layout.text_start(image, section.vaddr)?;
        let found = Self {
            section,
            layout,
            text_start,
        };
        let table = found.table(image);
        let (first, last) = (table.start()?, table.end()?.checked_sub(1)?);
        (image.is_code(first) && image.is_code(last)).then_some(found)
    }

    /// The function around a virtual address, with the rules that its depths make.
    pub(crate) fn function<C: Cpu>(
        &self,
        image: &Image,
        vaddr: u64,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let function = self.table(image).find(vaddr)?;
        let is_outermost = function.is_outermost();
        let mut end = 0;
        let row = |value: Option<PcValue>| {
            let PcValue { pcs, value: depth } = value?;
            let rule = rule::<C>(depth).map(|rule| match is_outermost {
                true => outermost(rule),
                false => rule,
            });
            end = pcs.end;
            Some((pcs.start, rule))
        };
        let depths = function.stack_depths()?.take(MOST_ROWS);
        let mut rows: Vec<(u32, Option<Rule>)> = depths.map(row).collect::<Option<_>>()?;
        rows.push((end, None)); // padding
        Some(Function::new(function.entry()..function.end(), rows, rules))
    }

    /// The name of the function around a virtual address.
    pub(crate) fn name<'a>(&'a self, image: &'a Image, vaddr: u64) -> Option<&'a [u8]> {
        self.table(image).find(vaddr)?.name()
    }

    fn table<'a>(&'a self, image: &'a Image) -> Table<'a> {
        Table::new(image.section(&self.section), &self.layout, self.text_start)
    }
}

/// How to leave a frame of Go code at this depth.
fn rule<C: Cpu>(depth: i32) -> Option<Rule> {
    let (offset, return_address) = C::go_frame(depth)?;
    let mut callee_saved = [Saved::Same; SAVED];
    callee_saved[FP_INDEX] = Saved::GoFramePointer;
    Some(Rule {
        cfa: Cfa::Offset {
            register: SP,
            offset,
        },
        return_address,
        callee_saved,
        others: Box::default(),
        is_signal_frame: false,
    })
}

fn outermost(rule: Rule) -> Rule {
    Rule {
        return_address: Saved::Undefined,
        ..rule
    }
}

#[cfg(test)]
mod tests {
    use prof_pclntab::Version;

    use super::*;
    use crate::Arch;
    use crate::arch::with_cpu;
    use crate::image::made_up::{Kind, image};
    use crate::tables::made_up_go_table;

    const TEXT: u64 = 0x40_1000;
    const TABLE: u64 = 0x50_0000;
    const DATA: u64 = 0x60_0000;
    const BUILD: u64 = 0x70_0000;

    fn table(version: Version, text_field: u64, is_sigtramp: bool) -> Vec<u8> {
        made_up_go_table::table(MACHINE, version, TEXT, text_field, is_sigtramp)
    }

    fn module(arch: Arch, table: &[u8], more: &[(Kind, u64, &[u8])]) -> Image {
        let code = [0x90; 0x50];
        let mut segments = vec![
            (Kind::Code, TEXT, &code[..]),
            (Kind::Constants, TABLE, table),
            (Kind::Data, BUILD, b"\xff Go buildinf:"),
        ];
        segments.extend(more);
        image(arch, TEXT, &segments)
    }

    fn function(image: &Image, vaddr: u64, rules: &mut RuleStore) -> Option<Function> {
        let functions = GoFunctions::find(image)?;
        with_cpu!(image.arch, C => functions.function::<C>(image, vaddr, rules))
    }

    /// The offset of the CFA from the stack pointer and where from there the return address is, at each of
    /// these addresses.
    fn rules(image: &Image, at: &[u64]) -> Vec<Option<(Cfa, Saved)>> {
        let mut rules = RuleStore::default();
        let rule = |&vaddr: &u64| {
            let function = function(image, vaddr, &mut rules)?;
            let rule = rules.rule(function.rule(vaddr)?);
            Some((rule.cfa, rule.return_address))
        };
        at.iter().map(rule).collect()
    }

    const AT: [u64; 8] = [
        TEXT - 1,
        TEXT,
        TEXT + 3,
        TEXT + 4,
        TEXT + 0x1b,
        TEXT + 0x1c,
        TEXT + 0x20,
        TEXT + 0x50,
    ];

    fn expected() -> Vec<Option<(Cfa, Saved)>> {
        let above_sp = |offset, saved| {
            let register = SP;
            Some((Cfa::Offset { register, offset }, saved))
        };
        let (level, deep) = (above_sp(8, Saved::At(-8)), above_sp(32, Saved::At(-8)));
        let outermost = above_sp(8, Saved::Undefined);
        vec![None, level, level, deep, deep, level, outermost, None]
    }

    #[test]
    fn each_release_says_how_deep_the_stack_is_and_where_it_begins() {
        for version in Version::ALL {
            for is_sigtramp in [false, true] {
                let image = module(Arch::ALL[0], &table(version, TEXT, is_sigtramp), &[]);
                assert!(image.is_go);
                let mut expected = expected();
                if is_sigtramp {
                    expected[6] = expected[1]; // it leads to what was interrupted
                }
                assert_eq!(rules(&image, &AT), expected, "{version:?}");
            }
        }
    }

    #[test]
    fn a_table_is_searched_in_what_go_built_alone() {
        let table = table(Version::Go1_20, TEXT, false);
        let built = |build: &[u8]| {
            let segments = [
                (Kind::Code, TEXT, &[0x90; 0x50][..]),
                (Kind::Constants, TABLE, &table),
                (Kind::Data, BUILD, build),
            ];
            let image = image(Arch::ALL[0], TEXT, &segments);
            (image.is_go, GoFunctions::find(&image).is_some())
        };
        assert_eq!(built(b"\xff Go buildinf:"), (true, true));
        assert_eq!(built(b"\xff Go buildinf;"), (false, false));
    }

    #[test]
    fn a_frame_whose_call_left_the_return_address_in_a_register_begins_with_it() {
        let mut bytes = table(Version::Go1_20, TEXT, false);
        bytes[made_up_go_table::PC_TABLES + 3] = 64; // 32 bytes deep
        bytes[made_up_go_table::PC_TABLES + 5] = 63;
        let image = module(Arch::ALL[1], &bytes, &[]);
        let places = [TEXT, TEXT + 4].map(|at| rules(&image, &[at])[0].unwrap());
        let offset = |offset| Cfa::Offset {
            register: SP,
            offset,
        };
        let link = with_cpu!(Arch::ALL[1], C => C::RETURN_ADDRESS);
        assert_eq!(places, [(offset(0), link), (offset(32), Saved::At(-32))]);
    }

    #[test]
    fn where_the_code_begins_is_told_by_module_data_or_by_relocations() {
        let table = table(Version::Go1_20, 0, false);
        let names = TABLE + made_up_go_table::NAMES as u64;
        let words = |words: &[u64]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let mut data = vec![7, TABLE, 1, TABLE, names]; // what looks like it, and it
        data.resize(3 + 22, 0);
        data.push(TEXT);
        let in_data = words(&data);
        let image = module(Arch::ALL[0], &table, &[(Kind::Data, DATA, &in_data)]);
        assert_eq!(rules(&image, &AT), expected());

        let dynamic = words(&[7, DATA, 8, 72, 0, 0]);
        let relocated = |words_at: [(u64, u64); 3]| {
            let entries = words_at.map(|(at, value)| words(&[at, 8, value]));
            let entries = entries.concat();
            let more = [
                (Kind::Data, DATA, &entries[..]),
                (Kind::Data, DATA + 0x1000, &[0; 0x100]),
                (Kind::Dynamic, DATA + 0x2000, &dynamic),
            ];
            module(Arch::ALL[0], &table, &more)
        };
        let at = DATA + 0x1000;
        let by_header = relocated([(TABLE + 24, TEXT), (at, 1), (at + 8, 2)]);
        assert_eq!(rules(&by_header, &AT), expected());
        let by_data = relocated([(at, TABLE), (at + 8, names), (at + 22 * 8, TEXT)]);
        assert_eq!(rules(&by_data, &AT), expected());
        let nowhere = relocated([(at, TABLE), (at + 8, names), (at + 8, TEXT)]);
        assert!(GoFunctions::find(&nowhere).is_none());
    }

    #[test]
    fn data_behind_the_last_address_are_none() {
        let table = table(Version::Go1_20, 0, false);
        let pointers = TABLE.to_le_bytes().repeat(3);
        let more = [(Kind::Data, u64::MAX - 7, &pointers[..])];
        assert!(GoFunctions::find(&module(Arch::ALL[0], &table, &more)).is_none());
    }

    #[test]
    fn a_table_that_is_cut_or_damaged_has_no_rules_and_no_panics() {
        let whole = table(Version::Go1_20, TEXT, false);
        for len in 0..whole.len() {
            let image = module(Arch::ALL[0], &whole[..len], &[]);
            assert_eq!(GoFunctions::find(&image).is_some(), len >= 280); // with all of the list
            for vaddr in AT {
                function(&image, vaddr, &mut RuleStore::default());
            }
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let image = module(Arch::ALL[0], &damaged, &[]);
                for vaddr in AT {
                    function(&image, vaddr, &mut RuleStore::default());
                }
            }
        }
    }
}
