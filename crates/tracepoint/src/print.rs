//! C's format strings, as the kernel extends them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::expression::PrintFormat;
use crate::fields;
use crate::value::{Data, Value};

/// How wide a number or text is made at most; Rust's own formatting panics above 65,535.
const MAX_WIDTH: usize = 4096;

/// How long a line may get, in bytes; the kernel's own buffer has a page.
const LONGEST: usize = 1 << 16;

/// What pointers in the data stand for.
#[derive(Clone, Copy)]
pub(crate) struct Pointers<'a> {
    /// The kernel's constant strings by address.
    pub(crate) strings: &'a HashMap<u64, String>,
    /// A kernel function's name, and how far behind its start an address lies.
    pub(crate) function: &'a dyn Fn(u64) -> Option<(String, u64)>,
}

/// One `%` and what belongs to it.
#[derive(Debug, Default)]
struct Conversion<'f> {
    left: bool,
    zero: bool,
    alternate: bool,
    sign: Option<char>,
    width: usize,
    precision: Option<usize>,
    /// `hh`, `l`, `z` ...
    length: &'f str,
    kind: char,
    /// What follows `%p`.
    pointer: &'f str,
}

/// Prints the data in one line; `None` where an argument is missing or makes no sense.
pub(crate) fn print(
    format: &PrintFormat,
    data: Data<'_>,
    pointers: Pointers<'_>,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = format.text.as_str();
    let mut arguments = format.arguments.iter();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let mut number = || match data.evaluate(arguments.next()?)? {
            Value::Number(value) => Some(value),
            _ => None,
        };
        let (conversion, behind) = Conversion::parse(rest, &mut number)?;
        let value = data.evaluate(arguments.next()?)?;
        conversion.print(&value, pointers, &mut out)?;
        if out.len() > LONGEST {
            return None; // widths of a foreign format add up
        }
        rest = behind;
    }
    out.push_str(rest);
    Some(out.trim_end_matches('\n').replace('\n', " "))
}

impl<'f> Conversion<'f> {
    /// Reads what follows `%`, and takes the numbers that stars stand for. Returns the rest.
    fn parse(text: &'f str, number: &mut dyn FnMut() -> Option<i64>) -> Option<(Self, &'f str)> {
        let mut this = Self::default();
        let mut rest = text;
        let mut count = |rest: &mut &'f str| -> Option<Option<usize>> {
            if let Some(behind) = rest.strip_prefix('*') {
                *rest = behind;
                return Some(usize::try_from(number()?).ok());
            }
            let len = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, behind) = rest.split_at(len);
            *rest = behind;
            Some(digits.parse().ok())
        };
        loop {
            match rest.chars().next()? {
                '-' => this.left = true,
                '0' => this.zero = true,
                '#' => this.alternate = true,
                sign @ ('+' | ' ') => this.sign = Some(sign),
                _ => break,
            }
            rest = &rest[1..];
        }
        this.width = count(&mut rest)?.unwrap_or(0).min(MAX_WIDTH);
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            this.precision = Some(count(&mut rest)?.unwrap_or(0));
        }
        let len = rest.find(|c: char| !"hlzjtL".contains(c))?;
        (this.length, rest) = rest.split_at(len);
        this.kind = rest.chars().next()?;
        rest = rest.get(1..)?;
        if this.kind == 'p' {
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric());
            (this.pointer, rest) = rest.split_at(len.unwrap_or(rest.len()));
        }
        Some((this, rest))
    }

    fn print(&self, value: &Value<'_>, pointers: Pointers<'_>, out: &mut String) -> Option<()> {
        let text = match (self.kind, value) {
            ('s', value) => self.text(value, pointers),
            ('c', Value::Number(value)) => char::from(*value as u8).to_string(),
            ('p', value) => self.pointer(value, pointers)?,
            ('d' | 'i', Value::Number(value)) => return self.signed(*value, out),
            (kind @ ('u' | 'x' | 'X' | 'o'), Value::Number(value)) => {
                return self.unsigned(kind, *value, out);
            }
            _ => return None,
        };
        self.pad(&text, out);
        Some(())
    }

    fn text(&self, value: &Value<'_>, pointers: Pointers<'_>) -> String {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Bytes(bytes) => fields::text(bytes),
            Value::Number(address) => match pointers.strings.get(&(*address as u64)) {
                Some(text) => text.clone(),
                None => format!("{address:x}"),
            },
        };
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn pointer(&self, value: &Value<'_>, pointers: Pointers<'_>) -> Option<String> {
        Some(match (self.pointer, value) {
            ("s" | "S" | "f" | "F", Value::Number(address)) => {
                match (pointers.function)(*address as u64) {
                    Some((name, offset)) if matches!(self.pointer, "S" | "F") => {
                        format!("{name}+{offset:#x}")
                    }
                    Some((name, _)) => name,
                    None => format!("{address:#x}"),
                }
            }
            ("I4", Value::Bytes(bytes)) => Ipv4Addr::from(*bytes.first_chunk::<4>()?).to_string(),
            ("I4", Value::Number(address)) => {
                Ipv4Addr::from((*address as u32).to_le_bytes()).to_string()
            }
            ("I6" | "I6c", Value::Bytes(bytes)) => {
                Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_string()
            }
            ("ISpc", Value::Bytes(bytes)) => socket_address(bytes)?,
            ("M", Value::Bytes(bytes)) => {
                let bytes = bytes.get(..6)?.iter();
                let words: Vec<_> = bytes.map(|byte| format!("{byte:02x}")).collect();
                words.join(":")
            }
            ("", Value::Number(0)) => "(nil)".to_owned(),
            ("", Value::Number(address)) => format!("{address:#x}"),
            _ => return None,
        })
    }

    /// The number as C would see it after passing it with this length.
    fn narrowed(&self, value: i64, signed: bool) -> i64 {
        match (self.length, signed) {
            ("hh", true) => i64::from(value as i8),
            ("h", true) => i64::from(value as i16),
            ("", true) => i64::from(value as i32),
            ("hh", false) => i64::from(value as u8),
            ("h", false) => i64::from(value as u16),
            ("", false) => i64::from(value as u32),
            _ => value,
        }
    }

    fn signed(&self, value: i64, out: &mut String) -> Option<()> {
        let value = self.narrowed(value, true);
        let sign = match (value < 0, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(_)) => " ",
            (false, None) => "",
        };
        self.number(sign, value.unsigned_abs().to_string(), out);
        Some(())
    }

    fn unsigned(&self, kind: char, value: i64, out: &mut String) -> Option<()> {
        let value = self.narrowed(value, false) as u64;
        let shows_base = self.alternate && value != 0;
        let (prefix, digits) = match kind {
            'u' => ("", value.to_string()),
            'x' => (if shows_base { "0x" } else { "" }, format!("{value:x}")),
            'X' => (if shows_base { "0X" } else { "" }, format!("{value:X}")),
            _ => (if shows_base { "0" } else { "" }, format!("{value:o}")),
        };
        self.number(prefix, digits, out);
        Some(())
    }

    fn number(&self, prefix: &str, digits: String, out: &mut String) {
        let zeros = match self.precision {
            Some(digits) => digits.min(MAX_WIDTH),
            None if self.zero && !self.left => self.width.saturating_sub(prefix.len()),
            None => 0,
        };
        self.pad(&format!("{prefix}{digits:0>zeros$}"), out);
    }

    fn pad(&self, text: &str, out: &mut String) {
        let width = self.width;
        if self.left {
            out.push_str(&format!("{text:<width$}"));
        } else {
            out.push_str(&format!("{text:>width$}"));
        }
    }
}

/// A `struct sockaddr` with its port.
fn socket_address(bytes: &[u8]) -> Option<String> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let family = u16::from_le_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family {
        AF_INET => {
            let address = Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?);
            Some(format!("{address}:{port}"))
        }
        AF_INET6 => {
            let address = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
            Some(format!("[{address}]:{port}"))
        }
        _ => None,
    }
}
