//! What a tracepoint's format string prints: C expressions over the fields.

/// An expression. The parser makes none that is deeper than [`MAX_DEPTH`](crate::parser::MAX_DEPTH),
/// so evaluating and dropping it may recurse.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Number(i64),
    /// A constant of the kernel that the format names instead of its value.
    Unknown,
    Text(String),
    /// A field, by its index in the format.
    Field(usize),
    Unary(Unary, Box<Expr>),
    /// An operand, and operators with their right operands, applied one after the other: `1 + 2 - 3`.
    /// A list, so that a long chain is no deep tree.
    Chain(Box<Expr>, Vec<(Binary, Expr)>),
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
