//! From the text of a format string and its arguments to expressions.

use crate::expression::{Binary, Expr, Function, PrintFormat, Unary};
use crate::format::TracepointFormat;
use crate::tokens::{Token, tokens};

/// How deep expressions may be nested. C promises 63 parentheses, the kernel's formats have up to 14.
/// Whoever wrote the recording wrote the formats: without a limit their parentheses fill the stack.
pub(crate) const MAX_DEPTH: usize = 200;

impl PrintFormat {
    /// Reads what a format file has behind `print fmt:`. `None` where it does more than format: calls
    /// of the kernel's own functions, statements; or where it nests deeper than [`MAX_DEPTH`].
    pub(crate) fn parse(format: &TracepointFormat) -> Option<Self> {
        let mut parser = Parser {
            tokens: tokens(&format.print)?,
            at: 0,
            depth: 0,
            format,
            saw_unknown: false,
        };
        let Expr::Text(text) = parser.primary()? else {
            return None;
        };
        let mut arguments = Vec::new();
        while parser.take(",") {
            arguments.push(parser.expression()?);
        }
        parser.is_at_end().then_some(Self { text, arguments })
    }
}

struct Parser<'f> {
    tokens: Vec<Token>,
    at: usize,
    /// How many expressions are being read, each within the one before.
    depth: usize,
    format: &'f TracepointFormat,
    saw_unknown: bool,
}

impl Parser<'_> {
    fn is_at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, sign: &str) -> Option<()> {
        self.take(sign).then_some(())
    }

    fn word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.peek() else {
            return None;
        };
        let word = word.clone();
        self.at += 1;
        Some(word)
    }

    /// Reads a part of what is being read. Every way by which the parser comes to call itself leads
    /// through here.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Expr>) -> Option<Expr> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let part = read(self);
        self.depth -= 1;
        part
    }

    fn expression(&mut self) -> Option<Expr> {
        self.nested(Self::choice)
    }

    fn choice(&mut self) -> Option<Expr> {
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Some(condition);
        }
        let then = self.expression()?;
        self.require(":")?;
        let otherwise = self.expression()?;
        Some(Expr::Choice(Box::new([condition, then, otherwise])))
    }

    fn binary(&mut self, least: u8) -> Option<Expr> {
        let first = self.unary()?;
        let mut rest = Vec::new();
        while let Some((operator, strength)) = self.operator().filter(|&(_, it)| it >= least) {
            self.at += 1;
            let right = self.nested(|this| this.binary(strength + 1))?;
            rest.push((operator, right));
        }
        Some(match rest.is_empty() {
            true => first,
            false => Expr::Chain(Box::new(first), rest),
        })
    }

    fn operator(&self) -> Option<(Binary, u8)> {
        let Some(Token::Sign(sign)) = self.peek() else {
            return None;
        };
        Some(match *sign {
            "||" => (Binary::Or, 1),
            "&&" => (Binary::And, 2),
            "|" => (Binary::BitOr, 3),
            "^" => (Binary::BitXor, 4),
            "&" => (Binary::BitAnd, 5),
            "==" => (Binary::Equal, 6),
            "!=" => (Binary::Unequal, 6),
            "<" => (Binary::Less, 7),
            ">" => (Binary::Greater, 7),
            "<=" => (Binary::LessOrEqual, 7),
            ">=" => (Binary::GreaterOrEqual, 7),
            "<<" => (Binary::ShiftLeft, 8),
            ">>" => (Binary::ShiftRight, 8),
            "+" => (Binary::Plus, 9),
            "-" => (Binary::Minus, 9),
            "*" => (Binary::Times, 10),
            "/" => (Binary::Divide, 10),
            "%" => (Binary::Remainder, 10),
            _ => return None,
        })
    }

    fn unary(&mut self) -> Option<Expr> {
        let unary = [
            ("-", Unary::Minus),
            ("!", Unary::Not),
            ("~", Unary::Complement),
        ];
        for (sign, operator) in unary {
            if self.take(sign) {
                let operand = self.nested(Self::unary)?;
                return Some(Expr::Unary(operator, Box::new(operand)));
            }
        }
        if self.take("&") || self.take("*") || self.take("+") {
            return self.nested(Self::unary); // an address of bytes stands for the bytes
        }
        if let Some(cast) = self.cast() {
            let value = Box::new(self.nested(Self::unary)?);
            return Some(match cast {
                Some((size, signed)) => Expr::Cast(size, signed, value),
                None => *value,
            });
        }
        self.primary()
    }

    /// A type in parentheses: its size and sign, `None` within if it is a pointer or not known.
    fn cast(&mut self) -> Option<Option<(usize, bool)>> {
        let start = self.at;
        let cast = self.type_in_parentheses();
        if cast.is_none() {
            self.at = start;
        }
        cast
    }

    fn type_in_parentheses(&mut self) -> Option<Option<(usize, bool)>> {
        self.require("(")?;
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        let is_pointer = self.take("*");
        while self.take("*") {}
        self.require(")")?;
        let is_operand = match self.peek()? {
            Token::Sign(sign) => matches!(*sign, "(" | "-" | "!" | "~" | "&" | "*"),
            _ => true,
        };
        if words.is_empty() || words[0] == "REC" || !is_operand {
            return None;
        }
        Some(if is_pointer { None } else { c_type(&words) })
    }

    fn primary(&mut self) -> Option<Expr> {
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Number(value) => Some(Expr::Number(value)),
            Token::Text(text) => Some(Expr::Text(text)),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.require(")")?;
                self.index(inner)
            }
            Token::Sign("{") => {
                self.saw_unknown = false;
                let mut value = self.expression()?;
                if self.saw_unknown {
                    value = Expr::Unknown;
                }
                self.require(",")?;
                let name = match self.expression()? {
                    Expr::Text(name) => name,
                    _ => {
                        value = Expr::Unknown; // `{ 0, NULL }`, the end of the table
                        String::new()
                    }
                };
                self.require("}")?;
                Some(Expr::Pair(Box::new(value), name))
            }
            Token::Sign(_) => None,
            Token::Word(word) if word == "REC" => {
                self.require("->")?;
                let name = self.word()?;
                let field = self.field(&name)?;
                self.index(field)
            }
            Token::Word(word) => self.call(&word),
        }
    }

    fn field(&self, name: &str) -> Option<Expr> {
        let mut fields = self.format.fields.iter();
        fields.position(|field| field.name == name).map(Expr::Field)
    }

    fn index(&mut self, of: Expr) -> Option<Expr> {
        if !self.take("[") {
            return Some(of);
        }
        let Expr::Field(field) = of else {
            return None;
        };
        let index = self.expression()?;
        self.require("]")?;
        Some(Expr::Element(field, Box::new(index)))
    }

    fn call(&mut self, name: &str) -> Option<Expr> {
        let function = match name {
            "__get_str"
            | "__get_dynamic_array"
            | "__get_rel_str"
            | "__get_rel_dynamic_array"
            | "__get_bitmask" => {
                // These name a field without REC.
                self.require("(")?;
                let name = self.word()?;
                self.require(")")?;
                let field = self.field(&name)?;
                return self.index(field);
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                self.require("(")?;
                let name = self.word()?;
                self.require(")")?;
                return Some(Expr::Call(Function::Length, vec![self.field(&name)?]));
            }
            "__builtin_expect" => {
                let mut arguments = self.arguments()?;
                return (arguments.len() == 2).then(|| arguments.swap_remove(0));
            }
            "sizeof" => {
                let Some(Some((size, _))) = self.sized_type() else {
                    return None;
                };
                return Some(Expr::Number(size as i64));
            }
            "__print_flags" | "__print_flags_u64" => Function::Flags,
            "__print_symbolic" | "__print_symbolic_u64" => Function::Symbolic,
            "__print_hex" => Function::Hex,
            "__print_hex_str" => Function::HexString,
            "__print_array" => Function::Array,
            _ if matches!(self.peek(), Some(Token::Sign("("))) => return None,
            _ => {
                self.saw_unknown = true;
                return Some(Expr::Unknown);
            }
        };
        Some(Expr::Call(function, self.arguments()?))
    }

    /// `sizeof`'s argument, where it is a type.
    fn sized_type(&mut self) -> Option<Option<(usize, bool)>> {
        self.require("(")?;
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        self.require(")")?;
        Some(c_type(&words))
    }

    fn arguments(&mut self) -> Option<Vec<Expr>> {
        self.require("(")?;
        let mut arguments = vec![self.expression()?];
        while self.take(",") {
            arguments.push(self.expression()?);
        }
        self.require(")")?;
        Some(arguments)
    }
}

/// Size and sign of a C type of a 64-bit kernel.
fn c_type(words: &[String]) -> Option<(usize, bool)> {
    let has = |word: &str| words.iter().any(|it| it == word);
    let signed = !has("unsigned");
    let sized = words.iter().find_map(|word| {
        Some(match word.trim_start_matches("__") {
            "u8" | "uint8_t" => (1, false),
            "u16" | "uint16_t" => (2, false),
            "u32" | "uint32_t" | "gfp_t" | "dev_t" => (4, false),
            "u64" | "uint64_t" | "size_t" | "sector_t" => (8, false),
            "s8" | "int8_t" => (1, true),
            "s16" | "int16_t" => (2, true),
            "s32" | "int32_t" | "pid_t" => (4, true),
            "s64" | "int64_t" | "ssize_t" | "loff_t" => (8, true),
            "bool" => (1, false),
            "char" => (1, signed),
            "short" => (2, signed),
            "long" => (8, signed),
            _ => return None,
        })
    });
    sized.or_else(|| (has("int") || has("unsigned")).then_some((4, signed)))
}
