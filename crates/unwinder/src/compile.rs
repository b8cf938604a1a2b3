use gimli::{
    BaseAddresses, CfaRule, FrameDescriptionEntry, Register, RegisterRule, UnwindContext,
    UnwindContextStorage, UnwindExpression, UnwindSection, UnwindTableRow,
};

use crate::cfi::Reader;
use crate::rule::{Cfa, Rule, RuleId, RuleStore, Saved};
use crate::x86_64::{BP_INDEX, CALLEE_SAVED, REGISTERS};

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

/// Fixed room, so that no table can make us allocate without bound. Compilers use 17 registers and
/// remember one or two states.
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
    pub(crate) fn function(
        &self,
        fde: &FrameDescriptionEntry<Reader<'r>>,
        rules: &mut RuleStore,
    ) -> Option<Function> {
        let mut context = UnwindContext::<usize, Storage>::new_in();
        let mut table = fde.rows(self.section, self.bases, &mut context).ok()?;
        let mut rows: Vec<Row> = Vec::new();
        let mut end = fde.initial_address();
        while let Ok(Some(row)) = table.next_row() {
            if row.start_address() >= row.end_address() {
                continue;
            }
            let offset = row.start_address().checked_sub(fde.initial_address())?;
            let start = u32::try_from(offset).ok()?;
            if rows.last().is_some_and(|last| last.start >= start) {
                return None;
            }
            let rule = self
                .rule(fde, row, rules)
                .and_then(|rule| rules.intern(rule));
            end = row.end_address();
            if rows.last().is_none_or(|last| last.rule != rule) {
                rows.push(Row { start, rule });
            }
        }
        Some(Function {
            start: fde.initial_address(),
            end: end.min(fde.end_address()),
            rows: rows.into(),
        })
    }

    fn rule(
        &self,
        fde: &FrameDescriptionEntry<Reader<'r>>,
        row: &UnwindTableRow<usize, Storage>,
        rules: &mut RuleStore,
    ) -> Option<Rule> {
        let cfa = match *row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::Offset {
                register: general(register)?,
                offset: i32::try_from(offset).ok()?,
            },
            CfaRule::Expression(expression) => Cfa::Expression(self.intern(expression, rules)?),
        };
        let mut return_address = Saved::Same;
        let mut callee_saved = [Saved::Same; CALLEE_SAVED.len()];
        if self.is_go {
            callee_saved[BP_INDEX] = Saved::GoFramePointer;
        }
        let mut others = Vec::new();
        for (register, register_rule) in row.registers() {
            let saved = self.saved(register_rule, rules);
            if *register == fde.cie().return_address_register() {
                return_address = saved?;
            } else if let Some(register) = general(*register) {
                let saved = saved.unwrap_or(Saved::Undefined);
                match CALLEE_SAVED.iter().position(|&known| known == register) {
                    Some(index) => callee_saved[index] = saved,
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

    fn saved(&self, rule: &RegisterRule<usize>, rules: &mut RuleStore) -> Option<Saved> {
        Some(match *rule {
            RegisterRule::Undefined => Saved::Undefined,
            RegisterRule::SameValue => Saved::Same,
            RegisterRule::Offset(offset) => Saved::At(i32::try_from(offset).ok()?),
            RegisterRule::ValOffset(offset) => Saved::Value(i32::try_from(offset).ok()?),
            RegisterRule::Register(register) => Saved::Register(general(register)?),
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
    ) -> Option<crate::rule::ExpressionId> {
        let expression = expression.get(self.section).ok()?;
        rules.intern_expression(expression.0.slice())
    }
}

/// The register's number if it is one that we keep.
fn general(register: Register) -> Option<u8> {
    (usize::from(register.0) < REGISTERS).then_some(register.0 as u8)
}
