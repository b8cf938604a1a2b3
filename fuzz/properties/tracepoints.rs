//! Formats of tracepoints: of any text and any data one line can be shown, and an expression has the value
//! that C gives it, with all parentheses and with as few as can be.

use prof_tracepoint::{TracepointFormat, Tracepoints};

/// Any bytes: the text of a format up to a NUL, and behind it the raw data; then as an expression.
pub(crate) fn property(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == 0);
    let (text, raw) = bytes.split_at(end.unwrap_or(bytes.len()));
    any_text(
        &String::from_utf8_lossy(text),
        raw.get(1..).unwrap_or_default(),
    );
    any_expression(bytes);
}

fn any_text(text: &str, raw: &[u8]) {
    let format = TracepointFormat::parse("any", text);
    let own: Vec<_> = format
        .own_fields()
        .map(|field| field.name.clone())
        .collect();
    let without_print = TracepointFormat {
        print: String::new(),
        ..format.clone()
    };
    let id = format.id;
    let function = |at: u64| (at & 2 == 0).then(|| ("function".to_owned(), at));
    let line = Tracepoints::new([format], text).print(id, raw, &function);
    // Texts of others are in it as they were recorded; whoever shows them does it so.
    let shown = prof_model::printable(&line);
    assert!(shown.chars().all(prof_model::is_printable), "{line:?}");

    let by_name = Tracepoints::new([without_print], "").print(id, raw, &function);
    let mut rest = by_name.as_str();
    for name in own {
        let at = rest.find(&format!("{name}="));
        let at = at.unwrap_or_else(|| panic!("no `{name}` in {by_name:?}"));
        rest = &rest[at + name.len() + 1..];
    }
}

/// The value of the field `n`.
const N: i32 = -77;

fn any_expression(choices: &[u8]) {
    let mut choices = Choices(choices);
    let expression = choices.expression(0);
    let few = printed(&expression.few);
    assert_eq!(few, printed(&expression.all), "{expression:?}");
    let value = expression
        .value
        .map_or(format!("n={N}"), |it| it.to_string());
    assert_eq!(few, value, "{expression:?}");
}

fn printed(expression: &str) -> String {
    let text = format!(
        "name: test\nID: 7\nfield:int n;\toffset:0;\tsize:4;\tsigned:1;\n\
         print fmt: \"%ld\", {expression}\n"
    );
    let format = TracepointFormat::parse("test", &text);
    Tracepoints::new([format], "").print(7, &N.to_le_bytes(), &|_| None)
}

/// An expression as text, and its value.
#[derive(Debug)]
struct Expression {
    /// With parentheses around all that has operators.
    all: String,
    /// With those that C needs.
    few: String,
    /// How strong its weakest operator binds.
    strength: u8,
    /// `None` where something is divided by zero.
    value: Option<i64>,
}

const CHOICE: u8 = 0;
const UNARY: u8 = 11;
const PRIMARY: u8 = 12;

/// From weak to strong. Comparing and dividing is that of signed numbers, `>>` that of unsigned ones.
const OPERATORS: [(&str, u8); 18] = [
    ("||", 1),
    ("&&", 2),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("==", 6),
    ("!=", 6),
    ("<", 7),
    (">", 7),
    ("<=", 7),
    (">=", 7),
    ("<<", 8),
    (">>", 8),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

impl Expression {
    fn primary(text: &str, value: i64) -> Self {
        Self {
            all: text.to_owned(),
            few: text.to_owned(),
            strength: PRIMARY,
            value: Some(value),
        }
    }

    /// As an operand of what needs at least this strength.
    fn within(&self, least: u8) -> String {
        match self.strength >= least {
            true => self.few.clone(),
            false => format!("({})", self.few),
        }
    }

    fn unary(sign: &str, operand: &Self) -> Self {
        let value = operand.value.map(|value| match sign {
            "-" => value.wrapping_neg(),
            "!" => i64::from(value == 0),
            "~" => !value,
            _ => i64::from(value as u8),
        });
        Self {
            all: format!("({sign}{})", operand.all),
            few: format!("{sign}{}", operand.within(UNARY)),
            strength: UNARY,
            value,
        }
    }

    fn binary(left: &Self, (sign, strength): (&str, u8), right: &Self) -> Self {
        Self {
            all: format!("({} {sign} {})", left.all, right.all),
            few: format!(
                "{} {sign} {}",
                left.within(strength),
                right.within(strength + 1)
            ),
            strength,
            value: value(left.value, sign, right.value),
        }
    }

    fn choice(condition: &Self, then: &Self, otherwise: &Self) -> Self {
        let [all, then_all, otherwise_all] = [condition, then, otherwise].map(|it| &it.all);
        let few = condition.within(1);
        Self {
            all: format!("({all} ? {then_all} : {otherwise_all})"),
            few: format!("{few} ? {} : {}", then.few, otherwise.few),
            strength: CHOICE,
            value: match condition.value {
                Some(0) => otherwise.value,
                Some(_) => then.value,
                None => None,
            },
        }
    }
}

fn value(left: Option<i64>, sign: &str, right: Option<i64>) -> Option<i64> {
    match (left?, sign) {
        (0, "&&") => return Some(0),
        (1.. | ..0, "||") => return Some(1),
        _ => {}
    }
    let (left, right) = (left?, right?);
    let shift = (0..64).contains(&right).then_some(right);
    Some(match sign {
        "||" | "&&" => i64::from(right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<<" => shift.map_or(0, |by| left << by),
        ">>" => shift.map_or(0, |by| (left as u64 >> by) as i64),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        _ => left.checked_rem(right)?,
    })
}

/// What to put where; zeros where the bytes end, which are numbers.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(first)
    }

    fn expression(&mut self, depth: usize) -> Expression {
        let choice = self.next();
        if depth == 20 {
            return self.primary();
        }
        let mut one = || self.expression(depth + 1);
        match choice % 8 {
            0 | 1 => self.primary(),
            2 => Expression::unary(["-", "!", "~", "(u8)"][choice / 8 % 4], &one()),
            3 => Expression::choice(&one(), &one(), &one()),
            _ => Expression::binary(&one(), OPERATORS[choice / 8 % 18], &one()),
        }
    }

    fn primary(&mut self) -> Expression {
        let choice = self.next();
        match choice % 4 {
            0 => Expression::primary(&format!("{choice}UL"), choice as i64),
            1 => Expression::primary(&format!("{choice:#x}"), choice as i64),
            2 => Expression::primary("sizeof(unsigned short)", 2),
            _ => Expression::primary("REC->n", i64::from(N)),
        }
    }
}
