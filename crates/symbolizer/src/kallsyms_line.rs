//! One line of `/proc/kallsyms`.

use std::borrow::Cow;
use std::cmp::Reverse;

/// A symbol in code, as a line tells it: `ffffffff81000000 T name\t[module]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) addr: u64,
    pub(crate) kind: u8, // the type letter of nm
    pub(crate) name: &'a [u8],
    pub(crate) module: &'a [u8], // with what parts it from the name, and empty for the kernel itself
}

/// What the kernel prints of each address.
pub(crate) const ADDRESS_DIGITS: usize = 16;

impl<'a> Line<'a> {
    /// Cuts the first line off a text; `None` if it is none of code. Also returns what is behind it.
    pub(crate) fn take(text: &'a [u8]) -> (Option<Self>, &'a [u8]) {
        let Some((addr, kind, rest)) = address_and_kind(text) else {
            return (None, split_line(text).1);
        };
        let end = memchr::memchr3(b'\n', b'\t', b' ', rest);
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        let (module, rest) = match rest {
            [b'\n', rest @ ..] => (&[][..], rest),
            rest => split_line(rest),
        };
        let line = Self {
            addr,
            kind,
            name,
            module,
        };
        (Some(line), rest)
    }

    /// All of a text.
    pub(crate) fn all(mut text: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            while !text.is_empty() {
                let (line, rest) = Self::take(text);
                text = rest;
                if line.is_some() {
                    return line;
                }
            }
            None
        })
    }

    /// Of several names for one address the one with the least is printed.
    pub(crate) fn preference(&self) -> impl Ord + use<> {
        let underscores = self.name.iter().take_while(|&&byte| byte == b'_').count();
        (
            self.kind.eq_ignore_ascii_case(&b'w'),
            self.kind.is_ascii_lowercase(),
            is_second_name(self.name),
            underscores,
            Reverse(self.name.len()),
        )
    }

    /// The name as text: bytes that make no characters are replaced.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        std::str::from_utf8(self.name).map_or_else(
            |_| {
                let bytes = self.name.iter();
                let ascii = bytes.map(|&byte| if byte.is_ascii() { byte } else { b'?' });
                Cow::Owned(ascii.map(char::from).collect())
            },
            Cow::Borrowed,
        )
    }
}

fn address_and_kind(text: &[u8]) -> Option<(u64, u8, &[u8])> {
    let digits = match text.get(ADDRESS_DIGITS) {
        Some(b' ') if !text[..ADDRESS_DIGITS].contains(&b'\n') => ADDRESS_DIGITS,
        _ => text
            .iter()
            .take(ADDRESS_DIGITS)
            .position(|&byte| byte == b' ')?,
    };
    let [b' ', kind @ (b'T' | b't' | b'W' | b'w'), b' ', rest @ ..] = &text[digits..] else {
        return None;
    };
    Some((address(&text[..digits])?, *kind, rest))
}

/// A line and what is behind it.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// Whether it is what the same code is called in 32-bit programs' calls, or in code that runs before the
/// kernel is at its place.
fn is_second_name(name: &[u8]) -> bool {
    name.starts_with(b"__pi_") || name.windows(7).any(|part| part == b"__ia32_")
}

/// A number of up to 16 hexadecimal digits.
fn address(digits: &[u8]) -> Option<u64> {
    const NONE: u8 = 0x10;
    const VALUES: [u8; 256] = {
        let mut values = [NONE; 256];
        let mut value = 0;
        while value < 16 {
            values[b"0123456789abcdef"[value] as usize] = value as u8;
            values[b"0123456789ABCDEF"[value] as usize] = value as u8;
            value += 1;
        }
        values
    };
    if digits.is_empty() || digits.len() > ADDRESS_DIGITS {
        return None;
    }
    let (mut number, mut seen) = (0, 0);
    for &digit in digits {
        let value = VALUES[usize::from(digit)];
        seen |= value;
        number = number << 4 | u64::from(value);
    }
    (seen < NONE).then_some(number)
}
