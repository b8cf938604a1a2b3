//! Evaluates the few rules of unwind tables that are little programs.
//!
//! In: the program, a frame's registers, a way to read memory. Out: the value that it computes. Rooms
//! and steps are bounded, since the program comes from a foreign file.

use gimli::{
    EndianSlice, Evaluation, EvaluationResult, EvaluationStorage, LittleEndian, Location, Piece,
    Value,
};

use crate::Regs;
use crate::tables::cfi::Reader;

/// Fixed room: evaluating allocates nothing, whatever the expression.
struct Storage;

impl<'a> EvaluationStorage<Reader<'a>> for Storage {
    type Stack = [Value; 32];
    type ExpressionStack = [(Reader<'a>, Reader<'a>); 1];
    type Result = [Piece<Reader<'a>>; 1];
}

/// Operations executed at most. Real expressions have about ten, and a loop would have no end.
const MAX_OPERATIONS: u32 = 500;

const ENCODING: gimli::Encoding = gimli::Encoding {
    address_size: 8,
    format: gimli::Format::Dwarf32,
    version: 4,
};

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpressionError {
    /// It reads memory that was not captured.
    Unreadable(u64),
    /// It is malformed, or needs a register that is not known.
    Invalid,
}

impl From<gimli::Error> for ExpressionError {
    fn from(_: gimli::Error) -> Self {
        Self::Invalid
    }
}

/// Evaluates an expression of unwind tables: `initial` (the CFA, in rules of registers) is on its
/// stack, `read` gives the word at an address.
pub(crate) fn evaluate(
    expression: &[u8],
    initial: Option<u64>,
    regs: &Regs,
    read: &mut dyn FnMut(u64) -> Option<u64>,
) -> Result<u64, ExpressionError> {
    let bytes = EndianSlice::new(expression, LittleEndian);
    let mut evaluation = Evaluation::<Reader<'_>, Storage>::new_in(bytes, ENCODING);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut state = evaluation.evaluate()?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory {
                address,
                size: size @ 1..=8,
                space: None,
                ..
            } => {
                let word = read(address).ok_or(ExpressionError::Unreadable(address))?;
                let unused = u64::BITS - 8 * u32::from(size);
                evaluation.resume_with_memory(Value::Generic(word << unused >> unused))?
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = regs.get(register.0).ok_or(ExpressionError::Invalid)?;
                evaluation.resume_with_register(Value::Generic(value))?
            }
            EvaluationResult::RequiresCallFrameCfa => {
                let cfa = initial.ok_or(ExpressionError::Invalid)?;
                evaluation.resume_with_call_frame_cfa(cfa)?
            }
            _ => return Err(ExpressionError::Invalid),
        };
    }
    match evaluation.as_result() {
        [
            Piece {
                size_in_bits: None,
                bit_offset: None,
                location,
            },
        ] => match *location {
            Location::Address { address } => Ok(address),
            Location::Value { value } => Ok(value.to_u64(u64::MAX)?),
            _ => Err(ExpressionError::Invalid),
        },
        _ => Err(ExpressionError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;

    const BREG7: u8 = 0x77;

    fn regs(seven: u64) -> Regs {
        let mut regs = Regs::new(Arch::ALL[0]);
        regs.set(7, seven);
        regs
    }

    #[test]
    fn memory_that_was_not_captured_is_named() {
        let deref = [BREG7, 0, 0x06];
        let value = |word| evaluate(&deref, None, &regs(0x7000), &mut |_| word);
        assert_eq!(value(Some(5)), Ok(5));
        assert_eq!(value(None), Err(ExpressionError::Unreadable(0x7000)));
    }

    #[test]
    fn an_endless_expression_and_an_unknown_register_have_no_value() {
        let endless = [0x2f, 0xfd, 0xff]; // skip -3
        let run = |code: &[u8]| evaluate(code, None, &regs(0), &mut |_| None);
        assert_eq!(run(&endless), Err(ExpressionError::Invalid));
        assert_eq!(run(&[0x71, 0]), Err(ExpressionError::Invalid));
        assert_eq!(run(&[]), Err(ExpressionError::Invalid));
    }
}
