//! What an expression over a tracepoint's fields comes to.

use crate::format::{TracepointField, TracepointFormat};

use crate::expression::{Binary, Expr, Function, Unary};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(i64),
    Text(String),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}

/// A sample's data, with the format that explains them.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) format: &'a TracepointFormat,
    pub(crate) raw: &'a [u8],
}

impl<'a> Data<'a> {
    /// `None` where the data are too short for a field, or the types do not fit.
    pub(crate) fn evaluate(self, expr: &Expr) -> Option<Value<'a>> {
        Some(match expr {
            Expr::Number(value) => Value::Number(*value),
            Expr::Unknown => Value::Number(0), // as perf has it
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Field(index) => self.field(&self.format.fields[*index])?,
            Expr::Unary(operator, operand) => {
                let value = self.number(operand)?;
                Value::Number(match operator {
                    Unary::Minus => value.wrapping_neg(),
                    Unary::Not => i64::from(value == 0),
                    Unary::Complement => !value,
                })
            }
            Expr::Chain(first, rest) => Value::Number(self.chain(first, rest)?),
            Expr::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = match self.evaluate(condition)? {
                    Value::Number(value) => value != 0,
                    _ => true, // a pointer
                };
                self.evaluate(if condition { then } else { otherwise })?
            }
            Expr::Cast(size, signed, value) => match self.evaluate(value)? {
                Value::Number(value) => Value::Number(cast(value, *size, *signed)),
                other => other,
            },
            Expr::Element(field, index) => {
                let field = &self.format.fields[*field];
                let index = usize::try_from(self.number(index)?).ok()?;
                let size = element_size(field)?;
                let start = index.checked_mul(size)?;
                let bytes = self.bytes(field)?.get(start..)?.get(..size)?;
                Value::Number(integer(bytes, field.signed)?)
            }
            Expr::Pair(..) => return None,
            Expr::Call(function, arguments) => self.call(*function, arguments)?,
        })
    }

    fn number(self, expr: &Expr) -> Option<i64> {
        self.evaluate(expr)?.number()
    }

    fn chain(self, first: &Expr, rest: &[(Binary, Expr)]) -> Option<i64> {
        let mut value = self.number(first)?;
        let mut is_unsigned = self.is_unsigned(first);
        for (operator, right) in rest {
            value = self.binary(*operator, value, is_unsigned, right)?;
            is_unsigned = false;
        }
        Some(value)
    }

    /// What an operator makes of a value and its right operand, which `||` and `&&` may not need.
    fn binary(self, operator: Binary, left: i64, unsigned: bool, right: &Expr) -> Option<i64> {
        match operator {
            Binary::Or if left != 0 => return Some(1),
            Binary::And if left == 0 => return Some(0),
            _ => {}
        }
        let unsigned = unsigned || self.is_unsigned(right);
        let right = self.number(right)?;
        let order = if unsigned {
            (left as u64).cmp(&(right as u64))
        } else {
            left.cmp(&right)
        };
        let shift = u32::try_from(right).unwrap_or(u32::MAX);
        Some(match operator {
            Binary::Or | Binary::And => i64::from(right != 0),
            Binary::BitOr => left | right,
            Binary::BitXor => left ^ right,
            Binary::BitAnd => left & right,
            Binary::Equal => i64::from(left == right),
            Binary::Unequal => i64::from(left != right),
            Binary::Less => i64::from(order.is_lt()),
            Binary::Greater => i64::from(order.is_gt()),
            Binary::LessOrEqual => i64::from(order.is_le()),
            Binary::GreaterOrEqual => i64::from(order.is_ge()),
            Binary::ShiftLeft => left.checked_shl(shift).unwrap_or(0),
            Binary::ShiftRight => (left as u64).checked_shr(shift).unwrap_or(0) as i64,
            Binary::Plus => left.wrapping_add(right),
            Binary::Minus => left.wrapping_sub(right),
            Binary::Times => left.wrapping_mul(right),
            Binary::Divide => left.checked_div(right)?,
            Binary::Remainder => left.checked_rem(right)?,
        })
    }

    /// Whether C compares it without a sign.
    fn is_unsigned(self, expr: &Expr) -> bool {
        match expr {
            Expr::Field(index) => {
                let field = &self.format.fields[*index];
                !field.signed && field.size == 8
            }
            Expr::Cast(size, signed, _) => !signed && *size == 8,
            Expr::Unary(_, operand) => self.is_unsigned(operand),
            _ => false,
        }
    }

    fn call(self, function: Function, arguments: &[Expr]) -> Option<Value<'a>> {
        let bytes = |index: usize| match self.evaluate(arguments.get(index)?)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let size = |index: usize| usize::try_from(self.number(arguments.get(index)?)?).ok();
        let join = |separator: &str| {
            let bytes = bytes(0)?.get(..size(1)?)?.iter();
            let words: Vec<_> = bytes.map(|byte| format!("{byte:02x}")).collect();
            Some(Value::Text(words.join(separator)))
        };
        match function {
            Function::Length => Some(Value::Number(bytes(0)?.len() as i64)),
            Function::Hex => join(" "),
            Function::HexString => join(""),
            Function::Array => {
                let (count, width) = (size(1)?, size(2)?);
                let elements = bytes(0)?.chunks_exact(width.max(1)).take(count);
                let words: Option<Vec<_>> = elements
                    .map(|element| Some(format!("{:#x}", integer(element, false)?)))
                    .collect();
                Some(Value::Text(format!("{{{}}}", words?.join(","))))
            }
            Function::Symbolic => {
                let value = self.number(arguments.first()?)?;
                let name = self.table(&arguments[1..])?.find(|&(it, _)| it == value);
                let name = name.map(|(_, name)| name.to_owned());
                Some(Value::Text(name.unwrap_or_else(|| format!("{value:#x}"))))
            }
            Function::Flags => {
                let value = self.number(arguments.first()?)?;
                let Expr::Text(delimiter) = arguments.get(1)? else {
                    return None;
                };
                Some(Value::Text(flags(
                    value,
                    delimiter,
                    self.table(&arguments[2..])?,
                )))
            }
        }
    }

    fn table<'t>(
        self,
        pairs: &'t [Expr],
    ) -> Option<impl Iterator<Item = (i64, &'t str)> + use<'t>> {
        let pairs: Option<Vec<_>> = pairs
            .iter()
            .filter_map(|pair| match pair {
                Expr::Pair(value, _) if **value == Expr::Unknown => None,
                Expr::Pair(value, name) => Some(self.number(value).map(|it| (it, name.as_str()))),
                _ => Some(None),
            })
            .collect();
        pairs.map(Vec::into_iter)
    }

    /// A number where the field is one, else its bytes.
    fn field(self, field: &TracepointField) -> Option<Value<'a>> {
        let bytes = self.bytes(field)?;
        let is_array = field.kind.contains('[');
        match integer(bytes, field.signed) {
            Some(value) if !is_array => Some(Value::Number(value)),
            _ => Some(Value::Bytes(bytes)),
        }
    }

    /// The field's bytes, wherever they lie.
    pub(crate) fn bytes(self, field: &TracepointField) -> Option<&'a [u8]> {
        let end = field.offset.checked_add(field.size)?;
        let bytes = self.raw.get(field.offset..end)?;
        let relative = field.kind.contains("__rel_loc");
        if !relative && !field.kind.contains("__data_loc") {
            return Some(bytes);
        }
        // At the end of the data: offset and length, 16 bits each.
        let place = u32::from_le_bytes(bytes.try_into().ok()?);
        let (at, len) = ((place & 0xffff) as usize, (place >> 16) as usize);
        let at = if relative { at + end } else { at };
        self.raw.get(at..)?.get(..len)
    }
}

/// The names of the bits of a value, with what no name covers as a number.
fn flags<'t>(
    mut value: i64,
    delimiter: &str,
    table: impl Iterator<Item = (i64, &'t str)>,
) -> String {
    let mut names = Vec::new();
    for (mask, name) in table {
        if value == 0 && mask == 0 && names.is_empty() {
            names.push(name.to_owned());
            break;
        }
        if mask != 0 && value & mask == mask {
            names.push(name.to_owned());
            value &= !mask;
        }
    }
    if value != 0 {
        names.push(format!("{value:#x}"));
    }
    names.join(delimiter)
}

fn cast(value: i64, size: usize, signed: bool) -> i64 {
    match (size, signed) {
        (1, true) => i64::from(value as i8),
        (2, true) => i64::from(value as i16),
        (4, true) => i64::from(value as i32),
        (1, false) => i64::from(value as u8),
        (2, false) => i64::from(value as u16),
        (4, false) => i64::from(value as u32),
        _ => value,
    }
}

/// A little-endian integer of 1, 2, 4 or 8 bytes.
fn integer(bytes: &[u8], signed: bool) -> Option<i64> {
    if !matches!(bytes.len(), 1 | 2 | 4 | 8) {
        return None;
    }
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(cast(i64::from_le_bytes(wide), bytes.len(), signed))
}

/// Bytes of an element of `unsigned long[6]`; of an array without a number they follow from the type.
fn element_size(field: &TracepointField) -> Option<usize> {
    let (kind, count) = field.kind.rsplit_once('[')?;
    match count.trim_end_matches(']').parse::<usize>() {
        Ok(count) if count > 0 => Some(field.size / count),
        _ if kind.contains("char") || kind.contains("u8") => Some(1),
        _ if kind.contains("short") || kind.contains("u16") => Some(2),
        _ if kind.contains("long") || kind.contains("u64") => Some(8),
        _ => Some(4),
    }
}
