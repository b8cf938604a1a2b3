//! Turns a function's unwind table entry into rules, once.
//!
//! In: an entry (FDE) with its rows. Out: the same rows, each with the number of its rule. Finding the
//! entry is for `cfi`, applying a rule for `step`.

use std::ops::Range;

use gimli::{
    BaseAddresses, CfaRule, FrameDescriptionEntry, Register, RegisterRule, UnwindContext,
    UnwindContextStorage, UnwindExpression, UnwindSection, UnwindTableRow,
};

use crate::arch::Cpu;
use crate::regs::{FIRST_SAVED, FP_INDEX, SAVED, SP};
use crate::tables::cfi::Reader;
use crate::tables::rule::{Cfa, Rule, RuleId, RuleStore, Saved};

/// A function's unwind table entry, compiled.
pub(crate) struct Function {
    pub(crate) start: u64,
    pub(crate) end: u64,
    rows: Box<[Row]>,
}

/// The rule from an offset in the function up to the next row's.
struct Row {
    start: u32,
    rule: Option<RuleId>,
}

impl Function {
    /// A function at `extent` with the rules from these offsets in it on, which ascend.
    pub(super) fn new(
        extent: Range<u64>,
        rows: Vec<(u32, Option<Rule>)>,
        rules: &mut RuleStore,
    ) -> Self {
        let rows = rows.into_iter().map(|(start, rule)| Row {
            start,
            rule: rule.and_then(|rule| rules.intern(rule)),
        });
        let mut rows: Vec<Row> = rows.collect();
        rows.dedup_by_key(|row| row.rule);
        Self {
            start: extent.start,
            end: extent.end,
            rows: rows.into(),
        }
    }

    /// The rule at an address of this function.
    pub(crate) fn rule(&self, vaddr: u64) -> Option<RuleId> {
        if vaddr >= self.end {
            return None;
        }
        let offset = vaddr.checked_sub(self.start)?;
        let after = self
            .rows
            .partition_point(|row| u64::from(row.start) <= offset);
        self.rows.get(after.checked_sub(1)?)?.rule
    }
}

/// Fixed room, so that no table can make us allocate without bound. Compilers use up to
/// 21 registers and remember one or two states.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 40];
    type Stack = Box<[UnwindTableRow<usize, Self>; 12]>;
}

/// Turns entries of one section into rules.
pub(crate) struct Compiler<'a, S> {
    pub(crate) section: &'a S,
    pub(crate) bases: &'a BaseAddresses,
    pub(crate) is_go: bool,
}

impl<'r, S: UnwindSection<Reader<'r>>> Compiler<'_, S> {
    /// Rows up to the first one that makes no sense; the addresses behind it have no rule.
    pub(crate) fn function<C: Cpu>(
        &self,
        fde: &FrameDescriptionEntry<Reader<'r>>,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let mut context = UnwindContext::<usize, Storage>::new_in();
        let mut table = fde.rows(self.section, self.bases, &mut context).ok()?;
        let mut rows: Vec<(u32, Option<Rule>)> = Vec::new();
        let mut end = fde.initial_address();
        while let Ok(Some(row)) = table.next_row() {
            if row.start_address() >= row.end_address() {
                continue;
            }
            let offset = row.start_address().checked_sub(fde.initial_address())?;
            let start = u32::try_from(offset).ok()?;
            if rows.last().is_some_and(|last| last.0 >= start) {
                return None;
            }
            rows.push((start, self.rule::<C>(fde, row, rules)));
            end = row.end_address();
        }
        C::mend_rows(&mut rows);
        let extent = fde.initial_address()..end.min(fde.end_address());
        Some(Function::new(extent, rows, rules))
    }

    fn rule<C: Cpu>(
        &self,
        fde: &FrameDescriptionEntry<Reader<'r>>,
        row: &UnwindTableRow<usize, Storage>,
        rules: &mut RuleStore,
    ) -> Option<Rule> {
        let cfa = match *row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::Offset {
                register: C::register(register.0)?,
                offset: i32::try_from(offset).ok()?,
            },
            CfaRule::Expression(expression) => Cfa::Expression(self.intern(expression, rules)?),
        };
        let mut return_address = C::RETURN_ADDRESS;
        let mut callee_saved = [Saved::Same; SAVED];
        if self.is_go {
            callee_saved[FP_INDEX] = Saved::GoFramePointer;
        }
        let mut others = Vec::new();
        for (register, register_rule) in row.registers() {
            let saved = self.saved::<C>(register_rule, rules);
            if *register == fde.cie().return_address_register() {
                match saved? {
                    Saved::Same => {} // it is where the call has put it
                    saved => return_address = saved,
                }
            } else if let Some(register) = C::register(register.0) {
                let saved = saved.unwrap_or(Saved::Undefined);
                let index = register.checked_sub(FIRST_SAVED).map(usize::from);
                match index.and_then(|index| callee_saved.get_mut(index)) {
                    Some(callee_saved) => *callee_saved = saved,
                    // the CFA is what the stack pointer is in the caller, as Go says once more
                    None if register == SP && saved == Saved::Value(0) => {}
                    None if !matches!(saved, Saved::Same | Saved::Undefined) => {
                        others.push((register, saved));
                    }
                    None => {}
                }
            }
        }
        others.sort_unstable_by_key(|other| other.0); // equal rules must be equal values
        Some(Rule {
            cfa,
            return_address,
            callee_saved,
            others: others.into(),
            is_signal_frame: fde.is_signal_trampoline(),
        })
    }

    fn saved<C: Cpu>(&self, rule: &RegisterRule<usize>, rules: &mut RuleStore) -> Option<Saved> {
        Some(match *rule {
            RegisterRule::Undefined => Saved::Undefined,
            RegisterRule::SameValue => Saved::Same,
            RegisterRule::Offset(offset) => Saved::At(i32::try_from(offset).ok()?),
            RegisterRule::ValOffset(offset) => Saved::Value(i32::try_from(offset).ok()?),
            RegisterRule::Register(register) => Saved::Register(C::register(register.0)?),
            RegisterRule::Expression(expression) => {
                Saved::Expression(self.intern(expression, rules)?)
            }
            RegisterRule::ValExpression(expression) => {
                Saved::ValueExpression(self.intern(expression, rules)?)
            }
            _ => return None,
        })
    }

    fn intern(
        &self,
        expression: UnwindExpression<usize>,
        rules: &mut RuleStore,
    ) -> Option<crate::tables::rule::ExpressionId> {
        let expression = expression.get(self.section).ok()?;
        rules.intern_expression(expression.0.slice())
    }
}
