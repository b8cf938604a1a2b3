//! The text of a format string and its arguments, cut into what C calls tokens.

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Number(i64),
    Text(String),
    Word(String),
    Sign(&'static str),
}

/// Signs, those first that begin as others do.
const SIGNS: [&str; 31] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "{", "}", "[", "]", ",", "?",
    ":", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", ".",
];

/// Cuts a text into tokens; `None` where it has a character that no expression has.
pub(crate) fn tokens(text: &str) -> Option<Vec<Token>> {
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
