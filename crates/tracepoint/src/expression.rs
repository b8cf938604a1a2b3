//! The arguments of a tracepoint's format string: C expressions over its fields.

use crate::format::TracepointFormat;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Number(i64),
    /// A constant of the kernel that the format names instead of its value.
    Unknown,
    Text(String),
    /// A field, by its index in the format.
    Field(usize),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// Condition, then, else.
    Choice(Box<[Expr; 3]>),
    /// To so many bytes, signed or not.
    Cast(usize, bool, Box<Expr>),
    /// An element of an array field.
    Element(usize, Box<Expr>),
    /// `{ value, "name" }` of a table.
    Pair(Box<Expr>, String),
    Call(Function, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Minus,
    Not,
    Complement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    BitOr,
    BitXor,
    BitAnd,
    Equal,
    Unequal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    ShiftLeft,
    ShiftRight,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

/// What the kernel's format strings may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `__print_flags`: value, delimiter, table.
    Flags,
    /// `__print_symbolic`: value, table.
    Symbolic,
    /// `__print_hex`: bytes with blanks between.
    Hex,
    /// `__print_hex_str`: bytes in a row.
    HexString,
    /// `__print_array`: field, count, bytes per element.
    Array,
    /// `__get_dynamic_array_len`.
    Length,
}

/// A format string and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PrintFormat {
    pub(crate) text: String,
    pub(crate) arguments: Vec<Expr>,
}

impl PrintFormat {
    /// Reads what a format file has behind `print fmt:`. `None` where it does more than format: calls
    /// of the kernel's own functions, statements.
    pub(crate) fn parse(format: &TracepointFormat) -> Option<Self> {
        let mut parser = Parser {
            tokens: tokens(&format.print)?,
            at: 0,
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

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(i64),
    Text(String),
    Word(String),
    Sign(&'static str),
}

/// Longer ones first.
const SIGNS: [&str; 31] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "{", "}", "[", "]", ",", "?",
    ":", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", ".",
];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (text, behind) = string(&rest[1..])?;
            match tokens.last_mut() {
                Some(Token::Text(before)) => before.push_str(&text), // "a" "b" is "ab"
                _ => tokens.push(Token::Text(text)),
            }
            rest = behind.trim_start();
            continue;
        }
        let len = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if len > 0 {
            let (word, behind) = rest.split_at(len);
            tokens.push(if first.is_ascii_digit() {
                Token::Number(number(word)?)
            } else {
                Token::Word(word.to_owned())
            });
            rest = behind.trim_start();
            continue;
        }
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
        tokens.push(Token::Sign(sign));
        rest = rest[sign.len()..].trim_start();
    }
    Some(tokens)
}

/// A string up to its closing quote, and what follows.
fn string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
    None
}

/// A C integer with its suffix.
fn number(word: &str) -> Option<i64> {
    let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    value.ok().map(|value| value as i64)
}

struct Parser<'f> {
    tokens: Vec<Token>,
    at: usize,
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

    fn expect(&mut self, sign: &str) -> Option<()> {
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

    fn expression(&mut self) -> Option<Expr> {
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Some(condition);
        }
        let then = self.expression()?;
        self.expect(":")?;
        let otherwise = self.expression()?;
        Some(Expr::Choice(Box::new([condition, then, otherwise])))
    }

    fn binary(&mut self, least: u8) -> Option<Expr> {
        let mut left = self.unary()?;
        while let Some((operator, strength)) = self.operator().filter(|&(_, it)| it >= least) {
            self.at += 1;
            let right = self.binary(strength + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        Some(left)
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
                return Some(Expr::Unary(operator, Box::new(self.unary()?)));
            }
        }
        if self.take("&") || self.take("*") || self.take("+") {
            return self.unary(); // an address of bytes stands for the bytes
        }
        if let Some(cast) = self.cast() {
            let value = Box::new(self.unary()?);
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
        self.expect("(")?;
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        let is_pointer = self.take("*");
        while self.take("*") {}
        self.expect(")")?;
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
                self.expect(")")?;
                self.index(inner)
            }
            Token::Sign("{") => {
                self.saw_unknown = false;
                let mut value = self.expression()?;
                if self.saw_unknown {
                    value = Expr::Unknown;
                }
                self.expect(",")?;
                let name = match self.expression()? {
                    Expr::Text(name) => name,
                    _ => {
                        value = Expr::Unknown; // `{ 0, NULL }`, the end of the table
                        String::new()
                    }
                };
                self.expect("}")?;
                Some(Expr::Pair(Box::new(value), name))
            }
            Token::Sign(_) => None,
            Token::Word(word) if word == "REC" => {
                self.expect("->")?;
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
        self.expect("]")?;
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
                self.expect("(")?;
                let name = self.word()?;
                self.expect(")")?;
                let field = self.field(&name)?;
                return self.index(field);
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                self.expect("(")?;
                let name = self.word()?;
                self.expect(")")?;
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
        self.expect("(")?;
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        self.expect(")")?;
        Some(c_type(&words))
    }

    fn arguments(&mut self) -> Option<Vec<Expr>> {
        self.expect("(")?;
        let mut arguments = vec![self.expression()?];
        while self.take(",") {
            arguments.push(self.expression()?);
        }
        self.expect(")")?;
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
