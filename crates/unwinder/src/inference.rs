//! What was found out about a file's code without tables, and how far into it that reaches.
//!
//! In: an address, and how many instructions may be looked at yet. Out: how to leave a frame there, as far
//! as that is known by now. Following one function is for `arch`.
//!
//! Nothing is followed twice: what leads to nothing is remembered as well, and where one sample had to stop
//! the next one goes on.

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::Stats;
use crate::allowance::Allowance;
use crate::arch::Cpu;
use crate::functions::{Around, Functions};
use crate::image::Image;
use crate::tables::rule::{RuleId, RuleStore};

/// How far from the last symbol code without symbols is followed.
const MAX_UNLISTED: u64 = 1 << 16;

/// What the instructions of a function say about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inferred {
    /// How to leave the frame there.
    Rule(RuleId),
    /// That the frame pointer does not lead to the caller; and more is not known.
    NoRule,
    /// That nothing called the function.
    Outermost,
    /// Nothing.
    NotReached,
    /// Not known yet: the instructions are looked at with later samples.
    NotYet,
}

/// What the instructions of a function say.
pub(crate) struct InferredFunction {
    pub(crate) extent: Range<u64>,
    /// By address; each holds up to the next one.
    pub(crate) rows: Box<[(u64, Inferred)]>,
    /// Whether code behind it may be a part of it.
    pub(crate) may_go_on: bool,
    /// How many instructions were looked at.
    pub(crate) instructions: u64,
}

impl InferredFunction {
    fn at(&self, vaddr: u64) -> Inferred {
        let after = self.rows.partition_point(|row| row.0 <= vaddr);
        let row = after.checked_sub(1).and_then(|last| self.rows.get(last));
        row.map_or(Inferred::NotReached, |row| row.1)
    }
}

/// What is known about a file's code without tables.
#[derive(Default)]
pub(crate) struct Inference {
    /// Functions by first address.
    functions: BTreeMap<u64, InferredFunction>,
    /// Up to where stretches of code without symbols were followed, by first address.
    stretches: FxHashMap<u64, Progress>,
}

#[derive(Clone, Copy)]
enum Progress {
    /// The next function is searched from here on.
    UpTo(u64),
    /// What follows is not known, and never will be.
    Over,
}

/// The file that is looked at, and what finding out takes.
pub(crate) struct Search<'a> {
    pub(crate) image: &'a Image,
    pub(crate) symbols: &'a Functions,
    pub(crate) rules: &'a mut RuleStore,
    pub(crate) allowance: &'a mut Allowance,
    pub(crate) stats: &'a mut Stats,
}

impl Inference {
    /// What the instructions of the function around a virtual address say.
    pub(crate) fn at<C: Cpu>(&mut self, vaddr: u64, search: &mut Search<'_>) -> Inferred {
        if let Some(known) = self.known(vaddr) {
            return known;
        }
        match search.symbols.around(search.image, vaddr) {
            None => return Inferred::NotReached,
            Some(Around::Function(extent)) => {
                if search.allowance.is_spent() {
                    return search.postpone();
                }
                match search.follow::<C>(extent, true) {
                    Some(function) => self.insert(function, search),
                    None => return Inferred::NotReached,
                }
            }
            Some(Around::Unlisted(gap)) => {
                if !self.follow_stretch::<C>(gap, vaddr, search) {
                    return search.postpone();
                }
            }
        }
        self.known(vaddr).unwrap_or(Inferred::NotReached)
    }

    fn known(&self, vaddr: u64) -> Option<Inferred> {
        let (_, function) = self.functions.range(..=vaddr).next_back()?;
        function.extent.contains(&vaddr).then(|| function.at(vaddr))
    }

    fn insert(&mut self, mut function: InferredFunction, search: &mut Search<'_>) {
        if search.symbols.entry == function.extent.start {
            function.rows = [(function.extent.start, Inferred::Outermost)].into();
        }
        search.stats.functions_inferred += 1;
        search.stats.rules = search.rules.len() as u64;
        self.functions.insert(function.extent.start, function);
    }

    /// Follows the functions in a stretch of code without symbols one after the other, each from where the
    /// one before it ended, up to the one that covers an address. `false` if that is still to come.
    fn follow_stretch<C: Cpu>(
        &mut self,
        gap: Range<u64>,
        vaddr: u64,
        search: &mut Search<'_>,
    ) -> bool {
        let end = gap.end.min(gap.start.saturating_add(MAX_UNLISTED));
        if vaddr >= end {
            return true; // too far to be come by
        }
        loop {
            let progress = self.stretches.get(&gap.start).copied();
            let start = match progress.unwrap_or(Progress::UpTo(gap.start)) {
                Progress::UpTo(start) if start <= vaddr && start < end => start,
                Progress::UpTo(_) | Progress::Over => return true,
            };
            if search.allowance.is_spent() {
                return false;
            }
            let function = search.follow::<C>(start..end, false);
            let progress = match &function {
                Some(it) if !it.may_go_on && it.extent.end > start => Progress::UpTo(it.extent.end),
                _ => Progress::Over,
            };
            self.stretches.insert(gap.start, progress);
            if let Some(function) = function.filter(|it| !it.extent.is_empty()) {
                self.insert(function, search);
            }
        }
    }
}

impl Search<'_> {
    fn follow<C: Cpu>(&mut self, extent: Range<u64>, is_whole: bool) -> Option<InferredFunction> {
        let function = C::follow(self.image, extent, is_whole, self.rules)?;
        self.allowance.spend(function.instructions);
        self.stats.instructions_followed += function.instructions;
        Some(function)
    }

    fn postpone(&mut self) -> Inferred {
        self.stats.postponed += 1;
        Inferred::NotYet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::arch::with_cpu;
    use crate::image::made_up::{Kind, image};

    const START: u64 = 0x40_0000;
    const SIZE: usize = 50 << 20;

    /// Functions of 16 bytes and as many instructions: `push %rax; pop %rax` seven times, `cwtl`, `ret`.
    fn code() -> Vec<u8> {
        let mut function = [0x50, 0x58].repeat(8);
        function[14..].copy_from_slice(&[0x98, 0xc3]);
        function.repeat(SIZE / function.len())
    }

    struct File {
        image: Image,
        symbols: Functions,
        rules: RuleStore,
        inference: Inference,
        stats: Stats,
    }

    impl File {
        fn new() -> Self {
            let image = image(Arch::ALL[0], START, &[(Kind::Code, START, &code())]);
            Self {
                symbols: Functions::read(&image),
                image,
                rules: RuleStore::default(),
                inference: Inference::default(),
                stats: Stats::default(),
            }
        }

        fn at(&mut self, vaddr: u64, allowance: &mut Allowance) -> Inferred {
            let mut search = Search {
                image: &self.image,
                symbols: &self.symbols,
                rules: &mut self.rules,
                allowance,
                stats: &mut self.stats,
            };
            with_cpu!(self.image.arch, C => self.inference.at::<C>(vaddr, &mut search))
        }
    }

    #[test]
    fn a_millisecond_in_a_large_file_without_tables_looks_at_little_code_and_later_ones_go_on() {
        let mut file = File::new();
        let mut allowance = Allowance::limited();
        let last = START + MAX_UNLISTED - 15; // the last function within reach, behind its push
        assert_eq!(file.at(last, &mut allowance), Inferred::NotYet);
        allowance.pass_time(0);
        let mut millis = 1;
        loop {
            let before = file.stats.instructions_followed;
            allowance.pass_time(millis * 1_000_000);
            for frame in 0..1000 {
                let vaddr = START + MAX_UNLISTED + (millis * 1000 + frame) % (SIZE as u64 >> 1);
                assert_eq!(file.at(vaddr, &mut allowance), Inferred::NotReached);
            }
            let at_last = file.at(last, &mut allowance);
            let looked_at = file.stats.instructions_followed - before;
            assert!(looked_at <= 516, "{looked_at}");
            if at_last != Inferred::NotYet {
                break;
            }
            millis += 1;
        }
        assert!((85..100).contains(&millis), "{millis}");
        let Inferred::Rule(id) = file.at(last, &mut allowance) else {
            panic!("no rule");
        };
        let cfa = crate::tables::rule::Cfa::Offset {
            register: crate::regs::SP,
            offset: 16,
        };
        assert_eq!(file.rules.rule(id).cfa, cfa);
    }

    #[test]
    fn nothing_is_looked_at_twice() {
        let mut file = File::new();
        let mut allowance = Allowance::unlimited();
        for _ in 0..2 {
            for vaddr in (START..START + 2 * MAX_UNLISTED).step_by(7) {
                file.at(vaddr, &mut allowance);
            }
        }
        assert_eq!(file.stats.instructions_followed, MAX_UNLISTED);
        assert_eq!(file.stats.functions_inferred, MAX_UNLISTED / 16);
    }
}
