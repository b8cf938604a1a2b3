//! How to get from a frame to its caller, as a value, and the store that keeps each distinct one once.
//!
//! Rules come from unwind tables (`compile`) or from instructions (`arch`), and are applied in `step`.

use rustc_hash::FxHashMap;

use crate::regs::{FIRST_SAVED, FP, FP_INDEX, SAVED, SP};

/// Index of an expression in [`RuleStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExpressionId(u32);

/// Index of a rule in [`RuleStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleId(u32);

/// How to compute the canonical frame address: the stack pointer's value before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cfa {
    /// A register's value plus an offset.
    Offset { register: u8, offset: i32 },
    /// The value of an expression.
    Expression(ExpressionId),
}

/// Where the caller's value of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Saved {
    /// Still in the register.
    Same,
    /// Gone. As the rule of the return address: this is the outermost frame.
    Undefined,
    /// In memory, at the CFA plus an offset.
    At(i32),
    /// The CFA plus an offset is the value itself.
    Value(i32),
    /// In another register.
    Register(u8),
    /// In memory, at the address that an expression computes.
    Expression(ExpressionId),
    /// The value that an expression computes.
    ValueExpression(ExpressionId),
    /// Go's tables do not mention the frame pointer, but where it points into this frame, its
    /// caller's value lies there.
    GoFramePointer,
}

/// How to get from a frame to its caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) cfa: Cfa,
    pub(crate) return_address: Saved,
    /// From [`FIRST_SAVED`] on.
    pub(crate) callee_saved: [Saved; SAVED],
    /// The remaining registers, by number, where a signal trampoline or a switch of stacks
    /// restores them. After an ordinary call their values are gone.
    pub(crate) others: Box<[(u8, Saved)]>,
    /// The caller was interrupted, it did not call.
    pub(crate) is_signal_frame: bool,
}

impl Rule {
    /// Whether the frame is nothing but a frame record to those who go by frame pointers: the frame
    /// pointer points to its caller's value, with the return address above and nothing above that.
    pub(crate) fn is_frame_pointer_chain(&self) -> bool {
        let above_fp = Cfa::Offset {
            register: FP,
            offset: 16,
        };
        self.cfa == above_fp
            && self.return_address == Saved::At(-8)
            && self.callee_saved[FP_INDEX] == Saved::At(-16)
    }

    /// Whether a function that Go has compiled has a frame here: then its frame pointer points to its
    /// caller's, with the return address above.
    pub(crate) fn is_go_frame(&self) -> bool {
        match (self.callee_saved[FP_INDEX], self.cfa) {
            (Saved::GoFramePointer, Cfa::Offset { register, offset }) => {
                register == SP && offset >= 16
            }
            (saved, _) => saved == Saved::At(-16) && self.return_address == Saved::At(-8),
        }
    }

    /// Whether the function has no frame: the stack pointer is as it was at the call, which pushed
    /// nothing.
    pub(crate) fn is_level(&self) -> bool {
        let at_sp = Cfa::Offset {
            register: SP,
            offset: 0,
        };
        self.cfa == at_sp
    }

    /// Whether nothing called this frame.
    pub(crate) fn is_outermost(&self) -> bool {
        self.return_address == Saved::Undefined
    }
}

/// A rule that needs nothing but a register and words of the stack, as nearly all do, in half a cache
/// line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainRule {
    pub(crate) cfa_register: u8,
    slot_count: u8,
    /// Where the return address is, from the CFA.
    pub(crate) return_address: i16,
    pub(crate) cfa_offset: i32,
    slots: [Slot; MOST_SLOTS],
}

/// Where the caller's value of a register is, from the CFA.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) register: u8,
    pub(crate) offset: i16,
}

/// As many registers as there are to save where they are few. Functions that save more go the long way.
const MOST_SLOTS: usize = 6;

const _: () = assert!(size_of::<PlainRule>() == 32);

impl PlainRule {
    fn new(rule: &Rule) -> Option<Self> {
        let Cfa::Offset { register, offset } = rule.cfa else {
            return None;
        };
        let Saved::At(return_address) = rule.return_address else {
            return None;
        };
        if rule.is_signal_frame || !rule.others.is_empty() {
            return None;
        }
        let mut plain = Self {
            cfa_register: register,
            slot_count: 0,
            return_address: i16::try_from(return_address).ok()?,
            cfa_offset: offset,
            slots: Default::default(),
        };
        for (register, &saved) in (FIRST_SAVED..).zip(&rule.callee_saved) {
            match saved {
                Saved::Same => {}
                Saved::At(offset) => {
                    *plain.slots.get_mut(usize::from(plain.slot_count))? = Slot {
                        register,
                        offset: i16::try_from(offset).ok()?,
                    };
                    plain.slot_count += 1;
                }
                _ => return None,
            }
        }
        Some(plain)
    }

    #[inline]
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots[..usize::from(self.slot_count)]
    }
}

/// Every distinct rule and expression, each once, shared by all modules: a large program has
/// hundreds of thousands of rows but few ways to lay out a frame.
#[derive(Default)]
pub(crate) struct RuleStore {
    rules: Vec<Rule>,
    plain: Vec<Option<PlainRule>>, // beside the rules, for those that can be so
    ids: FxHashMap<Rule, RuleId>,
    expressions: Vec<Box<[u8]>>,
    expression_ids: FxHashMap<Box<[u8]>, ExpressionId>,
}

impl RuleStore {
    pub(crate) fn intern(&mut self, rule: Rule) -> Option<RuleId> {
        if let Some(&id) = self.ids.get(&rule) {
            return Some(id);
        }
        let id = RuleId(u32::try_from(self.rules.len()).ok()?);
        self.plain.push(PlainRule::new(&rule));
        self.rules.push(rule.clone());
        self.ids.insert(rule, id);
        Some(id)
    }

    pub(crate) fn intern_expression(&mut self, bytes: &[u8]) -> Option<ExpressionId> {
        if let Some(&id) = self.expression_ids.get(bytes) {
            return Some(id);
        }
        let id = ExpressionId(u32::try_from(self.expressions.len()).ok()?);
        self.expressions.push(bytes.into());
        self.expression_ids.insert(bytes.into(), id);
        Some(id)
    }

    #[inline]
    pub(crate) fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    #[inline]
    pub(crate) fn plain(&self, id: RuleId) -> Option<&PlainRule> {
        self.plain[id.0 as usize].as_ref()
    }

    pub(crate) fn expression(&self, id: ExpressionId) -> &[u8] {
        &self.expressions[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }
}
