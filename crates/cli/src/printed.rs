//! The one way to stdout and stderr of text that has names of others in it.
//!
//! In: text as commands and `prof-report` make it. Out: the same with nothing in it that a terminal obeys, but
//! ends of lines, tabs and, where text is coloured, colours. Names are made printable where they come to
//! stand in lines and columns (`prof_model::printable`), because of their widths and their ends of lines; this is
//! for those that nobody thought of. Elsewhere: screens (`prof-tui`), recordings that go to stdout.

use std::fmt;
use std::io::{self, Stderr, StdoutLock, Write};

use prof_model::{is_printable, printable, printable_bytes, push_printable};

/// Prints a message in one line on stderr: an end of line in it is a name's, and is shown as such. That nobody
/// can read it, as behind `2>&1 | head -1` or on a full disk, is no reason to end, and with it a recording.
pub fn say(message: fmt::Arguments<'_>) {
    let mut line = printable(&message.to_string()).into_owned();
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// What is kept besides printable characters, and how others are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Lines.
    Text,
    /// The same with colours: `ESC [ digits m`.
    Colored,
    /// JSON, where all that is not ASCII stands in strings: `\u202e`.
    Json,
}

/// Passes text on with what is not printable in it written out.
#[derive(Debug)]
pub struct Printed<W: Write> {
    out: W,
    kind: Kind,
    held: Vec<u8>, // the beginning of a character or a colour, whose end is still to come
}

/// Stdout for text.
pub fn stdout() -> Printed<StdoutLock<'static>> {
    colored_stdout(false)
}

/// Stdout for text that has colours, if `color`.
pub fn colored_stdout(color: bool) -> Printed<StdoutLock<'static>> {
    let kind = if color { Kind::Colored } else { Kind::Text };
    Printed::new(io::stdout().lock(), kind)
}

/// Stdout for JSON.
pub fn json_stdout() -> Printed<StdoutLock<'static>> {
    Printed::new(io::stdout().lock(), Kind::Json)
}

/// Writes an answer that is whole to stdout: JSON (`is_json`) or text.
///
/// # Errors
/// Those of stdout.
pub fn answer(text: &str, is_json: bool) -> io::Result<()> {
    let mut out = match is_json {
        true => json_stdout(),
        false => stdout(),
    };
    out.write_all(text.as_bytes())
}

/// Stderr for text of more than one line.
pub fn stderr() -> Printed<Stderr> {
    Printed::new(io::stderr(), Kind::Text)
}

impl<W: Write> Printed<W> {
    fn new(out: W, kind: Kind) -> Self {
        Self {
            out,
            kind,
            held: Vec::new(),
        }
    }

    /// Writes out what has something in it that is not plain, and holds back what has no end yet.
    fn write_slowly(&mut self, text: &[u8]) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(text);
        let mut shown = String::with_capacity(bytes.len() + 64);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (valid, invalid, is_open) = match std::str::from_utf8(rest) {
                Ok(valid) => (valid, 0, false),
                Err(error) => {
                    let valid = std::str::from_utf8(&rest[..error.valid_up_to()]);
                    let invalid = error.error_len();
                    let behind = rest.len() - error.valid_up_to();
                    (
                        valid.unwrap_or_default(),
                        invalid.unwrap_or(behind),
                        invalid.is_none(),
                    )
                }
            };
            let taken = self.push(&mut shown, valid, valid.len() == rest.len());
            if is_open || taken < valid.len() {
                self.held.extend_from_slice(&rest[taken..]);
                break;
            }
            let (invalid, behind) = rest[valid.len()..].split_at(invalid);
            shown.push_str(&printable_bytes(invalid));
            rest = behind;
        }
        self.out.write_all(shown.as_bytes())
    }

    /// Appends a text as it is shown. Returns how much of it: if it `is_last`, not the beginning of a colour.
    fn push(&self, shown: &mut String, text: &str, is_last: bool) -> usize {
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\n' | '\t' => shown.push(letter),
                letter if is_printable(letter) => shown.push(letter),
                '\x1b' if self.kind == Kind::Colored => match color(&text[at..]) {
                    Color::Whole(len) => {
                        shown.push_str(&text[at..at + len]);
                        letters.nth(len - 2);
                    }
                    Color::Open if is_last => return at,
                    Color::Open | Color::None => push_printable(shown, letter),
                },
                letter if self.kind == Kind::Json => {
                    let mut units = [0; 2];
                    let units = letter.encode_utf16(&mut units).iter();
                    units.for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
                }
                letter => push_printable(shown, letter),
            }
        }
        text.len()
    }
}

/// Whether a text begins with a colour.
enum Color {
    Whole(usize),
    Open, // it ends before that is known
    None,
}

fn color(text: &str) -> Color {
    const LONGEST: usize = 16;
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return if text == "\x1b" {
            Color::Open
        } else {
            Color::None
        };
    };
    let is_parameter = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
    match parameters.bytes().position(|byte| !is_parameter(&byte)) {
        Some(len) if parameters.as_bytes()[len] == b'm' => Color::Whole("\x1b[".len() + len + 1),
        None if parameters.len() < LONGEST => Color::Open,
        _ => Color::None,
    }
}

/// Whether all of a text is ASCII that is shown as it is. Most is, so this looks at many bytes at once.
fn is_plain(text: &[u8]) -> bool {
    const GRAPHIC: u8 = b'~' - b' ';
    // 1 or 0 and no branches: so the compiler makes it a few instructions for a whole block
    let odd = |byte: u8| {
        let is_graphic = u8::from(byte.wrapping_sub(b' ') <= GRAPHIC);
        let is_space = u8::from(byte == b'\n') | u8::from(byte == b'\t');
        (is_graphic | is_space) ^ 1
    };
    let blocks = text.chunks_exact(256);
    let is_odd = |block: &[u8]| block.iter().fold(0, |any, &byte| any | odd(byte)) != 0;
    let rest = blocks.remainder();
    !blocks.into_iter().any(is_odd) && !is_odd(rest)
}

impl<W: Write> Write for Printed<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.held.is_empty() && is_plain(text) {
            self.out.write_all(text)?;
        } else {
            self.write_slowly(text)?;
        }
        Ok(text.len())
    }

    /// What has no end yet waits for it.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for Printed<W> {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            let _ = self.out.write_all(printable_bytes(&rest).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a text that is written in parts of this length.
    fn printed(kind: Kind, text: &[u8], part: usize) -> String {
        let mut out = Vec::new();
        let mut printed = Printed::new(&mut out, kind);
        text.chunks(part)
            .for_each(|part| printed.write_all(part).unwrap());
        drop(printed);
        String::from_utf8(out).unwrap()
    }

    fn check(kind: Kind, text: &[u8], expected: &str) {
        for part in 1..=text.len() {
            assert_eq!(printed(kind, text, part), expected, "in parts of {part}");
        }
    }

    #[test]
    fn no_text_tells_a_terminal_what_to_do() {
        check(
            Kind::Text,
            "a\x1b[31mb\r\u{9b}2J\u{202e}c\n\tgröße 函数\u{feff}".as_bytes(),
            "a\\x1b[31mb\\r\\u{9b}2J\\u{202e}c\n\tgröße 函数\\u{feff}",
        );
        check(
            Kind::Text,
            b"a\xffb\xc3\xa4\xe2\x80",
            "a\\xffb\u{e4}\\xe2\\x80",
        );
    }

    #[test]
    fn text_with_colours_has_nothing_else() {
        check(
            Kind::Colored,
            b"\x1b[31m 5%\x1b[m \x1b[2J\x1b]0;title\x07\x1b[1;32m\x1b",
            "\x1b[31m 5%\x1b[m \\x1b[2J\\x1b]0;title\\x07\x1b[1;32m\\x1b",
        );
    }

    #[test]
    fn json_stays_json_of_the_same_text() {
        let name = "a\x1b\u{202e}\u{7f}\u{9b}\u{feff}ä👩\n";
        let text = serde_json::to_vec_pretty(&serde_json::json!({ "name": name })).unwrap();
        for part in 1..=text.len() {
            let json = printed(Kind::Json, &text, part);
            assert!(json.chars().all(|it| it == '\n' || is_printable(it)));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["name"], name);
        }
    }
}
